"""One trial: one fresh server, one fresh rig, one load; and what may be called clean."""

import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from benchmarks import rig, server
from benchmarks.rig import Report
from benchmarks.server import ServerKind

Profile: TypeAlias = Literal["echo", "conversation"]
Format: TypeAlias = Literal["pcmu", "pcm24k"]

# A rig that uses more of its core than this may be measuring itself.
RIG_LOAD_LIMIT = 0.7
CLEAN_P99_MS = 20.0
# Shares of the server's core taken by others above which a run says little about the server.
DISTURBED = 0.10

# What must be nought in a clean run, whatever the profile.
_FAULTS = (
    *("lost", "repeated", "damaged", "misdelivered", "inserted", "refused", "dropped", "wire_errors"),
    *("model_errors", "short_replies", "no_reply", "barges_unanswered", "clears_unasked", "late_audio_bytes"),
    *("truncates_refused", "sessions_left_open"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the rig is asked to do."""

    profile: Profile
    format: Format
    calls: int
    seconds: float
    warmup: float
    ramp: float
    barge: float
    seed: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Where the two sides run; None on a machine with one core: nothing is pinned."""

    server: int | None
    rig: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The figures of one run."""

    server: str
    load: Load
    cpu_ms_per_call_second: float
    server_load: float  # share of one core
    rss_idle: int
    rss_loaded: int
    others_load: float | None  # share of the server's core that others took
    report: Report

    @property
    def rss_per_call(self) -> float:
        return (self.rss_loaded - self.rss_idle) / self.load.calls

    @property
    def rig_load(self) -> float:
        return float(self.report["rig_load"])

    @property
    def disturbed(self) -> bool:
        return self.others_load is not None and self.others_load > DISTURBED

    @property
    def added_p99(self) -> float:
        """The 99th percentile of what the server added (ms): to a frame's round trip, or to replies and clears."""
        if self.load.profile == "echo":
            return float(self.report["latency_ms"]["p99"])
        return max(float(self.report[name]["p99"]) for name in ("reply_ms", "clear_after_speech_started_ms"))

    def faults(self) -> dict[str, int]:
        """Return what went wrong, by the rig's names; empty in a run that lost nothing."""
        found = {name: int(self.report[name]) for name in _FAULTS if self.report[name]}
        if missing := self.load.calls - int(self.report["connected"]):
            found["unconnected"] = missing
        if self.load.profile == "conversation" and (deaf := self.load.calls - int(self.report["identified"])):
            found["unidentified"] = deaf
        return found

    def clean(self) -> bool:
        return not self.faults() and self.added_p99 < CLEAN_P99_MS

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "rss_per_call": round(self.rss_per_call),
            "faults": self.faults(),
            "clean": self.clean(),
            "disturbed": self.disturbed,
        }


def choose_cores() -> Cores:
    """The last core we may use for the server, the one before it for the rig and the driver."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(server=allowed[-1], rig=allowed[-2]) if len(allowed) > 1 else Cores(server=None, rig=None)


def run(kind: ServerKind, load: Load, cores: Cores, *, patience: float, quiet: bool) -> Trial:
    """Start the rig, then the server; load it; read the kernel's counters around the measured seconds."""
    if load.format == "pcm24k" and not kind.transcodes:
        load = replace(load, format="pcmu")
    _await_quiet(cores, patience)
    port, model_port = _free_ports(2)
    limit = 60 + load.seconds + load.warmup + load.calls / load.ramp
    readings: dict[str, tuple[float, float]] = {}
    with (
        server.affinity(cores.rig),
        rig.started(_arguments(load, port, model_port), limit=limit, quiet=quiet) as source,
        server.started(kind, port=port, model_port=model_port, core=cores.server) as target,
    ):
        source.wait_for("listening")
        idle = target.resident_bytes()
        loaded = 0

        def read(phase: str) -> None:
            nonlocal loaded
            busy = server.core_busy_seconds(cores.server) if cores.server is not None else 0.0
            readings[phase] = (target.cpu_seconds(), busy)
            loaded = target.resident_bytes()

        report = source.run(read)
        if target.has_ended():
            raise rig.BenchmarkError("ended while it was measured")
    seconds = float(report["seconds"])
    used, busy = (readings["measured"][i] - readings["measuring"][i] for i in (0, 1))
    return Trial(
        server=kind.name,
        load=load,
        cpu_ms_per_call_second=used * 1000 / (load.calls * seconds),
        server_load=used / seconds,
        rss_idle=idle,
        rss_loaded=loaded,
        others_load=max(0.0, (busy - used) / seconds) if cores.server is not None else None,
        report=report,
    )


def _await_quiet(cores: Cores, patience: float) -> None:
    """Wait, at most `patience` seconds, for a second in which others leave both cores alone."""
    used = [core for core in (cores.server, cores.rig) if core is not None]
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = [server.core_busy_seconds(core) for core in used]
        time.sleep(1)
        if all(
            server.core_busy_seconds(core) - busy < DISTURBED for core, busy in zip(used, before, strict=True)
        ):
            return


def _arguments(load: Load, port: int, model_port: int) -> list[str]:
    named = {
        "carrier-port": port,
        "model-port": model_port,
        "path": load.path,
        "profile": load.profile,
        "format": load.format,
        "calls": load.calls,
        "seconds": load.seconds,
        "warmup": load.warmup,
        "ramp": load.ramp,
        "barge": load.barge,
        "seed": load.seed,
    }
    return [word for name, value in named.items() for word in (f"--{name}", str(value))]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()

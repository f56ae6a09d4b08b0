"""The server under test: how each is started, when it is ready, what the kernel says it has used."""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.rig import BenchmarkError

ROOT = Path(__file__).parent.parent
READY_WITHIN = 30.0
_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKind:
    """One kind of server; `{python}`, `{port}`, `{url}` and `{data}` are filled in when it starts."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    # Which answer to GET /readiness means ready; the relay has no such route, so its 404 does.
    ready_status: int = 200
    transcodes: bool = True


RELAY = ServerKind(
    name="relay",
    command=("{python}", "-m", "benchmarks.relay", "--port", "{port}", "--realtime-url", "{url}"),
    ready_status=404,
    transcodes=False,
)


COMPILED = ROOT / "build" / "compiled"
"""Where `make compiled` puts the packages whose hot path is compiled."""


def compiled(kind: ServerKind) -> ServerKind:
    """Return the gateway with its hot path compiled, made first where it is not up to date."""
    made = subprocess.run(
        ["make", "--silent", "compiled"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise BenchmarkError(f"make compiled: {made.stdout[-1000:]}{made.stderr[-1000:]}")
    return replace(
        kind,
        name="compiled",
        # -P: else the working directory's own packages come first.
        command=("{python}", "-P", *kind.command[1:]),
        environment={**kind.environment, "PYTHONPATH": str(COMPILED)},
    )


def gateway(*, transcoding: bool, command: Sequence[str], environment: Mapping[str, str]) -> ServerKind:
    """Return the gateway with everything on: recording, metrics, playout, marks."""
    audio = "pcm16" if transcoding else "pcmu"
    return ServerKind(
        name="gateway",
        command=command,
        environment={
            "OFFHOOK_PORT": "{port}",
            "OFFHOOK_REALTIME_URL": "{url}",
            "OFFHOOK_REALTIME_API_KEY": "bench",
            "OFFHOOK_MEDIA_AUTH": "none",
            "OFFHOOK_DATA_DIR": "{data}",
            "OFFHOOK_RECORDING": "true",
            "OFFHOOK_REALTIME_INPUT_FORMAT": audio,
            "OFFHOOK_REALTIME_OUTPUT_FORMAT": audio,
            **environment,
        },
    )


class Server:
    """A started server process and its children, read through /proc."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def cpu_seconds(self) -> float:
        """User and system time so far of the process and its living descendants."""
        return sum(_cpu_ticks(pid) for pid in self._pids()) * _TICK

    def resident_bytes(self) -> int:
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._pids())
        return pages * os.sysconf("SC_PAGE_SIZE")

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def _pids(self) -> Iterator[int]:
        waiting = [self._process.pid]
        while waiting:
            pid = waiting.pop()
            yield pid
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, children.read_text().split())


def _cpu_ticks(pid: int) -> int:
    """proc(5): utime and stime are fields 14 and 15; the second, the name, may hold spaces."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def core_busy_seconds(core: int) -> float:
    """Seconds `core` has spent on anything but idling, theft by the host included (proc(5), /proc/stat)."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, values[:8])
            return (user + nice + system + irq + softirq + steal) * _TICK
    raise BenchmarkError(f"/proc/stat knows no core {core}")


@contextmanager
def started(kind: ServerKind, *, port: int, model_port: int, core: int | None) -> Iterator[Server]:
    """Start the server pinned to `core`, wait until it is ready, end it with the block."""
    with tempfile.TemporaryDirectory(prefix="offhook-bench-") as data:
        words = {
            "python": sys.executable,
            "port": str(port),
            "url": f"ws://127.0.0.1:{model_port}/v1/realtime",
            "data": data,
        }
        log = Path(data) / "server.log"
        with log.open("wb") as output, affinity(core):
            process = subprocess.Popen(
                [part.format_map(words) for part in kind.command],
                cwd=ROOT,
                env=os.environ | {name: value.format_map(words) for name, value in kind.environment.items()},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _await_ready(process, port, kind.ready_status)
            yield Server(process)
        except BenchmarkError as fault:
            tail = log.read_text(errors="replace")[-2000:]
            raise BenchmarkError(f"{kind.name}: {fault}\n--- the end of its log ---\n{tail}") from fault
        finally:
            _end(process)


@contextmanager
def affinity(core: int | None) -> Iterator[None]:
    """Stay on one core inside the block; what is started there inherits it."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _await_ready(process: subprocess.Popen[bytes], port: int, status: int) -> None:
    deadline = time.monotonic() + READY_WITHIN
    answer = "nothing"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchmarkError(f"ended with {process.returncode} before it was ready")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readiness")
            answer = str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as fault:
            answer = str(fault)
        finally:
            connection.close()
        if answer == str(status):
            return
        time.sleep(0.05)
    raise BenchmarkError(f"not ready within {READY_WITHIN:.0f} s: GET /readiness gave {answer}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

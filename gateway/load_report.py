"""What a load came to: every call's figures put together, in memory that does not grow with calls or time.

A `Distribution` counts values in buckets half a percent wide, so that percentiles of hours of frames cost the same
few kilobytes as those of one call; its least and greatest values are exact.
"""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil, log
from typing import Any

from gateway.call_report import Silenced, milliseconds

# Each bucket is so much wider than the one before: a percentile is off by half of this at most.
_GROWTH = 1.005
_STEP = log(_GROWTH)
# What is shorter than a microsecond is nothing, to a clock and to us.
_LEAST = 1e-6


class Distribution:
    """Seconds, counted. Percentiles are of the nearest rank, right within a quarter of a percent."""

    def __init__(self) -> None:
        self.count = 0
        self.least = float("inf")
        self.greatest = float("-inf")
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self.count += 1
        if seconds < self.least:
            self.least = seconds
        if seconds > self.greatest:
            self.greatest = seconds
        self._buckets[int(log(seconds / _LEAST) / _STEP) if seconds > _LEAST else 0] += 1

    def percentile(self, share: float) -> float | None:
        """Return the value that `share` of all are not above; None without any."""
        if not self.count:
            return None
        rank = max(1, ceil(share * self.count))
        passed = 0
        for bucket in sorted(self._buckets):
            passed += self._buckets[bucket]
            if passed >= rank:
                return self._within(_LEAST * _GROWTH ** (bucket + 0.5))
        return self.greatest

    def _within(self, value: float) -> float:
        return min(max(value, self.least), self.greatest)

    def report(self) -> dict[str, float | int | None]:
        """Return the figures as JSON has them, in milliseconds."""
        return {
            "count": self.count,
            "p50_ms": _fine(self.percentile(0.50)),
            "p95_ms": _fine(self.percentile(0.95)),
            "p99_ms": _fine(self.percentile(0.99)),
            "max_ms": _fine(self.greatest if self.count else None),
        }


def _fine(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


@dataclass(slots=True)
class Tally:
    """Every call's figures together. Driven by the load as calls proceed and end."""

    started: int = 0
    ok: int = 0
    interrupted: int = 0
    """Calls hung up, or never placed, because somebody had enough."""
    failed: Counter[str] = field(default_factory=Counter)
    call_seconds: float = 0.0
    """Of the calls that have ended."""

    setup: Distribution = field(default_factory=Distribution)
    first_heard: Distribution = field(default_factory=Distribution)
    latency: Distribution = field(default_factory=Distribution)
    """Of echoed frames, or of answers."""
    mark_lateness: Distribution = field(default_factory=Distribution)
    """The latest mark of each call."""
    barge_in_clear: Distribution = field(default_factory=Distribution)
    barge_in_silence: Distribution = field(default_factory=Distribution)

    frames_said: int = 0
    frames_sent: int = 0
    frames_lost: int = 0
    frames_reordered: int = 0
    frames_unsent: int = 0
    echo_sent: int = 0
    echo_returned: int = 0
    turns: int = 0
    marks_received: int = 0
    marks_played: int = 0
    marks_flushed: int = 0
    barge_ins: int = 0
    barge_ins_uncleared: int = 0
    underruns: int = 0
    stutters: int = 0
    awaited_in_vain: int = 0
    complaints: Counter[str] = field(default_factory=Counter)

    def silenced(self, barge_in: Silenced) -> None:
        self.barge_ins += 1
        if barge_in.clear is None:
            self.barge_ins_uncleared += 1
        else:
            self.barge_in_clear.add(barge_in.clear)
        if barge_in.silence is not None:
            self.barge_in_silence.add(barge_in.silence)

    @property
    def done(self) -> int:
        return self.ok + self.interrupted + self.failed.total()

    @property
    def lost(self) -> int:
        """Frames that went missing on calls that have ended, whoever lost them."""
        return self.frames_lost + self.frames_unsent + self.echo_sent - self.echo_returned


@dataclass(frozen=True, slots=True)
class Generator:
    """How busy the generator itself was: what it measured beside itself."""

    cpu_share: float
    """Of one core, over the whole load."""
    peak_cpu_share: float
    """In the worst second."""
    late: Distribution
    """How late its event loop met a deadline."""

    @property
    def limit(self) -> str | None:
        """Return why it measured itself rather than the gateway; None if it did not."""
        if self.peak_cpu_share > CPU_LIMIT:
            return f"it took {self.peak_cpu_share:.0%} of a core at its worst; use fewer calls or several generators"
        late = self.late.percentile(0.99)
        if late is not None and late > LATE_LIMIT:
            return f"its loop was {late * 1000:.0f} ms late (p99); this machine is busy with something else"
        return None


# Beyond these the figures are the generator's own: its queue grows with its load, and a frame is timed by the
# moment its loop came to read it. Half a frame is as late as a figure of milliseconds bears.
CPU_LIMIT = 0.70
LATE_LIMIT = 0.010


@dataclass(frozen=True, slots=True)
class Server:
    """What the gateway's process took."""

    pid: int
    cpu_seconds: float
    rss_before: int
    rss_peak: int
    gone: bool
    """The process ended before the load did."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """A load that is over."""

    url: str
    carrier: str
    calls: int
    ramp: float
    echo: bool
    seconds: float
    peak_live: int
    tally: Tally
    generator: Generator
    server: Server | None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        tally = self.tally
        return {
            "url": self.url,
            "carrier": self.carrier,
            "calls": {
                "asked": self.calls,
                "started": tally.started,
                "ok": tally.ok,
                "failed": tally.failed.total(),
                "failed_by_reason": dict(tally.failed.most_common()),
                "interrupted": tally.interrupted,
                "peak_live": self.peak_live,
                "call_seconds": round(tally.call_seconds, 2),
            },
            "ramp_per_second": self.ramp,
            "seconds": round(self.seconds, 2),
            "setup": tally.setup.report(),
            "first_heard": tally.first_heard.report(),
            "frames": {
                "said": tally.frames_said,
                "sent": tally.frames_sent,
                "lost_by_plan": tally.frames_lost,
                "overtaken_by_plan": tally.frames_reordered,
                "unsent": tally.frames_unsent,
            },
            "echo": {
                "sent": tally.echo_sent,
                "returned": tally.echo_returned,
                "lost": tally.echo_sent - tally.echo_returned,
                "added_latency": tally.latency.report(),
            }
            if self.echo
            else None,
            "answers": None if self.echo else {"turns": tally.turns, "latency": tally.latency.report()},
            "marks": {
                "received": tally.marks_received,
                "returned_when_played": tally.marks_played,
                "returned_on_clear": tally.marks_flushed,
                "not_returned": tally.marks_received - tally.marks_played - tally.marks_flushed,
                "lateness_worst_per_call": tally.mark_lateness.report(),
            },
            "barge_ins": {
                "count": tally.barge_ins,
                "never_cleared": tally.barge_ins_uncleared,
                "to_clear": tally.barge_in_clear.report(),
                "to_silence": tally.barge_in_silence.report(),
            },
            "underruns": {"all": tally.underruns, "within_a_reply": tally.stutters},
            "awaited_in_vain": tally.awaited_in_vain,
            "carrier_errors": dict(tally.complaints),
            "generator": self._generator(),
            "server": self._server(),
        }

    def _generator(self) -> dict[str, Any]:
        generator = self.generator
        return {
            "cpu_share": round(generator.cpu_share, 3),
            "peak_cpu_share": round(generator.peak_cpu_share, 3),
            "loop_late": generator.late.report(),
            "is_the_limit": generator.limit is not None,
            "why": generator.limit,
        }

    def _server(self) -> dict[str, Any] | None:
        server = self.server
        if server is None:
            return None
        seconds, peak = self.tally.call_seconds, self.peak_live
        grown = max(0, server.rss_peak - server.rss_before)
        return {
            "pid": server.pid,
            "cpu_ms_per_call_second": round(server.cpu_seconds * 1000 / seconds, 3) if seconds else None,
            "cpu_share": round(server.cpu_seconds / self.seconds, 3) if self.seconds else None,
            "rss_before_mb": round(server.rss_before / 1e6, 1),
            "rss_peak_mb": round(server.rss_peak / 1e6, 1),
            "rss_mb_per_call": round(grown / 1e6 / peak, 3) if peak else None,
            "ended_early": server.gone,
        }

    def above(self, limit_ms: float) -> str | None:
        """Return what is wrong if the 99th percentile of the latency is not within `limit_ms`."""
        p99 = milliseconds(self.tally.latency.percentile(0.99))
        what = "added latency" if self.echo else "answer latency"
        if p99 is None:
            return f"no {what} was measured"
        return f"{what} p99 is {p99:g} ms, above {limit_ms:g} ms" if p99 > limit_ms else None

"""What a simulated call has to tell when it is over: whose call it was, what was heard, what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from telephony.caller import Note
from telephony.line import Cut, Gap, Playout, ReturnedMark


class EndedBy(Enum):
    """Whose doing the end of the call was."""

    CALLER = "caller"
    GATEWAY = "gateway"
    LIMIT = "limit"
    """The call had lasted as long as it may."""
    DROPPED = "dropped"
    """The plan dropped the stream for good."""
    REFUSED = "refused"
    """No stream could be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """One media socket of the call."""

    stream_id: str
    url: str
    opened_at: float
    position: int
    """Where in all the gateway sent on this call this stream begins."""
    closed_at: float | None
    close_code: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BargedIn:
    """The caller spoke into the agent's audio."""

    at: float
    """When the barge-in's first frame left the carrier."""
    clear_at: float | None
    """When the gateway's clear had reached the line."""
    silent_at: float | None
    """When the caller last heard the audio that was barged into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoLatency:
    """How long tagged frames took from the simulator's socket to the gateway and back, in seconds."""

    sent: int
    returned: int
    p50: float
    p95: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, sent: int, latencies: Sequence[float]) -> "EchoLatency | None":
        if not latencies:
            return None
        ranked = sorted(latencies)

        def percentile(share: float) -> float:  # the nearest rank
            return ranked[min(len(ranked) - 1, max(0, -int(-share * len(ranked) // 1) - 1))]

        return cls(
            sent=sent,
            returned=len(ranked),
            p50=percentile(0.50),
            p95=percentile(0.95),
            p99=percentile(0.99),
            maximum=ranked[-1],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """Everything a simulated call has to tell. Times are seconds on the loop's clock."""

    carrier: str
    call_id: str
    ended_by: EndedBy
    refusal: str = ""
    began_at: float
    accepted_at: float | None
    """When the first websocket upgrade was answered."""
    started_at: float | None
    """When the stream first started; frame n of the caller lies n * 20 ms after."""
    agent_heard_at: float | None
    """When the caller first heard something."""
    ended_at: float
    close_code: int | None
    close_reason: str
    streams: tuple[StreamRecord, ...]

    frames_said: int
    frames_sent: int
    frames_lost: int
    """By the plan."""
    frames_reordered: int
    frames_unsent: int
    """Said while no stream was up, or held back because the gateway did not read."""
    messages_received: int
    media_received: int
    received: int
    """Samples the gateway sent."""
    played: int
    dropped: int
    discarded: int
    underruns: int
    gaps: tuple[Gap, ...]
    tails: int
    """Messages whose audio was not whole frames (Telnyx)."""

    marks_received: int
    marks_played: int
    marks_flushed: int
    marks: tuple[ReturnedMark, ...]
    mark_lateness: float
    """The latest a mark was sent back after it was due: this simulator's own lag."""
    clears: tuple[Cut, ...]
    breaks: tuple[Cut, ...]
    playouts: tuple[Playout, ...]
    barge_ins: tuple[BargedIn, ...]
    digits: str
    timeouts: int
    latency: EchoLatency | None
    latencies: tuple[float, ...]
    complaints: Mapping[str, int]
    """What the gateway did wrong, by the carrier's error code."""
    complaint_details: tuple[str, ...]
    timeline: tuple[Note, ...]

    heard: bytes
    """PCM16 at the rate of the call, from `started_at` to `ended_at`: sample n was heard n / rate later."""
    heard_rate: int

    @property
    def accepted(self) -> bool:
        return self.accepted_at is not None

    @property
    def setup_time(self) -> float | None:
        """From dialling the media socket to the first thing heard."""
        return None if self.agent_heard_at is None else self.agent_heard_at - self.began_at

"""What the bridge wants done: bytes for each socket, and actions for the shell to perform."""

from dataclasses import dataclass, field

from control.media_orders import Report
from control.timeline import TimelineEvent


@dataclass(frozen=True, slots=True)
class CloseCarrier:
    """Close the carrier's media socket."""

    code: int = 1000


@dataclass(frozen=True, slots=True)
class CloseAgent:
    """Close the agent's socket."""


@dataclass(frozen=True, slots=True)
class ConnectAgent:
    """Open a (new) agent session after `delay` seconds."""

    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class UseProvider:
    """From here on agent sessions are opened with another provider: the nth of the call's, from 0."""

    index: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The call is over: write its record, free its slot."""

    ended_reason: str


@dataclass(frozen=True, slots=True)
class Synthesise:
    """Render a text; the bridge waits for `prompt_ready` or `prompt_failed` with the same ticket."""

    ticket: str
    text: str
    voice: str | None
    language: str | None


Action = CloseCarrier | CloseAgent | ConnectAgent | UseProvider | Finish | Synthesise


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A stretch of the recording in which nothing was recorded: silence, at no cost to the disk."""

    samples: int


@dataclass(slots=True)
class Outputs:
    """Filled by the bridge, drained by the shell after every input, carrier first: a clear goes before all else."""

    carrier: list[bytes] = field(default_factory=list)
    agent: list[bytes] = field(default_factory=list)
    recording: list[bytes | Unrecorded] = field(default_factory=list)
    """Interleaved stereo PCM16, ready for the file."""
    actions: list[Action] = field(default_factory=list)
    news: list[Report | TimelineEvent] = field(default_factory=list)
    """For the call's machine and for whoever follows the timeline, in the order in which things happened; only of a
    controlled call."""

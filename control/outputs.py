"""What the bridge wants done: bytes for each socket, and actions for the shell to perform."""

from dataclasses import dataclass, field


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
class Finish:
    """The call is over: write its record, free its slot."""

    ended_reason: str


Action = CloseCarrier | CloseAgent | ConnectAgent | Finish


@dataclass(slots=True)
class Outputs:
    """Filled by the bridge, drained by the shell after every input, carrier first: a clear goes before all else."""

    carrier: list[bytes] = field(default_factory=list)
    agent: list[bytes] = field(default_factory=list)
    recording: list[bytes] = field(default_factory=list)
    """Interleaved stereo PCM16, ready for the file."""
    actions: list[Action] = field(default_factory=list)

"""What a call is allowed and how long it waits: the part of an agent's configuration that the bridge obeys."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeIn:
    """When caller speech cuts the agent off."""

    enabled: bool = True
    min_speech: float = 0.0
    """Seconds of caller speech before it counts; 0 leaves the decision to the model's voice detection."""
    protect_greeting: bool = False
    """The greeting is heard to its end."""

    @property
    def ours(self) -> bool:
        """Whether the gateway decides, so that the model must neither interrupt nor respond on its own."""
        return not self.enabled or self.min_speech > 0 or self.protect_greeting


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitPolicy:
    """What becomes of keys pressed outside a gather."""

    to_model: bool = True
    interrupts: bool = False
    """Whether a group of digits cuts the agent off as speech would."""
    in_band: bool = False
    """Whether tones in the caller's audio count: for a carrier that reports no digits of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long each phase may last, in seconds."""

    close_grace: float = 2.0
    """A lost carrier socket may be replaced for this long; brief reconnects are common (lessons, 8)."""
    media_watchdog: float = 30.0
    """A stream that carries nothing for this long is dead, whatever its socket says."""
    silence: float | None = None
    """Nobody has spoken for this long, counted from the end of what was last heard; None: never mind."""
    max_duration: float = 14_400.0
    """Four hours: the carriers' own limit."""
    goodbye: float = 10.0
    """At most this long for what is being said to be heard before the call ends."""
    agent_retries: tuple[float, ...] = (0.0, 0.5, 1.5)
    """Waits before each attempt to replace a lost agent session; the call ends when they are used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """Everything the bridge needs to know of the agent's configuration."""

    greeting: str | None = None
    """What the agent says first, as an instruction; None lets the caller speak first."""
    barge_in: BargeIn = field(default_factory=BargeIn)
    digits: DigitPolicy = field(default_factory=DigitPolicy)
    deadlines: Deadlines = field(default_factory=Deadlines)
    lead: float = 0.200
    heard_offset: float = 0.0
    """Seconds between the carrier and the caller's ear."""
    uplink_frames: int = 1
    """20 ms frames per message to the model."""
    vad_silence: float = 0.5
    """The silence after which the model calls the caller's speech ended."""
    record: bool = True
    providers: tuple[str, ...] = ("default",)
    """Where the agent's session may be had, by name: the first, and those that are tried when it fails."""
    controlled: bool = False
    """Whether a call's machine stands beside the bridge: it is reported to, and decides when the call ends."""

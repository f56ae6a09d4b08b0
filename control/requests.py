"""What users ask of a live call, the same for every carrier: made by the API, decided upon by the call's machine.

Times are seconds. Every value is valid when it is made: the API has checked it, and says so to who sent it.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from media.realtime.events import Role
from telephony.commands import Voice


class After(StrEnum):
    """When something is to happen."""

    NOW = "now"
    PLAYOUT = "playout"
    """Once what is being said was heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCall:
    """Hang up. Idempotent."""

    after: After = After.PLAYOUT
    released: bool = False
    """Also a leg that was transferred: the only way in which we ever touch one."""


class OnFailure(StrEnum):
    """What becomes of the caller when a transfer fails."""

    RETURN_TO_AGENT = "return_to_agent"
    HANGUP = "hangup"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCall:
    """Connect the caller to somebody else."""

    transfer_id: str
    destination: str
    """E.164 or a SIP URI."""
    caller_id: str | None = None
    """None: the number the call came to, or was made from."""
    ring_timeout: int = 30
    after: After = After.PLAYOUT
    announce: str | None = None
    """Said to the caller first, verbatim."""
    on_failure: OnFailure = OnFailure.RETURN_TO_AGENT
    refer: bool = False
    """By SIP REFER: the call leaves the carrier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTransfer:
    """Stop dialling; remembered until the second leg has a name."""


class GatherMode(StrEnum):
    """Who gathers."""

    AUTO = "auto"
    CARRIER = "carrier"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    """Ask the caller for digits."""

    gather_id: str
    prompt: str
    max_digits: int = 10
    terminator: str = "#"
    """Empty: none."""
    timeout: int = 15
    """From the end of the prompt to the first digit."""
    inter_digit_timeout: int = 5
    voice: Voice = Voice.FEMALE
    language: str = "en-US"
    valid_digits: str | None = None
    sensitive: bool = False
    """Whether the digits may appear nowhere but in the gather's own webhook."""
    mode: GatherMode = GatherMode.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelGather:
    """Stop gathering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDigits:
    """Press keys for the far end."""

    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Have the agent say something."""

    text: str
    verbatim: bool = False
    """Word for word, by the speech port; else the model is instructed to say it."""
    interruptible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayAudio:
    """Play audio to the caller: already fetched and decoded, PCM16 at `rate`, mono."""

    audio: bytes = field(repr=False)
    rate: int
    loop: bool = False
    after: After = After.NOW
    source: str = ""
    """Where it came from, for the timeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPlaying:
    """Stop what `PlayAudio` began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inject:
    """Tell the model something, in mid-call."""

    role: Role
    """SYSTEM or CALLER."""
    text: str
    respond: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Hold audio to the caller, the agent deaf and mute."""

    audio: bytes | None = field(default=None, repr=False)
    """PCM16 at `rate`, mono, played in a loop; None: the built-in tone."""
    rate: int = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """The caller is off hold."""


class RecordingAction(StrEnum):
    """What can be done to the gateway's recording."""

    START = "start"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRecording:
    """Start, stop, pause or resume the gateway's recording; a pause is silence in the file."""

    action: RecordingAction


CallRequest = (
    EndCall
    | TransferCall
    | CancelTransfer
    | Gather
    | CancelGather
    | SendDigits
    | Say
    | PlayAudio
    | StopPlaying
    | Inject
    | Hold
    | Resume
    | ControlRecording
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A request was taken; what comes of it, events tell."""

    facts: dict[str, object] = field(default_factory=dict)
    """What the answer says beyond that, such as `mode`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A request cannot be done: an HTTP status, a stable code (`docs/api-errors.md`), and why."""

    status: int
    code: str
    detail: str


Answer = Accepted | Refused

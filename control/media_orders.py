"""What a call's machine orders of its media (the bridge), and what the media reports back.

The two machines of a live call run on one loop and know each other by these values alone. Times are seconds on the
loop's clock; audio is PCM16, mono, at the rate given.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from control.requests import RecordingAction
from media.realtime.configuration import ToolSpec
from media.realtime.events import Role
from telephony.causes import EndedReason


class Unheard(Enum):
    """What becomes of agent audio that the caller has not heard when the stream breaks."""

    CUT = auto()
    """As in a barge-in: the model is told what was heard (gather, transfer)."""
    KEEP = auto()
    """Sent again on the next stream (re-attachment, digits)."""


@dataclass(frozen=True, slots=True)
class ExpectBreak:
    """The stream is about to end by our own doing: grace, watchdog and silence ladder rest until `ExpectStream`
    or the next start; the agent is held."""

    unheard: Unheard


@dataclass(frozen=True, slots=True)
class ExpectStream:
    """The stream is to be there again from here on: its absence counts as a loss."""


@dataclass(frozen=True, slots=True)
class HoldAgent:
    """The agent hears silence and is not heard; what it says meanwhile is dropped and it is told so. A greeting that
    has not begun waits for the release.

    `tone` plays the built-in hold tone, `audio` a loop of the caller's own; neither: silence.
    """

    reason: str
    """`hold`, `gather`, `transfer` or `machine` (who answered is not known yet, or is no person); holds nest by
    reason."""
    tone: bool = False
    audio: bytes | None = field(default=None, repr=False)
    rate: int = 8_000


@dataclass(frozen=True, slots=True)
class ReleaseAgent:
    """The hold of that reason is over; when the last one is, the agent hears and speaks again."""

    reason: str
    tell: str | None = None
    """What the model is told of the meantime, as a system item."""
    respond: bool = False
    """Whether it is asked to speak at once."""


@dataclass(frozen=True, slots=True)
class AwaitPlayout:
    """Report `PlayedOut(ticket)` once what is being said was heard, or after the goodbye limit; no barge-in and no
    new turn until then."""

    ticket: str


@dataclass(frozen=True, slots=True)
class CancelAwait:
    """Nobody waits for that ticket any more."""

    ticket: str


@dataclass(frozen=True, slots=True)
class SpeakText:
    """Say a fixed text by the speech port, as an item of its own; `PromptPlayed(ticket)` when it was heard."""

    ticket: str
    text: str
    voice: str | None = None
    language: str | None = None
    interruptible: bool = True
    patient: bool = False
    """Whether it begins only once nothing else is being said, not right behind that."""


@dataclass(frozen=True, slots=True)
class DropText:
    """Whatever text of that ticket has not begun is not said any more."""

    ticket: str


@dataclass(frozen=True, slots=True)
class InstructAgent:
    """Have the model say something in its own words and voice."""

    text: str


@dataclass(frozen=True, slots=True)
class PlayFile:
    """Play audio to the caller; `PromptPlayed(ticket)` when it was heard.

    Once: said as a prompt is, in its turn, and the caller's speech interrupts it. In a loop: whenever nothing is being
    said, until `StopFile`.
    """

    ticket: str
    audio: bytes = field(repr=False)
    rate: int
    loop: bool = False


@dataclass(frozen=True, slots=True)
class StopFile:
    """Stop what `PlayFile` plays."""


@dataclass(frozen=True, slots=True)
class PlayFiller:
    """Keep the caller company with audio in a loop, whenever neither anything is said nor a file plays."""

    ticket: str
    audio: bytes = field(repr=False)
    rate: int


@dataclass(frozen=True, slots=True)
class StopFiller:
    """Stop what `PlayFiller` plays, and nothing else."""


@dataclass(frozen=True, slots=True)
class TellAgent:
    """Put an item into the conversation; optionally ask for a response."""

    role: Role
    text: str
    respond: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconfigure:
    """Go on with other instructions, tools or greeting; None: with the same.

    The model is told before its greeting, or at the next moment in which it says nothing. A greeting that was asked
    for already stays what it was; an empty one lets the caller speak first.
    """

    instructions: str | None = field(default=None, repr=False)
    greeting: str | None = field(default=None, repr=False)
    tools: tuple[ToolSpec, ...] | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a tool the model called; it is asked to go on."""

    tool_call_id: str
    output: str = field(repr=False)
    """JSON, for the model."""


@dataclass(frozen=True, slots=True)
class CollectDigits:
    """Digits go to the call's machine as `DigitReported` and not to the model; `secret` ones leave no other trace and
    the recording and the model hear silence meanwhile."""

    secret: bool = False


@dataclass(frozen=True, slots=True)
class StopCollecting:
    """Digits go to the model again."""


@dataclass(frozen=True, slots=True)
class Record:
    """Start, stop, pause or resume the recording."""

    action: RecordingAction


@dataclass(frozen=True, slots=True)
class Release:
    """The caller is connected to somebody else: close the agent session, keep nothing open, free the slot; the call
    itself goes on without media."""


@dataclass(frozen=True, slots=True)
class EndMedia:
    """The call is over for this reason: close both legs, write the files."""

    reason: EndedReason


MediaOrder = (
    ExpectBreak
    | ExpectStream
    | HoldAgent
    | ReleaseAgent
    | AwaitPlayout
    | CancelAwait
    | SpeakText
    | DropText
    | InstructAgent
    | PlayFile
    | StopFile
    | PlayFiller
    | StopFiller
    | TellAgent
    | Reconfigure
    | ToolResult
    | CollectDigits
    | StopCollecting
    | Record
    | Release
    | EndMedia
)


# What the media reports


@dataclass(frozen=True, slots=True)
class StreamUp:
    """The carrier's stream said `start`."""

    generation: int
    stream_id: str


@dataclass(frozen=True, slots=True)
class StreamDown:
    """The stream is gone: `stopped` if the carrier said so, else its socket was lost."""

    generation: int
    stopped: bool


@dataclass(frozen=True, slots=True)
class StreamMissing:
    """The stream was lost and nobody has replaced it within the grace time."""


@dataclass(frozen=True, slots=True)
class MediaDead:
    """The inbound-media watchdog: nothing has come for too long."""


@dataclass(frozen=True, slots=True)
class AgentUp:
    """The agent session is ready; `joined` once the caller's stream is up too (`call.started`)."""

    joined: bool


@dataclass(frozen=True, slots=True)
class AgentGone:
    """The agent session is lost for good: no replacement can be had."""

    reason: str


@dataclass(frozen=True, slots=True)
class PlayedOut:
    """What was being said was heard, or waiting for it took too long."""

    ticket: str
    in_time: bool = True


@dataclass(frozen=True, slots=True)
class PromptPlayed:
    """A prompt or file was heard to its end; `ok` is False where it was cut or could not be said."""

    ticket: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DigitReported:
    """A key, while digits are collected."""

    digit: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SilenceLasted:
    """Nobody has spoken for the silence timeout, counted from the end of playout."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Somebody has spoken again: the silence ladder starts from its beginning."""


@dataclass(frozen=True, slots=True)
class ToolAsked:
    """The model calls a tool; `arguments` is JSON as it wrote it."""

    tool_call_id: str
    name: str
    arguments: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MediaEnded:
    """Both legs are closed and the files are written."""


Report = (
    StreamUp
    | StreamDown
    | StreamMissing
    | MediaDead
    | AgentUp
    | AgentGone
    | PlayedOut
    | PromptPlayed
    | DigitReported
    | SilenceLasted
    | Spoken
    | ToolAsked
    | MediaEnded
)

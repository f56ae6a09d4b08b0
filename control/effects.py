"""What a call's machine wants done: by the carrier, by the media, by the store, and told to who asked.

Theory of operation. `Call.handle` returns effects in the order in which they are to happen. The service applies
`Order`s at once (a clear never waits for a database), keeps `Publish`ed events and the record in one transaction,
then `Perform`s commands and answers tickets. What became of a command comes back to the machine as an input.
"""

from dataclasses import dataclass, field

from control.media_orders import MediaOrder
from control.requests import Answer
from control.tool_log import ToolRun
from telephony.client_errors import Performed, Verdict
from telephony.commands import (
    CallCommand,
    GatherDigits,
    MediaStream,
    Play,
    RejectReason,
    SendDigits,
    Speak,
    Transfer,
)


@dataclass(frozen=True, slots=True)
class Perform:
    """Ask the carrier; `CommandDone` or `CommandRefused` comes of it, with the same `command_id`."""

    command: CallCommand


@dataclass(frozen=True, slots=True)
class Order:
    """Ask the media, at once."""

    order: MediaOrder


@dataclass(frozen=True, slots=True)
class Publish:
    """Something happened: into the call's timeline and, if its name is one of `call_record.PUBLISHED`, to users."""

    name: str
    data: dict[str, object] = field(default_factory=dict)
    secret: tuple[str, ...] = ()
    """Fields of `data` that may stand in the webhook of this event and nowhere else: not in the timeline, not in
    other streams of events, not in a log (the digits of a sensitive gather)."""
    tool_run: ToolRun | None = None
    """The run of a tool that this is the end of: written down with it."""
    tool_begun: ToolRun | None = None
    """The run of a tool that this is the beginning of: on record until its end is."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the request that came with this ticket."""

    ticket: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run one of the agent's own tools; `ToolFinished` comes of it, whatever happens."""

    tool_call_id: str
    name: str
    arguments: str = field(repr=False)
    """JSON as the model wrote it: not validated."""


@dataclass(frozen=True, slots=True)
class StartMedia:
    """Begin the call's media: connect the agent now, before any stream is there (pre-warm)."""


@dataclass(frozen=True, slots=True)
class RevokeTokens:
    """Whatever stream tokens of this call are unused are worth nothing any more."""


@dataclass(frozen=True, slots=True)
class Close:
    """The call has ended and its record is final: free its slot, forget it when everything else is done."""


Effect = Perform | Order | Publish | Reply | RunTool | StartMedia | RevokeTokens | Close


# What a request for a document is answered with


@dataclass(frozen=True, slots=True)
class Attach:
    """Open a media stream."""

    stream: MediaStream


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not take the call."""

    reason: RejectReason


@dataclass(frozen=True, slots=True)
class PutDown:
    """Hang up."""


Instruction = Attach | Refuse | PutDown | GatherDigits | Transfer | SendDigits | Speak | Play
"""A document's meaning; the carrier's own client writes it (`telephony.twilio.twiml`)."""


# What became of a command


@dataclass(frozen=True, slots=True)
class CommandDone:
    """The carrier accepted it."""

    command_id: str
    performed: Performed


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """It was not performed, all retries that its verdict allows included."""

    command_id: str
    verdict: Verdict
    detail: str
    code: str | None = None


CommandOutcome = CommandDone | CommandRefused

"""What carriers say of calls, the same for every carrier: one value for each thing that happened to a leg.

Theory of operation. Webhooks come at least once, in any order, and late: nothing here says what a call *is*,
only what a carrier reported. Every event carries an `Origin`: which message it came in (for de-duplication),
when the carrier says it happened, and every name the leg goes by, since no single one of them is reliable
(Telnyx changes `call_control_id` between the answer to a dial and the webhooks, and shares the session id
between both legs of a transfer).

A leg that a transfer dialled has events of its own (`TransferLeg...`), so that no router can take its end for
the end of the call. Parsers tell it by our `LegToken`; where a carrier has lost the token, the owner of the
call can tell it by its leg id, and says so with `as_transfer_leg`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from telephony.causes import AnsweredBy, Direction, HangupCause, HangupSource
from telephony.events import Unrecognised


@dataclass(frozen=True, slots=True)
class LegToken:
    """Our own name for a leg, which the carrier repeats in whatever it says of it.

    Telnyx carries it as `client_state`, Twilio in the path or query of the URLs it calls. It names, it does
    not authorise: requests are believed for their signature.
    """

    call_id: str
    transfer_id: str | None = None
    """Set on the leg that this transfer dialled; None on the leg of the call itself."""
    operation: str | None = None
    """What was last commanded on the leg under a name of its own, such as a gather's id."""

    def __post_init__(self) -> None:
        for name in (self.call_id, self.transfer_id, self.operation):
            if name is not None and not _NAME.fullmatch(name):
                raise ValueError("an id in a leg token is 1 to 64 letters, digits, '_' or '-'")

    def __str__(self) -> str:
        """The token as text, safe in a path and a query: `call`, `call.transfer`, `call~operation`."""
        transfer = f".{self.transfer_id}" if self.transfer_id else ""
        operation = f"~{self.operation}" if self.operation else ""
        return f"{self.call_id}{transfer}{operation}"

    @classmethod
    def parse(cls, text: str) -> "LegToken | None":
        """Return the token that `text` is; None if it is none of ours."""
        found = _TOKEN.fullmatch(text)
        return None if found is None else cls(*found.groups())


_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOKEN = re.compile(rf"({_NAME.pattern})(?:\.({_NAME.pattern}))?(?:~({_NAME.pattern}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which message an event came in, and of which leg it speaks."""

    carrier: str
    event_id: str
    """The same on every delivery of the same event, different on any other: what duplicates are told by."""
    occurred_at: datetime | None = None
    """When it happened, by the carrier's clock (aware); None where the carrier does not say."""
    sequence: int | None = None
    """The event's place among those of its leg, where the carrier numbers them (Twilio status callbacks)."""
    carrier_call_id: str | None = None
    """What commands for this leg are addressed to: Telnyx `call_control_id`, Twilio `CallSid`.

    The latest one wins: Telnyx's may differ from the one the dial answered. None where the carrier leaves it
    out (Telnyx `call.recording.saved`).
    """
    leg_id: str | None = None
    """The leg, and only this leg, for as long as it lives: Telnyx `call_leg_id`, Twilio `CallSid`."""
    session_id: str | None = None
    """Shared by all legs of one conversation (Telnyx `call_session_id`); never an address for commands."""
    parent_call_id: str | None = None
    """The leg that this one was dialled from (Twilio `ParentCallSid`)."""
    account_id: str | None = None
    """Telnyx `connection_id`, Twilio `AccountSid`."""
    token: LegToken | None = None
    """Our own name for the leg; None until we have given it one."""


# The leg of the call


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiated:
    """The leg exists: a call came in and waits to be answered, or the carrier began to dial."""

    origin: Origin
    direction: Direction
    from_number: str
    """E.164, a SIP URI, or a word such as "anonymous"."""
    to_number: str
    caller_name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """SIP and custom headers of the invitation, by name."""
    forwarded_from: str | None = None
    attestation: str | None = None
    """How far the caller's number is vouched for (STIR/SHAKEN), in the carrier's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ringing:
    """The far end rings."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The leg was answered. Its media socket need not be up yet: commands that replace it wait (Twilio)."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridged:
    """The leg hears another one; the first sign that a transfer has succeeded (Telnyx)."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class HungUp:
    """The leg is over, for good."""

    origin: Origin
    cause: HangupCause
    source: HangupSource = HangupSource.UNKNOWN
    """Which role of this leg ended it, where the carrier says so."""
    sip_code: int | None = None
    word: str = ""
    """The cause in the carrier's own word."""
    duration: int | None = None
    """Seconds since the answer, where the carrier counted."""
    answered: bool | None = None
    """Whether the leg had been answered, where the end itself tells: the news of it may have been lost."""
    quality: Mapping[str, float] = field(default_factory=dict)
    """The carrier's figures, such as `inbound.mos`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineDetected:
    """Machine detection has made up its mind."""

    origin: Origin
    answered_by: AnsweredBy
    after: float | None = None
    """Seconds it took, where the carrier says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreetingEnded:
    """The machine's greeting is over: a message may be left now. Only machines have one."""

    origin: Origin
    beep: bool | None
    """Whether the tone was heard; None if the detection could not tell."""


# Digits


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPressed:
    """A key of the caller, outside a gather. The media socket says the same: one of the two counts."""

    origin: Origin
    digit: str = field(repr=False)


class GatherStatus(StrEnum):
    """How a gather by the carrier ended."""

    COMPLETED = "completed"
    TIMEOUT = "timeout"
    """No digit came, or too few of them."""
    INVALID = "invalid"
    """Digits came that were not asked for, as often as may be tried."""
    CANCELLED = "cancelled"
    HANGUP = "hangup"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherEnded:
    """The carrier has stopped gathering; `origin.token.operation` names the gather."""

    origin: Origin
    status: GatherStatus
    digits: str = field(repr=False)
    """Without the terminator; empty if none came."""


# Announcements


class PlayStatus(StrEnum):
    """How an announcement ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    HANGUP = "hangup"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakEnded:
    """Text spoken by the carrier is over."""

    origin: Origin
    status: PlayStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackEnded:
    """A file played by the carrier is over."""

    origin: Origin
    status: PlayStatus
    url: str | None = None
    detail: str = ""


# The media stream, as the carrier's webhooks see it


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingStarted:
    """The carrier has opened a media socket. The socket's own `start` is what counts."""

    origin: Origin
    stream_id: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingStopped:
    """The carrier has closed a media socket; the call may live on."""

    origin: Origin
    stream_id: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingFailed:
    """No media socket could be opened, or it broke: the call stays up, in silence, until we act."""

    origin: Origin
    reason: str
    stream_id: str | None = None
    url: str | None = None


# A transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLegInitiated:
    """The carrier began to dial the destination: from here on its leg has a name and can be hung up."""

    origin: Origin
    to_number: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLegRinging:
    """The destination rings."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLegAnswered:
    """The destination answered."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLegBridged:
    """The destination hears the caller."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferLegHungUp:
    """The destination's leg is over: before it was bridged, the transfer has failed."""

    origin: Origin
    cause: HangupCause
    source: HangupSource = HangupSource.UNKNOWN
    sip_code: int | None = None
    word: str = ""
    """The cause in the carrier's own word."""
    duration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferEnded:
    """The carrier tells the caller's leg how its dialling ended (Twilio `<Dial action>`); `origin` is that leg."""

    origin: Origin
    connected: bool
    """Whether the two ever heard each other: if not, the caller is to be had back."""
    cause: HangupCause
    word: str = ""
    transfer_call_id: str | None = None
    """The destination's leg."""
    duration: int | None = None
    """Seconds the two were connected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferCompleted:
    """The far end has taken the caller over by SIP REFER."""

    origin: Origin
    sip_code: int | None = None
    """Of the final NOTIFY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferFailed:
    """The far end did not take the caller over."""

    origin: Origin
    sip_code: int | None = None


# Afterwards


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSaved:
    """The carrier's own recording can be fetched."""

    origin: Origin
    urls: Mapping[str, str]
    """By format; signed ones are good for about ten minutes (Telnyx)."""
    channels: int | None = None
    recording_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration: int | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFailed:
    """The carrier could not record."""

    origin: Origin
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPart:
    """One product of the carrier that a call has used."""

    product: str
    cost: Decimal
    currency: str | None = None
    rate: Decimal | None = None
    """Per minute."""
    billed: int | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReported:
    """What the carrier charges for the leg."""

    origin: Origin
    total: Decimal | None
    """None if the carrier failed to work it out."""
    currency: str | None = None
    billed: int | None = None
    """Seconds."""
    parts: tuple[CostPart, ...] = ()


# Requests that want a document


class TwimlPurpose(StrEnum):
    """Why a carrier asks what to do next."""

    VOICE = "voice"
    """A call came in, or one that we dialled by URL was answered."""
    AFTER_STREAM = "after-stream"
    """The media socket is gone and the call is not."""
    GATHER = "gather"
    """A gather is over (`GatherEnded` comes with it)."""
    DIAL = "dial"
    """A transfer's dialling is over (`TransferEnded` comes with it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwimlRequested:
    """The carrier waits for a document: the answer to the request is the action.

    Always the last event of its request, and answered however often it comes: a carrier that repeats the
    question has not heard the answer.
    """

    origin: Origin
    purpose: TwimlPurpose
    alive: bool = True
    """Whether the call is still up; if not, nobody will hear the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something that belongs in the call's timeline and that nothing acts on."""

    origin: Origin
    name: str
    """The event's name in the carrier's words."""


CallEvent = (
    Initiated
    | Ringing
    | Answered
    | Bridged
    | HungUp
    | MachineDetected
    | GreetingEnded
    | KeyPressed
    | GatherEnded
    | SpeakEnded
    | PlaybackEnded
    | StreamingStarted
    | StreamingStopped
    | StreamingFailed
    | TransferLegInitiated
    | TransferLegRinging
    | TransferLegAnswered
    | TransferLegBridged
    | TransferLegHungUp
    | TransferEnded
    | ReferCompleted
    | ReferFailed
    | RecordingSaved
    | RecordingFailed
    | CostReported
    | TwimlRequested
    | Noted
)
"""All of them have an `origin`."""

Reported = CallEvent | Unrecognised
"""What one webhook may say; an `Unrecognised` one is counted and has no origin."""


def as_transfer_leg(event: CallEvent) -> CallEvent:
    """Return what `event` says if its leg is the destination's of a transfer; other events as they are."""
    match event:
        case Initiated(origin=origin, to_number=to_number):
            return TransferLegInitiated(origin=origin, to_number=to_number)
        case Ringing(origin=origin):
            return TransferLegRinging(origin=origin)
        case Answered(origin=origin):
            return TransferLegAnswered(origin=origin)
        case Bridged(origin=origin):
            return TransferLegBridged(origin=origin)
        case HungUp():
            return TransferLegHungUp(
                origin=event.origin,
                cause=event.cause,
                source=event.source,
                sip_code=event.sip_code,
                word=event.word,
                duration=event.duration,
            )
        case _:
            return event

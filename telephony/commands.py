"""What we ask of carriers, the same for every carrier: imperatives that a carrier's client turns into requests.

Theory of operation. A command is a value: made by the call's machine, stored, then performed, and performed
again after a failure. `command_id` is the same each time (Telnyx drops repetitions of it; Twilio knows no such
thing, so its client never repeats a dial once the request has left). Times are seconds.

Commands that replace what a carrier is doing break the media stream on Twilio. Those carry `reattach`: the
stream to open afterwards. Telnyx keeps its stream and ignores it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from media.audio import Encoding
from telephony.calls import LegToken

# How long a called number rings, as the carriers' own limits and defaults have it: Telnyx 5 to 600, Twilio 60
# unless told otherwise.
RING_TIMEOUT = 60
# The longest call Telnyx carries, and Twilio's default.
LONGEST_CALL = 14_400


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaStream:
    """A bidirectional media stream that a carrier shall open to us."""

    url: str
    """wss, with this stream's own single-use token in its path: a query would be lost (Twilio)."""
    inbound: Encoding | None = None
    """What the caller's audio is sent in; None leaves it to the leg's codec. Twilio: always PCMU."""
    outbound: Encoding = Encoding.PCMU
    """What we send."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Repeated in the stream's `start`, where the carrier takes any."""
    auth_token: str | None = None
    """Repeated in the upgrade request and `connected` (Telnyx)."""


# A call begins


class MachineDetection(StrEnum):
    """Whether the carrier is to find out who answered."""

    OFF = "off"
    ASYNC = "async"
    """The call begins at once, the result comes when it comes."""
    SYNC = "sync"
    """The call begins with the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Call a number. At most one call comes of it."""

    command_id: str
    token: LegToken
    """By which the carrier's first webhook is known, should it overtake the answer to this request."""
    to: str
    """E.164, or a SIP URI where the carrier takes them."""
    from_number: str
    stream: MediaStream
    """Opened when the call is answered."""
    ring_timeout: int = RING_TIMEOUT
    max_duration: int = LONGEST_CALL
    """From the answer; the carrier's own limit, a little above the one that we keep ourselves."""
    machine_detection: MachineDetection = MachineDetection.OFF
    caller_name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Custom SIP headers, where the carrier takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Take an inbound call. Never of an outbound leg (Telnyx 90102); on Twilio the document does it."""

    command_id: str
    carrier_call_id: str
    token: LegToken
    stream: MediaStream | None = None
    """Opened with the answer."""
    headers: Mapping[str, str] = field(default_factory=dict)


class RejectReason(StrEnum):
    """What the caller of a rejected call is told."""

    BUSY = "busy"
    REJECTED = "rejected"
    NOT_FOUND = "not-found"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """Refuse an inbound call before it is answered: the caller pays nothing. Twilio: by document."""

    command_id: str
    carrier_call_id: str
    reason: RejectReason = RejectReason.BUSY


# A call ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Hangup:
    """End a leg. One that is over already counts as done."""

    command_id: str
    carrier_call_id: str
    ringing: bool = False
    """Whether an outbound leg has not been answered yet (Twilio: `canceled` instead of `completed`)."""


# The media stream


@dataclass(frozen=True, slots=True, kw_only=True)
class StartStream:
    """Open a media stream on an answered call; Twilio replaces the running document for it."""

    command_id: str
    carrier_call_id: str
    token: LegToken
    stream: MediaStream


@dataclass(frozen=True, slots=True, kw_only=True)
class StopStream:
    """Close the media stream; the call stays. Twilio cannot: there the document that follows does it."""

    command_id: str
    carrier_call_id: str
    stream_id: str | None = None
    """None: whichever there are."""


# Digits


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDigits:
    """Press keys for the far end."""

    command_id: str
    carrier_call_id: str
    token: LegToken
    digits: str = field(repr=False)
    """0-9 A-D * #, w waits 0.5 s, W 1 s; up to 64."""
    tone: float = 0.25
    """How long each is held, 0.1 to 0.5 (Telnyx)."""
    reattach: MediaStream | None = None


class Voice(StrEnum):
    """Who speaks for the carrier; each client knows its carrier's name for it."""

    FEMALE = "female"
    MALE = "male"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherDigits:
    """Let the carrier ask for digits; `GatherEnded` comes of it.

    On Twilio the stream ends here, and the answer to the gather's own request opens the next one.
    """

    command_id: str
    carrier_call_id: str
    token: LegToken
    """Its `operation` names the gather, so that the end of an earlier one is not taken for this one's."""
    prompt: str
    voice: Voice = Voice.FEMALE
    language: str = "en-US"
    """BCP 47."""
    max_digits: int = 10
    terminator: str = "#"
    """Ends the gather; empty for none."""
    timeout: int = 15
    """From the end of the prompt to the first digit."""
    inter_digit_timeout: int = 5
    valid_digits: str | None = None
    """Others do not count; None: all do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopGather:
    """Stop gathering; on Twilio by opening the next stream, and no `GatherEnded` follows there."""

    command_id: str
    carrier_call_id: str
    token: LegToken
    reattach: MediaStream | None = None


# Announcements


@dataclass(frozen=True, slots=True, kw_only=True)
class Speak:
    """Let the carrier say a text."""

    command_id: str
    carrier_call_id: str
    token: LegToken
    text: str
    voice: Voice = Voice.FEMALE
    language: str = "en-US"
    reattach: MediaStream | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Let the carrier play a file."""

    command_id: str
    carrier_call_id: str
    token: LegToken
    url: str
    loop: int | None = 1
    """How often; None: until stopped."""
    reattach: MediaStream | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPlay:
    """Stop what the carrier says or plays."""

    command_id: str
    carrier_call_id: str
    token: LegToken
    reattach: MediaStream | None = None


# Transfers


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Dial a destination and let the caller talk to it; the carrier stays in the middle."""

    command_id: str
    carrier_call_id: str
    token: LegToken
    """Of the leg that is dialled: with its `transfer_id`."""
    destination: str
    """E.164, or a SIP URI where the carrier takes them."""
    caller_id: str
    ring_timeout: int = 30
    time_limit: int = LONGEST_CALL
    """From the answer: nothing of ours watches a released leg, so the carrier bounds it."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTransfer:
    """Stop dialling the destination while it rings; the caller is not touched."""

    command_id: str
    carrier_call_id: str
    """The caller's leg."""
    transfer_call_id: str
    """The destination's leg: this one is hung up (Telnyx needs its `call_control_id`, Twilio its `CallSid`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refer:
    """Ask the far end to call somebody else (SIP REFER): the call leaves this carrier."""

    command_id: str
    carrier_call_id: str
    token: LegToken
    sip_address: str
    """`sip:` and so on."""
    headers: Mapping[str, str] = field(default_factory=dict)


# Names


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateClientState:
    """Give the leg another name of ours, without doing anything to it (Telnyx)."""

    command_id: str
    carrier_call_id: str
    token: LegToken


CallCommand = (
    Dial
    | Answer
    | Reject
    | Hangup
    | StartStream
    | StopStream
    | SendDigits
    | GatherDigits
    | StopGather
    | Speak
    | Play
    | StopPlay
    | Transfer
    | CancelTransfer
    | Refer
    | UpdateClientState
)

"""What a carrier's media socket says, the same for every carrier.

Audio itself does not pass here on the hot path: `CarrierStream.scan` hands it over as bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from media.audio import AudioFormat


@dataclass(frozen=True, slots=True)
class Connected:
    """The carrier greeted; nothing is known of the call yet."""

    auth_token: str | None = None
    """What the carrier repeats of our own stream token (Telnyx `stream_auth_token`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The stream carries a call from here on."""

    stream_id: str
    carrier_call_id: str
    """Twilio `callSid`, Telnyx `call_control_id`."""
    inbound: AudioFormat
    """The format of the caller's audio; what we send back may be in another."""
    from_number: str | None = None
    to_number: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MediaReceived:
    """Caller audio that did not take the hot path."""

    chunk: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class DigitReceived:
    """A key the caller pressed; digits may overtake each other (Telnyx): order them by `occurred_at`."""

    digit: str
    occurred_at: str | None = None
    """RFC 3339, where the carrier says so."""
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class MarkReached:
    """A mark came back: played, or flushed out by a clear (the epoch in its name tells which)."""

    name: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The carrier ended the stream; the call itself may live on."""


@dataclass(frozen=True, slots=True)
class CarrierFault:
    """The carrier complained about something we sent."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame broke the protocol; alone it never ends a healthy call."""

    reason: str


@dataclass(frozen=True, slots=True)
class Flooded:
    """Malformed frames came faster than any healthy peer sends them: the stream is to be dropped."""

    malformed: int


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """An event name this wire does not know: counted, never fatal."""

    name: str


StreamEvent = (
    Connected
    | Started
    | MediaReceived
    | DigitReceived
    | MarkReached
    | Stopped
    | CarrierFault
    | Malformed
    | Flooded
    | Unrecognised
)

"""The carriers we speak with: what a wire must offer, and the table of wires by name."""

from collections.abc import Mapping
from typing import Protocol

from media.audio import Encoding
from telephony.events import StreamEvent
from telephony.frames import Templates
from telephony.telnyx.wire import TelnyxWire
from telephony.twilio.wire import TwilioWire


class CarrierWire(Protocol):
    """One carrier's media-socket frames, both ways. Stateless: `CarrierStream` keeps the state."""

    @property
    def name(self) -> str: ...

    @property
    def inbound_encodings(self) -> frozenset[Encoding]:
        """What the caller's audio may come in; always 8 kHz."""
        ...

    @property
    def outbound_encodings(self) -> frozenset[Encoding]:
        """What we may send back."""
        ...

    @property
    def start_timeout(self) -> float:
        """Seconds after the upgrade within which an answered call sends `start`."""
        ...

    @property
    def connects_before_answer(self) -> bool:
        """Whether a dialled call opens its socket while it still rings: the ring time adds to `start_timeout`."""
        ...

    @property
    def needs_silence_until_first_audio(self) -> bool:
        """Whether the called network hears nothing at all, not even RTP, until we send."""
        ...

    def parse(self, message: bytes, stream_id: str | None = None) -> StreamEvent:
        """Return what one message says; `stream_id` is the stream the socket already carries.

        Raises:
            UnsupportedFormat: a `start` in audio we cannot decode.
            CarrierProtocolError: anything else that is not this wire.
        """
        ...

    def plain_media(self, stream_id: str) -> bytes:
        """Return a media frame as the documentation lays it out, from which the hot path is learned."""
        ...

    @property
    def sequence_key(self) -> bytes:
        """The key of a frame's number in its stream."""
        ...

    def templates(self, stream_id: str) -> Templates:
        """Return what we send on this stream."""
        ...


WIRES: Mapping[str, CarrierWire] = {
    "twilio": TwilioWire(),
    "telnyx": TelnyxWire(),
    # cXML streams: Twilio's frames to the letter; ids are UUIDs instead of prefixed SIDs.
    "signalwire": TwilioWire("signalwire"),
}
"""By the name that stands in our media URLs."""

"""Twilio Media Streams frames <-> stream events (twilio.com/docs/voice/media-streams/websocket-messages)."""

import msgspec

from media.audio import PCMU_8K, AudioFormat, Encoding
from telephony.errors import CarrierProtocolError
from telephony.events import (
    Connected,
    DigitReceived,
    Started,
    Stopped,
    StreamEvent,
    Unrecognised,
)
from telephony.frames import (
    FRAME_FAULTS,
    Number,
    Templates,
    audio_format,
    fault_reason,
    is_inbound,
    key_pressed,
    mark_reached,
    media_received,
    parameters,
    whole,
)

# Twilio's documented audio, whatever the SDK's undocumented attributes suggest; audio/PCMU is the registered
# name of the same thing (RFC 4856 section 2.1.19).
_ENCODINGS = {"AUDIO/X-MULAW": Encoding.PCMU, "AUDIO/PCMU": Encoding.PCMU}
_ABSENT = msgspec.Raw(b"{}")


class _Frame(msgspec.Struct, rename="camel"):
    """The envelope; the body of the event it names is decoded in its turn, so that new events may look anyhow."""

    event: str
    sequence_number: Number | None = None
    stream_sid: str | None = None
    start: msgspec.Raw = _ABSENT
    media: msgspec.Raw = _ABSENT
    dtmf: msgspec.Raw = _ABSENT
    mark: msgspec.Raw = _ABSENT


class _MediaFormat(msgspec.Struct, rename="camel"):
    encoding: str
    sample_rate: Number = 8_000
    channels: Number = 1


class _Start(msgspec.Struct, rename="camel"):
    call_sid: str
    stream_sid: str | None = None
    custom_parameters: object = None
    media_format: _MediaFormat | None = None


class _Dtmf(msgspec.Struct):
    digit: Number
    track: str | None = None


_frame = msgspec.json.Decoder(_Frame)
_start = msgspec.json.Decoder(_Start)
_dtmf = msgspec.json.Decoder(_Dtmf)


class TwilioWire:
    """Twilio's frames, and those of carriers that took them over under their own `name`."""

    inbound_encodings = frozenset({Encoding.PCMU})
    outbound_encodings = frozenset({Encoding.PCMU})
    # `start` follows `connected` at once; a socket that sends none is no call of Twilio's.
    start_timeout = 10.0
    connects_before_answer = False
    # An unfed stream is heard as silence; nothing is held back or torn down for it.
    needs_silence_until_first_audio = False
    sequence_key = b"sequenceNumber"

    def __init__(self, name: str = "twilio") -> None:
        self.name = name

    def parse(self, message: bytes, stream_id: str | None = None) -> StreamEvent:
        """Return what one message says.

        Raises:
            CarrierProtocolError: it is no frame of this wire, or of another stream than `stream_id`.
        """
        try:
            frame = _frame.decode(message)
            if stream_id is not None and frame.stream_sid not in (None, stream_id) and frame.event != "start":
                raise ValueError("a frame of another stream")
            return self._event(frame)
        except FRAME_FAULTS as fault:
            raise CarrierProtocolError(self.name, fault_reason(fault)) from fault

    def _event(self, frame: _Frame) -> StreamEvent:
        match frame.event:
            case "media":
                return media_received(frame.media)
            case "mark":
                return mark_reached(frame.mark)
            case "dtmf":
                return _digit_received(_dtmf.decode(frame.dtmf), frame.sequence_number)
            case "connected":
                return Connected()
            case "start":
                return self._started(_start.decode(frame.start), frame.stream_sid)
            case "stop":
                return Stopped()
            case event:
                return Unrecognised(event)

    def _started(self, start: _Start, stream_sid: str | None) -> Started:
        stream_id = stream_sid or start.stream_sid
        if not (stream_id and start.call_sid):
            raise ValueError("a start without streamSid or callSid")
        return Started(
            stream_id=stream_id,
            carrier_call_id=start.call_sid,
            inbound=self._inbound(start.media_format),
            parameters=parameters(start.custom_parameters),
        )

    def _inbound(self, announced: _MediaFormat | None) -> AudioFormat:
        if announced is None:  # there is only one
            return PCMU_8K
        return audio_format(
            self.name, _ENCODINGS, announced.encoding, announced.sample_rate, announced.channels
        )

    def plain_media(self, stream_id: str) -> bytes:
        sid = msgspec.json.encode(stream_id)
        return (
            b'{"event":"media","sequenceNumber":"1","streamSid":%b,'
            b'"media":{"track":"inbound","chunk":"1","timestamp":"1","payload":"AAAA"}}' % sid
        )

    def templates(self, stream_id: str) -> Templates:
        sid = msgspec.json.encode(stream_id)
        return Templates(
            media=(b'{"event":"media","streamSid":%b,"media":{"payload":"' % sid, b'"}}'),
            mark=(b'{"event":"mark","streamSid":%b,"mark":{"name":' % sid, b"}}"),
            clear=b'{"event":"clear","streamSid":%b}' % sid,
        )


def _digit_received(dtmf: _Dtmf, sequence: Number | None) -> StreamEvent:
    if not is_inbound(dtmf.track):
        return Unrecognised(f"dtmf of {dtmf.track}")
    return DigitReceived(
        key_pressed(dtmf.digit),
        sequence=None if sequence is None else whole(sequence, "sequenceNumber"),
    )

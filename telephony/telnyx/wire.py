"""Telnyx media streaming frames <-> stream events (developers.telnyx.com, Media Streaming over WebSockets)."""

import msgspec

from media.audio import Encoding
from telephony.errors import CarrierProtocolError
from telephony.events import (
    CarrierFault,
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
    key_pressed,
    mark_reached,
    media_received,
    parameters,
    whole,
)

# G722, OPUS and AMR-WB we do not decode; the byte order of L16 is contested between reports from the field.
_ENCODINGS = {"PCMU": Encoding.PCMU, "PCMA": Encoding.PCMA}
_ABSENT = msgspec.Raw(b"{}")


class _Frame(msgspec.Struct):
    """The envelope; the body of the event it names is decoded in its turn, so that new events may look anyhow."""

    event: str
    sequence_number: Number | None = None
    stream_id: str | None = None
    occurred_at: str | None = None
    connected: msgspec.Raw = _ABSENT
    start: msgspec.Raw = _ABSENT
    media: msgspec.Raw = _ABSENT
    dtmf: msgspec.Raw = _ABSENT
    mark: msgspec.Raw = _ABSENT
    payload: msgspec.Raw = _ABSENT


class _Connected(msgspec.Struct):
    auth_token: str | None = msgspec.field(default=None, name="x-telnyx-streaming-auth-token")


class _MediaFormat(msgspec.Struct):
    encoding: str
    sample_rate: Number = 8_000
    channels: Number = 1


class _Start(msgspec.Struct):
    call_control_id: str
    media_format: _MediaFormat
    from_number: str | None = msgspec.field(default=None, name="from")
    to_number: str | None = msgspec.field(default=None, name="to")
    custom_parameters: object = None


class _Dtmf(msgspec.Struct):
    digit: Number


class _Fault(msgspec.Struct):
    code: Number | None = None
    title: str | None = None
    detail: str | None = None


_frame = msgspec.json.Decoder(_Frame)
_connected = msgspec.json.Decoder(_Connected)
_start = msgspec.json.Decoder(_Start)
_dtmf = msgspec.json.Decoder(_Dtmf)
_fault = msgspec.json.Decoder(_Fault)


class TelnyxWire:
    """Telnyx's frames. The codec of each direction is its own: `stream_codec` in, `stream_bidirectional_codec` out."""

    name = "telnyx"
    inbound_encodings = frozenset({Encoding.PCMU, Encoding.PCMA})
    outbound_encodings = frozenset({Encoding.PCMU, Encoding.PCMA})
    start_timeout = 10.0
    # The socket of a dialled call may open while it rings; `start` comes with the answer, or never.
    connects_before_answer = True
    # No RTP leaves for the called network until we send (`send_silence_when_idle` is off by default).
    needs_silence_until_first_audio = True
    sequence_key = b"sequence_number"

    def parse(self, message: bytes, stream_id: str | None = None) -> StreamEvent:
        """Return what one message says.

        Raises:
            CarrierProtocolError: it is no frame of this wire, or of another stream than `stream_id`.
        """
        try:
            frame = _frame.decode(message)
            if stream_id is not None and frame.stream_id not in (None, stream_id) and frame.event != "start":
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
                return _digit_received(_dtmf.decode(frame.dtmf), frame)
            case "connected":
                return Connected(_connected.decode(frame.connected).auth_token)
            case "start":
                return self._started(_start.decode(frame.start), frame.stream_id)
            case "stop":
                return Stopped()
            case "error":
                return _carrier_fault(_fault.decode(frame.payload))
            case event:
                return Unrecognised(event)

    def _started(self, start: _Start, stream_id: str | None) -> Started:
        if not (stream_id and start.call_control_id):
            raise ValueError("a start without stream_id or call_control_id")
        announced = start.media_format
        return Started(
            stream_id=stream_id,
            carrier_call_id=start.call_control_id,
            inbound=audio_format(
                self.name, _ENCODINGS, announced.encoding, announced.sample_rate, announced.channels
            ),
            from_number=start.from_number,
            to_number=start.to_number,
            parameters=parameters(start.custom_parameters),
        )

    def plain_media(self, stream_id: str) -> bytes:
        return (
            b'{"event":"media","sequence_number":"1","stream_id":%b,'
            b'"media":{"track":"inbound","chunk":"1","timestamp":"1","payload":"AAAA"}}'
            % msgspec.json.encode(stream_id)
        )

    def templates(self, stream_id: str) -> Templates:
        # No frame of ours names its stream: there is one bidirectional stream on a socket.
        del stream_id
        return Templates(
            media=(b'{"event":"media","media":{"payload":"', b'"}}'),
            mark=(b'{"event":"mark","mark":{"name":', b"}}"),
            clear=b'{"event":"clear"}',
        )


def _digit_received(dtmf: _Dtmf, frame: _Frame) -> DigitReceived:
    sequence = frame.sequence_number
    return DigitReceived(
        key_pressed(dtmf.digit),
        occurred_at=frame.occurred_at,
        sequence=None if sequence is None else whole(sequence, "sequence_number"),
    )


def _carrier_fault(fault: _Fault) -> CarrierFault:
    said = ": ".join(part for part in (fault.title, fault.detail) if part)
    return CarrierFault("unknown" if fault.code is None else str(fault.code)[:32], said[:500])

"""Twilio's side of a media stream: the frames Twilio sends, and what it makes of those it gets.

SignalWire speaks the same frames with UUIDs for identifiers and may carry wide-band audio.
Source of the frames: Twilio, "Media Streams - WebSocket messages"; of the codes: Twilio's error directory.
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping

import msgspec
import pybase64

from media.audio import PCMU_8K, AudioFormat, Encoding
from telephony.line import ClearRequested, Complaint, GatewayMessage, MarkRequested

# Twilio holds about ten minutes of audio and discards what exceeds it (warning 31931).
CAPACITY = 600.0

MALFORMED = "31950"
INVALID = "31951"

_ENCODINGS = {Encoding.PCMU: "audio/x-mulaw", Encoding.PCM16: "audio/l16"}


class _Media(msgspec.Struct):
    payload: str


class _Mark(msgspec.Struct):
    name: str


class _Message(msgspec.Struct):
    event: str
    streamSid: str
    media: _Media | None = None
    mark: _Mark | None = None


class _ExactMedia(_Media, forbid_unknown_fields=True):
    pass


class _ExactMark(_Mark, forbid_unknown_fields=True):
    pass


class _ExactMessage(msgspec.Struct, forbid_unknown_fields=True):
    event: str
    streamSid: str
    media: _ExactMedia | None = None
    mark: _ExactMark | None = None


_EXACT = msgspec.json.Decoder(_ExactMessage)
_TOLERANT = msgspec.json.Decoder(_Message)


class SimulatedStream:
    """One media socket as Twilio speaks it.

    Builds frames (which number themselves) and reads the gateway's; owns no socket and no clock.
    """

    def __init__(
        self,
        *,
        call_id: str,
        stream_id: str,
        account_id: str,
        parameters: Mapping[str, str],
        from_number: str,
        to_number: str,
        inbound: AudioFormat = PCMU_8K,
        outbound: AudioFormat = PCMU_8K,
    ) -> None:
        """`from_number` and `to_number` are not said: Twilio's `start` has neither (use `parameters`)."""
        if inbound != outbound or inbound.encoding not in _ENCODINGS:
            raise ValueError(f"Twilio carries audio/x-mulaw at 8000 both ways, not {inbound} and {outbound}")
        self.stream_id = stream_id
        self.extra_fields = 0
        """Messages with fields Twilio does not know; their audio is still played."""
        self._call_id = call_id
        self._account_id = account_id
        self._parameters = dict(parameters)
        self._inbound = inbound
        self._sequence = 0
        self._media = (
            b'{"event":"media","sequenceNumber":"%d","streamSid":"'
            + stream_id.encode()
            + b'","media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%b"}}'
        )

    # What Twilio says

    def connected(self, auth_token: str | None = None) -> bytes:
        return b'{"event":"connected","protocol":"Call","version":"1.0.0"}'

    def start(self) -> bytes:
        media_format = {
            "encoding": _ENCODINGS[self._inbound.encoding],
            "sampleRate": self._inbound.rate,
            "channels": 1,
        }
        start = {
            "accountSid": self._account_id,
            "streamSid": self.stream_id,
            "callSid": self._call_id,
            "tracks": ["inbound"],
            "customParameters": self._parameters,
            "mediaFormat": media_format,
        }
        return self._event("start", start=start)

    def media(self, chunk: int, timestamp_ms: int, payload: bytes) -> bytes:
        self._sequence += 1
        return self._media % (self._sequence, chunk, timestamp_ms, pybase64.b64encode(payload))

    def digit(self, digit: str, occurred_at: str) -> bytes:
        return self._event("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    def mark(self, name: str) -> bytes:
        return self._event("mark", mark={"name": name})

    def stop(self) -> bytes:
        return self._event("stop", stop={"accountSid": self._account_id, "callSid": self._call_id})

    def _event(self, event: str, **body: object) -> bytes:
        self._sequence += 1
        return msgspec.json.encode(
            {
                "event": event,
                "sequenceNumber": str(self._sequence),
                "streamSid": self.stream_id,
                **body,
            }
        )

    # What Twilio hears

    def receive(self, message: bytes) -> GatewayMessage:
        """Read one message of the gateway; never raises."""
        parsed: _Message | _ExactMessage
        try:
            parsed = _EXACT.decode(message)
        except msgspec.ValidationError:
            try:
                parsed = _TOLERANT.decode(message)
            except (msgspec.ValidationError, RecursionError) as error:
                return Complaint(INVALID, str(error))
            self.extra_fields += 1
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Complaint(MALFORMED, str(error))
        if parsed.streamSid != self.stream_id:
            return Complaint(INVALID, f"streamSid {parsed.streamSid[:64]!r} is not this stream's")
        return self._requested(parsed)

    def _requested(self, message: _Message | _ExactMessage) -> GatewayMessage:
        if message.event == "media" and message.media is not None:
            try:
                return pybase64.b64decode(message.media.payload, validate=True)
            except ValueError:
                return Complaint(INVALID, "media.payload is not base64")
        if message.event == "mark" and message.mark is not None:
            return MarkRequested(message.mark.name)
        if message.event == "clear":
            return ClearRequested()
        return Complaint(INVALID, f"no such event, or one without its body: {message.event[:64]!r}")


def upgrade_headers(url: str, auth_token: str | None) -> dict[str, str]:
    """Return what Twilio sends with the upgrade: its signature over exactly the URL of the document."""
    if auth_token is None:
        return {}
    digest = hmac.digest(auth_token.encode(), url.encode(), "sha1")
    return {"x-twilio-signature": b64encode(digest).decode()}

"""Telnyx's side of a media stream: the frames Telnyx sends, and what it makes of those it gets.

Source: Telnyx, "Media Streaming over WebSockets" (frames, error codes, 20 ms to 30 s per chunk).
"""

from collections.abc import Mapping

import msgspec
import pybase64

from media.audio import PCMU_8K, AudioFormat
from telephony.line import ClearRequested, Complaint, GatewayMessage, MarkRequested

# Nothing is documented: unbounded here.
CAPACITY: float | None = None

MALFORMED_FRAME = 100003
INVALID_MEDIA = 100004


class _Media(msgspec.Struct):
    payload: str


class _Mark(msgspec.Struct):
    name: str


class _Message(msgspec.Struct):
    event: str
    media: _Media | None = None
    mark: _Mark | None = None


_DECODER = msgspec.json.Decoder(_Message)


class SimulatedStream:
    """One media socket as Telnyx speaks it, bidirectional in RTP mode.

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
        drop_tails: bool = False,
    ) -> None:
        """
        Args:
            drop_tails: lose what is left of a message after its whole 20 ms frames. Reported from the
                field, not documented; such tails are accepted and counted without it.
        """
        self.stream_id = stream_id
        self.extra_fields = 0
        self.tails = 0
        """Messages whose audio was not whole 20 ms frames."""
        self._call_id = call_id
        self._user_id = account_id
        self._from, self._to = from_number, to_number
        self._parameters = dict(parameters)
        self._inbound = inbound
        self._frame_bytes = outbound.frame_bytes
        self._drop_tails = drop_tails
        self._sequence = 0
        self._media = (
            b'{"event":"media","sequence_number":"%d","stream_id":"'
            + stream_id.encode()
            + b'","media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%b"}}'
        )

    # What Telnyx says

    def connected(self, auth_token: str | None = None) -> bytes:
        frame: dict[str, object] = {"event": "connected", "version": "1.0.0"}
        if auth_token is not None:
            frame["connected"] = {"x-telnyx-streaming-auth-token": auth_token}
        return msgspec.json.encode(frame)

    def start(self) -> bytes:
        media_format = {
            "encoding": self._inbound.encoding.value,
            "sample_rate": self._inbound.rate,
            "channels": 1,
        }
        start: dict[str, object] = {
            "user_id": self._user_id,
            "call_control_id": self._call_id,
            "call_session_id": self._call_id.removeprefix("v3:"),
            "from": self._from,
            "to": self._to,
            "client_state": None,
            "tags": [],
            "custom_parameters": self._parameters,
            "media_format": media_format,
        }
        return self._event("start", start=start)

    def media(self, chunk: int, timestamp_ms: int, payload: bytes) -> bytes:
        self._sequence += 1
        return self._media % (self._sequence, chunk, timestamp_ms, pybase64.b64encode(payload))

    def digit(self, digit: str, occurred_at: str) -> bytes:
        return self._event("dtmf", occurred_at=occurred_at, dtmf={"digit": digit})

    def mark(self, name: str) -> bytes:
        return self._event("mark", mark={"name": name})

    def stop(self) -> bytes:
        return self._event("stop", stop={"user_id": self._user_id, "call_control_id": self._call_id})

    def _event(self, event: str, **body: object) -> bytes:
        self._sequence += 1
        return msgspec.json.encode(
            {"event": event, "sequence_number": str(self._sequence), "stream_id": self.stream_id, **body}
        )

    # What Telnyx hears

    def receive(self, message: bytes) -> GatewayMessage:
        """Read one message of the gateway; never raises."""
        try:
            parsed = _DECODER.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._complaint(MALFORMED_FRAME, "malformed_frame", str(error))
        if parsed.event == "media" and parsed.media is not None:
            return self._audio(parsed.media.payload)
        if parsed.event == "mark" and parsed.mark is not None:
            return MarkRequested(parsed.mark.name)
        if parsed.event == "clear":
            return ClearRequested()
        return self._complaint(
            MALFORMED_FRAME,
            "malformed_frame",
            f"no such event, or one without its body: {parsed.event[:64]!r}",
        )

    def _audio(self, payload: str) -> GatewayMessage:
        try:
            audio = pybase64.b64decode(payload, validate=True)
        except ValueError:
            return self._complaint(INVALID_MEDIA, "invalid_media", "media.payload is not base64")
        if tail := len(audio) % self._frame_bytes:
            self.tails += 1
            if self._drop_tails:
                return audio[:-tail]
        return audio

    def _complaint(self, code: int, title: str, detail: str) -> Complaint:
        error = {"code": code, "title": title, "detail": detail}
        frame = {"event": "error", "stream_id": self.stream_id, "payload": error}
        return Complaint(str(code), detail, msgspec.json.encode(frame))


def upgrade_headers(url: str, auth_token: str | None) -> dict[str, str]:
    """Return what Telnyx sends with the upgrade; nothing signs it."""
    return {} if auth_token is None else {"x-telnyx-streaming-auth-token": auth_token}

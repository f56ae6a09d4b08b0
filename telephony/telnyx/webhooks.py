"""Telnyx's webhooks: checked on the raw bytes, then read into call events (developers.telnyx.com, Call Control).

Pure: the time and the key are arguments. `verify` comes first, always; `parse` believes what it is given.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from telephony.calls import (
    Answered,
    Bridged,
    CallEvent,
    CostPart,
    CostReported,
    GatherEnded,
    GatherStatus,
    GreetingEnded,
    HungUp,
    Initiated,
    KeyPressed,
    LegToken,
    MachineDetected,
    Noted,
    Origin,
    PlaybackEnded,
    PlayStatus,
    RecordingFailed,
    RecordingSaved,
    ReferCompleted,
    ReferFailed,
    Reported,
    Ringing,
    SpeakEnded,
    StreamingFailed,
    StreamingStarted,
    StreamingStopped,
    as_transfer_leg,
)
from telephony.causes import AnsweredBy, Direction, HangupCause, HangupSource, telnyx_cause
from telephony.errors import CarrierProtocolError
from telephony.events import Unrecognised
from telephony.frames import FRAME_FAULTS, fault_reason, key_pressed, parameters
from telephony.signatures import SignatureRefused, header

CARRIER = "telnyx"

# Seconds a webhook may be old, or ahead of our clock; the tolerance of Telnyx's own SDK.
REPLAY_WINDOW = 300.0

_SIGNATURE = "telnyx-signature-ed25519"
_TIMESTAMP = "telnyx-timestamp"
# Seconds since 1970 have ten digits until the year 2286.
_SECONDS = re.compile(r"[0-9]{1,12}")


# Signatures


def verify(body: bytes, headers: Mapping[str, str], *, public_key: str, now: float) -> None:
    """Let a webhook through that Telnyx has signed, within the replay window.

    Args:
        body: exactly as received.
        public_key: base64, from Telnyx's portal.
        now: unix seconds.

    Raises:
        SignatureRefused: anything is wrong with the request.
        ValueError: the key is not an Ed25519 public key.
    """
    key = verify_key(public_key)
    timestamp, signature = header(headers, _TIMESTAMP), header(headers, _SIGNATURE)
    if timestamp is None or signature is None:
        raise SignatureRefused(CARRIER, "invalid_signature", "not signed")
    if not _SECONDS.fullmatch(timestamp):
        raise SignatureRefused(CARRIER, "invalid_signature", "the timestamp is not in unix seconds")
    try:
        key.verify(f"{timestamp}|".encode() + body, _decoded(signature))
    except (BadSignatureError, ValueError) as fault:
        raise SignatureRefused(CARRIER, "invalid_signature", "the signature does not fit the body") from fault
    if abs(now - int(timestamp)) > REPLAY_WINDOW:
        raise SignatureRefused(CARRIER, "stale_timestamp", "signed too long ago, or ahead of our clock")


def verify_key(public_key: str) -> VerifyKey:
    """Return Telnyx's public key; settings are checked with it.

    Raises:
        ValueError: it is not base64 of 32 bytes.
    """
    try:
        key = _decoded(public_key)
    except ValueError as fault:
        raise ValueError("the Telnyx public key is not base64") from fault
    if len(key) != _KEY_BYTES:
        raise ValueError(f"the Telnyx public key has {len(key)} bytes instead of {_KEY_BYTES}")
    return VerifyKey(key)


_KEY_BYTES = 32  # RFC 8032 section 5.1.5


def _decoded(text: str) -> bytes:
    return b64decode(text.encode("ascii"), validate=True)


# Our name for a leg


def client_state(token: LegToken) -> str:
    """Return what Telnyx repeats in every later webhook of the leg: base64, or it refuses the command."""
    return b64encode(str(token).encode()).decode()


def leg_token(state: object) -> LegToken | None:
    """What came back may be null or another program's: then the leg has no name of ours."""
    if not isinstance(state, str):
        return None
    try:
        return LegToken.parse(_decoded(state).decode("ascii"))
    except ValueError:
        return None


# Events


def parse(body: bytes) -> list[Reported]:
    """Return what one webhook says; fields and values that we do not know are passed over.

    Raises:
        CarrierProtocolError: it is not an event of a call.
    """
    try:
        name, origin, payload = _opened(body)
        return _reported(name, origin, payload)
    except FRAME_FAULTS as fault:
        raise CarrierProtocolError(CARRIER, fault_reason(fault)) from fault


class _Event(msgspec.Struct):
    event_type: str
    id: str | None = None
    occurred_at: object = None
    payload: dict[str, object] | None = None


class _Envelope(msgspec.Struct):
    data: _Event


_envelope = msgspec.json.Decoder(_Envelope)
Payload = Mapping[str, object]


def _opened(body: bytes) -> tuple[str, Origin | None, Payload]:
    event = _envelope.decode(body).data
    payload = event.payload or {}
    name = _normalised(event.event_type)
    if not event.id:
        return name, None, payload
    return name, _origin(event.id, event.occurred_at, payload), payload


def _normalised(name: str) -> str:
    """Streaming events are written `streaming.started`, `call.streaming.started` and `streaming_started`."""
    bare = name.removeprefix("call.")
    return bare.replace("_", ".") if bare.startswith("streaming") else name


def _origin(event_id: str, occurred_at: object, payload: Payload) -> Origin:
    return Origin(
        carrier=CARRIER,
        event_id=event_id,
        occurred_at=_time(occurred_at),
        carrier_call_id=_text(payload, "call_control_id"),
        leg_id=_text(payload, "call_leg_id"),
        session_id=_text(payload, "call_session_id"),
        account_id=_text(payload, "connection_id"),
        token=leg_token(payload.get("client_state")),
    )


def _reported(name: str, origin: Origin | None, payload: Payload) -> list[Reported]:
    read, noted = _EVENTS.get(name), _is_noted(name)
    if read is None and not noted:
        return [Unrecognised(name)]
    if origin is None:
        raise ValueError(f"{name} without an id")
    if read is None:
        return [Noted(origin=origin, name=name)]
    if origin.carrier_call_id is None and origin.leg_id is None:
        raise ValueError(f"{name} of no call")
    event = read(origin, payload)
    is_transfer = origin.token is not None and origin.token.transfer_id is not None
    return [as_transfer_leg(event) if is_transfer else event]


def _initiated(origin: Origin, payload: Payload) -> Initiated:
    direction = _DIRECTIONS.get(_text(payload, "direction") or "")
    if direction is None:
        raise ValueError("a call.initiated without a direction")
    return Initiated(
        origin=origin,
        direction=direction,
        from_number=_text(payload, "from") or "",
        to_number=_text(payload, "to") or "",
        caller_name=_text(payload, "caller_id_name"),
        headers={**parameters(payload.get("sip_headers")), **parameters(payload.get("custom_headers"))},
        attestation=_text(payload, "shaken_stir_attestation"),
    )


_DIRECTIONS = {"incoming": Direction.INBOUND, "outgoing": Direction.OUTBOUND}


def _hung_up(origin: Origin, payload: Payload) -> HungUp:
    word = _text(payload, "hangup_cause") or ""
    cause = telnyx_cause(word)
    return HungUp(
        origin=origin,
        cause=cause,
        source=_SOURCES.get(_text(payload, "hangup_source") or "", HangupSource.UNKNOWN),
        sip_code=_whole(payload, "sip_hangup_cause"),
        word=word,
        # Its clock starts with the answer.
        answered=True if cause is HangupCause.TIME_LIMIT else None,
        quality=_quality(payload.get("call_quality_stats")),
    )


_SOURCES = {"caller": HangupSource.CALLER, "callee": HangupSource.CALLEE}


def _quality(stats: object) -> dict[str, float]:
    """Figures of both directions under one name each; Telnyx writes them as strings."""
    figures: dict[str, float] = {}
    for direction in ("inbound", "outbound"):
        measured = stats.get(direction) if isinstance(stats, dict) else None
        if isinstance(measured, dict):
            read = {f"{direction}.{name}": _decimal(measured, name) for name in measured}
            figures |= {name: float(figure) for name, figure in read.items() if figure is not None}
    return figures


def _key_pressed(origin: Origin, payload: Payload) -> KeyPressed:
    return KeyPressed(origin=origin, digit=key_pressed(_text(payload, "digit") or ""))


def _gather_ended(origin: Origin, payload: Payload) -> GatherEnded:
    status = _GATHERED.get(_text(payload, "status") or "", GatherStatus.INVALID)
    return GatherEnded(origin=origin, status=status, digits=_text(payload, "digits") or "")


_GATHERED = {
    "valid": GatherStatus.COMPLETED,
    "invalid": GatherStatus.INVALID,
    "timeout": GatherStatus.TIMEOUT,
    "call_hangup": GatherStatus.HANGUP,
    "cancelled": GatherStatus.CANCELLED,
    "cancelled_amd": GatherStatus.CANCELLED,
}

_PLAYED = {
    "completed": PlayStatus.COMPLETED,
    "call_hangup": PlayStatus.HANGUP,
    "cancelled": PlayStatus.CANCELLED,
    "cancelled_amd": PlayStatus.CANCELLED,
}


def _play_status(payload: Payload) -> PlayStatus:
    return _PLAYED.get(_text(payload, "status") or "", PlayStatus.FAILED)


def _playback_ended(origin: Origin, payload: Payload) -> PlaybackEnded:
    return PlaybackEnded(
        origin=origin,
        status=_play_status(payload),
        url=_text(payload, "media_url"),
        detail=_text(payload, "status_detail") or "",
    )


def _streaming_failed(origin: Origin, payload: Payload) -> StreamingFailed:
    asked = payload.get("stream_params")
    return StreamingFailed(
        origin=origin,
        reason=_text(payload, "failure_reason") or "unknown",
        stream_id=_text(payload, "stream_id"),
        url=_text(asked, "stream_url") if isinstance(asked, dict) else None,
    )


def _machine_detected(origin: Origin, payload: Payload) -> MachineDetected:
    result = _text(payload, "result") or ""
    return MachineDetected(origin=origin, answered_by=_ANSWERED_BY.get(result, AnsweredBy.UNKNOWN))


_ANSWERED_BY = {
    "human": AnsweredBy.HUMAN,
    "human_residence": AnsweredBy.HUMAN,
    "human_business": AnsweredBy.HUMAN,
    "machine": AnsweredBy.MACHINE,
    "silence": AnsweredBy.SILENCE,
    "fax_detected": AnsweredBy.FAX,
    "screening": AnsweredBy.SCREENING,
}


def _greeting_ended(origin: Origin, payload: Payload) -> GreetingEnded:
    return GreetingEnded(origin=origin, beep=_BEEPS.get(_text(payload, "result") or ""))


# "ended" and "prompt_ended" say that the greeting is over, and nothing of a tone.
_BEEPS = {"beep_detected": True, "no_beep_detected": False}


def _recording_saved(origin: Origin, payload: Payload) -> RecordingSaved:
    # Public URLs, where the account has them, stay good; the others for ten minutes.
    return RecordingSaved(
        origin=origin,
        urls={**_urls(payload, "recording_urls"), **_urls(payload, "public_recording_urls")},
        channels=_CHANNELS.get(_text(payload, "channels") or ""),
        recording_id=_text(payload, "recording_id"),
        started_at=_time(payload.get("recording_started_at")),
        ended_at=_time(payload.get("recording_ended_at")),
    )


_CHANNELS = {"single": 1, "dual": 2}


def _urls(payload: Payload, field: str) -> dict[str, str]:
    urls = payload.get(field)
    if not isinstance(urls, dict):
        return {}
    return {kind: url for kind, url in urls.items() if isinstance(url, str) and url}


def _cost_reported(origin: Origin, payload: Payload) -> CostReported:
    listed = payload.get("cost_parts")
    parts = tuple(_cost_parts(listed if isinstance(listed, list) else []))
    return CostReported(
        origin=origin,
        total=None if _text(payload, "status") == "error" else _decimal(payload, "total_cost"),
        currency=next((part.currency for part in parts if part.currency), None),
        billed=_whole(payload, "billed_duration_secs"),
        parts=parts,
    )


def _cost_parts(listed: list[object]) -> list[CostPart]:
    parts = []
    for part in listed:
        cost = _decimal(part, "cost") if isinstance(part, dict) else None
        if isinstance(part, dict) and cost is not None:
            parts.append(
                CostPart(
                    product=_text(part, "call_part") or "",
                    cost=cost,
                    currency=_text(part, "currency"),
                    rate=_decimal(part, "rate"),
                    billed=_whole(part, "billed_duration_secs"),
                )
            )
    return parts


_EVENTS: Mapping[str, Callable[[Origin, Payload], CallEvent]] = {
    "call.initiated": _initiated,
    # In a migration guide, not in the SDK.
    "call.ringing": lambda origin, _: Ringing(origin=origin),
    "call.answered": lambda origin, _: Answered(origin=origin),
    "call.bridged": lambda origin, _: Bridged(origin=origin),
    "call.hangup": _hung_up,
    "streaming.started": lambda origin, payload: StreamingStarted(
        origin=origin, stream_id=_text(payload, "stream_id"), url=_text(payload, "stream_url")
    ),
    "streaming.stopped": lambda origin, payload: StreamingStopped(
        origin=origin, stream_id=_text(payload, "stream_id"), url=_text(payload, "stream_url")
    ),
    "streaming.failed": _streaming_failed,
    "call.dtmf.received": _key_pressed,
    "call.gather.ended": _gather_ended,
    "call.speak.ended": lambda origin, payload: SpeakEnded(origin=origin, status=_play_status(payload)),
    "call.playback.ended": _playback_ended,
    "call.recording.saved": _recording_saved,
    "call.recording.error": lambda origin, payload: RecordingFailed(
        origin=origin, reason=_text(payload, "reason") or "unknown"
    ),
    "call.machine.detection.ended": _machine_detected,
    "call.machine.greeting.ended": _greeting_ended,
    "call.machine.premium.detection.ended": _machine_detected,
    "call.machine.premium.greeting.ended": _greeting_ended,
    "call.machine.premium.call_screening.detected": _machine_detected,
    "call.refer.completed": lambda origin, payload: ReferCompleted(
        origin=origin, sip_code=_whole(payload, "sip_notify_response")
    ),
    "call.refer.failed": lambda origin, payload: ReferFailed(
        origin=origin, sip_code=_whole(payload, "sip_notify_response")
    ),
    "call.cost": _cost_reported,
}

_NOTED = frozenset(
    {
        "call.analyzed",
        "call.dequeued",
        "call.enqueued",
        "call.hold",
        "call.machine.premium.detection.started",
        "call.playback.started",
        "call.recording.transcription.saved",
        "call.refer.started",
        "call.speak.started",
        "call.transcription",
        "call.unhold",
    }
)
# Products that we do not use; their events come when an account has them switched on.
_NOTED_FAMILIES = (
    "call.ai_gather.",
    "call.conversation.",
    "call.conversation_insights.",
    "call.deepfake_detection.",
    "call.fork.",
    "call.payment.",
    "call.siprec.",
    "conference.",
    "siprec.",
)


def _is_noted(name: str) -> bool:
    return name in _NOTED or name.startswith(_NOTED_FAMILIES)


# Fields. Telnyx writes numbers as strings, in most places.


def _text(fields: Mapping[str, object], name: str) -> str | None:
    match fields.get(name):
        case str(text) if text:
            return text
        case int(number) if not isinstance(number, bool):
            return str(number)
        case _:
            return None


def _whole(fields: Mapping[str, object], name: str) -> int | None:
    text = _text(fields, name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


# No count, code or duration is longer.
_LONGEST_NUMBER = 18


def _decimal(fields: Mapping[str, object], name: str) -> Decimal | None:
    text = fields.get(name)
    if isinstance(text, bool) or not isinstance(text, str | int | float) or len(str(text)) > _LONGEST_DECIMAL:
        return None
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


_LONGEST_DECIMAL = 40


def _time(text: object) -> datetime | None:
    """RFC 3339 with its offset; a time without one could be anywhere."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None

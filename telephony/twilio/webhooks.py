"""Twilio's webhooks: checked on the raw bytes, then read into call events (twilio.com/docs/usage/webhooks).

Pure: the URL and the secrets are arguments. `verify` comes first, always; `parse` believes what it is given.
The URL is the one that Twilio was told to request: our configured public URL and the request's target, never
what a proxy says.

Twilio numbers few of its requests and dates fewer, so the id of an event is made of what the signature covers:
which endpoint, which leg, which step. Twilio's own `I-Twilio-Idempotency-Token` is not signed; whoever replays
a request can write another one.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from hashlib import sha256
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

from telephony.calls import (
    Answered,
    CallEvent,
    GatherEnded,
    GatherStatus,
    GreetingEnded,
    HungUp,
    Initiated,
    LegToken,
    MachineDetected,
    Noted,
    Origin,
    RecordingFailed,
    RecordingSaved,
    Reported,
    Ringing,
    StreamingFailed,
    StreamingStarted,
    StreamingStopped,
    TransferEnded,
    TransferLegBridged,
    TwimlPurpose,
    TwimlRequested,
    as_transfer_leg,
)
from telephony.causes import AnsweredBy, Direction, twilio_cause
from telephony.errors import CarrierProtocolError
from telephony.events import Unrecognised
from telephony.signatures import SignatureRefused, equal, header

CARRIER = "twilio"


class Endpoint(StrEnum):
    """Where Twilio calls us; the value is the path's own segment."""

    VOICE = "voice"
    STATUS = "status"
    """Also what becomes of Twilio's own recordings, if they are sent here."""
    STREAM = "stream"
    AFTER_STREAM = "after-stream"
    GATHER = "gather"
    DIAL = "dial"
    LEG = "leg"
    AMD = "amd"


# Those whose path ends with a token; the others may carry one in their query.
_TOKEN_IN_PATH = frozenset(
    {Endpoint.AFTER_STREAM, Endpoint.GATHER, Endpoint.DIAL, Endpoint.LEG, Endpoint.AMD}
)


def callback_url(
    public_url: str, integration_id: str, endpoint: Endpoint, token: LegToken | None = None
) -> str:
    """Return the URL to give to Twilio; it signs exactly this."""
    url = f"{public_url.rstrip('/')}/carriers/{CARRIER}/{quote(integration_id, safe='')}/{endpoint}"
    if token is None:
        return url
    return f"{url}/{token}" if endpoint in _TOKEN_IN_PATH else f"{url}?token={token}"


def requested_url(public_url: str, target: str) -> str:
    """Return the URL that Twilio requested; `target` is the request's path and query, as received.

    The public URL may have a path of its own: a proxy has cut it off the target.
    """
    return public_url.rstrip("/") + target


# Signatures

_SIGNATURE = "x-twilio-signature"
_SETTINGS = "x-twilio-webhooks-signature-settings"
_ALGORITHMS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Twilio sends about 30 parameters; SIP headers and those of our own URLs come on top.
_MOST_FIELDS = 500


def signature(
    secret: str, url: str, fields: Iterable[tuple[str, str]] = (), *, algorithm: str = "sha1"
) -> str:
    """Return what Twilio writes into its header (Twilio, Security, "Validating signatures from Twilio")."""
    signed = url + "".join(name + value for name, value in sorted(set(fields)))
    return b64encode(hmac.digest(secret.encode(), signed.encode(), algorithm)).decode()


def verify(
    url: str, body: bytes, headers: Mapping[str, str], *, auth_token: str, shared_secret: str | None = None
) -> None:
    """Let a request through that Twilio has signed with our secret.

    Args:
        url: what Twilio was told to request, with its query (`requested_url`).
        body: exactly as received.
        shared_secret: what requests are signed with that name a shared key, instead of the auth token.

    Raises:
        SignatureRefused: anything is wrong with the request.
        ValueError: a secret is empty: anybody could sign with that.
    """
    given, secret, algorithm = _signed_with(headers, auth_token, shared_secret)
    fields = _signed_fields(url, body, headers)
    # Twilio is inconsistent about the default port in what it signs (its own validator tries both).
    expected = [signature(secret, variant, fields, algorithm=algorithm) for variant in _port_variants(url)]
    if not any(equal(candidate, given) for candidate in expected):
        raise _invalid("the signature does not fit the public URL and the body")


def verify_upgrade(
    url: str, headers: Mapping[str, str], *, auth_token: str, shared_secret: str | None = None
) -> None:
    """Let a media socket through whose upgrade Twilio has signed: `url` is the `wss` one of our document.

    Raises:
        SignatureRefused: anything is wrong with the request, a missing signature included.
        ValueError: a secret is empty.
    """
    given, secret, algorithm = _signed_with(headers, auth_token, shared_secret)
    if not equal(signature(secret, url, algorithm=algorithm), given):
        raise _invalid("the signature does not fit the URL of the media socket")


def _signed_with(
    headers: Mapping[str, str], auth_token: str, shared_secret: str | None
) -> tuple[str, str, str]:
    """Return the signature, the secret it must be made with, and how."""
    if not auth_token or shared_secret == "":
        raise ValueError("an empty secret signs nothing")
    given, settings = header(headers, _SIGNATURE), header(headers, _SETTINGS)
    if given is None:
        raise _invalid("not signed")
    if not settings:
        return given, auth_token, "sha1"
    algorithm = _ALGORITHMS.get(_algorithm(settings).upper())
    if algorithm is None:
        raise _invalid("signed with an algorithm that we do not know")
    if shared_secret is None:
        raise _invalid("signed with a shared key that is not configured")
    return given, shared_secret, algorithm


def _algorithm(settings: str) -> str:
    """Return the algorithm of `key=...,algorithm=...`; without one it is the old one."""
    for part in settings.split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip()
    return "HMAC_SHA1"


def _signed_fields(url: str, body: bytes, headers: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """Return the parameters that the signature covers besides the URL; whatever else the body is, it proves."""
    if not body:
        return ()
    media_type = (header(headers, "content-type") or "").partition(";")[0].strip().lower()
    if media_type == "application/x-www-form-urlencoded":
        try:
            return _fields(body)
        except ValueError as fault:
            raise _invalid("the form cannot be read") from fault
    digests = parse_qs(urlsplit(url).query).get("bodySHA256", [""])
    if not equal(sha256(body).hexdigest(), digests[0]):
        raise _invalid("the body is not the one that was signed")
    return ()


def _port_variants(url: str) -> tuple[str, ...]:
    """Return the URL as it is, and with its port left out, or with the default one put in."""
    parts = urlsplit(url)
    if parts.port is not None:
        other = parts.netloc.removesuffix(f":{parts.port}")
    else:
        other = f"{parts.netloc}:{_DEFAULT_PORTS.get(parts.scheme, 80)}"
    host_at = url.index("//") + len("//")
    return url, url[:host_at] + other + url[host_at + len(parts.netloc) :]


def _invalid(detail: str) -> SignatureRefused:
    return SignatureRefused(CARRIER, "invalid_signature", detail)


def _fields(body: bytes) -> list[tuple[str, str]]:
    """Return a form's parameters; empty ones are part of what was signed."""
    return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)


# Events

Form = Mapping[str, str]

_FINAL = frozenset({"completed", "busy", "no-answer", "canceled", "failed"})
_DIRECTIONS = {
    "inbound": Direction.INBOUND,
    "outbound-api": Direction.OUTBOUND,
    "outbound-dial": Direction.OUTBOUND,
}


def parse(endpoint: Endpoint, body: bytes, *, token: LegToken | None = None) -> list[Reported]:
    """Return what one request says, in order; a request for a document ends with `TwimlRequested`.

    Args:
        token: from the request's path or query.

    Raises:
        CarrierProtocolError: it is not a request of Twilio's about a call.
    """
    try:
        return _READERS[endpoint](_Request(endpoint, dict(_fields(body)), token))
    except ValueError as fault:
        raise CarrierProtocolError(CARRIER, str(fault)[:200]) from fault


class _Request:
    """One request: its form, and the origins of the events that it tells of."""

    def __init__(self, endpoint: Endpoint, form: Form, token: LegToken | None) -> None:
        self.form = form
        self._call_id = form.get("CallSid", "")
        if not self._call_id:
            raise ValueError("no CallSid")
        self._sequence = form.get("SequenceNumber", "")
        self._token = token
        # All of it signed, and the same when Twilio tries again; the steps of a leg, of a document and of a
        # stream are told apart by their own numbers.
        step = form.get("StreamSid") or form.get("RecordingSid") or self._sequence
        self._id = "/".join(filter(None, (self._call_id, endpoint, str(token or ""), step)))

    def origin(self, what: str) -> Origin:
        form = self.form
        return Origin(
            carrier=CARRIER,
            event_id=f"{self._id}/{what}",
            occurred_at=_time(form.get("Timestamp", "")),
            sequence=_whole(self._sequence),
            carrier_call_id=self._call_id,
            leg_id=self._call_id,
            parent_call_id=form.get("ParentCallSid") or None,
            account_id=form.get("AccountSid") or None,
            token=self._token,
        )

    @property
    def status(self) -> str:
        return self.form.get("CallStatus", "")


def _voice(request: _Request) -> list[Reported]:
    """A call that still rings when its document is asked for came in."""
    happened = [_initiated(request)] if request.status == "ringing" else _progress(request)
    return [*happened, *_document(request, TwimlPurpose.VOICE)]


def _status(request: _Request) -> list[Reported]:
    return _recording(request) if request.form.get("RecordingStatus") else _progress(request)


def _leg(request: _Request) -> list[Reported]:
    """The destination's leg of a transfer; `<Dial>` joins it to the caller the moment it answers."""
    events: list[Reported] = []
    for event in _progress(request):
        events.append(event if isinstance(event, Unrecognised) else as_transfer_leg(event))
        if isinstance(event, Answered):
            events.append(TransferLegBridged(origin=request.origin("bridged")))
    return events


def _progress(request: _Request) -> list[Reported]:
    status = request.status
    detected = _detected(request) if request.form.get("AnsweredBy") else []
    match status:
        case "queued" | "initiated":
            return [*detected, _initiated(request)]
        case "ringing":
            return [*detected, Ringing(origin=_at(request))]
        case "in-progress":
            return [Answered(origin=_at(request)), *detected]
        case _ if status in _FINAL:
            return [*detected, _hung_up(request)]
        case _:
            return [Unrecognised(f"CallStatus {status[:32]}")]


def _at(request: _Request) -> Origin:
    return request.origin(request.status)


def _initiated(request: _Request) -> Initiated:
    form = request.form
    direction = _DIRECTIONS.get(form.get("Direction", ""))
    if direction is None:
        raise ValueError("no Direction")
    return Initiated(
        origin=_at(request),
        direction=direction,
        from_number=form.get("From", ""),
        to_number=form.get("To", ""),
        caller_name=form.get("CallerName") or None,
        headers={
            name.removeprefix(_SIP_HEADER): value
            for name, value in form.items()
            if name.startswith(_SIP_HEADER)
        },
        forwarded_from=form.get("ForwardedFrom") or None,
        attestation=form.get("StirVerstat") or None,
    )


_SIP_HEADER = "SipHeader_"


def _hung_up(request: _Request) -> HungUp:
    form, status = request.form, request.status
    sip_code = _whole(form.get("SipResponseCode", ""))
    return HungUp(
        origin=_at(request),
        cause=twilio_cause(status, sip_code),
        sip_code=sip_code,
        word=status,
        duration=_whole(form.get("CallDuration", "")),
        answered=True if status == "completed" else None,
    )


def _detected(request: _Request) -> list[Reported]:
    word = request.form.get("AnsweredBy", "")
    took = _whole(request.form.get("MachineDetectionDuration", ""))
    events: list[Reported] = [
        MachineDetected(
            origin=request.origin("machine-detected"),
            answered_by=_ANSWERED_BY.get(word, AnsweredBy.UNKNOWN),
            after=None if took is None else took / 1000,
        )
    ]
    if word.startswith("machine_end_"):
        events.append(GreetingEnded(origin=request.origin("greeting-ended"), beep=word == "machine_end_beep"))
    return events


_ANSWERED_BY = {
    "human": AnsweredBy.HUMAN,
    "machine_start": AnsweredBy.MACHINE,
    "machine_end_beep": AnsweredBy.MACHINE,
    "machine_end_silence": AnsweredBy.MACHINE,
    "machine_end_other": AnsweredBy.MACHINE,
    "fax": AnsweredBy.FAX,
}


def _amd(request: _Request) -> list[Reported]:
    if not request.form.get("AnsweredBy"):
        raise ValueError("no AnsweredBy")
    return _detected(request)


def _stream(request: _Request) -> list[Reported]:
    form = request.form
    event, stream_id = form.get("StreamEvent", ""), form.get("StreamSid") or None
    origin = request.origin(event)
    match event:
        case "stream-started":
            return [StreamingStarted(origin=origin, stream_id=stream_id)]
        case "stream-stopped":
            return [StreamingStopped(origin=origin, stream_id=stream_id)]
        case "stream-error":
            reason = form.get("StreamError") or "unknown"
            return [StreamingFailed(origin=origin, reason=reason, stream_id=stream_id)]
        case _:
            return [Unrecognised(f"StreamEvent {event[:32]}")]


def _document(request: _Request, purpose: TwimlPurpose) -> list[CallEvent]:
    alive = request.status not in _FINAL
    return [TwimlRequested(origin=request.origin("document"), purpose=purpose, alive=alive)]


def _ended_meanwhile(request: _Request) -> list[CallEvent]:
    """Twilio asks what to do next even when the caller has gone; then it is the news of that."""
    return [_hung_up(request)] if request.status in _FINAL else []


def _after_stream(request: _Request) -> list[Reported]:
    return [*_ended_meanwhile(request), *_document(request, TwimlPurpose.AFTER_STREAM)]


def _gather(request: _Request) -> list[Reported]:
    digits = request.form.get("Digits", "")
    if request.status in _FINAL:
        status = GatherStatus.HANGUP
    else:
        status = GatherStatus.COMPLETED if digits else GatherStatus.TIMEOUT
    return [
        GatherEnded(origin=request.origin("gathered"), status=status, digits=digits),
        *_ended_meanwhile(request),
        *_document(request, TwimlPurpose.GATHER),
    ]


def _dial(request: _Request) -> list[Reported]:
    form = request.form
    word = form.get("DialCallStatus", "")
    return [
        TransferEnded(
            origin=request.origin("dialled"),
            connected=_connected(word, form.get("DialBridged", "")),
            cause=twilio_cause(word),
            word=word,
            transfer_call_id=form.get("DialCallSid") or None,
            duration=_whole(form.get("DialCallDuration", "")),
        ),
        *_ended_meanwhile(request),
        *_document(request, TwimlPurpose.DIAL),
    ]


def _connected(word: str, bridged: str) -> bool:
    """Whether the two were joined; a destination that answered and was not is a failure for the caller."""
    if bridged:
        return bridged.lower() == "true"
    return word in ("completed", "answered")


def _recording(request: _Request) -> list[Reported]:
    form = request.form
    status = form["RecordingStatus"]
    origin, url = request.origin(f"recording-{status}"), form.get("RecordingUrl", "")
    match status:
        case "completed" if url:
            return [
                RecordingSaved(
                    origin=origin,
                    urls={"wav": f"{url}.wav", "mp3": f"{url}.mp3"},
                    channels=_whole(form.get("RecordingChannels", "")),
                    recording_id=form.get("RecordingSid") or None,
                    started_at=_time(form.get("RecordingStartTime", "")),
                    duration=_whole(form.get("RecordingDuration", "")),
                )
            ]
        case "in-progress":
            return [Noted(origin=origin, name=f"recording {status}")]
        case _:
            return [RecordingFailed(origin=origin, reason=status)]


_READERS = {
    Endpoint.VOICE: _voice,
    Endpoint.STATUS: _status,
    Endpoint.STREAM: _stream,
    Endpoint.AFTER_STREAM: _after_stream,
    Endpoint.GATHER: _gather,
    Endpoint.DIAL: _dial,
    Endpoint.LEG: _leg,
    Endpoint.AMD: _amd,
}


# Fields


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


# No count, code or duration is longer.
_LONGEST_NUMBER = 18


def _time(text: str) -> datetime | None:
    """RFC 2822 in status callbacks, ISO 8601 in those of streams; both in UTC."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
        except (ValueError, OverflowError):  # the standard library counts years of any length
            continue
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None

"""Twilio's webhooks: signatures against the SDK's validator, requests as Twilio's documentation shows them."""

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

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
    TransferLegAnswered,
    TransferLegBridged,
    TransferLegHungUp,
    TransferLegInitiated,
    TransferLegRinging,
    TwimlPurpose,
    TwimlRequested,
)
from telephony.causes import AnsweredBy, Direction, HangupCause
from telephony.errors import CarrierProtocolError
from telephony.events import Unrecognised
from telephony.signatures import SignatureRefused
from telephony.twilio.webhooks import (
    Endpoint,
    callback_url,
    parse,
    requested_url,
    signature,
    verify,
    verify_upgrade,
)

TOKEN = "12345"
FORM_TYPE = "application/x-www-form-urlencoded"

# Signatures. The vectors were computed with the SDK.

URL = "https://example.com/twilio/voice"
FORM = {
    "CallSid": "CA1234567890ABCDE",
    "From": "+14158675310",
    "To": "+18005551212",
    "CallStatus": "ringing",
}
SIGNATURE = "Ykh8GyY7vCPUfDfLzoHaRa2SIGQ="
JSON_URL = f"{URL}?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def headers(given_: str, content_type: str = FORM_TYPE, **more: str) -> dict[str, str]:
    return {"X-Twilio-Signature": given_, "Content-Type": content_type, **more}


def accepts(url: str, body: bytes, given_: Mapping[str, str], secret: str | None = None) -> bool:
    try:
        verify(url, body, given_, auth_token=TOKEN, shared_secret=secret)
    except SignatureRefused:
        return False
    return True


def test_the_vector_of_a_form_is_accepted() -> None:
    verify(URL, urlencode(FORM).encode(), headers(SIGNATURE), auth_token=TOKEN)


def test_the_vector_of_a_media_socket_is_accepted() -> None:
    given_ = {"x-twilio-signature": "pLFqhFuBwdcO0x1rgZAXZHSigWQ="}
    verify_upgrade("wss://example.com/media/abc", given_, auth_token=TOKEN)


def test_the_vector_of_a_json_body_is_accepted() -> None:
    given_ = headers("dzFP7zfXiiYbbQ0gVQUyRRg6Qcw=", "application/json")
    verify(JSON_URL, b'{"a":1}', given_, auth_token=TOKEN)


def test_trap_22_a_media_socket_is_signed_as_wss() -> None:
    given_ = {"x-twilio-signature": signature(TOKEN, "https://example.com/media/abc")}
    with pytest.raises(SignatureRefused, match="URL of the media socket"):
        verify_upgrade("wss://example.com/media/abc", given_, auth_token=TOKEN)


def test_trap_22_a_media_socket_is_signed_with_the_port_of_the_document_to_the_letter() -> None:
    given_ = {"x-twilio-signature": signature(TOKEN, "wss://example.com:443/media/abc")}
    verify_upgrade("wss://example.com:443/media/abc", given_, auth_token=TOKEN)
    with pytest.raises(SignatureRefused):
        verify_upgrade("wss://example.com/media/abc", given_, auth_token=TOKEN)


def test_trap_22_behind_a_proxy_the_public_url_counts() -> None:
    seen_by_us = "http://10.0.0.5:8080/twilio/voice"
    body, given_ = urlencode(FORM).encode(), headers(SIGNATURE) | {"X-Forwarded-Host": "evil.example"}
    assert not accepts(seen_by_us, body, given_)
    assert accepts(requested_url("https://example.com/", "/twilio/voice"), body, given_)


@pytest.mark.parametrize("url", ["wss://example.com/media/abc", URL])
def test_an_unsigned_request_is_refused(url: str) -> None:
    with pytest.raises(SignatureRefused, match="not signed") as refused:
        verify(url, b"", {}, auth_token=TOKEN)
    assert (refused.value.carrier, refused.value.code) == ("twilio", "invalid_signature")
    with pytest.raises(SignatureRefused, match="not signed"):
        verify_upgrade(url, {}, auth_token=TOKEN)


@pytest.mark.parametrize("body", [b'{"a":2}', b'{"a":1} '])
def test_a_json_body_that_was_not_signed_is_refused(body: bytes) -> None:
    given_ = headers("dzFP7zfXiiYbbQ0gVQUyRRg6Qcw=", "application/json")
    assert not accepts(JSON_URL, body, given_)
    assert not RequestValidator(TOKEN).validate(JSON_URL, body.decode(), given_["X-Twilio-Signature"])


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data", ""])
def test_a_body_that_no_part_of_the_request_proves_is_refused(content_type: str) -> None:
    given_ = headers(signature(TOKEN, URL), content_type)
    with pytest.raises(SignatureRefused, match="not the one that was signed"):
        verify(URL, b'{"a":1}', given_, auth_token=TOKEN)


@pytest.mark.parametrize("body", [b"CallSid=%ff", b"CallSid=\xff", b"&".join([b"a=1"] * 501)])
def test_a_form_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureRefused, match="cannot be read"):
        verify(URL, body, headers(SIGNATURE), auth_token=TOKEN)


def test_empty_fields_are_part_of_what_is_signed() -> None:
    body = urlencode({**FORM, "CallerName": ""}).encode()
    fields = [*FORM.items(), ("CallerName", "")]
    assert accepts(URL, body, headers(signature(TOKEN, URL, fields)))
    assert not accepts(URL, body, headers(SIGNATURE))


def test_a_form_type_may_name_its_charset() -> None:
    given_ = headers(SIGNATURE, "Application/X-WWW-Form-URLEncoded; charset=UTF-8")
    assert accepts(URL, urlencode(FORM).encode(), given_)


@pytest.mark.parametrize("secrets", [("", None), (TOKEN, "")])
def test_an_empty_secret_is_our_own_mistake(secrets: tuple[str, str | None]) -> None:
    forged = headers(signature("", URL))
    with pytest.raises(ValueError, match="empty secret"):
        verify(URL, b"", forged, auth_token=secrets[0], shared_secret=secrets[1])


SETTINGS = "X-Twilio-Webhooks-Signature-Settings"


@pytest.mark.parametrize(
    ("settings", "algorithm"),
    [
        ("key=sk_1,algorithm=HMAC_SHA256", "sha256"),
        ("key=sk_1, algorithm = hmac_sha256", "sha256"),
        ("key=sk_1,algorithm=HMAC_SHA1", "sha1"),
        ("key=sk_1", "sha1"),
        ("key=sk_1,algorithm=", "sha1"),
    ],
)
def test_a_shared_key_signs_with_the_algorithm_it_names(settings: str, algorithm: str) -> None:
    given_ = headers(signature("shared", URL, FORM.items(), algorithm=algorithm), **{SETTINGS: settings})
    body = urlencode(FORM).encode()
    assert accepts(URL, body, given_, "shared")
    assert not accepts(URL, body, given_, "other")
    assert RequestValidator("shared").validate(
        URL, FORM, given_["X-Twilio-Signature"], {"sha1": "HMAC_SHA1", "sha256": "HMAC_SHA256"}[algorithm]
    )


def test_a_shared_key_that_we_do_not_hold_is_refused() -> None:
    given_ = headers(SIGNATURE, **{SETTINGS: "key=sk_1,algorithm=HMAC_SHA256"})
    with pytest.raises(SignatureRefused, match="not configured"):
        verify(URL, urlencode(FORM).encode(), given_, auth_token=TOKEN)


def test_an_unknown_algorithm_is_refused() -> None:
    given_ = headers(SIGNATURE, **{SETTINGS: "algorithm=NONE"})
    with pytest.raises(SignatureRefused, match="algorithm"):
        verify(URL, urlencode(FORM).encode(), given_, auth_token=TOKEN, shared_secret="shared")


def test_a_shared_key_signs_media_sockets_too() -> None:
    url = "wss://example.com/media/abc"
    given_ = {
        "x-twilio-signature": signature("shared", url, algorithm="sha256"),
        SETTINGS: "key=k,algorithm=HMAC_SHA256",
    }
    verify_upgrade(url, given_, auth_token=TOKEN, shared_secret="shared")


class Fields:
    """Form fields as the SDK takes them when a name comes more than once."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def __iter__(self) -> object:
        return iter(name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def getall(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PAIRS = st.lists(
    st.tuples(st.sampled_from(["CallSid", "From", "Digits", "x"]) | TEXT.filter(bool), TEXT), max_size=8
)
HOSTS = st.sampled_from(["example.com", "example.com:8443", "example.com:443", "t", "h.s:80", "s"])
URLS = st.builds(
    lambda scheme, host, path, query: f"{scheme}://{host}/{path}{query}",
    st.sampled_from(["https", "http"]),
    HOSTS,
    st.from_regex(r"[a-z0-9/.~_-]{0,12}", fullmatch=True),
    st.sampled_from(["", "?token=call_1", "?a=1&b=%20", "?bodySHA256=00"]),
)


@given(URLS, PAIRS)
def test_the_sdk_agrees_on_any_form(url: str, pairs: list[tuple[str, str]]) -> None:
    oracle = RequestValidator(TOKEN)
    expected = oracle.compute_signature(url, Fields(pairs))
    assert signature(TOKEN, url, pairs) == expected
    assert oracle.validate(url, Fields(pairs), expected)
    assert accepts(url, urlencode(pairs).encode(), headers(expected))


@given(URLS, PAIRS, URLS, PAIRS)
def test_the_sdk_agrees_on_any_tampering(
    url: str, pairs: list[tuple[str, str]], other_url: str, other_pairs: list[tuple[str, str]]
) -> None:
    oracle = RequestValidator(TOKEN)
    given_ = oracle.compute_signature(url, Fields(pairs))
    for asked, fields in ((other_url, pairs), (url, other_pairs), (other_url, other_pairs)):
        ours = accepts(asked, urlencode(fields).encode(), headers(given_))
        assert ours == oracle.validate(asked, Fields(fields), given_)


@pytest.mark.parametrize(
    ("configured", "signed_for"),
    [
        ("https://example.com/v", "https://example.com:443/v"),
        ("http://example.com/v", "http://example.com:80/v"),
        ("https://example.com:8443/v", "https://example.com/v"),
        ("https://example.com:8443/v", "https://example.com:8443/v"),
    ],
)
def test_the_sdk_agrees_that_a_port_may_be_signed_or_not(configured: str, signed_for: str) -> None:
    given_ = RequestValidator(TOKEN).compute_signature(signed_for, FORM)
    assert RequestValidator(TOKEN).validate(configured, FORM, given_)
    assert accepts(configured, urlencode(FORM).encode(), headers(given_))


@given(st.dictionaries(TEXT, TEXT), st.booleans())
def test_the_sdk_agrees_on_any_json(value: dict[str, str], is_tampered: bool) -> None:
    body = json.dumps(value)
    url = f"{URL}?bodySHA256={sha256(body.encode()).hexdigest()}"
    given_ = RequestValidator(TOKEN).compute_signature(url, {})
    received = body + " " if is_tampered else body
    ours = accepts(url, received.encode(), headers(given_, "application/json"))
    assert ours == RequestValidator(TOKEN).validate(url, received, given_)
    assert ours is not is_tampered


@given(st.text(max_size=40))
def test_any_text_as_a_signature_is_only_a_wrong_one(given_: str) -> None:
    assert not accepts(URL, b"", headers(given_))


def test_no_refusal_tells_what_was_signed() -> None:
    with pytest.raises(SignatureRefused) as refused:
        verify(URL, b"Digits=4111", headers("AAAA"), auth_token="s3cret")
    assert "4111" not in str(refused.value)
    assert "s3cret" not in str(refused.value)


# URLs

LEG = LegToken("call_1", "xfer_1")


@pytest.mark.parametrize("endpoint", Endpoint)
def test_urls_are_those_of_the_api(endpoint: Endpoint) -> None:
    base = f"https://gw.example.com/base/carriers/twilio/default/{endpoint.value}"
    assert callback_url("https://gw.example.com/base/", "default", endpoint) == base
    with_token = callback_url("https://gw.example.com/base", "default", endpoint, LEG)
    in_path = endpoint in ("after-stream", "gather", "dial", "leg", "amd")
    assert with_token == base + ("/" if in_path else "?token=") + "call_1.xfer_1"


def test_an_integration_cannot_leave_its_place_in_the_path() -> None:
    assert "/a%2F..%2Fb/" in callback_url("https://gw", "a/../b", Endpoint.VOICE)


# Requests

COMMON = {
    "CallSid": "CA1",
    "AccountSid": "AC1",
    "From": "+13125550100",
    "To": "+13125550101",
    "Caller": "+13125550100",
    "Called": "+13125550101",
    "ApiVersion": "2010-04-01",
}
NAME = LegToken("call_1", operation="gather_2")
TIMESTAMP = "Thu, 01 Jan 2026 00:00:00 +0000"


def said(endpoint: Endpoint, token: LegToken | None = None, /, **form: str) -> list[Reported]:
    return parse(endpoint, urlencode(COMMON | form).encode(), token=token)


def origin(event_id: str, **more: object) -> Origin:
    known: dict[str, object] = {
        "carrier": "twilio",
        "event_id": event_id,
        "carrier_call_id": "CA1",
        "leg_id": "CA1",
        "account_id": "AC1",
    }
    return Origin(**(known | more))  # type: ignore[arg-type]  # a test may fill in anything


def test_an_inbound_call_is_initiated_and_waits_for_its_document() -> None:
    events = said(
        Endpoint.VOICE,
        CallStatus="ringing",
        Direction="inbound",
        CallerName="Ann",
        ForwardedFrom="+13125550199",
        StirVerstat="TN-Validation-Passed-A",
        **{"SipHeader_X-Order": "42"},
    )
    assert events == [
        Initiated(
            origin=origin("CA1/voice/ringing"),
            direction=Direction.INBOUND,
            from_number="+13125550100",
            to_number="+13125550101",
            caller_name="Ann",
            headers={"X-Order": "42"},
            forwarded_from="+13125550199",
            attestation="TN-Validation-Passed-A",
        ),
        TwimlRequested(origin=origin("CA1/voice/document"), purpose=TwimlPurpose.VOICE),
    ]


def test_a_dialled_call_asks_for_its_document_when_it_is_answered() -> None:
    events = said(
        Endpoint.VOICE,
        NAME,
        CallStatus="in-progress",
        Direction="outbound-api",
        AnsweredBy="machine_end_beep",
        MachineDetectionDuration="2500",
    )
    at = "CA1/voice/call_1~gather_2"
    assert events == [
        Answered(origin=origin(f"{at}/in-progress", token=NAME)),
        MachineDetected(
            origin=origin(f"{at}/machine-detected", token=NAME), answered_by=AnsweredBy.MACHINE, after=2.5
        ),
        GreetingEnded(origin=origin(f"{at}/greeting-ended", token=NAME), beep=True),
        TwimlRequested(origin=origin(f"{at}/document", token=NAME), purpose=TwimlPurpose.VOICE),
    ]


def status(sequence: str = "", /, **form: str) -> list[Reported]:
    return said(Endpoint.STATUS, SequenceNumber=sequence, Timestamp=TIMESTAMP, **form)


def at(step: str, sequence: int) -> Origin:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return origin(f"CA1/status/{sequence}/{step}", occurred_at=moment, sequence=sequence)


@pytest.mark.parametrize(
    ("form", "event"),
    [
        (
            {"CallStatus": "initiated", "Direction": "outbound-api"},
            Initiated(
                origin=at("initiated", 0),
                direction=Direction.OUTBOUND,
                from_number="+13125550100",
                to_number="+13125550101",
            ),
        ),
        (
            {"CallStatus": "queued", "Direction": "outbound-dial"},
            Initiated(
                origin=at("queued", 0),
                direction=Direction.OUTBOUND,
                from_number="+13125550100",
                to_number="+13125550101",
            ),
        ),
        ({"CallStatus": "ringing", "Direction": "outbound-api"}, Ringing(origin=at("ringing", 0))),
        ({"CallStatus": "ringing", "Direction": "inbound"}, Ringing(origin=at("ringing", 0))),
        ({"CallStatus": "in-progress"}, Answered(origin=at("in-progress", 0))),
        (
            {"CallStatus": "completed", "CallDuration": "61", "Duration": "2", "SipResponseCode": "200"},
            HungUp(
                origin=at("completed", 0),
                cause=HangupCause.NORMAL_CLEARING,
                sip_code=200,
                word="completed",
                duration=61,
                answered=True,
            ),
        ),
        (
            {"CallStatus": "busy", "SipResponseCode": "486"},
            HungUp(origin=at("busy", 0), cause=HangupCause.USER_BUSY, sip_code=486, word="busy"),
        ),
        (
            {"CallStatus": "busy", "SipResponseCode": "603"},
            HungUp(origin=at("busy", 0), cause=HangupCause.CALL_REJECTED, sip_code=603, word="busy"),
        ),
        (
            {"CallStatus": "no-answer", "SipResponseCode": "487", "CallDuration": "0"},
            HungUp(
                origin=at("no-answer", 0),
                cause=HangupCause.NO_ANSWER,
                sip_code=487,
                word="no-answer",
                duration=0,
            ),
        ),
        (
            {"CallStatus": "canceled"},
            HungUp(origin=at("canceled", 0), cause=HangupCause.ORIGINATOR_CANCEL, word="canceled"),
        ),
        (
            {"CallStatus": "failed", "SipResponseCode": "many"},
            HungUp(origin=at("failed", 0), cause=HangupCause.FAILED, word="failed"),
        ),
        ({"CallStatus": "teleported"}, Unrecognised("CallStatus teleported")),
        ({}, Unrecognised("CallStatus ")),
    ],
)
def test_status_callbacks(form: dict[str, str], event: CallEvent) -> None:
    assert status("0", **form) == [event]


def test_a_status_may_carry_who_answered() -> None:
    events = status("3", CallStatus="completed", AnsweredBy="human")
    assert events[0] == MachineDetected(origin=at("machine-detected", 3), answered_by=AnsweredBy.HUMAN)
    assert isinstance(events[1], HungUp)


@pytest.mark.parametrize(
    ("word", "answered_by", "beep"),
    [
        ("human", AnsweredBy.HUMAN, None),
        ("machine_start", AnsweredBy.MACHINE, None),
        ("machine_end_beep", AnsweredBy.MACHINE, True),
        ("machine_end_silence", AnsweredBy.MACHINE, False),
        ("machine_end_other", AnsweredBy.MACHINE, False),
        ("fax", AnsweredBy.FAX, None),
        ("unknown", AnsweredBy.UNKNOWN, None),
        ("robot", AnsweredBy.UNKNOWN, None),
    ],
)
def test_machine_detection(word: str, answered_by: AnsweredBy, beep: bool | None) -> None:
    detected, *greeting = said(Endpoint.AMD, LEG, AnsweredBy=word)
    assert isinstance(detected, MachineDetected)
    assert (detected.answered_by, detected.after) == (answered_by, None)
    assert [event.beep for event in greeting if isinstance(event, GreetingEnded)] == (
        [] if beep is None else [beep]
    )


STREAM_ERROR = "31921 - Stream - WebSocket - Close Error"


@pytest.mark.parametrize(
    ("form", "event"),
    [
        (
            {"StreamEvent": "stream-started"},
            StreamingStarted(origin=origin("CA1/stream/MZ1/stream-started"), stream_id="MZ1"),
        ),
        (
            {"StreamEvent": "stream-stopped"},
            StreamingStopped(origin=origin("CA1/stream/MZ1/stream-stopped"), stream_id="MZ1"),
        ),
        (
            {"StreamEvent": "stream-error", "StreamError": STREAM_ERROR},
            StreamingFailed(
                origin=origin("CA1/stream/MZ1/stream-error"), reason=STREAM_ERROR, stream_id="MZ1"
            ),
        ),
        (
            {"StreamEvent": "stream-error"},
            StreamingFailed(origin=origin("CA1/stream/MZ1/stream-error"), reason="unknown", stream_id="MZ1"),
        ),
        ({"StreamEvent": "stream-paused"}, Unrecognised("StreamEvent stream-paused")),
    ],
)
def test_stream_callbacks(form: dict[str, str], event: Reported) -> None:
    assert said(Endpoint.STREAM, StreamSid="MZ1", StreamName="n", **form) == [event]


def test_the_end_of_a_stream_asks_what_to_do() -> None:
    (asked,) = said(Endpoint.AFTER_STREAM, NAME, CallStatus="in-progress", Direction="inbound")
    assert asked == TwimlRequested(
        origin=origin("CA1/after-stream/call_1~gather_2/document", token=NAME),
        purpose=TwimlPurpose.AFTER_STREAM,
    )


@pytest.mark.parametrize(
    ("form", "status_", "digits"),
    [
        ({"Digits": "4711", "FinishedOnKey": "#"}, GatherStatus.COMPLETED, "4711"),
        ({"Digits": ""}, GatherStatus.TIMEOUT, ""),
        ({}, GatherStatus.TIMEOUT, ""),
    ],
)
def test_a_gathers_end_comes_with_the_question_what_to_do(
    form: dict[str, str], status_: GatherStatus, digits: str
) -> None:
    gathered, asked = said(Endpoint.GATHER, NAME, CallStatus="in-progress", **form)
    assert gathered == GatherEnded(
        origin=origin("CA1/gather/call_1~gather_2/gathered", token=NAME), status=status_, digits=digits
    )
    assert isinstance(asked, TwimlRequested)
    assert (asked.purpose, asked.alive) == (TwimlPurpose.GATHER, True)


@pytest.mark.parametrize(
    ("form", "connected", "cause"),
    [
        ({"DialCallStatus": "completed", "DialBridged": "true"}, True, HangupCause.NORMAL_CLEARING),
        ({"DialCallStatus": "answered"}, True, HangupCause.NORMAL_CLEARING),
        ({"DialCallStatus": "completed"}, True, HangupCause.NORMAL_CLEARING),
        ({"DialCallStatus": "completed", "DialBridged": "false"}, False, HangupCause.NORMAL_CLEARING),
        ({"DialCallStatus": "busy", "DialBridged": "false"}, False, HangupCause.USER_BUSY),
        ({"DialCallStatus": "no-answer"}, False, HangupCause.NO_ANSWER),
        ({"DialCallStatus": "failed"}, False, HangupCause.FAILED),
        ({"DialCallStatus": "canceled"}, False, HangupCause.ORIGINATOR_CANCEL),
        ({}, False, HangupCause.UNSPECIFIED),
    ],
)
def test_a_transfers_end_comes_with_the_question_what_to_do(
    form: dict[str, str], connected: bool, cause: HangupCause
) -> None:
    ended, asked = said(
        Endpoint.DIAL, LEG, CallStatus="in-progress", DialCallSid="CA2", DialCallDuration="7", **form
    )
    assert ended == TransferEnded(
        origin=origin("CA1/dial/call_1.xfer_1/dialled", token=LEG),
        connected=connected,
        cause=cause,
        word=form.get("DialCallStatus", ""),
        transfer_call_id="CA2",
        duration=7,
    )
    assert isinstance(asked, TwimlRequested)
    assert asked.purpose is TwimlPurpose.DIAL


@pytest.mark.parametrize("endpoint", [Endpoint.AFTER_STREAM, Endpoint.GATHER, Endpoint.DIAL])
def test_a_question_after_the_caller_has_gone_is_the_news_of_that(endpoint: Endpoint) -> None:
    *_, hung_up, asked = said(endpoint, LEG, CallStatus="completed", DialCallStatus="canceled")
    assert isinstance(hung_up, HungUp)
    assert hung_up.answered
    assert isinstance(asked, TwimlRequested)
    assert not asked.alive


def test_a_gather_cut_short_by_the_caller_says_so_and_keeps_the_digits() -> None:
    gathered, *_ = said(Endpoint.GATHER, NAME, CallStatus="completed", Digits="47")
    assert isinstance(gathered, GatherEnded)
    assert (gathered.status, gathered.digits) == (GatherStatus.HANGUP, "47")


def test_a_transfers_leg_tells_its_own_story() -> None:
    story = [
        event
        for sequence, form in enumerate(
            [
                {"CallStatus": "initiated"},
                {"CallStatus": "ringing"},
                {"CallStatus": "in-progress"},
                {"CallStatus": "completed", "CallDuration": "9"},
                {"CallStatus": "teleported"},
            ]
        )
        for event in said(
            Endpoint.LEG,
            LEG,
            Direction="outbound-dial",
            ParentCallSid="CA0",
            SequenceNumber=str(sequence),
            **form,
        )
    ]
    assert [type(event) for event in story] == [
        TransferLegInitiated,
        TransferLegRinging,
        TransferLegAnswered,
        TransferLegBridged,
        TransferLegHungUp,
        Unrecognised,
    ]
    answered, bridged = story[2], story[3]
    assert isinstance(answered, TransferLegAnswered)
    assert isinstance(bridged, TransferLegBridged)
    assert (answered.origin.parent_call_id, answered.origin.token) == ("CA0", LEG)
    assert answered.origin.event_id != bridged.origin.event_id


@pytest.mark.parametrize(
    ("form", "event"),
    [
        (
            {
                "RecordingStatus": "completed",
                "RecordingUrl": "https://api.twilio.com/r/RE1",
                "RecordingChannels": "2",
                "RecordingDuration": "61",
                "RecordingStartTime": TIMESTAMP,
            },
            RecordingSaved(
                origin=origin("CA1/status/RE1/recording-completed"),
                urls={
                    "wav": "https://api.twilio.com/r/RE1.wav",
                    "mp3": "https://api.twilio.com/r/RE1.mp3",
                },
                channels=2,
                recording_id="RE1",
                started_at=datetime(2026, 1, 1, tzinfo=UTC),
                duration=61,
            ),
        ),
        (
            {"RecordingStatus": "in-progress"},
            Noted(origin=origin("CA1/status/RE1/recording-in-progress"), name="recording in-progress"),
        ),
        (
            {"RecordingStatus": "absent"},
            RecordingFailed(origin=origin("CA1/status/RE1/recording-absent"), reason="absent"),
        ),
        (
            {"RecordingStatus": "completed"},
            RecordingFailed(origin=origin("CA1/status/RE1/recording-completed"), reason="completed"),
        ),
    ],
)
def test_recording_callbacks(form: dict[str, str], event: CallEvent) -> None:
    assert said(Endpoint.STATUS, RecordingSid="RE1", **form) == [event]


# Traps


def test_trap_10_callbacks_out_of_order_carry_their_number() -> None:
    late, early = status("3", CallStatus="completed"), status("2", CallStatus="in-progress")
    assert [event.origin.sequence for event in (*late, *early) if not isinstance(event, Unrecognised)] == [
        3,
        2,
    ]


def test_trap_19_answered_may_precede_the_media_socket_and_says_nothing_of_it() -> None:
    (event,) = status("2", CallStatus="in-progress")
    assert isinstance(event, Answered)


def test_trap_20_a_voice_webhook_delivered_twice_is_one_call_and_two_questions() -> None:
    form = {"CallStatus": "ringing", "Direction": "inbound"}
    first, second = said(Endpoint.VOICE, **form), said(Endpoint.VOICE, **form)
    assert first == second
    assert isinstance(second[-1], TwimlRequested)


def test_trap_20_a_retry_at_the_fallback_url_is_the_same_event() -> None:
    form = {"CallStatus": "ringing", "Direction": "inbound"}
    retried = said(Endpoint.VOICE, ErrorCode="11200", ErrorUrl="https://gw/voice", **form)
    assert retried == said(Endpoint.VOICE, **form)


def test_trap_21_a_token_may_come_by_query_where_it_is_not_a_stream() -> None:
    url = callback_url("https://gw.example.com", "default", Endpoint.STATUS, LegToken("call_9"))
    assert url.endswith("/status?token=call_9")
    assert accepts(url, b"", headers(signature(TOKEN, url)))


def test_trap_39_two_sources_of_one_end_are_two_events_with_one_meaning() -> None:
    (by_status,) = status("4", CallStatus="completed")
    by_question, _ = said(Endpoint.AFTER_STREAM, NAME, CallStatus="completed")
    assert isinstance(by_status, HungUp)
    assert isinstance(by_question, HungUp)
    assert by_status.origin.event_id != by_question.origin.event_id
    assert by_status.cause is by_question.cause


def test_trap_42_a_callback_that_overtakes_the_dials_answer_is_known_by_its_token() -> None:
    form = {"CallStatus": "initiated", "Direction": "outbound-api"}
    (event,) = said(Endpoint.STATUS, LegToken("call_9"), **form)
    assert isinstance(event, Initiated)
    assert event.origin.token == LegToken("call_9")


# What is not as documented


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (TIMESTAMP, datetime(2026, 1, 1, tzinfo=UTC)),
        ("Thu, 01 Jan 2026 00:00:00 -0000", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00.000Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("yesterday", None),
        ("Thu, 01 Jan 99999999999999999999 00:00:00 +0000", None),
        ("", None),
    ],
)
def test_times_are_read_in_both_forms(text: str, moment: datetime | None) -> None:
    (event,) = said(Endpoint.STATUS, CallStatus="in-progress", Timestamp=text)
    assert isinstance(event, Answered)
    assert event.origin.occurred_at == moment


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize("body", [b"", b"CallSid=", b'{"CallSid":"CA1"}', b"CallSid=%ff", b"\xff", b"From=1"])
def test_a_request_about_no_call_is_malformed(endpoint: Endpoint, body: bytes) -> None:
    with pytest.raises(CarrierProtocolError, match="twilio"):
        parse(endpoint, body)


def test_a_call_that_goes_nowhere_is_malformed() -> None:
    with pytest.raises(CarrierProtocolError, match="Direction"):
        said(Endpoint.STATUS, CallStatus="initiated", Direction="sideways")


def test_a_detection_without_a_result_is_malformed() -> None:
    with pytest.raises(CarrierProtocolError, match="AnsweredBy"):
        said(Endpoint.AMD)


@given(st.sampled_from(Endpoint), st.binary())
def test_any_bytes_are_events_or_malformed(endpoint: Endpoint, body: bytes) -> None:
    with contextlib.suppress(CarrierProtocolError):
        assert parse(endpoint, b"CallSid=CA1&" + body)


NAMES = st.sampled_from(
    [
        "AnsweredBy",
        "CallDuration",
        "CallStatus",
        "DialBridged",
        "DialCallStatus",
        "Digits",
        "Direction",
        "MachineDetectionDuration",
        "RecordingStatus",
        "SequenceNumber",
        "SipResponseCode",
        "StreamEvent",
        "Timestamp",
    ]
)
WORDS = st.sampled_from(["completed", "ringing", "in-progress", "inbound", "1", "stream-error"]) | TEXT


@given(st.sampled_from(Endpoint), st.dictionaries(NAMES, WORDS))
def test_any_form_of_a_call_is_events_with_ids_of_their_own(endpoint: Endpoint, form: dict[str, str]) -> None:
    try:
        events = said(endpoint, NAME, **form)
    except CarrierProtocolError:
        return
    ids = [event.origin.event_id for event in events if not isinstance(event, Unrecognised)]
    assert len(set(ids)) == len(ids)
    wants_document = endpoint in (Endpoint.VOICE, Endpoint.AFTER_STREAM, Endpoint.GATHER, Endpoint.DIAL)
    assert isinstance(events[-1], TwimlRequested) == wants_document

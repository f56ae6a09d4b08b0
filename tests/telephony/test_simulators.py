"""The carriers' side of a media stream, against the frames their documentation prints."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCM16_24K, PCMA_8K, PCMU_8K
from telephony.line import ClearRequested, Complaint, MarkRequested
from telephony.telnyx import simulator as telnyx
from telephony.twilio import simulator as twilio

AUDIO = bytes(range(160))
PAYLOAD = b64encode(AUDIO).decode()


def a_twilio_stream() -> twilio.SimulatedStream:
    return twilio.SimulatedStream(
        call_id="CA1",
        stream_id="MZ1",
        account_id="AC1",
        parameters={"token": "t"},
        from_number="+1",
        to_number="+2",
    )


def a_telnyx_stream(*, drop_tails: bool = False) -> telnyx.SimulatedStream:
    return telnyx.SimulatedStream(
        call_id="v3:1",
        stream_id="s1",
        account_id="u1",
        parameters={"token": "t"},
        from_number="+1",
        to_number="+2",
        inbound=PCMA_8K,
        outbound=PCMU_8K,
        drop_tails=drop_tails,
    )


def said(frame: bytes) -> Any:  # noqa: ANN401  # what json.loads returns
    return json.loads(frame)


def test_twilio_says_what_its_documentation_prints() -> None:
    stream = a_twilio_stream()
    assert said(stream.connected()) == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert said(stream.start()) == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ1",
        "start": {
            "accountSid": "AC1",
            "streamSid": "MZ1",
            "callSid": "CA1",
            "tracks": ["inbound"],
            "customParameters": {"token": "t"},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }
    assert said(stream.media(1, 0, AUDIO)) == {
        "event": "media",
        "sequenceNumber": "2",
        "streamSid": "MZ1",
        "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": PAYLOAD},
    }
    assert said(stream.digit("#", "whenever")) == {
        "event": "dtmf",
        "sequenceNumber": "3",
        "streamSid": "MZ1",
        "dtmf": {"track": "inbound_track", "digit": "#"},
    }
    assert said(stream.mark('a "b"')) == {
        "event": "mark",
        "sequenceNumber": "4",
        "streamSid": "MZ1",
        "mark": {"name": 'a "b"'},
    }
    assert said(stream.stop()) == {
        "event": "stop",
        "sequenceNumber": "5",
        "streamSid": "MZ1",
        "stop": {"accountSid": "AC1", "callSid": "CA1"},
    }


def test_telnyx_says_what_its_documentation_prints() -> None:
    stream = a_telnyx_stream()
    assert said(stream.connected()) == {"event": "connected", "version": "1.0.0"}
    assert said(stream.connected("secret"))["connected"] == {"x-telnyx-streaming-auth-token": "secret"}
    assert said(stream.start()) == {
        "event": "start",
        "sequence_number": "1",
        "stream_id": "s1",
        "start": {
            "user_id": "u1",
            "call_control_id": "v3:1",
            "call_session_id": "1",
            "from": "+1",
            "to": "+2",
            "client_state": None,
            "tags": [],
            "custom_parameters": {"token": "t"},
            "media_format": {"encoding": "PCMA", "sample_rate": 8000, "channels": 1},
        },
    }
    assert said(stream.media(7, 120, AUDIO)) == {
        "event": "media",
        "sequence_number": "2",
        "stream_id": "s1",
        "media": {"track": "inbound", "chunk": "7", "timestamp": "120", "payload": PAYLOAD},
    }
    assert said(stream.digit("1", "2026-01-01T00:00:00.000000Z")) == {
        "event": "dtmf",
        "sequence_number": "3",
        "stream_id": "s1",
        "occurred_at": "2026-01-01T00:00:00.000000Z",
        "dtmf": {"digit": "1"},
    }
    assert said(stream.mark("m"))["mark"] == {"name": "m"}
    assert said(stream.stop())["stop"] == {"user_id": "u1", "call_control_id": "v3:1"}


def test_both_play_what_a_gateway_sends() -> None:
    media = {"event": "media", "media": {"payload": PAYLOAD}}
    mark = {"event": "mark", "mark": {"name": "m"}}
    clear = {"event": "clear"}
    wanted = [AUDIO, MarkRequested("m"), ClearRequested()]
    to_telnyx = [json.dumps(message).encode() for message in (media, mark, clear)]
    to_twilio = [json.dumps({**message, "streamSid": "MZ1"}).encode() for message in (media, mark, clear)]
    assert [a_telnyx_stream().receive(message) for message in to_telnyx] == wanted
    assert [a_twilio_stream().receive(message) for message in to_twilio] == wanted


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00\xff", "31950"),
        (b"not json", "31950"),
        (b'{"x":' + b"[" * 100_000, "31951"),
        (b'{"event":"clear"}', "31951"),
        (b'{"event":"clear","streamSid":"MZ2"}', "31951"),
        (b'{"event":"nonsense","streamSid":"MZ1"}', "31951"),
        (b'{"event":"media","streamSid":"MZ1"}', "31951"),
        (b'{"event":"media","streamSid":"MZ1","media":{"payload":"%%%"}}', "31951"),
        (b'{"event":"mark","streamSid":"MZ1","mark":{}}', "31951"),
    ],
)
def test_twilio_complains_of_what_it_cannot_use(message: bytes, code: str) -> None:
    complaint = a_twilio_stream().receive(message)
    assert isinstance(complaint, Complaint)
    assert (complaint.code, complaint.reply) == (code, None)


def test_twilio_plays_messages_with_fields_it_does_not_know_and_counts_them() -> None:
    stream = a_twilio_stream()
    message = {"event": "media", "streamSid": "MZ1", "media": {"payload": PAYLOAD, "track": "outbound"}}
    assert stream.receive(json.dumps(message).encode()) == AUDIO
    assert stream.extra_fields == 1


@pytest.mark.parametrize(
    ("message", "code", "title"),
    [
        (b"\x00\xff", 100003, "malformed_frame"),
        (b"[" * 100_000, 100003, "malformed_frame"),
        (b'{"event":"nonsense"}', 100003, "malformed_frame"),
        (b'{"event":"media"}', 100003, "malformed_frame"),
        (b'{"event":"media","media":{"payload":"%%%"}}', 100004, "invalid_media"),
    ],
)
def test_telnyx_answers_what_it_cannot_use_with_an_error_frame(message: bytes, code: int, title: str) -> None:
    complaint = a_telnyx_stream().receive(message)
    assert isinstance(complaint, Complaint)
    assert complaint.code == str(code)
    assert complaint.reply is not None
    error = said(complaint.reply)
    assert (error["event"], error["stream_id"]) == ("error", "s1")
    assert (error["payload"]["code"], error["payload"]["title"]) == (code, title)


@pytest.mark.parametrize(("drop_tails", "heard"), [(False, 250), (True, 160)])
def test_telnyx_tails_are_counted_and_dropped_where_told(*, drop_tails: bool, heard: int) -> None:
    stream = a_telnyx_stream(drop_tails=drop_tails)
    message = {"event": "media", "media": {"payload": b64encode(bytes(250)).decode()}}
    played = stream.receive(json.dumps(message).encode())
    assert isinstance(played, bytes)
    assert (len(played), stream.tails) == (heard, 1)


def test_twilio_carries_one_format_both_ways() -> None:
    with pytest.raises(ValueError, match="audio/x-mulaw"):
        twilio.SimulatedStream(
            call_id="",
            stream_id="",
            account_id="",
            parameters={},
            from_number="",
            to_number="",
            inbound=PCMA_8K,
        )


def test_signalwire_may_carry_wide_band_in_twilios_frames() -> None:
    stream = twilio.SimulatedStream(
        call_id="",
        stream_id="",
        account_id="",
        parameters={},
        from_number="",
        to_number="",
        inbound=PCM16_24K,
        outbound=PCM16_24K,
    )
    assert said(stream.start())["start"]["mediaFormat"]["sampleRate"] == 24_000


def test_the_upgrade_is_authenticated_as_each_carrier_does() -> None:
    # The signature is the sheet's test vector, made with Twilio's own SDK.
    assert twilio.upgrade_headers("wss://example.com/media/abc", "12345") == {
        "x-twilio-signature": "pLFqhFuBwdcO0x1rgZAXZHSigWQ="
    }
    assert telnyx.upgrade_headers("wss://x", "t") == {"x-telnyx-streaming-auth-token": "t"}
    assert twilio.upgrade_headers("wss://x", None) == telnyx.upgrade_headers("wss://x", None) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)
)
messages = (
    st.binary()
    | st.text().map(str.encode)
    | st.fixed_dictionaries(
        {"event": st.sampled_from(["media", "mark", "clear", "x"]), "streamSid": st.just("MZ1")},
        optional={"media": json_values, "mark": json_values, "other": json_values},
    ).map(lambda message: json.dumps(message).encode())
)


@given(messages)
def test_no_message_of_a_gateway_is_an_exception(message: bytes) -> None:
    for stream in (a_twilio_stream(), a_telnyx_stream()):
        assert isinstance(stream.receive(message), bytes | MarkRequested | ClearRequested | Complaint)

"""Twilio's side of a media stream, against the frames its documentation prints."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCM16_24K, PCMA_8K
from telephony.line import ClearRequested, Complaint, MarkRequested
from telephony.twilio.simulator import SimulatedStream, upgrade_headers

AUDIO = bytes(range(160))
PAYLOAD = b64encode(AUDIO).decode()


def a_twilio_stream() -> SimulatedStream:
    return SimulatedStream(
        call_id="CA1",
        stream_id="MZ1",
        account_id="AC1",
        parameters={"token": "t"},
        from_number="+1",
        to_number="+2",
    )


def said(frame: bytes) -> Any:  # what json.loads returns
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


def test_it_plays_what_a_gateway_sends() -> None:
    media = {"event": "media", "streamSid": "MZ1", "media": {"payload": PAYLOAD}}
    mark = {"event": "mark", "streamSid": "MZ1", "mark": {"name": "m"}}
    clear = {"event": "clear", "streamSid": "MZ1"}
    asked = [a_twilio_stream().receive(json.dumps(message).encode()) for message in (media, mark, clear)]
    assert asked == [AUDIO, MarkRequested("m"), ClearRequested()]


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


def test_twilio_carries_one_format_both_ways() -> None:
    with pytest.raises(ValueError, match="audio/x-mulaw"):
        SimulatedStream(
            call_id="",
            stream_id="",
            account_id="",
            parameters={},
            from_number="",
            to_number="",
            inbound=PCMA_8K,
        )


def test_signalwire_may_carry_wide_band_in_twilios_frames() -> None:
    stream = SimulatedStream(
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


def test_the_upgrade_is_signed_as_twilio_signs() -> None:
    # A test vector made with Twilio's own SDK.
    assert upgrade_headers("wss://example.com/media/abc", "12345") == {
        "x-twilio-signature": "pLFqhFuBwdcO0x1rgZAXZHSigWQ="
    }
    assert upgrade_headers("wss://x", None) == {}


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
    asked = a_twilio_stream().receive(message)
    assert isinstance(asked, bytes | MarkRequested | ClearRequested | Complaint)

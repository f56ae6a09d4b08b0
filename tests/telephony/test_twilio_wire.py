"""Frames as the Media Streams documentation shows them; payloads and ids filled in where it elides them."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCMU_8K
from telephony.errors import CarrierProtocolError, UnsupportedFormat
from telephony.events import (
    Connected,
    DigitReceived,
    MarkReached,
    MediaReceived,
    Started,
    Stopped,
    StreamEvent,
    Unrecognised,
)
from telephony.frames import UNNUMBERED
from telephony.media_layout import learn
from telephony.twilio.wire import TwilioWire

WIRE = TwilioWire()

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
START = """{"event":"start","sequenceNumber":"1","streamSid":"MZ…",
 "start":{"accountSid":"AC…","streamSid":"MZ…","callSid":"CA…","tracks":["inbound"],
          "customParameters":{"token":"…"},
          "mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}"""
MEDIA = """{"event":"media","sequenceNumber":"3","streamSid":"MZ…",
 "media":{"track":"inbound","chunk":"1","timestamp":"5","payload":"/v8="}}"""
DTMF = """{"event":"dtmf","streamSid":"MZ…","sequenceNumber":"5",
 "dtmf":{"track":"inbound_track","digit":"1"}}"""
MARK = '{"event":"mark","sequenceNumber":"4","streamSid":"MZ…","mark":{"name":"m-17"}}'
STOP = """{"event":"stop","sequenceNumber":"5","streamSid":"MZ…",
 "stop":{"accountSid":"AC…","callSid":"CA…"}}"""

STARTED = Started(stream_id="MZ…", carrier_call_id="CA…", inbound=PCMU_8K, parameters={"token": "…"})


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (CONNECTED, Connected()),
        (START, STARTED),
        (MEDIA, MediaReceived(1, b"\xfe\xff")),
        (DTMF, DigitReceived("1", sequence=5)),
        (MARK, MarkReached("m-17")),
        (STOP, Stopped()),
    ],
)
def test_every_documented_frame_is_read(frame: str, event: StreamEvent) -> None:
    assert WIRE.parse(frame.encode()) == event


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (MEDIA.replace('"1"', "1").replace('"3"', "3").replace('"5"', "5"), MediaReceived(1, b"\xfe\xff")),
        (DTMF.replace('"5"', "5").replace('"1"', "1"), DigitReceived("1", sequence=5)),
        (START.replace("8000", '"8000"').replace(":1}", ':"1"}'), STARTED),
    ],
)
def test_trap_29_numbers_are_read_as_strings_and_as_numbers(frame: str, event: StreamEvent) -> None:
    assert WIRE.parse(frame.encode()) == event


def test_custom_parameters_may_be_a_list() -> None:
    frame = START.replace('{"token":"…"}', '[{"name":"token","value":"…"}]')
    assert WIRE.parse(frame.encode()) == STARTED


@pytest.mark.parametrize("sid", ['"sequenceNumber":"1","streamSid":"MZ…",', '"streamSid":"MZ…","callSid"'])
def test_the_stream_sid_is_taken_from_either_place(sid: str) -> None:
    assert WIRE.parse(START.replace(sid, '"callSid"' if "call" in sid else "").encode()) == STARTED


def test_a_start_without_media_format_is_the_only_format_twilio_has() -> None:
    frame = '{"event":"start","streamSid":"MZ1","start":{"callSid":"CA1"}}'
    assert WIRE.parse(frame.encode()) == Started(stream_id="MZ1", carrier_call_id="CA1", inbound=PCMU_8K)


def test_audio_we_cannot_decode_is_named() -> None:
    frame = START.replace("audio/x-mulaw", "audio/x-l16").replace("8000", "16000")
    with pytest.raises(UnsupportedFormat, match="audio/x-l16/16000"):
        WIRE.parse(frame.encode())


@pytest.mark.parametrize(
    "frame",
    [
        START.replace('"callSid":"CA…",', ""),
        START.replace("MZ…", ""),
        START.replace('"CA…"', "7"),
        START.replace('{"token":"…"}', '"token"'),
        '{"event":"start","streamSid":"MZ1"}',
        MEDIA.replace("/v8=", "not base64!"),
        MEDIA.replace('"/v8="', "null"),
        MEDIA.replace('"1"', '"first"'),
        '{"event":"media","streamSid":"MZ1"}',
        DTMF.replace('"digit":"1"', '"digit":"11"'),
        DTMF.replace('"5"', '"later"'),
        '{"event":"dtmf","streamSid":"MZ1"}',
        MARK.replace('"m-17"', "17"),
        '{"event":"mark","streamSid":"MZ1","mark":{}}',
        '{"streamSid":"MZ1"}',
        '{"event":null}',
        "[]",
        "null",
        "",
        "media",
        MEDIA[:-1],
        MEDIA + MEDIA,
    ],
)
def test_what_breaks_the_protocol_is_a_protocol_error(frame: str) -> None:
    with pytest.raises(CarrierProtocolError) as caught:
        WIRE.parse(frame.encode())
    assert caught.value.carrier == "twilio"
    assert caught.value.reason


def test_depth_is_refused_like_any_other_fault() -> None:
    with pytest.raises(CarrierProtocolError, match="nested too deeply"):
        WIRE.parse(b'{"event":"start","start":' + b"[" * 60_000 + b"]" * 60_000 + b"}")


@pytest.mark.parametrize("event", ["cleared", "error", "media.v2"])
def test_an_unknown_event_is_named_whatever_its_body(event: str) -> None:
    frame = json.dumps({"event": event, "media": 5, "mark": [], "start": "soon", "dtmf": None})
    assert WIRE.parse(frame.encode()) == Unrecognised(event)


@pytest.mark.parametrize("track", ["outbound", "outbound_track"])
def test_our_own_audio_and_digits_are_never_taken_for_the_callers(track: str) -> None:
    assert WIRE.parse(MEDIA.replace("inbound", track).encode()) == Unrecognised(f"media of {track}")
    assert WIRE.parse(DTMF.replace("inbound_track", track).encode()) == Unrecognised(f"dtmf of {track}")


@pytest.mark.parametrize("frame", [MEDIA, DTMF, MARK, STOP])
def test_a_frame_of_another_stream_is_refused(frame: str) -> None:
    WIRE.parse(frame.encode(), "MZ…")
    with pytest.raises(CarrierProtocolError, match="another stream"):
        WIRE.parse(frame.encode(), "MZ2")


def test_media_without_a_chunk_is_left_for_the_stream_to_number() -> None:
    frame = '{"event":"media","media":{"payload":"/v8="}}'
    assert WIRE.parse(frame.encode(), "MZ1") == MediaReceived(UNNUMBERED, b"\xfe\xff")


@given(st.binary())
def test_any_bytes_are_an_event_or_a_protocol_error(message: bytes) -> None:
    with contextlib.suppress(CarrierProtocolError):
        WIRE.parse(message)


def test_what_we_send_names_the_stream() -> None:
    sent = WIRE.templates("MZ1")
    assert json.loads(b"AAAA".join(sent.media)) == {
        "event": "media",
        "streamSid": "MZ1",
        "media": {"payload": "AAAA"},
    }
    assert json.loads(b'"m-17"'.join(sent.mark)) == {
        "event": "mark",
        "streamSid": "MZ1",
        "mark": {"name": "m-17"},
    }
    assert json.loads(sent.clear) == {"event": "clear", "streamSid": "MZ1"}


@given(st.text(min_size=1))
def test_a_stream_id_is_escaped_whatever_it_holds(stream_id: str) -> None:
    assert json.loads(WIRE.templates(stream_id).clear)["streamSid"] == stream_id
    assert isinstance(WIRE.parse(WIRE.plain_media(stream_id), stream_id), MediaReceived)


def test_the_documented_media_frame_teaches_the_hot_path() -> None:
    layout = learn(WIRE.plain_media("MZ…"), WIRE.sequence_key)
    assert layout is not None
    assert layout.scan(MEDIA.replace("\n ", "").encode()) == (1, b"\xfe\xff")


def test_another_carrier_with_the_same_frames_speaks_under_its_own_name() -> None:
    with pytest.raises(CarrierProtocolError, match="signalwire: "):
        TwilioWire("signalwire").parse(b"{}")

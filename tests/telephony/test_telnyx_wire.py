"""Frames as the Media Streaming documentation shows them; payloads filled in where it elides them."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCMA_8K, PCMU_8K
from telephony.errors import CarrierProtocolError, UnsupportedFormat
from telephony.events import (
    CarrierFault,
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
from telephony.telnyx.wire import TelnyxWire

WIRE = TelnyxWire()

CONNECTED = '{"event":"connected","version":"1.0.0"}'
CONNECTED_WITH_TOKEN = '{"event":"connected","connected":{"x-telnyx-streaming-auth-token":"s3cret"}}'
START = """{"event":"start","sequence_number":"1","stream_id":"<uuid>",
 "start":{"user_id":"<uuid>","call_control_id":"v3:…","call_session_id":"<uuid>",
          "from":"+13125550100","to":"+13125550101","client_state":"<base64 or null>",
          "tags":["…"],"custom_parameters":{"k":"v"},
          "media_format":{"encoding":"PCMU","sample_rate":8000,"channels":1}}}"""
MEDIA = """{"event":"media","sequence_number":"4","stream_id":"<uuid>",
 "media":{"track":"inbound","chunk":"2","timestamp":"5","payload":"/v8="}}"""
DTMF = """{"event":"dtmf","stream_id":"<uuid>","occurred_at":"2026-01-01T00:00:00.000000Z",
 "sequence_number":"5","dtmf":{"digit":"1"}}"""
MARK = '{"event":"mark","stream_id":"<uuid>","sequence_number":"6","mark":{"name":"m-17"}}'
STOP = """{"event":"stop","sequence_number":"9","stream_id":"<uuid>",
 "stop":{"user_id":"<uuid>","call_control_id":"v3:…"}}"""
ERROR = """{"event":"error","stream_id":"<uuid>",
 "payload":{"code":100004,"title":"invalid_media","detail":"…"}}"""

STARTED = Started(
    stream_id="<uuid>",
    carrier_call_id="v3:…",
    inbound=PCMU_8K,
    from_number="+13125550100",
    to_number="+13125550101",
    parameters={"k": "v"},
)


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (CONNECTED, Connected()),
        (CONNECTED_WITH_TOKEN, Connected("s3cret")),
        (START, STARTED),
        (MEDIA, MediaReceived(2, b"\xfe\xff")),
        (DTMF, DigitReceived("1", occurred_at="2026-01-01T00:00:00.000000Z", sequence=5)),
        (MARK, MarkReached("m-17")),
        (STOP, Stopped()),
        (ERROR, CarrierFault("100004", "invalid_media: …")),
    ],
)
def test_every_documented_frame_is_read(frame: str, event: StreamEvent) -> None:
    assert WIRE.parse(frame.encode()) == event


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (MEDIA.replace('"2"', "2").replace('"4"', "4").replace('"5"', "5"), MediaReceived(2, b"\xfe\xff")),
        (
            DTMF.replace('"5"', "5").replace('"1"', "1"),
            DigitReceived("1", occurred_at="2026-01-01T00:00:00.000000Z", sequence=5),
        ),
        (START.replace("8000", '"8000"').replace(":1}", ':"1"}'), STARTED),
        (ERROR.replace("100004", '"100004"'), CarrierFault("100004", "invalid_media: …")),
    ],
)
def test_trap_29_numbers_are_read_as_strings_and_as_numbers(frame: str, event: StreamEvent) -> None:
    assert WIRE.parse(frame.encode()) == event


def test_custom_parameters_may_be_a_list_as_the_request_has_them() -> None:
    frame = START.replace('{"k":"v"}', '[{"name":"k","value":"v"}]')
    assert WIRE.parse(frame.encode()) == STARTED


def test_trap_3_the_decoder_follows_the_format_of_the_start_frame() -> None:
    started = WIRE.parse(START.replace("PCMU", "PCMA").encode())
    assert isinstance(started, Started)
    assert started.inbound == PCMA_8K


@pytest.mark.parametrize("encoding", ["G722", "OPUS", "AMR-WB", "L16", "default", ""])
def test_audio_we_cannot_decode_is_named(encoding: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"cannot decode {encoding}/8000"):
        WIRE.parse(START.replace("PCMU", encoding).encode())


def test_trap_6_the_stream_id_is_top_level_only() -> None:
    inside = START.replace('"stream_id":"<uuid>",', "").replace('"user_id"', '"stream_id"')
    with pytest.raises(CarrierProtocolError, match="stream_id"):
        WIRE.parse(inside.encode())


@pytest.mark.parametrize("code", [100002, 100003, 100004, 100005])
def test_trap_6_error_frames_are_read(code: int) -> None:
    fault = WIRE.parse(json.dumps({"event": "error", "payload": {"code": code, "title": "t"}}).encode())
    assert fault == CarrierFault(str(code), "t")


@pytest.mark.parametrize("frame", ['{"event":"error"}', '{"event":"error","payload":{"code":null}}'])
def test_an_error_frame_may_say_nothing(frame: str) -> None:
    assert WIRE.parse(frame.encode()) == CarrierFault("unknown", "")


@pytest.mark.parametrize(
    "frame",
    [
        START.replace('"call_control_id":"v3:…",', ""),
        START.replace("v3:…", ""),
        START.replace('"stream_id":"<uuid>",', ""),
        START.replace('{"encoding":"PCMU","sample_rate":8000,"channels":1}', "null"),
        START.replace('"custom_parameters":{"k":"v"}', '"custom_parameters":"k=v"'),
        '{"event":"start","stream_id":"<uuid>"}',
        MEDIA.replace("/v8=", "not base64!"),
        MEDIA.replace('"2"', '"second"'),
        '{"event":"media","stream_id":"<uuid>"}',
        DTMF.replace('"digit":"1"', '"digit":""'),
        DTMF.replace('"5"', '"later"'),
        MARK.replace('"m-17"', "null"),
        ERROR.replace("100004", "[]"),
        '{"event":"connected","connected":{"x-telnyx-streaming-auth-token":5}}',
        '{"event":5}',
        "{}",
        "[]",
        "",
        MEDIA[:-1],
        MEDIA + "x",
    ],
)
def test_what_breaks_the_protocol_is_a_protocol_error(frame: str) -> None:
    with pytest.raises(CarrierProtocolError) as caught:
        WIRE.parse(frame.encode())
    assert caught.value.carrier == "telnyx"
    assert caught.value.reason


@pytest.mark.parametrize("event", ["streaming.started", "transcription", "clear"])
def test_an_unknown_event_is_named_whatever_its_body(event: str) -> None:
    frame = json.dumps({"event": event, "media": 5, "mark": [], "payload": "text", "dtmf": None})
    assert WIRE.parse(frame.encode()) == Unrecognised(event)


def test_our_own_audio_is_never_taken_for_the_callers() -> None:
    assert WIRE.parse(MEDIA.replace("inbound", "outbound").encode()) == Unrecognised("media of outbound")


@pytest.mark.parametrize("frame", [MEDIA, DTMF, MARK, STOP, ERROR])
def test_a_frame_of_another_stream_is_refused(frame: str) -> None:
    WIRE.parse(frame.encode(), "<uuid>")
    with pytest.raises(CarrierProtocolError, match="another stream"):
        WIRE.parse(frame.encode(), "other")


def test_media_without_a_chunk_is_left_for_the_stream_to_number() -> None:
    frame = '{"event":"media","media":{"payload":"/v8="}}'
    assert WIRE.parse(frame.encode()) == MediaReceived(UNNUMBERED, b"\xfe\xff")


@given(st.binary())
def test_any_bytes_are_an_event_or_a_protocol_error(message: bytes) -> None:
    with contextlib.suppress(CarrierProtocolError):
        WIRE.parse(message)


def test_what_we_send_names_no_stream() -> None:
    sent = WIRE.templates("<uuid>")
    assert json.loads(b"AAAA".join(sent.media)) == {"event": "media", "media": {"payload": "AAAA"}}
    assert json.loads(b'"m-17"'.join(sent.mark)) == {"event": "mark", "mark": {"name": "m-17"}}
    assert json.loads(sent.clear) == {"event": "clear"}


def test_the_documented_media_frame_teaches_the_hot_path() -> None:
    layout = learn(WIRE.plain_media("<uuid>"), WIRE.sequence_key)
    assert layout is not None
    assert layout.scan(MEDIA.replace("\n ", "").encode()) == (2, b"\xfe\xff")

"""Telnyx's side of a media stream, against the frames its documentation prints."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCMA_8K, PCMU_8K
from telephony.line import ClearRequested, Complaint, MarkRequested
from telephony.telnyx.simulator import SimulatedStream, upgrade_headers

AUDIO = bytes(range(160))
PAYLOAD = b64encode(AUDIO).decode()


def a_telnyx_stream(*, drop_tails: bool = False) -> SimulatedStream:
    return SimulatedStream(
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


def said(frame: bytes) -> Any:  # what json.loads returns
    return json.loads(frame)


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


def test_it_plays_what_a_gateway_sends() -> None:
    media = {"event": "media", "media": {"payload": PAYLOAD}}
    mark = {"event": "mark", "mark": {"name": "m"}}
    clear = {"event": "clear"}
    asked = [a_telnyx_stream().receive(json.dumps(message).encode()) for message in (media, mark, clear)]
    assert asked == [AUDIO, MarkRequested("m"), ClearRequested()]


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


def test_the_upgrade_carries_the_token() -> None:
    assert upgrade_headers("wss://x", "t") == {"x-telnyx-streaming-auth-token": "t"}
    assert upgrade_headers("wss://x", None) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)
)
messages = (
    st.binary()
    | st.text().map(str.encode)
    | st.fixed_dictionaries(
        {"event": st.sampled_from(["media", "mark", "clear", "x"])},
        optional={"media": json_values, "mark": json_values, "other": json_values},
    ).map(lambda message: json.dumps(message).encode())
)


@given(messages)
def test_no_message_of_a_gateway_is_an_exception(message: bytes) -> None:
    asked = a_telnyx_stream().receive(message)
    assert isinstance(asked, bytes | MarkRequested | ClearRequested | Complaint)

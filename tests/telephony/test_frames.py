import json

import msgspec
import pytest

from media.audio import PCMA_8K, Encoding
from telephony.errors import UnsupportedFormat
from telephony.events import MediaReceived, Unrecognised
from telephony.frames import (
    MAX_PAYLOAD,
    UNNUMBERED,
    Number,
    audio_format,
    key_pressed,
    media_received,
    parameters,
    whole,
)


@pytest.mark.parametrize("number", ["17", 17, 17.0, "017"])
def test_a_counter_is_read_as_string_or_number(number: Number) -> None:
    assert whole(number, "chunk") == 17


@pytest.mark.parametrize("number", [None, "", "-1", "1.5", "٣", "²", " 1", "9" * 19, -1, 1.5, 10**18, 1e30])
def test_what_does_not_count_is_refused_by_name(number: Number | None) -> None:
    with pytest.raises(ValueError, match="chunk is not a number"):
        whole(number, "chunk")


@pytest.mark.parametrize("digit", list("0123456789*#ABCD"))
def test_every_key_of_q23_is_a_digit(digit: str) -> None:
    assert key_pressed(digit) == digit


def test_a_digit_may_come_as_a_number_or_in_lower_case() -> None:
    assert [key_pressed(5), key_pressed("a")] == ["5", "A"]


@pytest.mark.parametrize("digit", ["", "12", "E", "٣", " ", -1, 10])
def test_no_other_text_is_a_digit(digit: Number) -> None:
    with pytest.raises(ValueError, match="not a key"):
        key_pressed(digit)


@pytest.mark.parametrize(
    "given_",
    [
        {"agent": "a1", "attempt": 2, "vip": True, "note": None, "tags": ["x"]},
        [
            {"name": "agent", "value": "a1"},
            {"name": "attempt", "value": 2},
            {"name": "vip", "value": True},
            {"name": "note"},
            {"name": "tags", "value": ["x"]},
        ],
    ],
)
def test_parameters_are_read_as_object_or_list(given_: object) -> None:
    assert parameters(given_) == {
        "agent": "a1",
        "attempt": "2",
        "vip": "true",
        "note": "",
        "tags": '["x"]',
    }


def test_no_parameters_are_none() -> None:
    assert parameters(None) == {}


@pytest.mark.parametrize("given_", ["token", 5, ["token"], [{"value": "x"}]])
def test_parameters_in_any_other_shape_are_refused(given_: object) -> None:
    with pytest.raises(ValueError, match="custom parameter"):
        parameters(given_)


def test_a_format_is_its_name_and_rate() -> None:
    assert audio_format("telnyx", {"PCMA": Encoding.PCMA}, "pcma", "8000", "1") == PCMA_8K


@pytest.mark.parametrize(
    ("encoding", "rate", "channels"),
    [("G722", 8_000, 1), ("PCMA", 16_000, 1), ("PCMA", 8_000, 2), ("", 8_000, 1)],
)
def test_a_format_we_cannot_decode_says_which(encoding: str, rate: int, channels: int) -> None:
    with pytest.raises(UnsupportedFormat, match=f"{encoding}/{rate} in {channels}"):
        audio_format("telnyx", {"PCMA": Encoding.PCMA}, encoding, rate, channels)


def body(**fields: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(fields).encode())


def test_media_without_a_track_is_the_callers() -> None:
    assert media_received(body(payload="/v8=", chunk=4)) == MediaReceived(4, b"\xfe\xff")


def test_media_without_a_chunk_is_unnumbered() -> None:
    assert media_received(body(payload="")) == MediaReceived(UNNUMBERED, b"")


def test_media_of_another_track_is_none_of_ours() -> None:
    assert media_received(body(payload="/v8=", chunk="1", track="outbound")) == Unrecognised(
        "media of outbound"
    )


@pytest.mark.parametrize("payload", ["/v8", "/v8=\n", "/v8=/v8=", "_v8=", "é", "A"])
def test_a_payload_is_strict_base64(payload: str) -> None:
    with pytest.raises(ValueError, match="not base64"):
        media_received(body(payload=payload, chunk=1))


def test_a_payload_has_a_size_limit() -> None:
    largest = "A" * (MAX_PAYLOAD // 3 * 4)
    assert isinstance(media_received(body(payload=largest, chunk=1)), MediaReceived)
    with pytest.raises(ValueError, match="a payload of"):
        media_received(body(payload=largest + "AAAAAAAA", chunk=1))

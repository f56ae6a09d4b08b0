"""The hot path of agent audio agrees with a JSON reader on every message, or leaves it to one."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.realtime.delta import learn
from media.realtime.dialects import OPENAI
from media.realtime.openai import parse
from tests.media.realtime_peer import begin, delta, ready, tell

AUDIO = bytes(range(160))
FIELDS: dict[str, Any] = {
    "type": "response.output_audio.delta",
    "event_id": "event_1",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
}


def written(fields: dict[str, Any], audio: bytes, separators: tuple[str, str]) -> bytes:
    return json.dumps({**fields, "delta": b64encode(audio).decode()}, separators=separators).encode()


@given(
    st.permutations(list(FIELDS)),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]),
    st.text("abcXYZ_0-9.", min_size=1),
    st.binary(max_size=400),
)
def test_any_key_order_and_white_space_is_learned(
    order: list[str], separators: tuple[str, str], event_id: str, audio: bytes
) -> None:
    first = {key: FIELDS[key] for key in order}
    template = learn(parse(written(first, AUDIO, separators), OPENAI), "resp_1", "item_1")
    assert template is not None
    assert template.audio(written({**first, "event_id": event_id}, audio, separators)) == audio


@pytest.mark.parametrize(
    "fields", [{**FIELDS, "event_id": None}, {"type": FIELDS["type"], "item_id": "item_1"}]
)
def test_a_server_without_event_ids_is_learned_too(fields: dict[str, Any]) -> None:
    template = learn(parse(written(fields, AUDIO, (",", ":")), OPENAI), "", "item_1")
    assert template is not None
    assert template.audio(written(fields, b"other", (",", ":"))) == b"other"


@pytest.mark.parametrize(
    "message",
    [
        delta("resp_2", "item_1", AUDIO),
        delta("resp_1", "item_2", AUDIO),
        delta("resp_1", "item_1", AUDIO) + b" ",
        delta("resp_1", "item_1", AUDIO, "e\\"),
        delta("resp_1", "item_1", AUDIO, 'e"f'),
        delta("resp_1", "item_1", AUDIO)[:-3] + b'"}',
        delta("resp_1", "item_1", AUDIO)[:-2] + b'","more":"AAAA"}',
        delta("resp_1", "item_1", AUDIO).replace(b"audio.delta", b"text.delta"),
        delta("resp_1", "item_1", b"")[:-2] + b'AA\\u0041A"}',
        b"",
        b'"}',
    ],
)
def test_what_is_not_exactly_a_delta_of_the_item_is_left_to_the_reader(message: bytes) -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=20)
    assert session.scan(message) is None


def test_a_text_that_quotes_a_whole_delta_is_not_audio() -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=20)
    quoted = delta("resp_1", "item_1", AUDIO).decode()
    message = json.dumps(
        {"type": "response.output_text.delta", "item_id": "item_1", "delta": quoted}
    ).encode()
    assert session.scan(message) is None


def test_nothing_is_scanned_before_the_first_delta_or_after_the_end() -> None:
    session = ready()
    begin(session, "resp_1", "item_1")
    assert session.scan(delta("resp_1", "item_1", AUDIO)) is None
    session.receive(delta("resp_1", "item_1", AUDIO), 0.0)
    assert session.scan(delta("resp_1", "item_1", AUDIO)) == ("item_1", AUDIO)
    session.close()
    assert session.scan(delta("resp_1", "item_1", AUDIO)) is None


def test_a_server_that_writes_each_delta_differently_is_read_as_json() -> None:
    session = ready()
    for index in range(10):
        events = tell(
            session, "response.output_audio.delta", item_id="item_1", delta="VVVV", sequence_number=index
        )
        assert events[-1:] != []


PIECES = st.sampled_from(
    [
        "{",
        "}",
        '"',
        "\\",
        ",",
        ":",
        "event_1",
        '"delta":"',
        '"type":',
        "VVVV",
        '","response_id":"',
        "resp_1",
        " ",
    ]
)
MUTATIONS = st.tuples(st.integers(0, 400), st.integers(0, 30), st.lists(PIECES, max_size=4).map("".join))


@given(MUTATIONS, st.sampled_from(['{"a":1}', None]))
def test_scan_never_disagrees_with_json(mutation: tuple[int, int, str], event_id: str | None) -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=20)
    at, cut, piece = mutation
    message = delta("resp_1", "item_1", AUDIO, event_id or "event_2")
    message = message[:at] + piece.encode() + message[at + cut :]
    found = session.scan(message)
    try:
        fields = json.loads(message)
    except ValueError:
        return  # a broken message may be read or left: it is no valid message of anything else
    if found is not None:
        assert fields["type"] == "response.output_audio.delta"
        assert (fields["response_id"], fields["item_id"]) == ("resp_1", found[0])
        assert b64encode(found[1]).decode() == fields["delta"]


@given(st.binary(max_size=300))
def test_scan_never_raises(message: bytes) -> None:
    session = ready()
    begin(session, "resp_1", "item_1", ms=20)
    session.scan(message)
    session.scan(delta("resp_1", "item_1", b"")[:-2] + message + b'"}')

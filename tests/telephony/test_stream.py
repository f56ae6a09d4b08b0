import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pybase64 import b64decode, b64encode

from media.audio import PCM16_8K, PCM16_16K, PCMA_8K, PCMU_8K, AudioFormat
from telephony.carrier import WIRES
from telephony.events import (
    CarrierFault,
    Connected,
    DigitReceived,
    Flooded,
    Malformed,
    MarkReached,
    MediaReceived,
    Started,
    Stopped,
    StreamEvent,
    Unrecognised,
)
from telephony.frames import MAX_MESSAGE
from telephony.stream import (
    FLOOD,
    FLOOD_WINDOW,
    LESSONS,
    MAX_NAME,
    MAX_NAMES,
    OTHER_NAMES,
    TRANSITIONS,
    UNSUPPORTED_FORMAT,
    CarrierStream,
    StreamState,
)

FRAME = bytes(range(160))
CARRIERS = ("twilio", "telnyx", "signalwire")
# SignalWire's wire is Twilio's own: the properties need not be drawn twice.
every_wire = pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
every_carrier = pytest.mark.parametrize("carrier", CARRIERS)


def compact(frame: object) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()


def start(carrier: str, *, encoding: str | None = None, parameters: object = None) -> bytes:
    if carrier == "telnyx":
        media_format = {"encoding": encoding or "PCMU", "sample_rate": 8000, "channels": 1}
        body = {"call_control_id": "v3:c", "media_format": media_format, "custom_parameters": parameters}
        return compact({"event": "start", "sequence_number": "1", "stream_id": "S1", "start": body})
    body = {
        "callSid": "CA1",
        "customParameters": parameters,
        "mediaFormat": {"encoding": encoding or "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    return compact({"event": "start", "sequenceNumber": "1", "streamSid": "S1", "start": body})


def keys(carrier: str) -> tuple[str, str]:
    return ("sequence_number", "stream_id") if carrier == "telnyx" else ("sequenceNumber", "streamSid")


def media(carrier: str, chunk: int = 1, audio: bytes = FRAME, track: str = "inbound") -> bytes:
    sequence, stream_id = keys(carrier)
    body = {"track": track, "chunk": str(chunk), "timestamp": "20", "payload": b64encode(audio).decode()}
    return compact({"event": "media", sequence: str(chunk + 1), stream_id: "S1", "media": body})


def stream(carrier: str = "twilio", outbound: AudioFormat | None = None) -> CarrierStream:
    return CarrierStream(WIRES[carrier], outbound=outbound)


def started(carrier: str = "twilio", outbound: AudioFormat | None = None) -> CarrierStream:
    opened = stream(carrier, outbound)
    opened.receive(b'{"event":"connected"}', 0.0)
    (event,) = opened.receive(start(carrier), 0.0)
    assert isinstance(event, Started)
    return opened


def kinds(events: Sequence[StreamEvent]) -> list[type[StreamEvent]]:
    return [type(event) for event in events]


# --- States


@every_carrier
def test_a_call_from_greeting_to_stop(carrier: str) -> None:
    call = stream(carrier)
    states = [call.state]
    for message in (b'{"event":"connected"}', start(carrier), media(carrier), b'{"event":"stop"}'):
        call.receive(message, 0.0)
        states.append(call.state)
    waiting, connected, running, stopped = StreamState
    assert states == [waiting, connected, running, running, stopped]
    assert call.stream_id == "S1"
    assert call.carrier_call_id == ("v3:c" if carrier == "telnyx" else "CA1")
    assert call.malformed == 0


@every_carrier
def test_a_start_needs_no_greeting_before_it(carrier: str) -> None:
    call = stream(carrier)
    assert kinds(call.receive(start(carrier), 0.0)) == [Started]


@every_carrier
@pytest.mark.parametrize("event", ["media", "dtmf", "mark"])
def test_nothing_of_a_call_comes_before_its_start(carrier: str, event: str) -> None:
    call = stream(carrier)
    early = {
        "media": media(carrier),
        "dtmf": b'{"event":"dtmf","dtmf":{"digit":"1"}}',
        "mark": b'{"event":"mark","mark":{"name":"m"}}',
    }[event]
    assert call.scan(early) is None
    assert kinds(call.receive(early, 0.0)) == [Malformed]
    assert call.state is StreamState.WAITING


@every_carrier
def test_a_second_start_changes_nothing(carrier: str) -> None:
    call = started(carrier)
    again = start(carrier).replace(b"S1", b"S2")
    assert call.receive(again, 0.0) == [Malformed("Started while STARTED")]
    assert (call.state, call.stream_id) == (StreamState.STARTED, "S1")
    assert call.scan(media(carrier)) == (1, FRAME)


@every_carrier
def test_a_second_start_in_a_codec_we_lack_does_not_end_the_call(carrier: str) -> None:
    call = started(carrier)
    assert kinds(call.receive(start(carrier, encoding="L16"), 0.0)) == [Malformed]
    assert call.state is StreamState.STARTED


@every_carrier
def test_after_the_stop_nothing_is_heard(carrier: str) -> None:
    call = started(carrier)
    assert call.receive(b'{"event":"stop"}', 0.0) == [Stopped()]
    for message in (media(carrier), start(carrier), b'{"event":"stop"}', b"garbage"):
        assert call.scan(message) is None
        assert call.receive(message, 0.0) == []
    assert call.malformed == 0


def test_trap_14_a_socket_may_close_without_start_or_end_with_a_bare_stop() -> None:
    call = stream("telnyx")
    assert call.receive(b'{"event":"connected","version":"1.0.0"}', 0.0) == [Connected()]
    assert call.receive(b'{"event":"stop"}', 30.0) == [Stopped()]


def test_trap_11_the_token_of_the_greeting_is_handed_on() -> None:
    greeting = b'{"event":"connected","connected":{"x-telnyx-streaming-auth-token":"s3cret"}}'
    assert stream("telnyx").receive(greeting, 0.0) == [Connected("s3cret")]


def test_trap_21_the_token_comes_as_a_parameter() -> None:
    (event,) = stream().receive(start("twilio", parameters={"token": "s3cret"}), 0.0)
    assert isinstance(event, Started)
    assert event.parameters == {"token": "s3cret"}


def test_every_state_but_the_last_decides_on_every_kind_of_frame() -> None:
    alive = [state for state in StreamState if state is not StreamState.STOPPED]
    assert {state for state, _ in TRANSITIONS} == set(alive)
    for state in alive:
        assert TRANSITIONS[state, CarrierFault] is state
        assert TRANSITIONS[state, Unrecognised] is state
        assert TRANSITIONS[state, Stopped] is StreamState.STOPPED


# --- Codecs


def test_trap_3_telnyx_inbound_and_outbound_codecs_are_their_own() -> None:
    call = stream("telnyx", outbound=PCMU_8K)
    call.receive(start("telnyx", encoding="PCMA"), 0.0)
    assert (call.inbound, call.outbound) == (PCMA_8K, PCMU_8K)


def test_without_a_choice_the_outbound_codec_follows_the_inbound_one() -> None:
    call = stream("telnyx")
    assert call.outbound == PCMU_8K
    call.receive(start("telnyx", encoding="PCMA"), 0.0)
    assert (call.inbound, call.outbound) == (PCMA_8K, PCMA_8K)


def test_twilio_is_always_pcmu() -> None:
    call = started("twilio")
    assert (call.inbound, call.outbound) == (PCMU_8K, PCMU_8K)


@pytest.mark.parametrize(
    ("carrier", "outbound"),
    [("twilio", PCMA_8K), ("signalwire", PCM16_8K), ("telnyx", PCM16_16K)],
)
def test_an_outbound_codec_the_carrier_does_not_take_is_our_mistake(
    carrier: str, outbound: AudioFormat
) -> None:
    with pytest.raises(ValueError, match=f"{carrier} takes no"):
        stream(carrier, outbound)


@pytest.mark.parametrize(
    ("carrier", "encoding"),
    [("telnyx", "G722"), ("telnyx", "OPUS"), ("telnyx", "AMR-WB"), ("telnyx", "L16"), ("signalwire", "L16")],
)
def test_audio_we_cannot_decode_ends_the_stream_and_says_so(carrier: str, encoding: str) -> None:
    call = stream(carrier)
    (fault,) = call.receive(start(carrier, encoding=encoding), 0.0)
    assert isinstance(fault, CarrierFault)
    assert fault.code == UNSUPPORTED_FORMAT
    assert encoding in fault.detail
    assert (call.state, call.faults) == (StreamState.STOPPED, 1)
    assert call.receive(media(carrier), 0.0) == []


# --- The hot path


@every_carrier
def test_plain_media_is_scanned_from_the_first_frame_on(carrier: str) -> None:
    call = started(carrier)
    for chunk in (1, 2, 9, 10, 99_999, 10**17):
        assert call.scan(media(carrier, chunk)) == (chunk, FRAME)


@every_carrier
@pytest.mark.parametrize("spacing", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("order", ["documented", "id_last", "sorted"])
def test_one_frame_teaches_the_order_and_spacing_of_a_carrier(
    carrier: str, spacing: tuple[str, str], order: str
) -> None:
    call = started(carrier)
    _, stream_id = keys(carrier)

    def spelled(chunk: int) -> bytes:
        message = json.loads(media(carrier, chunk))
        if order == "id_last":
            message[stream_id] = message.pop(stream_id)
        return json.dumps(message, separators=spacing, sort_keys=order == "sorted").encode()

    assert call.scan(spelled(1)) == (1, FRAME) or call.receive(spelled(1), 0.0) == [MediaReceived(1, FRAME)]
    assert call.scan(spelled(2)) == (2, FRAME)


def test_a_stream_whose_frames_are_never_plain_is_taught_no_longer() -> None:
    call = started()
    odd = media("twilio").replace(b'"1"', b"1")
    for _ in range(LESSONS):
        call.receive(odd, 0.0)
    spaced = json.dumps(json.loads(media("twilio"))).encode()
    for _ in range(2):
        assert call.scan(spaced) is None
        assert call.receive(spaced, 0.0) == [MediaReceived(1, FRAME)]
    assert call.scan(media("twilio", 3)) == (3, FRAME)


@every_carrier
def test_what_is_not_plain_takes_the_slow_path_and_says_the_same(carrier: str) -> None:
    call = started(carrier)
    plain = media(carrier, 7)
    for unusual in (
        b" " + plain,
        plain.replace(b'"7"', b"7"),
        plain.replace(b'"payload"', b'"p\\u0061yload"'),
        plain.replace(b'"track":"inbound",', b""),
    ):
        assert call.scan(unusual) is None
        assert call.receive(unusual, 0.0) == [MediaReceived(7, FRAME)]


@every_carrier
def test_scan_leaves_other_tracks_streams_and_events_alone(carrier: str) -> None:
    call = started(carrier)
    for message in (
        media(carrier, track="outbound"),
        media(carrier).replace(b"S1", b"S2"),
        media(carrier).replace(b'"media",', b'"medium",'),
        start(carrier),
        b'{"event":"stop"}',
        b"",
        b"\x00\xff" * 80,
    ):
        assert call.scan(message) is None


@every_carrier
def test_a_media_frame_inside_a_parameter_is_only_text(carrier: str) -> None:
    call = stream(carrier)
    disguise = start(carrier, parameters={"a": media(carrier).decode(), "b": '"}}'})
    assert call.scan(disguise) is None
    assert kinds(call.receive(disguise, 0.0)) == [Started]
    mark = compact({"event": "mark", "mark": {"name": media(carrier).decode()}})
    assert call.scan(mark) is None
    assert call.receive(mark, 0.0) == [MarkReached(media(carrier).decode())]


@every_carrier
def test_a_stream_id_with_quotes_is_never_scanned_and_still_works(carrier: str) -> None:
    call = stream(carrier)
    call.receive(start(carrier).replace(b"S1", b'S\\"1'), 0.0)
    message = media(carrier).replace(b"S1", b'S\\"1')
    assert call.scan(message) is None
    assert call.receive(message, 0.0) == [MediaReceived(1, FRAME)]
    assert json.loads(call.media(FRAME)).get("streamSid", 'S"1') == 'S"1'


@every_carrier
def test_frames_without_a_chunk_are_counted_by_the_stream(carrier: str) -> None:
    call = started(carrier)
    message = compact({"event": "media", "media": {"payload": b64encode(FRAME).decode()}})
    chunks = []
    for _ in range(3):
        assert call.scan(message) is None
        (event,) = call.receive(message, 0.0)
        assert isinstance(event, MediaReceived)
        chunks.append(event.chunk)
    assert chunks == [1, 2, 3]


COUNTERS = st.integers(0, 999).map(str)
PAYLOADS = st.binary(max_size=9).map(lambda audio: b64encode(audio).decode())
ODD = st.one_of(st.integers(0, 10**19).map(str), st.integers(0, 999), st.text(max_size=4), st.none())
# Hypothesis seldom draws all of many values as they should be: most frames are plain by construction.
ODDITIES = st.sampled_from([None, None, "value", "missing", "doubled", "moved", "track", "stream"])


@st.composite
def spelled_media(draw: st.DrawFn, carrier: str) -> list[bytes]:
    """Some media frames of one spelling (key order, spacing, oddity), each with its own values."""
    sequence, stream_id = keys(carrier)
    inner_keys = draw(st.permutations(["track", "chunk", "timestamp", "payload"]))
    outer_keys = draw(st.permutations(["event", sequence, stream_id, "media"]))
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
    oddity = draw(ODDITIES)
    which = draw(st.sampled_from([*inner_keys, *outer_keys]))
    place = draw(st.integers(0, 4))

    def pairs(names: list[str], values: dict[str, object]) -> str:
        written = [(name, json.dumps(values[name])) for name in names]
        if oddity == "missing":
            written = [(name, value) for name, value in written if name != which]
        elif oddity == "moved" or (oddity == "doubled" and which in names):
            written.insert(place, (which, json.dumps(draw(COUNTERS))))
        return "{" + comma.join(json.dumps(name) + colon + value for name, value in written) + "}"

    def one() -> bytes:
        inner: dict[str, object] = {"track": "outbound" if oddity == "track" else "inbound"}
        inner |= {"chunk": draw(COUNTERS), "timestamp": draw(COUNTERS), "payload": draw(PAYLOADS)}
        if oddity == "value" and which in inner:
            inner[which] = draw(ODD)
        outer: dict[str, object] = {"event": "media", sequence: draw(COUNTERS), "media": 0}
        outer[stream_id] = "S2" if oddity == "stream" else "S1"
        text = pairs(outer_keys, outer)
        media_key = json.dumps("media") + colon
        return text.replace(media_key + "0", media_key + pairs(inner_keys, inner), 1).encode()

    return [one() for _ in range(draw(st.integers(1, 4)))]


def agree(call: CarrierStream, message: bytes) -> None:
    scanned = call.scan(message)
    events = call.receive(message, 0.0)
    if scanned is not None:
        assert events == [MediaReceived(*scanned)]


@every_wire
@given(data=st.data())
def test_scan_agrees_with_receive_wherever_it_answers(carrier: str, data: st.DataObject) -> None:
    call = started(carrier)
    for message in data.draw(spelled_media(carrier)) + data.draw(spelled_media(carrier)):
        agree(call, message)


@every_wire
@given(data=st.data())
def test_scan_agrees_with_receive_on_damaged_frames(carrier: str, data: st.DataObject) -> None:
    call = started(carrier)
    plain = media(carrier, 7, FRAME[:6])
    call.receive(plain, 0.0)
    for _ in range(5):
        start_ = data.draw(st.integers(0, len(plain)))
        stop = data.draw(st.integers(start_, min(len(plain), start_ + 40)))
        other = data.draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([b'"', b"1", b"}", b",", b"\\", b'":"']))
        )
        agree(call, plain[:start_] + other + plain[stop:])


# --- Faults


@every_wire
@given(messages=st.lists(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "replace")))))
def test_any_message_yields_events_and_never_an_exception(carrier: str, messages: list[bytes]) -> None:
    for call in (stream(carrier), started(carrier)):
        for message in messages:
            assert call.scan(message) is None
            assert all(
                kind in (Malformed, Unrecognised, Flooded) for kind in kinds(call.receive(message, 0.0))
            )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
EVENTS = ("connected", "start", "media", "dtmf", "mark", "stop", "error", "clear")
FIELDS = ("sequence_number", "sequenceNumber", "stream_id", "streamSid", "occurred_at", "payload", *EVENTS)


@every_wire
@given(
    frames=st.lists(
        st.tuples(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5)),
        max_size=5,
    )
)
def test_any_shape_of_a_known_event_yields_events(
    carrier: str, frames: list[tuple[str, dict[str, object]]]
) -> None:
    for call in (stream(carrier), started(carrier)):
        for event, fields in frames:
            message = compact(fields | {"event": event})
            agree(call, message)


@every_carrier
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x7f\xff" * 80,
        b'{"event":"\xff"}',
        b'{"event":"\\ud800"}',
        b"[" * 100_000,
        b'{"event":"start","start":' + b'{"a":' * 20_000 + b"}",
        b'{"event":"media","media":{"chunk":' + b"9" * 60_000 + b"}}",
        b" " * (MAX_MESSAGE + 1),
    ],
    ids=["empty", "binary", "utf8", "surrogate", "deep", "deep_start", "digits", "huge"],
)
def test_trap_30_hostile_messages_are_malformed_alone_and_harmless(carrier: str, message: bytes) -> None:
    call = started(carrier)
    assert kinds(call.receive(message, 0.0)) == [Malformed]
    assert call.malformed == 1
    assert call.scan(media(carrier)) == (1, FRAME)


def test_a_malformed_frame_is_not_repeated_in_its_reason() -> None:
    (event,) = started().receive(b'{"event":"dtmf","dtmf":{"digit":"4929-1234"}}', 0.0)
    assert isinstance(event, Malformed)
    assert "4929" not in event.reason


@every_carrier
def test_a_flood_of_malformed_frames_is_reported_once(carrier: str) -> None:
    call = started(carrier)
    events = [event for n in range(3 * FLOOD) for event in call.receive(b"{", n * 0.02)]
    assert kinds(events) == [Malformed] * (FLOOD + 1) + [Flooded]
    assert events[-1] == Flooded(FLOOD + 1)
    assert call.state is StreamState.STOPPED


@every_carrier
def test_malformed_frames_now_and_then_never_end_a_call(carrier: str) -> None:
    call = started(carrier)
    apart = FLOOD_WINDOW / FLOOD * 1.01
    events = [event for n in range(10 * FLOOD) for event in call.receive(b"{", n * apart)]
    assert kinds(events) == [Malformed] * (10 * FLOOD)
    assert call.scan(media(carrier)) == (1, FRAME)


@every_carrier
def test_unknown_events_are_counted_by_name(carrier: str) -> None:
    call = stream(carrier)
    for name in ("cleared", "playedStream", "cleared"):
        assert call.receive(compact({"event": name}), 0.0) == [Unrecognised(name)]
    assert call.unrecognised == {"cleared": 2, "playedStream": 1}
    assert call.malformed == 0


@every_carrier
def test_names_of_unknown_events_cannot_fill_the_memory(carrier: str) -> None:
    call = stream(carrier)
    for n in range(10 * MAX_NAMES):
        (event,) = call.receive(compact({"event": f"{n}" + "x" * 1_000}), 0.0)
        assert isinstance(event, Unrecognised)
        assert len(event.name) == MAX_NAME
    assert len(call.unrecognised) == MAX_NAMES + 1
    assert call.unrecognised[OTHER_NAMES] == 9 * MAX_NAMES


def test_trap_6_a_fault_of_the_carrier_is_counted_and_the_call_goes_on() -> None:
    call = started("telnyx")
    error = b'{"event":"error","stream_id":"S1","payload":{"code":100005,"title":"rate_limit_reached"}}'
    assert call.receive(error, 0.0) == [CarrierFault("100005", "rate_limit_reached")]
    assert (call.faults, call.state) == (1, StreamState.STARTED)


@every_carrier
def test_trap_20_frames_of_another_stream_are_not_ours(carrier: str) -> None:
    call = started(carrier)
    assert call.receive(media(carrier).replace(b"S1", b"S2"), 0.0) == [Malformed("a frame of another stream")]


def test_digits_carry_what_they_are_ordered_by() -> None:
    digit = (
        b'{"event":"dtmf","stream_id":"S1","occurred_at":"2026-01-01T00:00:00.000000Z",'
        b'"sequence_number":"5","dtmf":{"digit":"1"}}'
    )
    assert started("telnyx").receive(digit, 0.0) == [DigitReceived("1", "2026-01-01T00:00:00.000000Z", 5)]


# --- Out


@every_wire
@given(audio=st.binary(max_size=1_000))
def test_media_carries_the_audio_in_the_documented_shape(carrier: str, audio: bytes) -> None:
    message = json.loads(started(carrier).media(audio))
    assert b64decode(message["media"].pop("payload"), validate=True) == audio
    assert message == {"event": "media", "media": {}} | named(carrier)


@every_wire
@given(name=st.text())
def test_trap_23_a_mark_comes_back_under_the_very_name_it_was_sent(carrier: str, name: str) -> None:
    call = started(carrier)
    sent = call.mark(name)
    assert json.loads(sent) == {"event": "mark", "mark": {"name": name}} | named(carrier)
    assert call.receive(sent, 0.0) == [MarkReached(name)]


@every_carrier
def test_clear_is_the_event_alone(carrier: str) -> None:
    assert json.loads(started(carrier).clear()) == {"event": "clear"} | named(carrier)


def named(carrier: str) -> dict[str, object]:
    return {} if carrier == "telnyx" else {"streamSid": "S1"}


@every_carrier
def test_nothing_is_said_before_the_start(carrier: str) -> None:
    call = stream(carrier)
    with pytest.raises(ValueError, match="no media before the stream has started"):
        call.media(FRAME)
    with pytest.raises(ValueError, match="no mark before the stream has started"):
        call.mark("m")
    with pytest.raises(ValueError, match="no clear before the stream has started"):
        call.clear()


def test_20_ms_outbound_are_this_many_bytes() -> None:
    """216 of base64 for 160 of audio, and the envelope: what a call's 50 messages a second cost on the wire."""
    assert len(started("telnyx").media(FRAME)) == 40 + 216
    twilio = stream("twilio")
    twilio.receive(start("twilio").replace(b"S1", b"MZ" + b"0" * 32), 0.0)
    assert len(twilio.media(FRAME)) == 89 + 216

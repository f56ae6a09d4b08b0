import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.media_layout import learn

PLAIN = (
    b'{"event":"media","sequenceNumber":"3","streamSid":"MZ1",'
    b'"media":{"track":"inbound","chunk":"1","timestamp":"5","payload":"/v8="}}'
)


def test_a_layout_reads_the_frames_after_the_one_it_was_learned_from() -> None:
    layout = learn(PLAIN, b"sequenceNumber")
    assert layout is not None
    later = PLAIN.replace(b'"3"', b'"4000"').replace(b'"1"', b'"3997"').replace(b"/v8=", b"AAECAw==")
    assert layout.scan(PLAIN) == (1, b"\xfe\xff")
    assert layout.scan(later) == (3997, b"\x00\x01\x02\x03")


@pytest.mark.parametrize(
    "taught",
    [
        # As Go and the documentation of both carriers order it, as Elixir does, and as `json.dumps` spaces it.
        b'{"event":"media","sequenceNumber":"3","media":'
        b'{"track":"inbound","chunk":"1","timestamp":"5","payload":"/v8="},"streamSid":"MZ1"}',
        b'{"event":"media","media":{"chunk":"1","payload":"/v8=","timestamp":"5","track":"inbound"},'
        b'"sequenceNumber":"3","streamSid":"MZ1"}',
        b'{"event": "media", "sequenceNumber": "3", "streamSid": "MZ1", "media": '
        b'{"track": "inbound", "chunk": "1", "timestamp": "5", "payload": "/v8="}}',
    ],
)
def test_any_key_order_and_spacing_can_be_learned(taught: bytes) -> None:
    layout = learn(taught, b"sequenceNumber")
    assert layout is not None
    assert layout.scan(taught) == (1, b"\xfe\xff")
    assert layout.scan(taught.replace(b'"1"', b'"250"')) == (250, b"\xfe\xff")
    assert layout.scan(PLAIN) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"1"', b"1"),
        (b'"1"', b'""'),
        (b'"1"', b'"-1"'),
        (b'"1"', b'"1e3"'),
        (b'"1"', b'"' + b"9" * 19 + b'"'),
        (b'"3"', b'"3","event":"stop","x":"3"'),
        (b'"5"', b'" 5"'),
        (b"MZ1", b"MZ2"),
        (b"inbound", b"outbound"),
        (b"/v8=", b""),
        (b"/v8=", b"/v8"),
        (b"/v8=", b"\\/v8="),
        (b"/v8=", b'/v8=","payload":"/v8='),
        (b"/v8=", b"A" * 5_000),
        (b"}}", b"}} "),
        (b"}}", b"}}}"),
        (b"{", b" {"),
        (b',"payload":"/v8="', b""),
        (b'","payload":"/v8=', b""),
        (b'"timestamp":"5",', b""),
        (b'"payload"', b'"p\\u0061yload"'),
    ],
)
def test_what_differs_in_more_than_its_values_is_left_to_the_parser(old: bytes, new: bytes) -> None:
    layout = learn(PLAIN, b"sequenceNumber")
    assert layout is not None
    assert old in PLAIN
    assert layout.scan(PLAIN.replace(old, new)) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"1"', b"1"),
        (b'"chunk":"1",', b""),
        (b'"chunk":"1"', b'"chunk":"1","chunk":"2"'),
        (b"MZ1", b"M\\u005a1"),
        (b"/v8=", b"A" * 5_000),
    ],
)
def test_a_frame_that_is_not_plain_teaches_nothing(old: bytes, new: bytes) -> None:
    assert learn(PLAIN.replace(old, new), b"sequenceNumber") is None


def test_head_and_tail_never_overlap() -> None:
    layout = learn(PLAIN, b"sequenceNumber")
    assert layout is not None
    for stop in range(len(PLAIN) - len('"}}')):
        assert layout.scan(PLAIN[:stop] + b'"}}') is None


@given(st.binary())
def test_no_bytes_upset_a_layout(message: bytes) -> None:
    layout = learn(PLAIN, b"sequenceNumber")
    assert layout is not None
    assert layout.scan(message) is None

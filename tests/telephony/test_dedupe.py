"""The window of seen events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.calls import Origin
from telephony.dedupe import SeenEvents


def origin(event_id: str, carrier: str = "telnyx") -> Origin:
    return Origin(carrier=carrier, event_id=event_id)


def test_an_event_is_new_once() -> None:
    seen = SeenEvents()
    assert seen.is_new(origin("a"))
    assert not seen.is_new(origin("a"))
    assert seen.duplicates == 1


def test_carriers_do_not_share_ids() -> None:
    seen = SeenEvents()
    assert seen.is_new(origin("a"))
    assert seen.is_new(origin("a", "twilio"))


def test_the_oldest_is_forgotten_first() -> None:
    seen = SeenEvents(capacity=2)
    for event_id in "abc":
        assert seen.is_new(origin(event_id))
    assert not seen.is_new(origin("b"))
    assert seen.is_new(origin("a"))


@given(st.lists(st.sampled_from("abcdefgh")), st.integers(1, 4))
def test_the_window_stays_bounded_and_knows_what_came_last(ids: list[str], capacity: int) -> None:
    seen = SeenEvents(capacity)
    for event_id in ids:
        seen.is_new(origin(event_id))
        assert len(seen) <= capacity
        assert not seen.is_new(origin(event_id))


def test_a_window_holds_something() -> None:
    with pytest.raises(ValueError, match="no events"):
        SeenEvents(0)

"""The window of seen events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.calls import Answered, Origin, TwimlPurpose, TwimlRequested
from telephony.dedupe import SeenEvents


def answered(event_id: str, carrier: str = "telnyx") -> Answered:
    return Answered(origin=Origin(carrier=carrier, event_id=event_id))


def test_an_event_is_new_once() -> None:
    seen = SeenEvents()
    assert seen.is_new(answered("a"))
    assert not seen.is_new(answered("a"))
    assert seen.duplicates == 1


def test_carriers_do_not_share_ids() -> None:
    seen = SeenEvents()
    assert seen.is_new(answered("a"))
    assert seen.is_new(answered("a", "twilio"))


def test_accounts_do_not_share_ids() -> None:
    seen = SeenEvents()
    assert seen.is_new(answered("a"), "default")
    assert seen.is_new(answered("a"), "int_other")
    assert not seen.is_new(answered("a"), "default")


def test_the_oldest_is_forgotten_first() -> None:
    seen = SeenEvents(capacity=2)
    for event_id in "abc":
        assert seen.is_new(answered(event_id))
    assert not seen.is_new(answered("b"))
    assert seen.is_new(answered("a"))


@given(st.lists(st.sampled_from("abcdefgh")), st.integers(1, 4))
def test_the_window_stays_bounded_and_knows_what_came_last(ids: list[str], capacity: int) -> None:
    seen = SeenEvents(capacity)
    for event_id in ids:
        seen.is_new(answered(event_id))
        assert len(seen) <= capacity
        assert not seen.is_new(answered(event_id))


def test_a_window_holds_something() -> None:
    with pytest.raises(ValueError, match="no events"):
        SeenEvents(0)


def test_a_question_is_always_new() -> None:
    seen = SeenEvents()
    question = TwimlRequested(
        origin=Origin(carrier="twilio", event_id="CA1/voice/document"), purpose=TwimlPurpose.VOICE
    )
    assert seen.is_new(question)
    assert seen.is_new(question)
    assert len(seen) == seen.duplicates == 0

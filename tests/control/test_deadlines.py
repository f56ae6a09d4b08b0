"""Deadlines as data: the first one is next, and each is taken once."""

from hypothesis import given
from hypothesis import strategies as st

from control.deadlines import RULES, Deadlines, Due


def test_every_wait_has_its_rule() -> None:
    assert set(RULES) == set(Due)


def test_what_is_waited_for_again_is_waited_for_anew() -> None:
    deadlines = Deadlines()
    deadlines.set(Due.STREAM, 5.0)
    deadlines.set(Due.STREAM, 9.0)
    assert deadlines.take_expired(5.0) is None
    assert deadlines.take_expired(9.0) is Due.STREAM
    assert deadlines.next() is None


def test_a_cleared_wait_never_ends() -> None:
    deadlines = Deadlines()
    deadlines.set(Due.RING, 5.0)
    deadlines.clear(Due.RING, Due.ANSWER)
    assert Due.RING not in deadlines
    assert deadlines.take_expired(10.0) is None


@given(st.dictionaries(st.sampled_from(Due), st.floats(0, 1e6)))
def test_waits_end_in_the_order_of_their_deadlines(waits: dict[Due, float]) -> None:
    deadlines = Deadlines()
    for due, at in waits.items():
        deadlines.set(due, at)
    ended = []
    while (first := deadlines.next()) is not None:
        over = deadlines.take_expired(first)
        assert over is not None
        ended.append(waits[over])
    assert ended == sorted(waits.values())

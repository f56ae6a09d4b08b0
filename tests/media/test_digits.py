from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.digits import (
    GROUP_PAUSE,
    MAX_GROUP,
    MAX_HELD,
    REORDER_WINDOW,
    DigitCollector,
    DigitEvent,
    KeyPressed,
    KeysEntered,
)


def at(seconds: float) -> str:
    return f"2026-01-01T00:00:{seconds:09.6f}Z"


def pressed(events: Sequence[DigitEvent]) -> str:
    return "".join(event.digit for event in events if isinstance(event, KeyPressed))


def groups(events: Sequence[DigitEvent]) -> list[str]:
    return [event.digits for event in events if isinstance(event, KeysEntered)]


def run_out(collector: DigitCollector) -> list[DigitEvent]:
    """Poll at each deadline until there is none."""
    events: list[DigitEvent] = []
    while (deadline := collector.next_deadline()) is not None:
        due = collector.poll(deadline)
        assert due
        events += due
    return events


def test_a_digit_is_reported_after_the_window_and_its_group_after_the_pause() -> None:
    collector = DigitCollector()
    assert collector.push("1", None, None, 10.0) == []
    assert collector.next_deadline() == 10.0 + REORDER_WINDOW
    assert collector.poll(10.0 + REORDER_WINDOW) == [KeyPressed("1")]
    assert collector.next_deadline() == 10.0 + GROUP_PAUSE
    assert collector.poll(10.0 + GROUP_PAUSE) == [KeysEntered("1")]
    assert collector.next_deadline() is None


@pytest.mark.parametrize(
    "arrivals",
    [
        [("2", at(0.2), 9), ("1", at(0.1), 12), ("3", at(0.3), 3)],
        [("2", None, 9), ("3", None, 12), ("1", None, 3)],
        [("3", at(0.1), 3), ("1", at(0.1), 1), ("2", at(0.1), 2)],
        [("1", None, None), ("2", None, None), ("3", None, None)],
        [("1", "yesterday", None), ("2", "", None), ("3", "12:00", None)],
        [("2", "2026-01-01T01:00:02+01:00", None), ("1", "2026-01-01T00:00:01", None), ("3", at(3.0), None)],
    ],
    ids=["by_time", "by_sequence", "by_sequence_at_one_time", "by_arrival", "times_unread", "across_zones"],
)
def test_digits_within_the_window_are_put_in_order(
    arrivals: list[tuple[str, str | None, int | None]],
) -> None:
    collector = DigitCollector()
    for n, (digit, occurred_at, sequence) in enumerate(arrivals):
        assert collector.push(digit, occurred_at, sequence, n * 0.02) == []
    events = run_out(collector)
    assert pressed(events) == "123"
    assert groups(events) == ["123"]


def test_no_digit_waits_longer_than_the_window_for_one_that_was_pressed_before_it() -> None:
    collector = DigitCollector()
    collector.push("2", at(2.0), None, 0.0)
    collector.push("1", at(1.0), None, 0.1)
    assert collector.poll(REORDER_WINDOW) == [KeyPressed("1"), KeyPressed("2")]


def test_a_digit_later_than_the_window_comes_where_it_came() -> None:
    collector = DigitCollector()
    collector.push("2", at(2.0), None, 0.0)
    events = collector.push("1", at(1.0), None, 0.5)
    assert pressed(events + run_out(collector)) == "21"


def test_the_pound_key_ends_a_group_at_once() -> None:
    collector = DigitCollector(window=0.0)
    collector.push("4", None, None, 0.0)
    assert collector.push("#", None, None, 0.3) == [KeyPressed("#"), KeysEntered("4#")]
    assert collector.next_deadline() is None


def test_a_pound_key_that_overtook_its_digit_ends_the_group_behind_it() -> None:
    collector = DigitCollector()
    collector.push("#", at(0.2), None, 0.00)
    collector.push("4", at(0.1), None, 0.02)
    assert groups(run_out(collector)) == ["4#"]


def test_a_key_pressed_within_the_pause_joins_the_group_and_one_at_its_end_does_not() -> None:
    collector = DigitCollector()
    collector.push("1", None, None, 0.0)
    collector.push("2", None, None, GROUP_PAUSE - 0.001)
    events = collector.push("3", None, None, 2 * GROUP_PAUSE - 0.001)
    assert groups(events + run_out(collector)) == ["12", "3"]


def test_a_late_poll_groups_as_a_punctual_one() -> None:
    collector = DigitCollector()
    collector.push("1", None, None, 0.0)
    events = collector.push("2", None, None, 60.0)
    assert events == [KeyPressed("1"), KeysEntered("1")]
    assert groups(collector.poll(90.0)) == ["2"]


def test_the_end_of_the_call_hands_over_what_is_held() -> None:
    collector = DigitCollector()
    collector.push("1", None, None, 0.0)
    collector.push("2", None, None, 1.0)
    assert collector.flush() == [KeyPressed("2"), KeysEntered("12")]
    assert collector.flush() == []


def test_a_stuck_key_neither_holds_nor_groups_without_end() -> None:
    collector = DigitCollector()
    events: list[DigitEvent] = []
    for n in range(500):
        events += collector.push("5", None, -n, 0.0)
    assert len(pressed(events)) == 500 - MAX_HELD
    events += run_out(collector)
    assert pressed(events) == "5" * 500
    assert max(map(len, groups(events))) == MAX_GROUP


ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from("0123456789*#ABCD"),
        st.one_of(st.none(), st.floats(0, 59).map(at), st.datetimes().map(str), st.text(max_size=10)),
        st.one_of(st.none(), st.integers(0, 100)),
        st.floats(0, 0.5),
    ),
    max_size=40,
)


@given(ARRIVALS)
def test_every_digit_is_reported_once_in_time_and_belongs_to_one_group(
    arrivals: list[tuple[str, str | None, int | None, float]],
) -> None:
    collector = DigitCollector()
    now = 0.0
    events: list[DigitEvent] = []
    times: list[float] = []
    for digit, occurred_at, sequence, later in arrivals:
        now += later
        events += collector.poll(now)
        assert len(pressed(events)) >= sum(time + REORDER_WINDOW <= now for time in times)
        events += collector.push(digit, occurred_at, sequence, now)
        times.append(now)
        deadline = collector.next_deadline()
        assert deadline is not None
        assert now < deadline <= now + REORDER_WINDOW
    events += run_out(collector)
    assert sorted(pressed(events)) == sorted(digit for digit, *_ in arrivals)
    assert "".join(groups(events)) == pressed(events)


@given(st.permutations(range(8)))
def test_any_disorder_within_the_window_is_undone(order: list[int]) -> None:
    collector = DigitCollector()
    for n, index in enumerate(order):
        collector.push(str(index), at(index * 0.1), 100 - index, n * 0.01)
    assert pressed(run_out(collector)) == "01234567"

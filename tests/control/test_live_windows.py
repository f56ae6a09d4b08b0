"""How often somebody may ask, in windows of fixed length."""

from hypothesis import given
from hypothesis import strategies as st

from control.live.windows import Windows


def test_a_window_lets_so_many_through_and_the_next_one_as_many_again() -> None:
    windows = Windows(seconds=60)
    assert [windows.use("a", 2, now).allowed for now in (0.0, 1.0, 59.9, 60.0)] == [True, True, False, True]


def test_what_is_left_and_when_it_begins_anew_is_told() -> None:
    windows = Windows(seconds=60)
    windows.use("a", 3, 100.0)
    left = windows.use("a", 3, 110.0)
    assert (left.limit, left.remaining, left.reset_after) == (3, 1, 50.0)


def test_each_has_a_window_of_their_own() -> None:
    windows = Windows(seconds=60)
    windows.use("a", 1, 0.0)
    assert windows.use("b", 1, 0.0).allowed


def test_looking_uses_nothing_up() -> None:
    windows = Windows(seconds=60)
    assert [windows.look("a", 1, 0.0).remaining for _ in range(3)] == [1, 1, 1]
    windows.use("a", 1, 0.0)
    assert not windows.look("a", 1, 59.0).allowed
    assert windows.look("a", 1, 60.0).allowed


def test_a_limit_that_changes_counts_what_was_used_before() -> None:
    windows = Windows(seconds=60)
    for _ in range(2):
        windows.use("a", 5, 0.0)
    assert (windows.look("a", 3, 1.0).remaining, windows.use("a", 2, 1.0).allowed) == (1, False)
    assert not windows.look("b", 0, 1.0).allowed


def test_the_least_recently_seen_are_forgotten() -> None:
    windows = Windows(seconds=60, most=2)
    for name in ("a", "b", "a", "c"):
        windows.use(name, 1, 0.0)
    assert (windows.look("a", 1, 0.0).allowed, windows.look("b", 1, 0.0).allowed) == (False, True)


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
def test_no_window_ever_lets_more_through(pauses: list[float], limit: int) -> None:
    windows, now = Windows(seconds=10), 0.0
    let_through: dict[float, int] = {}
    began = 0.0
    for number, pause in enumerate(pauses):
        now += pause
        if number == 0 or now - began >= 10:
            began = now
        if windows.use("a", limit, now).allowed:
            let_through[began] = let_through.get(began, 0) + 1
    assert all(count <= limit for count in let_through.values())

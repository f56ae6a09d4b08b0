"""Delays keep order; losses and overtaking are counted and repeatable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.impairments import Direction, Disorder, Drop, Impairments, Stall, Transit

sends = st.lists(st.floats(0, 0.2), max_size=60)


@given(sends, st.floats(0, 0.5), st.floats(0, 0.3), st.integers(0, 9), st.floats(0, 5), st.floats(0, 5))
def test_transit_delivers_everything_once_in_order_and_never_early(
    waits: list[float], delay: float, jitter: float, seed: int, hold_at: float, hold_for: float
) -> None:
    transit: Transit[int] = Transit(delay, jitter, seed=seed)
    clock, sent, arrived = 0.0, [], []
    transit.hold(hold_at + hold_for)
    for n, wait in enumerate(waits):
        clock += wait
        transit.push(n, clock)
        sent.append(clock)
    while (due := transit.next_deadline()) is not None:
        assert due >= hold_at + hold_for
        batch = list(transit.pop(due))
        assert batch  # progress
        arrived += [(n, due) for n in batch]
    assert [n for n, _ in arrived] == list(range(len(waits)))
    assert all(due >= sent[n] + delay for n, due in arrived)
    bound = max([hold_at + hold_for, *(at + delay + jitter for at in sent)])
    assert all(due <= bound + 1e-9 for _, due in arrived)


def test_a_late_message_holds_up_those_behind_it() -> None:
    transit: Transit[str] = Transit(0.1)
    transit.push("a", 1.0)
    transit.hold(2.0)
    transit.push("b", 1.5)
    assert list(transit.pop(1.99)) == []
    assert list(transit.pop(2.0)) == ["a", "b"]


def test_what_is_under_way_is_lost_with_the_connection() -> None:
    transit: Transit[str] = Transit(0.1)
    transit.push("a", 1.0)
    assert transit.drop() == 1
    assert transit.next_deadline() is None


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 4), st.integers(0, 5), st.integers(0, 200))
def test_disorder_loses_or_delivers_each_frame_once_and_displaces_it_no_further_than_told(
    loss: float, reorder: float, displacement: int, seed: int, count: int
) -> None:
    plan = Impairments(loss=loss, reorder=reorder, displacement=displacement, seed=seed)

    def run() -> tuple[list[int], Disorder]:
        disorder, out = Disorder(plan), []
        for n in range(count):
            out += [int(frame) for frame in disorder.push(n, b"%d" % n)]
        return out + [int(frame) for frame in disorder.flush()], disorder

    out, disorder = run()
    assert run()[0] == out
    assert len(out) == len(set(out)) == count - disorder.lost
    for place, n in enumerate(out):
        overtaking = sum(other > n for other in out[:place])
        assert overtaking <= displacement


def test_frames_can_be_lost_by_name_in_the_first_stream_only() -> None:
    disorder = Disorder(Impairments(lost_chunks=frozenset({2})))
    assert not disorder.idle
    assert [disorder.push(n, b"x") for n in (1, 2, 3)] == [[b"x"], [], [b"x"]]
    disorder.next_stream()
    assert disorder.push(2, b"x") == [b"x"]
    assert disorder.lost == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"inbound_delay": -0.1},
        {"loss": 1.5},
        {"displacement": 0},
        {"stalls": (Stall(direction=Direction.INBOUND, at=-1.0, duration=1.0),)},
        {"drops": (Drop(at=-1.0),)},
    ],
)
def test_an_impossible_plan_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Impairments(**wrong)  # type: ignore[arg-type]  # the point of the test


def test_a_symmetric_plan_is_the_same_both_ways() -> None:
    plan = Impairments.symmetric(0.04, 0.01)
    assert (plan.inbound_delay, plan.outbound_delay) == (0.04, 0.04)
    assert (plan.inbound_jitter, plan.outbound_jitter) == (0.01, 0.01)

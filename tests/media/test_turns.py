"""Who holds the floor: the table is whole, and each turn is told as it was."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.realtime.events import Role
from media.turns import STALE, TRANSITIONS, Floor, Speech, TurnTracker


def told(*events: Speech) -> TurnTracker:
    tracker = TurnTracker()
    for second, event in enumerate(events):
        tracker.handle(event, float(second))
    return tracker


def test_every_pair_is_a_transition_or_stale_and_never_both() -> None:
    pairs = set(itertools.product(Floor, Speech))
    assert pairs == TRANSITIONS.keys() | STALE
    assert not TRANSITIONS.keys() & STALE


def test_question_and_answer_are_two_turns() -> None:
    tracker = told(Speech.CALLER_STARTED, Speech.CALLER_STOPPED, Speech.AGENT_STARTED, Speech.AGENT_FINISHED)
    assert [(turn.role, turn.started, turn.ended) for turn in tracker.turns] == [
        (Role.CALLER, 0.0, 1.0),
        (Role.AGENT, 2.0, 3.0),
    ]
    assert tracker.quiet


def test_a_barge_in_gives_the_caller_the_floor_and_marks_the_turn_cut() -> None:
    tracker = told(Speech.AGENT_STARTED, Speech.CALLER_STARTED, Speech.AGENT_CUT)
    assert tracker.floor is Floor.CALLER
    assert tracker.turns[0].interrupted
    assert tracker.barge_ins == 1


def test_a_cough_leaves_the_agent_the_floor() -> None:
    tracker = told(Speech.AGENT_STARTED, Speech.CALLER_STARTED, Speech.CALLER_STOPPED)
    assert tracker.floor is Floor.AGENT
    assert tracker.barge_ins == 0


def test_a_cut_without_a_caller_is_no_barge_in() -> None:
    tracker = told(Speech.AGENT_STARTED, Speech.AGENT_CUT)
    assert tracker.turns[0].interrupted
    assert tracker.barge_ins == 0


@pytest.mark.parametrize(("floor", "speech"), sorted(STALE, key=str))
def test_a_stale_event_moves_nothing(floor: Floor, speech: Speech) -> None:
    tracker = TurnTracker()
    tracker.floor = floor
    assert not tracker.handle(speech, 1.0)
    assert tracker.floor is floor
    assert tracker.turns == []


@given(st.lists(st.sampled_from(Speech)))
def test_any_order_of_events_leaves_at_most_one_open_turn_a_side(events: list[Speech]) -> None:
    tracker = told(*events)
    still_open = [turn.role for turn in tracker.turns if turn.ended is None]
    assert len(still_open) == len(set(still_open))
    assert all(turn.ended is None or turn.ended >= turn.started for turn in tracker.turns)
    assert [turn.number for turn in tracker.turns] == list(range(1, len(tracker.turns) + 1))

"""One transfer: how it comes out, whatever comes in which order, and whom a cancel hangs up when."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.requests import TransferCall
from control.transfers import OVER, STALE, TRANSITIONS, Transferring, TransferState, TransferStep


def transfer(*steps: TransferStep) -> Transferring:
    made = Transferring(TransferCall(transfer_id="t", destination="+13125550122"), 0.0)
    for number, step in enumerate(steps):
        made.step(step, 1.0 + number, "busy")
    return made


def test_every_pair_moves_a_transfer_or_is_stale_and_none_is_both() -> None:
    assert set(TRANSITIONS) | STALE == set(product(TransferState, TransferStep))
    assert not set(TRANSITIONS) & STALE


def test_a_transfer_that_succeeds_says_when_it_got_where() -> None:
    made = transfer(TransferStep.SAID, TransferStep.RANG, TransferStep.ANSWERED, TransferStep.CONNECTED)
    moments = made.moments
    assert made.state is TransferState.COMPLETED
    assert (moments.dialled, moments.ringing, moments.answered, moments.over) == (1.0, 2.0, 3.0, 4.0)


def test_a_transfer_that_fails_says_why() -> None:
    made = transfer(TransferStep.SAID, TransferStep.LEG_ENDED)
    assert (made.state, made.cause) == (TransferState.FAILED, "busy")


def test_people_who_talk_are_not_cut_off_by_a_cancel_under_way() -> None:
    made = transfer(TransferStep.SAID, TransferStep.CANCEL, TransferStep.CONNECTED)
    assert made.state is TransferState.COMPLETED
    made.name_leg("leg-b", "b")
    assert made.take_cancel() is None


def test_a_cancel_is_remembered_until_the_leg_has_a_name_and_done_once() -> None:
    made = transfer(TransferStep.SAID, TransferStep.CANCEL)
    assert made.take_cancel() is None
    made.name_leg("leg-b", "b")
    assert made.take_cancel() == "leg-b"
    assert made.take_cancel() is None


def test_a_leg_that_shows_that_it_is_alive_is_cancelled_again() -> None:
    made = transfer(TransferStep.SAID, TransferStep.TOO_LATE)
    made.name_leg("leg-b", "b")
    assert made.take_cancel() == "leg-b"
    assert made.take_cancel(again=True) == "leg-b"


def test_a_leg_that_is_gone_is_not_hung_up() -> None:
    made = transfer(TransferStep.SAID)
    made.name_leg("leg-b", "b")
    made.leg_is_gone()
    made.step(TransferStep.LEG_ENDED, 5.0)
    assert made.take_cancel() is None


def test_a_transfer_cancelled_before_it_was_dialled_has_no_leg_to_hang_up() -> None:
    made = transfer(TransferStep.CANCEL)
    made.name_leg("leg-b", "b")
    assert (made.state, made.dialled, made.take_cancel()) == (TransferState.CANCELLED, False, None)


@given(st.lists(st.sampled_from(TransferStep)))
def test_the_first_outcome_stays(steps: list[TransferStep]) -> None:
    made = Transferring(TransferCall(transfer_id="t", destination="+13125550122"), 0.0)
    outcome: TransferState | None = None
    for number, step in enumerate(steps):
        made.step(step, float(number), "why")
        if outcome is None and made.over:
            outcome = made.state
        assert outcome is None or made.state is outcome


@pytest.mark.parametrize("state", OVER, ids=str)
def test_nothing_moves_a_transfer_that_is_over(state: TransferState) -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] is state]

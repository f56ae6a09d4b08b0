"""Whose the caller is: the table is complete, and a released caller never comes back."""

from itertools import product

import pytest

from control.ownership import STALE, TRANSITIONS, Handover, Ownership, after


def test_every_pair_moves_the_caller_or_is_stale_and_none_is_both() -> None:
    assert set(TRANSITIONS) | STALE == set(product(Ownership, Handover))
    assert not set(TRANSITIONS) & STALE


def test_a_failed_transfer_gives_the_caller_back() -> None:
    assert after(Ownership.TRANSFERRING, Handover.FAILED) is Ownership.OWNED


@pytest.mark.parametrize("handover", [each for each in Handover if each is not Handover.CALL_ENDED])
def test_a_released_caller_does_not_come_back(handover: Handover) -> None:
    assert after(Ownership.RELEASED, handover) is None


@pytest.mark.parametrize("ownership", [each for each in Ownership if each is not Ownership.ENDED])
def test_a_call_ends_whoever_has_the_caller(ownership: Ownership) -> None:
    assert after(ownership, Handover.CALL_ENDED) is Ownership.ENDED

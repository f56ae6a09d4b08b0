"""The status table: complete, without contradictions, and monotone."""

from itertools import pairwise, product

from hypothesis import given
from hypothesis import strategies as st

from control.states import ENDS, STALE, TRANSITIONS, Happening, after
from telephony.causes import CallStatus

ORDER = [CallStatus.RINGING, CallStatus.IN_PROGRESS]


def test_every_pair_moves_the_status_or_is_stale_and_none_is_both() -> None:
    assert set(TRANSITIONS) | STALE == set(product(CallStatus, Happening))
    assert not set(TRANSITIONS) & STALE


def test_every_final_status_has_its_happening_and_stays() -> None:
    assert set(ENDS) == set(CallStatus) - set(ORDER)
    assert all(after(status, happening) is None for status in ENDS for happening in Happening)


def test_a_late_answer_resurrects_nobody() -> None:
    assert after(CallStatus.NO_ANSWER, Happening.ANSWERED) is None


def test_an_answered_call_is_completed_whatever_ended_it() -> None:
    ends = {after(CallStatus.IN_PROGRESS, happening) for happening in ENDS.values()}
    assert ends == {CallStatus.COMPLETED, None}


@given(st.lists(st.sampled_from(Happening)))
def test_the_status_never_goes_back(happenings: list[Happening]) -> None:
    status, seen = CallStatus.RINGING, [CallStatus.RINGING]
    for happening in happenings:
        status = after(status, happening) or status
        seen.append(status)
    ranks = [ORDER.index(each) if each in ORDER else len(ORDER) for each in seen]
    assert all(earlier <= later for earlier, later in pairwise(ranks))
    assert len({each for each in seen if each in ENDS}) <= 1

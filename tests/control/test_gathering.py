"""One gather: whose silence counts from when, what is full, and what came of it."""

from itertools import product
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.gathering import STALE, TRANSITIONS, Gathered, Gathering, GatherResult, GatherState, GatherStep
from control.requests import Gather
from telephony.calls import GatherStatus


def gathering(*, by_carrier: bool = False, **asked: Any) -> Gathering:
    return Gathering(
        Gather(gather_id="g", prompt="Your number?", **asked),
        by_carrier=by_carrier,
        now=0.0,
    )


def typed(keys: str, **asked: Any) -> Gathering:
    gather = gathering(**asked)
    gather.prompt_heard(3.0)
    for number, key in enumerate(keys):
        gather.digit(key, 4.0 + number)
    return gather


def completed(digits: str) -> Gathered:
    return Gathered(GatherResult.COMPLETED, digits)


def test_every_pair_moves_a_gather_or_is_stale_and_none_is_both() -> None:
    assert set(TRANSITIONS) | STALE == set(product(GatherState, GatherStep))
    assert not set(TRANSITIONS) & STALE


def test_the_terminator_completes_and_is_no_digit() -> None:
    assert typed("123#4").result == completed("123")


def test_the_last_digit_allowed_completes() -> None:
    assert typed("12345", max_digits=4).result == completed("1234")


def test_without_a_terminator_every_key_is_a_digit() -> None:
    assert typed("12#4", terminator="", max_digits=4).result == completed("12#4")


def test_keys_that_are_not_asked_for_do_not_count() -> None:
    assert typed("1*2#", valid_digits="12").result == completed("12")


def test_some_digits_then_silence_is_completed() -> None:
    gather = typed("12", inter_digit_timeout=5)
    gather.poll(9.9)
    assert gather.result is None
    gather.poll(10.0)
    assert gather.result == completed("12")


def test_no_digit_is_a_timeout_counted_from_the_end_of_the_prompt() -> None:
    gather = typed("", timeout=15)
    gather.poll(17.9)
    assert gather.result is None
    gather.poll(18.0)
    assert gather.result == Gathered(GatherResult.TIMEOUT, None)


def test_a_terminator_alone_is_no_digit() -> None:
    assert typed("#").result == Gathered(GatherResult.TIMEOUT, None)


def test_a_key_pressed_into_the_prompt_counts() -> None:
    gather = gathering()
    gather.digit("7", 1.0)
    gather.prompt_heard(2.0)
    gather.digit("#", 2.5)
    assert gather.result == completed("7")


def test_a_prompt_of_which_nobody_says_that_it_was_heard_does_not_last_for_ever() -> None:
    gather = gathering(timeout=5)
    gather.poll(60.0)
    assert gather.result == Gathered(GatherResult.TIMEOUT, None)


def test_a_prompt_that_cannot_be_said_ends_it() -> None:
    gather = gathering()
    gather.prompt_failed("no voice")
    assert gather.result == Gathered(GatherResult.CANCELLED, None, "no voice")


@pytest.mark.parametrize(
    ("status", "digits", "expected"),
    [
        (GatherStatus.COMPLETED, "12", completed("12")),
        (GatherStatus.COMPLETED, "", Gathered(GatherResult.TIMEOUT, None)),
        (GatherStatus.TIMEOUT, "12", completed("12")),
        (GatherStatus.TIMEOUT, "", Gathered(GatherResult.TIMEOUT, None)),
        (GatherStatus.INVALID, "99", Gathered(GatherResult.TIMEOUT, None)),
        (GatherStatus.CANCELLED, "1", Gathered(GatherResult.CANCELLED, None)),
        (GatherStatus.HANGUP, "1", Gathered(GatherResult.HANGUP, None)),
    ],
)
def test_what_the_carrier_says_in_the_words_of_the_api(
    status: GatherStatus, digits: str, expected: Gathered
) -> None:
    gather = gathering(by_carrier=True)
    gather.carrier_ended(status, digits)
    assert gather.result == expected


def test_digits_of_a_carrier_that_cannot_check_them_are_checked() -> None:
    gather = gathering(by_carrier=True, valid_digits="12")
    gather.carrier_ended(GatherStatus.COMPLETED, "192")
    assert gather.result == completed("12")


def test_a_carrier_that_never_reports_is_not_waited_for_beyond_what_a_gather_can_take() -> None:
    gather = gathering(by_carrier=True, timeout=15, max_digits=4, inter_digit_timeout=5)
    assert 15 + 4 * 5 < gather.deadline < 15 + 4 * 5 + 30
    gather.poll(gather.deadline)
    assert gather.result == Gathered(GatherResult.TIMEOUT, None)


def test_a_cancel_waits_for_the_carriers_word_but_not_long() -> None:
    gather = gathering(by_carrier=True)
    gather.cancel(1.0)
    assert gather.state is GatherState.STOPPING
    gather.poll(gather.deadline)
    assert gather.result == Gathered(GatherResult.CANCELLED, None)
    assert gather.deadline < 10.0 or gather.deadline == inf


def test_keys_that_came_before_the_cancel_count() -> None:
    gather = gathering(by_carrier=True)
    gather.cancel(1.0)
    gather.carrier_ended(GatherStatus.COMPLETED, "42")
    assert gather.result == completed("42")


def test_a_carrier_that_says_nothing_of_its_stop_has_stopped() -> None:
    gather = gathering(by_carrier=True)
    gather.cancel(1.0)
    gather.stopped()
    assert gather.result == Gathered(GatherResult.CANCELLED, None)


@pytest.mark.parametrize("by_carrier", [True, False])
def test_the_end_of_the_call_ends_it(by_carrier: bool) -> None:
    gather = gathering(by_carrier=by_carrier)
    gather.call_ended()
    assert gather.result == Gathered(GatherResult.HANGUP, None)


ACTIONS = st.sampled_from("0123456789*#hfcpeox")


@given(st.booleans(), st.lists(st.tuples(ACTIONS, st.floats(0, 30))))
def test_whatever_happens_a_gather_ends_once_and_time_ends_it(
    by_carrier: bool, script: list[tuple[str, float]]
) -> None:
    gather, now, result = gathering(by_carrier=by_carrier), 0.0, None
    for action, after in script:
        now += after
        match action:
            case "h":
                gather.prompt_heard(now)
            case "f":
                gather.prompt_failed("why")
            case "c":
                gather.cancel(now)
            case "p":
                gather.poll(now)
            case "e":
                gather.carrier_ended(GatherStatus.COMPLETED, "1")
            case "o":
                gather.stopped()
            case "x":
                gather.call_ended()
            case digit:
                gather.digit(digit, now)
        assert result is None or gather.result is result
        result = gather.result
    while gather.deadline < inf:
        before = gather.deadline
        gather.poll(before)
        assert gather.deadline > before
    assert gather.over
    assert gather.result is not None

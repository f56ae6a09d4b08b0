"""Attempts are judged: what is success, what is tried again and when, what is given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.delivery_verdict import Failed, Succeeded, verdict
from control.egress import EgressFailed, EgressFault, EgressRefused, OutgoingAnswer

# docs/webhooks.md: retries 5 s, 30 s, 2 min, 10 min, 1 h, 6 h.
PAUSES = [5, 30, 2 * 60, 10 * 60, 60 * 60, 6 * 60 * 60]


def answer(status: int, **headers: str) -> OutgoingAnswer:
    return OutgoingAnswer(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_status_of_200_is_success(status: int) -> None:
    assert verdict(1, answer(status), 0.0) == Succeeded()


@pytest.mark.parametrize("status", [300, 302, 400, 401, 404, 408, 409, 429, 500, 503])
def test_any_other_is_tried_again_in_the_pauses_that_were_promised(status: int) -> None:
    verdicts = [verdict(attempt, answer(status), 0.0) for attempt in range(1, 9)]
    assert [each.retry_in for each in verdicts if isinstance(each, Failed)] == [*PAUSES, None, None]


@pytest.mark.parametrize(
    "failure", [EgressFailed(EgressFault.TIMEOUT, "no answer"), EgressRefused("it is private")]
)
def test_no_answer_is_tried_again_too(failure: EgressFailed) -> None:
    assert verdict(1, failure, 0.0) == Failed(str(failure), PAUSES[0])
    assert verdict(7, failure, 0.0) == Failed(str(failure), None)


def test_who_is_gone_is_told_nothing_more() -> None:
    assert verdict(1, answer(410), 0.0) == Failed("HTTP 410", None, gone=True)


def test_a_redirect_says_why_it_is_a_failure() -> None:
    judged = verdict(1, answer(301, location="https://elsewhere"), 0.0)
    assert isinstance(judged, Failed)
    assert judged.error == "HTTP 301: redirects are not followed"


@pytest.mark.parametrize(
    ("status", "asked", "pause"),
    [
        (429, "60", 60),
        (503, "60", 60),
        (429, "1", 5),
        (503, "999999", 3600),
        (500, "60", 5),
        (429, "soon", 5),
        (429, "²", 5),
    ],
)
def test_a_busy_receiver_gets_the_pause_it_asks_for_within_reason(
    status: int, asked: str, pause: float
) -> None:
    judged = verdict(1, answer(status, retry_after=asked), 0.0)
    assert isinstance(judged, Failed)
    assert judged.retry_in == pause


@given(st.integers(1, 6), st.floats(0, 1, exclude_max=True))
def test_chance_makes_a_pause_a_tenth_longer_at_most(attempt: int, chance: float) -> None:
    judged = verdict(attempt, answer(500), chance)
    assert isinstance(judged, Failed)
    assert judged.retry_in is not None
    assert PAUSES[attempt - 1] <= judged.retry_in <= PAUSES[attempt - 1] * 1.1

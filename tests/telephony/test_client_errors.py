"""What carriers' refusals mean."""

import pytest

from telephony.calls import LegToken
from telephony.client_errors import (
    BACK_OFF,
    TELNYX,
    TWILIO,
    CarrierCannot,
    CommandFailed,
    Verdict,
    back_off,
    dials,
    is_satisfied_by_the_end,
    verdict_of,
)
from telephony.commands import Hangup, StopGather, Transfer

TRANSFER = Transfer(
    command_id="c",
    carrier_call_id="x",
    token=LegToken("a", "t"),
    destination="+13125550177",
    caller_id="+13125550101",
)


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (422, "90018", Verdict.ALREADY_ENDED),
        (422, "90034", Verdict.NOT_ANSWERED),
        (422, "90045", Verdict.REJECTED),
        (401, "10009", Verdict.UNAUTHORISED),
        (401, None, Verdict.UNAUTHORISED),
        (429, "10011", Verdict.RATE_LIMITED),
        (503, None, Verdict.UNAVAILABLE),
        (408, None, Verdict.UNAVAILABLE),
    ],
)
def test_a_telnyx_code_means_what_the_table_says(status: int, code: str | None, verdict: Verdict) -> None:
    assert verdict_of(TELNYX, status, code, dials=False) is verdict


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (400, "21220", Verdict.ALREADY_ENDED),
        (404, "20404", Verdict.ALREADY_ENDED),
        (401, "20003", Verdict.UNAUTHORISED),
        (429, "20429", Verdict.RATE_LIMITED),
        (400, "21215", Verdict.REJECTED),
        (500, None, Verdict.UNAVAILABLE),
    ],
)
def test_a_twilio_code_means_what_the_table_says(status: int, code: str | None, verdict: Verdict) -> None:
    assert verdict_of(TWILIO, status, code, dials=False) is verdict


def test_a_server_that_failed_may_have_dialled_all_the_same() -> None:
    assert verdict_of(TELNYX, 503, None, dials=True) is Verdict.UNKNOWN
    assert verdict_of(TELNYX, 422, "10016", dials=True) is Verdict.REJECTED


def test_a_rate_limit_is_waited_out_as_long_as_the_carrier_asks() -> None:
    assert back_off({"Retry-After": "3"}) == 3.0
    assert back_off({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert back_off({"x-ratelimit-reset": "2"}) == 2.0
    assert back_off({"x-ratelimit-reset": "1790000000"}) == BACK_OFF  # a date
    assert back_off({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}) == BACK_OFF
    assert back_off({}) == BACK_OFF


def test_only_commands_that_want_the_end_are_satisfied_by_it() -> None:
    hangup = Hangup(command_id="c", carrier_call_id="x")
    assert is_satisfied_by_the_end(hangup)
    assert is_satisfied_by_the_end(StopGather(command_id="c", carrier_call_id="x", token=LegToken("a")))
    assert not is_satisfied_by_the_end(TRANSFER)
    assert dials(TRANSFER)
    assert not dials(hangup)


def test_failures_name_carrier_command_and_reason() -> None:
    failure = CommandFailed("telnyx", "Hangup", Verdict.REJECTED, "no", status=422, code="1")
    assert str(failure) == "telnyx: Hangup: 1: no"
    assert "instead" in str(CarrierCannot("twilio", "Answer", "a document instead"))

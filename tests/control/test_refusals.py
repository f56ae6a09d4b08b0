"""A carrier's no, as the API says it."""

import pytest

from control.effects import CommandRefused
from control.refusals import carrier_refused, not_supported
from telephony.client_errors import Verdict


def test_a_refusal_has_the_carriers_own_code_and_text() -> None:
    refused = carrier_refused(CommandRefused("c", Verdict.REJECTED, "bad number", "10016"), "Transfer failed")
    assert (refused.status, refused.code) == (422, "carrier_rejected")
    assert refused.detail == "Transfer failed: 10016: bad number"


@pytest.mark.parametrize(
    "verdict", [Verdict.UNAVAILABLE, Verdict.UNKNOWN, Verdict.RATE_LIMITED, Verdict.UNAUTHORISED]
)
def test_a_carrier_that_did_not_get_to_it_is_unavailable(verdict: Verdict) -> None:
    refused = carrier_refused(CommandRefused("c", verdict, "timeout"))
    assert (refused.status, refused.code, refused.detail) == (502, "carrier_unavailable", "timeout")


def test_what_a_carrier_cannot_do_names_the_carrier() -> None:
    assert not_supported("twilio", "transfer by SIP REFER").detail == "twilio cannot transfer by SIP REFER"

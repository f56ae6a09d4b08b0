"""Which of the calls that a carrier lists is the one that was dialled."""

from datetime import timedelta

import pytest

from control.service.listed_call import is_the_dial
from telephony.calls import LegToken
from telephony.client_errors import LiveCall
from tests.control.left_scene import LEFT
from tests.control.service_scene import BEGUN, OURS, THEIRS


@pytest.mark.parametrize(
    ("listed", "same"),
    [
        (LiveCall(carrier_call_id="x", token=LegToken("call_left")), True),
        (LiveCall(carrier_call_id="x", token=LegToken("call_left", "t_1")), False),
        (LiveCall(carrier_call_id="x", token=LegToken("other")), False),
        (
            LiveCall(
                carrier_call_id="x",
                from_number=OURS,
                to_number=THEIRS,
                started_at=(BEGUN - timedelta(hours=1)).isoformat(),
            ),
            False,
        ),
        (LiveCall(carrier_call_id="x", from_number=OURS, to_number=THEIRS), False),
        (LiveCall(carrier_call_id="x", from_number=OURS, to_number=THEIRS, started_at="soon"), False),
    ],
)
def test_a_listed_call_is_ours_by_our_token_or_by_numbers_and_time(listed: LiveCall, same: bool) -> None:
    assert is_the_dial(listed, LEFT) is same

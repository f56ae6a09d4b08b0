"""A call that cannot be begun is not begun."""

from datetime import UTC, datetime

import pytest

from control.brief import CallBrief, VoicemailAction
from control.call_record import CallRecord
from telephony.capabilities import CAPABILITIES
from telephony.causes import Direction


def record(direction: Direction, to_number: str | None = "+13125550100") -> CallRecord:
    return CallRecord(
        call_id="call_1",
        direction=direction,
        carrier="telnyx",
        from_number="+13125550111",
        to_number=to_number,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_an_outbound_call_needs_both_numbers() -> None:
    with pytest.raises(ValueError, match="both numbers"):
        CallBrief(record=record(Direction.OUTBOUND, None), capabilities=CAPABILITIES["telnyx"])


def test_nobody_rings_for_longer_than_the_carriers_wait_for_a_document() -> None:
    with pytest.raises(ValueError, match="0 to 10 seconds"):
        CallBrief(record=record(Direction.INBOUND), capabilities=CAPABILITIES["twilio"], answer_wait=10.1)


def test_a_message_that_is_to_be_left_has_words() -> None:
    with pytest.raises(ValueError, match="message"):
        CallBrief(
            record=record(Direction.OUTBOUND),
            capabilities=CAPABILITIES["telnyx"],
            voicemail=VoicemailAction.LEAVE_MESSAGE,
        )

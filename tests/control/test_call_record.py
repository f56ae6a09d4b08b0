"""A call as it is kept: what can be computed of it, against arithmetic done by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from control.call_record import PUBLISHED, CallRecord
from telephony.causes import CallStatus, Direction

NOON = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)


def call(**changes: object) -> CallRecord:
    record = CallRecord(
        call_id="call_1",
        direction=Direction.INBOUND,
        carrier="telnyx",
        started_at=NOON,
        answered_at=NOON + timedelta(seconds=4),
        ended_at=NOON + timedelta(seconds=94.5),
        status=CallStatus.COMPLETED,
        rate_per_minute=Decimal("0.0070"),
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # any field


def test_a_call_lasts_from_its_answer_to_its_end() -> None:
    assert call().duration_seconds == Decimal("90.500")
    assert call().minutes_used == Decimal("1.51")


@pytest.mark.parametrize("missing", ["answered_at", "ended_at"])
def test_a_call_never_answered_or_not_ended_has_lasted_no_time(missing: str) -> None:
    assert call(**{missing: None}).duration_seconds == 0


def test_an_end_that_is_told_before_the_answer_is_no_negative_length() -> None:
    assert call(ended_at=NOON).duration_seconds == 0


def test_money_is_exact() -> None:
    record = call(
        llm_cost=Decimal("0.123456"),
        recording_cost=Decimal("0.002500"),
        transfer_cost=Decimal("0.01"),
        llm_discount=Decimal("0.023456"),
    )
    assert record.call_cost == Decimal("0.010570")  # 1.51 minutes of 0.0070
    assert record.total_cost == Decimal("0.123070")


@pytest.mark.parametrize("status", list(CallStatus))
def test_a_call_lives_while_it_rings_or_is_in_progress(status: CallStatus) -> None:
    assert call(status=status).live == (status.value in ("ringing", "in-progress"))


def test_every_event_of_the_contract_is_published_and_a_test_delivery_is_no_event_of_a_call() -> None:
    assert {"call.ended", "call.failed", "transfer.failed", "agent.failover", "barge_in"} <= PUBLISHED
    assert "webhook.test" not in PUBLISHED

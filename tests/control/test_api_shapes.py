"""What answers are made of: our values, in the contract's words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from control.api.shapes import call_object, call_status, call_summary, event_shape, rfc3339
from control.call_record import CallRecord, EventRecord
from telephony.causes import CallStatus, Direction, Disposition, EndedReason

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)

RECORD = CallRecord(
    call_id="call_1",
    direction=Direction.OUTBOUND,
    carrier="telnyx",
    status=CallStatus.COMPLETED,
    disposition=Disposition.ANSWERED,
    ended_reason=EndedReason.CALLER_HANGUP,
    started_at=NOON,
    answered_at=NOON + timedelta(seconds=4),
    ended_at=NOON + timedelta(seconds=94, milliseconds=500),
    rate_per_minute=Decimal("0.05"),
    llm_cost=Decimal("0.1"),
    llm_discount=Decimal("0.02"),
    recording_cost=Decimal("0.003"),
    transfer_cost=Decimal("0.01"),
    tools_called=("end_call",),
    metadata={"order": 7},
    transcript=({"role": "user", "content": "Bye", "timestamp": 88.5},),
    latency_turns=({"turn": 1, "ts": 3.0, "llm_ttfb_ms": 210},),
    webhook_url="https://secret.example/?token=1",
    node="node_1",
)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-05-01T12:00:00.000Z"),
        (NOON.replace(microsecond=123_999), "2026-05-01T12:00:00.123Z"),
        (datetime(2026, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))), "2026-05-01T12:00:00.000Z"),
    ],
)
def test_a_moment_is_rfc_3339_in_utc_to_the_millisecond(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


def test_a_call_is_told_in_plain_numbers_and_words() -> None:
    told = call_object(RECORD).model_dump(mode="json")
    # 90.5 s = 1.51 minutes (rounded half up), at 0.05 a minute.
    assert (told["duration_seconds"], told["minutes_used"], told["call_cost"]) == (90.5, 1.51, 0.0755)
    assert told["total_cost"] == pytest.approx(0.0755 + 0.1 + 0.003 + 0.01 - 0.02, abs=1e-9)
    assert (told["status"], told["disposition"], told["ended_reason"]) == (
        "completed",
        "answered",
        "caller-hangup",
    )
    assert (told["started_at"], told["tools_called"]) == ("2026-05-01T12:00:00.000Z", ["end_call"])
    assert told["transcript"] == [
        {"role": "user", "content": "Bye", "timestamp": 88.5, "interrupted": False, "heard_ms": None}
    ]
    assert told["latency_data"]["turns"][0]["llm_ttfb_ms"] == 210


def test_what_only_we_need_to_know_is_not_told() -> None:
    told = call_object(RECORD).model_dump_json()
    assert "secret.example" not in told
    assert "node_1" not in told


def test_lists_have_neither_transcript_nor_latencies() -> None:
    assert {"transcript", "latency_data"} & set(call_summary(RECORD).model_dump()) == set()


@pytest.mark.parametrize("status", list(CallStatus))
def test_every_status_can_be_told(status: CallStatus) -> None:
    record = replace(RECORD, status=status)
    assert call_summary(record).status == call_status(record).status == status.value


@pytest.mark.parametrize("reason", [None, *EndedReason])
@pytest.mark.parametrize("disposition", [None, *Disposition])
def test_every_end_can_be_told(reason: EndedReason | None, disposition: Disposition | None) -> None:
    told = call_summary(replace(RECORD, ended_reason=reason, disposition=disposition))
    assert told.ended_reason == (None if reason is None else reason.value)
    assert told.disposition == (None if disposition is None else disposition.value)


def test_an_event_never_tells_its_secret() -> None:
    record = EventRecord(
        event_id="evt_1",
        tenant_id="default",
        call_id="call_1",
        agent_id=None,
        name="call.gather.completed",
        sequence=4,
        occurred_at=NOON,
        at=8.25,
        data={"status": "completed"},
        secret={"input": "4242"},
    )
    assert event_shape(record).model_dump(mode="json") == {
        "id": "evt_1",
        "event": "call.gather.completed",
        "call_id": "call_1",
        "agent_id": None,
        "sequence": 4,
        "timestamp": "2026-05-01T12:00:00.000Z",
        "at": 8.25,
        "data": {"status": "completed"},
    }

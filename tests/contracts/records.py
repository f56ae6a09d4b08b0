"""Calls and events to be kept, with what does not matter filled in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from control.call_record import PUBLISHED, CallRecord, EventRecord
from telephony.causes import CallStatus, Direction, Disposition, EndedReason

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

_numbers = count(1)


def call(**changes: Any) -> CallRecord:
    """A call that rings."""
    record = CallRecord(
        call_id=f"call_{next(_numbers)}",
        direction=Direction.INBOUND,
        carrier="telnyx",
        from_number="+15550001111",
        to_number="+15550002222",
        started_at=NOON,
    )
    return replace(record, **changes)


def ended_call(**changes: Any) -> CallRecord:
    """A call that was answered after 4 s and lasted a minute."""
    record = call()
    record = replace(
        record,
        status=CallStatus.COMPLETED,
        disposition=Disposition.ANSWERED,
        ended_reason=EndedReason.CALLER_HANGUP,
    )
    record = replace(record, **changes)
    answered = record.started_at + timedelta(seconds=4)
    if "answered_at" not in changes:
        record = replace(record, answered_at=answered)
    if "ended_at" not in changes:
        record = replace(record, ended_at=answered + timedelta(seconds=60))
    return record


def event(record: CallRecord, sequence: int | None = 1, **changes: Any) -> EventRecord:
    """An event of a call; without a sequence one of its timeline only."""
    name = "call.ringing" if sequence is not None else "mark"
    assert (name in PUBLISHED) == (sequence is not None)
    made = EventRecord(
        event_id=f"evt_{next(_numbers)}",
        tenant_id=record.tenant_id,
        call_id=record.call_id,
        agent_id=record.agent_id,
        name=name,
        sequence=sequence,
        occurred_at=record.started_at,
        at=0.0,
    )
    return replace(made, **changes)

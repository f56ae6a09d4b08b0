"""A call's record as a row, and back."""

from typing import Any

from control.call_record import CallRecord
from control.stores.columns import Values
from control.stores.tables import calls
from telephony.causes import CallStatus, Direction, Disposition, EndedReason, HangupCause

_DERIVED = ("minutes_used", "call_cost", "total_cost")
_APART = ("transcript", "latency_turns")
"""In `call_details`."""

FIELDS = tuple(column.name for column in calls.columns if column.name not in ("id", "duration_ms", *_DERIVED))
"""What the row has of the record as it is."""

# A call's owner never changes them after the first save: other hands may have.
_FIXED = frozenset({"call_id", "tenant_id", "started_at"})
_OTHER_HANDS = frozenset({"notes", "extracted_data", "has_recording", "recording_cost"})


def row_of(record: CallRecord) -> dict[str, Any]:
    """Return the whole row, without its number."""
    row: dict[str, Any] = {name: getattr(record, name) for name in FIELDS + _DERIVED}
    row["duration_ms"] = int(record.duration_seconds * 1000)
    return row


def changes_of(record: CallRecord) -> dict[str, Any]:
    """Return what a later save writes."""
    return {name: value for name, value in row_of(record).items() if name not in _FIXED | _OTHER_HANDS}


def details_of(record: CallRecord) -> dict[str, Any] | None:
    """Return the row of `call_details`; None where there is nothing to keep."""
    if not record.transcript and not record.latency_turns:
        return None
    return {"call_id": record.call_id, **{name: list(getattr(record, name)) for name in _APART}}


def record_of(row: Values, details: Values | None = None) -> CallRecord:
    """Return the record that a row of `calls`, and one of `call_details`, keep."""
    fields: dict[str, Any] = {name: row[name] for name in FIELDS}
    fields |= {name: tuple(details[name]) for name in _APART if details and details[name] is not None}
    return CallRecord(
        **fields
        | {
            "direction": Direction(row["direction"]),
            "status": CallStatus(row["status"]),
            "disposition": Disposition(row["disposition"]) if row["disposition"] else None,
            "ended_reason": EndedReason(row["ended_reason"]) if row["ended_reason"] else None,
            "intent": EndedReason(row["intent"]) if row["intent"] else None,
            "hangup_cause": HangupCause(row["hangup_cause"]) if row["hangup_cause"] else None,
            "tools_called": tuple(row["tools_called"]),
        }
    )

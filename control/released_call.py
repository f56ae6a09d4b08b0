"""A call that was transferred before this process began: nothing of ours is on it any more, and it has not ended yet.

Pure. The caller talks to somebody else through the carrier; we only wait for word that this is over, and end the
record. Nothing here ever touches the leg.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from control.call_record import CallRecord, EventRecord
from telephony.calls import HungUp
from telephony.causes import CallStatus, Disposition, EndedReason, HangupCause


def is_released(record: CallRecord) -> bool:
    """Whether the caller had been connected to somebody else."""
    return record.live and record.transferred_to is not None


def ended(record: CallRecord, now: datetime, event: HungUp | None = None) -> CallRecord:
    """Return the record of a released call that is over: by the carrier's word, or because it is no longer there."""
    at = now if event is None or event.origin.occurred_at is None else min(now, event.origin.occurred_at)
    return replace(
        record,
        status=CallStatus.COMPLETED,
        disposition=Disposition.TRANSFERRED,
        ended_reason=record.intent or EndedReason.TRANSFER,
        hangup_cause=event.cause if event is not None else None,
        ended_at=max(at, record.answered_at or record.started_at),
    )


def abandoned(record: CallRecord, now: datetime, said: Iterable[EventRecord] = ()) -> CallRecord:
    """Return the record of a call whose process has died: it ends here, as an error of ours.

    Args:
        said: the events of what was said, in order: the transcript itself went with the process.
    """
    answered = record.answered_at is not None
    return replace(
        record,
        transcript=record.transcript or tuple(_utterances(record, said)),
        status=CallStatus.COMPLETED if answered else CallStatus.FAILED,
        disposition=Disposition.ANSWERED if answered else Disposition.FAILED,
        ended_reason=EndedReason.ERROR,
        intent=record.intent or EndedReason.ERROR,
        hangup_cause=HangupCause.TEMPORARY_FAILURE,
        ended_at=max(now, record.answered_at or record.started_at),
    )


def untold(record: CallRecord, said: Iterable[EventRecord]) -> CallRecord:
    """Return the record of a call that had ended when its process died, before that was told.

    Args:
        said: as above.
    """
    return replace(record, transcript=record.transcript or tuple(_utterances(record, said)))


def _utterances(record: CallRecord, said: Iterable[EventRecord]) -> Iterator[Mapping[str, object]]:
    """Whether somebody was interrupted is not known any more."""
    began = record.answered_at or record.started_at
    for event in said:
        yield {
            "role": event.data["role"],
            "content": event.data["text"],
            "timestamp": round(max(0.0, (event.occurred_at - began).total_seconds()), 3),
            "interrupted": False,
            "heard_ms": None,
        }

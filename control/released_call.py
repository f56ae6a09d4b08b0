"""A call that an earlier process has left behind: how its record ends, from what was on record of it.

Pure. Of a call that was transferred nothing of ours is on the line: the caller talks to somebody else through the
carrier, and we only wait for word that this is over. Any other ends here. Nothing here ever touches the leg.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from control.call_draft import CallDraft, DraftKind
from control.call_record import CallRecord, EventRecord
from telephony.calls import HungUp
from telephony.causes import CallStatus, Disposition, EndedReason, HangupCause


def is_released(record: CallRecord) -> bool:
    """Whether the caller had been connected to somebody else."""
    return record.live and record.transferred_to is not None


NOTHING = CallDraft()


def ended(
    record: CallRecord, now: datetime, event: HungUp | None = None, draft: CallDraft = NOTHING
) -> CallRecord:
    """Return the record of a released call that is over: by the carrier's word, or because it is no longer there."""
    at = now if event is None or event.origin.occurred_at is None else min(now, event.origin.occurred_at)
    return replace(
        known(record, (), draft),
        status=CallStatus.COMPLETED,
        disposition=Disposition.TRANSFERRED,
        ended_reason=record.intent or EndedReason.TRANSFER,
        hangup_cause=event.cause if event is not None else None,
        ended_at=max(at, record.answered_at or record.started_at),
    )


def abandoned(
    record: CallRecord, now: datetime, said: Iterable[EventRecord] = (), draft: CallDraft = NOTHING
) -> CallRecord:
    """Return the record of a call whose process has died: it ends here, as an error of ours.

    Args:
        said: events, in order; of interest are those of what was said.
        draft: what was on record of it, piece by piece.
    """
    answered = record.answered_at is not None
    return replace(
        known(record, said, draft),
        status=CallStatus.COMPLETED if answered else CallStatus.FAILED,
        disposition=Disposition.ANSWERED if answered else Disposition.FAILED,
        ended_reason=EndedReason.ERROR,
        intent=record.intent or EndedReason.ERROR,
        hangup_cause=HangupCause.TEMPORARY_FAILURE,
        ended_at=max(now, record.answered_at or record.started_at),
    )


def known(record: CallRecord, said: Iterable[EventRecord], draft: CallDraft) -> CallRecord:
    """Return the record with what is known of its turns; of a call that was summed up already, it stays as it is.

    Args:
        said: as above.
        draft: as above.
    """
    if record.transcript or record.latency_turns or record.turn_count or record.usage:
        return record
    utterances = draft.data(DraftKind.UTTERANCE)
    record = replace(
        record,
        # What was said, of a call that began before there were drafts.
        transcript=tuple(utterances) or tuple(_utterances(record, said)),
        latency_turns=tuple(draft.data(DraftKind.TURN)),
    )
    for sums in draft.data(DraftKind.SUMS):
        record = replace(
            record,
            turn_count=sums["turn_count"],
            barge_in_count=sums["barge_in_count"],
            tool_call_count=len(sums["tools_called"]),
            tools_called=tuple(sums["tools_called"]),
            ws_unavailable=record.ws_unavailable or sums["ws_unavailable"],
            usage={name: value for name, value in sums["usage"].items() if isinstance(value, int)},
            currency=sums["currency"],
            llm_cost=Decimal(sums["llm_cost"]),
            llm_discount=Decimal(sums["llm_discount"]),
        )
    return record


def _utterances(record: CallRecord, said: Iterable[EventRecord]) -> Iterator[Mapping[str, object]]:
    """Whether somebody was interrupted is not known any more."""
    began = record.answered_at or record.started_at
    for event in said:
        if event.name != "transcript.updated":
            continue
        yield {
            "role": event.data["role"],
            "content": event.data["text"],
            "timestamp": round(max(0.0, (event.occurred_at - began).total_seconds()), 3),
            "interrupted": False,
            "heard_ms": None,
        }

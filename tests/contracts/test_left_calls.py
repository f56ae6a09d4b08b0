"""Calls that their process has left behind: one end each, whoever tells of it, and the owner's word counts most."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from control.call_draft import DraftKind, DraftPiece
from control.call_record import CallRecord, EventRecord
from control.stores.keyset import Page
from control.stores.store import Store
from control.stores.tool_logs import ToolLogFilters
from control.tool_log import ToolRun
from telephony.causes import CallStatus, Disposition, EndedReason
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call, event

pytestmark = pytest.mark.sockets

LATER = NOON + timedelta(minutes=5)
LEFT: dict[str, Any] = {
    "node": "node_gone",
    "status": CallStatus.IN_PROGRESS,
    "answered_at": NOON,
    "revision": 3,
}


def end_of(record: CallRecord, **changes: Any) -> CallRecord:
    """How a survivor says that a call ended."""
    ended: dict[str, Any] = {
        "status": CallStatus.COMPLETED,
        "disposition": Disposition.ANSWERED,
        "ended_reason": EndedReason.ERROR,
        "ended_at": LATER,
    }
    return replace(record, **(ended | changes))


def test_of_two_who_end_a_call_that_was_left_one_does(stored: RunWithStore) -> None:
    record = call(**LEFT)

    async def scenario(store: Store) -> None:
        await store.save_call(record)

        async def end(turns: int) -> bool:
            ended = end_of(record, ended_at=LATER + timedelta(seconds=turns), turn_count=turns)
            told = [event(record, None, name="tool.abandoned"), event(record, 1, name="call.ended")]
            return await store.end_call(record, ended, told)

        done = await asyncio.gather(*[end(turns) for turns in range(1, 6)])
        assert sorted(done) == [False, False, False, False, True]
        kept = await store.call("default", record.call_id)
        assert kept is not None
        assert kept.turn_count == done.index(True) + 1
        names = [stored.event.name for stored in await store.events("default", record.call_id)]
        assert names == ["tool.abandoned", "call.ended"]

    stored(scenario)


def test_a_call_that_its_process_has_kept_since_is_not_ended_by_another(stored: RunWithStore) -> None:
    record = call(**LEFT)
    since = replace(record, revision=4, turn_count=2)

    async def scenario(store: Store) -> None:
        await store.save_call(since)
        assert not await store.end_call(record, end_of(record), [event(record, 1, name="call.ended")])
        assert await store.call("default", record.call_id) == since
        assert await store.events("default", record.call_id) == []
        missing = call(**LEFT)
        assert not await store.end_call(missing, end_of(missing), [event(missing, 1, name="call.ended")])
        assert await store.call("default", missing.call_id) is None

    stored(scenario)


def test_an_end_that_was_not_told_is_told_with_what_is_known_by_now(stored: RunWithStore) -> None:
    over = ended_call(revision=3)
    known = replace(over, turn_count=2, latency_turns=({"turn": 1, "llm_ttfb_ms": 300},))

    async def scenario(store: Store) -> None:
        await store.save_call(over)
        assert await store.end_call(over, known, [event(over, 1, name="call.ended")])
        assert await store.call("default", over.call_id) == known
        again = replace(over, turn_count=9)
        assert not await store.end_call(over, again, [event(over, 1, name="call.ended")])
        assert await store.call("default", over.call_id) == known

    stored(scenario)


def test_the_owner_that_was_only_cut_off_knows_best_and_doubles_nothing(stored: RunWithStore) -> None:
    record = call(**LEFT)
    gathered = {"gather_id": "gather_1", "status": "hangup"}
    failed = {"transfer_id": "xfer_1", "destination": "+15550003333"}
    run = ToolRun(tool_call_id="tc_1", name="look_up", began=0.0, arguments="{}")

    def ended_run(name: str) -> EventRecord:
        log = run.log(f"tlog_{name}_{record.call_id}", 1.0)
        made = event(record, None, name=name, data={"tool_call_id": "tc_1"})
        return replace(made, sequence=2 if name == "tool.completed" else None, tool_log=log)

    def told(name: str, **data: Any) -> EventRecord:
        return event(record, 1, name=name, data=data)

    async def scenario(store: Store) -> None:
        await store.save_call(record)
        survivors = [
            ended_run("tool.abandoned"),
            told("call.gather.completed", **gathered),
            told("transfer.failed", **failed),
            told("call.ended"),
        ]
        assert await store.end_call(record, end_of(record), survivors)
        own = end_of(record, revision=4, ended_reason=EndedReason.CALLER_HANGUP, ended_at=NOON)
        journal = [
            ended_run("tool.completed"),
            told("call.gather.completed", **gathered | {"status": "completed"}),
            told("call.gather.completed", gather_id="gather_2"),
            told("transfer.completed", **failed),
            replace(
                event(record, None), draft=(DraftPiece(DraftKind.UTTERANCE, "000000", {"content": "Hi."}),)
            ),
            told("call.ended"),
        ]
        for _ in range(2):
            await store.save_call(own, journal)
        kept = await store.call("default", record.call_id)
        assert kept is not None
        assert (kept.ended_reason, kept.ended_at) == (EndedReason.CALLER_HANGUP, NOON)
        said = [(each.event.name, each.event.data) for each in await store.events("default", record.call_id)]
        assert said == [
            *[(each.name, each.data) for each in survivors],
            ("call.gather.completed", {"gather_id": "gather_2"}),
            ("mark", {}),
        ]
        logs = await store.tool_logs.page("default", ToolLogFilters(call_id=record.call_id), Page())
        assert [each.log.tool_log_id for each in logs.logs] == [f"tlog_tool.abandoned_{record.call_id}"]
        assert (await store.draft(record.call_id)).pieces == ()

    stored(scenario)

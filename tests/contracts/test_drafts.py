"""What is on record of calls that live: the latest of each piece, until the end is told."""

from dataclasses import replace
from typing import Any

import pytest

from control.call_draft import DraftKind, DraftPiece, begun
from control.call_record import CallRecord, EventRecord
from control.stores.store import Store
from control.tool_log import ToolRun
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call, event

pytestmark = pytest.mark.sockets


def piece(content: str, key: str = "000000") -> DraftPiece:
    return DraftPiece(DraftKind.UTTERANCE, key, {"content": content})


def telling(record: CallRecord, *pieces: DraftPiece, **changes: Any) -> EventRecord:
    return replace(event(record, None, name="ai.speech.ended", **changes), draft=pieces)


async def contents(store: Store, record: CallRecord) -> list[str]:
    draft = await store.draft(record.call_id)
    return [data["content"] for data in draft.data(DraftKind.UTTERANCE)]


def test_pieces_are_kept_in_order_and_the_latest_counts(stored: RunWithStore) -> None:
    record, other = call(), call()

    async def scenario(store: Store) -> None:
        await store.save_call(other, [telling(other, piece("Ours."))])
        await store.save_call(
            record, [telling(record, piece("Two", "000001")), telling(record, piece("O"), piece("One"))]
        )
        assert await contents(store, record) == ["One", "Two"]
        second = telling(record, piece("Two.", "000001"))
        for _ in range(2):  # a journal tells twice
            await store.save_call(replace(record, revision=1), [second])
        assert await contents(store, record) == ["One", "Two."]
        assert await contents(store, other) == ["Ours."]

    stored(scenario)


def test_a_save_that_comes_late_does_not_undo_a_later_one(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        await store.save_call(replace(record, revision=2), [telling(record, piece("Hello there."))])
        late = telling(record, piece("Hello"), piece("Yes?", "000001"))
        await store.save_call(replace(record, revision=1), [late])
        assert await contents(store, record) == ["Hello there.", "Yes?"]

    stored(scenario)


def test_a_run_is_on_record_from_its_beginning_to_its_end(stored: RunWithStore) -> None:
    record = call()
    runs = [ToolRun(tool_call_id=f"tc_{n}", name="look_up", began=0.0, arguments="{}") for n in (1, 2)]

    async def scenario(store: Store) -> None:
        beginnings = [telling(record, begun(run, f"tlog_b_{run.tool_call_id}", 0.0, NOON)) for run in runs]
        await store.save_call(record, beginnings)
        finished = replace(
            event(record, None, name="tool.abandoned"), tool_log=runs[0].log("tlog_draft_1", 1.0)
        )
        await store.save_call(record, [finished])
        (left,) = (await store.draft(record.call_id)).runs
        assert left.log.tool_call_id == "tc_2"

    stored(scenario)


def test_nothing_of_it_is_left_once_the_end_is_told_or_the_call_erased(stored: RunWithStore) -> None:
    record, erased = call(), call()

    async def scenario(store: Store) -> None:
        for each in (record, erased):
            await store.save_call(each, [telling(each, piece("Hello."))])
        over = ended_call(call_id=record.call_id, revision=1)
        await store.save_call(over, [])
        assert await contents(store, record) == ["Hello."]  # the end is known, and not told yet
        await store.save_call(replace(over, revision=2), [event(over, name="call.ended")])
        assert (await store.draft(record.call_id)).pieces == ()
        await store.save_call(ended_call(call_id=erased.call_id, revision=1), [])
        await store.delete_call("default", erased.call_id, NOON)
        assert (await store.draft(erased.call_id)).pieces == ()

    stored(scenario)


@pytest.mark.parametrize("late", [True, False], ids=["live", "ended"])
def test_what_a_journal_brings_after_the_end_was_told_is_not_kept(stored: RunWithStore, late: bool) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        over = ended_call(call_id=record.call_id, revision=5)
        await store.save_call(over, [event(over, name="call.ended")])
        again = replace(record, revision=4) if late else replace(over, revision=6)
        await store.save_call(again, [telling(again, piece("Hello."))])
        assert (await store.draft(record.call_id)).pieces == ()
        names = [stored.event.name for stored in await store.events("default", record.call_id)]
        assert names == ["call.ended", "ai.speech.ended"]

    stored(scenario)

"""What is to be extracted: owed once with the last event, one reader at a time, and not undone by a late save."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from control.call_record import CallRecord, EventRecord
from control.stores.extractions import OwedExtraction
from control.stores.store import Store
from control.stores.tables import calls
from tests.contracts.conftest import RunWithStore, somebody_waits
from tests.contracts.records import NOON, ended_call, event

pytestmark = pytest.mark.sockets

SCHEMA = {"type": "object", "properties": {"order": {"type": "string"}}}
LATER = NOON + timedelta(minutes=5)


def last_word(record: CallRecord, **changes: Any) -> EventRecord:
    return event(record, name="call.ended", extraction_schema=SCHEMA, **changes)


def told(record: CallRecord, name: str = "extraction.completed") -> EventRecord:
    return event(record, None, name=name)


async def claimed(store: Store, now: datetime = NOON, until: datetime = LATER) -> list[OwedExtraction]:
    return await store.extractions.claim(now, until, 10, node="node_1")


def test_what_the_last_event_asks_for_is_owed_once(stored: RunWithStore) -> None:
    record, plain = ended_call(), ended_call()

    async def scenario(store: Store) -> None:
        assert await store.extractions.next_due() is None
        ended = last_word(record)
        await store.save_call(record, [ended])
        await store.save_call(record, [ended])
        await store.save_call(plain, [event(plain, name="call.ended")])
        assert await store.extractions.next_due() == NOON
        assert await claimed(store) == [
            OwedExtraction(call_id=record.call_id, tenant_id="default", schema=SCHEMA, attempt=1)
        ]

    stored(scenario)


def test_what_is_claimed_is_nobody_elses_until_the_claim_ends(stored: RunWithStore) -> None:
    records = [ended_call() for _ in range(6)]

    async def scenario(store: Store) -> None:
        for record in records:
            await store.save_call(record, [last_word(record)])
        taken = await asyncio.gather(
            *[store.extractions.claim(NOON, LATER, 2, node="node_1") for _ in range(3)]
        )
        names = [owed.call_id for each in taken for owed in each]
        names += [
            owed.call_id for owed in await claimed(store)
        ]  # two that ask at once may each pass rows over
        assert sorted(names) == sorted(record.call_id for record in records)
        assert await claimed(store) == []
        assert await store.extractions.next_due() == LATER
        assert {owed.attempt for owed in await claimed(store, LATER)} == {2}

    stored(scenario)


def test_what_was_extracted_is_in_the_call_and_a_late_save_leaves_it(stored: RunWithStore) -> None:
    record = ended_call()

    async def scenario(store: Store) -> None:
        await store.save_call(record, [last_word(record)])
        (owed,) = await claimed(store)
        assert await store.extractions.done(owed, {"order": "A7"}, told(record), LATER)
        await store.save_call(replace(record, revision=5), [])
        kept = await store.call("default", record.call_id)
        assert kept is not None
        assert kept.extracted_data == {"order": "A7"}
        names = [each.event.name for each in await store.events("default", record.call_id)]
        assert names == ["call.ended", "extraction.completed"]
        assert await store.extractions.next_due() is None

    stored(scenario)


def test_of_two_results_the_first_counts(stored: RunWithStore) -> None:
    record = ended_call()

    async def scenario(store: Store) -> None:
        await store.save_call(record, [last_word(record)])
        (first,) = await claimed(store)
        (second,) = await claimed(store, LATER, LATER + timedelta(minutes=5))
        assert await store.extractions.done(first, {"order": "A7"}, told(record), LATER)
        assert not await store.extractions.done(second, {"order": "B8"}, told(record), LATER)
        assert not await store.extractions.failed(second, "no", told(record, "extraction.failed"), LATER)
        kept = await store.call("default", record.call_id)
        assert kept is not None
        assert kept.extracted_data == {"order": "A7"}

    stored(scenario)


def test_what_is_postponed_is_due_then_and_what_failed_never_again(stored: RunWithStore) -> None:
    record = ended_call()

    async def scenario(store: Store) -> None:
        await store.save_call(record, [last_word(record)])
        (owed,) = await claimed(store)
        tomorrow = NOON + timedelta(days=1)
        await store.extractions.postpone(owed, tomorrow, "the endpoint answered 503")
        assert await claimed(store, LATER) == []
        (owed,) = await claimed(store, tomorrow, tomorrow + timedelta(minutes=5))
        assert owed.attempt == 2
        assert await store.extractions.failed(owed, "no", told(record, "extraction.failed"), tomorrow)
        assert await store.extractions.next_due() is None
        await store.extractions.postpone(owed, NOON)
        assert await store.extractions.next_due() is None

    stored(scenario)


def test_an_erased_call_is_not_read(stored: RunWithStore) -> None:
    record = ended_call()

    async def scenario(store: Store) -> None:
        await store.save_call(record, [last_word(record)])
        (owed,) = await claimed(store)
        await store.delete_call("default", record.call_id, NOON)
        assert not await store.extractions.done(owed, {"order": "A7"}, told(record), LATER)
        assert await store.events("default", record.call_id) == []

    stored(scenario)


def test_whoever_erases_the_call_does_not_wait_for_who_has_read_it(stored: RunWithStore) -> None:
    record = ended_call()

    async def scenario(store: Store) -> None:
        await store.save_call(record, [last_word(record)])
        (owed,) = await claimed(store)
        database = store.extractions._database
        own = calls.c.call_id == record.call_id
        async with database.write() as erasing:
            await erasing.execute(select(calls.c.id).where(own).with_for_update())
            reading = asyncio.create_task(store.extractions.done(owed, {"order": "A7"}, told(record), LATER))
            if database.postgresql:
                await somebody_waits(store)
            await erasing.execute(delete(calls).where(own))
        assert not await reading

    stored(scenario)


def test_what_a_process_was_at_when_it_died_is_due_when_it_starts_again(stored: RunWithStore) -> None:
    ours, theirs = ended_call(), ended_call()

    async def scenario(store: Store) -> None:
        await store.save_call(ours, [last_word(ours)])
        await claimed(store)
        await store.save_call(theirs, [last_word(theirs)])
        await store.extractions.claim(NOON, LATER, 10, node="node_2")
        await store.extractions.give_back("node_1", NOON)
        (again,) = await claimed(store)
        assert (again.call_id, again.attempt) == (ours.call_id, 2)

    stored(scenario)

"""Events: one order for all readers, in which nothing appears behind somebody's back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from control.call_record import CallRecord, EventRecord
from control.stores.database import Database
from control.stores.events import Events, StoredEvent
from control.stores.store import Store
from tests.conftest import RunAsync
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import call, event

pytestmark = pytest.mark.sockets


def test_a_timeline_is_the_calls_own_in_order(stored: RunWithStore) -> None:
    one, other = call(), call()
    first, second = event(one, 1, data={"a": 1}), event(one, None, at=1.5)

    async def scenario(store: Store) -> None:
        await store.save_call(one, [first])
        await store.save_call(other, [event(other)])
        await store.save_call(one, [second])
        assert [each.event for each in await store.events("default", one.call_id)] == [first, second]
        assert await store.events("default", "call_none") == []

    stored(scenario)


def test_a_stream_resumes_after_the_position_it_was_read_to(stored: RunWithStore) -> None:
    record = call()
    happened = [event(record, number) for number in range(1, 8)]

    async def scenario(store: Store) -> None:
        await store.save_call(record, happened)
        seen = await store.events("default", limit=3)
        seen += await store.events("default", after=seen[-1].position)
        assert [each.event for each in seen] == happened
        assert await store.events("default", after=seen[-1].position) == []
        assert await store.last_position("default") == seen[-1].position
        assert await store.last_position("other") == 0

    stored(scenario)


def test_what_was_said_in_a_call_is_had_in_order_and_by_itself(stored: RunWithStore) -> None:
    record, other = call(), call()
    spoken = [event(record, number, name="transcript.updated") for number in (1, 3)]

    async def scenario(store: Store) -> None:
        await store.save_call(record, [spoken[0], event(record, 2), spoken[1]])
        await store.save_call(other, [event(other, 1, name="transcript.updated")])
        assert await store.happened(record.call_id, {"transcript.updated"}) == spoken
        assert await store.happened("call_none", {"transcript.updated"}) == []

    stored(scenario)


def test_a_stream_of_published_events_has_no_others(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        await store.save_call(record, [event(record, 1), event(record, None), event(record, 2)])
        published = await store.events("default", published_only=True)
        assert [each.event.sequence for each in published] == [1, 2]
        assert await store.last_sequence(record.call_id) == 2
        assert await store.last_sequence("call_none") == 0

    stored(scenario)


def test_an_event_committed_late_is_not_passed_over(database_url: str, real: RunAsync) -> None:
    slow, quick = call(), call()

    async def scenario() -> None:
        database = Database(database_url)
        store = await Store.open(database_url)
        await store.save_call(slow)
        await store.save_call(quick)
        async with database.write() as connection:
            # It has its position; a quicker transaction gets the next one and, where it may, commits first.
            (uncommitted,) = await Events(database).append(connection, [event(slow)])
            saving = asyncio.create_task(store.save_call(quick, [event(quick)]))
            if database.postgresql:
                await saving
            seen = await store.events("default")
            assert seen == []
            assert await store.last_position("default") == 0
        await saving
        seen = await store.events("default")
        assert [each.event.call_id for each in seen] == [slow.call_id, quick.call_id]
        assert seen[0] == uncommitted
        await store.close()
        await database.close()

    real(scenario())


async def append_and_fail(database: Database, appended: EventRecord) -> None:
    async with database.write() as connection:
        await Events(database).append(connection, [appended])
        raise ZeroDivisionError


def test_a_transaction_that_failed_holds_nobody_up(database_url: str, real: RunAsync) -> None:
    record = call()

    async def scenario() -> list[StoredEvent]:
        database = Database(database_url)
        store = await Store.open(database_url)
        await store.save_call(record)
        with pytest.raises(ZeroDivisionError):
            await append_and_fail(database, event(record))
        await store.save_call(record, [event(record, 2)])
        seen = await store.events("default")
        await store.close()
        await database.close()
        return seen

    assert [each.event.sequence for each in real(scenario())] == [2]


def test_a_follower_beside_many_writers_sees_every_event_once_and_in_order(
    database_url: str, real: RunAsync
) -> None:
    writers, saves = 8, 12

    async def write(store: Store, record: CallRecord) -> list[EventRecord]:
        happened = [event(record, number) for number in range(1, saves + 1)]
        for each in happened:
            await store.save_call(record, [each])
        return happened

    async def follow(store: Store, count: int) -> AsyncIterator[StoredEvent]:
        after = 0
        while count:
            for each in await store.events("default", after=after, limit=7):
                assert each.position > after
                after, count = each.position, count - 1
                yield each

    async def scenario() -> None:
        # Two processes, for all the database can know.
        stores = [await Store.open(database_url) for _ in range(2)]
        calls = [call() for _ in range(writers)]
        async with asyncio.TaskGroup() as group:
            for number, record in enumerate(calls):
                group.create_task(write(stores[number % 2], record))
            seen = [each.event async for each in follow(stores[0], writers * saves)]
        for record in calls:
            assert [each.sequence for each in seen if each.call_id == record.call_id] == list(
                range(1, saves + 1)
            )
        assert [each.event for each in await stores[1].events("default", limit=1000)] == seen
        for store in stores:
            await store.close()

    real(scenario())

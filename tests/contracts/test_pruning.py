"""What is old goes, in small steps; what is owed, lives, or tells of an end stays."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from control.call_record import CallRecord
from control.stores.deliveries import Dead, Delivered, RetryAt, Settlement
from control.stores.pruning import Pruned
from control.stores.store import Store
from control.stores.tables import deliveries, delivery_attempts, events
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call, event
from tests.contracts.test_deliveries import attempt, claim
from tests.contracts.test_webhooks import webhook

pytestmark = pytest.mark.sockets

DAY = timedelta(days=1)
LATER = NOON + DAY


async def count(store: Store) -> tuple[int, int, int]:
    """Events, deliveries and attempts that there are."""
    async with store._database.read() as connection:
        found = [
            await connection.scalar(select(func.count()).select_from(table))
            for table in (events, deliveries, delivery_attempts)
        ]
    return found[0] or 0, found[1] or 0, found[2] or 0


async def prune(store: Store, before: datetime, step: int = 200) -> tuple[int, int]:
    """Sweep once; return how many events and deliveries went."""
    went, after = (0, 0), 0
    while True:
        pruned = await store.pruning.prune(before, after=after, step=step)
        went = (went[0] + pruned.events, went[1] + pruned.deliveries)
        if pruned.last is None:
            return went
        assert pruned.last > after
        after = pruned.last


async def a_call(store: Store, record: CallRecord | None = None, began: datetime = NOON) -> CallRecord:
    """A call that is over, with an event for its timeline, one that was published, and its end."""
    record = record or ended_call(started_at=began)
    names = ["call.ringing", "call.ended"] if not record.live else ["call.ringing"]
    told = [event(record, place, name=name) for place, name in enumerate(names, 1)]
    await store.save_call(record, [event(record, None), *told])
    return record


async def deliver(store: Store, settlement: Settlement, now: datetime = NOON) -> None:
    """Try all that is due, until nothing is."""
    while due := await claim(store, now):
        for each in due:
            good = isinstance(settlement, Delivered)
            await store.deliveries.settle(each, attempt(now, 200 if good else 500), settlement)


@pytest.mark.parametrize("settlement", [Delivered(), Dead()], ids=["delivered", "given-up"])
def test_what_is_over_goes_with_its_log_but_not_the_end_of_its_call(
    stored: RunWithStore, settlement: Settlement
) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        record = await a_call(store)
        await deliver(store, settlement)
        assert await count(store) == (3, 2, 2)
        assert await prune(store, NOON) == (0, 0)
        assert await prune(store, LATER) == (2, 2)
        assert await count(store) == (1, 0, 0)
        (left,) = await store.events("default", record.call_id)
        assert left.event.name == "call.ended"
        assert await store.call("default", record.call_id) == record
        assert await prune(store, LATER) == (0, 0)

    stored(scenario)


def test_what_is_owed_stays_with_all_that_was_tried(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await a_call(store)
        for due in await claim(store):
            await store.deliveries.settle(due, attempt(NOON, 500), RetryAt(NOON + 9 * DAY))
        assert await prune(store, LATER) == (1, 0)  # what was never to be delivered
        assert await count(store) == (2, 2, 1)
        await deliver(store, Delivered(), NOON + 9 * DAY)
        assert await count(store) == (2, 2, 3)
        assert await prune(store, LATER) == (0, 0)  # not over for long
        assert await prune(store, NOON + 10 * DAY) == (1, 2)

    stored(scenario)


def test_what_was_asked_for_again_is_owed(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        record = await a_call(store)
        await deliver(store, Dead())
        first, _ = await store.delivery_log.of_call("default", record.call_id)
        assert await store.deliveries.retry("default", first.delivery_id, LATER)
        assert await prune(store, LATER) == (1, 1)
        (due,) = await claim(store, LATER)
        assert due.event.name == "call.ringing"

    stored(scenario)


def test_a_call_that_has_not_ended_keeps_its_events(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await a_call(store, call())
        assert await prune(store, LATER) == (0, 0)
        assert await store.last_sequence(record.call_id) == 1

    stored(scenario)


def test_what_is_of_no_call_goes_as_well(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await store.deliveries.test("default", "wh_1", event(call(call_id=""), 1, name="webhook.test"))
        assert await prune(store, LATER) == (0, 0)
        await deliver(store, Delivered())
        assert await prune(store, LATER) == (1, 1)
        assert await count(store) == (0, 0, 0)

    stored(scenario)


def test_a_sweep_goes_in_steps_to_where_nothing_is_old(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for _ in range(5):
            await a_call(store)
        for _ in range(5):
            await a_call(store, began=LATER)
        first = await store.pruning.prune(LATER, step=4)
        assert (first.events, first.last is not None) == (3, True)
        assert await prune(store, LATER, step=4) == (7, 0)
        assert (await count(store))[0] == 5 + 15
        assert await store.pruning.prune(LATER, after=10**6) == Pruned(0, 0, None)

    stored(scenario)


def test_the_end_of_a_call_that_lost_its_events_is_not_told_again(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        record = await a_call(store)
        await prune(store, LATER)
        await store.webhooks.add(webhook())
        await store.save_call(record, [event(record, 3, name="call.ended")])
        assert await claim(store, LATER) == []
        assert await store.last_sequence(record.call_id) == 2

    stored(scenario)


def test_sweeps_at_once_let_go_of_everything_once(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        for _ in range(20):
            await a_call(store)
        await deliver(store, Delivered())
        sweeps = await asyncio.gather(*[prune(store, LATER, step=7) for _ in range(3)])
        assert (sum(went[0] for went in sweeps), sum(went[1] for went in sweeps)) <= (40, 40)
        await prune(store, LATER)
        assert await count(store) == (20, 0, 0)

    stored(scenario)

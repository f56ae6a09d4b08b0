"""Endpoints that are deleted or disabled in the moment in which something is owed to them."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from control.stores import deliveries, webhooks
from control.stores.deliveries import Delivered, RetryAt
from control.stores.events import forget_secrets
from control.stores.store import Store
from control.stores.tables import events
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call, event
from tests.contracts.test_deliveries import attempt, claim, happen, sequences
from tests.contracts.test_webhooks import webhook

pytestmark = pytest.mark.sockets

LATER = NOON + timedelta(hours=1)


class Gate:
    """Holds one transaction, in the last that it does, until the other one has had time to come in its way."""

    def __init__(self, room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._entered, self._open = asyncio.Event(), asyncio.Event()
        self._room, self._patches = room, monkeypatch
        monkeypatch.setattr(room, "forget_secrets", self._held)

    async def _held(self, connection: AsyncConnection, positions: Collection[int]) -> None:
        self._entered.set()
        await self._open.wait()
        await forget_secrets(connection, positions)

    async def between(self, first: Any, second: Any) -> list[Any]:
        """Do the second while the first is held; return what came of both."""
        one = asyncio.ensure_future(first)
        await self._entered.wait()
        self._patches.setattr(self._room, "forget_secrets", forget_secrets)
        other = asyncio.ensure_future(second)
        await asyncio.wait([other], timeout=0.5)
        self._open.set()
        return list(await asyncio.gather(one, other, return_exceptions=True))


def test_what_happens_while_an_endpoint_is_deleted_is_kept(
    stored: RunWithStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        record = call()
        await store.save_call(record, [event(record, 1)])
        over = ended_call(call_id=record.call_id, revision=5)
        gate = Gate(webhooks, monkeypatch)
        done = await gate.between(
            store.webhooks.delete("default", "wh_1"),
            store.save_call(over, [event(over, 2, name="call.ended")]),
        )
        assert done == [True, True]
        assert await store.call("default", record.call_id) == over
        assert await store.deliveries.pending() == 0

    stored(scenario)


def test_what_was_owed_while_an_endpoint_was_disabled_holds_up_nothing_afterwards(
    stored: RunWithStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        record = call()
        await happen(store, record, 1)
        gate = Gate(deliveries, monkeypatch)
        await gate.between(happen(store, record, 2), store.webhooks.disable("default", "wh_1", "gone", LATER))
        await store.webhooks.enable("default", "wh_1", LATER)
        await happen(store, record, 3)
        (due,) = await claim(store, LATER)
        assert sequences([due]) == [3]
        await store.deliveries.settle(due, attempt(LATER), Delivered())
        assert await store.deliveries.pending() == 0

    stored(scenario)


def test_no_secret_outlives_the_endpoint_that_it_was_for(
    stored: RunWithStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        record = call()
        gate = Gate(deliveries, monkeypatch)
        await gate.between(
            store.save_call(record, [event(record, 1, secret={"digits": "4711"})]),
            store.webhooks.delete("default", "wh_1"),
        )
        kept = select(func.count()).select_from(events).where(events.c.secret.is_not(None))
        async with store._database.read() as connection:
            assert await connection.scalar(kept) == 0

    stored(scenario)


def test_an_attempt_that_ends_while_its_endpoint_is_deleted_is_in_nobodys_way(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for turn in range(10):
            await store.webhooks.add(webhook())
            await happen(store, call(), 1)
            (due,) = await claim(store)
            settling = store.deliveries.settle(due, attempt(status_code=500), RetryAt(LATER))
            _, deleted = await asyncio.gather(settling, store.webhooks.delete("default", "wh_1"))
            assert deleted, turn
        assert await store.deliveries.pending() == 0

    stored(scenario)


def test_an_endpoint_that_has_taken_something_since_is_not_disabled(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, call(), 1)
        (due,) = await claim(store)
        await store.deliveries.settle(due, attempt(NOON, 500), RetryAt(NOON))
        assert not await store.webhooks.disable("default", "wh_1", "x", LATER, failing_since=LATER)
        (due,) = await claim(store)
        await store.deliveries.settle(due, attempt(LATER, 200), Delivered())
        assert not await store.webhooks.disable("default", "wh_1", "x", LATER, failing_since=NOON)
        found = await store.webhooks.get("default", "wh_1")
        assert found is not None
        assert found.disabled_at is None

    stored(scenario)

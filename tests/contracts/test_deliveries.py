"""What is owed to endpoints: kept with what happened, handed out in order, never lost and never handed out twice."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from control.call_record import CallRecord
from control.stores.deliveries import Attempt, Dead, Delivered, DeliveryState, Due, RetryAt, Settlement
from control.stores.store import Store
from control.stores.tables import events
from tests.conftest import RunAsync
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call, event
from tests.contracts.test_webhooks import webhook

pytestmark = pytest.mark.sockets

LEASE = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


def attempt(at: datetime = NOON, status_code: int | None = 200, **changes: Any) -> Attempt:
    facts: dict[str, Any] = {
        "url": "https://example.com/hook",
        "status_code": status_code,
        "success": status_code == 200,
        "duration_ms": 12,
        "at": at,
    }
    return Attempt(**facts | changes)


async def claim(store: Store, now: datetime = NOON, **options: Any) -> list[Due]:
    return await store.deliveries.claim(now, LEASE, **options)


async def happen(store: Store, record: CallRecord, *sequences: int | None) -> None:
    await store.save_call(record, [event(record, sequence) for sequence in sequences])


def sequences(claimed: list[Due]) -> list[int | None]:
    return [due.event.sequence for due in claimed]


# What is owed


def test_published_events_are_owed_to_the_endpoints_that_want_them(stored: RunWithStore) -> None:
    record = call(agent_id="agent_1")

    async def scenario(store: Store) -> None:
        for endpoint in (
            webhook("wh_all"),
            webhook("wh_other", agent_id="agent_2"),
            webhook("wh_x", tenant_id="x"),
        ):
            await store.webhooks.add(endpoint)
        ringing = event(record, 1, data={"a": 1})
        await store.save_call(record, [ringing, event(record, None)])
        (due,) = await claim(store)
        assert (due.event, due.webhook, due.url) == (ringing, webhook("wh_all"), "https://example.com/hook")
        assert (due.attempt, due.owed_since) == (1, ringing.occurred_at)

    stored(scenario)


def test_a_calls_own_url_is_told_too(stored: RunWithStore) -> None:
    record = call(webhook_url="https://example.com/of-this-call")

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, record, 1)
        claimed = await claim(store)
        assert {(due.url, due.webhook and due.webhook.webhook_id) for due in claimed} == {
            ("https://example.com/of-this-call", None),
            ("https://example.com/hook", "wh_1"),
        }

    stored(scenario)


def test_a_replayed_save_owes_nothing_twice(stored: RunWithStore) -> None:
    record = call()
    ringing = event(record)

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        for _ in range(3):
            await store.save_call(record, [ringing])
        assert await store.deliveries.pending() == 1

    stored(scenario)


# In order


def test_a_later_event_waits_until_the_earlier_one_is_delivered(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, record, 1, 2)
        (first,) = await claim(store)
        await happen(store, record, 3)
        assert await claim(store) == []
        await store.deliveries.settle(first, attempt(), Delivered())
        (second,) = await claim(store)
        await store.deliveries.settle(second, attempt(status_code=500), Dead())
        assert sequences([first, second, *await claim(store)]) == [1, 2, 3]

    stored(scenario)


def test_a_failed_delivery_holds_its_call_up_until_its_next_attempt(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, record, 1, 2)
        (first,) = await claim(store)
        await store.deliveries.settle(first, attempt(status_code=503), RetryAt(NOON + 5 * SECOND))
        assert await store.deliveries.next_due() == NOON + 5 * SECOND
        assert await claim(store, NOON + 4 * SECOND) == []
        (again,) = await claim(store, NOON + 5 * SECOND)
        assert (again.event, again.attempt) == (first.event, 2)

    stored(scenario)


def test_calls_and_endpoints_do_not_wait_for_one_another(stored: RunWithStore) -> None:
    one, other = call(), call()

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook("wh_1"))
        await store.webhooks.add(webhook("wh_2"))
        for record in (one, other):
            await happen(store, record, 1, 2)
        claimed = await claim(store)
        assert {(due.event.call_id, due.webhook and due.webhook.webhook_id) for due in claimed} == {
            (record.call_id, endpoint) for record in (one, other) for endpoint in ("wh_1", "wh_2")
        }
        assert set(sequences(claimed)) == {1}

    stored(scenario)


# Claims


def test_what_is_claimed_is_given_to_nobody_else_until_the_lease_ends(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, call(), 1)
        (first,) = await claim(store)
        assert await claim(store, NOON + LEASE - SECOND) == []
        (second,) = await claim(store, NOON + LEASE)
        assert second.delivery_id == first.delivery_id
        # The first claimer comes back after all: what it failed at is no longer its business, a success is.
        await store.deliveries.settle(first, attempt(status_code=500), Dead())
        kept = await store.deliveries.get("default", first.delivery_id)
        assert kept is not None
        assert kept.state is DeliveryState.PENDING
        await store.deliveries.settle(first, attempt(), Delivered())
        assert await store.deliveries.pending() == 0

    stored(scenario)


def test_a_released_claim_is_due_at_once(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, call(), 1)
        (due,) = await claim(store)
        await store.deliveries.release(due, NOON + SECOND)
        (again,) = await claim(store, NOON + SECOND)
        assert again.attempt == 1

    stored(scenario)


def test_claims_are_given_back_by_the_beginning_of_their_names(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        for number, holder in enumerate(("node_a", "node_ab", "node_a"), 1):
            await happen(store, call(call_id=f"call_{number}"), 1)
            (due,) = await store.deliveries.claim(NOON, LEASE, 1, (), f"{holder}.{number}")
            if number == 3:
                await store.deliveries.settle(due, attempt(), Delivered())
        assert await store.deliveries.give_back("node_a.", NOON + SECOND) == 1
        assert [due.event.call_id for due in await claim(store, NOON + SECOND)] == ["call_1"]

    stored(scenario)


def test_a_busy_endpoint_gets_nothing_and_holds_up_no_other(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook("wh_busy"))
        await store.webhooks.add(webhook("wh_free"))
        await happen(store, call(webhook_url="https://example.com/own"), 1)
        claimed = await claim(store, busy={"wh_busy"})
        assert {due.webhook.webhook_id if due.webhook else None for due in claimed} == {"wh_free", None}
        (last,) = await claim(store)
        assert last.webhook == webhook("wh_busy")

    stored(scenario)


def test_a_busy_url_of_calls_gets_nothing_and_holds_up_no_other(stored: RunWithStore) -> None:
    slow = "https://example.com/slow"

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, call(webhook_url=slow), 1)
        await happen(store, call(call_id="call_2", webhook_url="https://example.com/fast"), 1)
        claimed = await claim(store, busy={slow})
        assert sorted(due.url for due in claimed) == [
            "https://example.com/fast",
            "https://example.com/hook",
            "https://example.com/hook",
        ]
        (last,) = await claim(store)
        assert last.url == slow

    stored(scenario)


def test_claimers_beside_writers_deliver_every_event_once_and_in_order(
    database_url: str, real: RunAsync
) -> None:
    calls, saves = 6, 6
    told: dict[str, list[int | None]] = {}

    async def write(store: Store, record: CallRecord) -> None:
        for sequence in range(1, saves + 1):
            await happen(store, record, sequence)

    async def work(store: Store) -> None:
        while sum(map(len, told.values())) < calls * saves:
            for due in await store.deliveries.claim(NOON, LEASE, limit=3):
                told.setdefault(due.event.call_id, []).append(due.event.sequence)
                await store.deliveries.settle(due, attempt(), Delivered())

    async def scenario() -> None:
        stores = [await Store.open(database_url) for _ in range(2)]
        await stores[0].webhooks.add(webhook())
        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                group.create_task(write(stores[number % 2], call()))
            for store in [*stores, *stores]:
                group.create_task(work(store))
        assert list(told.values()) == [list(range(1, saves + 1))] * calls
        assert await stores[0].deliveries.pending() == 0
        for store in stores:
            await store.close()

    real(scenario())


# Endpoints that fail


@pytest.mark.parametrize("settlement", [RetryAt(NOON + SECOND), Dead()])
def test_an_endpoint_fails_from_its_first_failure_to_its_next_success(
    stored: RunWithStore, settlement: Settlement
) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        for _ in range(3):
            await happen(store, call(), 1)
        first, second, third = await claim(store)
        await store.deliveries.settle(first, attempt(NOON, 500), settlement)
        await store.deliveries.settle(second, attempt(NOON + SECOND, None, error="timeout"), settlement)
        failing = await store.webhooks.get("default", "wh_1")
        assert failing is not None
        assert failing.failing_since == NOON
        await store.deliveries.settle(third, attempt(NOON + 2 * SECOND), Delivered())
        assert await store.webhooks.get("default", "wh_1") == webhook()

    stored(scenario)


def test_a_disabled_endpoint_is_owed_nothing(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, record, 1, 2)
        await store.webhooks.disable("default", "wh_1", "410", NOON)
        assert await store.deliveries.pending() == 0
        await happen(store, record, 3)
        assert await store.deliveries.pending() == 0
        await store.webhooks.enable("default", "wh_1", NOON)
        await happen(store, record, 4)
        assert sequences(await claim(store)) == [4]

    stored(scenario)


def test_what_is_owed_to_a_deleted_endpoint_or_for_an_erased_call_goes_with_it(stored: RunWithStore) -> None:
    ended = ended_call()

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook("wh_1"))
        await store.webhooks.add(webhook("wh_2"))
        await happen(store, ended, 1)
        claimed = await claim(store)
        await store.webhooks.delete("default", "wh_1")
        assert await store.deliveries.pending() == 1
        await store.delete_call("default", ended.call_id, NOON)
        assert await store.deliveries.pending() == 0
        for due in claimed:
            await store.deliveries.settle(due, attempt(), Delivered())
        assert await store.delivery_log.of_call("default", ended.call_id) == []

    stored(scenario)


# What stands in webhooks alone


async def secrets_kept(store: Store) -> int:
    """How many events have something that only their webhooks say."""
    async with store.deliveries._database.read() as connection:
        query = select(func.count()).select_from(events).where(events.c.secret.is_not(None))
        return (await connection.scalar(query)) or 0


@pytest.mark.parametrize("gone", ["disabled", "deleted"])
def test_what_only_webhooks_say_is_forgotten_when_nobody_is_owed_one_any_more(
    stored: RunWithStore, gone: str
) -> None:
    record = call()

    async def goes(store: Store, webhook_id: str) -> None:
        if gone == "disabled":
            assert await store.webhooks.disable("default", webhook_id, "gone", NOON)
        else:
            assert await store.webhooks.delete("default", webhook_id)

    async def scenario(store: Store) -> None:
        for webhook_id in ("wh_1", "wh_2", "wh_3"):
            await store.webhooks.add(webhook(webhook_id))
        await store.save_call(record, [event(record, 1, secret={"input": "4711"}), event(record, 2)])
        assert not await store.webhooks.delete("other", "wh_1")
        for due in await claim(store):
            if due.webhook is not None and due.webhook.webhook_id == "wh_1":
                assert due.event.secret == {"input": "4711"}
                await store.deliveries.settle(due, attempt(), Delivered())
        await goes(store, "wh_2")
        assert await secrets_kept(store) == 1, "the last endpoint is still owed it"
        await goes(store, "wh_3")
        assert await secrets_kept(store) == 0

    stored(scenario)


def test_of_two_endpoints_that_go_at_once_the_last_one_takes_it_along(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        for number in range(4):
            await store.webhooks.add(webhook(f"wh_{number}"))
        await store.save_call(record, [event(record, 1, secret={"input": "4711"})])
        going = [store.webhooks.disable("default", f"wh_{number}", "gone", NOON) for number in range(4)]
        assert await asyncio.gather(*going) == [True] * 4
        assert await secrets_kept(store) == 0

    stored(scenario)


# What people see and do


@pytest.mark.parametrize("settlement", [Delivered(), Dead()])
def test_one_delivery_can_be_made_due_again_by_hand(stored: RunWithStore, settlement: Settlement) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, call(), 1)
        (due,) = await claim(store)
        await store.deliveries.settle(due, attempt(), settlement)
        assert not await store.deliveries.retry("other", due.delivery_id, NOON)
        assert await store.deliveries.retry("default", due.delivery_id, NOON + SECOND)
        (again,) = await claim(store, NOON + SECOND)
        assert (again.delivery_id, again.attempt) == (due.delivery_id, 2)
        await store.webhooks.disable("default", "wh_1", "410", NOON)
        assert not await store.deliveries.retry("default", due.delivery_id, NOON)

    stored(scenario)


def test_a_test_delivery_goes_to_one_endpoint_at_once(stored: RunWithStore) -> None:
    hello = event(call(call_id=""), 1, name="webhook.test", data={"hello": "there"})

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook("wh_1"))
        await store.webhooks.add(webhook("wh_2"))
        delivery_id = await store.deliveries.test("default", "wh_2", hello)
        (due,) = await claim(store)
        assert (due.delivery_id, due.event, due.webhook) == (delivery_id, hello, webhook("wh_2"))
        assert await store.deliveries.test("other", "wh_2", hello) is None

    stored(scenario)

"""What came of every attempt, as its readers are shown it."""

from datetime import timedelta

import pytest

from control.call_record import CallRecord
from control.stores.deliveries import Dead, Delivered, DeliveryState, RetryAt
from control.stores.delivery_log import LogFilters, LoggedAttempt
from control.stores.errors import InvalidCursor, InvalidSort
from control.stores.keyset import Page
from control.stores.store import Store
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, event
from tests.contracts.test_deliveries import attempt, claim, happen
from tests.contracts.test_webhooks import webhook

pytestmark = pytest.mark.sockets

SECOND = timedelta(seconds=1)
ALL = LogFilters()


async def tried(store: Store, record: CallRecord, *statuses: int | None) -> None:
    """One event of the call after the other, each tried once."""
    for place, status in enumerate(statuses, 1):
        at = NOON + place * SECOND
        await happen(store, record, place)
        for due in await claim(store, at):
            delivered = status == 200
            await store.deliveries.settle(due, attempt(at, status), Delivered() if delivered else Dead())


def seen(entries: tuple[LoggedAttempt, ...]) -> list[tuple[str | None, int | None]]:
    return [(each.call_id, each.status_code) for each in entries]


def test_every_attempt_is_logged_in_order(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await happen(store, record, 1)
        (first,) = await claim(store)
        failed = attempt(NOON, None, error="timeout")
        await store.deliveries.settle(first, failed, RetryAt(NOON + 5 * SECOND))
        (second,) = await claim(store, NOON + 5 * SECOND)
        await store.deliveries.settle(second, attempt(NOON + 6 * SECOND), Delivered())
        log = await store.delivery_log.of_call("default", record.call_id)
        assert [(each.attempt, each.status_code, each.success, each.error) for each in log] == [
            (1, None, False, "timeout"),
            (2, 200, True, None),
        ]
        assert {(each.delivery_id, each.webhook_id, each.event, each.event_id) for each in log} == {
            (first.delivery_id, "wh_1", "call.ringing", first.event.event_id)
        }
        assert await store.delivery_log.of_call("default", record.call_id, limit=1) == log[:1]
        assert await store.delivery_log.of_delivery("default", first.delivery_id) == log
        page = await store.delivery_log.of_webhook("default", "wh_1", ALL, Page())
        assert (list(page.entries), page.next_cursor) == (log[::-1], None)

    stored(scenario)


def test_an_endpoints_log_is_read_page_by_page(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await tried(store, call(call_id="call_1"), 500, 501, 502, 503)
        first = await store.delivery_log.of_webhook("default", "wh_1", ALL, Page(limit=3))
        assert [each.status_code for each in first.entries] == [503, 502, 501]
        await tried(store, call(call_id="call_2"), 504)  # stable while more come
        last = await store.delivery_log.of_webhook(
            "default", "wh_1", ALL, Page(limit=3, after=first.next_cursor)
        )
        assert [each.status_code for each in last.entries] == [500]
        assert last.next_cursor is None
        oldest = await store.delivery_log.of_webhook(
            "default", "wh_1", ALL, Page(limit=1, sort=("created_at",))
        )
        assert [each.status_code for each in oldest.entries] == [500]

    stored(scenario)


def test_a_log_is_filtered(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await tried(store, call(call_id="call_1"), 200, 500)
        await tried(store, call(call_id="call_2"), 200)

        async def found(filters: LogFilters) -> list[tuple[str | None, int | None]]:
            return seen((await store.delivery_log.of_webhook("default", "wh_1", filters, Page())).entries)

        assert await found(LogFilters(success=False)) == [("call_1", 500)]
        assert await found(LogFilters(call_id="call_2")) == [("call_2", 200)]
        assert await found(LogFilters(event="call.ringing", success=True, call_id="call_1")) == [
            ("call_1", 200)
        ]
        assert await found(LogFilters(event="call.ended")) == []

    stored(scenario)


def test_a_call_without_an_endpoint_of_its_own_is_logged_by_its_url(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await tried(store, call(call_id="call_1", webhook_url="https://example.com/of-the-call"), 200)
        (logged,) = await store.delivery_log.of_call("default", "call_1")
        assert (logged.webhook_id, logged.success) == (None, True)

    stored(scenario)


def test_another_tenants_log_is_not_there(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        await tried(store, call(call_id="call_1"), 200)
        (logged,) = await store.delivery_log.of_call("default", "call_1")
        assert await store.delivery_log.of_call("other", "call_1") == []
        assert await store.delivery_log.of_delivery("other", logged.delivery_id) == []
        assert (await store.delivery_log.of_webhook("other", "wh_1", ALL, Page())).entries == ()
        assert await store.deliveries.get("other", logged.delivery_id) is None

    stored(scenario)


def test_a_delivery_says_what_has_become_of_it(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        record = call()
        await store.save_call(record, [event(record, 1)])
        (due,) = await claim(store)
        owed = await store.deliveries.get("default", due.delivery_id)
        assert owed is not None
        assert (owed.state, owed.attempts, owed.event, owed.event_id) == (
            DeliveryState.PENDING,
            0,
            "call.ringing",
            due.event.event_id,
        )
        await store.deliveries.settle(due, attempt(NOON + SECOND), Delivered())
        over = await store.deliveries.get("default", due.delivery_id)
        assert over is not None
        assert (over.state, over.attempts, over.finished_at, over.next_attempt_at) == (
            DeliveryState.DELIVERED,
            1,
            NOON + SECOND,
            None,
        )

    stored(scenario)


def test_what_is_no_cursor_or_no_field_of_the_log_is_refused(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        with pytest.raises(InvalidCursor):
            await store.delivery_log.of_webhook("default", "wh_1", ALL, Page(after="x"))
        with pytest.raises(InvalidSort):
            await store.delivery_log.of_webhook("default", "wh_1", ALL, Page(sort=("url",)))

    stored(scenario)

"""Endpoints: kept, changed, disabled, each its tenant's own."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from control.call_record import EventRecord
from control.stores.errors import InvalidSort
from control.stores.keyset import Page
from control.stores.store import Store
from control.stores.webhooks import MOST, Payload, Webhook
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, event

pytestmark = pytest.mark.sockets

LATER = NOON + timedelta(hours=1)


def webhook(webhook_id: str = "wh_1", **changes: Any) -> Webhook:
    endpoint = Webhook(
        webhook_id=webhook_id,
        tenant_id="default",
        url="https://example.com/hook",
        secret=b"opaque",
        created_at=NOON,
        updated_at=NOON,
    )
    return replace(endpoint, **changes)


def test_an_endpoint_comes_back_as_it_was_added(stored: RunWithStore) -> None:
    made = webhook(
        events=("call.ended", "barge_in"), agent_id="agent_1", payload=Payload.FLAT, description="x"
    )

    async def scenario(store: Store) -> None:
        await store.webhooks.add(made)
        assert await store.webhooks.get("default", "wh_1") == made
        assert await store.webhooks.of_tenant("default") == [made]
        assert b"opaque" not in repr(made).encode()

    stored(scenario)


def test_some_fields_can_be_changed_others_not(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        changes: dict[str, Any] = {"url": "https://example.com/other", "events": ("call.ended",)}
        changed = await store.webhooks.change("default", "wh_1", changes, LATER)
        assert changed == webhook(**changes, updated_at=LATER)
        with pytest.raises(ValueError, match="tenant_id"):
            await store.webhooks.change("default", "wh_1", {"tenant_id": "other"}, LATER)

    stored(scenario)


def test_a_secret_is_replaced_and_the_one_before_may_stay_a_while(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook(secret=b"first"))
        until = LATER + timedelta(hours=24)
        replaced = await store.webhooks.replace_secret("default", "wh_1", b"second", LATER, until)
        assert replaced == webhook(
            secret=b"second", previous_secret=b"first", previous_until=until, updated_at=LATER
        )
        at_once = await store.webhooks.replace_secret("default", "wh_1", b"third", LATER, None)
        assert at_once == webhook(secret=b"third", updated_at=LATER)
        assert b"third" not in repr(at_once).encode()
        assert b"first" not in repr(replaced).encode()
        assert await store.webhooks.replace_secret("other", "wh_1", b"x", LATER, None) is None

    stored(scenario)


def test_endpoints_are_listed_page_by_page(stored: RunWithStore) -> None:
    made = [
        webhook(f"wh_{number}", url=f"https://{name}.example", created_at=NOON + timedelta(seconds=number))
        for number, name in enumerate("cab")
    ]

    async def scenario(store: Store) -> None:
        for each in [*made, webhook("wh_theirs", tenant_id="theirs")]:
            assert await store.webhooks.add(each)
        first = await store.webhooks.page("default", Page(limit=2))
        assert list(first.entries) == [made[2], made[1]]
        last = await store.webhooks.page("default", Page(limit=2, after=first.next_cursor))
        assert (list(last.entries), last.next_cursor) == ([made[0]], None)
        by_url = await store.webhooks.page("default", Page(sort=("url",)))
        assert list(by_url.entries) == [made[1], made[2], made[0]]
        with pytest.raises(InvalidSort):
            await store.webhooks.page("default", Page(sort=("secret",)))

    stored(scenario)


def test_a_tenant_has_so_many_endpoints_at_most(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for number in range(MOST - 1):
            assert await store.webhooks.add(webhook(f"wh_{number}"))
        # Of those that come at once, one is the last.
        adding = [store.webhooks.add(webhook(f"wh_more_{number}")) for number in range(5)]
        assert sorted(await asyncio.gather(*adding)) == [False] * 4 + [True]
        assert await store.webhooks.add(webhook("wh_theirs", tenant_id="theirs"))

    stored(scenario)


def test_a_disabled_endpoint_says_why_and_can_be_enabled(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        assert await store.webhooks.disable("default", "wh_1", "gone", LATER)
        assert not await store.webhooks.disable("default", "wh_1", "again", LATER)
        disabled = await store.webhooks.get("default", "wh_1")
        assert disabled == webhook(disabled_at=LATER, disabled_reason="gone", updated_at=LATER)
        assert await store.webhooks.enable("default", "wh_1", LATER) == webhook(updated_at=LATER)

    stored(scenario)


def test_disabling_is_said_once_in_the_tenants_stream(stored: RunWithStore) -> None:
    def said(event_id: str) -> EventRecord:
        return replace(
            event(call(), None),
            event_id=event_id,
            call_id="",
            name="webhook.disabled",
            data={"webhook_id": "wh_1"},
        )

    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        for event_id in ("evt_a", "evt_b"):
            await store.webhooks.disable("default", "wh_1", "gone", LATER, said(event_id))
        assert [each.event for each in await store.events("default")] == [said("evt_a")]
        assert await store.events("another") == []

    stored(scenario)


def test_a_deleted_endpoint_is_gone(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook())
        assert await store.webhooks.delete("default", "wh_1")
        assert not await store.webhooks.delete("default", "wh_1")
        assert await store.webhooks.of_tenant("default") == []

    stored(scenario)


def test_another_tenants_endpoint_is_not_there(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.webhooks.add(webhook(tenant_id="theirs"))
        assert await store.webhooks.get("ours", "wh_1") is None
        assert await store.webhooks.of_tenant("ours") == []
        assert await store.webhooks.change("ours", "wh_1", {"url": "x"}, LATER) is None
        assert not await store.webhooks.disable("ours", "wh_1", "x", LATER)
        assert await store.webhooks.enable("ours", "wh_1", LATER) is None
        assert not await store.webhooks.delete("ours", "wh_1")
        assert await store.webhooks.get("theirs", "wh_1") == webhook(tenant_id="theirs")

    stored(scenario)


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        (webhook(), True),
        (webhook(events=("call.ringing",)), True),
        (webhook(events=("call.ended",)), False),
        (webhook(events=()), False),
        (webhook(agent_id="agent_1"), True),
        (webhook(agent_id="agent_2"), False),
        (webhook(disabled_at=NOON), False),
    ],
)
def test_an_endpoint_wants_the_events_it_names_of_the_agent_it_names(endpoint: Webhook, wanted: bool) -> None:
    assert endpoint.wants(event(call(agent_id="agent_1"))) is wanted

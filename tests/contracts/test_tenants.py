"""Tenants: kept with a first key, changed, listed, and deleted where they have nothing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from control.stores.agents import Draft
from control.stores.errors import InvalidSort
from control.stores.keys import Scope
from control.stores.keyset import Page
from control.stores.store import Store
from control.stores.tenants import Removal, Tenant
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call, event
from tests.contracts.test_webhooks import webhook

pytestmark = pytest.mark.sockets


def tenant(tenant_id: str = "tenant_1", **changes: Any) -> Tenant:
    return replace(Tenant(tenant_id=tenant_id, name="Acme", created_at=NOON), **changes)


def test_a_tenant_comes_back_as_it_was_added_with_a_key_of_its_own(stored: RunWithStore) -> None:
    made = tenant(max_calls=3, requests_per_minute=60, webhook_secret=b"opaque")

    async def scenario(store: Store) -> None:
        new = await store.tenants.add(made, "first")
        assert await store.tenants.get("tenant_1") == made
        assert await store.keys.find(new.secret) == new.key
        assert (new.key.tenant_id, new.key.scope, new.key.name) == ("tenant_1", Scope.FULL, "first")
        assert b"opaque" not in repr(made).encode()
        assert await store.tenants.get("tenant_2") is None

    stored(scenario)


def test_a_tenant_that_is_there_is_left_as_it_is(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.tenants.ensure(tenant(max_calls=3))
        await store.tenants.ensure(tenant(name="Another"))
        assert await store.tenants.get("tenant_1") == tenant(max_calls=3)

    stored(scenario)


def test_limits_can_be_changed_and_taken_away(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.tenants.add(tenant(max_calls=3), "first")
        changed = await store.tenants.change("tenant_1", {"max_calls": 5, "disabled_at": NOON})
        assert changed == tenant(max_calls=5, disabled_at=NOON) == await store.tenants.get("tenant_1")
        assert await store.tenants.change("tenant_1", {"max_calls": None, "disabled_at": None}) == tenant()
        assert await store.tenants.change("tenant_2", {"name": "x"}) is None
        with pytest.raises(ValueError, match="tenant_id"):
            await store.tenants.change("tenant_1", {"tenant_id": "tenant_2"})

    stored(scenario)


def test_tenants_are_listed_page_by_page(stored: RunWithStore) -> None:
    made = [
        tenant(f"tenant_{number}", name=name, created_at=NOON + timedelta(seconds=number))
        for number, name in enumerate("cab")
    ]

    async def scenario(store: Store) -> None:
        for each in made:
            await store.tenants.add(each, "first")
        first = await store.tenants.page(Page(limit=2))
        assert list(first.entries) == [made[2], made[1]]
        last = await store.tenants.page(Page(limit=2, after=first.next_cursor))
        assert (list(last.entries), last.next_cursor) == ([made[0]], None)
        assert [each.name for each in (await store.tenants.page(Page(sort=("name",)))).entries] == list("abc")
        with pytest.raises(InvalidSort):
            await store.tenants.page(Page(sort=("webhook_secret",)))

    stored(scenario)


def test_a_tenant_that_has_anything_stays(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for name in ("tenant_1", "tenant_2"):
            await store.tenants.add(tenant(name), "first")
        await store.webhooks.add(webhook(tenant_id="tenant_1"))
        await store.save_call(call(tenant_id="tenant_2"))
        for name in ("tenant_1", "tenant_2"):
            assert await store.tenants.remove(name) is Removal.NOT_EMPTY
            assert len(await store.keys.of_tenant(name)) == 1

    stored(scenario)


def test_agents_that_were_deleted_are_nothing_that_a_tenant_has(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        draft = Draft(configuration={"name": "sales", "tools": []})
        for name in ("tenant_1", "tenant_2"):
            await store.tenants.add(tenant(name), "first")
            await store.agents.add(f"agent_of_{name}", name, draft, NOON, signing=b"signs")
            await store.agents.delete(name, f"agent_of_{name}", NOON)
        await store.agents.add("agent_2", "tenant_2", draft, NOON, signing=b"signs")
        assert await store.tenants.remove("tenant_1") is Removal.REMOVED
        assert await store.tenants.remove("tenant_2") is Removal.NOT_EMPTY
        await store.agents.delete("tenant_2", "agent_2", NOON)
        await store.save_call(ended_call(tenant_id="tenant_2", agent_id="agent_2"))
        assert await store.tenants.remove("tenant_2") is Removal.NOT_EMPTY

    stored(scenario)


def test_an_empty_tenant_goes_with_its_keys_and_with_nobody_elses(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        key = await store.tenants.add(tenant(), "first")
        other = await store.tenants.add(tenant("tenant_2"), "first")
        await store.webhooks.add(webhook(tenant_id="tenant_1"))
        said = event(call(call_id="", tenant_id="tenant_1"), None)
        await store.webhooks.disable("tenant_1", "wh_1", "gone", NOON, said)
        await store.webhooks.delete("tenant_1", "wh_1")
        assert await store.tenants.remove("tenant_1") is Removal.REMOVED
        assert await store.tenants.remove("tenant_1") is Removal.MISSING
        assert await store.tenants.get("tenant_1") is None
        assert await store.keys.find(key.secret) is None
        assert await store.keys.find(other.secret) == other.key

    stored(scenario)

"""Stored agents: every change a version, each its tenant's own, and no change lost."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from control.stores.agents import Draft, StoredAgent
from control.stores.store import Store
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON

pytestmark = pytest.mark.sockets

LATER = NOON + timedelta(hours=1)
TENANT = "acme"


def draft(name: str = "sales", *, tools: tuple[str, ...] = (), note: str | None = None, **more: Any) -> Draft:
    """`tools`: their names."""
    definitions = [{"tool_id": f"tool_{each}", "name": each} for each in tools]
    return Draft(configuration={"name": name, "tools": definitions, **more}, secrets=b"opaque", note=note)


async def kept(store: Store, agent_id: str = "agent_1", **options: Any) -> StoredAgent:
    return await store.agents.add(agent_id, TENANT, draft(**options), NOON, signing=b"signs")


def test_an_agent_comes_back_as_it_was_added(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        made = await kept(
            store, tools=("look_up",), rate_per_minute=0.0125, metadata={"a": [1, None, "\u00e4"]}
        )
        assert made == StoredAgent(
            agent_id="agent_1",
            tenant_id=TENANT,
            version=1,
            configuration={
                "name": "sales",
                "tools": [{"tool_id": "tool_look_up", "name": "look_up"}],
                "rate_per_minute": 0.0125,
                "metadata": {"a": [1, None, "\u00e4"]},
            },
            secrets=b"opaque",
            signing=b"signs",
            created_at=NOON,
            updated_at=NOON,
        )
        assert await store.agents.current(TENANT, "agent_1") == made
        assert await store.agents.current("other", "agent_1") is None
        assert "opaque" not in repr(made)
        assert "signs" not in repr(made)

    stored(scenario)


def test_a_change_is_the_next_version(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        first = await kept(store)
        changed = await store.agents.change(
            TENANT, "agent_1", lambda _: draft("support", note="renamed"), LATER
        )
        assert changed is not None
        assert (changed.version, changed.configuration["name"], changed.note) == (2, "support", "renamed")
        assert (changed.created_at, changed.updated_at) == (NOON, LATER)
        assert changed.signing == first.signing
        assert await store.agents.current(TENANT, "agent_1") == changed

    stored(scenario)


def test_what_stays_as_it_is_is_no_version(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        made = await kept(store)
        assert await store.agents.change(TENANT, "agent_1", lambda _: None, LATER) == made
        assert await store.agents.change("other", "agent_1", lambda _: draft(), LATER) is None
        assert await store.agents.change(TENANT, "agent_2", lambda _: draft(), LATER) is None

    stored(scenario)


def test_a_change_that_cannot_be_decided_changes_nothing(stored: RunWithStore) -> None:
    def refuses(_: StoredAgent) -> Draft:
        raise ValueError("no")

    async def scenario(store: Store) -> None:
        made = await kept(store)
        with pytest.raises(ValueError, match="no"):
            await store.agents.change(TENANT, "agent_1", refuses, LATER)
        assert await store.agents.current(TENANT, "agent_1") == made

    stored(scenario)


def test_of_changes_at_once_none_is_lost(stored: RunWithStore) -> None:
    def counted(before: StoredAgent) -> Draft:
        return draft(count=before.configuration["count"] + 1)

    async def scenario(store: Store) -> None:
        await kept(store, count=0)
        await asyncio.gather(*[store.agents.change(TENANT, "agent_1", counted, LATER) for _ in range(8)])
        found = await store.agents.current(TENANT, "agent_1")
        assert found is not None
        assert (found.version, found.configuration["count"]) == (9, 8)

    stored(scenario)

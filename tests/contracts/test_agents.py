"""Stored agents: every change a version, each its tenant's own, and no change lost."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from control.integrations import Vendor
from control.stores.agents import AccountsMissing, AgentFilters, Draft, Removal, StoredAgent
from control.stores.database import Database
from control.stores.errors import InvalidSort
from control.stores.integrations import Removal as Unwanted
from control.stores.keyset import Page
from control.stores.store import Store
from control.stores.tables import numbers
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call
from tests.contracts.test_integrations import integration

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


def test_earlier_versions_stay_as_they_were(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        first = await kept(store, note="made")
        await store.agents.change(TENANT, "agent_1", lambda _: draft("support", note="renamed"), LATER)
        assert await store.agents.version(TENANT, "agent_1", 1) == first
        assert await store.agents.version(TENANT, "agent_1", 3) is None
        assert await store.agents.version("other", "agent_1", 1) is None
        page = await store.agents.versions(TENANT, "agent_1", Page(limit=1))
        assert [(each.version, each.note, each.updated_at) for each in page.agents] == [(2, "renamed", LATER)]
        rest = await store.agents.versions(TENANT, "agent_1", Page(after=page.next_cursor))
        assert [(each.version, each.note) for each in rest.agents] == [(1, "made")]
        assert (await store.agents.versions("other", "agent_1", Page())).agents == ()

    stored(scenario)


def test_a_list_is_the_tenants_own_and_sorted_as_wanted(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for place, name in enumerate(("beta", "Alpha_1", "alpha%2")):
            moment = NOON + timedelta(minutes=place)
            await store.agents.add(f"agent_{place}", TENANT, draft(name), moment, signing=b"s")
        await store.agents.add("agent_x", "other", draft("theirs"), NOON, signing=b"s")
        await store.agents.change(TENANT, "agent_0", lambda _: draft("beta", n=1), LATER)

        async def listed(*sort: str, **filters: Any) -> list[Any]:
            found = await store.agents.page(TENANT, AgentFilters(**filters), Page(sort=sort))
            return [each.configuration["name"] for each in found.agents]

        assert await listed() == ["alpha%2", "Alpha_1", "beta"]
        assert await listed("created_at") == ["beta", "Alpha_1", "alpha%2"]
        assert await listed("-updated_at") == ["beta", "alpha%2", "Alpha_1"]
        assert await listed(search="ALPHA") == ["alpha%2", "Alpha_1"]
        assert await listed(search="%") == ["alpha%2"]
        assert await listed(search="_") == ["Alpha_1"]
        assert await listed(name="beta") == ["beta"]
        assert await listed(name="Beta") == []
        with pytest.raises(InvalidSort):
            await listed("voice")
        one = await store.agents.page(TENANT, AgentFilters(), Page(limit=2))
        two = await store.agents.page(TENANT, AgentFilters(), Page(limit=2, after=one.next_cursor))
        assert [each.agent_id for each in (*one.agents, *two.agents)] == ["agent_2", "agent_1", "agent_0"]
        assert two.next_cursor is None

    stored(scenario)


def test_a_listed_tool_is_one_of_its_agents_though_that_is_being_changed(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await kept(store, tools=("first",))
        over = False

        async def change() -> None:
            number = 0
            while not over:
                number += 1
                tool = f"tool_{number}"
                await store.agents.change(TENANT, "agent_1", lambda _: draft(tools=(tool,)), LATER)  # noqa: B023

        changing = asyncio.create_task(change())
        for _ in range(100):
            (tool,) = (await store.agents.tools(TENANT, Page())).tools
            assert [tool.tool_id] == [each["tool_id"] for each in tool.agent.configuration["tools"]]
        over = True
        await changing

    stored(scenario)


def test_tools_are_those_of_current_versions(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await kept(store, tools=("a", "b"))
        await store.agents.add("agent_x", "other", draft(tools=("c",)), NOON, signing=b"s")
        await store.agents.change(TENANT, "agent_1", lambda _: draft(tools=("b", "d")), LATER)

        async def listed(tenant: str = TENANT, **wanted: Any) -> list[Any]:
            found = await store.agents.tools(tenant, Page(sort=("name",)), **wanted)
            return [(each.tool_id, each.created_at, each.agent.version) for each in found.tools]

        assert await listed() == [("tool_b", NOON, 2), ("tool_d", LATER, 2)]
        assert await listed(name="d") == [("tool_d", LATER, 2)]
        assert await listed(agent_id="agent_x") == []
        assert await listed("other", agent_id="agent_x") == [("tool_c", NOON, 1)]

    stored(scenario)


def test_what_signs_is_replaced_without_a_version(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await kept(store)
        assert await store.agents.sign_with(TENANT, "agent_1", lambda before: (before or b"") + b" new")
        found = await store.agents.current(TENANT, "agent_1")
        assert found is not None
        assert (found.signing, found.version, found.updated_at) == (b"signs new", 1, NOON)
        assert not await store.agents.sign_with("other", "agent_1", lambda _: b"")

    stored(scenario)


def test_an_agent_in_a_call_stays_and_a_deleted_one_answers_no_number(
    stored: RunWithStore, database_url: str
) -> None:
    async def scenario(store: Store) -> None:
        await kept(store, tools=("a",))
        await claimed(database_url, agent_id="agent_1", tenant_id=TENANT)
        theirs = call(tenant_id="other", agent_id="agent_1")
        await store.save_call(theirs)
        talks = call(tenant_id=TENANT, agent_id="agent_1")
        await store.save_call(talks)
        assert await store.agents.delete("other", "agent_1", LATER) is Removal.MISSING
        assert await store.agents.delete(TENANT, "agent_1", LATER) is Removal.LIVE
        assert await store.agents.current(TENANT, "agent_1") is not None
        await store.save_call(
            ended_call(call_id=talks.call_id, tenant_id=TENANT, agent_id="agent_1", revision=9)
        )
        assert await store.agents.delete(TENANT, "agent_1", LATER) is Removal.DELETED
        assert await store.agents.current(TENANT, "agent_1") is None
        assert await store.agents.version(TENANT, "agent_1", 1) is None
        assert await store.agents.change(TENANT, "agent_1", lambda _: draft(), LATER) is None
        assert (await store.agents.tools(TENANT, Page())).tools == ()
        route = await store.numbers.route("telnyx", "default", "+13125550101")
        assert route is not None
        assert route.agent_id is None
        assert await store.agents.delete(TENANT, "agent_1", LATER) is Removal.MISSING

    stored(scenario)


async def claimed(url: str, **fields: Any) -> None:
    """A number of ours, with an agent."""
    row = {
        "number_id": "num_1",
        "number": "+13125550101",
        "carrier": "telnyx",
        "integration_id": "default",
        "created_at": NOON,
        "updated_at": NOON,
    }
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(insert(numbers).values({**row, **fields}))
    await database.close()


OWN, SPARE, CARRIER = (f"int_{each * 24}" for each in "abc")


async def with_accounts(store: Store) -> None:
    for integration_id, vendor in ((OWN, Vendor.XAI), (SPARE, Vendor.REALTIME), (CARRIER, Vendor.TELNYX)):
        await store.integrations.add(integration(integration_id, tenant_id=TENANT, vendor=vendor))
    await store.integrations.add(integration(f"int_{'d' * 24}", tenant_id="other", vendor=Vendor.XAI))


def test_an_account_that_an_agent_names_is_not_deleted(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await with_accounts(store)
        await kept(store, provider=OWN, fallback_providers=["default", SPARE, OWN])
        for account, vendor in ((OWN, Vendor.XAI), (SPARE, Vendor.REALTIME)):
            assert await store.integrations.delete(TENANT, account) is Unwanted.HAS_AGENTS
            assert (await store.integrations.use(TENANT, vendor, account)).agents == 1
        await store.agents.change(TENANT, "agent_1", lambda _: draft(provider=SPARE), LATER)
        assert await store.integrations.delete(TENANT, OWN) is Unwanted.DONE
        assert await store.integrations.delete(TENANT, SPARE) is Unwanted.HAS_AGENTS
        assert await store.agents.delete(TENANT, "agent_1", LATER) is Removal.DELETED
        assert await store.integrations.delete(TENANT, SPARE) is Unwanted.DONE

    stored(scenario)


@pytest.mark.parametrize("nobodys", [f"int_{'0' * 24}", f"int_{'d' * 24}", CARRIER])
def test_an_agent_names_provider_accounts_of_its_tenant_only(stored: RunWithStore, nobodys: str) -> None:
    async def scenario(store: Store) -> None:
        await with_accounts(store)
        for named in ({"provider": nobodys}, {"fallback_providers": [OWN, nobodys]}):
            with pytest.raises(AccountsMissing) as missing:
                await kept(store, **named)
            assert missing.value.accounts == (nobodys,)
        first = await kept(store, provider=OWN)
        with pytest.raises(AccountsMissing):
            await store.agents.change(TENANT, "agent_1", lambda _: draft(provider=nobodys), LATER)
        assert await store.agents.current(TENANT, "agent_1") == first

    stored(scenario)


def test_a_version_whose_account_is_gone_cannot_be_made_current_again(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await with_accounts(store)
        await kept(store, provider=OWN)
        await store.agents.change(TENANT, "agent_1", lambda _: draft(provider=SPARE), LATER)
        assert await store.integrations.delete(TENANT, OWN) is Unwanted.DONE
        with pytest.raises(AccountsMissing):
            await store.agents.change(TENANT, "agent_1", lambda _: draft(provider=OWN), LATER)

    stored(scenario)


def test_an_account_is_never_deleted_while_an_agent_begins_to_name_it(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await with_accounts(store)
        for turn in range(10):
            account = f"int_{turn:024}"
            await store.integrations.add(integration(account, tenant_id=TENANT, vendor=Vendor.XAI))
            made, removal = await asyncio.gather(
                kept(store, f"agent_{turn}", provider=account),
                store.integrations.delete(TENANT, account),
                return_exceptions=True,
            )
            there = await store.integrations.get(TENANT, account) is not None
            if isinstance(made, StoredAgent):
                assert (removal, there) == (Unwanted.HAS_AGENTS, True)
            else:
                assert isinstance(made, AccountsMissing)
                assert (removal, there) == (Unwanted.DONE, False)

    stored(scenario)

"""Numbers: where a call to one leads, and whose it is."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from control.stores.agents import Draft
from control.stores.agents import Removal as Gone
from control.stores.database import Database
from control.stores.integrations import Removal
from control.stores.keyset import Page
from control.stores.numbers import AgentDeleted, ClaimedNumber, Claiming, NumberRoute
from control.stores.store import Store
from control.stores.tables import numbers
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON
from tests.contracts.test_integrations import integration

pytestmark = pytest.mark.sockets

OURS, OTHER = "+13125550101", "+13125550188"


async def claimed(url: str, *routes: NumberRoute) -> None:
    """Put numbers there, each an hour after the one before."""
    rows = [
        {
            **{name: getattr(route, name) for name in NumberRoute.__slots__},
            "number_id": f"num_{place}",
            "created_at": NOON + timedelta(hours=place),
            "updated_at": NOON,
        }
        for place, route in enumerate(routes)
    ]
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(insert(numbers), rows)
    await database.close()


def route(
    integration_id: str = "default", *, tenant: str = "acme", agent_id: str | None = "agent_1"
) -> NumberRoute:
    return NumberRoute(
        number=OURS, tenant_id=tenant, carrier="telnyx", integration_id=integration_id, agent_id=agent_id
    )


def test_a_number_leads_where_its_own_account_brings_a_call(stored: RunWithStore, database_url: str) -> None:
    ours, theirs = route(), route("int_2", tenant="other", agent_id=None)

    async def scenario(store: Store) -> None:
        await claimed(database_url, ours, theirs)
        assert await store.numbers.route("telnyx", "default", OURS) == ours
        assert await store.numbers.route("telnyx", "int_2", OURS) == theirs
        assert await store.numbers.route("twilio", "default", OURS) is None
        assert await store.numbers.route("telnyx", "default", OTHER) is None

    stored(scenario)


def test_a_number_is_its_tenants_whatever_the_account(stored: RunWithStore, database_url: str) -> None:
    async def scenario(store: Store) -> None:
        await claimed(database_url, route("int_1"))
        assert await store.numbers.held("acme", OURS) == route("int_1")
        assert await store.numbers.held("other", OURS) is None

    stored(scenario)


def test_an_account_has_numbers_or_none(stored: RunWithStore, database_url: str) -> None:
    async def scenario(store: Store) -> None:
        await claimed(database_url, route("int_1"))
        assert await store.numbers.any_with("telnyx", "int_1")
        assert not await store.numbers.any_with("telnyx", "default")
        assert not await store.numbers.any_with("twilio", "int_1")

    stored(scenario)


def number(number_id: str = "num_1", **changes: Any) -> ClaimedNumber:
    made = ClaimedNumber(
        number_id=number_id,
        tenant_id="acme",
        number=OURS,
        carrier="telnyx",
        integration_id="default",
        carrier_number_id="129",
        created_at=NOON,
        updated_at=NOON,
    )
    return replace(made, **changes)


def test_a_number_is_claimed_once_by_a_tenant_and_once_with_an_account(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        room = store.numbers
        assert await room.claim(number()) is Claiming.DONE
        assert await room.claim(number("num_2")) is Claiming.TAKEN
        assert await room.claim(number("num_3", carrier="twilio")) is Claiming.TAKEN
        assert await room.claim(number("num_4", tenant_id="other")) is Claiming.TAKEN
        assert await room.claim(number("num_5", tenant_id="other", carrier="twilio")) is Claiming.DONE
        assert await room.get("acme", "num_1") == number()
        assert await room.claimed_of("acme", [OURS, OTHER]) == {OURS}

    stored(scenario)


def test_of_many_who_claim_at_once_one_has_it(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        claims = [store.numbers.claim(number(f"num_{place}")) for place in range(6)]
        outcomes = await asyncio.gather(*claims)
        assert outcomes.count(Claiming.DONE) == 1
        assert outcomes.count(Claiming.TAKEN) == 5

    stored(scenario)


def test_a_number_is_claimed_with_an_account_that_is_the_tenants_and_stays(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        held = number(integration_id="int_1")
        assert await store.numbers.claim(held) is Claiming.NO_ACCOUNT
        await store.integrations.add(integration(tenant_id="other"))
        assert await store.numbers.claim(held) is Claiming.NO_ACCOUNT
        await store.integrations.add(integration("int_2", tenant_id="acme"))
        held = number(integration_id="int_2")
        claimed_, deleted = await asyncio.gather(
            store.numbers.claim(held), store.integrations.delete("acme", "int_2")
        )
        # Whoever was first: never a number without its account.
        assert (claimed_, deleted) in (
            (Claiming.DONE, Removal.HAS_NUMBERS),
            (Claiming.NO_ACCOUNT, Removal.DONE),
        )

    stored(scenario)


def test_numbers_are_paged_newest_first_and_filtered(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        room = store.numbers
        for place in range(3):
            at = NOON + timedelta(hours=place)
            agent_id = "agent_1" if place == 1 else None
            await room.claim(
                number(f"num_{place}", number=f"+1312555010{place}", created_at=at, agent_id=agent_id)
            )
        first, cursor = await room.page("acme", Page(limit=2), {})
        second, end = await room.page("acme", Page(limit=2, after=cursor), {})
        assert [each.number_id for each in [*first, *second]] == ["num_2", "num_1", "num_0"]
        assert end is None
        found, _ = await room.page("acme", Page(), {"agent_id": "agent_1", "carrier": "telnyx"})
        assert [each.number_id for each in found] == ["num_1"]
        by_number, _ = await room.page("acme", Page(sort=("number",)), {})
        assert [each.number_id for each in by_number] == ["num_0", "num_1", "num_2"]
        assert await room.page("other", Page(), {}) == ([], None)

    stored(scenario)


def test_a_number_is_assigned_and_released_by_its_tenant_alone(stored: RunWithStore) -> None:
    later = NOON + timedelta(hours=1)

    async def scenario(store: Store) -> None:
        room = store.numbers
        await room.claim(number())
        assert await room.assign("other", "num_1", "agent_1", later) is None
        assert not await room.release("other", "num_1")
        assert await room.get("other", "num_1") is None
        assert await room.assign("acme", "num_1", "agent_1", later) == number(
            agent_id="agent_1", updated_at=later
        )
        assert await room.assign("acme", "num_1", None, later) == number(updated_at=later)
        assert await room.release("acme", "num_1")
        assert not await room.release("acme", "num_1")

    stored(scenario)


def test_no_number_is_left_with_a_deleted_agent(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.numbers.claim(number())
        for turn in range(10):
            agent_id = f"agent_{turn}"
            draft = Draft(configuration={"name": "sales"})
            await store.agents.add(agent_id, "acme", draft, NOON, signing=b"s")
            assigned, deleted = await asyncio.gather(
                store.numbers.assign("acme", "num_1", agent_id, NOON),
                store.agents.delete("acme", agent_id, NOON),
                return_exceptions=True,
            )
            assert deleted is Gone.DELETED
            assert isinstance(assigned, ClaimedNumber | AgentDeleted)
            held = await store.numbers.get("acme", "num_1")
            assert held is not None
            assert held.agent_id is None
        with pytest.raises(AgentDeleted):
            await store.numbers.assign("acme", "num_1", "agent_0", NOON)
        assert (
            await store.numbers.claim(number("num_2", number=OTHER, agent_id="agent_0")) is Claiming.NO_AGENT
        )
        of_settings = await store.numbers.assign("acme", "num_1", "agent_of_the_file", NOON)
        assert of_settings is not None
        assert of_settings.agent_id == "agent_of_the_file"

    stored(scenario)

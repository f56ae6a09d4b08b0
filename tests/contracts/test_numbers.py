"""Numbers: where a call to one leads, and whose it is."""

from datetime import timedelta

import pytest
from sqlalchemy import insert

from control.stores.database import Database
from control.stores.numbers import NumberRoute
from control.stores.store import Store
from control.stores.tables import numbers
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON

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


def test_a_number_is_its_tenants_with_the_account_that_had_it_last(
    stored: RunWithStore, database_url: str
) -> None:
    before, after = route("int_1"), route("int_2")

    async def scenario(store: Store) -> None:
        await claimed(database_url, before, after)
        assert await store.numbers.held("acme", OURS) == after
        assert await store.numbers.held("other", OURS) is None

    stored(scenario)


def test_an_account_has_numbers_or_none(stored: RunWithStore, database_url: str) -> None:
    async def scenario(store: Store) -> None:
        await claimed(database_url, route("int_1"))
        assert await store.numbers.any_with("telnyx", "int_1")
        assert not await store.numbers.any_with("telnyx", "default")
        assert not await store.numbers.any_with("twilio", "int_1")

    stored(scenario)

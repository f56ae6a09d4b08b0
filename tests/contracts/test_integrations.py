"""Accounts: kept, listed, changed and deleted, each its tenant's own, none while something needs it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from control.integrations import Kind, Vendor
from control.stores.integrations import Integration, Removal, Use
from control.stores.keyset import Page
from control.stores.store import Store
from control.stores.tables import numbers
from telephony.causes import CallStatus
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call

pytestmark = pytest.mark.sockets

LATER = NOON + timedelta(hours=1)


def integration(integration_id: str = "int_1", **changes: Any) -> Integration:
    made = Integration(
        integration_id=integration_id,
        tenant_id="default",
        vendor=Vendor.TELNYX,
        name="sales",
        credentials=b"opaque",
        settings={"connection_id": "1"},
        created_at=NOON,
        updated_at=NOON,
    )
    return replace(made, **changes)


async def claim(store: Store, number: str = "+13125550101", **changes: Any) -> None:
    row = {
        "number_id": "num_1",
        "tenant_id": "default",
        "number": number,
        "carrier": "telnyx",
        "integration_id": "int_1",
        "created_at": NOON,
        "updated_at": NOON,
    }
    async with store._database.write() as connection:
        await connection.execute(insert(numbers).values(row | changes))


def renamed(before: Integration, used: bool) -> Integration:
    return replace(before, name=f"used {used}", updated_at=LATER)


def test_an_account_comes_back_as_it_was_added(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        made = integration()
        await store.integrations.add(made)
        assert await store.integrations.get("default", "int_1") == made
        assert await store.integrations.find("int_1") == made
        assert made.kind is Kind.CARRIER
        assert "opaque" not in repr(made)
        assert await store.integrations.find("int_2") is None

    stored(scenario)


def test_lists_are_paged_newest_first_and_filtered(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        vendors = (Vendor.TELNYX, Vendor.TWILIO, Vendor.OPENAI)
        for place, vendor in enumerate(vendors):
            at = NOON + timedelta(minutes=place)
            await store.integrations.add(integration(f"int_{place}", vendor=vendor, created_at=at))
        await store.integrations.add(integration("int_theirs", tenant_id="theirs"))
        room = store.integrations
        first, cursor = await room.page("default", Page(limit=2))
        assert [each.integration_id for each in first] == ["int_2", "int_1"]
        second, end = await room.page("default", Page(limit=2, after=cursor))
        assert ([each.integration_id for each in second], end) == (["int_0"], None)
        carriers, _ = await room.page("default", Page(), kind=Kind.CARRIER)
        assert [each.integration_id for each in carriers] == ["int_1", "int_0"]
        twilio, _ = await room.page("default", Page(), vendor=Vendor.TWILIO)
        assert [each.integration_id for each in twilio] == ["int_1"]
        assert [each.integration_id for each in await room.of_kind("default", Kind.CARRIER)] == [
            "int_0",
            "int_1",
        ]

    stored(scenario)


def test_a_change_knows_whether_the_account_is_used_and_may_be_refused(stored: RunWithStore) -> None:
    class RefusedChange(Exception):
        pass

    def refuse(before: Integration, used: bool) -> Integration:
        raise RefusedChange

    async def scenario(store: Store) -> None:
        await store.integrations.add(integration())
        assert await store.integrations.change("default", "int_1", renamed) == integration(
            name="used False", updated_at=LATER
        )
        await claim(store)
        changed = await store.integrations.change("default", "int_1", renamed)
        assert changed is not None
        assert changed.name == "used True"
        with pytest.raises(RefusedChange):
            await store.integrations.change("default", "int_1", refuse)
        assert await store.integrations.get("default", "int_1") == changed

    stored(scenario)


def test_what_came_of_a_trial_is_kept(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.integrations.add(integration())
        await store.integrations.checked("default", "int_1", LATER, "unauthorised")
        assert await store.integrations.get("default", "int_1") == integration(
            checked_at=LATER, problem="unauthorised"
        )

    stored(scenario)


def test_an_account_with_numbers_or_live_calls_is_not_deleted(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.integrations.add(integration())
        live = call(
            call_id="call_live", carrier="telnyx", integration_id="int_1", status=CallStatus.IN_PROGRESS
        )
        await store.save_call(live, ())
        assert await store.integrations.delete("default", "int_1") is Removal.HAS_CALLS
        assert await store.integrations.use("default", Vendor.TELNYX, "int_1") == Use(
            numbers=0, live_calls=1, agents=0
        )
        over = replace(live, status=CallStatus.COMPLETED, ended_at=LATER, revision=live.revision + 1)
        await store.save_call(over, ())
        await claim(store)
        assert await store.integrations.delete("default", "int_1") is Removal.HAS_NUMBERS
        assert await store.integrations.use("default", Vendor.TELNYX, "int_1") == Use(
            numbers=1, live_calls=0, agents=0
        )

    stored(scenario)


def test_an_account_that_nothing_needs_is_deleted_once(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.integrations.add(integration())
        await claim(store, carrier="twilio", integration_id="int_2")
        assert await store.integrations.delete("default", "int_1") is Removal.DONE
        assert await store.integrations.delete("default", "int_1") is Removal.MISSING
        assert await store.integrations.find("int_1") is None

    stored(scenario)


def test_another_tenants_account_is_not_there(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.integrations.add(integration(tenant_id="theirs"))
        room = store.integrations
        assert await room.get("ours", "int_1") is None
        assert await room.page("ours", Page()) == ([], None)
        assert await room.of_kind("ours", Kind.CARRIER) == []
        assert await room.change("ours", "int_1", renamed) is None
        assert await room.checked("ours", "int_1", LATER, "x") is None
        assert await room.delete("ours", "int_1") is Removal.MISSING
        assert await room.get("theirs", "int_1") == integration(tenant_id="theirs")

    stored(scenario)

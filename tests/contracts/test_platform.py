"""What all tenants together have and have used."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from control.stores.platform import PlatformUse, TenantUse
from control.stores.store import Store
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call, event
from tests.contracts.test_tenants import tenant
from tests.contracts.test_webhooks import webhook

pytestmark = pytest.mark.sockets

HOUR = timedelta(hours=1)


def test_what_each_tenant_has_used_is_counted(stored: RunWithStore) -> None:
    priced = ended_call(tenant_id="tenant_1", rate_per_minute=Decimal("0.02"))  # a minute
    old = ended_call(tenant_id="tenant_1", started_at=NOON - 2 * HOUR)
    ringing = call(tenant_id="tenant_2")

    async def scenario(store: Store) -> None:
        await store.tenants.add(tenant("tenant_1"), "first")
        await store.tenants.add(tenant("tenant_2", created_at=NOON + HOUR, disabled_at=NOON), "first")
        await store.webhooks.add(webhook("wh_1", tenant_id="tenant_2"))
        await store.webhooks.add(webhook("wh_2", tenant_id="tenant_1"))
        await store.webhooks.disable("tenant_1", "wh_2", "gone", NOON)
        for record in (priced, old, replace(priced, call_id="call_x", metadata={})):
            await store.save_call(record)
        await store.save_call(ringing, [event(ringing)])
        assert await store.platform.use(NOON - HOUR) == PlatformUse(
            tenants=2,
            tenants_disabled=1,
            webhooks=2,
            webhooks_disabled=1,
            deliveries_pending=1,
            by_tenant=(
                TenantUse(
                    tenant_id="tenant_1",
                    name="Acme",
                    live_calls=0,
                    calls=2,
                    minutes_used=Decimal("2.00"),
                    total_cost=Decimal("0.04"),
                ),
                TenantUse(
                    tenant_id="tenant_2",
                    name="Acme",
                    live_calls=1,
                    calls=1,
                    minutes_used=Decimal(0),
                    total_cost=Decimal(0),
                ),
            ),
        )

    stored(scenario)


def test_nothing_is_nothing(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        use = await store.platform.use(NOON)
        assert (use.tenants, use.deliveries_pending, use.by_tenant) == (0, 0, ())

    stored(scenario)

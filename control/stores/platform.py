"""What all tenants together have: for who runs the gateway."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import LIVE
from control.stores.columns import Money
from control.stores.database import Database
from control.stores.tables import calls, deliveries, tenants, webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUse:
    """What one tenant has used."""

    tenant_id: str
    name: str
    live_calls: int
    calls: int
    """Begun since then."""
    minutes_used: Decimal
    total_cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformUse:
    """What all have, and what each has used."""

    tenants: int
    tenants_disabled: int
    webhooks: int
    webhooks_disabled: int
    deliveries_pending: int
    by_tenant: tuple[TenantUse, ...]


class Platform:
    """Counts over all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def use(self, since: datetime) -> PlatformUse:
        """Return what there is, and what was used since then."""
        async with self._database.read() as connection:
            return PlatformUse(
                tenants=await _count(connection, tenants),
                tenants_disabled=await _count(connection, tenants, tenants.c.disabled_at.is_not(None)),
                webhooks=await _count(connection, webhooks),
                webhooks_disabled=await _count(connection, webhooks, webhooks.c.disabled_at.is_not(None)),
                deliveries_pending=await _count(connection, deliveries, deliveries.c.state == "pending"),
                by_tenant=tuple(await _by_tenant(connection, since)),
            )


async def _count(connection: AsyncConnection, table: Table, *wanted: ColumnElement[bool]) -> int:
    return (await connection.scalar(select(func.count()).select_from(table).where(*wanted))) or 0


async def _by_tenant(connection: AsyncConnection, since: datetime) -> list[TenantUse]:
    """Each tenant's calls are found by the index that begins with the tenant, however old most of them are."""
    begun = and_(calls.c.tenant_id == tenants.c.tenant_id, calls.c.started_at >= since)
    used = (
        select(
            tenants.c.tenant_id,
            tenants.c.name,
            func.count(calls.c.id).label("calls"),
            func.sum(calls.c.minutes_used, type_=Money()).label("minutes_used"),
            func.sum(calls.c.total_cost, type_=Money()).label("total_cost"),
        )
        .outerjoin(calls, begun)
        .group_by(tenants.c.tenant_id, tenants.c.name, tenants.c.created_at)
        .order_by(tenants.c.created_at, tenants.c.tenant_id)
    )
    live = await _live(connection)
    rows: Sequence[Any] = (await connection.execute(used)).mappings().all()
    return [
        TenantUse(
            tenant_id=row["tenant_id"],
            name=row["name"],
            live_calls=live.get(row["tenant_id"], 0),
            calls=row["calls"],
            minutes_used=row["minutes_used"] or Decimal(0),
            total_cost=row["total_cost"] or Decimal(0),
        )
        for row in rows
    ]


async def _live(connection: AsyncConnection) -> dict[str, int]:
    query = select(calls.c.tenant_id, func.count().label("live")).where(calls.c.status.in_(sorted(LIVE)))
    found = await connection.execute(query.group_by(calls.c.tenant_id))
    return {row.tenant_id: row.live for row in found}

"""Accounts with carriers and providers, as tenants give them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import LIVE
from control.integrations import Kind, Vendor
from control.stores.columns import Values
from control.stores.database import Database
from control.stores.keyset import Keyset, Page
from control.stores.tables import agent_accounts, calls, integrations, numbers

_SORTABLE: Mapping[str, ColumnElement[Any]] = {
    name: integrations.c[name] for name in ("created_at", "updated_at", "name", "vendor", "kind")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """An account. Its credentials are opaque here: whoever puts them in has encrypted them."""

    integration_id: str
    tenant_id: str
    vendor: Vendor
    name: str
    credentials: bytes = field(repr=False)
    settings: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    checked_at: datetime | None = None
    """When it was last tried."""
    problem: str | None = None
    """What was wrong then."""

    @property
    def kind(self) -> Kind:
        return self.vendor.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What an account is needed for."""

    numbers: int
    live_calls: int
    agents: int
    """Those whose current version names it."""


class Removal(Enum):
    """What became of wanting to delete an account."""

    DONE = auto()
    MISSING = auto()
    HAS_NUMBERS = auto()
    HAS_CALLS = auto()
    HAS_AGENTS = auto()


class Integrations:
    """Keeps accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, integration: Integration) -> None:
        async with self._database.write() as connection:
            await connection.execute(insert(integrations).values(_row(integration)))

    async def get(self, tenant_id: str, integration_id: str) -> Integration | None:
        return await self._one(_is(tenant_id, integration_id))

    async def find(self, integration_id: str) -> Integration | None:
        """Return the account of whatever tenant: for the process itself, which is asked in the account's name."""
        return await self._one(integrations.c.integration_id == integration_id)

    async def page(
        self, tenant_id: str, page: Page, *, kind: Kind | None = None, vendor: Vendor | None = None
    ) -> tuple[list[Integration], str | None]:
        """Return a page of the tenant's accounts, newest first unless told otherwise, and the next cursor.

        Raises:
            InvalidCursor, InvalidSort: the page is none of this list.
        """
        order = Keyset.of(page.sort or ("-created_at",), _SORTABLE, integrations.c.integration_id)
        query = select(integrations).where(integrations.c.tenant_id == tenant_id)
        if kind is not None:
            query = query.where(integrations.c.kind == kind.value)
        if vendor is not None:
            query = query.where(integrations.c.vendor == vendor.value)
        async with self._database.read() as connection:
            rows, cursor = await order.page(connection, query, page)
        return [integration_of(row) for row in rows], cursor

    async def of_kind(self, tenant_id: str, kind: Kind) -> list[Integration]:
        """Return all of the tenant's accounts of a kind, the oldest first."""
        query = (
            select(integrations)
            .where(integrations.c.tenant_id == tenant_id, integrations.c.kind == kind.value)
            .order_by(integrations.c.created_at, integrations.c.integration_id)
        )
        async with self._database.read() as connection:
            return [integration_of(row) for row in (await connection.execute(query)).mappings()]

    async def change(
        self,
        tenant_id: str,
        integration_id: str,
        change: Callable[[Integration, bool], Integration],
    ) -> Integration | None:
        """Change an account; None if there is none.

        Args:
            change: is given the account and whether numbers or live calls are with it, and returns it changed; what it
                raises leaves the account as it was. Nobody else changes it meanwhile.
        """
        async with self._database.write() as connection:
            before = await self._locked(connection, tenant_id, integration_id)
            if before is None:
                return None
            use = await self._use(connection, tenant_id, before.vendor.value, integration_id)
            after = change(before, use.numbers + use.live_calls > 0)
            await connection.execute(
                update(integrations).where(_is(tenant_id, integration_id)).values(_row(after))
            )
            return after

    async def checked(
        self, tenant_id: str, integration_id: str, at: datetime, problem: str | None
    ) -> Integration | None:
        """Note what came of trying an account."""
        statement = (
            update(integrations)
            .where(_is(tenant_id, integration_id))
            .values(checked_at=at, problem=problem)
            .returning(*integrations.c)
        )
        async with self._database.write() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else integration_of(row)

    async def delete(self, tenant_id: str, integration_id: str) -> Removal:
        """Delete an account that nothing needs any more."""
        async with self._database.write() as connection:
            found = await self._locked(connection, tenant_id, integration_id)
            if found is None:
                return Removal.MISSING
            use = await self._use(connection, tenant_id, found.vendor.value, integration_id)
            if use.numbers:
                return Removal.HAS_NUMBERS
            if use.live_calls:
                return Removal.HAS_CALLS
            if use.agents:
                return Removal.HAS_AGENTS
            await connection.execute(delete(integrations).where(_is(tenant_id, integration_id)))
            return Removal.DONE

    async def use(self, tenant_id: str, vendor: Vendor, integration_id: str) -> Use:
        """Return what an account is needed for now."""
        async with self._database.read() as connection:
            return await self._use(connection, tenant_id, vendor.value, integration_id)

    async def _locked(
        self, connection: AsyncConnection, tenant_id: str, integration_id: str
    ) -> Integration | None:
        query = select(integrations).where(_is(tenant_id, integration_id)).with_for_update()
        row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else integration_of(row)

    async def _use(
        self, connection: AsyncConnection, tenant_id: str, vendor: str, integration_id: str
    ) -> Use:
        """Count by the account's tenant: of each of both tables, an index begins with it."""

        def with_it(table: Table) -> ColumnElement[bool]:
            account = (table.c.carrier == vendor) & (table.c.integration_id == integration_id)
            return (table.c.tenant_id == tenant_id) & account

        live = calls.c.status.in_([status.value for status in LIVE])
        held = await connection.scalar(select(func.count()).select_from(numbers).where(with_it(numbers)))
        going_on = await connection.scalar(
            select(func.count()).select_from(calls).where(live, with_it(calls))
        )
        naming = (agent_accounts.c.tenant_id == tenant_id) & (
            agent_accounts.c.integration_id == integration_id
        )
        named = await connection.scalar(select(func.count()).select_from(agent_accounts).where(naming))
        return Use(numbers=held or 0, live_calls=going_on or 0, agents=named or 0)

    async def _one(self, condition: ColumnElement[bool]) -> Integration | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(integrations).where(condition))).mappings().one_or_none()
        return None if row is None else integration_of(row)


def integration_of(row: Values) -> Integration:
    return Integration(
        integration_id=row["integration_id"],
        tenant_id=row["tenant_id"],
        vendor=Vendor(row["vendor"]),
        name=row["name"],
        credentials=row["credentials"],
        settings=row["settings"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        checked_at=row["checked_at"],
        problem=row["problem"],
    )


def _is(tenant_id: str, integration_id: str) -> ColumnElement[bool]:
    return (integrations.c.tenant_id == tenant_id) & (integrations.c.integration_id == integration_id)


def _row(integration: Integration) -> dict[str, Any]:
    return {column.name: getattr(integration, column.name) for column in integrations.columns}

"""Tenants: whose everything is, and how much of it they may use at a time."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, exists, false, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.stores.columns import Values
from control.stores.database import Database
from control.stores.keys import Keys, NewKey, Scope
from control.stores.keyset import Keyset, Listed, Page
from control.stores.tables import agents, api_keys, events, idempotency, metadata, tenants


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant. Its secret is opaque here: whoever puts it in has encrypted it."""

    tenant_id: str
    name: str
    max_calls: int | None = None
    """Calls at a time; None: as many as there is room for."""
    requests_per_minute: int | None = None
    """None: as many as the settings say."""
    webhook_secret: bytes | None = field(default=None, repr=False)
    """Signs what goes to the URLs of its calls and agents; None: the secret of the settings does."""
    created_at: datetime
    disabled_at: datetime | None = None


class Removal(Enum):
    """What came of deleting a tenant."""

    REMOVED = "removed"
    MISSING = "missing"
    NOT_EMPTY = "not empty"


_CHANGEABLE = frozenset({"name", "max_calls", "requests_per_minute", "webhook_secret", "disabled_at"})

NEWEST = ("-created_at",)
SORTABLE: dict[str, ColumnElement[Any]] = {name: tenants.c[name] for name in ("created_at", "name")}

# What goes with a tenant. Everything else that names one is something of its own, and keeps it.
_GOES_ALONG = (api_keys, idempotency, events)
# Rows of these that nobody finds any more keep nothing: an agent's versions stay for the sake of its calls.
_NOTHING: Mapping[str, ColumnElement[bool]] = {agents.name: agents.c.deleted_at.is_not(None)}


class Tenants:
    """Keeps tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys = Keys(database)

    async def add(self, tenant: Tenant, key_name: str) -> NewKey:
        """Keep a new tenant; return its first key."""
        async with self._database.write() as connection:
            await connection.execute(insert(tenants).values(_row(tenant)))
            return await self._keys.add_within(
                connection, tenant.tenant_id, key_name, Scope.FULL, tenant.created_at
            )

    async def ensure(self, tenant: Tenant) -> None:
        """Keep a tenant that may be there already."""
        async with self._database.write() as connection:
            await self._database.insert_new(connection, tenants, [_row(tenant)])

    async def get(self, tenant_id: str) -> Tenant | None:
        query = select(tenants).where(tenants.c.tenant_id == tenant_id)
        async with self._database.find() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _tenant_of(row)

    async def page(self, page: Page) -> Listed[Tenant]:
        """Return a page of all tenants, newest first unless sorted otherwise.

        Raises:
            InvalidCursor, InvalidSort: what the page asks by.
        """
        order = Keyset.of(page.sort or NEWEST, SORTABLE, tenants.c.tenant_id)
        async with self._database.read() as connection:
            rows, cursor = await order.page(connection, select(tenants), page)
        return Listed(tuple(_tenant_of(row) for row in rows), cursor)

    async def change(self, tenant_id: str, changes: Mapping[str, Any]) -> Tenant | None:
        """Change some of its fields; return it as it is then. None if there is no such tenant."""
        if unknown := set(changes) - _CHANGEABLE:
            raise ValueError(f"no such fields of a tenant: {sorted(unknown)}")
        statement = (
            update(tenants).where(tenants.c.tenant_id == tenant_id).values(changes).returning(*tenants.c)
        )
        async with self._database.write() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _tenant_of(row)

    async def remove(self, tenant_id: str) -> Removal:
        """Delete a tenant that has nothing but keys, and these with it."""
        async with self._database.write() as connection:
            found = select(tenants.c.tenant_id).where(tenants.c.tenant_id == tenant_id).with_for_update()
            if await connection.scalar(found) is None:
                return Removal.MISSING
            if await self._has_anything(connection, tenant_id):
                return Removal.NOT_EMPTY
            for table in (*_GOES_ALONG, agents, tenants):
                await connection.execute(delete(table).where(table.c.tenant_id == tenant_id))
        return Removal.REMOVED

    async def _has_anything(self, connection: AsyncConnection, tenant_id: str) -> bool:
        for table in _that_keep_it():
            nothing = _NOTHING.get(table.name, false())
            query = select(literal(1)).where(exists().where(table.c.tenant_id == tenant_id, ~nothing))
            if await connection.scalar(query) is not None:
                return True
        return False


def _that_keep_it() -> Iterable[Table]:
    """Every table whose rows are a tenant's own: a new one is among them without being named here."""
    passing = {tenants.name, *[each.name for each in _GOES_ALONG]}
    return [
        table
        for table in metadata.sorted_tables
        if "tenant_id" in table.columns and table.name not in passing
    ]


def new_tenant_id() -> str:
    return f"tenant_{secrets.token_hex(12)}"


def _tenant_of(row: Values) -> Tenant:
    return Tenant(
        tenant_id=row["tenant_id"],
        name=row["name"],
        max_calls=row["max_calls"],
        requests_per_minute=row["requests_per_minute"],
        webhook_secret=row["webhook_secret"],
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
    )


def _row(tenant: Tenant) -> dict[str, Any]:
    return {
        "tenant_id": tenant.tenant_id,
        "name": tenant.name,
        "max_calls": tenant.max_calls,
        "requests_per_minute": tenant.requests_per_minute,
        "webhook_secret": tenant.webhook_secret,
        "settings": {},
        "created_at": tenant.created_at,
        "disabled_at": tenant.disabled_at,
    }

"""Our telephone numbers: which tenant has one, with which carrier account, and which agent answers it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.integrations import DEFAULT
from control.stores.columns import Values
from control.stores.database import Database
from control.stores.keyset import Keyset, Page
from control.stores.tables import agents, integrations, numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRoute:
    """Where a number leads."""

    number: str
    """E.164."""
    tenant_id: str
    carrier: str
    integration_id: str
    agent_id: str | None = None
    """Who answers; None: nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedNumber:
    """A number that a tenant has claimed."""

    number_id: str
    tenant_id: str
    number: str
    """E.164."""
    carrier: str
    integration_id: str
    """Of the carrier account; `default`: that of the settings."""
    carrier_number_id: str | None = None
    """The carrier's own name for it."""
    agent_id: str | None = None
    """Who answers; None: nobody."""
    label: str | None = None
    """For people."""
    created_at: datetime
    updated_at: datetime


class Claiming(Enum):
    """What became of claiming a number."""

    DONE = auto()
    TAKEN = auto()
    """It is claimed already: by the tenant, or by somebody with the same carrier account."""
    NO_ACCOUNT = auto()
    """The carrier account was deleted meanwhile."""
    NO_AGENT = auto()
    """The agent was deleted meanwhile."""


class AgentDeleted(Exception):
    """Whoever is to answer a number was deleted meanwhile."""


_ROUTE = [numbers.c[name] for name in ("number", "tenant_id", "carrier", "integration_id", "agent_id")]
_SORTABLE: Mapping[str, ColumnElement[Any]] = {
    name: numbers.c[name] for name in ("created_at", "updated_at", "number", "carrier")
}
FILTERS = ("carrier", "integration_id", "agent_id", "number")
"""By which lists may be narrowed."""


class Numbers:
    """Keeps and finds numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def route(self, carrier: str, integration_id: str, number: str) -> NumberRoute | None:
        """Return where a call leads that this carrier account brings; None: the number is not with it."""
        return await self._first(_is_with(carrier, integration_id), numbers.c.number == number)

    async def held(self, tenant_id: str, number: str) -> NumberRoute | None:
        """Return the number as the tenant has it."""
        return await self._first(numbers.c.tenant_id == tenant_id, numbers.c.number == number)

    async def any_with(self, carrier: str, integration_id: str) -> bool:
        """Whether any number at all was claimed with this carrier account."""
        async with self._database.find() as connection:
            found = await connection.scalar(select(exists().where(_is_with(carrier, integration_id))))
        return bool(found)

    async def claim(self, claimed: ClaimedNumber) -> Claiming:
        """Keep a number; of many who claim it at once, one has it."""
        async with self._database.write() as connection:
            if not await _holds(connection, claimed):
                return Claiming.NO_ACCOUNT
            if not await _answers(connection, claimed.tenant_id, claimed.agent_id):
                return Claiming.NO_AGENT
            row = {column.name: getattr(claimed, column.name) for column in numbers.columns}
            made = await self._database.insert_new(connection, numbers, [row], "number_id")
        return Claiming.DONE if made else Claiming.TAKEN

    async def get(self, tenant_id: str, number_id: str) -> ClaimedNumber | None:
        async with self._database.read() as connection:
            query = select(numbers).where(_is(tenant_id, number_id))
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _claimed(row)

    async def page(
        self, tenant_id: str, page: Page, wanted: Mapping[str, str]
    ) -> tuple[list[ClaimedNumber], str | None]:
        """Return a page of the tenant's numbers, newest first unless told otherwise, and the next cursor.

        Args:
            wanted: values of fields in `FILTERS`; all hold.

        Raises:
            InvalidCursor, InvalidSort: the page is none of this list.
        """
        order = Keyset.of(page.sort or ("-created_at",), _SORTABLE, numbers.c.number_id)
        query = select(numbers).where(
            numbers.c.tenant_id == tenant_id, *[numbers.c[name] == value for name, value in wanted.items()]
        )
        async with self._database.read() as connection:
            rows, cursor = await order.page(connection, query, page)
        return [_claimed(row) for row in rows], cursor

    async def claimed_of(self, tenant_id: str, wanted: Collection[str]) -> set[str]:
        """Return which of these numbers the tenant has claimed."""
        query = select(numbers.c.number).where(numbers.c.tenant_id == tenant_id)
        async with self._database.read() as connection:
            return set((await connection.scalars(query)).all()) & set(wanted)

    async def assign(
        self, tenant_id: str, number_id: str, agent_id: str | None, now: datetime
    ) -> ClaimedNumber | None:
        """Have an agent answer a number, or nobody; None: there is no such number.

        Raises:
            AgentDeleted
        """
        statement = (
            update(numbers)
            .where(_is(tenant_id, number_id))
            .values(agent_id=agent_id, updated_at=now)
            .returning(*numbers.c)
        )
        async with self._database.write() as connection:
            if not await _answers(connection, tenant_id, agent_id):
                raise AgentDeleted
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _claimed(row)

    async def release(self, tenant_id: str, number_id: str) -> bool:
        """Forget a number; whether it was there."""
        async with self._database.write() as connection:
            result = await connection.execute(delete(numbers).where(_is(tenant_id, number_id)))
            return result.rowcount == 1

    async def _first(self, *holds: ColumnElement[bool]) -> NumberRoute | None:
        query = select(*_ROUTE).where(*holds).order_by(numbers.c.created_at.desc()).limit(1)
        async with self._database.find() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _route(row)


async def _holds(connection: AsyncConnection, claimed: ClaimedNumber) -> bool:
    """Whether the account is there, and stays while the transaction lasts (`Integrations.delete` waits for it)."""
    if claimed.integration_id == DEFAULT:
        return True
    query = (
        select(integrations.c.integration_id)
        .where(
            integrations.c.tenant_id == claimed.tenant_id,
            integrations.c.integration_id == claimed.integration_id,
        )
        .with_for_update()
    )
    return await connection.scalar(query) is not None


async def _answers(connection: AsyncConnection, tenant_id: str, agent_id: str | None) -> bool:
    """Whether an agent is there, and stays while the transaction lasts (`Agents.delete` waits for it).

    One that was never stored is of the settings.
    """
    query = (
        select(agents.c.deleted_at)
        .where(agents.c.tenant_id == tenant_id, agents.c.agent_id == agent_id)
        .with_for_update()
    )
    return agent_id is None or await connection.scalar(query) is None


def _is(tenant_id: str, number_id: str) -> ColumnElement[bool]:
    return (numbers.c.tenant_id == tenant_id) & (numbers.c.number_id == number_id)


def _is_with(carrier: str, integration_id: str) -> ColumnElement[bool]:
    return (numbers.c.carrier == carrier) & (numbers.c.integration_id == integration_id)


def _route(row: Values) -> NumberRoute:
    return NumberRoute(**{name: row[name] for name in NumberRoute.__slots__})


def _claimed(row: Values) -> ClaimedNumber:
    return ClaimedNumber(**{name: row[name] for name in ClaimedNumber.__slots__})

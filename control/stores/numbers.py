"""Our telephone numbers: which tenant has one, with which carrier account, and which agent answers it."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, select

from control.stores.columns import Values
from control.stores.database import Database
from control.stores.tables import numbers


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


_ROUTE = [numbers.c[name] for name in ("number", "tenant_id", "carrier", "integration_id", "agent_id")]


class Numbers:
    """Finds numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def route(self, carrier: str, integration_id: str, number: str) -> NumberRoute | None:
        """Return where a call leads that this carrier account brings; None: the number is not with it."""
        return await self._first(_is_with(carrier, integration_id), numbers.c.number == number)

    async def held(self, tenant_id: str, number: str) -> NumberRoute | None:
        """Return the number as the tenant has it; of several accounts, the one it was claimed with last."""
        return await self._first(numbers.c.tenant_id == tenant_id, numbers.c.number == number)

    async def any_with(self, carrier: str, integration_id: str) -> bool:
        """Whether any number at all was claimed with this carrier account."""
        async with self._database.find() as connection:
            found = await connection.scalar(select(exists().where(_is_with(carrier, integration_id))))
        return bool(found)

    async def _first(self, *holds: ColumnElement[bool]) -> NumberRoute | None:
        query = select(*_ROUTE).where(*holds).order_by(numbers.c.created_at.desc()).limit(1)
        async with self._database.find() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _route(row)


def _is_with(carrier: str, integration_id: str) -> ColumnElement[bool]:
    return (numbers.c.carrier == carrier) & (numbers.c.integration_id == integration_id)


def _route(row: Values) -> NumberRoute:
    return NumberRoute(**{name: row[name] for name in NumberRoute.__slots__})

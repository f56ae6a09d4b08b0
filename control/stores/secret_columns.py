"""Everything that is kept encrypted: brought under the current key, row by row, while the gateway runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Table, and_, select, tuple_, update

from control.secrets import SecretUnreadable
from control.stores.database import Database
from control.stores.tables import agent_versions, agents, integrations, tenants, webhooks

COLUMNS: tuple[Column[Any], ...] = (
    webhooks.c.secret,
    webhooks.c.previous_secret,
    tenants.c.webhook_secret,
    agents.c.secret,
    agent_versions.c.secrets,
    integrations.c.credentials,
)
"""Every column whose values only a `Cipher` reads."""

# Rows of one transaction: others wait for no more than these.
_AT_A_TIME = 200

Rotated = Callable[[bytes], bytes | None]
"""Returns a secret under the current key, None if it is already; raises `SecretUnreadable`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reencrypted:
    """What became of the secrets."""

    changed: int = 0
    unreadable: int = 0
    """Under a key that nobody has given us: as they were."""

    def __add__(self, other: "Reencrypted") -> "Reencrypted":
        return Reencrypted(
            changed=self.changed + other.changed, unreadable=self.unreadable + other.unreadable
        )


class SecretColumns:
    """Driven by whoever replaces a key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reencrypt(self, rotated: Rotated) -> Reencrypted:
        """Bring every secret under the current key. May be stopped and begun again.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        total = Reencrypted()
        for column in COLUMNS:
            total += await self._column(column, rotated)
        return total

    async def _column(self, column: Column[Any], rotated: Rotated) -> Reencrypted:
        table = column.table
        assert isinstance(table, Table), "each is a column of a table"
        key = list(table.primary_key.columns)
        total, last = Reencrypted(), None
        while True:
            query = (
                select(*key, column.label("kept")).where(column.is_not(None)).order_by(*key).limit(_AT_A_TIME)
            )
            if last is not None:
                query = query.where(tuple_(*key) > tuple_(*last))
            async with self._database.write() as connection:
                rows = (await connection.execute(query)).all()
                for row in rows:
                    identity = and_(*[part == value for part, value in zip(key, row[:-1], strict=True)])
                    try:
                        fresh = rotated(row.kept)
                    except SecretUnreadable:
                        total += Reencrypted(unreadable=1)
                        continue
                    if fresh is None:
                        continue
                    # Unless somebody has given it anew meanwhile.
                    statement = update(table).where(identity, column == row.kept).values({column.name: fresh})
                    total += Reencrypted(changed=(await connection.execute(statement)).rowcount)
            if len(rows) < _AT_A_TIME:
                return total
            last = rows[-1][:-1]

"""The processes that share this database: when each was last here, and which of them have calls that live."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, exists, or_, select

from control.call_record import LIVE
from control.stores.database import Database
from control.stores.tables import calls, nodes

_OWNING = exists().where(calls.c.node == nodes.c.node, calls.c.status.in_(sorted(LIVE)))
"""Whether a process has calls that live."""


class Nodes:
    """Keeps when processes were last here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, node: str, now: datetime) -> None:
        """Note that a process is there."""
        statement = self._database.insert(nodes).values(node=node, seen_at=now)
        async with self._database.write() as connection:
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["node"], set_={"seen_at": now})
            )

    async def others(self, but: str, since: datetime) -> Mapping[str, datetime]:
        """Return when the other processes than `but` were last here that have live calls, or were here since then."""
        query = select(nodes).where(nodes.c.node != but, or_(nodes.c.seen_at >= since, _OWNING))
        async with self._database.read() as connection:
            return {row.node: row.seen_at for row in await connection.execute(query)}

    async def forget(self, before: datetime) -> int:
        """Forget the processes that were last here before this moment and have no live calls; return how many."""
        async with self._database.write() as connection:
            return (
                await connection.execute(delete(nodes).where(nodes.c.seen_at < before, ~_OWNING))
            ).rowcount

"""What is to be extracted from calls that have ended: owed with the call's last event, tried until it is had.

An attempt is claimed for as long as it may take: what a process that dies has claimed is due again by itself, and as
soon as it starts again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import EventRecord
from control.stores.database import Database
from control.stores.events import Events, StoredEvent
from control.stores.tables import calls, extractions

_PENDING, _DONE, _FAILED = "pending", "done", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedExtraction:
    """One call that is to be read."""

    call_id: str
    tenant_id: str
    schema: Mapping[str, Any] = field(repr=False)
    attempt: int
    """From 1."""


class Extractions:
    """Keeps what is owed, and what came of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events = Events(database)

    async def owe(self, connection: AsyncConnection, new: Sequence[StoredEvent]) -> None:
        """Owe what the events that were just stored ask for."""
        rows = [
            _row(each.event, each.event.extraction_schema)
            for each in new
            if each.event.extraction_schema is not None
        ]
        if rows:
            await self._database.insert_new(connection, extractions, rows)

    async def next_due(self) -> datetime | None:
        """Return when the next one may be tried; None: nothing is owed."""
        query = select(func.min(extractions.c.next_attempt_at)).where(extractions.c.state == _PENDING)
        async with self._database.read() as connection:
            due: datetime | None = await connection.scalar(query)
        return due

    async def claim(self, now: datetime, until: datetime, limit: int, *, node: str) -> list[OwedExtraction]:
        """Take what is due for a process; nobody else is given it before `until`."""
        due = (
            select(extractions.c.call_id)
            .where(extractions.c.state == _PENDING, extractions.c.next_attempt_at <= now)
            .order_by(extractions.c.next_attempt_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._database.write() as connection:
            ids = list((await connection.scalars(due)).all())
            taken = (
                update(extractions)
                .where(extractions.c.call_id.in_(ids))
                .values(next_attempt_at=until, claimed_by=node, attempts=extractions.c.attempts + 1)
                .returning(extractions)
            )
            rows = (await connection.execute(taken)).mappings().all() if ids else ()
        return [
            OwedExtraction(
                call_id=row["call_id"],
                tenant_id=row["tenant_id"],
                schema=row["schema"],
                attempt=row["attempts"],
            )
            for row in rows
        ]

    async def done(
        self, owed: OwedExtraction, data: Mapping[str, object], told: EventRecord, now: datetime
    ) -> bool:
        """Keep what was extracted, in the call and its timeline; False if there is nothing left to do for it."""
        async with self._database.write() as connection:
            if not await self._finish(connection, owed, _DONE, None, now):
                return False
            await connection.execute(
                update(calls).where(calls.c.call_id == owed.call_id).values(extracted_data=data)
            )
            await self._events.append(connection, [told])
        return True

    async def failed(self, owed: OwedExtraction, error: str, told: EventRecord, now: datetime) -> bool:
        """Give up; False if there is nothing left to do for it."""
        async with self._database.write() as connection:
            if not await self._finish(connection, owed, _FAILED, error, now):
                return False
            await self._events.append(connection, [told])
        return True

    async def give_back(self, node: str, now: datetime) -> None:
        """Have everything tried again now that an earlier process of this name had claimed when it died."""
        async with self._database.write() as connection:
            await connection.execute(
                update(extractions)
                .where(extractions.c.claimed_by == node, extractions.c.state == _PENDING)
                .values(next_attempt_at=now, claimed_by=None)
            )

    async def postpone(self, owed: OwedExtraction, until: datetime, error: str | None = None) -> None:
        """Have it tried again, from `until` on."""
        async with self._database.write() as connection:
            await connection.execute(
                update(extractions)
                .where(extractions.c.call_id == owed.call_id, extractions.c.state == _PENDING)
                .values(next_attempt_at=until, claimed_by=None, error=error)
            )

    async def _finish(
        self,
        connection: AsyncConnection,
        owed: OwedExtraction,
        state: str,
        error: str | None,
        now: datetime,
    ) -> bool:
        """Whether it was still open: an attempt that outlasted its claim may come second."""
        # The call's row first, as everywhere: two that lock both never wait for each other.
        await connection.execute(select(calls.c.id).where(calls.c.call_id == owed.call_id).with_for_update())
        ended = (
            update(extractions)
            .where(extractions.c.call_id == owed.call_id, extractions.c.state == _PENDING)
            .values(state=state, error=error, next_attempt_at=None, finished_at=now)
            .returning(extractions.c.call_id)
        )
        return await connection.scalar(ended) is not None


def _row(event: EventRecord, schema: Mapping[str, object] | None) -> dict[str, Any]:
    return {
        "call_id": event.call_id,
        "tenant_id": event.tenant_id,
        "schema": schema,
        "state": _PENDING,
        "attempts": 0,
        "next_attempt_at": event.occurred_at,
        "created_at": event.occurred_at,
    }

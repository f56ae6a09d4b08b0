"""What happened, of all calls, in one order: appended with the calls, read as timelines and as a tenant's stream."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ScalarSelect, and_, exists, func, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import EventRecord
from control.stores.columns import Values
from control.stores.database import Database
from control.stores.tables import calls, deliveries, events

# Events of a call, of the kinds that are asked for: a day of talk.
_MOST = 20_000


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event and its place among all of them: the cursor that a stream resumes by."""

    position: int
    event: EventRecord


class Events:
    """Reads events; `append` is for rooms that are in the middle of a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        tenant_id: str,
        call_id: str | None = None,
        *,
        after: int = 0,
        limit: int = 100,
        published_only: bool = False,
    ) -> list[StoredEvent]:
        """Return the events that come after this position, in order.

        Nothing is passed over: an event that is not in an answer, and whose position is below the last of that
        answer, will never be. Positions have gaps.
        """
        async with self._database.read() as connection:
            end = await self._database.settled(connection, events.name, events.c.position.name)
            wanted = [events.c.position > after]
            if end is not None:
                wanted.append(events.c.position <= end)
            if call_id is None:
                wanted.append(events.c.tenant_id == tenant_id)
            else:
                # The tenant is the call's: with both conditions here a planner may walk all of a tenant's events.
                wanted.append(events.c.call_id == _call_of(tenant_id, call_id))
            if published_only:
                # What is of no call is said of an endpoint, to its owner.
                wanted.append(or_(events.c.sequence.is_not(None), events.c.call_id.is_(None)))
            query = select(events).where(and_(*wanted)).order_by(events.c.position).limit(limit)
            rows = (await connection.execute(query)).mappings().all()
        return [StoredEvent(row["position"], event_of(row)) for row in rows]

    async def last_position(self, tenant_id: str) -> int:
        """Return where the tenant's stream ends now: what a reader starts after who wants only what is to come."""
        async with self._database.read() as connection:
            end = await self._database.settled(connection, events.name, events.c.position.name)
            query = select(func.max(events.c.position)).where(events.c.tenant_id == tenant_id)
            if end is not None:
                query = query.where(events.c.position <= end)
            return (await connection.scalar(query)) or 0

    async def last_sequence(self, call_id: str) -> int:
        """Return the sequence of the call's last published event; 0 if it has none."""
        async with self._database.read() as connection:
            query = select(func.max(events.c.sequence)).where(events.c.call_id == call_id)
            return (await connection.scalar(query)) or 0

    async def named(self, call_id: str, names: Collection[str]) -> list[EventRecord]:
        """Return the events of a call that have one of these names, in order."""
        async with self._database.read() as connection:
            return await self.named_within(connection, call_id, names)

    async def named_within(
        self, connection: AsyncConnection, call_id: str, names: Collection[str]
    ) -> list[EventRecord]:
        """`named`, for rooms that are in the middle of a transaction."""
        wanted = and_(events.c.call_id == call_id, events.c.name.in_(sorted(names)))
        query = select(events).where(wanted).order_by(events.c.position).limit(_MOST)
        rows = (await connection.execute(query)).mappings().all()
        return [event_of(row) for row in rows]

    async def append(self, connection: AsyncConnection, records: Sequence[EventRecord]) -> list[StoredEvent]:
        """Append those that are not there already; return these, in order, with their positions."""
        if not records:
            return []
        await self._database.announce(connection, events.name, events.c.position.name)
        by_id = {record.event_id: record for record in records}
        rows = [_row(record) for record in by_id.values()]
        new = await self._database.insert_new(connection, events, rows, "position", "event_id")
        return [StoredEvent(position, by_id[event_id]) for position, event_id in sorted(new)]


async def forget_secrets(connection: AsyncConnection, positions: Collection[int]) -> None:
    """Erase what stands in these events' webhooks alone, of those of which nobody is owed one any more."""
    if not positions:
        return
    these = events.c.position.in_(positions)
    # One at a time: of two who give up the last two deliveries of an event, the second sees that it was the last.
    await connection.execute(
        select(events.c.position).where(these).order_by(events.c.position).with_for_update()
    )
    owed = exists().where(deliveries.c.position == events.c.position, deliveries.c.state == "pending")
    await connection.execute(update(events).where(these, ~owed).values(secret=null()))


def _call_of(tenant_id: str, call_id: str) -> ScalarSelect[str]:
    return (
        select(calls.c.call_id)
        .where(calls.c.call_id == call_id, calls.c.tenant_id == tenant_id)
        .scalar_subquery()
    )


def event_of(row: Values) -> EventRecord:
    return EventRecord(
        event_id=row["event_id"],
        tenant_id=row["tenant_id"],
        call_id=row["call_id"] or "",
        agent_id=row["agent_id"],
        name=row["name"],
        sequence=row["sequence"],
        occurred_at=row["occurred_at"],
        at=row["at"],
        data=row["data"],
    )


def _row(record: EventRecord) -> dict[str, object]:
    return {
        "event_id": record.event_id,
        "tenant_id": record.tenant_id,
        # Of no call: what we say of an endpoint.
        "call_id": record.call_id or None,
        "agent_id": record.agent_id,
        "name": record.name,
        "sequence": record.sequence,
        "occurred_at": record.occurred_at,
        "at": record.at,
        "data": record.data,
        "secret": record.secret or None,
    }

"""Calls: kept while they live, listed and searched afterwards, erased for good.

Theory of operation. A call's owner saves the whole record again and again, each time with what has happened since:
row, events and what is owed to endpoints are one transaction. Saves may be repeated and late (a journal is replayed
after an outage): an event that is there is not appended again, and a record is written only if its revision is not
below the kept one's and it does not bring an ended call back to life. Whoever ends a call that its owner has left
(`end`) does so only while nobody has kept anything of it since. That leaves the revision as it was: an owner that was
merely cut off knows best, its record is written over that end, but what was told of as ended does not end again. Notes
belong to people, and what is extracted comes after the call: a save leaves both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import LIVE, CallRecord, EventRecord
from control.stores.call_rows import changes_of, details_of, record_of, row_of
from control.stores.columns import Money
from control.stores.database import Database
from control.stores.deliveries import Deliveries
from control.stores.drafts import Drafts
from control.stores.errors import Taken
from control.stores.events import Events
from control.stores.extractions import Extractions
from control.stores.idempotency import Claim, Claimed, ClaimOutcome, Idempotency
from control.stores.recordings import owe_erasure
from control.stores.search import Search
from control.stores.tables import call_details, calls, erased_calls, events, recordings, turns
from control.stores.tool_logs import ToolLogs
from control.unfinished import ENDINGS, ending
from telephony.causes import CallStatus

_LIVE = sorted(LIVE)
# Calls; more than begin in the time of the longest, and few enough to be looked through while a process starts.
_LATEST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallState:
    """What is asked most often of a call."""

    call_id: str
    status: CallStatus
    duration_seconds: Decimal
    started_at: datetime
    ended_at: datetime | None


class Deletion(Enum):
    """What became of a wish to erase a call."""

    ERASED = auto()
    LIVE = auto()
    """It has not ended: nothing was erased."""
    MISSING = auto()


class Calls:
    """Keeps calls."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events = Events(database)
        self._deliveries = Deliveries(database)
        self._idempotency = Idempotency(database)
        self._search = Search(database)
        self._tool_logs = ToolLogs(database)
        self._extractions = Extractions(database)
        self._drafts = Drafts(database)

    # Its owner

    async def add(
        self, record: CallRecord, events: Sequence[EventRecord], claim: Claim | None = None
    ) -> ClaimOutcome:
        """Keep a new call, and the idempotency key of the request that it comes of.

        Anything but `Claimed` means that the key was used before, and that no call was added.

        Raises:
            Taken: there is a call of that id.
        """
        _check(record, events)
        async with self._database.write() as connection:
            if claim is not None:
                outcome = await self._idempotency.claim_within(
                    connection, record.tenant_id, claim, record.started_at, record.call_id
                )
                if not isinstance(outcome, Claimed):
                    return outcome
            number = await self._insert(connection, record)
            if number is None:
                raise Taken("a call of that id")
            await self._keep_parts(connection, number, record)
            await self._append(connection, record, events)
        return Claimed()

    async def save(self, record: CallRecord, events: Sequence[EventRecord]) -> bool:
        """Keep the record and append the events that are not there yet; whether the record was written.

        False: a later save has been there before, or the call was erased (then no event is kept either).
        """
        _check(record, events)
        async with self._database.write() as connection:
            number = await self._update(connection, record)
            written = number is not None
            if number is None:
                number = await self._insert(connection, record)
                written = number is not None
            if number is None and not await self._lock(connection, record):
                return False
            if number is not None:
                await self._keep_parts(connection, number, record)
            # Nobody has told of the end of a call that lived until now, and lives on.
            if not (written and record.live) and await self._is_told(connection, record.call_id):
                events = await self._news(connection, record.call_id, events)
            await self._append(connection, record, events)
        return written

    async def end(self, before: CallRecord, ended: CallRecord, events: Sequence[EventRecord]) -> bool:
        """Keep the end of a call that its owner has left, or what is known of one that was not told of, and tell of it.

        False: nothing was kept, for somebody has kept something of it since, or told of its end.

        Args:
            before: the call as it was read.
            events: `call.ended` among them.
        """
        _check(ended, events)
        query = select(calls.c.id).where(
            _is(before.tenant_id, before.call_id),
            calls.c.revision == before.revision,
            calls.c.status == before.status.value,
        )
        async with self._database.write() as connection:
            number: int | None = await connection.scalar(query.with_for_update())
            if number is None or await self._is_told(connection, before.call_id):
                return False
            await self._update(connection, replace(ended, revision=before.revision))
            await self._keep_parts(connection, number, ended)
            await self._append(connection, ended, events)
        return True

    async def _update(self, connection: AsyncConnection, record: CallRecord) -> int | None:
        fresh = [calls.c.revision <= record.revision]
        if record.live:
            fresh.append(calls.c.status.in_(_LIVE))
        statement = update(calls).where(_is(record.tenant_id, record.call_id), *fresh)
        # What the recording costs is known after the last save.
        total = literal(record.total_cost - record.recording_cost, Money()) + calls.c.recording_cost
        changes = changes_of(record) | {"total_cost": total}
        number: int | None = await connection.scalar(statement.values(changes).returning(calls.c.id))
        return number

    async def _insert(self, connection: AsyncConnection, record: CallRecord) -> int | None:
        erased = select(erased_calls.c.call_id).where(erased_calls.c.call_id == record.call_id)
        if await connection.scalar(erased) is not None:
            return None
        new = await self._database.insert_new(connection, calls, [row_of(record)], "id")
        return new[0][0] if new else None

    async def _lock(self, connection: AsyncConnection, record: CallRecord) -> bool:
        """Lock the call's row, which is newer than this record; False if there is none of this tenant."""
        query = select(calls.c.id).where(_is(record.tenant_id, record.call_id)).with_for_update()
        return await connection.scalar(query) is not None

    async def _keep_parts(self, connection: AsyncConnection, number: int, record: CallRecord) -> None:
        details = details_of(record)
        if details is not None:
            statement = self._database.insert(call_details).values(details)
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["call_id"], set_=dict(statement.excluded))
            )
        if not record.live:
            await self._keep_turns(connection, number, record)
            await self._index(connection, number)

    async def _keep_turns(self, connection: AsyncConnection, number: int, record: CallRecord) -> None:
        """The latencies of an ended call, one row per turn."""
        await connection.execute(delete(turns).where(turns.c.call == number))
        stages = [column.name for column in turns.columns if column.name.endswith("_ms")]
        rows = [
            {"call": number, "turn": place, **{stage: _whole(turn.get(stage)) for stage in stages}}
            for place, turn in enumerate(record.latency_turns)
        ]
        if rows:
            await connection.execute(insert(turns), rows)

    async def _index(self, connection: AsyncConnection, number: int) -> None:
        """Index a call by what is kept of it: the notes are not in the record that is saved."""
        row = (await connection.execute(_whole_calls().where(calls.c.id == number))).mappings().one()
        await self._search.keep(connection, number, record_of(row, row))

    async def _append(
        self, connection: AsyncConnection, record: CallRecord, events: Sequence[EventRecord]
    ) -> None:
        new = await self._events.append(connection, events)
        await self._tool_logs.append(connection, new)
        await self._extractions.owe(connection, new)
        await self._drafts.append(connection, record.call_id, record.revision, new)
        if new:
            now = max(stored.event.occurred_at for stored in new)
            await self._deliveries.owe(connection, record.tenant_id, new, record.webhook_url, now)

    async def _is_told(self, connection: AsyncConnection, call_id: str) -> bool:
        """Whether the call's end was told already: by us, or by another process that took its owner for dead.

        The call's row is locked by now: of two that tell of it at once, the second sees the first.
        """
        told = select(events.c.position).where(events.c.call_id == call_id, events.c.name == "call.ended")
        return await connection.scalar(told.limit(1)) is not None

    async def _news(
        self, connection: AsyncConnection, call_id: str, late: Sequence[EventRecord]
    ) -> list[EventRecord]:
        """What is news of a call whose end was told: no second end of anything, and no pieces of a draft."""
        over = {ending(each) for each in await self._events.named_within(connection, call_id, ENDINGS)}
        return [replace(each, draft=()) for each in late if ending(each) not in over]

    # Others that change it

    async def set_notes(self, tenant_id: str, call_id: str, notes: str | None) -> bool:
        """Write people's notes; whether there is such a call."""
        async with self._database.write() as connection:
            statement = update(calls).where(_is(tenant_id, call_id)).values(notes=notes)
            row = (await connection.execute(statement.returning(calls.c.id, calls.c.status))).one_or_none()
            if row is None:
                return False
            if row.status not in _LIVE:
                await self._index(connection, row.id)
            return True

    async def delete(self, tenant_id: str, call_id: str, now: datetime) -> Deletion:
        """Erase an ended call, its events and deliveries, for good: no late save brings it back.

        Its files are deleted afterwards (`Recordings.erasures`).
        """
        async with self._database.write() as connection:
            query = (
                select(calls.c.id, calls.c.status, calls.c.node)
                .where(_is(tenant_id, call_id))
                .with_for_update()
            )
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return Deletion.MISSING
            if row.status in _LIVE:
                return Deletion.LIVE
            await connection.execute(insert(erased_calls).values(call_id=call_id, erased_at=now))
            kept = select(recordings.c.path).where(recordings.c.call_id == call_id)
            path = await connection.scalar(kept)
            await owe_erasure(connection, tenant_id, call_id, row.node, path, now, whole_call=True)
            await self._search.drop(connection, row.id)
            await connection.execute(delete(calls).where(calls.c.id == row.id))
            return Deletion.ERASED

    # Readers

    async def get(self, tenant_id: str, call_id: str) -> CallRecord | None:
        """Return the whole record."""
        query = _whole_calls().where(_is(tenant_id, call_id))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else record_of(row, row)

    async def state(self, tenant_id: str, call_id: str) -> CallState | None:
        columns = (calls.c.status, calls.c.duration_ms, calls.c.started_at, calls.c.ended_at)
        query = select(*columns).where(_is(tenant_id, call_id))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        return CallState(
            call_id=call_id,
            status=CallStatus(row.status),
            duration_seconds=Decimal(row.duration_ms) / 1000,
            started_at=row.started_at,
            ended_at=row.ended_at,
        )

    async def live(self, node: str | None = None, tenant_id: str | None = None) -> list[CallRecord]:
        """Return the calls that have not ended, the oldest first: of one process, one tenant, or all."""
        query = _whole_calls().where(calls.c.status.in_(_LIVE)).order_by(calls.c.started_at, calls.c.id)
        if node is not None:
            query = query.where(calls.c.node == node)
        if tenant_id is not None:
            query = query.where(calls.c.tenant_id == tenant_id)
        async with self._database.read() as connection:
            return [record_of(row, row) for row in (await connection.execute(query)).mappings()]

    async def untold(self, node: str) -> list[CallRecord]:
        """Return the calls of one process that have ended, and of whose end nothing was said, the oldest first.

        Of the latest alone: whatever a process had in hand when it died began not long before.
        """
        latest = select(func.max(calls.c.id)).scalar_subquery()
        told = exists().where(events.c.call_id == calls.c.call_id, events.c.name == "call.ended")
        query = (
            _whole_calls()
            .where(
                calls.c.id > latest - _LATEST,
                calls.c.node == node,
                calls.c.status.not_in(_LIVE),
                ~told,
            )
            .order_by(calls.c.id)
        )
        async with self._database.read() as connection:
            return [record_of(row, row) for row in (await connection.execute(query)).mappings()]


def _is(tenant_id: str, call_id: str) -> ColumnElement[bool]:
    return (calls.c.call_id == call_id) & (calls.c.tenant_id == tenant_id)


def _whole_calls() -> Select[Any]:
    return select(calls, call_details.c.transcript, call_details.c.latency_turns).outerjoin(
        call_details, call_details.c.call_id == calls.c.call_id
    )


def _whole(value: object) -> int | None:
    return round(value) if isinstance(value, int | float) else None


def _check(record: CallRecord, events: Sequence[EventRecord]) -> None:
    """A row of one tenant never comes with another's."""
    if any((each.tenant_id, each.call_id) != (record.tenant_id, record.call_id) for each in events):
        raise ValueError("events are saved with their own call")

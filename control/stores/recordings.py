"""Recordings: filed after their calls, listed, erased, transcribed.

Theory of operation. A file is *filed* in two steps: `begin` says that it is on its way, and `finish` that it is there,
in the transaction that tells of it (`call.recording_ready` and what is owed for it) and puts it into the call's row.
Both see whether the call or the recording was erased meanwhile, and then the file must go. Whatever is erased leaves,
in the same transaction, an erasure: files are deleted until they are gone, though the process dies in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import CallRecord, EventRecord
from control.recordings import Recording, RecordingFormat, RecordingState, Transcription, TranscriptionState
from control.stores.call_filters import moments_of, within
from control.stores.call_rows import record_of
from control.stores.columns import Money, Values
from control.stores.database import Database
from control.stores.deliveries import Deliveries
from control.stores.events import Events
from control.stores.keyset import Keyset, Page
from control.stores.tables import calls, erased_calls, events, recording_erasures, recordings

NEWEST = ("-started_at",)
SORTABLE: Mapping[str, ColumnElement[Any]] = {"started_at": recordings.c.started_at}

_UTC = ZoneInfo("UTC")


class Unowned(Enum):
    """Why a file belongs to no call."""

    UNKNOWN = auto()
    """No such call is kept, or not yet."""
    ERASED = auto()


class Filed(Enum):
    """What became of filing a recording."""

    DONE = auto()
    LATER = auto()
    """The call has not said its last word."""
    GONE = auto()
    """It was erased, or its call: the file must go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFilters:
    """Which recordings; all that are given hold. Erased ones are none."""

    agent_id: str | None = None
    state: RecordingState | None = None
    from_date: date | None = None
    """Of the call's start, as for calls."""
    to_date: date | None = None
    timezone: ZoneInfo = _UTC

    def conditions(self, tenant_id: str) -> list[ColumnElement[bool]]:
        found = [
            recordings.c.tenant_id == tenant_id,
            recordings.c.state != RecordingState.ERASED.value,
        ]
        if self.agent_id is not None:
            found.append(recordings.c.agent_id == self.agent_id)
        if self.state is not None:
            found.append(recordings.c.state == self.state.value)
        days = moments_of(self.from_date, self.to_date, self.timezone)
        return [*found, *within(recordings.c.started_at, days)]


@dataclass(frozen=True, slots=True)
class RecordingPage:
    """A part of a list."""

    recordings: tuple[Recording, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """Files that are to go."""

    number: int
    tenant_id: str
    call_id: str
    node: str
    path: str | None
    """In the store; None: that is done, or was never there."""
    whole_call: bool
    """Whether the call's other files go, too."""


class Recordings:
    """Keeps recordings."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events = Events(database)
        self._deliveries = Deliveries(database)

    # Filing

    async def owner(self, call_id: str) -> CallRecord | Unowned:
        """Return the call that a file is named after, whoever's it is."""
        async with self._database.read() as connection:
            row = (
                (await connection.execute(select(calls).where(calls.c.call_id == call_id)))
                .mappings()
                .one_or_none()
            )
            if row is not None:
                return record_of(row)
            query = select(erased_calls.c.call_id).where(erased_calls.c.call_id == call_id)
            erased = await connection.scalar(query)
        return Unowned.UNKNOWN if erased is None else Unowned.ERASED

    async def begin(self, recording: Recording, *, again: bool = False) -> Filed | None:
        """Keep a recording that is on its way; None: it is. One that is ready already is left as it is (`DONE`),
        unless it is to be filed `again`."""
        async with self._database.write() as connection:
            if not await self._lock(connection, recording):
                return Filed.GONE
            if not await self._has_ended(connection, recording.call_id):
                return Filed.LATER
            kept = await self._state(connection, recording.call_id)
            if kept is RecordingState.ERASED:
                return Filed.GONE
            if kept is RecordingState.READY and not again:
                return Filed.DONE
            await self._put(connection, recording)
        return None

    async def finish(self, recording: Recording, cost: Decimal, event: EventRecord | None) -> Filed:
        """Keep a recording whose file is in the store, and tell of it, once: `event` gets its number here.

        Args:
            cost: of the recording, for the call's record.
            event: None where nobody is to be told (again).
        """
        async with self._database.write() as connection:
            if not await self._lock(connection, recording):
                return Filed.GONE
            if not await self._has_ended(connection, recording.call_id):
                return Filed.LATER
            if await self._state(connection, recording.call_id) is RecordingState.ERASED:
                return Filed.GONE
            await self._put(connection, recording)
            await self._tell_call(connection, recording, cost)
            if event is not None:
                await self._publish(connection, recording, event)
        return Filed.DONE

    async def fail(self, recording: Recording, problem: str) -> bool:
        """Keep that there is no audio, and why; the call has no recording then.

        False: somebody has filed or erased it since it was read.
        """
        async with self._database.write() as connection:
            if not await self._lock(connection, recording):
                return False
            kept = await self._state(connection, recording.call_id)
            if kept is not None and kept is not recording.state:
                return False
            lost = replace(recording, state=RecordingState.FAILED, problem=problem, ready_at=None)
            await self._put(connection, lost)
            await connection.execute(
                update(calls).where(calls.c.call_id == recording.call_id).values(has_recording=False)
            )
        return True

    async def note_problem(self, call_id: str, problem: str) -> None:
        """Keep why a recording is still on its way."""
        async with self._database.write() as connection:
            await connection.execute(
                update(recordings)
                .where(recordings.c.call_id == call_id, recordings.c.state == RecordingState.PROCESSING.value)
                .values(problem=problem)
            )

    async def _lock(self, connection: AsyncConnection, recording: Recording) -> bool:
        """Lock the call's row: what is published of it has an order. False: there is no such call."""
        query = select(calls.c.id).where(
            calls.c.call_id == recording.call_id, calls.c.tenant_id == recording.tenant_id
        )
        return await connection.scalar(query.with_for_update()) is not None

    async def _has_ended(self, connection: AsyncConnection, call_id: str) -> bool:
        """Whether the call's owner has published its last: from then on the numbers of its events are ours."""
        query = select(events.c.position).where(events.c.call_id == call_id, events.c.name == "call.ended")
        return await connection.scalar(query.limit(1)) is not None

    async def _state(self, connection: AsyncConnection, call_id: str) -> RecordingState | None:
        query = select(recordings.c.state).where(recordings.c.call_id == call_id)
        state = await connection.scalar(query)
        return None if state is None else RecordingState(state)

    async def _put(self, connection: AsyncConnection, recording: Recording) -> None:
        row = _row(recording)
        changes = {
            name: value for name, value in row.items() if not name.startswith(("recording_id", "transc"))
        }
        statement = self._database.insert(recordings).values(row)
        await connection.execute(statement.on_conflict_do_update(index_elements=["call_id"], set_=changes))

    async def _tell_call(self, connection: AsyncConnection, recording: Recording, cost: Decimal) -> None:
        price = literal(cost, Money())
        await connection.execute(
            update(calls)
            .where(calls.c.call_id == recording.call_id)
            .values(
                has_recording=True,
                recording_cost=price,
                total_cost=calls.c.total_cost - calls.c.recording_cost + price,
            )
        )

    async def _publish(self, connection: AsyncConnection, recording: Recording, event: EventRecord) -> None:
        last = await connection.scalar(
            select(func.max(events.c.sequence)).where(events.c.call_id == recording.call_id)
        )
        new = await self._events.append(connection, [replace(event, sequence=(last or 0) + 1)])
        url = await connection.scalar(select(calls.c.webhook_url).where(calls.c.call_id == recording.call_id))
        await self._deliveries.owe(connection, recording.tenant_id, new, url, event.occurred_at)

    # Readers

    async def get(self, tenant_id: str, call_id: str) -> Recording | None:
        """Return a call's recording, whatever has become of it."""
        return await self._one(recordings.c.call_id == call_id, recordings.c.tenant_id == tenant_id)

    async def by_id(self, tenant_id: str, recording_id: str) -> Recording | None:
        return await self._one(recordings.c.recording_id == recording_id, recordings.c.tenant_id == tenant_id)

    async def of_call(self, call_id: str) -> Recording | None:
        """Return a call's recording, whoever's it is: for the process itself, and for who has a signed link."""
        return await self._one(recordings.c.call_id == call_id)

    async def page(self, tenant_id: str, filters: RecordingFilters, page: Page) -> RecordingPage:
        """Return a page of the tenant's recordings, those of the newest calls first.

        Raises:
            InvalidCursor, InvalidSort: what the page asks by.
        """
        order = Keyset.of(page.sort or NEWEST, SORTABLE, recordings.c.recording_id)
        query = select(recordings).where(*filters.conditions(tenant_id))
        async with self._database.read() as connection:
            rows, cursor = await order.page(connection, query, page)
        return RecordingPage(tuple(_recording(row) for row in rows), cursor)

    async def _one(self, *conditions: ColumnElement[bool]) -> Recording | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(recordings).where(*conditions))).mappings().one_or_none()
        return None if row is None else _recording(row)

    # Erasing

    async def erase(self, tenant_id: str, call_id: str, now: datetime) -> bool:
        """Forget a recording for good; whether there was one. Its files go by `erasures`."""
        async with self._database.write() as connection:
            return await self._erase(connection, call_id, now, recordings.c.tenant_id == tenant_id)

    async def expire(self, now: datetime, limit: int = 100) -> int:
        """Erase recordings whose time is over, the oldest first; return how many."""
        query = (
            select(recordings.c.call_id)
            .where(recordings.c.expires_at <= now, recordings.c.state != RecordingState.ERASED.value)
            .order_by(recordings.c.expires_at)
            .limit(limit)
        )
        async with self._database.read() as connection:
            due = (await connection.scalars(query)).all()
        for call_id in due:
            async with self._database.write() as connection:
                await self._erase(connection, call_id, now, recordings.c.expires_at <= now)
        return len(due)

    async def _erase(
        self, connection: AsyncConnection, call_id: str, now: datetime, condition: ColumnElement[bool]
    ) -> bool:
        which = and_(
            recordings.c.call_id == call_id, condition, recordings.c.state != RecordingState.ERASED.value
        )
        # The call's row first, as everywhere: two that lock both never wait for each other. And by a statement of its
        # own: only one that begins after the lock was given sees under which name the file was filed meanwhile.
        owner = select(calls.c.node).where(calls.c.call_id == call_id, exists().where(which))
        node = await connection.scalar(owner.with_for_update())
        row = (await connection.execute(select(recordings).where(which))).mappings().one_or_none()
        if node is None or row is None:
            return False
        await connection.execute(
            update(recordings)
            .where(recordings.c.call_id == call_id)
            .values(
                state=RecordingState.ERASED.value,
                erased_at=now,
                expires_at=None,
                problem=None,
                transcription=None,
                transcription_state=None,
                transcription_problem=None,
            )
        )
        await connection.execute(update(calls).where(calls.c.call_id == call_id).values(has_recording=False))
        await owe_erasure(connection, row["tenant_id"], call_id, node, row["path"], now)
        return True

    async def erasures(self, node: str, *, after: int = 0, limit: int = 100) -> list[Erasure]:
        """Return what this node can do, in order: files in the store are anybody's to delete, others their node's."""
        query = (
            select(recording_erasures)
            .where(
                recording_erasures.c.id > after,
                or_(recording_erasures.c.path.is_not(None), recording_erasures.c.node == node),
            )
            .order_by(recording_erasures.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            Erasure(
                number=row["id"],
                tenant_id=row["tenant_id"],
                call_id=row["call_id"],
                node=row["node"],
                path=row["path"],
                whole_call=row["whole_call"],
            )
            for row in rows
        ]

    async def erased(self, erasure: Erasure, *, node: str) -> None:
        """This node has done its part: what is left of it is another's."""
        which = recording_erasures.c.id == erasure.number
        async with self._database.write() as connection:
            if erasure.node == node:
                await connection.execute(delete(recording_erasures).where(which))
            else:
                await connection.execute(update(recording_erasures).where(which).values(path=None))

    # Transcribing

    async def ask_transcription(self, tenant_id: str, call_id: str, now: datetime) -> bool:
        """Have a recording that is ready transcribed (again); whether there is one. One that waits goes on waiting."""
        async with self._database.write() as connection:
            ready = and_(
                recordings.c.tenant_id == tenant_id,
                recordings.c.call_id == call_id,
                recordings.c.state == RecordingState.READY.value,
            )
            query = select(recordings.c.transcription_state).where(ready).with_for_update()
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return False
            if row.transcription_state != TranscriptionState.PENDING.value:
                await connection.execute(
                    update(recordings)
                    .where(ready)
                    .values(
                        transcription_state=TranscriptionState.PENDING.value,
                        transcription_requested_at=now,
                        transcription_due_at=now,
                        transcription_finished_at=None,
                        transcription_problem=None,
                    )
                )
            return True

    async def claim_transcription(self, now: datetime, lease: timedelta) -> Recording | None:
        """Take the recording that has waited longest, for as long as the lease; None: none waits."""
        waits = and_(
            recordings.c.transcription_state == TranscriptionState.PENDING.value,
            recordings.c.transcription_due_at <= now,
        )
        oldest = (
            select(recordings.c.recording_id)
            .where(waits)
            .order_by(recordings.c.transcription_due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        statement = (
            update(recordings)
            .where(recordings.c.recording_id == oldest)
            .values(transcription_due_at=now + lease)
            .returning(*recordings.c)
        )
        async with self._database.write() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _recording(row)

    async def hold_transcription(self, recording_id: str, until: datetime) -> None:
        """Go on with one that was claimed: nobody else is given it before `until`."""
        async with self._database.write() as connection:
            await connection.execute(
                update(recordings)
                .where(
                    recordings.c.recording_id == recording_id,
                    recordings.c.transcription_state == TranscriptionState.PENDING.value,
                )
                .values(transcription_due_at=until)
            )

    async def settle_transcription(
        self, recording_id: str, transcription: Transcription, retry_at: datetime | None = None
    ) -> None:
        """Keep what came of it; `retry_at` where it is to be tried again."""
        async with self._database.write() as connection:
            await connection.execute(
                update(recordings)
                .where(
                    recordings.c.recording_id == recording_id,
                    recordings.c.state == RecordingState.READY.value,
                )
                .values(
                    transcription_state=transcription.state.value,
                    transcription_due_at=retry_at,
                    transcription_finished_at=transcription.finished_at,
                    transcription_problem=transcription.problem,
                    transcription=[dict(each) for each in transcription.utterances],
                )
            )


async def owe_erasure(
    connection: AsyncConnection,
    tenant_id: str,
    call_id: str,
    node: str,
    path: str | None,
    now: datetime,
    *,
    whole_call: bool = False,
) -> None:
    """Have a call's files deleted, once this transaction is committed."""
    await connection.execute(
        insert(recording_erasures).values(
            tenant_id=tenant_id,
            call_id=call_id,
            node=node,
            path=path,
            whole_call=whole_call,
            requested_at=now,
        )
    )


_PLAIN = tuple(
    name for name in Recording.__dataclass_fields__ if name not in ("state", "format", "transcription")
)


def _row(recording: Recording) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(recording, name) for name in _PLAIN}
    return row | {"state": recording.state.value, "format": recording.format.value}


def _recording(row: Values) -> Recording:
    return Recording(
        **{name: row[name] for name in _PLAIN},
        state=RecordingState(row["state"]),
        format=RecordingFormat(row["format"]),
        transcription=_transcription(row),
    )


def _transcription(row: Values) -> Transcription | None:
    if row["transcription_state"] is None:
        return None
    return Transcription(
        state=TranscriptionState(row["transcription_state"]),
        requested_at=row["transcription_requested_at"],
        finished_at=row["transcription_finished_at"],
        utterances=tuple(row["transcription"] or ()),
        problem=row["transcription_problem"],
    )

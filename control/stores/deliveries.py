"""What is owed to endpoints: the outbox. What came of every attempt, `delivery_log` tells.

Theory of operation. Published events are owed to their endpoints in the transaction that keeps them (`owe`), so
neither is there without the other. A worker claims what is due, posts it, and settles it:

    for due in await store.deliveries.claim(now, lease=timedelta(seconds=60), limit=20): ...
        await store.deliveries.settle(due, attempt, Delivered() | RetryAt(moment) | Dead())

Events of one call reach one endpoint in their order, which makes a *lane*: only the first pending delivery of a lane
has a time (`next_attempt_at`); the next one gets its own when that one is delivered or dead. A claim moves that time
to the end of its lease: a worker that dies has promised nothing, and its deliveries are due again by themselves.

Appending to a lane and taking from it exclude one another by the lock of the call's row (PostgreSQL; SQLite has one
writer): otherwise a new delivery could wait for a predecessor that has just gone.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import EventRecord
from control.stores.database import Database
from control.stores.events import Events, StoredEvent, event_of, forget_secrets
from control.stores.tables import calls, deliveries, delivery_attempts, events, webhooks
from control.stores.webhooks import Webhook, Webhooks, wanting, webhook_of


class DeliveryState(StrEnum):
    """What has become of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery that was claimed: post it, then settle it."""

    delivery_id: str
    lease: str = field(repr=False)
    attempt: int
    """From 1."""
    owed_since: datetime
    event: EventRecord
    url: str = field(repr=False)
    webhook: Webhook | None
    """None: the call's own URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try."""

    url: str = field(repr=False)
    status_code: int | None
    """None: there was no answer."""
    success: bool
    error: str | None = None
    duration_ms: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Delivered:
    """The endpoint has it."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """It is to be tried again."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Dead:
    """It will not be tried again."""


Settlement = Delivered | RetryAt | Dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is owed, and what has become of it."""

    delivery_id: str
    webhook_id: str | None
    """None: the call's own URL."""
    call_id: str | None
    event: str
    event_id: str
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None
    """None: it waits for the one before it, or is over."""
    created_at: datetime
    finished_at: datetime | None


class Deliveries:
    """The outbox and its log."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._webhooks = Webhooks(database)
        self._events = Events(database)

    # What is owed

    async def owe(
        self,
        connection: AsyncConnection,
        tenant_id: str,
        happened: Sequence[StoredEvent],
        call_url: str | None,
        now: datetime,
    ) -> None:
        """Owe these events of one call, whose row this transaction has locked, to whoever wants them."""
        published = [stored for stored in happened if stored.event.sequence is not None]
        if not published:
            return
        endpoints = await self._webhooks.of_tenant_within(connection, tenant_id)
        owed = []
        for stored in published:
            if call_url is not None:
                owed.append(_row(stored, None, call_url, now))
            owed += [_row(stored, each.webhook_id, None, now) for each in wanting(endpoints, stored.event)]
        await self._queue(connection, owed, now)
        await forget_secrets(connection, [stored.position for stored in published if stored.event.secret])

    async def test(self, tenant_id: str, webhook_id: str, event: EventRecord) -> str | None:
        """Owe an event of no call to this endpoint alone, at once; return the delivery's id.

        None if there is no such endpoint.
        """
        async with self._database.write() as connection:
            endpoints = await self._webhooks.of_tenant_within(connection, tenant_id)
            if webhook_id not in [each.webhook_id for each in endpoints]:
                return None
            (stored,) = await self._events.append(connection, [event])
            row = _row(stored, webhook_id, None, event.occurred_at)
            await self._queue(connection, [row], event.occurred_at)
        return str(row["delivery_id"])

    async def _queue(self, connection: AsyncConnection, owed: list[dict[str, object]], now: datetime) -> None:
        """Append to the lanes: the first of an empty lane is due now."""
        if not owed:
            return
        lanes = {row["lane"] for row in owed}
        query = select(deliveries.c.lane).where(
            deliveries.c.lane.in_(lanes), deliveries.c.state == DeliveryState.PENDING
        )
        taken = set((await connection.scalars(query.distinct())).all())
        for row in owed:
            row["next_attempt_at"] = None if row["lane"] in taken else now
            taken.add(row["lane"])
        await connection.execute(insert(deliveries), owed)

    # The worker

    async def claim(
        self,
        now: datetime,
        lease: timedelta,
        limit: int = 50,
        busy: Collection[str] = (),
        token: str | None = None,
    ) -> list[Due]:
        """Take what is due, longest due first, for as long as the lease: nobody else is given it meanwhile.

        `busy` names endpoints that shall get nothing for now, webhooks by id and calls' own by URL, so that a slow one
        holds up no other. `token` names the claim to `give_back`, and is never used twice.
        """
        async with self._database.write() as connection:
            wanted = [deliveries.c.state == DeliveryState.PENDING, deliveries.c.next_attempt_at <= now]
            if busy:
                # Whichever of the two it has: neither is null in the other's place.
                wanted.append(func.coalesce(deliveries.c.webhook_id, deliveries.c.url).not_in(sorted(busy)))
            due = (
                select(deliveries.c.delivery_id)
                .where(*wanted)
                .order_by(deliveries.c.next_attempt_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            ids = list((await connection.scalars(due)).all())
            if not ids:
                return []
            token = token or secrets.token_hex(8)
            await connection.execute(
                update(deliveries)
                .where(deliveries.c.delivery_id.in_(ids))
                .values(next_attempt_at=now + lease, lease=token)
            )
            claimed = await self._claimed(connection, ids, token)
            return await self._without_disabled(connection, claimed, now)

    async def _claimed(self, connection: AsyncConnection, ids: Sequence[str], token: str) -> list[Due]:
        query = (
            select(deliveries.c.delivery_id, deliveries.c.attempts, deliveries.c.created_at, deliveries.c.url)
            .add_columns(*[each.label(f"event_{each.name}") for each in events.columns])
            .add_columns(*[each.label(f"webhook_{each.name}") for each in webhooks.columns])
            .join(events, events.c.position == deliveries.c.position)
            .outerjoin(webhooks, webhooks.c.webhook_id == deliveries.c.webhook_id)
            .where(deliveries.c.delivery_id.in_(ids))
        )
        rows = (await connection.execute(query.order_by(deliveries.c.position))).mappings()
        return [_due(row, token) for row in rows]

    async def _without_disabled(
        self, connection: AsyncConnection, claimed: Sequence[Due], now: datetime
    ) -> list[Due]:
        """Drop what was owed to an endpoint in the moment in which it was disabled."""
        disabled = {due.webhook.webhook_id for due in claimed if due.webhook and due.webhook.disabled_at}
        for webhook_id in sorted(disabled):
            await self._webhooks.drop_owed(connection, webhook_id, now)
        return [due for due in claimed if due.webhook is None or due.webhook.webhook_id not in disabled]

    async def settle(self, due: Due, attempt: Attempt, settlement: Settlement) -> None:
        """Log the attempt and what comes of it. Where the lease was lost meanwhile, only a success still counts."""
        async with self._database.write() as connection:
            lane = await self._lock(connection, due.delivery_id)
            if lane is None:
                return  # erased meanwhile, with its call or its endpoint
            # After the call and before the delivery, as everywhere: nobody waits for one another.
            if due.webhook is not None and not await self._webhooks.hold(connection, due.webhook.webhook_id):
                return
            await connection.execute(insert(delivery_attempts).values(_attempt_row(due, attempt)))
            if due.webhook is not None and attempt.success:
                await self._webhooks.succeeded(connection, due.webhook.webhook_id)
            elif due.webhook is not None:
                await self._webhooks.failed(connection, due.webhook.webhook_id, attempt.at)
            await self._settled(connection, due, attempt, settlement)
            if not isinstance(settlement, RetryAt):
                await self._advance(connection, lane, attempt.at)
                if due.event.secret:
                    query = select(deliveries.c.position).where(deliveries.c.delivery_id == due.delivery_id)
                    await forget_secrets(connection, (await connection.scalars(query)).all())

    async def release(self, due: Due, now: datetime) -> None:
        """Give a claim back, unattempted."""
        async with self._database.write() as connection:
            await connection.execute(
                update(deliveries).where(_held(due)).values(next_attempt_at=now, lease=None)
            )

    async def give_back(self, claims: str, now: datetime) -> int:
        """Give back what claims hold whose token begins so: nobody works on it. Return how many deliveries it was."""
        async with self._database.write() as connection:
            result = await connection.execute(
                update(deliveries)
                .where(
                    deliveries.c.state == DeliveryState.PENDING,
                    deliveries.c.lease.startswith(claims, autoescape=True),
                )
                .values(next_attempt_at=now, lease=None)
            )
            return result.rowcount

    async def next_due(self) -> datetime | None:
        """Return when something is due, or a lease ends; None if nothing is owed."""
        async with self._database.read() as connection:
            query = select(func.min(deliveries.c.next_attempt_at)).where(
                deliveries.c.state == DeliveryState.PENDING, deliveries.c.next_attempt_at.is_not(None)
            )
            moment: datetime | None = await connection.scalar(query)
        return moment

    async def pending(self) -> int:
        """Return how many deliveries are owed."""
        async with self._database.read() as connection:
            query = select(func.count()).select_from(deliveries)
            found = await connection.scalar(query.where(deliveries.c.state == DeliveryState.PENDING))
            return found or 0

    async def _settled(
        self, connection: AsyncConnection, due: Due, attempt: Attempt, settlement: Settlement
    ) -> None:
        statement = update(deliveries)
        match settlement:
            case Delivered():
                pending = and_(
                    deliveries.c.delivery_id == due.delivery_id, deliveries.c.state == DeliveryState.PENDING
                )
                statement = statement.where(pending).values(_over(DeliveryState.DELIVERED, attempt))
            case RetryAt(moment):
                statement = statement.where(_held(due)).values(
                    next_attempt_at=moment, lease=None, attempts=due.attempt
                )
            case Dead():
                statement = statement.where(_held(due)).values(_over(DeliveryState.DEAD, attempt))
        await connection.execute(statement)
        if not isinstance(settlement, RetryAt):
            await connection.execute(
                update(deliveries)
                .where(deliveries.c.delivery_id == due.delivery_id)
                .values(attempts=due.attempt)
            )

    async def _lock(self, connection: AsyncConnection, delivery_id: str) -> str | None:
        """Lock the lane that a delivery stands in; return its name, None if the delivery is gone."""
        query = select(deliveries.c.call_id, deliveries.c.lane).where(deliveries.c.delivery_id == delivery_id)
        found = (await connection.execute(query)).one_or_none()
        if found is None:
            return None
        call_id, lane = found
        if call_id is not None:
            await connection.execute(select(calls.c.id).where(calls.c.call_id == call_id).with_for_update())
        return str(lane)

    async def _advance(self, connection: AsyncConnection, lane: str, now: datetime) -> None:
        """Make the lane's next delivery due, if it waits."""
        waiting = (
            select(deliveries.c.delivery_id)
            .where(deliveries.c.lane == lane, deliveries.c.state == DeliveryState.PENDING)
            .order_by(deliveries.c.position)
            .limit(1)
        )
        await connection.execute(
            update(deliveries)
            .where(
                deliveries.c.delivery_id == waiting.scalar_subquery(), deliveries.c.next_attempt_at.is_(None)
            )
            .values(next_attempt_at=now)
        )

    # People

    async def get(self, tenant_id: str, delivery_id: str) -> Delivery | None:
        query = (
            select(deliveries, events.c.name, events.c.event_id)
            .join(events, events.c.position == deliveries.c.position)
            .where(_is(tenant_id, delivery_id))
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            return None
        return Delivery(
            delivery_id=row["delivery_id"],
            webhook_id=row["webhook_id"],
            call_id=row["call_id"],
            event=row["name"],
            event_id=row["event_id"],
            state=DeliveryState(row["state"]),
            attempts=row["attempts"],
            next_attempt_at=row["next_attempt_at"],
            created_at=row["created_at"],
            finished_at=row["finished_at"],
        )

    async def retry(self, tenant_id: str, delivery_id: str, now: datetime) -> bool:
        """Make one delivery due now, whatever has become of it and wherever it stands.

        False if there is no such delivery, or its endpoint is disabled.
        """
        disabled = select(webhooks.c.webhook_id).where(webhooks.c.disabled_at.is_not(None))
        async with self._database.write() as connection:
            if await self._lock(connection, delivery_id) is None:
                return False
            result = await connection.execute(
                update(deliveries)
                .where(
                    _is(tenant_id, delivery_id),
                    or_(deliveries.c.webhook_id.is_(None), deliveries.c.webhook_id.not_in(disabled)),
                )
                .values(state=DeliveryState.PENDING, next_attempt_at=now, lease=None, finished_at=None)
            )
            return result.rowcount == 1


def _is(tenant_id: str, delivery_id: str) -> ColumnElement[bool]:
    return and_(deliveries.c.tenant_id == tenant_id, deliveries.c.delivery_id == delivery_id)


def _held(due: Due) -> ColumnElement[bool]:
    """It is still the claimer's."""
    return and_(
        deliveries.c.delivery_id == due.delivery_id,
        deliveries.c.state == DeliveryState.PENDING,
        deliveries.c.lease == due.lease,
    )


def _over(state: DeliveryState, attempt: Attempt) -> dict[str, object]:
    return {"state": state, "finished_at": attempt.at, "next_attempt_at": None, "lease": None}


def _row(stored: StoredEvent, webhook_id: str | None, url: str | None, now: datetime) -> dict[str, object]:
    event = stored.event
    delivery_id = f"dlv_{secrets.token_hex(12)}"
    # An event of no call has nobody to wait for.
    lane = f"{webhook_id or 'url'}|{event.call_id}" if event.call_id else delivery_id
    return {
        "delivery_id": delivery_id,
        "tenant_id": event.tenant_id,
        "webhook_id": webhook_id,
        "url": url,
        "call_id": event.call_id or None,
        "position": stored.position,
        "lane": lane,
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "created_at": now,
    }


def _due(row: RowMapping, token: str) -> Due:
    webhook = None if row["webhook_webhook_id"] is None else webhook_of(_part(row, "webhook_"))
    url = row["url"] if webhook is None else webhook.url
    return Due(
        delivery_id=row["delivery_id"],
        lease=token,
        attempt=row["attempts"] + 1,
        owed_since=row["created_at"],
        event=replace(event_of(_part(row, "event_")), secret=row["event_secret"] or {}),
        url=url,
        webhook=webhook,
    )


def _part(row: RowMapping, prefix: str) -> dict[str, Any]:
    """One table's columns of a joined row."""
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}


def _attempt_row(due: Due, attempt: Attempt) -> dict[str, object]:
    return {
        "delivery_id": due.delivery_id,
        "tenant_id": due.event.tenant_id,
        "webhook_id": due.webhook.webhook_id if due.webhook is not None else None,
        "attempt": due.attempt,
        "url": attempt.url,
        "status_code": attempt.status_code,
        "success": attempt.success,
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
        "created_at": attempt.at,
    }

"""The endpoints that are told of events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import EventRecord
from control.stores.columns import Values
from control.stores.database import Database
from control.stores.events import Events, forget_secrets
from control.stores.keyset import Keyset, Listed, Page
from control.stores.tables import deliveries, events, webhooks


class Payload(StrEnum):
    """How an event is written."""

    ENVELOPE = "envelope"
    FLAT = "flat"
    """The fields of `data` beside the event's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint. Its secret is opaque here: whoever puts it in has encrypted it."""

    webhook_id: str
    tenant_id: str
    url: str
    events: tuple[str, ...] = ("*",)
    agent_id: str | None = None
    """Only this agent's calls."""
    secret: bytes = field(repr=False)
    previous_secret: bytes | None = field(default=None, repr=False)
    """The one before, which signs too until `previous_until`."""
    previous_until: datetime | None = None
    payload: Payload = Payload.ENVELOPE
    description: str | None = None
    created_at: datetime
    updated_at: datetime
    failing_since: datetime | None = None
    """The first failure since the last success."""
    disabled_at: datetime | None = None
    disabled_reason: str | None = None

    def wants(self, event: EventRecord) -> bool:
        """Whether it is to be told of this event."""
        return (
            self.disabled_at is None
            and ("*" in self.events or event.name in self.events)
            and self.agent_id in (None, event.agent_id)
        )


_CHANGEABLE = frozenset({"url", "events", "agent_id", "payload", "description"})

MOST = 50
"""Endpoints of one tenant: every event is matched with, and owed to, all of them."""

NEWEST = ("-created_at",)
SORTABLE: dict[str, ColumnElement[Any]] = {
    name: webhooks.c[name] for name in ("created_at", "updated_at", "url")
}


class Webhooks:
    """Keeps endpoints."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, webhook: Webhook) -> bool:
        """Keep a new endpoint; False: its tenant has as many as there may be."""
        counted = select(func.count()).select_from(webhooks)
        async with self._database.write() as connection:
            await self._database.alone(connection, f"webhooks of {webhook.tenant_id}")
            count = await connection.scalar(counted.where(webhooks.c.tenant_id == webhook.tenant_id))
            if (count or 0) >= MOST:
                return False
            await connection.execute(insert(webhooks).values(_row(webhook)))
        return True

    async def get(self, tenant_id: str, webhook_id: str) -> Webhook | None:
        async with self._database.read() as connection:
            query = select(webhooks).where(_is(tenant_id, webhook_id))
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else webhook_of(row)

    async def page(self, tenant_id: str, page: Page) -> Listed[Webhook]:
        """Return a page of the tenant's endpoints, newest first unless sorted otherwise.

        Raises:
            InvalidCursor, InvalidSort: what the page asks by.
        """
        order = Keyset.of(page.sort or NEWEST, SORTABLE, webhooks.c.webhook_id)
        query = select(webhooks).where(webhooks.c.tenant_id == tenant_id)
        async with self._database.read() as connection:
            rows, cursor = await order.page(connection, query, page)
        return Listed(tuple(webhook_of(row) for row in rows), cursor)

    async def of_tenant(self, tenant_id: str) -> list[Webhook]:
        """Return the tenant's endpoints, oldest first, disabled ones too."""
        async with self._database.read() as connection:
            return [webhook_of(row) for row in (await connection.execute(_of_tenant(tenant_id))).mappings()]

    async def of_tenant_within(self, connection: AsyncConnection, tenant_id: str) -> list[Webhook]:
        """The same, none of which is deleted or disabled until this transaction ends: it may owe them something."""
        query = _of_tenant(tenant_id).with_for_update(read=True)
        return [webhook_of(row) for row in (await connection.execute(query)).mappings()]

    async def change(
        self, tenant_id: str, webhook_id: str, changes: Mapping[str, Any], now: datetime
    ) -> Webhook | None:
        """Change some of its fields; return it as it is then. None if there is no such endpoint."""
        if unknown := set(changes) - _CHANGEABLE:
            raise ValueError(f"no such fields of a webhook: {sorted(unknown)}")
        values = dict(changes) | {"updated_at": now}
        if "events" in values:
            values["events"] = list(values["events"])
        return await self._update(tenant_id, webhook_id, values)

    async def replace_secret(
        self, tenant_id: str, webhook_id: str, secret: bytes, now: datetime, previous_until: datetime | None
    ) -> Webhook | None:
        """Sign with another secret, and until then with the one before, too. None if there is no such endpoint."""
        kept = webhooks.c.secret if previous_until is not None else null()
        values = {
            "secret": secret,
            "previous_secret": kept,
            "previous_until": previous_until,
            "updated_at": now,
        }
        return await self._update(tenant_id, webhook_id, values)

    async def enable(self, tenant_id: str, webhook_id: str, now: datetime) -> Webhook | None:
        """Tell it of what happens from now on."""
        values = {"disabled_at": None, "disabled_reason": None, "failing_since": None, "updated_at": now}
        return await self._update(tenant_id, webhook_id, values)

    async def disable(
        self,
        tenant_id: str,
        webhook_id: str,
        reason: str,
        now: datetime,
        event: EventRecord | None = None,
        *,
        failing_since: datetime | None = None,
    ) -> bool:
        """Tell it of nothing any more, nor of what is owed; whether it was told until now.

        Args:
            event: says so in the tenant's stream, if it was.
            failing_since: only if it has failed from then on all the time; None: in any case.
        """
        which = [_is(tenant_id, webhook_id), webhooks.c.disabled_at.is_(None)]
        if failing_since is not None:
            which.append(webhooks.c.failing_since == failing_since)
        async with self._database.write() as connection:
            result = await connection.execute(
                update(webhooks).where(*which).values(disabled_at=now, disabled_reason=reason, updated_at=now)
            )
            if result.rowcount != 1:
                return False
            await self.drop_owed(connection, webhook_id, now)
            if event is not None:
                await Events(self._database).append(connection, [event])
            return True

    async def drop_owed(self, connection: AsyncConnection, webhook_id: str, now: datetime) -> None:
        """Give up everything that is owed to it."""
        secret = await _owed_secrets(connection, webhook_id)
        await connection.execute(
            update(deliveries)
            .where(_is_owed_to(webhook_id))
            .values(state="dead", finished_at=now, next_attempt_at=None, lease=None)
        )
        await forget_secrets(connection, secret)

    async def delete(self, tenant_id: str, webhook_id: str) -> bool:
        """Delete it and what is owed to it; whether it was there."""
        here = select(webhooks.c.webhook_id).where(_is(tenant_id, webhook_id))
        async with self._database.write() as connection:
            # Its row first: who is about to owe it something is waited for.
            if await connection.scalar(here.with_for_update()) is None:
                return False
            secret = await _owed_secrets(connection, webhook_id)
            await connection.execute(delete(webhooks).where(_is(tenant_id, webhook_id)))
            await forget_secrets(connection, secret)
            return True

    async def hold(self, connection: AsyncConnection, webhook_id: str) -> bool:
        """See that it is not deleted until this transaction ends; False: there is no such endpoint."""
        query = select(webhooks.c.webhook_id).where(webhooks.c.webhook_id == webhook_id)
        held = query.with_for_update(read=True, key_share=True)
        return await connection.scalar(held) is not None

    async def succeeded(self, connection: AsyncConnection, webhook_id: str) -> None:
        await connection.execute(
            update(webhooks)
            .where(webhooks.c.webhook_id == webhook_id, webhooks.c.failing_since.is_not(None))
            .values(failing_since=None)
        )

    async def failed(self, connection: AsyncConnection, webhook_id: str, at: datetime) -> None:
        await connection.execute(
            update(webhooks)
            .where(webhooks.c.webhook_id == webhook_id, webhooks.c.failing_since.is_(None))
            .values(failing_since=at)
        )

    async def _update(self, tenant_id: str, webhook_id: str, values: Mapping[str, Any]) -> Webhook | None:
        statement = update(webhooks).where(_is(tenant_id, webhook_id)).values(values).returning(*webhooks.c)
        async with self._database.write() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else webhook_of(row)


def wanting(endpoints: Sequence[Webhook], event: EventRecord) -> list[Webhook]:
    """Return the endpoints that are to be told of an event."""
    return [endpoint for endpoint in endpoints if endpoint.wants(event)]


def webhook_of(row: Values) -> Webhook:
    return Webhook(
        webhook_id=row["webhook_id"],
        tenant_id=row["tenant_id"],
        url=row["url"],
        events=tuple(row["events"]),
        agent_id=row["agent_id"],
        secret=row["secret"],
        previous_secret=row["previous_secret"],
        previous_until=row["previous_until"],
        payload=Payload(row["payload"]),
        description=row["description"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        failing_since=row["failing_since"],
        disabled_at=row["disabled_at"],
        disabled_reason=row["disabled_reason"],
    )


def _of_tenant(tenant_id: str) -> Select[Any]:
    query = select(webhooks).where(webhooks.c.tenant_id == tenant_id)
    return query.order_by(webhooks.c.created_at, webhooks.c.webhook_id)


def _is(tenant_id: str, webhook_id: str) -> ColumnElement[bool]:
    return (webhooks.c.tenant_id == tenant_id) & (webhooks.c.webhook_id == webhook_id)


def _is_owed_to(webhook_id: str) -> ColumnElement[bool]:
    return (deliveries.c.webhook_id == webhook_id) & (deliveries.c.state == "pending")


async def _owed_secrets(connection: AsyncConnection, webhook_id: str) -> Sequence[int]:
    """Return the positions of events that it is yet to be told something secret of."""
    query = (
        select(events.c.position)
        .join(deliveries, deliveries.c.position == events.c.position)
        .where(_is_owed_to(webhook_id), events.c.secret.is_not(None))
    )
    return (await connection.scalars(query)).all()


def _row(webhook: Webhook) -> dict[str, Any]:
    row = {column.name: getattr(webhook, column.name) for column in webhooks.columns}
    return row | {"events": list(webhook.events)}

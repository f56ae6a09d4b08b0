"""The log of every attempt to deliver: by call, by delivery, and page by page by endpoint."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, select

from control.stores.database import Database
from control.stores.keyset import Keyset, Listed, Page
from control.stores.tables import deliveries, delivery_attempts, events

LISTED = 500
"""Attempts in one answer (`docs/webhooks.md`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedAttempt:
    """An attempt as it is listed."""

    delivery_id: str
    webhook_id: str | None
    call_id: str | None
    event: str
    event_id: str
    attempt: int
    url: str = field(repr=False)
    status_code: int | None
    success: bool
    error: str | None
    duration_ms: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilters:
    """Which attempts of a log are wanted; all that are given hold."""

    success: bool | None = None
    event: str | None = None
    call_id: str | None = None


class DeliveryLog:
    """Reads what the worker has written down."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_call(self, tenant_id: str, call_id: str, limit: int = LISTED) -> list[LoggedAttempt]:
        """Return the attempts for a call's events, the earliest first."""
        tried = delivery_attempts.c
        query = _logged_attempts(tenant_id).where(deliveries.c.call_id == call_id)
        query = query.order_by(tried.created_at, tried.attempt, tried.id).limit(limit)
        async with self._database.read() as connection:
            return [_logged(row) for row in (await connection.execute(query)).mappings()]

    async def of_delivery(self, tenant_id: str, delivery_id: str, limit: int = LISTED) -> list[LoggedAttempt]:
        """Return a delivery's attempts, the earliest first."""
        query = _logged_attempts(tenant_id).where(delivery_attempts.c.delivery_id == delivery_id)
        query = query.order_by(delivery_attempts.c.id).limit(limit)
        async with self._database.read() as connection:
            return [_logged(row) for row in (await connection.execute(query)).mappings()]

    async def of_webhook(
        self, tenant_id: str, webhook_id: str, filters: LogFilters, page: Page
    ) -> Listed[LoggedAttempt]:
        """Return a page of an endpoint's attempts, the latest first unless sorted otherwise.

        Raises:
            InvalidCursor, InvalidSort: what the page asks by.
        """
        tried = delivery_attempts.c
        # Attempts are numbered as they are written down, which is when they have ended.
        order = Keyset.of(page.sort or ("-created_at",), {"created_at": tried.id}, tried.id)
        query = _logged_attempts(tenant_id).where(tried.webhook_id == webhook_id, *_wanted(filters))
        async with self._database.read() as connection:
            rows, cursor = await order.page(connection, query, page)
        return Listed(tuple(_logged(row) for row in rows), cursor)


def _logged_attempts(tenant_id: str) -> Select[Any]:
    tried = delivery_attempts.c
    return (
        select(delivery_attempts, deliveries.c.call_id, events.c.name, events.c.event_id)
        .join(deliveries, deliveries.c.delivery_id == tried.delivery_id)
        .join(events, events.c.position == deliveries.c.position)
        .where(tried.tenant_id == tenant_id)
    )


def _wanted(filters: LogFilters) -> list[ColumnElement[bool]]:
    conditions = {
        delivery_attempts.c.success: filters.success,
        events.c.name: filters.event,
        deliveries.c.call_id: filters.call_id,
    }
    return [column == value for column, value in conditions.items() if value is not None]


def _logged(row: RowMapping) -> LoggedAttempt:
    return LoggedAttempt(
        delivery_id=row["delivery_id"],
        webhook_id=row["webhook_id"],
        call_id=row["call_id"],
        event=row["name"],
        event_id=row["event_id"],
        attempt=row["attempt"],
        url=row["url"],
        status_code=row["status_code"],
        success=row["success"],
        error=row["error"],
        duration_ms=row["duration_ms"],
        created_at=row["created_at"],
    )

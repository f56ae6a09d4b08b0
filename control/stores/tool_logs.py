"""The runs of tools: kept with the events of their ends, listed, and counted tool by tool."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, case, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from control.stores.call_filters import moments_of, within
from control.stores.columns import Values
from control.stores.database import Database
from control.stores.events import StoredEvent
from control.stores.keyset import Keyset, Page
from control.stores.tables import tool_logs
from control.tool_log import ToolLog, ToolOutcome

_UTC = ZoneInfo("UTC")
NEWEST = ("-created_at",)
SORTABLE: dict[str, ColumnElement[Any]] = {
    name: tool_logs.c[name] for name in ("created_at", "name", "outcome", "duration_ms")
}
"""What a list may be sorted by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToolLog:
    """A run, and whose it was."""

    call_id: str
    agent_id: str | None
    created_at: datetime
    """When it ended."""
    log: ToolLog


@dataclass(frozen=True, slots=True)
class ToolLogPage:
    """A part of a list."""

    logs: tuple[StoredToolLog, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFigures:
    """One tool's runs, in numbers."""

    name: str
    calls: int
    success: int
    errors: int
    timeouts: int
    abandoned: int
    duration_p50_ms: int | None
    """Of those that came to an end; None if none did. The percentiles are nearest ranks: durations that were."""
    duration_p95_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLogFilters:
    """All of these hold; None holds always."""

    agent_id: str | None = None
    call_id: str | None = None
    name: str | None = None
    tool_id: str | None = None
    outcome: ToolOutcome | None = None
    from_date: date | None = None
    to_date: date | None = None
    """The last day, inclusive, in `timezone`."""
    timezone: ZoneInfo = _UTC

    def conditions(self, tenant_id: str) -> Iterator[ColumnElement[bool]]:
        yield tool_logs.c.tenant_id == tenant_id
        for name in ("agent_id", "call_id", "name", "tool_id", "outcome"):
            wanted = getattr(self, name)
            if wanted is not None:
                yield tool_logs.c[name] == wanted
        yield from within(tool_logs.c.created_at, moments_of(self.from_date, self.to_date, self.timezone))


class ToolLogs:
    """Keeps what tools did."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, connection: AsyncConnection, new: Sequence[StoredEvent]) -> None:
        """Keep the runs whose ends were just stored."""
        rows = [_row(each, each.event.tool_log) for each in new if each.event.tool_log is not None]
        if rows:
            await connection.execute(insert(tool_logs), rows)

    async def get(self, tenant_id: str, tool_log_id: str) -> StoredToolLog | None:
        query = select(tool_logs).where(
            tool_logs.c.tenant_id == tenant_id, tool_logs.c.tool_log_id == tool_log_id
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _stored(row)

    async def page(self, tenant_id: str, filters: ToolLogFilters, page: Page) -> ToolLogPage:
        """Return a page of the tenant's runs, newest first unless sorted otherwise.

        Raises:
            InvalidCursor, InvalidSort: what the page asks by.
        """
        order = Keyset.of(page.sort or NEWEST, SORTABLE, tool_logs.c.id)
        query = select(tool_logs).where(*filters.conditions(tenant_id))
        async with self._database.read() as connection:
            rows, cursor = await order.page(connection, query, page)
        return ToolLogPage(tuple(_stored(row) for row in rows), cursor)

    async def figures(self, tenant_id: str, filters: ToolLogFilters) -> list[ToolFigures]:
        """Return the numbers of every tool that ran, by name."""
        conditions = list(filters.conditions(tenant_id))
        async with self._database.read() as connection:
            counts = (await connection.execute(_counts(conditions))).mappings().all()
            ranks = {row["name"]: row for row in (await connection.execute(_ranks(conditions))).mappings()}
        return [_figures(row, ranks.get(row["name"])) for row in counts]


def _counts(conditions: Sequence[ColumnElement[bool]]) -> Any:  # noqa: ANN401  # a query of many types
    def number(outcome: ToolOutcome) -> ColumnElement[int]:
        return func.sum(case((tool_logs.c.outcome == outcome.value, 1), else_=0)).label(outcome.value)

    return (
        select(tool_logs.c.name, func.count().label("calls"), *[number(outcome) for outcome in ToolOutcome])
        .where(*conditions)
        .group_by(tool_logs.c.name)
        .order_by(tool_logs.c.name)
    )


def _ranks(conditions: Sequence[ColumnElement[bool]]) -> Any:  # noqa: ANN401  # likewise
    """The durations at the nearest ranks of 50 and 95 per cent, tool by tool: no database of ours sorts more."""
    own = tool_logs.c
    ranked = (
        select(
            own.name,
            own.duration_ms,
            func.row_number().over(partition_by=own.name, order_by=own.duration_ms).label("place"),
            func.count().over(partition_by=own.name).label("of"),
        )
        .where(*conditions, own.outcome != ToolOutcome.ABANDONED.value)
        .subquery()
    )

    def at(percent: int) -> ColumnElement[int | None]:
        rank = (ranked.c.of * percent + 99) // 100
        return func.max(case((ranked.c.place == rank, ranked.c.duration_ms))).label(f"p{percent}")

    return select(ranked.c.name, at(50), at(95)).group_by(ranked.c.name)


def _figures(counts: Values, ranks: Values | None) -> ToolFigures:
    return ToolFigures(
        name=counts["name"],
        calls=counts["calls"],
        success=counts[ToolOutcome.SUCCESS.value],
        errors=counts[ToolOutcome.ERROR.value],
        timeouts=counts[ToolOutcome.TIMEOUT.value],
        abandoned=counts[ToolOutcome.ABANDONED.value],
        duration_p50_ms=None if ranks is None else ranks["p50"],
        duration_p95_ms=None if ranks is None else ranks["p95"],
    )


def _row(stored: StoredEvent, log: ToolLog) -> dict[str, Any]:
    event = stored.event
    return {
        "tool_log_id": log.tool_log_id,
        "tenant_id": event.tenant_id,
        "call_id": event.call_id,
        "agent_id": event.agent_id,
        "tool_call_id": log.tool_call_id,
        "name": log.name,
        "tool_id": log.tool_id,
        "outcome": log.outcome.value,
        "arguments": log.arguments,
        "result": log.result,
        "status_code": log.status_code,
        "error": log.error,
        "attempts": log.attempts,
        "duration_ms": log.duration_ms,
        "created_at": event.occurred_at,
    }


def _stored(row: Values) -> StoredToolLog:
    return StoredToolLog(
        call_id=row["call_id"],
        agent_id=row["agent_id"],
        created_at=row["created_at"],
        log=ToolLog(
            tool_log_id=row["tool_log_id"],
            tool_call_id=row["tool_call_id"],
            name=row["name"],
            tool_id=row["tool_id"],
            outcome=ToolOutcome(row["outcome"]),
            arguments=row["arguments"],
            result=row["result"],
            status_code=row["status_code"],
            error=row["error"],
            attempts=row["attempts"],
            duration_ms=row["duration_ms"],
        ),
    )

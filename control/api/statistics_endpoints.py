"""Statistics: calls summed by time, agent and outcome, their latencies and tools, and the calls as a file."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal

import structlog
from aiohttp import web
from pydantic import BaseModel, Field

from control.api.call_endpoints import TAG as CALLS
from control.api.call_endpoints import CallFilter
from control.api.call_table import CsvWriter, ParquetWriter, TableWriter
from control.api.endpoint import Answer, Asked, Endpoint, NoBody, Reply, endpoint
from control.api.problem import Problem
from control.api.statistics_shapes import (
    AgentShape,
    AgentStatistics,
    CallSummaryShape,
    DayList,
    DayShape,
    DispositionStatistics,
    HourList,
    HourShape,
    LatencyStatistics,
    MonthList,
    MonthShape,
    Overview,
    ToolStatistics,
    disposition_statistics,
    distribution_shape,
    summary_fields,
    tool_shape,
    totals_fields,
)
from control.call_record import CallRecord
from control.stores.call_filters import CallFilters
from control.stores.errors import InvalidCursor, StoreUnavailable
from control.stores.keyset import MAX_LIMIT, Page
from control.stores.statistics import MOST_AGENTS
from control.stores.store import Store

log = structlog.get_logger()

TAG = "Statistics"
# Of one tenant; each reads as fast as its client does.
MOST_EXPORTS = 2
# A client that takes nothing for so long is gone.
_WRITE_TIMEOUT = 30.0
_UNBUFFERED = {"X-Accel-Buffering": "no"}

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
_WRITERS: Mapping[str, tuple[Callable[[], TableWriter], str]] = {
    "csv": (CsvWriter, CSV),
    "parquet": (ParquetWriter, PARQUET),
}

Handler = Callable[[Asked[Any, NoBody]], Awaitable[Answer]]


class AgentStatisticsQuery(CallFilter):
    """Which calls, and how many agents of them."""

    limit: int = Field(default=MOST_AGENTS, ge=1, le=MOST_AGENTS)
    after: str | None = Field(default=None, max_length=1024, description="`next_cursor` of the page before.")

    def beginning(self) -> tuple[int, str] | None:
        """Return calls and name of the agent that the page comes after.

        Raises:
            InvalidCursor
        """
        if self.after is None:
            return None
        try:
            calls, name = json.loads(base64.urlsafe_b64decode(self.after + "=" * (-len(self.after) % 4)))
        except (ValueError, TypeError, RecursionError):
            calls = name = None
        if not isinstance(calls, int) or not isinstance(name, str):
            raise InvalidCursor("the cursor is none of ours")
        return calls, name

    @staticmethod
    def cursor(calls: int, name: str | None) -> str:
        """Return the cursor of the page after this agent."""
        text = json.dumps([calls, name or ""], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


class ExportQuery(CallFilter):
    """Which calls, and in which form."""

    format: Literal["csv", "parquet"] = Field(default="csv", description="Parquet where it is installed.")


class StatisticsEndpoints:
    """Driven by the routes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ask = store.statistics
        self._exports: Counter[str] = Counter()

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        def sums(
            path: str,
            handler: Handler,
            summary: str,
            answer: type[BaseModel],
            **more: Any,  # noqa: ANN401  # whatever `endpoint` takes
        ) -> Endpoint[Any, Any]:
            more = {"tag": TAG, "query": CallFilter, **more}
            return endpoint(
                "GET",
                path,
                handler,
                summary=summary,
                body=NoBody,
                answers={200: answer},
                **more,
            )

        ranged = {"problems": ("range_too_long",)}
        return [
            sums("/v1/calls/summary", self.summary, "What calls come to", CallSummaryShape, tag=CALLS),
            sums("/v1/stats/overview", self.overview, "All sums over calls", Overview),
            sums(
                "/v1/stats/daily", self.daily, "Day by day", DayList,
                description="From `from_date`, or the first call, to `to_date`, or the last call.", **ranged,
            ),
            sums("/v1/stats/monthly", self.monthly, "Month by month", MonthList, **ranged),
            sums("/v1/stats/hourly", self.hourly, "By the hour of the day", HourList),
            sums(
                "/v1/stats/agents", self.agents, "Agent by agent", AgentStatistics,
                query=AgentStatisticsQuery, problems=("invalid_cursor",),
                description="Those with the most calls first. One that is called between two pages may be in both.",
            ),
            sums("/v1/stats/latency", self.latency, "How long answers take, stage by stage", LatencyStatistics),
            sums("/v1/stats/tools", self.tools, "Tool by tool", ToolStatistics),
            sums("/v1/stats/dispositions", self.dispositions, "How calls end", DispositionStatistics),
            endpoint(
                "GET", "/v1/stats/export", self.export,
                summary="The calls as a file", tag=TAG, query=ExportQuery, body=NoBody,
                answers={200: CSV}, also=(PARQUET,), problems=("format_not_installed", "too_many_exports"),
                description="Every call that the filters leave, the oldest first, with the fields of a listed call. "
                "A file that breaks off ends without its last chunk.",
            ),
        ]  # fmt: skip

    async def summary(self, asked: Asked[CallFilter, NoBody]) -> Answer:
        totals = await self._ask.totals(asked.tenant_id, asked.query.filters())
        return Reply(CallSummaryShape(**summary_fields(totals), filters=_given(asked.query)))

    async def overview(self, asked: Asked[CallFilter, NoBody]) -> Answer:
        totals = await self._ask.totals(asked.tenant_id, asked.query.filters())
        return Reply(Overview(**totals_fields(totals), filters=_given(asked.query)))

    async def daily(self, asked: Asked[CallFilter, NoBody]) -> Answer:
        found = await self._ask.by_day(asked.tenant_id, asked.query.filters())
        days = [DayShape(date=day.isoformat(), **totals_fields(totals)) for day, totals in found.items()]
        return Reply(DayList(data=days, filters=_given(asked.query)))

    async def monthly(self, asked: Asked[CallFilter, NoBody]) -> Answer:
        found = await self._ask.by_month(asked.tenant_id, asked.query.filters())
        months = [
            MonthShape(month=f"{month:%Y-%m}", **totals_fields(totals)) for month, totals in found.items()
        ]
        return Reply(MonthList(data=months, filters=_given(asked.query)))

    async def hourly(self, asked: Asked[CallFilter, NoBody]) -> Answer:
        found = await self._ask.by_hour(asked.tenant_id, asked.query.filters())
        hours = [HourShape(hour=hour, **totals_fields(totals)) for hour, totals in found.items()]
        return Reply(HourList(data=hours, filters=_given(asked.query)))

    async def agents(self, asked: Asked[AgentStatisticsQuery, NoBody]) -> Answer:
        query = asked.query
        # One more than asked for says whether there is a next page.
        found = await self._ask.by_agent(
            asked.tenant_id, query.filters(), limit=query.limit + 1, after=query.beginning()
        )
        shown = list(found.items())[: query.limit]
        agents = [AgentShape(agent_id=agent_id, **totals_fields(totals)) for agent_id, totals in shown]
        cursor = None
        if len(found) > len(shown):
            last, totals = shown[-1]
            cursor = query.cursor(totals.total_calls, last)
        return Reply(AgentStatistics(data=agents, next_cursor=cursor, filters=_given(query)))

    async def latency(self, asked: Asked[CallFilter, NoBody]) -> Answer:
        found = await self._ask.latency(asked.tenant_id, asked.query.filters())
        stages = {stage: distribution_shape(each) for stage, each in found.items()}
        return Reply(LatencyStatistics(**stages, filters=_given(asked.query)))

    async def tools(self, asked: Asked[CallFilter, NoBody]) -> Answer:
        found = await self._ask.tools(asked.tenant_id, asked.query.filters())
        return Reply(ToolStatistics(data=[tool_shape(use) for use in found], filters=_given(asked.query)))

    async def dispositions(self, asked: Asked[CallFilter, NoBody]) -> Answer:
        found = await self._ask.outcomes(asked.tenant_id, asked.query.filters())
        return Reply(disposition_statistics(found, _given(asked.query)))

    async def export(self, asked: Asked[ExportQuery, NoBody]) -> Answer:
        make, content_type = _WRITERS[asked.query.format]
        # In a thread: the first Parquet imports its library, which takes longer than a frame.
        writer = await asyncio.to_thread(make)
        tenant_id = asked.tenant_id
        if self._exports[tenant_id] >= MOST_EXPORTS:
            raise Problem(429, "too_many_exports", f"at most {MOST_EXPORTS} exports at a time")
        self._exports[tenant_id] += 1
        try:
            async with aclosing(self._pages(tenant_id, asked.query.filters())) as pages:
                # What is wrong with the database is told before the file begins.
                first = await anext(pages)
                name = f"calls.{asked.query.format}"
                headers = {"Content-Disposition": f'attachment; filename="{name}"', **_UNBUFFERED}
                response = web.StreamResponse(headers={"Content-Type": content_type, **headers})
                await response.prepare(asked.http)
                await _sent(response, asked.http, writer, first, pages)
                return response
        finally:
            self._exports[tenant_id] -= 1
            if not self._exports[tenant_id]:
                del self._exports[tenant_id]

    async def _pages(
        self, tenant_id: str, filters: CallFilters
    ) -> AsyncGenerator[Sequence[CallRecord], None]:
        """The calls in the order of their beginnings: none twice, whatever comes meanwhile."""
        sort = ("started_at",) if filters.search is None else ("intake",)
        # Pages of a thousand are read an eighth cheaper, and hold the loop for 100 ms: calls would hear it.
        page = Page(limit=MAX_LIMIT, sort=sort)
        while True:
            found = await self._store.calls(tenant_id, filters, page)
            yield found.calls
            if found.next_cursor is None:
                return
            page = replace(page, after=found.next_cursor)


async def _sent(
    response: web.StreamResponse,
    request: web.Request,
    writer: TableWriter,
    first: Sequence[CallRecord],
    rest: AsyncGenerator[Sequence[CallRecord], None],
) -> None:
    """Send the file; one that cannot be finished breaks off where its client sees it: it has no end."""
    try:
        await _write(response, await asyncio.to_thread(writer.write, first))
        async for rows in rest:
            await _write(response, await asyncio.to_thread(writer.write, rows))
        await _write(response, await asyncio.to_thread(writer.close))
    except (TimeoutError, ConnectionError, StoreUnavailable) as error:
        log.warning("an export broke off", reason=type(error).__name__)
        if request.transport is not None:
            request.transport.abort()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        async with asyncio.timeout(_WRITE_TIMEOUT):
            await response.write(data)


def _given(query: CallFilter) -> dict[str, Any]:
    """The filters that the request names, as it named them."""
    return query.model_dump(mode="json", exclude_unset=True, exclude={"limit", "after"})

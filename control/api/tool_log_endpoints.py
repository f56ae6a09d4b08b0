"""What tools did: every run of one, listed, read, and counted tool by tool."""

from datetime import date
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from control.api.call_endpoints import zone
from control.api.endpoint import Answer, Asked, Endpoint, NoBody, NoQuery, Query, Reply, endpoint
from control.api.page_queries import PageQuery
from control.api.problem import Problem
from control.api.tool_log_shapes import (
    ToolLogList,
    ToolLogShape,
    ToolStatistics,
    tool_figures,
    tool_log_shape,
)
from control.stores.store import Store
from control.stores.tool_logs import ToolLogFilters
from control.tool_log import ToolOutcome

TAG = "Tools"


class ToolLogFilter(Query):
    """Which runs; all filters that are given hold."""

    agent_id: str | None = None
    call_id: str | None = None
    name: str | None = Field(default=None, description="The tool's name.")
    tool_id: str | None = Field(default=None, description="The tool, whatever it was called then.")
    outcome: ToolOutcome | None = None
    from_date: date | None = Field(default=None, description="YYYY-MM-DD, inclusive.")
    to_date: date | None = Field(default=None, description="YYYY-MM-DD, inclusive.")
    timezone: Annotated[str, AfterValidator(zone)] = Field(default="UTC", description="Of the dates.")

    def filters(self) -> ToolLogFilters:
        return ToolLogFilters(
            agent_id=self.agent_id,
            call_id=self.call_id,
            name=self.name,
            tool_id=self.tool_id,
            outcome=self.outcome,
            from_date=self.from_date,
            to_date=self.to_date,
            timezone=ZoneInfo(self.timezone),
        )


class ToolLogListQuery(ToolLogFilter, PageQuery):
    """A page of a list of runs."""


class ToolLogEndpoints:
    """Driven by the routes."""

    def __init__(self, store: Store) -> None:
        self._logs = store.tool_logs

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        return [
            endpoint(
                "GET", "/v1/tool-logs", self.list,
                summary="List what tools did", tag=TAG, query=ToolLogListQuery, body=NoBody,
                answers={200: ToolLogList}, problems=("invalid_cursor", "invalid_sort"),
                description="Your own tools and the gateway's, newest first.",
            ),
            endpoint(
                "GET", "/v1/tool-logs/stats", self.statistics,
                summary="Count what tools did, tool by tool", tag=TAG, query=ToolLogFilter, body=NoBody,
                answers={200: ToolStatistics},
            ),
            endpoint(
                "GET", "/v1/tool-logs/{tool_log_id}", self.get,
                summary="A run of a tool", tag=TAG, query=NoQuery, body=NoBody, answers={200: ToolLogShape},
                problems=("not_found",),
            ),
        ]  # fmt: skip

    async def list(self, asked: Asked[ToolLogListQuery, NoBody]) -> Answer:
        page = await self._logs.page(asked.tenant_id, asked.query.filters(), asked.query.page())
        return Reply(
            ToolLogList(data=[tool_log_shape(each) for each in page.logs], next_cursor=page.next_cursor)
        )

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        found = await self._logs.get(asked.tenant_id, asked.path["tool_log_id"])
        if found is None:
            raise Problem(404, "not_found", "there is no such run of a tool")
        return Reply(tool_log_shape(found))

    async def statistics(self, asked: Asked[ToolLogFilter, NoBody]) -> Answer:
        found = await self._logs.figures(asked.tenant_id, asked.query.filters())
        return Reply(ToolStatistics(data=[tool_figures(each) for each in found]))

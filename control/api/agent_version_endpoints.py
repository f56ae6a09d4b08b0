"""The versions of an agent: listed, read, compared, restored."""

from typing import Any

from pydantic import Field

from control.agent_differences import differences
from control.api.agent_desk import AgentDesk
from control.api.agent_endpoints import AGENT, TAG
from control.api.agent_shapes import (
    AgentShape,
    Comparison,
    VersionList,
    agent_shape,
    comparison,
    version_summary,
)
from control.api.endpoint import Answer, Asked, Endpoint, NoBody, NoQuery, Query, Reply, endpoint
from control.api.page_queries import PageQuery
from control.api.problem import Problem

VERSION = f"{AGENT}/versions/{{version}}"

# As many as the database counts.
_LAST = (1 << 31) - 1
_DIGITS = len(str(_LAST))


class CompareQuery(Query):
    """Which two versions."""

    a: int | None = Field(default=None, ge=1, le=_LAST, description="Left out: the one before `b`.")
    b: int | None = Field(default=None, ge=1, le=_LAST, description="Left out: the current one.")


class AgentVersionEndpoints:
    """Driven by the routes."""

    def __init__(self, desk: AgentDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        missing = ("not_found", "secrets_unreadable")
        return [
            endpoint(
                "GET", f"{AGENT}/versions", self.list,
                summary="List the versions of an agent", tag=TAG, query=PageQuery, body=NoBody,
                answers={200: VersionList}, problems=(*missing, "invalid_cursor", "invalid_sort"),
            ),
            endpoint(  # before the next: `compare` is no version
                "GET", f"{AGENT}/versions/compare", self.compare,
                summary="How two versions of an agent differ", tag=TAG, query=CompareQuery, body=NoBody,
                answers={200: Comparison}, problems=missing,
            ),
            endpoint(
                "GET", VERSION, self.get,
                summary="An agent as it was", tag=TAG, query=NoQuery, body=NoBody, answers={200: AgentShape},
                problems=missing,
            ),
            endpoint(
                "POST", f"{VERSION}/restore", self.restore,
                summary="Make an agent what it was", tag=TAG, query=NoQuery, body=NoBody, answers={200: AgentShape},
                problems=(*missing, "agent_read_only"),
                description="As its next version; nothing is lost.",
            ),
        ]  # fmt: skip

    async def list(self, asked: Asked[PageQuery, NoBody]) -> Answer:
        tenant_id, agent_id = asked.tenant_id, asked.path["agent_id"]
        page = asked.query.page()
        versions, cursor = await self._desk.book.versions(tenant_id, agent_id, page)
        if not versions:
            only = await self._desk.agent(tenant_id, agent_id)
            if page.after is None:
                versions = [await self._desk.version(tenant_id, agent_id, only.version)]
        return Reply(VersionList(data=[version_summary(each) for each in versions], next_cursor=cursor))

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        version = _number(asked.path["version"])
        found = await self._desk.version(asked.tenant_id, asked.path["agent_id"], version)
        return Reply(agent_shape(found.agent))

    async def compare(self, asked: Asked[CompareQuery, NoBody]) -> Answer:
        tenant_id, agent_id = asked.tenant_id, asked.path["agent_id"]
        current = await self._desk.agent(tenant_id, agent_id)
        b = asked.query.b or current.version
        a = asked.query.a or max(1, b - 1)
        before = (await self._desk.version(tenant_id, agent_id, a)).agent.config
        after = (await self._desk.version(tenant_id, agent_id, b)).agent.config
        return Reply(comparison(current.agent_id, a, b, differences(before, after)))

    async def restore(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        tenant_id, agent_id = asked.tenant_id, asked.path["agent_id"]
        version = _number(asked.path["version"])
        return Reply(agent_shape(await self._desk.restore(tenant_id, agent_id, version)))


def _number(text: str) -> int:
    """
    Raises:
        Problem: 404, no version has such a number.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and 1 <= int(text) <= _LAST):
        raise Problem(404, "not_found", "there is no such version of an agent")
    return int(text)

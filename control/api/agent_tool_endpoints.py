"""The tools of agents: each is a part of its agent, so that a change of one is the agent's next version."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from pydantic import Field

from control.agent_book import Tool, with_tools
from control.agents import Agent, AgentConfig, Source
from control.api.agent_desk import AgentDesk, configuration
from control.api.agent_endpoints import AGENT
from control.api.agent_shapes import (
    NewToolBody,
    ToolChanges,
    ToolList,
    ToolShape,
    changed,
    given,
    tool_shape,
)
from control.api.configured_page import page_of_both
from control.api.endpoint import Answer, Asked, Body, Endpoint, NoBody, NoQuery, Reply, endpoint
from control.api.page_queries import PageQuery
from control.api.problem import Fault, Problem
from control.api.reading import validated
from control.stores.keyset import MAX_LIMIT, Page
from control.tool_definition import REVEAL, ToolDefinition

TAG = "Tools"
TOOLS = f"{AGENT}/tools"
TOOL = f"{TOOLS}/{{tool_id}}"

# Where a tool is in its agent.
_IN_AGENT = re.compile(r"^/tools(/\d+)?")

_SORTED_BY = {
    "created_at": lambda tool: tool.created_at,
    "name": lambda tool: tool.definition.name,
}


class ToolListQuery(PageQuery):
    """A page of a list of tools."""

    name: str | None = Field(default=None, max_length=64, description="The whole name.")


class AgentToolEndpoints:
    """Driven by the routes."""

    def __init__(self, desk: AgentDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        missing = ("not_found", "secrets_unreadable")
        kept = (*missing, "agent_read_only")
        return [
            endpoint(
                "GET", "/v1/tools", self.list,
                summary="List the tools of all agents", tag=TAG, query=ToolListQuery, body=NoBody,
                answers={200: ToolList}, problems=("invalid_cursor", "invalid_sort", "secrets_unreadable"),
            ),
            endpoint(
                "GET", TOOLS, self.of_agent,
                summary="The tools of an agent", tag=TAG, query=NoQuery, body=NoBody, answers={200: ToolList},
                problems=missing, description="All of them, in the agent's own order.",
            ),
            endpoint(
                "POST", TOOLS, self.add,
                summary="Give an agent a tool", tag=TAG, query=NoQuery, body=NewToolBody, answers={201: ToolShape},
                problems=kept, description="The agent's next version.",
            ),
            endpoint(
                "GET", TOOL, self.get,
                summary="A tool", tag=TAG, query=NoQuery, body=NoBody, answers={200: ToolShape}, problems=missing,
            ),
            endpoint(
                "PATCH", TOOL, self.change,
                summary="Change a tool", tag=TAG, query=NoQuery, body=ToolChanges, answers={200: ToolShape},
                problems=kept, description="The agent's next version. A masked header stays as it was.",
            ),
            endpoint(
                "DELETE", TOOL, self.delete,
                summary="Take a tool from an agent", tag=TAG, query=NoQuery, body=NoBody, answers={204: None},
                problems=kept, description="The agent's next version; restoring one before brings the tool back.",
            ),
        ]  # fmt: skip

    async def list(self, asked: Asked[ToolListQuery, NoBody]) -> Answer:
        query, tenant_id = asked.query, asked.tenant_id

        async def stored(page: Page) -> tuple[Sequence[Tool], str | None]:
            return await self._desk.book.tools(tenant_id, page, name=query.name)

        configured = [
            Tool(agent, tool, agent.created_at)
            for agent in self._desk.configured(tenant_id)
            for tool in agent.config.tools
            if query.name in (None, tool.name)
        ]
        tools, cursor = await page_of_both(query.page(), stored, configured, _SORTED_BY)
        return Reply(ToolList.model_construct(data=[tool_shape(each) for each in tools], next_cursor=cursor))

    async def of_agent(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        tools = await self._tools(asked)
        return Reply(ToolList.model_construct(data=[tool_shape(each) for each in tools], next_cursor=None))

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        return Reply(tool_shape(await self._tool(asked)))

    async def add(self, asked: Asked[NoQuery, Body]) -> Answer:
        new = _definition(given(asked.body))

        def edit(before: AgentConfig) -> AgentConfig:
            return _with(before, (*before.tools, new))

        agent = await self._edit(asked, edit)
        definition = next(each for each in agent.config.tools if each.name == new.name)
        location = f"/v1/agents/{agent.agent_id}/tools/{definition.tool_id}"
        return Reply(tool_shape(Tool(agent, definition, agent.updated_at)), 201, {"Location": location})

    async def change(self, asked: Asked[NoQuery, Body]) -> Answer:
        tool_id, changes = asked.path["tool_id"], given(asked.body)

        def edit(before: AgentConfig) -> AgentConfig:
            after = _definition(changed(_fields(_one(before.tools, tool_id)), changes))
            return _with(before, [after if each.tool_id == tool_id else each for each in before.tools])

        known = await self._tool(asked)
        agent = await self._edit(asked, edit)
        return Reply(tool_shape(Tool(agent, _one(agent.config.tools, tool_id), known.created_at)))

    async def delete(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        tool_id = asked.path["tool_id"]

        def edit(before: AgentConfig) -> AgentConfig:
            gone = _one(before.tools, tool_id)
            return with_tools(before, tuple(each for each in before.tools if each is not gone))

        await self._edit(asked, edit)
        return web.Response(status=204)

    async def _edit(self, asked: Asked[Any, Any], edit: Callable[[AgentConfig], AgentConfig]) -> Agent:
        try:
            return await self._desk.edit(asked.tenant_id, asked.path["agent_id"], edit)
        except Problem as problem:
            raise _of_tool(problem) from None

    async def _tools(self, asked: Asked[Any, Any]) -> Sequence[Tool]:
        """The agent's tools in its own order."""
        agent = await self._desk.agent(asked.tenant_id, asked.path["agent_id"])
        if agent.source is Source.SETTINGS:
            return [Tool(agent, each, agent.created_at) for each in agent.config.tools]
        page = Page(limit=MAX_LIMIT, sort=("created_at",))
        tools, _ = await self._desk.book.tools(asked.tenant_id, page, agent_id=agent.agent_id)
        return sorted(tools, key=lambda tool: tool.agent.config.tools.index(tool.definition))

    async def _tool(self, asked: Asked[Any, Any]) -> Tool:
        for tool in await self._tools(asked):
            if tool.definition.tool_id == asked.path["tool_id"]:
                return tool
        raise _no_such_tool()


def _definition(fields: Mapping[str, Any]) -> ToolDefinition:
    """
    Raises:
        Problem: 422, with the place of each fault in the tool.
    """
    return validated(ToolDefinition, {name: value for name, value in fields.items() if value is not None})


def _fields(tool: ToolDefinition) -> dict[str, Any]:
    return tool.model_dump(exclude_unset=True, context={REVEAL: True})


def _with(before: AgentConfig, tools: Sequence[ToolDefinition]) -> AgentConfig:
    """The agent with these tools, each of which is one.

    Raises:
        Problem: 422, the agent cannot have them together.
    """
    return configuration({**before.with_secrets(), "tools": [_fields(each) for each in tools]})


def _of_tool(problem: Problem) -> Problem:
    """What is wrong with an agent, told to somebody who has sent one tool of it."""
    if not problem.errors:
        return problem
    faults = [Fault(_IN_AGENT.sub("", fault.pointer), fault.detail) for fault in problem.errors]
    first = faults[0]
    detail = f"{first.pointer.removeprefix('/') or 'the body'}: {first.detail}"
    return Problem(problem.status, problem.code, detail, errors=faults)


def _one(tools: Sequence[ToolDefinition], tool_id: str) -> ToolDefinition:
    for tool in tools:
        if tool.tool_id == tool_id:
            return tool
    raise _no_such_tool()


def _no_such_tool() -> Problem:
    return Problem(404, "not_found", "there is no such tool")

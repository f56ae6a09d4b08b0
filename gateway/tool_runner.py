"""Runs the agents' own tools: an HTTP request in bounded time, repeated only where that does no harm.

It never raises for what a tool, its server or the model did wrong: the model waits for ever for an output that does
not come, so there is always one.
"""

import asyncio
from dataclasses import replace

import structlog

from control.agents import AgentConfig
from control.effects import RunTool
from control.egress import EgressFailed, EgressFault, Fetch, OutgoingAnswer, OutgoingRequest
from control.inputs import ToolFinished
from control.tool_definition import ToolDefinition
from control.tools.request import ArgumentsRefused, NobodyToAsk, ToolContext, read_arguments, tool_request
from control.tools.result import ToolOutcome, answered, failed, refused_arguments, timed_out, unanswered

log = structlog.get_logger()

# Waits before each repetition. Short: a caller is on the line.
PAUSES = (0.2, 0.5)
# An attempt that could not even connect any more is none.
_SHORTEST_ATTEMPT = 0.1

_PASSING = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same request may fare better."""
_PASSING_FAULTS = frozenset({EgressFault.UNREACHABLE, EgressFault.GARBAGE})


class ToolRunner:
    """Runs one tool for one call at a time, any number at once; whoever cancels a run has its request let go."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def run(self, wanted: RunTool, agent: AgentConfig, context: ToolContext) -> ToolFinished:
        """Run a tool of the agent's and return what the model is to be told."""
        now = asyncio.get_running_loop().time
        began = now()
        outcome = await self._outcome(wanted, agent, context)
        log.info(
            "tool run",
            call_id=context.call_id,
            tool=wanted.name,
            status=outcome.status.value,
            http_status=outcome.http_status,
            attempts=outcome.attempts,
            seconds=round(now() - began, 3),
            detail=outcome.detail,
        )
        return ToolFinished(
            wanted.tool_call_id,
            outcome.output,
            outcome.status,
            http_status=outcome.http_status,
            detail=outcome.detail,
            attempts=outcome.attempts,
        )

    async def _outcome(self, wanted: RunTool, agent: AgentConfig, context: ToolContext) -> ToolOutcome:
        tool = next((each for each in agent.tools if each.name == wanted.name and not each.built_in), None)
        if tool is None:
            return failed(f"there is no tool named {wanted.name[:64]}")
        try:
            request = tool_request(tool, wanted.tool_call_id, read_arguments(wanted.arguments), context)
        except ArgumentsRefused as refused:
            return refused_arguments(refused.faults)
        except NobodyToAsk as nobody:
            return failed("the tool is not available", str(nobody))
        return await self._ask(tool, request)

    async def _ask(self, tool: ToolDefinition, request: OutgoingRequest) -> ToolOutcome:
        now = asyncio.get_running_loop().time
        until = now() + tool.timeout_seconds
        outcome = timed_out(tool.timeout_seconds)
        for attempts, pause in enumerate((0.0, *PAUSES), 1):
            if until - now() < pause + _SHORTEST_ATTEMPT:
                break
            await asyncio.sleep(pause)
            again, outcome = await self._attempt(replace(request, timeout=until - now()), tool)
            outcome = replace(outcome, attempts=attempts)
            if not (again and tool.repeatable):
                break
        return outcome

    async def _attempt(self, request: OutgoingRequest, tool: ToolDefinition) -> tuple[bool, ToolOutcome]:
        """Whether another attempt might fare better, and what came of this one."""
        try:
            answer: OutgoingAnswer = await self._fetch(request)
        except EgressFailed as failure:
            return failure.fault in _PASSING_FAULTS, unanswered(failure, tool.timeout_seconds)
        return answer.status in _PASSING, answered(answer)

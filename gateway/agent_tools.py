"""The agents' own tools as live calls run them: each request knows its call and is signed for the agent's server."""

import json
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from control.agent_run import EffectiveAgent
from control.api.server_answers import AnswerUnreadable, read_actions
from control.call_record import CallRecord
from control.effects import RunTool
from control.inputs import ToolFinished, ToolStatus
from control.tools.request import ToolContext
from gateway.server_signing import ServerSigning
from gateway.tool_runner import ToolRunner


class AgentTools:
    """Driven by live calls, once per tool the model calls."""

    def __init__(self, runner: ToolRunner, signing: ServerSigning) -> None:
        self._runner = runner
        self._signing = signing

    async def run(self, wanted: RunTool, agent: EffectiveAgent, record: CallRecord) -> ToolFinished:
        """Run it; whatever goes wrong is the output."""

        def sign(body: bytes) -> Mapping[str, str]:
            # The model's name for the call of a tool is its own; with ours before it, it is nobody else's.
            message_id = f"{record.call_id}.{wanted.tool_call_id}"
            return self._signing.headers(agent, message_id, body)

        context = ToolContext(
            call_id=record.call_id,
            agent_id=record.agent_id,
            server_url=agent.config.server_url,
            sign=sign,
        )
        finished = await self._runner.run(wanted, agent.config, context)
        by_server = any(tool.name == wanted.name and tool.url is None for tool in agent.config.tools)
        return _commanding(finished) if by_server and finished.status is ToolStatus.COMPLETED else finished


def _commanding(finished: ToolFinished) -> ToolFinished:
    """What the agent's server wants done besides is not for the model."""
    answer = msgspec.json.decode(finished.output)
    if not isinstance(answer, dict) or "actions" not in answer:
        return finished
    result = {name: value for name, value in answer.items() if name != "actions"} or {"result": "done"}
    told = replace(finished, output=json.dumps(result, ensure_ascii=False, separators=(",", ":")))
    try:
        return replace(told, actions=read_actions(answer))
    except AnswerUnreadable as unreadable:
        return replace(told, fault=str(unreadable))

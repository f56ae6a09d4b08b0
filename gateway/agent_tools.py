"""The agents' own tools as live calls run them: each request knows its call and is signed for the agent's server."""

from collections.abc import Callable, Mapping
from datetime import datetime

from control.agent_run import EffectiveAgent
from control.call_record import CallRecord
from control.effects import RunTool
from control.inputs import ToolFinished
from control.tools.request import ToolContext
from control.webhook_message import message_headers
from gateway.tool_runner import ToolRunner


class AgentTools:
    """Driven by live calls, once per tool the model calls."""

    def __init__(self, runner: ToolRunner, *, secret: str, clock: Callable[[], datetime]) -> None:
        """
        Args:
            secret: signs what is asked of the servers of agents that have no secret of their own, as it signs the
                webhooks of their calls.
            clock: the time of day, aware.
        """
        self._runner = runner
        self._secret = secret
        self._clock = clock

    async def run(self, wanted: RunTool, agent: EffectiveAgent, record: CallRecord) -> ToolFinished:
        """Run it; whatever goes wrong is the output."""

        def sign(body: bytes) -> Mapping[str, str]:
            # The model's name for the call of a tool is its own; with ours before it, it is nobody else's.
            message_id = f"{record.call_id}.{wanted.tool_call_id}"
            return message_headers(message_id, body, agent.signing or (self._secret,), self._clock())

        context = ToolContext(
            call_id=record.call_id,
            agent_id=record.agent_id,
            server_url=agent.config.server_url,
            sign=sign,
        )
        return await self._runner.run(wanted, agent.config, context)

"""A live call's tools: what the agent's server is asked is signed, and says of which call it is."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from control.agents import AgentConfig
from control.call_record import CallRecord
from control.effects import RunTool
from control.egress_policy import EgressPolicy
from control.inputs import ToolStatus
from control.service.reception import Reception
from control.webhook_message import new_webhook_secret
from gateway.agent_tools import AgentTools
from gateway.egress import Egress
from gateway.server_signing import ServerSigning
from gateway.tool_runner import ToolRunner
from telephony.causes import Direction
from tests.conftest import RunAsync
from tests.control.service_scene import BEGUN, an_agent, house
from tests.receiver import Receiver

pytestmark = pytest.mark.sockets

SECRET = new_webhook_secret()
WANTED = RunTool("t-1", "look_up", '{"order": 7}')
RECORD = CallRecord(
    call_id="call_1",
    agent_id="agent_1",
    direction=Direction.INBOUND,
    carrier="telnyx",
    started_at=BEGUN,
)


def config(server_url: str) -> AgentConfig:
    parameters = {"type": "object", "properties": {"order": {"type": "integer"}}}
    tool = {"name": "look_up", "description": "Finds an order.", "parameters": parameters}
    return AgentConfig.model_validate({"name": "sales", "server_url": server_url, "tools": [tool]})


def test_an_agents_server_can_prove_that_it_was_us(real: RunAsync) -> None:
    async def scenario() -> None:
        policy = EgressPolicy.allowing("127.0.0.1", allow_http=True)
        async with Receiver.running() as receiver, Egress(policy) as egress:
            receiver.answer = lambda _: web.json_response({"result": {"state": "sent"}})
            agent = Reception(house()).effective(
                an_agent(config(f"{receiver.url}/tools")), {}, customer=None, headers={}, now=BEGUN
            )
            tools = AgentTools(ToolRunner(egress), ServerSigning(SECRET, lambda: BEGUN))
            finished = await tools.run(WANTED, agent, RECORD)
            assert (finished.tool_call_id, finished.status) == ("t-1", ToolStatus.COMPLETED)
            assert "sent" in finished.output
            (asked,) = receiver.received
            assert asked.headers["webhook-id"] == "call_1.t-1"
            stamp = asked.headers["webhook-timestamp"]
            signed = Webhook(SECRET).sign("call_1.t-1", BEGUN, asked.body.decode())
            assert (stamp, asked.headers["webhook-signature"]) == (str(int(BEGUN.timestamp())), signed)
            assert asked.json["call_id"] == "call_1"

    real(scenario())


def test_an_agent_with_secrets_of_its_own_is_proved_by_each_of_them(real: RunAsync) -> None:
    async def scenario() -> None:
        policy = EgressPolicy.allowing("127.0.0.1", allow_http=True)
        async with Receiver.running() as receiver, Egress(policy) as egress:
            receiver.answer = lambda _: web.json_response({})
            own = (new_webhook_secret(), new_webhook_secret())
            stored = replace(an_agent(config(f"{receiver.url}/tools")), signing=own)
            agent = Reception(house()).effective(stored, {}, customer=None, headers={}, now=BEGUN)
            tools = AgentTools(ToolRunner(egress), ServerSigning(SECRET, lambda: datetime.now(UTC)))
            await tools.run(WANTED, agent, RECORD)
            (asked,) = receiver.received
            for secret in own:
                Webhook(secret).verify(asked.body, dict(asked.headers))
            with pytest.raises(WebhookVerificationError):
                Webhook(SECRET).verify(asked.body, dict(asked.headers))

    real(scenario())


def test_without_a_server_the_model_is_told_so(real: RunAsync) -> None:
    async def scenario() -> None:
        async with Egress(EgressPolicy.allowing("")) as egress:
            agent = Reception(house()).effective(
                an_agent(config("https://example.com")), {}, customer=None, headers={}, now=BEGUN
            )
            homeless = replace(agent, config=agent.config.model_copy(update={"server_url": None}))
            tools = AgentTools(ToolRunner(egress), ServerSigning(SECRET, lambda: BEGUN))
            finished = await tools.run(WANTED, homeless, RECORD)
            assert finished.status is ToolStatus.FAILED

    real(scenario())

"""Agents' servers over HTTP: signed, in bounded time, and whatever they answer is an answer or a fault."""

from dataclasses import replace

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from control.agent_run import EffectiveAgent
from control.agents import AgentConfig
from control.egress import EgressFailed, EgressFault, OutgoingAnswer, OutgoingRequest
from control.egress_policy import EgressPolicy
from control.requests import EndCall
from control.server_answer import MOST_BYTES, TIMEOUT, ServerAnswer, ServerFault
from control.service.reception import Reception
from control.webhook_message import new_webhook_secret
from gateway.agent_servers import AgentServers
from gateway.egress import Egress
from gateway.server_signing import ServerSigning
from tests.conftest import RunAsync
from tests.contracts.records import call
from tests.control.service_scene import BEGUN, an_agent, house
from tests.receiver import Receiver

pytestmark = pytest.mark.sockets

SECRET = new_webhook_secret()
RECORD = call(call_id="call_1", agent_id="agent_1")


def agent(url: str | None) -> EffectiveAgent:
    config = AgentConfig(name="sales", server_url=url)
    return Reception(house()).effective(an_agent(config), {}, customer=None, headers={}, now=BEGUN)


def servers(fetch: Egress) -> AgentServers:
    return AgentServers(fetch, ServerSigning(SECRET, lambda: BEGUN))


def answered(real: RunAsync, answer: web.Response) -> ServerAnswer | ServerFault:
    """What comes of an answer to `call.started`."""

    async def scenario() -> ServerAnswer | ServerFault:
        policy = EgressPolicy.allowing("127.0.0.1", allow_http=True)
        async with Receiver.running() as receiver, Egress(policy) as egress:
            receiver.answer = lambda _: answer
            return await servers(egress).call_started(agent(receiver.url), RECORD)

    return real(scenario())


def test_a_server_is_asked_with_a_signature_it_can_check(real: RunAsync) -> None:
    async def scenario() -> None:
        policy = EgressPolicy.allowing("127.0.0.1", allow_http=True)
        async with Receiver.running() as receiver, Egress(policy) as egress:
            receiver.answer = lambda _: web.json_response({"greeting": "Greet Ada."})
            asking = servers(egress)
            first = await asking.call_started(agent(f"{receiver.url}/hook"), RECORD)
            assert isinstance(first, ServerAnswer)
            assert first.changes.greeting == "Greet Ada."
            receiver.answer = lambda _: web.json_response({"seen": True, "actions": [{"type": "end"}]})
            own = replace(agent(receiver.url), signing=(new_webhook_secret(),))
            assert await asking.transcript_updated(own, RECORD, 2, "user", "Bye.") == ServerAnswer(
                actions=(EndCall(),)
            )
            started, said = receiver.received
            assert (started.path, started.headers["webhook-id"]) == ("/hook", "call_1.started")
            signed = Webhook(SECRET).sign("call_1.started", BEGUN, started.body.decode())
            assert started.headers["webhook-signature"] == signed
            assert (started.json["event"], started.json["call_id"]) == ("call.started", "call_1")
            assert said.headers["webhook-id"] == "call_1.transcript.2"
            signed = Webhook(own.signing[0]).sign("call_1.transcript.2", BEGUN, said.body.decode())
            assert said.headers["webhook-signature"] == signed
            assert said.json["text"] == "Bye."

    real(scenario())


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (web.Response(status=500, text="secret trace"), "HTTP 500"),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "HTTP 302"),
        (web.Response(text="<html>"), "the answer is not JSON"),
        (web.json_response({"greting": "Hi"}), "/greting: unknown field"),
        (web.Response(body=b" " * (MOST_BYTES + 1)), f"the answer is longer than {MOST_BYTES} bytes"),
    ],
)
def test_what_is_no_answer_is_a_fault_that_says_why(
    real: RunAsync, answer: web.Response, detail: str
) -> None:
    assert answered(real, answer) == ServerFault(detail)


@pytest.mark.parametrize("status", [200, 204])
def test_a_server_may_have_nothing_to_say(real: RunAsync, status: int) -> None:
    assert answered(real, web.Response(status=status)) == ServerAnswer()


def test_a_connection_that_breaks_is_tried_again_once(real: RunAsync) -> None:
    async def scenario() -> None:
        asked: list[OutgoingRequest] = []

        async def breaking(request: OutgoingRequest) -> OutgoingAnswer:
            asked.append(request)
            if len(asked) in (1, 3, 4):
                raise EgressFailed(EgressFault.UNREACHABLE, "example.com broke the connection")
            return OutgoingAnswer(status=204)

        asking = AgentServers(breaking, ServerSigning(SECRET, lambda: BEGUN))
        there = agent("https://example.com/hook")
        assert await asking.call_started(there, RECORD) == ServerAnswer()
        assert await asking.call_started(there, RECORD) == ServerFault("example.com broke the connection")
        assert len(asked) == 4
        assert {each.headers["webhook-id"] for each in asked} == {"call_1.started"}

    real(scenario())


def test_a_private_address_is_not_asked(real: RunAsync) -> None:
    async def scenario() -> None:
        async with (
            Receiver.running() as receiver,
            Egress(EgressPolicy.allowing("", allow_http=True)) as egress,
        ):
            fault = await servers(egress).call_started(agent(receiver.url), RECORD)
            assert isinstance(fault, ServerFault)
            assert receiver.received == []

    real(scenario())


def test_a_server_that_is_late_is_not_waited_for(real: RunAsync) -> None:
    async def scenario() -> None:
        asked: list[OutgoingRequest] = []

        async def late(request: OutgoingRequest) -> OutgoingAnswer:
            asked.append(request)
            raise EgressFailed(EgressFault.TIMEOUT, "example.com did not answer")

        asking = AgentServers(late, ServerSigning(SECRET, lambda: BEGUN))
        fault = await asking.call_started(agent("https://example.com/hook"), RECORD)
        assert fault == ServerFault("no answer within 5 s")
        assert [(each.timeout, each.redirects) for each in asked] == [(TIMEOUT, 0)]
        assert await asking.call_started(agent(None), RECORD) == ServerFault("the agent has no server")

    real(scenario())

"""Whole calls whose agent has a server of its own: it makes the call what it is, runs its tools and commands it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.agent.script import parse_script
from telephony.caller import AwaitAgent, Edge, Wait
from telephony.simulated_switch import FarEnd
from tests.conftest import RunAsync
from tests.receiver import Received, Receiver
from tests.whole_house import OTHER, House, whole_house

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])
PATIENT = FarEnd(script=(AwaitAgent(Edge.END, quiet=0.2), Wait(30)))
ASKS = parse_script(
    "greeting: {say: One moment., call: {name: look_up, arguments: {order: 7}}, then: {say: 'It is {output}.'}}\n"
    "after: silent\n"
)
TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}}}

Hook = Callable[[dict[str, Any]], Any]


@asynccontextmanager
async def called(
    carrier: str, folder: Path, hook: Hook, **agent: Any
) -> AsyncIterator[tuple[House, Receiver, str]]:
    """A call to somebody patient, by an agent whose server answers as `hook` says."""

    def answer(received: Received) -> web.Response:
        said = hook(received.json)
        return said if isinstance(said, web.Response) else web.json_response(said)

    async with Receiver.running() as server:
        server.answer = answer
        options: dict[str, Any] = {"egress_allow": "127.0.0.1", "egress_allow_http": True}
        async with whole_house(carrier, folder, agent=ASKS, far_end=PATIENT, **options) as house:
            config = {"server_url": f"{server.url}/hook", "tools": [TOOL], **agent}
            said = await house.dial(agent_id=None, agent=config, metadata={"ours": 1})
            assert said.status == 201, said
            yield house, server, said.json["call_id"]


def told(server: Receiver, event: str) -> list[dict[str, Any]]:
    return [each.json for each in server.received if each.json["event"] == event]


@both
def test_a_server_makes_the_call_what_it_is_and_runs_its_tools(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    def hook(asked: dict[str, Any]) -> Any:
        match asked["event"]:
            case "call.started":
                return {"instructions": "Help Ada.", "metadata": {"customer": 7}}
            case "tool.call":
                return {"state": "sent"}
            case _:
                return {}

    async def scenario() -> None:
        async with called(carrier, tmp_path, hook) as (house, server, call_id):
            await house.happened(call_id, "tool.completed")
            await house.happened(call_id, "transcript.updated", 2)
            await house.ask(call_id, "end")
            record = await house.ended(call_id)
            assert record.metadata == {"ours": 1, "customer": 7}
            assert [said["content"] for said in record.transcript] == [
                "One moment.",
                'It is {"state":"sent"}.',
            ]
            answered = await house.happened(call_id, "server.answered")
            assert answered.data["changed"] == ["instructions", "metadata"]
            (started,) = told(server, "call.started")
            assert (started["call_id"], started["direction"]) == (call_id, "outbound")
            assert told(server, "tool.call")[0]["arguments"] == {"order": 7}
            await server.heard(4)
            assert next(each["text"] for each in told(server, "transcript.updated")) == "One moment."
            logs = await house.api("GET", f"/v1/tool-logs?call_id={call_id}")
            (log,) = logs.json["data"]
            assert (log["name"], log["outcome"], log["status_code"]) == ("look_up", "success", 200)
            assert (log["arguments"], log["result"]) == ({"order": 7}, {"state": "sent"})

    real(scenario())


def test_the_runs_of_a_stored_agents_tool_are_found_by_its_id(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with called("telnyx", tmp_path, lambda _: {}) as (house, server, other_id):
            config = {"name": "clerk", "server_url": f"{server.url}/hook", "tools": [TOOL]}
            agent = (await house.api("POST", "/v1/agents", config)).json
            said = await house.dial(agent_id=agent["agent_id"])
            call_id = said.json["call_id"]
            for each in (call_id, other_id):
                await house.happened(each, "tool.completed")
            found = await house.api("GET", f"/v1/tool-logs?tool_id={agent['tools'][0]['tool_id']}")
            assert [log["call_id"] for log in found.json["data"]] == [call_id]
            (nameless,) = (await house.api("GET", f"/v1/tool-logs?call_id={other_id}")).json["data"]
            assert nameless["tool_id"] is None
            for each in (call_id, other_id):
                await house.ask(each, "end")
                await house.ended(each)

    real(scenario())


@both
def test_what_a_tool_answers_may_transfer_the_call(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    def hook(asked: dict[str, Any]) -> Any:
        if asked["event"] != "tool.call":
            return {}
        return {"found": True, "actions": [{"type": "transfer", "destination": OTHER}]}

    async def scenario() -> None:
        async with called(carrier, tmp_path, hook) as (house, _, call_id):
            house.answers(OTHER, PATIENT)
            await house.happened(call_id, "transfer.completed")
            done = await house.happened(call_id, "server.action")
            assert done.data == {"about": "tool.call", "type": "transfer"}
            (log,) = (await house.api("GET", f"/v1/tool-logs?call_id={call_id}")).json["data"]
            assert log["result"] == {"found": True}
            house.put_down(house.leg_to(OTHER))
            await house.ask(call_id, "end", released=True)
            assert (await house.ended(call_id)).transferred_to == OTHER

    real(scenario())


def test_what_was_said_may_end_the_call(real: RunAsync, tmp_path: Path) -> None:
    def hook(asked: dict[str, Any]) -> Any:
        ends = asked["event"] == "transcript.updated" and asked["text"] == "One moment."
        return {"actions": [{"type": "end"}]} if ends else {}

    async def scenario() -> None:
        async with called("telnyx", tmp_path, hook) as (house, _, call_id):
            record = await house.ended(call_id)
            assert record.ended_reason is not None
            assert record.ended_reason.value == "api"

    real(scenario())


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (web.Response(status=500), "HTTP 500"),
        (web.Response(text="<html>"), "the answer is not JSON"),
        (web.json_response({"tools": [{"name": "x y"}]}), "/tools/0/name: "),
        (web.json_response({"actions": [{"type": "dance"}]}), "/actions/0: "),
    ],
)
def test_a_server_that_is_wrong_leaves_the_call_as_it_was_stored(
    real: RunAsync, tmp_path: Path, answer: web.Response, detail: str
) -> None:
    def hook(asked: dict[str, Any]) -> Any:
        return answer if asked["event"] == "call.started" else {"state": "sent"}

    async def scenario() -> None:
        async with called("telnyx", tmp_path, hook) as (house, _, call_id):
            failed = await house.happened(call_id, "server.failed")
            assert failed.data["about"] == "call.started"
            assert str(failed.data["detail"]).startswith(detail)
            await house.happened(call_id, "tool.completed")
            await house.ask(call_id, "end")
            assert (await house.ended(call_id)).status.value == "completed"

    real(scenario())


def test_a_server_that_hangs_is_not_waited_for(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with called("telnyx", tmp_path, lambda _: {}, tools=[]) as (house, server, call_id):
            server.hold()
            await house.happened(call_id, "transcript.updated")
            await house.ask(call_id, "end")
            record = await house.ended(call_id)
            assert record.transcript[0]["content"] == "One moment."
            server.let_go()

    real(scenario())


def test_a_private_address_is_not_asked(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Receiver.running() as server, whole_house("telnyx", tmp_path, far_end=PATIENT) as house:
            said = await house.dial(agent_id=None, agent={"server_url": f"{server.url}/hook"})
            call_id = said.json["call_id"]
            failed = await house.happened(call_id, "server.failed")
            assert failed.data["about"] == "call.started"
            assert server.received == []
            await house.ask(call_id, "end")
            await house.ended(call_id)

    real(scenario())

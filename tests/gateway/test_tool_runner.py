"""Tools are run: in bounded time, again only where that does no harm, and always with something to tell the model."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from control.agents import AgentConfig
from control.effects import RunTool
from control.egress import EgressFailed, EgressFault, OutgoingAnswer, OutgoingRequest
from control.egress_policy import EgressPolicy
from control.inputs import ToolFinished, ToolStatus
from control.tools.request import ToolContext
from gateway.egress import Egress
from gateway.tool_runner import ToolRunner
from tests.conftest import RunAsync
from tests.receiver import Receiver

CONTEXT = ToolContext(call_id="call_1", agent_id="agent_1")
LOOPBACK = EgressPolicy.allowing("127.0.0.1", allow_http=True)
BUSY = OutgoingAnswer(status=503)
DONE = OutgoingAnswer(status=200, body=b'{"status":"shipped"}')


class Server:
    """The far end of the port, in memory: answers one thing after the other, each after a while."""

    def __init__(self, *answers: OutgoingAnswer | EgressFault, seconds: float = 0.0) -> None:
        self._answers = list(answers)
        self._seconds = seconds
        self.asked: list[OutgoingRequest] = []

    async def __call__(self, request: OutgoingRequest) -> OutgoingAnswer:
        self.asked.append(request)
        try:
            async with asyncio.timeout(request.timeout):
                await asyncio.sleep(self._seconds)
        except TimeoutError as error:
            raise EgressFailed(EgressFault.TIMEOUT, "no answer") from error
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, EgressFault):
            raise EgressFailed(answer, "shop.example")
        return answer


def agent(**tool: object) -> AgentConfig:
    fields = {"name": "look_up", "url": "https://shop.example/", "timeout_seconds": 5, **tool}
    return AgentConfig.model_validate({"tools": [fields]})


async def run(
    server: Server, config: AgentConfig, arguments: str = "{}", name: str = "look_up"
) -> ToolFinished:
    return await ToolRunner(server).run(RunTool("fc_1", name, arguments), config, CONTEXT)


def told(finished: ToolFinished) -> Any:
    return json.loads(finished.output)


def test_what_a_tool_answers_is_what_the_model_is_told(virtual: RunAsync) -> None:
    finished = virtual(run(Server(DONE), agent()))
    assert (finished.tool_call_id, finished.status) == ("fc_1", ToolStatus.COMPLETED)
    assert told(finished) == {"status": "shipped"}


@pytest.mark.parametrize(
    ("method", "attempts"), [("GET", 3), ("PUT", 3), ("DELETE", 3), ("POST", 1), ("PATCH", 1)]
)
@pytest.mark.parametrize("passing", [BUSY, EgressFault.UNREACHABLE])
def test_only_what_does_no_harm_twice_is_tried_again(
    virtual: RunAsync, method: str, attempts: int, passing: OutgoingAnswer | EgressFault
) -> None:
    server = Server(passing)
    finished = virtual(run(server, agent(method=method)))
    assert finished.status is ToolStatus.FAILED
    assert len(server.asked) == attempts


def test_a_repetition_may_succeed(virtual: RunAsync) -> None:
    server = Server(BUSY, DONE)
    assert virtual(run(server, agent(method="GET"))).status is ToolStatus.COMPLETED
    assert [request.headers["Idempotency-Key"] for request in server.asked] == ["fc_1", "fc_1"]


@pytest.mark.parametrize("final", [OutgoingAnswer(status=404), EgressFault.REFUSED, EgressFault.TLS])
def test_what_will_not_get_better_is_not_tried_again(
    virtual: RunAsync, final: OutgoingAnswer | EgressFault
) -> None:
    server = Server(final)
    virtual(run(server, agent(method="GET")))
    assert len(server.asked) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_tool_that_hangs_is_given_up_in_its_own_time(virtual: RunAsync, method: str) -> None:
    async def scenario() -> tuple[ToolFinished, float]:
        began = asyncio.get_running_loop().time()
        finished = await run(Server(DONE, seconds=3_600), agent(method=method, timeout_seconds=4))
        return finished, asyncio.get_running_loop().time() - began

    finished, seconds = virtual(scenario())
    assert finished.status is ToolStatus.TIMEOUT
    assert seconds == pytest.approx(4.0)
    assert told(finished) == {"error": "the tool did not answer within 4 s"}


def test_repetitions_do_not_outlast_the_tools_time(virtual: RunAsync) -> None:
    async def scenario() -> float:
        began = asyncio.get_running_loop().time()
        await run(Server(BUSY, seconds=0.9), agent(method="GET", timeout_seconds=2))
        return asyncio.get_running_loop().time() - began

    assert virtual(scenario()) <= 2.0


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("delete_everything", "{}", "there is no tool named delete_everything"),
        ("look_up", "nonsense", "the arguments do not fit the tool"),
    ],
)
def test_a_call_that_cannot_be_run_asks_nobody(
    virtual: RunAsync, name: str, arguments: str, error: str
) -> None:
    server = Server(DONE)
    assert told(virtual(run(server, agent(), arguments, name)))["error"] == error
    assert server.asked == []


def test_a_tool_of_the_agents_server_is_not_available_without_a_signature(virtual: RunAsync) -> None:
    config = AgentConfig.model_validate(
        {"server_url": "https://shop.example", "tools": [{"name": "look_up"}]}
    )
    assert told(virtual(run(Server(DONE), config))) == {"error": "the tool is not available"}


def test_neither_secrets_nor_arguments_are_logged(virtual: RunAsync) -> None:
    config = agent(
        headers={"X-Key": "very-secret"},
        parameters={"type": "object", "properties": {"number": {"type": "integer"}}},
    )
    with capture_logs() as logs:
        virtual(run(Server(DONE), config, '{"number": "+13125550100"}'))
        virtual(run(Server(BUSY), config, '{"number": 13125550100}'))
    assert [each["status"] for each in logs] == ["failed", "failed"]
    assert "very-secret" not in repr(logs)
    assert "3125550100" not in repr(logs)


@pytest.mark.sockets
def test_a_tool_is_run_over_the_wire(real: RunAsync) -> None:
    async def scenario() -> None:
        async with Receiver.running() as shop, Egress(LOOPBACK) as fetch:
            shop.answer = lambda received: web.json_response(
                {"order": received.json["order"], "status": "shipped"}
            )
            config = agent(url=f"{shop.url}/look-up", headers={"X-Key": "s"})
            finished = await ToolRunner(fetch).run(
                RunTool("fc_1", "look_up", '{"order":"A7"}'), config, CONTEXT
            )
            assert told(finished) == {"order": "A7", "status": "shipped"}
            (received,) = shop.received
            assert (received.method, received.path, received.headers["x-key"]) == ("POST", "/look-up", "s")

    real(scenario())


@pytest.mark.sockets
def test_a_private_address_is_not_asked_unless_allowed(real: RunAsync) -> None:
    async def scenario() -> None:
        async with Receiver.running() as shop, Egress(EgressPolicy(allow_http=True)) as fetch:
            finished = await ToolRunner(fetch).run(
                RunTool("fc_1", "look_up", "{}"), agent(url=shop.url), CONTEXT
            )
            assert told(finished) == {"error": "the tool's address is not allowed"}
            assert shop.received == []

    real(scenario())

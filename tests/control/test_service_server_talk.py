"""A call and its agent's server: nobody who speaks waits for it, and whatever it does wrong is in the timeline."""

import asyncio

import pytest

from control.agents import AgentConfig
from control.dialling import Dialled, DialRequest
from control.media_orders import AgentUp, InstructAgent, Reconfigure, ToolAsked, ToolResult
from control.requests import EndCall, Say, TransferCall
from control.server_answer import CallChanges, ServerAnswer, ServerFault
from control.service.ledger import LINGER
from control.timeline import TimelineEvent
from telephony.commands import Answer, Hangup, Transfer
from tests.conftest import RunAsync
from tests.control.service_scene import OTHER, OURS, THEIRS, Scene

TENANT = "default"
WITH_SERVER = AgentConfig(name="asking", server_url="https://example.com/hook", from_number=OURS)


async def dialled(scene: Scene, *, talks: bool = True) -> str:
    request = DialRequest(to=THEIRS, from_number=OURS, agent=WITH_SERVER)
    outcome = await scene.service.dial(TENANT, request)
    assert isinstance(outcome, Dialled)
    if talks:
        await talking(scene, outcome.record.call_id)
    return outcome.record.call_id


async def talking(scene: Scene, call_id: str) -> None:
    scene.answered("leg-1")
    scene.talks(call_id)
    await scene.settles()


def data(scene: Scene, call_id: str, name: str) -> list[dict[str, object]]:
    return [
        dict(event.data) for event in scene.shelf.events if (event.call_id, event.name) == (call_id, name)
    ]


def said(scene: Scene, call_id: str, *texts: str) -> None:
    for text in texts:
        scene.room.media[call_id].follow(
            TimelineEvent(1.0, "transcript.updated", {"role": "user", "text": text})
        )


def test_a_call_becomes_what_its_server_wants(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        changes = {
            "instructions": "Help Ada.",
            "greeting": "Greet Ada.",
            "tools": [{"name": "look_up"}],
            "metadata": {"customer": 7},
        }
        scene.servers.answer = ServerAnswer(changes=CallChanges.model_validate(changes))
        call_id = await dialled(scene)
        await asyncio.sleep(1)
        assert scene.servers.began == [call_id]
        (order,) = [each for each in scene.room.media[call_id].orders if isinstance(each, Reconfigure)]
        assert (order.instructions, order.greeting) == ("Help Ada.", "Greet Ada.")
        assert order.tools is not None
        assert [tool.name for tool in order.tools] == ["look_up"]
        assert scene.kept(call_id).metadata == {"customer": 7}
        assert data(scene, call_id, "server.answered") == [
            {"about": "call.started", "changed": ["instructions", "greeting", "tools", "metadata"]}
        ]
        live = scene.service.live()[0]
        assert live.agent is not None
        assert [tool.name for tool in live.agent.config.tools] == ["look_up"]
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        ServerFault("HTTP 500"),
        ServerAnswer(changes=CallChanges.model_validate({"tools": [{"name": "a"}, {"name": "a"}]})),
    ],
)
def test_a_server_that_fails_or_talks_nonsense_changes_nothing(
    virtual: RunAsync, answer: ServerAnswer | ServerFault
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.servers.answer = answer
        call_id = await dialled(scene)
        await asyncio.sleep(1)
        (failed,) = data(scene, call_id, "server.failed")
        assert failed["about"] == "call.started"
        assert failed["detail"] in ("HTTP 500", "a is there more than once")
        assert not [each for each in scene.room.media[call_id].orders if isinstance(each, Reconfigure)]
        await scene.close()

    virtual(scenario())


def test_an_agent_without_a_server_asks_nobody(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await scene.rings()
        scene.talks(call_id)
        said(scene, call_id, "Hello?")
        await asyncio.sleep(2)
        assert (scene.servers.began, scene.servers.said) == ([], [])
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize(("takes", "answered_at"), [(0.3, 0.3), (4.0, 1.0)])
def test_an_inbound_call_is_answered_when_the_server_has_spoken_or_was_waited_for_long_enough(
    virtual: RunAsync, takes: float, answered_at: float
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.books.has("asking", server_url="https://example.com/hook")
        scene.books.route_to("asking")
        scene.servers.takes = takes
        call_id = await scene.rings()
        scene.room.media[call_id].report(AgentUp(joined=False))
        await asyncio.sleep(answered_at - 0.05)
        assert scene.account.of(Answer) == []
        await asyncio.sleep(0.1)
        assert len(scene.account.of(Answer)) == 1
        await scene.close()

    virtual(scenario())


def test_what_is_said_is_told_in_order_and_not_waited_for(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.servers.takes = 2.0
        call_id = await dialled(scene)
        said(scene, call_id, "one", "two", "three")
        await asyncio.sleep(LINGER + 1)
        assert scene.shelf.names(call_id).count("transcript.updated") == 3
        assert scene.servers.said == []
        await asyncio.sleep(6)
        assert scene.servers.said == [(1, "user", "one"), (2, "user", "two"), (3, "user", "three")]
        await scene.close()

    virtual(scenario())


def test_what_is_said_in_the_moment_in_which_everything_was_told_is_told(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await dialled(scene)
        told: list[str] = []

        async def tell(agent: object, record: object, number: int, role: str, text: str) -> ServerAnswer:
            told.append(text)
            if text == "One.":
                asyncio.get_running_loop().call_soon(said, scene, call_id, "Two.")
            return ServerAnswer()

        scene.servers.transcript_updated = tell  # type: ignore[method-assign]
        said(scene, call_id, "One.")
        await asyncio.sleep(1)
        assert told == ["One.", "Two."]
        await scene.close()

    virtual(scenario())


def test_a_server_that_is_slower_than_people_misses_the_oldest(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.servers.takes = 1.0
        call_id = await dialled(scene)
        said(scene, call_id, *[str(number) for number in range(1, 151)])
        await asyncio.sleep(200)
        assert [number for number, _, _ in scene.servers.said] == list(range(51, 151))
        await scene.close()

    virtual(scenario())


def test_of_failures_in_a_row_the_first_is_told(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await dialled(scene)
        scene.servers.to_what_was_said = ServerFault("HTTP 500")
        said(scene, call_id, "one", "two")
        await asyncio.sleep(2)
        scene.servers.to_what_was_said = ServerAnswer()
        said(scene, call_id, "three")
        await asyncio.sleep(2)
        scene.servers.to_what_was_said = ServerFault("HTTP 502")
        said(scene, call_id, "four")
        await asyncio.sleep(2)
        assert [each["detail"] for each in data(scene, call_id, "server.failed")] == ["HTTP 500", "HTTP 502"]
        await scene.close()

    virtual(scenario())


def test_the_last_words_of_a_call_are_told_after_its_end(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.servers.takes = 0.5
        scene.servers.to_what_was_said = ServerAnswer(actions=(Say(text="Too late."),))
        call_id = await dialled(scene)
        await asyncio.sleep(1)
        said(scene, call_id, "Bye.", "Bye!")
        scene.hung_up("leg-1")
        await scene.settles()
        await asyncio.sleep(5)
        assert [text for _, _, text in scene.servers.said] == ["Bye.", "Bye!"]
        assert scene.shelf.names(call_id)[-1] == "call.ended"
        await scene.close()

    virtual(scenario())


def test_commands_of_any_answer_are_asked_of_the_call(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.servers.to_what_was_said = ServerAnswer(
            actions=(Say(text="One moment."), TransferCall(transfer_id="t-1", destination=OTHER))
        )
        call_id = await dialled(scene)
        said(scene, call_id, "A person, please.")
        await asyncio.sleep(15)
        assert any(isinstance(each, InstructAgent) for each in scene.room.media[call_id].orders)
        assert scene.account.of(Transfer)[0].destination == OTHER
        assert [each["type"] for each in data(scene, call_id, "server.action")] == ["say", "transfer"]
        await scene.close()

    virtual(scenario())


def test_a_command_that_the_call_refuses_is_in_the_timeline(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.servers.to_what_was_said = ServerAnswer(actions=(Say(text="Word for word.", verbatim=True),))
        call_id = await dialled(scene)
        said(scene, call_id, "Hello?")
        await asyncio.sleep(2)
        (refused,) = data(scene, call_id, "server.action_refused")
        assert (refused["type"], refused["code"]) == ("say", "no_verbatim_voice")
        await scene.close()

    virtual(scenario())


def test_commands_that_come_while_it_rings_wait_for_somebody_to_talk_to(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.servers.answer = ServerAnswer(actions=(Say(text="Hello."),))
        call_id = await dialled(scene, talks=False)
        await asyncio.sleep(5)
        assert data(scene, call_id, "server.action_refused") == []
        await talking(scene, call_id)
        await asyncio.sleep(1)
        assert data(scene, call_id, "server.action") == [{"about": "call.started", "type": "say"}]
        await scene.close()

    virtual(scenario())


def test_a_call_can_be_ended_before_it_is_answered(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.servers.answer = ServerAnswer(actions=(EndCall(),))
        await dialled(scene, talks=False)
        await asyncio.sleep(1)
        assert len(scene.account.of(Hangup)) == 1
        await scene.close()

    virtual(scenario())


def test_a_tool_that_the_server_runs_may_command_the_call_too(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.tools.actions = (Say(text="Found it."),)
        call_id = await dialled(scene)
        media = scene.room.media[call_id]
        media.report(ToolAsked("t-1", "look_up", "{}"))
        await asyncio.sleep(1)
        assert ToolResult("t-1", '{"found": true}') in media.orders
        assert data(scene, call_id, "server.action") == [{"about": "tool.call", "type": "say"}]
        scene.tools.fault = "/actions/0: no such type"
        media.report(ToolAsked("t-2", "look_up", "{}"))
        await asyncio.sleep(1)
        assert data(scene, call_id, "server.failed") == [
            {"about": "tool.call", "detail": "/actions/0: no such type"}
        ]
        await scene.close()

    virtual(scenario())


def test_an_answer_that_comes_after_the_end_changes_nothing(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.servers.takes = 3.0
        scene.servers.answer = ServerAnswer(changes=CallChanges.model_validate({"metadata": {"late": True}}))
        call_id = await dialled(scene)
        scene.hung_up("leg-1")
        await asyncio.sleep(10)
        assert scene.shelf.names(call_id)[-1] == "call.ended"
        assert "late" not in scene.kept(call_id).metadata
        await scene.close()

    virtual(scenario())

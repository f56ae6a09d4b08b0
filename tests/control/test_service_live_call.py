"""One live call: what its machine wants done is done in its order, and a fault of ours costs this call alone."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from control.agents import AgentConfig
from control.call import Call
from control.call_draft import DraftKind
from control.dialling import Dialled, DialRequest
from control.inputs import Found
from control.media_orders import (
    EndMedia,
    HoldAgent,
    PlayFiller,
    ReleaseAgent,
    StopFiller,
    ToolAsked,
    ToolResult,
)
from control.requests import Accepted, Hold, Refused, Resume
from control.service.ledger import LINGER
from control.timeline import TimelineEvent
from media.realtime.events import Usage
from telephony.causes import CallStatus, EndedReason
from telephony.commands import Hangup
from tests.conftest import RunAsync
from tests.control.service_scene import OURS, PROGRESS, SUMMARY, THEIRS, Scene

TENANT = "default"


async def talking(scene: Scene, agent: AgentConfig | None = None) -> str:
    outcome = await scene.service.dial(TENANT, DialRequest(to=THEIRS, from_number=OURS, agent=agent))
    assert isinstance(outcome, Dialled)
    scene.answered("leg-1")
    scene.talks(outcome.record.call_id)
    await scene.settles()
    return outcome.record.call_id


def test_orders_reach_the_media_at_once_whatever_the_database_does(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        scene.shelf.delay = 0.2
        asked = asyncio.create_task(scene.service.ask(TENANT, call_id, Hold()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert isinstance(scene.room.media[call_id].orders[-1], HoldAgent)
        assert not asked.done()
        assert await asked == Accepted()
        assert await scene.service.ask(TENANT, call_id, Resume()) == Accepted()
        assert isinstance(scene.room.media[call_id].orders[-1], ReleaseAgent)
        await scene.close()

    virtual(scenario())


def test_what_the_media_follows_is_in_the_timeline_and_what_the_machine_says_only_once(
    virtual: RunAsync,
) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        media = scene.room.media[call_id]
        media.follow(TimelineEvent(1.0, "speech.started", {}))
        media.follow(TimelineEvent(1.0, "call.answered", {}))
        media.follow(TimelineEvent(1.1, "stream.lost", {"code": 1006}))
        await asyncio.sleep(LINGER + 1)
        names = scene.shelf.names(call_id)
        assert names.count("call.answered") == 1
        assert "stream.lost" in names
        assert "speech.started" in [name for _, name in scene.shelf.published(call_id)]
        await scene.close()

    virtual(scenario())


def test_a_turn_is_on_record_with_the_entry_that_tells_of_it_and_makes_no_save_of_its_own(
    virtual: RunAsync,
) -> None:
    async def scenario() -> None:
        scene = Scene()
        schema = {"type": "object"}
        call_id = await talking(scene, AgentConfig(name="reader", extraction_schema=schema))
        media = scene.room.media[call_id]
        media.progress = replace(
            PROGRESS, transcript=({"role": "assistant", "content": "Hello."},), usages=(Usage(audio_out=7),)
        )
        before, record = scene.shelf.saves, scene.shelf.records[call_id]
        media.follow(TimelineEvent(1.0, "transcript.updated", {"role": "assistant", "text": "Hello."}))
        media.follow(TimelineEvent(1.0, "ai.speech.started", {}))
        media.follow(TimelineEvent(1.2, "ai.speech.ended", {}))
        await asyncio.sleep(LINGER + 1)
        assert scene.shelf.saves == before + 1
        draft = await scene.shelf.draft(call_id)
        assert draft.data(DraftKind.UTTERANCE) == [{"role": "assistant", "content": "Hello."}]
        assert draft.data(DraftKind.SUMS)[0]["llm_cost"] == "7.000000"
        assert draft.schema == schema
        written = [len(event.draft) for event in scene.shelf.events if event.draft]
        assert written == [3]  # what had not changed since was not written again
        assert replace(scene.shelf.records[call_id], revision=record.revision) == record
        await scene.close()

    virtual(scenario())


def test_a_tool_of_the_agents_is_run_and_its_result_told(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        media = scene.room.media[call_id]
        media.report(ToolAsked("t-1", "look_up", '{"order": 7}'))
        await scene.settles()
        assert scene.tools.ran == [("look_up", '{"order": 7}')]
        assert ToolResult("t-1", '{"found": true}') in media.orders
        told = [name for _, name in scene.shelf.published(call_id)]
        assert told[-2:] == ["tool.invoked", "tool.completed"]
        await scene.close()

    virtual(scenario())


def test_the_audio_of_a_filler_is_there_when_its_tool_runs_long(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        tools = [
            {
                "name": name,
                "url": "https://x.example",
                "filler": {"audio_url": f"https://x.example/{name}.wav"},
            }
            for name in ("music", "gone")
        ]
        call_id = await talking(scene, AgentConfig.model_validate({"name": "slow", "tools": tools}))
        scene.tools.takes = 3.0
        media = scene.room.media[call_id]
        media.report(ToolAsked("t-1", "music", "{}"))
        await asyncio.sleep(5.0)
        played = [each for each in media.orders if isinstance(each, PlayFiller | StopFiller | ToolResult)]
        assert [type(each) for each in played] == [PlayFiller, StopFiller, ToolResult]
        media.report(ToolAsked("t-2", "gone", "{}"))
        await asyncio.sleep(5.0)
        assert scene.shelf.names(call_id).count("tool.filler_missing") == 1
        assert scene.shelf.names(call_id).count("filler.failed") == 1
        await scene.close()

    virtual(scenario())


def test_what_a_call_has_cost_is_known_with_its_end(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        scene.hung_up("leg-1")
        await scene.settles()
        # Seven tokens of audio, at a dollar each.
        assert scene.kept(call_id).llm_cost == Decimal(7)
        await scene.close()

    virtual(scenario())


def test_each_model_of_a_call_that_failed_over_is_billed_by_its_own_price(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.room.ending = replace(SUMMARY, usages=(Usage(audio_out=3), Usage(audio_out=4)))
        call_id = await talking(scene, AgentConfig(name="careful", fallback_providers=("spare",)))
        scene.hung_up("leg-1")
        await scene.settles()
        assert scene.kept(call_id).llm_cost == Decimal(3 + 10 * 4)
        await scene.close()

    virtual(scenario())


def test_the_model_can_hang_up(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene, AgentConfig(name="polite", end_call_enabled=True))
        scene.room.media[call_id].report(ToolAsked("t-1", "end_call", "{}"))
        await asyncio.sleep(15)
        assert scene.kept(call_id).intent is EndedReason.AGENT_HANGUP
        assert len(scene.account.of(Hangup)) == 1
        await scene.close()

    virtual(scenario())


def test_the_end_tells_the_whole_call_once_and_frees_its_place(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(places=1)
        call_id = await talking(scene)
        assert scene.room.free() == 0
        scene.hung_up("leg-1")
        scene.hung_up("leg-1")
        await scene.settles()
        assert scene.room.free() == 1
        (ended,) = [event for event in scene.shelf.events if event.name == "call.ended"]
        assert ended.data["call"] == {"call_id": call_id, "status": "completed"}
        assert scene.shelf.names(call_id)[-1] == "call.ended"
        assert call_id in scene.room.revoked
        await scene.close()

    virtual(scenario())


def test_media_that_will_not_end_does_not_hold_the_end_up(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        call_id = await talking(scene)
        scene.room.media[call_id].stays = True
        scene.hung_up("leg-1")
        await asyncio.sleep(10)
        assert scene.shelf.names(call_id)[-1] == "call.ended"
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize("answered", [True, False])
def test_a_fault_of_ours_ends_its_call_and_no_other(
    virtual: RunAsync, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    async def scenario() -> None:
        scene = Scene()
        outcome = await scene.service.dial(TENANT, DialRequest(to=THEIRS, from_number=OURS))
        assert isinstance(outcome, Dialled)
        call_id = outcome.record.call_id
        if answered:
            scene.answered("leg-1")
            scene.talks(call_id)
        other = await scene.rings("leg-b")
        call = scene.service.live()[0]

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(Call, "handle", broken)
            call.tell(Found(carrier_call_id="leg-1"))
        await scene.settles()
        record = scene.kept(call_id)
        wanted = CallStatus.COMPLETED if answered else CallStatus.FAILED
        assert (record.status, record.ended_reason) == (wanted, EndedReason.ERROR)
        assert [command.carrier_call_id for command in scene.account.of(Hangup)] == ["leg-1"]
        assert any(isinstance(order, EndMedia) for order in scene.room.media[call_id].orders)
        assert [name for _, name in scene.shelf.published(call_id)].count("call.ended") == 1
        refused = await scene.service.ask(TENANT, call_id, Hold())
        assert isinstance(refused, Refused)
        assert refused.code == "call_not_in_progress"
        assert scene.service.live()[0].call_id == other
        await scene.close()

    virtual(scenario())

"""Calls whose agent is being looked up: nothing that is said meanwhile is lost."""

import asyncio

from control.directory import Unlisted
from control.effects import Attach
from telephony.calls import TwimlPurpose, TwimlRequested
from telephony.causes import CallStatus, EndedReason
from telephony.commands import Answer, Reject, RejectReason
from tests.conftest import RunAsync
from tests.control.service_scene import Scene


def test_a_call_is_its_tenants_with_the_version_that_is_current_when_it_begins(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(unlisted=Unlisted.REJECT)
        scene.books.answers_ours()
        call_id = await scene.rings()
        scene.books.has("agent_1", version=4, instructions="Version four.")
        scene.talks(call_id)
        await scene.settles()
        record = scene.kept(call_id)
        assert (record.tenant_id, record.agent_id, record.agent_version) == ("acme", "agent_1", 3)
        agent = scene.service.live()[0].agent
        assert agent is not None
        assert (agent.session.instructions, agent.signing) == ("Version three.", ("whsec_c2VjcmV0",))
        assert len(scene.account.of(Answer)) == 1
        later = await scene.rings("leg-b")
        await scene.settles()
        assert scene.kept(later).agent_version == 4
        await scene.close()

    virtual(scenario())


def test_what_is_said_while_the_agent_is_looked_up_is_heard_in_order(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(unlisted=Unlisted.REJECT)
        scene.books.answers_ours()
        scene.books.delay = 0.5
        scene.arrives("leg-a")
        scene.arrives("leg-a")  # told twice
        scene.hung_up("leg-a")
        assert scene.service.live() == []
        await asyncio.sleep(2.0)
        (record,) = scene.shelf.records.values()
        assert (record.status, record.ended_reason) == (CallStatus.CANCELED, EndedReason.CALLER_HANGUP)
        assert scene.account.of(Answer) == []
        assert [name for _, name in scene.shelf.published(record.call_id)][-1] == "call.ended"
        await scene.close()

    virtual(scenario())


def test_a_question_waits_until_it_is_known_who_answers(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene("twilio")
        scene.books.delay = 0.5
        scene.arrives("CA1")
        asked = TwimlRequested(origin=scene.origin("CA1", "document"), purpose=TwimlPurpose.VOICE)
        instruction, token = await scene.service.document("twilio", "default", asked)
        assert isinstance(instruction, Attach)
        assert token.call_id == scene.service.live()[0].call_id
        await scene.close()

    virtual(scenario())


def test_a_drain_waits_for_a_call_that_has_just_come_in(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.books.delay = 1.0
        scene.arrives("leg-a")
        finishing = asyncio.create_task(scene.service.finish(10.0))
        await asyncio.sleep(0.9)
        assert not finishing.done()
        await asyncio.sleep(0.2)
        scene.hung_up("leg-a")
        await finishing
        (reject,) = scene.account.of(Reject)
        assert reject.reason is RejectReason.BUSY
        (record,) = scene.shelf.records.values()
        assert not record.live
        await scene.close()

    virtual(scenario())

"""Calls whose agent is being looked up: nothing that is said meanwhile is lost, and nobody is left ringing."""

import asyncio

import pytest
from structlog.testing import capture_logs

from control.agents import AgentConfig
from control.dialling import Dialled, DialRequest
from control.directory import Unlisted
from control.effects import Attach, Refuse
from control.requests import Refused
from control.secrets import SecretUnreadable
from control.service.switchboard import PATIENCE
from control.stores.errors import StoreUnavailable
from telephony.calls import TwimlPurpose, TwimlRequested
from telephony.causes import CallStatus, EndedReason
from telephony.commands import Answer, Reject, RejectReason
from tests.conftest import RunAsync
from tests.control.service_scene import OTHER, OURS, THEIRS, Scene


def stored(scene: Scene) -> None:
    """An agent of a tenant has our number."""
    scene.books.has("agent_1", version=3, instructions="Version three.")
    scene.books.route_to("agent_1", OURS)


def test_a_call_is_its_tenants_with_the_version_that_is_current_when_it_begins(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(unlisted=Unlisted.REJECT)
        stored(scene)
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
        stored(scene)
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


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (StoreUnavailable("locked"), RejectReason.BUSY),  # the same call may succeed later
        (SecretUnreadable("no key"), RejectReason.UNAVAILABLE),
        (KeyError("ours"), RejectReason.UNAVAILABLE),
    ],
    ids=["database", "key", "ours"],
)
def test_a_call_whose_agent_cannot_be_looked_up_is_refused(
    virtual: RunAsync, fault: Exception, reason: RejectReason
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.books.fault = fault
        with capture_logs() as logs:
            call_id = await scene.rings()
            await scene.settles()
        # A fault of ours alone is shown with where it came from, and counted.
        ours = isinstance(fault, KeyError)
        assert scene.service.faults == ours
        assert [line["event"] for line in logs if line.get("exc_info")] == [
            "call refused: a fault of ours"
        ] * ours
        (reject,) = scene.account.of(Reject)
        assert reject.reason is reason
        assert scene.room.media == {}
        scene.hung_up("leg-a")
        await scene.settles()
        assert scene.kept(call_id).status is CallStatus.REJECTED
        await scene.close()

    virtual(scenario())


def test_a_database_that_is_too_slow_keeps_no_caller_ringing(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene("twilio")
        scene.books.delay = 60.0
        scene.arrives("CA1")
        asked = TwimlRequested(origin=scene.origin("CA1", "document"), purpose=TwimlPurpose.VOICE)
        began = scene.world.now()
        instruction, _ = await scene.service.document("twilio", "default", asked)
        assert instruction == Refuse(RejectReason.BUSY)
        assert scene.world.now() - began < PATIENCE + 0.5
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


def test_a_stored_agent_is_dialled_with_by_its_tenant_alone(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        stored(scene)
        request = DialRequest(to=THEIRS, from_number=OTHER, agent_id="agent_1")
        outcome = await scene.service.dial("acme", request)
        assert isinstance(outcome, Dialled)
        assert (outcome.record.agent_id, outcome.record.agent_version) == ("agent_1", 3)
        refused = await scene.service.dial("default", request)
        assert isinstance(refused, Refused)
        assert refused.code == "agent_not_found"
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize(
    ("fault", "code"),
    [(StoreUnavailable("locked"), "store_unavailable"), (SecretUnreadable("x"), "secrets_unreadable")],
)
def test_a_dial_whose_agent_cannot_be_looked_up_is_refused(
    virtual: RunAsync, fault: Exception, code: str
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.books.fault = fault
        refused = await scene.service.dial(
            "acme", DialRequest(to=THEIRS, from_number=OURS, agent_id="agent_1")
        )
        assert isinstance(refused, Refused)
        assert (refused.status, refused.code) == (503, code)
        assert scene.account.commands == []
        await scene.close()

    virtual(scenario())


def test_an_agent_that_is_brought_along_is_proved_by_its_tenants_secret(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        brought = DialRequest(to=THEIRS, from_number=OURS, agent=AgentConfig(name="brought"))
        for tenant, expected in (("acme", ("whsec_acme",)), ("default", ())):
            outcome = await scene.service.dial(tenant, brought)
            assert isinstance(outcome, Dialled)
            agent = scene.service.live()[-1].agent
            assert agent is not None
            assert agent.signing == expected
        await scene.close()

    virtual(scenario())


def test_a_tenant_whose_terms_nobody_can_tell_in_time_has_its_call_refused(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        stored(scene)
        scene.tenants.delay = 60.0
        scene.arrives("leg-a")
        await asyncio.sleep(PATIENCE + 0.5)
        (reject,) = scene.account.of(Reject)
        assert reject.reason is RejectReason.BUSY
        await scene.close()

    virtual(scenario())


def test_a_fault_of_ours_leaves_no_caller_ringing(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        stored(scene)
        scene.tenants.fault = ZeroDivisionError()
        await scene.rings()
        await scene.settles()
        (reject,) = scene.account.of(Reject)
        assert reject.reason is RejectReason.UNAVAILABLE
        scene.hung_up("leg-a")
        await scene.settles()
        scene.tenants.fault = None
        later = await scene.rings("leg-b")
        assert later in scene.room.media
        await scene.close()

    virtual(scenario())


def test_two_calls_at_once_do_not_take_one_place(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(places=1)
        scene.books.delay = 0.5
        scene.arrives("leg-a")
        scene.arrives("leg-b")
        await asyncio.sleep(3.0)
        (reject,) = scene.account.of(Reject)
        assert (reject.carrier_call_id, reject.reason) == ("leg-b", RejectReason.BUSY)
        assert len(scene.room.media) == 1
        await scene.close()

    virtual(scenario())

"""Whether a call that comes in is taken: a refusal says why, and nobody is left ringing."""

import asyncio

import pytest
from structlog.testing import capture_logs

from control.effects import Refuse
from control.secrets import SecretUnreadable
from control.service.switchboard import PATIENCE
from control.stores.errors import StoreUnavailable
from telephony.calls import TwimlPurpose, TwimlRequested
from telephony.causes import CallStatus
from telephony.commands import Reject, RejectReason
from tests.conftest import RunAsync
from tests.control.service_scene import Scene


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


def test_a_tenant_whose_terms_nobody_can_tell_in_time_has_its_call_refused(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.books.answers_ours()
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
        scene.books.answers_ours()
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

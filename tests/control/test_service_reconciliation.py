"""What carriers say when asked settles what nobody has told us."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from control.call_record import EventRecord
from control.dialling import Dialled, DialRequest
from control.service.neighbours import Neighbours
from control.service.reconciliation import GONE, SILENT
from telephony.calls import HungUp, LegToken
from telephony.causes import (
    CallStatus,
    Disposition,
    EndedReason,
    HangupCause,
    HangupSource,
)
from telephony.client_errors import LiveCall, Verdict
from telephony.commands import Dial, Hangup
from tests.conftest import RunAsync
from tests.control.left_scene import LEFT, OVER, asking, shared
from tests.control.service_scene import BEGUN, OTHER, OURS, THEIRS, Scene


def test_a_call_that_died_with_its_process_is_hung_up_and_ends_as_our_error(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = LEFT
        await asking(scene).recover("node_1")
        await scene.settles()
        record = scene.shelf.records["call_left"]
        assert (record.status, record.ended_reason) == (CallStatus.COMPLETED, EndedReason.ERROR)
        (hangup,) = scene.account.of(Hangup)
        assert hangup.carrier_call_id == "leg-left"
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_calls_of_another_node_are_not_ours_to_end(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = replace(LEFT, node="node_2")
        await asking(scene).recover("node_1")
        await scene.settles()
        assert scene.shelf.records["call_left"].live
        assert scene.account.commands == []
        await scene.close()

    virtual(scenario())


def test_a_caller_who_was_transferred_talks_on_through_a_restart(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = replace(LEFT, transferred_to=OTHER)
        reconciliation = asking(scene)
        await reconciliation.recover("node_1")
        scene.account.alive.add("leg-left")
        await reconciliation.ask()
        assert scene.shelf.names("call_left") == []
        assert scene.account.commands == []
        scene.account.alive.clear()
        await reconciliation.ask()
        await scene.settles()
        record = scene.shelf.records["call_left"]
        assert (record.disposition, record.ended_reason) == (Disposition.TRANSFERRED, EndedReason.TRANSFER)
        assert scene.account.commands == []
        await scene.close()

    virtual(scenario())


def test_a_call_whose_end_is_in_the_journal_does_not_end_twice(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = LEFT
        scene.shelf.away = True
        ended = EventRecord(
            event_id="evt_ended",
            tenant_id="default",
            call_id="call_left",
            agent_id=None,
            name="call.ended",
            sequence=4,
            occurred_at=BEGUN + timedelta(seconds=30),
            at=30.0,
        )
        await scene.keeper.save(replace(OVER, revision=4), [ended])
        scene.shelf.away = False
        reconciliation = asking(scene)
        await reconciliation.recover("node_1")
        scene.tasks.spawn(scene.keeper.repair(), "repair")
        scene.tasks.spawn(reconciliation.run(30), "reconciliation")
        await asyncio.sleep(100)
        assert scene.shelf.names("call_left") == ["call.ended"]
        assert scene.shelf.records["call_left"].ended_reason is EndedReason.CALLER_HANGUP
        await scene.close()

    virtual(scenario())


def test_the_carriers_word_ends_a_call_that_an_earlier_process_transferred(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = replace(LEFT, transferred_to=OTHER)
        await asking(scene).recover("node_1")
        scene.hung_up("leg-b")
        # Another account may say what it likes of a leg that is not its own.
        ended = HungUp(
            origin=scene.origin("leg-left", "hungup"),
            cause=HangupCause.NORMAL_CLEARING,
            source=HangupSource.CALLER,
        )
        scene.service.carrier_event("telnyx", "int_other", ended)
        await scene.settles()
        assert scene.shelf.names("call_left") == []
        scene.hung_up("leg-left")
        await scene.settles()
        assert scene.shelf.names("call_left") == ["call.ended"]
        assert scene.shelf.records["call_left"].status is CallStatus.COMPLETED
        await scene.close()

    virtual(scenario())


async def unknown_dial(scene: Scene) -> str:
    scene.account.troubles[Dial] = [Verdict.UNKNOWN]
    outcome = await scene.service.dial("default", DialRequest(to=THEIRS, from_number=OURS, ring_timeout=60))
    assert isinstance(outcome, Dialled)
    assert not outcome.certain
    return outcome.record.call_id


def test_a_dial_whose_answer_was_lost_is_found_by_asking(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene("twilio")
        call_id = await unknown_dial(scene)
        began = (BEGUN + timedelta(seconds=1)).isoformat()
        scene.account.listed = [
            LiveCall(carrier_call_id="CA8", from_number=OURS, to_number=OTHER, started_at=began),
            LiveCall(carrier_call_id="CA9", from_number=OURS, to_number=THEIRS, started_at=began),
        ]
        await asking(scene).ask()
        await scene.settles()
        assert scene.kept(call_id).carrier_call_id == "CA9"
        await scene.close()

    virtual(scenario())


def test_a_dial_that_nobody_lists_never_was_one(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene("twilio")
        call_id = await unknown_dial(scene)
        reconciliation = asking(scene)
        await reconciliation.ask()
        assert scene.kept(call_id).live
        await asyncio.sleep(31)
        await reconciliation.ask()
        await scene.settles()
        assert scene.kept(call_id).status is CallStatus.FAILED
        assert "call.failed" in scene.shelf.names(call_id)
        await scene.close()

    virtual(scenario())


def test_what_could_not_be_settled_at_the_start_is_settled_later_and_new_calls_are_left_alone(
    virtual: RunAsync,
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = LEFT
        scene.shelf.away = True
        reconciliation = asking(scene)
        await reconciliation.recover("node_1")
        scene.shelf.away = False
        new = await scene.rings("leg-new")
        scene.talks(new)
        scene.answered("leg-new")
        scene.tasks.spawn(reconciliation.run(30.0), "reconciliation")
        await asyncio.sleep(0.9)
        assert scene.shelf.records["call_left"].live
        await asyncio.sleep(30)
        assert scene.shelf.names("call_left") == ["call.ended"]
        assert [each.carrier_call_id for each in scene.account.of(Hangup)] == ["leg-left"]
        assert scene.shelf.records[new].live
        await scene.close()

    virtual(scenario())


def test_a_call_of_a_process_that_does_not_come_back_ends_when_its_carrier_says_so(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await shared(scene)
        await asyncio.sleep(SILENT - 1)
        assert scene.shelf.records["call_left"].live
        await asyncio.sleep(60)
        assert scene.shelf.records["call_left"].ended_reason is EndedReason.ERROR
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_a_leg_that_is_up_is_left_to_its_process_for_long_and_then_hung_up(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.account.alive.add("leg-left")
        await shared(scene)
        await asyncio.sleep(GONE - 1)
        assert scene.account.commands == []
        assert scene.shelf.records["call_left"].live
        await asyncio.sleep(60)
        assert scene.shelf.names("call_left") == ["call.ended"]
        assert [each.carrier_call_id for each in scene.account.of(Hangup)] == ["leg-left"]
        await scene.close()

    virtual(scenario())


def test_a_process_that_is_heard_of_keeps_its_calls(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await shared(scene)
        for _ in range(60):
            await asyncio.sleep(30)
            scene.shelf.beats["node_2"] = scene.world.wall()
        assert scene.shelf.records["call_left"].live
        assert scene.account.commands == []
        await scene.close()

    virtual(scenario())


def test_a_caller_whom_a_silent_process_transferred_talks_on_and_ends_in_time(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.account.alive.add("leg-left")
        _, record = await shared(scene)
        scene.shelf.records["call_left"] = replace(record, transferred_to=OTHER)
        await asyncio.sleep(GONE + 60)
        assert scene.account.commands == []
        scene.account.alive.clear()
        await asyncio.sleep(60)
        assert scene.shelf.records["call_left"].ended_reason is EndedReason.TRANSFER
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_an_end_that_a_silent_process_did_not_tell_is_told(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await shared(scene)
        scene.shelf.records["call_left"] = replace(OVER, node="node_2")
        await asyncio.sleep(SILENT + 60)
        assert scene.shelf.names("call_left") == ["call.ended"]
        assert scene.shelf.records["call_left"].ended_reason is EndedReason.CALLER_HANGUP
        await scene.close()

    virtual(scenario())


def test_while_the_database_is_away_nobody_is_taken_for_dead(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await shared(scene)
        await asyncio.sleep(60)
        scene.shelf.away = True
        await asyncio.sleep(GONE)
        scene.shelf.away = False
        await asyncio.sleep(SILENT - 60)
        assert scene.shelf.records["call_left"].live
        await scene.close()

    virtual(scenario())


def test_two_who_see_to_a_silent_process_end_its_call_once(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.account.alive.add("leg-left")
        await shared(scene)
        other = Neighbours(scene.shelf, scene.world, "node_3")
        scene.tasks.spawn(other.run(30.0), "another's sign of life")
        scene.tasks.spawn(asking(scene, other).run(30.0), "another's reconciliation")
        await asyncio.sleep(GONE + 60)
        assert scene.shelf.names("call_left") == ["call.ended"]
        assert [each.carrier_call_id for each in scene.account.of(Hangup)] == ["leg-left"]
        assert set(scene.shelf.beats) == {"node_1", "node_2", "node_3"}
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize("back", ["heard of", "saved"])
def test_a_process_that_is_back_while_its_carrier_is_asked_keeps_its_call(
    virtual: RunAsync, back: str
) -> None:
    async def scenario() -> None:
        scene = Scene()
        _, record = await shared(scene)
        scene.account.thinks = 90.0
        await asyncio.sleep(SILENT + 45)
        if back == "saved":
            scene.shelf.records["call_left"] = replace(record, revision=4)
        for _ in range(10):
            if back == "heard of":
                scene.shelf.beats["node_2"] = scene.world.wall()
            await asyncio.sleep(10)
        assert scene.shelf.records["call_left"].live
        assert scene.shelf.names("call_left") == []
        assert scene.account.of(Hangup) == []
        await scene.close()

    virtual(scenario())


def test_however_slow_a_carrier_is_this_process_says_that_it_is_there(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        _, record = await shared(scene)
        scene.account.thinks = 50.0
        names = [f"call_left_{place}" for place in range(15)]
        scene.shelf.records |= {name: replace(record, call_id=name) for name in names}
        for _ in range(12):
            await asyncio.sleep(30)
            seen = scene.world.wall() - scene.shelf.beats["node_1"]
            assert seen <= timedelta(seconds=30)
        assert [scene.shelf.records[name].live for name in names] == [False] * 15
        await scene.close()

    virtual(scenario())


UP = LiveCall(carrier_call_id="leg-up", token=LegToken("call_left"))


@pytest.mark.parametrize(
    ("listed", "mute", "ends"), [([], False, SILENT), ([UP], False, GONE), ([], True, GONE)]
)
def test_a_dial_that_was_cut_off_before_its_answer_is_looked_for_in_the_carriers_list(
    virtual: RunAsync, listed: list[LiveCall], mute: bool, ends: float
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.account.listed, scene.account.mute = listed, mute
        _, record = await shared(scene)
        scene.shelf.records["call_left"] = replace(record, carrier_call_id=None, leg_id=None)
        await asyncio.sleep(ends - 1)
        assert scene.shelf.records["call_left"].live
        await asyncio.sleep(60)
        assert scene.shelf.names("call_left") == ["call.ended"]
        hung_up = [each.carrier_call_id for each in scene.account.of(Hangup)]
        assert hung_up == [each.carrier_call_id for each in listed]
        await scene.close()

    virtual(scenario())


def test_a_call_whose_carrier_nobody_can_ask_is_left_to_its_process_for_long(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        _, record = await shared(scene)
        scene.shelf.records["call_left"] = replace(record, integration_id="int_theirs")
        await asyncio.sleep(GONE - 1)
        assert scene.shelf.records["call_left"].live
        await asyncio.sleep(60)
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_what_the_store_did_not_answer_of_a_silent_process_is_asked_again(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.account.alive.add("leg-left")
        _, record = await shared(scene)
        scene.shelf.records["call_over"] = replace(OVER, call_id="call_over", node="node_2")
        scene.shelf.records["call_dead"] = replace(record, call_id="call_dead", carrier_call_id="leg-dead")
        scene.shelf.faults.update({"untold_calls": 1, "end_call": 1})
        await asyncio.sleep(SILENT + 10)
        assert scene.shelf.names("call_dead") == scene.shelf.names("call_over") == []
        await asyncio.sleep(60)
        assert scene.shelf.names("call_dead") == scene.shelf.names("call_over") == ["call.ended"]
        assert scene.shelf.records["call_left"].live
        await scene.close()

    virtual(scenario())


def test_who_cannot_write_what_it_finds_counts_no_silence(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await shared(scene)
        await asyncio.sleep(SILENT - 10)
        scene.shelf.away = True
        await scene.keeper.save(replace(LEFT, call_id="call_ours"), ())
        scene.shelf.away = False  # and nobody repairs it yet
        await asyncio.sleep(60)
        assert scene.shelf.records["call_left"].live
        scene.tasks.spawn(scene.keeper.repair(), "repair")
        await asyncio.sleep(SILENT - 60)
        assert scene.shelf.records["call_left"].live
        await asyncio.sleep(120)
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_a_carrier_that_does_not_answer_has_not_said_that_a_transferred_caller_is_gone(
    virtual: RunAsync,
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = replace(LEFT, transferred_to=OTHER)
        reconciliation = asking(scene)
        await reconciliation.recover("node_1")
        scene.account.mute = True
        await reconciliation.ask()
        await scene.settles()
        assert scene.shelf.names("call_left") == []
        scene.account.mute = False
        await reconciliation.ask()
        await scene.settles()
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_ends_that_could_not_be_told_of_at_a_start_are_told_of_later(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = OVER
        scene.shelf.faults["untold_calls"] = 1
        reconciliation = asking(scene)
        await reconciliation.recover("node_1")
        assert scene.shelf.names("call_left") == []
        scene.tasks.spawn(reconciliation.run(30.0), "reconciliation")
        await asyncio.sleep(31)
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_a_call_whose_end_has_to_wait_keeps_no_other_waiting(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        for name in ("call_first", "call_second"):
            scene.shelf.records[name] = replace(LEFT, call_id=name)
        scene.shelf.records["call_over"] = replace(OVER, call_id="call_over")
        scene.shelf.faults["end_call"] = 1
        await asking(scene).recover("node_1")
        assert scene.shelf.records["call_first"].live
        assert scene.shelf.names("call_second") == scene.shelf.names("call_over") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_a_transferred_caller_whose_carrier_nobody_can_ask_talks_on_for_long(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        _, record = await shared(scene)
        theirs = replace(record, transferred_to=OTHER, integration_id="int_theirs")
        scene.shelf.records["call_left"] = theirs
        await asyncio.sleep(GONE - 1)
        assert scene.shelf.records["call_left"].live
        await asyncio.sleep(60)
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_an_end_that_is_to_be_kept_yet_is_not_begun_again(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        _, record = await shared(scene)
        scene.shelf.records["call_left"] = replace(record, transferred_to=OTHER)
        scene.shelf.faults["end_call"] = 10_000
        await asyncio.sleep(SILENT + 300)
        assert sum(task.get_name() == "call_left end" for task in scene.tasks.tasks) == 1
        await scene.close()

    virtual(scenario())


def test_a_leg_that_could_not_be_hung_up_is_hung_up_again(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = LEFT
        scene.account.troubles[Hangup] = [Verdict.UNAVAILABLE, Verdict.ALREADY_ENDED]
        await asking(scene).recover("node_1")
        await asyncio.sleep(300)
        assert len(scene.account.of(Hangup)) == 2
        await scene.close()

    virtual(scenario())

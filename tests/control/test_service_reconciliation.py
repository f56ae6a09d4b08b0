"""What carriers say when asked settles what nobody has told us."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from control.agents import AgentConfig
from control.call_draft import INTERRUPTED, DraftKind, DraftPiece, begun
from control.call_record import CallRecord, EventRecord
from control.dialling import Dialled, DialRequest
from control.requests import Refused
from control.service.call_service import STORE_PATIENCE
from control.service.reconciliation import GONE, SILENT, Reconciliation, is_the_dial
from control.tool_log import ToolOutcome, ToolRun
from telephony.calls import HungUp, LegToken
from telephony.causes import (
    CallStatus,
    Direction,
    Disposition,
    EndedReason,
    HangupCause,
    HangupSource,
)
from telephony.client_errors import LiveCall, Verdict
from telephony.commands import Dial, Hangup
from tests.conftest import RunAsync
from tests.control.service_scene import BEGUN, OTHER, OURS, THEIRS, Scene

LEFT = CallRecord(
    call_id="call_left",
    direction=Direction.OUTBOUND,
    carrier="telnyx",
    carrier_call_id="leg-left",
    leg_id="leg-left",
    from_number=OURS,
    to_number=THEIRS,
    status=CallStatus.IN_PROGRESS,
    node="node_1",
    started_at=BEGUN,
    answered_at=BEGUN,
    revision=3,
)


def asking(scene: Scene) -> Reconciliation:
    return Reconciliation(
        scene.service,
        scene.shelf,
        scene.keeper,
        scene.accounts,
        scene.world,
        describe=lambda record: {"call_id": record.call_id},
    )


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


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "not taken"])
def test_a_dial_that_the_store_did_not_answer_in_time_leaves_nothing_live(
    virtual: RunAsync, taken: bool
) -> None:
    async def scenario() -> None:
        scene = Scene()
        asking(scene)
        scene.tasks.spawn(scene.keeper.repair(), "repair")
        scene.shelf.delay = STORE_PATIENCE + 1 if taken else 0.0
        scene.shelf.away = not taken
        refused = await scene.service.dial("default", DialRequest(to=THEIRS, from_number=OURS))
        assert isinstance(refused, Refused)
        assert (refused.status, refused.code) == (503, "store_unavailable")
        await asyncio.sleep(10)
        scene.shelf.delay, scene.shelf.away = 0.0, False
        await asyncio.sleep(10)
        assert scene.account.of(Dial) == []
        assert not scene.keeper.is_failing()
        (record,) = scene.shelf.records.values()
        assert (record.status, record.ended_reason) == (CallStatus.FAILED, EndedReason.ERROR)
        assert scene.shelf.published(record.call_id) == [(1, "call.failed"), (2, "call.ended")]
        assert scene.service.live() == []
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
        record = scene.shelf.records["call_left"]
        assert (record.disposition, record.ended_reason) == (Disposition.TRANSFERRED, EndedReason.TRANSFER)
        assert scene.account.commands == []
        await scene.close()

    virtual(scenario())


SCHEMA = {"type": "object", "properties": {"order": {"type": "string"}}}
READER = AgentConfig(name="default", from_number=OURS, extraction_schema=SCHEMA)


def schemas(scene: Scene, call_id: str) -> list[object]:
    """What is owed to a call from its end on."""
    return [
        event.extraction_schema
        for event in scene.shelf.events
        if (event.call_id, event.name) == (call_id, "call.ended")
    ]


def test_what_was_said_before_the_process_died_is_kept_and_read(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(default=READER, extracts=True)
        scene.shelf.records["call_left"] = replace(LEFT, agent_id="agent_default")
        scene.shelf.events.append(
            EventRecord(
                event_id="evt_said",
                tenant_id="default",
                call_id="call_left",
                agent_id=None,
                at=2.0,
                name="transcript.updated",
                sequence=4,
                occurred_at=BEGUN + timedelta(seconds=2),
                data={"role": "user", "text": "Order A seven."},
            )
        )
        await asking(scene).recover("node_1")
        (said,) = scene.shelf.records["call_left"].transcript
        assert (said["role"], said["content"], said["timestamp"]) == ("user", "Order A seven.", 2.0)
        assert schemas(scene, "call_left") == [SCHEMA]
        await scene.close()

    virtual(scenario())


def draft_of(call_id: str, *pieces: DraftPiece) -> EventRecord:
    return EventRecord(
        event_id=f"evt_draft_{call_id}",
        tenant_id="default",
        call_id=call_id,
        agent_id=None,
        at=2.0,
        name="ai.speech.ended",
        sequence=None,
        occurred_at=BEGUN,
        draft=pieces,
    )


HEARD = DraftPiece(DraftKind.UTTERANCE, "000000", {"role": "user", "content": "Hi."})
RUN = ToolRun(tool_call_id="tc_1", name="look_up", began=0.0, arguments="{}")


def test_a_tool_that_ran_when_the_process_died_is_told_of_before_the_end(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = LEFT
        scene.shelf.events.append(draft_of("call_left", begun(RUN, "tlog_1", 0.0, BEGUN)))
        await asking(scene).recover("node_1")
        names = scene.shelf.names("call_left")
        assert names == ["ai.speech.ended", "tool.abandoned", "call.ended"]
        (log,) = [event.tool_log for event in scene.shelf.events if event.tool_log is not None]
        assert (log.outcome, log.error) == (ToolOutcome.ABANDONED, INTERRUPTED)
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize("wanted", [SCHEMA, None])
def test_what_was_to_be_extracted_is_what_the_call_was_begun_with(
    virtual: RunAsync, wanted: dict[str, object] | None
) -> None:
    async def scenario() -> None:
        scene = Scene(default=READER, extracts=True)
        # Its agent was one of this call alone, or is another one by now.
        agent_id = "agent_adhoc_1" if wanted else "agent_default"
        scene.shelf.records["call_left"] = replace(LEFT, agent_id=agent_id)
        schema = DraftPiece(DraftKind.SCHEMA, "", {"schema": wanted})
        scene.shelf.events.append(draft_of("call_left", HEARD, schema))
        await asking(scene).recover("node_1")
        assert scene.shelf.records["call_left"].transcript == (HEARD.data,)
        assert schemas(scene, "call_left") == [wanted]
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize(
    ("extracts", "transcript", "agent_id"),
    [
        (False, ({"role": "user", "content": "Hi."},), "agent_default"),
        (True, (), "agent_default"),
        (True, ({"role": "user", "content": "Hi."},), "agent_gone"),
        (True, ({"role": "user", "content": "Hi."},), None),
    ],
)
def test_of_some_calls_that_are_left_nothing_can_be_extracted(
    virtual: RunAsync, extracts: bool, transcript: tuple[dict[str, str], ...], agent_id: str | None
) -> None:
    async def scenario() -> None:
        scene = Scene(default=READER, extracts=extracts)
        scene.shelf.records["call_left"] = replace(LEFT, agent_id=agent_id, transcript=transcript)
        await asking(scene).recover("node_1")
        assert schemas(scene, "call_left") == [None]
        await scene.close()

    virtual(scenario())


def test_a_transferred_call_that_ends_after_its_process_is_read_too(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene(default=READER, extracts=True)
        said = ({"role": "user", "content": "Hi."},)
        scene.shelf.records["call_left"] = replace(
            LEFT, agent_id="agent_default", transferred_to=OTHER, transcript=said
        )
        await asking(scene).recover("node_1")
        scene.hung_up("leg-left")
        await scene.settles()
        assert schemas(scene, "call_left") == [SCHEMA]
        await scene.close()

    virtual(scenario())


OVER = replace(
    LEFT,
    status=CallStatus.COMPLETED,
    disposition=Disposition.ANSWERED,
    ended_reason=EndedReason.CALLER_HANGUP,
    ended_at=BEGUN + timedelta(seconds=30),
)


@pytest.mark.parametrize("journal", [False, True])
def test_the_end_of_a_call_that_its_process_did_not_live_to_tell_is_told_once(
    virtual: RunAsync, journal: bool
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = OVER
        if journal:  # in which the end may be
            scene.shelf.away = True
            await scene.keeper.save(replace(LEFT, call_id="call_other", node="node_2"), ())
            scene.shelf.away = False
            assert scene.keeper.is_failing()
        reconciliation = asking(scene)
        await reconciliation.recover("node_1")
        assert scene.shelf.names("call_left") == ([] if journal else ["call.ended"])
        scene.tasks.spawn(scene.keeper.repair(), "repair")
        scene.tasks.spawn(reconciliation.run(30), "reconciliation")
        await asyncio.sleep(100)
        assert scene.shelf.names("call_left") == ["call.ended"]
        kept = scene.shelf.records["call_left"]
        assert (kept.ended_reason, kept.ended_at) == (EndedReason.CALLER_HANGUP, OVER.ended_at)
        assert scene.account.of(Hangup) == []
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


@pytest.mark.parametrize(
    ("listed", "same"),
    [
        (LiveCall(carrier_call_id="x", token=LegToken("call_left")), True),
        (LiveCall(carrier_call_id="x", token=LegToken("call_left", "t_1")), False),
        (LiveCall(carrier_call_id="x", token=LegToken("other")), False),
        (
            LiveCall(
                carrier_call_id="x",
                from_number=OURS,
                to_number=THEIRS,
                started_at=(BEGUN - timedelta(hours=1)).isoformat(),
            ),
            False,
        ),
        (LiveCall(carrier_call_id="x", from_number=OURS, to_number=THEIRS), False),
        (LiveCall(carrier_call_id="x", from_number=OURS, to_number=THEIRS, started_at="soon"), False),
    ],
)
def test_a_listed_call_is_ours_by_our_token_or_by_numbers_and_time(listed: LiveCall, same: bool) -> None:
    assert is_the_dial(listed, LEFT) is same


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


async def shared(scene: Scene, node: str = "node_2") -> tuple[Reconciliation, CallRecord]:
    """A database that another process has a call in; it has just been heard of."""
    record = replace(LEFT, node=node)
    scene.shelf.records["call_left"] = record
    scene.shelf.beats[node] = scene.world.wall()
    reconciliation = asking(scene)
    await reconciliation.recover("node_1")
    scene.tasks.spawn(reconciliation.run(30.0), "reconciliation")
    return reconciliation, record


def test_a_call_of_a_process_that_does_not_come_back_ends_when_its_carrier_says_so(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await shared(scene)
        await asyncio.sleep(SILENT)
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
        await asyncio.sleep(GONE)
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


def noted(name: str, sequence: int | None, **data: object) -> EventRecord:
    return EventRecord(
        event_id=f"evt_{name}",
        tenant_id="default",
        call_id="call_left",
        agent_id=None,
        at=10.0,
        name=name,
        sequence=sequence,
        occurred_at=BEGUN + timedelta(seconds=10),
        data=data,
    )


def test_who_waits_for_a_gather_or_a_transfer_is_told_that_the_call_was_over_first(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = LEFT
        scene.shelf.events += [
            noted("gather.started", None, gather_id="g_1", mode="stream"),
            noted("transfer.initiated", 4, transfer_id="t_1", destination=OTHER),
        ]
        await asking(scene).recover("node_1")
        assert scene.shelf.published("call_left") == [
            (4, "transfer.initiated"),
            (5, "call.gather.completed"),
            (6, "transfer.failed"),
            (7, "call.ended"),
        ]
        await scene.close()

    virtual(scenario())


def test_a_transfer_that_outlived_its_process_is_timed_and_billed_to_its_end(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = replace(LEFT, transferred_to=OTHER)
        scene.shelf.events.append(noted("transfer.completed", 5, transfer_id="t_1", destination=OTHER))
        scene.account.alive.add("leg-left")
        await asking(scene).recover("node_1")
        await asyncio.sleep(100)
        scene.hung_up("leg-left")
        await scene.settles()
        record = scene.shelf.records["call_left"]
        assert record.transfer_duration_seconds == 90
        assert record.transfer_cost == Decimal("3.0")
        assert scene.shelf.names("call_left") == ["transfer.completed", "call.ended"]
        await scene.close()

    virtual(scenario())

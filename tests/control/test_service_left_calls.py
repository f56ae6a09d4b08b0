"""Of a call that its process has left everybody is told how it ended, with all that was on record of it."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from control.agents import AgentConfig
from control.call_draft import INTERRUPTED, DraftKind, DraftPiece, begun
from control.call_record import EventRecord
from control.dialling import DialRequest
from control.requests import Refused
from control.service.call_service import STORE_PATIENCE
from control.tool_log import ToolOutcome, ToolRun
from telephony.causes import (
    CallStatus,
    EndedReason,
    HangupCause,
)
from telephony.commands import Dial, Hangup
from tests.conftest import RunAsync
from tests.control.left_scene import LEFT, OVER, asking, noted
from tests.control.service_scene import BEGUN, OTHER, OURS, THEIRS, Scene


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


def test_a_leg_is_hung_up_at_a_start_although_the_store_does_not_take_its_end_yet(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = LEFT
        scene.shelf.faults["end_call"] = 1
        reconciliation = asking(scene)
        await reconciliation.recover("node_1")
        await scene.settles()
        assert [each.carrier_call_id for each in scene.account.of(Hangup)] == ["leg-left"]
        assert scene.shelf.records["call_left"].live
        scene.tasks.spawn(reconciliation.run(30.0), "reconciliation")
        await asyncio.sleep(31)
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


def test_the_word_that_a_transferred_caller_is_gone_is_kept_until_the_store_takes_it(
    virtual: RunAsync,
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.records["call_left"] = replace(LEFT, transferred_to=OTHER)
        await asking(scene).recover("node_1")
        scene.shelf.away = True
        scene.hung_up("leg-left")
        await asyncio.sleep(60)
        scene.shelf.away = False
        await asyncio.sleep(10)
        record = scene.shelf.records["call_left"]
        assert record.hangup_cause is HangupCause.NORMAL_CLEARING
        assert record.ended_at is not None
        assert record.ended_at - BEGUN < timedelta(seconds=30)
        assert scene.shelf.names("call_left") == ["call.ended"]
        await scene.close()

    virtual(scenario())


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

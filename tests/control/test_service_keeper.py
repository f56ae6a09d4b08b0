"""Calls are kept in the store; where it is late or away, in the journal, until it has been told everything."""

import asyncio
from dataclasses import replace

import pytest

from control.call_record import CallRecord
from control.service.keeper import PATIENCE, REPAIR_PAUSE, STALLED, Keeper
from telephony.causes import Direction
from tests.conftest import RunAsync
from tests.control.service_scene import BEGUN, Scene

RECORD = CallRecord(
    call_id="call_1", direction=Direction.INBOUND, carrier="telnyx", started_at=BEGUN, revision=1
)


def test_a_store_that_answers_gets_everything(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await scene.keeper.save(RECORD, ())
        assert scene.shelf.records["call_1"] == RECORD
        assert scene.notebook.entries == []
        assert not scene.keeper.is_failing()
        assert scene.told == ["default"]
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize("trouble", ["away", "late"])
def test_a_store_in_trouble_costs_what_waits_no_more_than_its_patience(
    virtual: RunAsync, trouble: str
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.away = trouble == "away"
        scene.shelf.delay = 60.0 if trouble == "late" else 0.0
        began = scene.world.now()
        await scene.keeper.save(RECORD, ())
        assert scene.world.now() - began <= PATIENCE
        assert [record for record, _ in scene.notebook.entries] == [RECORD]
        await asyncio.sleep(STALLED)
        assert scene.keeper.is_failing()
        # From now on nobody waits at all.
        began = scene.world.now()
        await scene.keeper.save(replace(RECORD, revision=2), ())
        assert scene.world.now() == began
        await scene.close()

    virtual(scenario())


def test_a_store_that_is_only_busy_is_not_failing(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.tasks.spawn(scene.keeper.repair(), "repair")
        scene.shelf.delay = 1.0
        await scene.keeper.save(RECORD, ())
        await scene.keeper.save(replace(RECORD, revision=2), (), urgent=False)
        assert len(scene.notebook.entries) <= 1  # what nobody waited for has gone to the store alone
        await asyncio.sleep(10)
        assert not scene.keeper.is_failing()
        assert scene.shelf.records["call_1"].revision == 2
        await scene.close()

    virtual(scenario())


def test_what_nobody_waits_for_is_not_lost_in_a_store_that_stalls(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.delay = 600.0
        await scene.keeper.save(RECORD, (), urgent=False)
        assert scene.keeper.is_failing()
        assert [record for record, _ in scene.notebook.entries] == [RECORD]
        await scene.close()

    virtual(scenario())


def test_a_store_that_is_back_is_told_everything_in_order(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        repairing = scene.tasks.spawn(scene.keeper.repair(), "repair")
        scene.shelf.away = True
        for revision in range(1, 4):
            await scene.keeper.save(replace(RECORD, revision=revision), ())
        await asyncio.sleep(10)
        assert scene.keeper.is_failing()
        scene.shelf.away = False
        await asyncio.sleep(REPAIR_PAUSE * 2)
        assert not scene.keeper.is_failing()
        assert scene.shelf.records["call_1"].revision == 3
        assert scene.notebook.empty()
        await scene.keeper.save(replace(RECORD, revision=4), ())
        assert scene.notebook.empty()
        assert not repairing.done()
        await scene.close()

    virtual(scenario())


def test_a_save_that_was_late_does_no_harm_when_it_arrives(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.delay = 1.0
        await scene.keeper.save(RECORD, ())
        scene.shelf.delay = 0.0
        scene.tasks.spawn(scene.keeper.repair(), "repair")
        await scene.keeper.save(replace(RECORD, revision=2, notes="later"), ())
        await asyncio.sleep(10)
        assert scene.shelf.records["call_1"].notes == "later"
        await scene.close()

    virtual(scenario())


def test_what_an_earlier_process_journalled_is_told_before_new_calls_are_taken(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        await scene.notebook.append(RECORD, ())
        keeper = Keeper(scene.shelf, scene.notebook, scene.world, scene.told.append)
        assert keeper.is_failing()
        scene.tasks.spawn(keeper.repair(), "repair")
        await asyncio.sleep(1)
        assert not keeper.is_failing()
        assert "call_1" in scene.shelf.records
        await scene.close()

    virtual(scenario())


def test_a_save_that_can_never_be_kept_holds_up_no_other(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.away = True
        for number in range(3):
            await scene.keeper.save(replace(RECORD, call_id=f"call_{number}"), ())
        scene.shelf.away = False
        kept, save = [], scene.shelf.save_call

        async def choosy(record: CallRecord, events: object = ()) -> bool:
            if record.call_id == "call_1":
                raise ZeroDivisionError
            kept.append(record.call_id)
            return await save(record)

        scene.shelf.save_call = choosy  # type: ignore[method-assign]  # the database has a fault
        scene.tasks.spawn(scene.keeper.repair(), "repair")
        await asyncio.sleep(5)
        assert kept == ["call_0", "call_2"]
        assert not scene.keeper.is_failing()
        await scene.close()

    virtual(scenario())

"""What one call owes the store is kept in order, soon, and before what waits for it."""

import asyncio
from dataclasses import replace

from control.call_record import CallRecord, EventRecord
from control.service.ledger import LINGER, Ledger
from telephony.causes import CallStatus, Direction
from tests.conftest import RunAsync
from tests.control.service_scene import BEGUN, Scene

RECORD = CallRecord(call_id="call_1", direction=Direction.INBOUND, carrier="telnyx", started_at=BEGUN)


def entry(number: int) -> EventRecord:
    return EventRecord(
        event_id=f"evt_{number}",
        tenant_id="default",
        call_id="call_1",
        agent_id=None,
        name=f"n{number}",
        sequence=None,
        occurred_at=BEGUN,
        at=0.0,
    )


def opened(scene: Scene) -> Ledger:
    ledger = Ledger(RECORD, scene.keeper)
    scene.tasks.spawn(ledger.run(), "ledger")
    return ledger


def test_entries_that_nobody_waits_for_share_a_transaction(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        ledger = opened(scene)
        ledger.is_kept(RECORD)
        for number in range(10):
            ledger.write(RECORD, [entry(number)])
            await asyncio.sleep(LINGER / 20)
        assert scene.shelf.saves == 0
        await asyncio.sleep(LINGER)
        assert scene.shelf.saves == 1
        assert scene.shelf.names("call_1") == [f"n{number}" for number in range(10)]
        await scene.close()

    virtual(scenario())


def test_a_change_of_the_record_is_kept_at_once(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        ledger = opened(scene)
        ledger.write(replace(RECORD, status=CallStatus.IN_PROGRESS), [entry(1)])
        await asyncio.sleep(LINGER / 10)
        assert scene.shelf.records["call_1"].status is CallStatus.IN_PROGRESS
        await scene.close()

    virtual(scenario())


def test_what_waits_is_done_after_everything_before_it_is_kept(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.delay = 0.1
        ledger = opened(scene)
        done: list[str] = []
        ledger.write(RECORD, [entry(1)])
        ledger.then(lambda: done.append(",".join(scene.shelf.names("call_1"))))
        await asyncio.sleep(0.05)
        ledger.write(RECORD, [entry(2)])
        ledger.then(lambda: done.append(",".join(scene.shelf.names("call_1"))))
        assert done == []
        await asyncio.sleep(1)
        assert done == ["n1", "n1,n2"]
        await scene.close()

    virtual(scenario())


def test_revisions_go_up_and_nothing_is_written_that_is_there_already(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        ledger = opened(scene)
        ledger.is_kept(replace(RECORD, revision=7))
        for number in range(3):
            ledger.write(replace(RECORD, turn_count=number + 1, revision=7), [])
            await asyncio.sleep(1)
        assert scene.shelf.records["call_1"].revision == 10
        saves = scene.shelf.saves
        ledger.then(lambda: None)
        await asyncio.sleep(1)
        assert scene.shelf.saves == saves
        await scene.close()

    virtual(scenario())


def test_a_closed_ledger_ends_when_all_is_kept(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.shelf.delay = 0.2
        ledger = Ledger(RECORD, scene.keeper)
        running = scene.tasks.spawn(ledger.run(), "ledger")
        ledger.write(RECORD, [entry(1)])
        ledger.close()
        await asyncio.sleep(1)
        assert running.done()
        assert scene.shelf.names("call_1") == ["n1"]
        await scene.close()

    virtual(scenario())


def test_a_call_that_cannot_be_kept_goes_on(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()

        async def broken(record: CallRecord, events: object = ()) -> bool:
            raise ZeroDivisionError

        scene.shelf.save_call = broken  # type: ignore[method-assign]  # the database has a fault
        ledger = opened(scene)
        done: list[str] = []
        ledger.write(RECORD, [entry(1)])
        ledger.then(lambda: done.append("done"))
        await asyncio.sleep(1)
        assert done == ["done"]
        await scene.close()

    virtual(scenario())

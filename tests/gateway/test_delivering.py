"""The worker in the gateway: it runs, survives a fault, and is let go in time."""

import asyncio
from pathlib import Path
from typing import Any

from gateway.delivering import delivering
from tests.conftest import RunAsync
from tests.outbox import House
from tests.receiver import Receiver


def test_events_are_delivered_while_the_gateway_runs(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with House.open(tmp_path / "db") as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url)
            async with delivering(house.worker()):
                await house.happen("call_1", "call.ended")
                await receiver.heard()
            assert await house.deliveries.pending() == 0

    virtual(scenario())


def test_what_is_under_way_at_the_end_has_its_time(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with House.open(tmp_path / "db") as house, Receiver.running() as receiver:
            receiver.hold()
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            async with delivering(house.worker()):
                await receiver.heard()
                asyncio.get_running_loop().call_soon(receiver.let_go)
            assert [each.success for each in await house.log("call_1")] == [True]

    virtual(scenario())


def test_what_outlasts_patience_is_given_back_for_others(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with House.open(tmp_path / "db") as house, Receiver.running() as receiver:
            receiver.hold()
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            async with delivering(house.worker(), patience=0.0):
                await receiver.heard()
            assert await house.log("call_1") == []
            assert await house.deliveries.next_due() <= house.now()

    virtual(scenario())


class Faulty:
    """The deliveries of a store, with a fault in it the first time."""

    def __init__(self, room: Any) -> None:
        self._room, self._faults = room, [ZeroDivisionError("a fault of ours")]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._room, name)

    async def claim(self, *args: Any) -> Any:
        if self._faults:
            raise self._faults.pop()
        return await self._room.claim(*args)


def test_a_fault_of_ours_does_not_end_deliveries(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with House.open(tmp_path / "db") as house, Receiver.running() as receiver:
            await house.endpoint(receiver.url)
            await house.happen("call_1", "call.ended")
            async with delivering(house.worker(outbox=Faulty(house.deliveries))):
                await house.delivered()
            assert len(receiver.received) == 1

    virtual(scenario())

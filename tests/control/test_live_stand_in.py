"""What stands in for a Redis that is away, comes back, or hangs."""

import asyncio
from pathlib import Path

import pytest

from control.live.in_process import ProcessSlots, ProcessWindows
from control.live.ports import LiveStateUnavailable
from control.live.shared import SharedSlots, SharedWindows, connected
from control.live.stand_in import PAUSE, UNLIMITED, Outage, StandInSlots, StandInWindows
from control.live.windows import Allowance
from tests.conftest import RunAsync
from tests.redis_server import PROGRAM, redis_server

over_redis = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")


class Line:
    """Windows of many processes, on a line that can be cut, or that hangs."""

    def __init__(self) -> None:
        self.windows = ProcessWindows(asyncio.get_running_loop().time, seconds=60.0)
        self.cut = False
        self.hangs = 0.0
        self.asked = 0

    async def use(self, name: str, limit: int) -> Allowance:
        self.asked += 1
        await asyncio.sleep(self.hangs)
        if self.cut:
            raise LiveStateUnavailable("cut")
        return await self.windows.use(name, limit)

    look = use


def beside(line: Line) -> tuple[StandInWindows, Outage]:
    clock = asyncio.get_running_loop().time
    outage = Outage(clock)
    return StandInWindows(line, ProcessWindows(clock, seconds=60.0), outage), outage


def test_while_the_others_cannot_be_reached_each_counts_for_itself(virtual: RunAsync) -> None:
    async def scenario() -> None:
        line = Line()
        windows, outage = beside(line)
        assert (await windows.use("acme", 3)).remaining == 2
        line.cut = True
        assert (await windows.use("acme", 3)).remaining == 2
        assert (await windows.use("acme", 3)).remaining == 1
        assert outage.reason == "cut"
        line.cut = False
        await asyncio.sleep(PAUSE)
        assert (await windows.use("acme", 3)).remaining == 1
        assert outage.reason is None

    virtual(scenario())


def test_a_line_that_hangs_holds_up_one_question_at_a_time(virtual: RunAsync) -> None:
    async def scenario() -> None:
        line = Line()
        windows, _ = beside(line)
        line.cut, line.hangs = True, 1.5
        await windows.use("acme", 100)
        assert line.asked == 1
        now = asyncio.get_running_loop().time
        began = now()
        for _ in range(20):
            await windows.use("acme", 100)
        assert (line.asked, now() - began) == (1, 0.0)
        await asyncio.sleep(PAUSE)
        took = []

        async def ask() -> None:
            before = now()
            await windows.use("acme", 100)
            took.append(now() - before)

        await asyncio.gather(*[ask() for _ in range(20)])
        assert line.asked == 2
        assert sorted(took)[-2:] == [0.0, 1.5]

    virtual(scenario())


@over_redis
@pytest.mark.sockets
def test_slots_are_shared_and_survive_a_redis_that_forgets(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        async with connected(f"unix://{tmp_path}/redis.sock") as redis:

            def process() -> StandInSlots:
                shared = SharedSlots(redis, lease=60.0)
                return StandInSlots(shared, ProcessSlots(clock, lease=60.0), Outage(lambda: 0.0))

            first, second = process(), process()
            with redis_server(tmp_path):
                assert await first.take("acme", "call_1", 1)
                assert not await second.take("acme", "call_2", 1)
            # Gone: the first knows of its own call, the second has none.
            assert not await first.take("acme", "call_3", 1)
            assert await second.take("acme", "call_2", 1)
            assert (await first.taken("acme"), await second.taken("acme")) == (1, 1)
            with redis_server(tmp_path):  # empty
                first, second = again(first), again(second)
                assert await first.take("acme", "call_1", UNLIMITED)
                assert await second.take("acme", "call_2", UNLIMITED)
                assert await second.taken("acme") == 2
                await second.leave("acme", "call_2")
                assert await first.taken("acme") == 1
            await first.leave("acme", "call_1")
            assert await first.taken("acme") == 0

    def again(slots: StandInSlots) -> StandInSlots:
        """The same, after the pause."""
        return StandInSlots(slots._shared, slots._own, Outage(lambda: 0.0))

    real(scenario())


@over_redis
@pytest.mark.sockets
def test_requests_of_several_processes_are_counted_together(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        with redis_server(tmp_path) as url:
            async with connected(url) as redis:

                def process() -> StandInWindows:
                    shared = SharedWindows(redis, "requests", seconds=60.0)
                    return StandInWindows(shared, ProcessWindows(clock, seconds=60.0), Outage(clock))

                first, second = process(), process()
                assert (await first.use("acme", 3)).remaining == 2
                assert (await second.use("acme", 3)).remaining == 1
                assert (await first.look("acme", 3)).remaining == 1

    real(scenario())

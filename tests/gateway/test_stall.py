"""The stall rule: how far a peer may fall behind."""

import asyncio

from gateway.stall import StallWatch, WriteBounds
from tests.conftest import RunAsync


def test_a_peer_above_the_mark_for_longer_than_our_patience_is_stalled(virtual: RunAsync) -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        stalled: list[float] = []
        watch = StallWatch(WriteBounds(patience=2.0), lambda: stalled.append(loop.time()))
        watch.pause()
        await asyncio.sleep(5.0)
        return stalled

    assert virtual(scenario()) == [2.0]


def test_a_peer_that_reads_again_in_time_is_not(virtual: RunAsync) -> None:
    async def scenario() -> int:
        stalled: list[int] = []
        watch = StallWatch(WriteBounds(patience=2.0), lambda: stalled.append(1))
        for _ in range(3):
            watch.pause()
            await asyncio.sleep(1.9)
            watch.resume()
        await asyncio.sleep(5.0)
        return len(stalled)

    assert virtual(scenario()) == 0


def test_the_ceiling_is_not_waited_for(virtual: RunAsync) -> None:
    async def scenario() -> int:
        stalled: list[int] = []
        watch = StallWatch(WriteBounds(ceiling=1000), lambda: stalled.append(1))
        watch.pause()
        watch.grown(1000)
        assert stalled == []
        watch.grown(1001)
        watch.grown(2000)
        return len(stalled)

    assert virtual(scenario()) == 1

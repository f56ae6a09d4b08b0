"""A loop that is late for seconds is overloaded; one that was late once is not."""

import asyncio
from time import monotonic
from time import sleep as block

import pytest

from gateway.loop_lag import LIMIT, PERIOD, SAMPLES, LoopLag
from tests.conftest import RunAsync


def test_a_loop_on_time_is_not_overloaded(virtual: RunAsync) -> None:
    async def scenario() -> None:
        lag = LoopLag(asyncio.get_running_loop())
        lag.start()
        await asyncio.sleep(PERIOD * SAMPLES * 2)
        assert lag.overloaded() is None
        lag.stop()

    virtual(scenario())


@pytest.mark.sockets
def test_a_stall_is_no_overload_and_many_are() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        lag = LoopLag(loop)
        lag.start()
        began = monotonic()
        while lag.overloaded() is None and monotonic() - began < 30:
            loop.call_soon(block, PERIOD + LIMIT * 1.5)
            await asyncio.sleep(0)
        said = lag.overloaded()
        assert said is not None
        assert "ms late" in said
        assert monotonic() - began > (PERIOD + LIMIT) * SAMPLES / 2 * 0.9
        lag.stop()

    asyncio.run(scenario())

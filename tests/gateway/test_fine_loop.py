"""The loop that measures: its clock is fine and its timers are never early."""

import asyncio

import pytest

from gateway.fine_loop import FineLoop


@pytest.mark.sockets
def test_a_timer_fires_when_it_is_due_and_the_clock_says_how_late() -> None:
    async def lateness() -> list[float]:
        loop = asyncio.get_running_loop()
        late = []
        for microseconds in (300, 700, 1500, 5300):
            due, fired = loop.time() + microseconds / 1e6, loop.create_future()
            loop.call_at(due, fired.set_result, None)
            await fired
            late.append(loop.time() - due)
        return late

    with asyncio.Runner(loop_factory=FineLoop) as runner:
        late = runner.run(lateness())
    assert min(late) > -0.0001  # libuv counts from the moment the timer was set, a few microseconds before
    assert len({round(each, 7) for each in late}) > 1


@pytest.mark.sockets
def test_the_clock_moves_while_a_callback_runs() -> None:
    async def moved() -> bool:
        loop = asyncio.get_running_loop()
        before = loop.time()
        return sum(range(1000)) > 0 and loop.time() > before

    with asyncio.Runner(loop_factory=FineLoop) as runner:
        assert runner.run(moved())

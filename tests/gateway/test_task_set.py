"""Tasks end by themselves or with their set; what broke is told."""

import asyncio
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from gateway.task_set import AGAIN, TaskSet, keep_running
from tests.conftest import RunAsync


def test_a_task_that_ends_is_forgotten_and_one_that_does_not_ends_with_the_set(virtual: RunAsync) -> None:
    async def scenario() -> None:
        tasks = TaskSet()
        quick = tasks.spawn(asyncio.sleep(1), "quick")
        slow = tasks.spawn(asyncio.sleep(1_000), "slow")
        await asyncio.sleep(2)
        assert quick.done()
        assert len(tasks) == 1
        await tasks.close()
        assert slow.cancelled()
        assert len(tasks) == 0

    virtual(scenario())


def test_what_broke_is_told_once_and_costs_nobody_else(virtual: RunAsync) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        tasks = TaskSet()
        with capture_logs() as logs:
            task = tasks.spawn(broken(), "broken")
            other = tasks.spawn(asyncio.sleep(5), "other")
            await asyncio.sleep(1)
        assert isinstance(task.exception(), ZeroDivisionError)
        assert [(entry["event"], entry["task"]) for entry in logs] == [("a task failed", "broken")]
        assert not other.done()
        await tasks.close()

    virtual(scenario())


@pytest.mark.parametrize("number", [0, 3])
def test_a_set_can_be_closed_whatever_is_in_it(virtual: RunAsync, number: int) -> None:
    async def scenario() -> None:
        tasks = TaskSet()
        for _ in range(number):
            tasks.spawn(asyncio.sleep(10), "sleeper")
        await tasks.close()
        assert len(tasks) == 0

    virtual(scenario())


def test_what_must_not_stop_is_begun_again_after_a_fault_and_told(virtual: RunAsync) -> None:
    begun = []

    async def work() -> None:
        begun.append(asyncio.get_running_loop().time())
        if len(begun) < 3:
            raise ZeroDivisionError
        await asyncio.sleep(1_000)

    async def scenario() -> None:
        task = asyncio.create_task(keep_running(work))
        with capture_logs() as told:
            await asyncio.sleep(60)
        assert [later - earlier for earlier, later in pairwise(begun)] == [AGAIN, AGAIN]
        assert [each["event"] for each in told] == ["stopped by a fault of ours, and begun again"] * 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    virtual(scenario())

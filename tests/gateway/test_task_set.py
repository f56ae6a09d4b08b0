"""Tasks end by themselves or with their set; what broke is told."""

import asyncio

import pytest
from structlog.testing import capture_logs

from gateway.task_set import TaskSet
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

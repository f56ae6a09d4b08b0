"""Tasks with a parent: whoever opens a set closes it, and what broke in one of them is never silent."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()

# Seconds after a fault of ours, before what must not stop is begun again.
AGAIN = 5.0


class TaskSet:
    """Driven by those who need something done beside (`spawn`), until `close`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Begin it; it ends by itself, or with the set."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Cancel what is left, and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a task failed", task=task.get_name(), exc_info=fault)


async def keep_running(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do it until cancelled; a fault of ours in it is told, and it begins again."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("stopped by a fault of ours, and begun again")
        await asyncio.sleep(AGAIN)

"""How long somebody waits for the database who can do without it for a while."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from control.stores.errors import StoreUnavailable

T = TypeVar("T")

# Seconds (docs/architecture.md: nobody's hang-up waits for the database any longer).
BRIEFLY = 0.25


async def within(patience: float, asked: Coroutine[Any, Any, T]) -> T:
    """Wait so long; what was asked goes on in any case: to call a statement off may take longer than to wait for it.

    Raises:
        StoreUnavailable: it has not answered, or cannot.
    """
    task = asyncio.ensure_future(asked)
    try:
        async with asyncio.timeout(patience):
            return await asyncio.shield(task)
    except TimeoutError as late:
        task.add_done_callback(_outlived)
        raise StoreUnavailable(f"no answer within {patience} s") from late


def _outlived(task: "asyncio.Future[Any]") -> None:
    """Whoever asked was told that the database does not answer; anything else that went wrong is a fault of ours."""
    fault = None if task.cancelled() else task.exception()
    if fault is not None and not isinstance(fault, StoreUnavailable):
        context = {"message": "a statement nobody waited for has failed", "exception": fault, "future": task}
        task.get_loop().call_exception_handler(context)

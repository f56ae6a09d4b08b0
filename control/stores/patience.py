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
    try:
        async with asyncio.timeout(patience):
            return await asyncio.shield(asked)
    except TimeoutError as late:
        raise StoreUnavailable(f"no answer within {patience} s") from late

"""Runs the deliveries' worker as long as the gateway runs, and parts with it in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from control.deliveries import DeliveryWorker

log = structlog.get_logger()

# An attempt under way takes 10 s at most; what lasts longer waits for a store, and is given back.
PATIENCE = 12.0

# After a fault of ours, seconds before it is begun again.
AGAIN = 5.0


@asynccontextmanager
async def delivering(worker: DeliveryWorker, patience: float = PATIENCE) -> AsyncIterator[None]:
    """Deliver in here; leaving lets attempts end for as long as `patience`, then gives back what is left."""
    task = asyncio.create_task(_keep_running(worker), name="deliveries")
    try:
        yield
    finally:
        worker.stop()
        _, late = await asyncio.wait([task], timeout=patience)
        for each in late:
            each.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep_running(worker: DeliveryWorker) -> None:
    while True:
        try:
            return await worker.run()
        except (
            Exception
        ):  # ours, whatever it is: calls go on, and what they have to tell must not wait for ever
            log.exception("deliveries stopped by a fault of ours")
        await asyncio.sleep(AGAIN)

"""Lets go of what has been kept for as long as it was to be: old events and deliveries, used idempotency keys, and the
names of processes that are no more."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from control.stores.errors import StoreUnavailable
from control.stores.idempotency import Idempotency
from control.stores.nodes import Nodes
from control.stores.pruning import Pruning

log = structlog.get_logger()

# Seconds between sweeps: what is kept for days need not go to the hour, and a sweep looks at all that is old.
PERIOD = 6 * 3600.0
# Seconds between steps: calls' own saves come first.
PAUSE = 0.1
# Since its last word: long after whatever a process had in hand was seen to by the others.
FORGOTTEN = timedelta(days=1)


class Pruner:
    """Driven by its own task (`run`)."""

    def __init__(
        self,
        past: Pruning,
        keys: Idempotency,
        nodes: Nodes,
        *,
        retention: timedelta | None,
        wall: Callable[[], datetime],
    ) -> None:
        """
        Args:
            retention: of events and deliveries; None: they stay.
        """
        self._past = past
        self._keys = keys
        self._nodes = nodes
        self._retention = retention
        self._wall = wall

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            try:
                await self.sweep()
            except StoreUnavailable as fault:
                log.warning("what is old is not let go of yet", why=str(fault))
            await asyncio.sleep(PERIOD)

    async def sweep(self) -> None:
        """Let go of all that is old now."""
        purged = 1
        while purged:
            purged = await self._keys.purge(self._wall())
            await asyncio.sleep(PAUSE)
        await self._nodes.forget(self._wall() - FORGOTTEN)
        if self._retention is None:
            return
        before = self._wall() - self._retention
        after: int | None = 0
        events = deliveries = 0
        while after is not None:
            pruned = await self._past.prune(before, after=after)
            events, deliveries, after = events + pruned.events, deliveries + pruned.deliveries, pruned.last
            await asyncio.sleep(PAUSE)
        if events or deliveries:
            log.info("old events are let go of", events=events, deliveries=deliveries)

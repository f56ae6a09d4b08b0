"""What the processes of one gateway count together: in Redis where there is one, else in this process alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from control.api.gate import FAILED_WITHIN, MINUTE
from control.api.ports import Health
from control.live.in_process import ProcessSlots, ProcessWindows
from control.live.ports import CallSlots, LiveStateUnavailable, RequestWindows
from control.live.stand_in import Outage, StandInSlots, StandInWindows
from control.service.admission import LEASE


@dataclass(frozen=True, slots=True)
class LiveState:
    """The counts, which always answer, and how the Redis is that they are in."""

    requests: RequestWindows
    failures: RequestWindows
    slots: CallSlots
    redis: Callable[[], Awaitable[Health]] | None = None
    """Asks how it is; None: there is none, each process counts by itself."""
    outage: Outage | None = None

    def degraded(self) -> list[str]:
        """What does not work as it should, though calls are taken."""
        if self.outage is None or self.outage.reason is None:
            return []
        return ["redis does not answer: limits are counted by each process for itself"]


@asynccontextmanager
async def live_state(url: str | None) -> AsyncIterator[LiveState]:
    """Open it; a Redis that is away is no obstacle.

    Raises:
        ValueError: the URL is none of Redis.
    """
    clock = asyncio.get_running_loop().time
    own = LiveState(
        requests=ProcessWindows(clock, seconds=MINUTE),
        failures=ProcessWindows(clock, seconds=FAILED_WITHIN),
        slots=ProcessSlots(clock, lease=LEASE),
    )
    if url is None:
        yield own
        return
    # Here: most gateways are one process, and need not wait for its import.
    from control.live.shared import SharedSlots, SharedWindows, connected, ping

    async with connected(url) as redis:
        outage = Outage(clock)

        async def health() -> Health:
            before = clock()
            try:
                await ping(redis)
            except LiveStateUnavailable as error:
                return Health(ok=False, detail=str(error))
            return Health(ok=True, latency=clock() - before)

        yield LiveState(
            requests=StandInWindows(SharedWindows(redis, "requests", seconds=MINUTE), own.requests, outage),
            failures=StandInWindows(
                SharedWindows(redis, "failures", seconds=FAILED_WITHIN), own.failures, outage
            ),
            slots=StandInSlots(SharedSlots(redis, lease=LEASE), own.slots, outage),
            redis=health,
            outage=outage,
        )

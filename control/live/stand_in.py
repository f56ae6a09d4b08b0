"""The state that processes share, and each process's own in its place while that cannot be reached.

Theory of operation. A gateway that cannot count with the others counts by itself: what is asked is answered, calls are
taken, and a limit may be exceeded at most as many times as there are processes. After a failure the shared state is
left alone for a while, and then asked by one question at a time, so that a Redis which hangs holds up nobody else.
Slots are always kept in both: whatever fails, a process knows of its own calls, and when the shared state is back,
their renewal puts them there again.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from control.live.ports import CallSlots, LiveStateUnavailable, RequestWindows
from control.live.windows import Allowance

log = structlog.get_logger()

# Seconds for which the shared state is left alone after a failure.
PAUSE = 2.0

UNLIMITED = 1_000_000_000
"""More than there is: for a call that has its slot already."""

T = TypeVar("T")


class Outage:
    """Whether the shared state is away. Driven by those who ask it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """
        Args:
            clock: any clock that does not jump, in seconds.
        """
        self.reason: str | None = None
        """Why it was away when it was last asked; None: it was not."""
        self._clock = clock
        self._again_at = 0.0

    async def ask(self, shared: Callable[[], Awaitable[T]], own: Callable[[], Awaitable[T]]) -> T:
        """Return the shared answer; the process's own where there is none."""
        if self._may_ask():
            try:
                answer = await shared()
            except LiveStateUnavailable as error:
                self._failed(str(error))
            else:
                self._answered()
                return answer
        return await own()

    def _may_ask(self) -> bool:
        if self.reason is None:
            return True
        now = self._clock()
        if now < self._again_at:
            return False
        self._again_at = now + PAUSE  # this one asks for all
        return True

    def _failed(self, reason: str) -> None:
        if self.reason is None:
            log.warning("shared state is away: this process counts by itself", reason=reason)
        self.reason = reason
        self._again_at = self._clock() + PAUSE

    def _answered(self) -> None:
        if self.reason is not None:
            log.info("shared state is back")
        self.reason = None


class StandInWindows:
    """`RequestWindows` that always answer."""

    def __init__(self, shared: RequestWindows, own: RequestWindows, outage: Outage) -> None:
        self._shared = shared
        self._own = own
        self._outage = outage

    async def use(self, name: str, limit: int) -> Allowance:
        return await self._outage.ask(
            lambda: self._shared.use(name, limit), lambda: self._own.use(name, limit)
        )

    async def look(self, name: str, limit: int) -> Allowance:
        return await self._outage.ask(
            lambda: self._shared.look(name, limit), lambda: self._own.look(name, limit)
        )


class StandInSlots:
    """`CallSlots` that always answer."""

    def __init__(self, shared: CallSlots, own: CallSlots, outage: Outage) -> None:
        self._shared = shared
        self._own = own
        self._outage = outage

    async def take(self, tenant_id: str, call_id: str, limit: int) -> bool:
        async def with_the_others() -> bool:
            if not await self._shared.take(tenant_id, call_id, limit):
                return False
            return await self._own.take(tenant_id, call_id, UNLIMITED)

        return await self._outage.ask(with_the_others, lambda: self._own.take(tenant_id, call_id, limit))

    async def leave(self, tenant_id: str, call_id: str) -> None:
        """What cannot be given back ends with its lease."""
        await self._own.leave(tenant_id, call_id)
        await self._outage.ask(lambda: self._shared.leave(tenant_id, call_id), _nothing)

    async def taken(self, tenant_id: str) -> int:
        return await self._outage.ask(
            lambda: self._shared.taken(tenant_id), lambda: self._own.taken(tenant_id)
        )


async def _nothing() -> None:
    pass

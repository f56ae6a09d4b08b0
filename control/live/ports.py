"""The questions that one process answers by itself and many answer together."""

from typing import Protocol

from control.live.windows import Allowance


class LiveStateUnavailable(Exception):
    """The state that processes share cannot be reached. What to do then is its user's to decide: a count may be
    skipped, a slot may not be taken twice."""


class RequestWindows(Protocol):
    """How often somebody may ask (`control.live.windows`)."""

    async def use(self, name: str, limit: int) -> Allowance:
        """Count one of the so many that they may; not counted where nothing is left.

        Raises:
            LiveStateUnavailable
        """
        ...

    async def look(self, name: str, limit: int) -> Allowance:
        """Count nothing.

        Raises:
            LiveStateUnavailable
        """
        ...


class CallOwners(Protocol):
    """Which process a live call is in: where its commands go. Held by lease."""

    async def claim(self, call_id: str, node: str) -> str:
        """Take a call that is nobody's, or take it for longer; return whose it is then.

        Raises:
            LiveStateUnavailable
        """
        ...

    async def owner(self, call_id: str) -> str | None:
        """Return whose it is; None: nobody's, or its owner has not been heard of for a lease.

        Raises:
            LiveStateUnavailable
        """
        ...

    async def release(self, call_id: str, node: str) -> None:
        """Let it go, if it is that node's.

        Raises:
            LiveStateUnavailable
        """
        ...


class CallSlots(Protocol):
    """How many calls somebody may have at a time, over all processes. Held by lease."""

    async def take(self, tenant_id: str, call_id: str, limit: int) -> bool:
        """Take a slot for a call, or keep the one it has for longer; False: none is free.

        A call that has a slot keeps it even if the limit was lowered.

        Raises:
            LiveStateUnavailable
        """
        ...

    async def leave(self, tenant_id: str, call_id: str) -> None:
        """Give the call's slot back, if it has one.

        Raises:
            LiveStateUnavailable
        """
        ...

    async def taken(self, tenant_id: str) -> int:
        """Return how many slots are taken.

        Raises:
            LiveStateUnavailable
        """
        ...

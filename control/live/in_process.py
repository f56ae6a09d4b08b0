"""Live state of one process: in its own memory, at its own clock. Times are seconds."""

from collections.abc import Callable

from control.live.windows import Allowance, Windows

Clock = Callable[[], float]
"""Any clock that does not jump."""


class ProcessWindows:
    """`RequestWindows` of this process alone."""

    def __init__(self, clock: Clock, *, seconds: float) -> None:
        self._clock = clock
        self._windows = Windows(seconds=seconds)

    async def use(self, name: str, limit: int) -> Allowance:
        return self._windows.use(name, limit, self._clock())

    async def look(self, name: str, limit: int) -> Allowance:
        return self._windows.look(name, limit, self._clock())


class ProcessOwners:
    """`CallOwners` of this process alone."""

    def __init__(self, clock: Clock, *, lease: float) -> None:
        self._clock = clock
        self._lease = lease
        self._owners: dict[str, tuple[str, float]] = {}

    async def claim(self, call_id: str, node: str) -> str:
        owner = await self.owner(call_id)
        if owner is not None and owner != node:
            return owner
        self._owners[call_id] = (node, self._clock() + self._lease)
        return node

    async def owner(self, call_id: str) -> str | None:
        node, ends = self._owners.get(call_id, (None, 0.0))
        if node is not None and ends <= self._clock():
            del self._owners[call_id]
            return None
        return node

    async def release(self, call_id: str, node: str) -> None:
        if await self.owner(call_id) == node:
            del self._owners[call_id]


class ProcessSlots:
    """`CallSlots` of this process alone."""

    def __init__(self, clock: Clock, *, lease: float) -> None:
        self._clock = clock
        self._lease = lease
        self._slots: dict[str, dict[str, float]] = {}

    async def take(self, tenant_id: str, call_id: str, limit: int) -> bool:
        slots = self._held(tenant_id)
        if call_id not in slots and len(slots) >= limit:
            return False
        self._slots.setdefault(tenant_id, slots)[call_id] = self._clock() + self._lease
        return True

    async def leave(self, tenant_id: str, call_id: str) -> None:
        self._held(tenant_id).pop(call_id, None)

    async def taken(self, tenant_id: str) -> int:
        return len(self._held(tenant_id))

    def _held(self, tenant_id: str) -> dict[str, float]:
        """The tenant's slots, without those whose lease has ended."""
        slots = self._slots.get(tenant_id)
        if slots is None:
            return {}
        now = self._clock()
        for call_id in [call_id for call_id, ends in slots.items() if ends <= now]:
            del slots[call_id]
        if not slots:
            del self._slots[tenant_id]
        return slots

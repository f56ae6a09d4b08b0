"""Word that something was stored: who follows events waits for it, then asks the store.

Events themselves do not pass here. A follower that is slow is just late, and misses nothing.
"""

import asyncio
from collections import OrderedDict

# Tenants whose counts are kept; of one that falls out, a follower wakes once too often.
_TENANTS = 10_000


class EventNews:
    """Driven by whoever stores events (`tell`) and by those who follow them (`count`, then `wait`)."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False

    def tell(self, tenant_id: str) -> None:
        """Something of this tenant's was stored."""
        self._counts[tenant_id] = self._counts.pop(tenant_id, 0) + 1
        if len(self._counts) > _TENANTS:
            self._counts.popitem(last=False)
        self._wake(tenant_id)

    def count(self, tenant_id: str) -> int:
        """How much has been told so far: to be asked before the store is."""
        return self._counts.get(tenant_id, 0)

    async def wait(self, tenant_id: str, seen: int, *, timeout: float) -> None:
        """Return once more than `seen` was told, or after `timeout` seconds, or when nothing will be told any more."""
        if self._closed or self.count(tenant_id) != seen:
            return
        waiter = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(tenant_id, set())
        waiting.add(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            pass
        finally:
            waiting.discard(waiter)
            if not waiting and self._waiting.get(tenant_id) is waiting:
                del self._waiting[tenant_id]

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Nothing more will be told: let every follower go."""
        self._closed = True
        for tenant_id in list(self._waiting):
            self._wake(tenant_id)

    def _wake(self, tenant_id: str) -> None:
        for waiter in self._waiting.get(tenant_id, ()):
            if not waiter.done():
                waiter.set_result(None)

"""Who follows calls as they go on: each kept event is told to every subscriber it concerns, none of them waited for.

A subscriber that does not keep up loses its subscription, not single events: it has the store to resume from.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import contextmanager
from collections.abc import Iterator

from control.call_record import EventRecord

# Events that a subscriber may be behind: some minutes of one busy call, some seconds of a busy tenant.
BEHIND = 1_000


class Subscription:
    """One subscriber's events, in order. Ends when its call does, or when it falls behind."""

    def __init__(self, tenant_id: str, call_id: str | None) -> None:
        self.tenant_id = tenant_id
        self.call_id = call_id
        self.lagged = False
        """Whether it ended because it was too slow."""
        self._waiting: asyncio.Queue[EventRecord | None] = asyncio.Queue(BEHIND + 1)

    def __aiter__(self) -> AsyncIterator[EventRecord]:
        return self

    async def __anext__(self) -> EventRecord:
        event = await self._waiting.get()
        if event is None:
            raise StopAsyncIteration
        return event

    def concerns(self, event: EventRecord) -> bool:
        return event.tenant_id == self.tenant_id and self.call_id in (None, event.call_id)

    def tell(self, event: EventRecord) -> bool:
        """Whether it still follows."""
        if self._waiting.qsize() >= BEHIND:
            self.lagged = True
            self.end()
            return False
        self._waiting.put_nowait(event)
        return True

    def end(self) -> None:
        if not self._waiting.full():
            self._waiting.put_nowait(None)


class Audience:
    """Every subscriber. Driven by calls (`tell`, `over`)."""

    def __init__(self) -> None:
        self._following: set[Subscription] = set()

    def __len__(self) -> int:
        return len(self._following)

    @contextmanager
    def subscribe(self, tenant_id: str, call_id: str | None = None) -> Iterator[Subscription]:
        """Follow one call, or all of a tenant, in here."""
        subscription = Subscription(tenant_id, call_id)
        self._following.add(subscription)
        try:
            yield subscription
        finally:
            self._following.discard(subscription)

    def tell(self, event: EventRecord) -> None:
        for subscription in [each for each in self._following if each.concerns(event)]:
            if not subscription.tell(event):
                self._following.discard(subscription)

    def over(self, call_id: str) -> None:
        """The call has said its last word."""
        for subscription in [each for each in self._following if each.call_id == call_id]:
            subscription.end()

    def close(self) -> None:
        """Nothing more will happen in this process."""
        for subscription in self._following:
            subscription.end()
        self._following.clear()

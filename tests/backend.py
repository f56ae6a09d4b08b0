"""A user's backend: what its webhook has been told, by call, each event once, however often it came."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.patience import PATIENCE
from tests.receiver import Received, Receiver


class Backend:
    """Knows an event again by its `webhook-id`, as every receiver should."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.events: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        """Of each call, by id, in the order in which they first came."""
        self._read = 0

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["Backend"]:
        async with Receiver.running() as receiver:
            yield cls(receiver)

    @property
    def url(self) -> str:
        return self.receiver.url

    @property
    def doubles(self) -> int:
        """How many events came again."""
        self._catch_up()
        return len(self.receiver.received) - sum(len(events) for events in self.events.values())

    def told(self, call_id: str) -> list[str]:
        """The names of a call's events."""
        self._catch_up()
        return [event["event"] for event in self.events[call_id].values()]

    def sequences(self, call_id: str) -> list[int]:
        self._catch_up()
        return [event["sequence"] for event in self.events[call_id].values()]

    async def was_told(self, call_id: str, name: str) -> None:
        """Wait until it has been."""
        try:
            async with asyncio.timeout(PATIENCE):
                while name not in self.told(call_id):
                    await self.receiver.heard(len(self.receiver.received) + 1)
        except TimeoutError:
            raise AssertionError(f"{call_id}: not told {name}, but {self.told(call_id)}") from None

    def _catch_up(self) -> None:
        for received in self.receiver.received[self._read :]:
            self._take(received)
        self._read = len(self.receiver.received)

    def _take(self, received: Received) -> None:
        event = received.json
        assert received.headers["webhook-id"] == event["id"]
        known = self.events[event["call_id"]].setdefault(event["id"], event)
        assert known == event, "an event that comes again is the same"

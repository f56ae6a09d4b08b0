"""A house that only delivers: a real store, the real HTTP client, and a worker, on whatever clock the loop has."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from control.call_record import CallRecord, EventRecord
from control.deliveries import BOUNDS, Bounds, DeliveryWorker
from control.egress_policy import EgressPolicy
from control.secrets import SecretKeys, new_key
from control.stores.delivery_log import LoggedAttempt
from control.stores.store import Store
from control.stores.urls import sqlite_url
from control.stores.webhooks import Webhook
from control.webhook_message import new_webhook_secret
from control.webhook_post import WebhookPost
from gateway.egress import Egress, Lookup, system_lookup
from telephony.causes import Direction
from tests.virtual_time import VirtualTimeLoop

TENANT = "default"
SECRET = new_webhook_secret()
CALL_SECRET = new_webhook_secret()
KEYS = SecretKeys([new_key()])

# 127.0.0.1 is the world outside.
OUTSIDE = EgressPolicy.allowing("127.0.0.1", allow_http=True)


class Announced:
    """A room of the store whose driver works in threads of its own: a virtual loop must know that it is owed."""

    def __init__(self, room: object) -> None:
        self._room = room

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._room, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def announced(*args: Any, **options: Any) -> Any:
            loop = asyncio.get_running_loop()
            with loop.outside_work() if isinstance(loop, VirtualTimeLoop) else nullcontext():
                return await method(*args, **options)

        return announced


async def call_secret(_: str) -> str:
    return CALL_SECRET


@dataclass
class House:
    """What a test of deliveries works with."""

    store: Store
    egress: Egress
    began: datetime
    chance: Callable[[], float] = lambda: 0.0
    sequences: dict[str, int] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, lookup: Lookup = system_lookup) -> AsyncIterator["House"]:
        opening = cast(Any, Announced(Store))
        store = cast(Store, Announced(await opening.open(sqlite_url(path), migrate=True)))
        try:
            async with Egress(OUTSIDE, lookup=lookup) as egress:
                yield cls(store, egress, datetime.now(UTC))
        finally:
            await store.close()

    @property
    def deliveries(self) -> Any:
        return Announced(self.store.deliveries)

    @property
    def webhooks(self) -> Any:
        return Announced(self.store.webhooks)

    def now(self) -> datetime:
        """The time of day: real at the beginning, then as the loop has it."""
        return self.began + timedelta(seconds=self.elapsed())

    @staticmethod
    def elapsed() -> float:
        """Seconds since a virtual loop began."""
        return asyncio.get_running_loop().time()

    def worker(
        self, bounds: Bounds = BOUNDS, outbox: Any = None, holder: str | None = None
    ) -> DeliveryWorker:
        return DeliveryWorker(
            outbox or self.deliveries,
            self.webhooks,
            post=WebhookPost(fetch=self.egress, cipher=KEYS, call_secret=call_secret),
            clock=self.now,
            chance=self.chance,
            bounds=bounds,
            holder=holder,
        )

    @asynccontextmanager
    async def working(
        self, bounds: Bounds = BOUNDS, outbox: Any = None, holder: str | None = None
    ) -> AsyncIterator[DeliveryWorker]:
        """A worker at work; stopped in the end."""
        worker = self.worker(bounds, outbox, holder)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(), name="worker")
            try:
                yield worker
            finally:
                worker.stop()

    async def endpoint(self, url: str, webhook_id: str = "wh_1", **options: Any) -> None:
        facts: dict[str, Any] = {"secret": KEYS.encrypt(SECRET), **options}
        await self.webhooks.add(
            Webhook(
                webhook_id=webhook_id,
                tenant_id=TENANT,
                url=url,
                created_at=self.now(),
                updated_at=self.now(),
                **facts,
            )
        )

    async def happen(self, call_id: str, *names: str, webhook_url: str | None = None) -> None:
        """Events of a call are kept, and owed to whoever wants them."""
        record = CallRecord(
            call_id=call_id,
            tenant_id=TENANT,
            direction=Direction.INBOUND,
            carrier="telnyx",
            started_at=self.began,
            webhook_url=webhook_url,
        )
        await self.store.save_call(record, [self._event(call_id, name) for name in names])

    def _event(self, call_id: str, name: str) -> EventRecord:
        sequence = self.sequences[call_id] = self.sequences.get(call_id, 0) + 1
        return EventRecord(
            event_id=f"evt_{call_id}_{sequence}",
            tenant_id=TENANT,
            call_id=call_id,
            agent_id=None,
            name=name,
            sequence=sequence,
            occurred_at=self.now(),
            at=self.elapsed(),
            data={"name": name},
        )

    async def delivered(self) -> None:
        """Wait until nothing is owed any more; how long that was, receivers know better."""
        pause = 0.1
        while await self.deliveries.pending():
            await asyncio.sleep(pause)
            pause = min(2 * pause, 600.0)

    @property
    def delivery_log(self) -> Any:
        return Announced(self.store.delivery_log)

    async def log(self, call_id: str) -> list[LoggedAttempt]:
        attempts: list[LoggedAttempt] = await self.delivery_log.of_call(TENANT, call_id)
        return attempts

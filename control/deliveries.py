"""The deliveries' worker: posts what the outbox owes, and writes down what came of every attempt.

**Theory of operation.** The store hands out what is due under a lease, never a later event of a call before the
earlier one is delivered or given up. Every claim becomes one attempt in a task of its own; its outcome is judged
(`control.delivery_verdict`) and settled in one transaction. A process that dies leaves leases behind, which end by
themselves: what it was about to send, or had sent and not yet written down, is sent again, under the same
`webhook-id`. Nothing is held in memory that the store does not know. Claims bear their holder's name: a process that
begins gives back those of the one that died before it, and a claim whose answer was lost is given back, too, so that
nobody waits for a lease to end but where the holder does not come back.

The worker looks when it is notified, when the store says something becomes due, and every few seconds
in any case, for what another process may have added.
"""

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Protocol

import structlog

from control.call_record import EventRecord
from control.delivery_slots import DeliverySlots
from control.delivery_verdict import DISABLE_AFTER, Failed, Succeeded, Verdict, verdict
from control.egress import OutgoingAnswer
from control.stores.deliveries import Attempt, Dead, Delivered, Due, RetryAt, Settlement
from control.stores.errors import StoreUnavailable
from control.webhook_post import WebhookPost

log = structlog.get_logger()

TEST = "webhook.test"
DISABLED = "webhook.disabled"

# An attempt takes 10 s at most; the rest is for a store that is slow to take its outcome.
LEASE = timedelta(seconds=60)

# Never sooner than this, in seconds, after a look that found nothing: another process may be taking what is due.
SOONEST = 0.05

# The longest pause between tries to write an outcome down.
LONGEST_PAUSE = 5.0

# Seconds for giving a claim back, or writing an outcome down, when the worker itself is cancelled.
PARTING = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is done at a time, and how often is looked."""

    total: int = 64
    """Attempts at a time."""
    per_endpoint: int = 16
    poll: float = 5.0
    """Seconds between looks when nobody has said anything: other processes do not notify this one."""


BOUNDS = Bounds()


class Outbox(Protocol):
    """What the worker needs of `control.stores.deliveries.Deliveries`."""

    async def claim(
        self,
        now: datetime,
        lease: timedelta,
        limit: int = ...,
        busy: Collection[str] = ...,
        token: str | None = ...,
    ) -> list[Due]: ...

    async def give_back(self, claims: str, now: datetime) -> int: ...

    async def settle(self, due: Due, attempt: Attempt, settlement: Settlement) -> None: ...

    async def release(self, due: Due, now: datetime) -> None: ...

    async def next_due(self) -> datetime | None: ...

    async def test(self, tenant_id: str, webhook_id: str, event: EventRecord) -> str | None: ...

    async def retry(self, tenant_id: str, delivery_id: str, now: datetime) -> bool: ...


class Endpoints(Protocol):
    """What the worker needs of `control.stores.webhooks.Webhooks`."""

    async def disable(
        self,
        tenant_id: str,
        webhook_id: str,
        reason: str,
        now: datetime,
        event: EventRecord | None = ...,
        *,
        failing_since: datetime | None = ...,
    ) -> bool: ...


class DeliveryWorker:
    """Delivers, from `run` to `stop`. Several may work on one store, in one process or many."""

    def __init__(
        self,
        outbox: Outbox,
        endpoints: Endpoints,
        *,
        post: WebhookPost,
        clock: Callable[[], datetime],
        chance: Callable[[], float] = random.random,
        bounds: Bounds = BOUNDS,
        holder: str | None = None,
    ) -> None:
        """
        Args:
            holder: of its claims, the same after a restart, and nobody else's; without one it gives nothing back.
            clock: the time of day, aware.
            chance: a random number in [0, 1).
        """
        self._outbox = outbox
        self._endpoints = endpoints
        self._post = post
        self._clock = clock
        self._chance = chance
        self._bounds = bounds
        self._slots = DeliverySlots(bounds.total, bounds.per_endpoint)
        self._wake = asyncio.Event()
        self._stopping = False
        self._holder = f"{holder or token_hex(4)}."
        self._lost = {self._holder} if holder else set()
        """Claims of ours, or beginnings of their names, that nobody works on."""
        self._left: list[Due] = []
        """Deliveries that the store did not let us see to their end."""

    # Its owner

    async def run(self) -> None:
        """Deliver until `stop`, then see the attempts that are under way to their end.

        Cancelling it is the quick way: claims are given back.
        """
        async with asyncio.TaskGroup() as attempts:
            while not self._stopping:
                self._wake.clear()
                if not await self._begin_due(attempts):
                    await self._rest()

    def stop(self) -> None:
        """Begin nothing new; `run` returns when what is under way is over."""
        self._stopping = True
        self._wake.set()

    def notify(self) -> None:
        """Look now: something has been added."""
        self._wake.set()

    # Its users

    async def send_test(self, tenant_id: str, webhook_id: str) -> str | None:
        """Send a `webhook.test` to an endpoint; return the delivery's id, under which its one attempt is logged.

        None if there is no such endpoint. One that is disabled gets nothing: it is to be enabled first.
        """
        event = self._endpoint_event(tenant_id, TEST, webhook_id, {})
        delivery_id = await self._outbox.test(tenant_id, webhook_id, event)
        self.notify()
        return delivery_id

    async def retry(self, tenant_id: str, delivery_id: str) -> bool:
        """Try a delivery again now, whatever has become of it.

        False if there is no such delivery, or its endpoint is disabled.
        """
        found = await self._outbox.retry(tenant_id, delivery_id, self._clock())
        self.notify()
        return found

    # Looking

    async def _begin_due(self, attempts: asyncio.TaskGroup) -> bool:
        """Begin what is due and has room; whether that was anything."""
        if (room := self._slots.room()) <= 0:
            return False
        token = f"{self._holder}{token_hex(8)}"
        try:
            await self._give_back()
            claimed = await self._outbox.claim(self._clock(), LEASE, room, self._slots.busy, token)
        except StoreUnavailable as error:
            self._lost.add(token)  # it may have been taken all the same
            log.warning("deliveries cannot be looked up", error=str(error))
            return False
        for due in claimed:
            self._slots.take(_endpoint(due))
            attempts.create_task(self._deliver(due), name=f"delivery {due.delivery_id}")
        return bool(claimed)

    async def _give_back(self) -> None:
        for claims in sorted(self._lost):
            if number := await self._outbox.give_back(claims, self._clock()):
                log.info("deliveries that nobody worked on are due again", number=number)
            self._lost.remove(claims)
        while self._left:
            await self._outbox.release(self._left[-1], self._clock())
            self._left.pop()

    async def _rest(self) -> None:
        """Wait until it is worth looking again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(await self._until_due()):
                await self._wake.wait()

    async def _until_due(self) -> float:
        if self._slots.room() <= 0:
            return self._bounds.poll  # whatever is due: an attempt has to end first, and wakes us
        try:
            moment = await self._outbox.next_due()
        except StoreUnavailable:
            return self._bounds.poll
        if moment is None:
            return self._bounds.poll
        left = (moment - self._clock()).total_seconds()
        if left <= 0 and self._slots.busy:
            return self._bounds.poll  # it may be theirs
        return min(self._bounds.poll, max(SOONEST, left))

    # One delivery

    async def _deliver(self, due: Due) -> None:
        try:
            await self._attempt(due)
        except StoreUnavailable as error:
            self._left.append(due)
            log.warning("delivery is to be given back", delivery_id=due.delivery_id, error=str(error))
        except Exception:  # ours, whatever it is: it costs this attempt, and no other delivery
            log.exception("delivery failed by a fault of ours", delivery_id=due.delivery_id)
        finally:
            self._slots.leave(_endpoint(due))
            self._wake.set()

    async def _attempt(self, due: Due) -> None:
        began = asyncio.get_running_loop().time()
        try:
            outcome = await self._post.send(due, self._clock())
        except asyncio.CancelledError:
            with suppress(TimeoutError, StoreUnavailable):
                async with asyncio.timeout(PARTING):
                    await self._outbox.release(due, self._clock())
            raise
        judged = verdict(due.attempt, outcome, self._chance())
        if isinstance(judged, Failed) and due.event.name == TEST:
            judged = Failed(judged.error, None, judged.gone)
        took = asyncio.get_running_loop().time() - began
        attempt = Attempt(
            url=due.url,
            status_code=outcome.status if isinstance(outcome, OutgoingAnswer) else None,
            success=isinstance(judged, Succeeded),
            error=judged.error if isinstance(judged, Failed) else None,
            duration_ms=round(took * 1000),
            at=self._clock(),
        )
        _tell(due, attempt, judged)
        await self._settle(due, attempt, _settlement(judged, attempt.at))
        await self._disable_if_hopeless(due, attempt, judged)

    async def _settle(self, due: Due, attempt: Attempt, settlement: Settlement) -> None:
        """Write the outcome down, trying for as long as the lease lasts."""
        pause = 0.5
        try:
            async with asyncio.timeout(LEASE.total_seconds() - attempt.duration_ms / 1000):
                while not await self._settled(due, attempt, settlement):
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        except TimeoutError:
            log.error("delivery's outcome is lost: it will be sent again", delivery_id=due.delivery_id)
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(PARTING):
                    await self._settled(due, attempt, settlement)
            raise

    async def _settled(self, due: Due, attempt: Attempt, settlement: Settlement) -> bool:
        try:
            await self._outbox.settle(due, attempt, settlement)
        except StoreUnavailable as error:
            log.warning("delivery cannot be settled", delivery_id=due.delivery_id, error=str(error))
            return False
        return True

    # Endpoints without hope

    async def _disable_if_hopeless(self, due: Due, attempt: Attempt, judged: Verdict) -> None:
        if due.webhook is None or isinstance(judged, Succeeded) or due.webhook.disabled_at is not None:
            return
        since = due.webhook.failing_since
        if judged.gone:
            since = None
            reason = "it answered 410 Gone"
        elif since is not None and attempt.at - since >= DISABLE_AFTER:
            reason = f"it has failed for {DISABLE_AFTER.total_seconds() / 3600:.0f} hours, at last with {judged.error}"
        else:
            return
        tenant_id, webhook_id = due.webhook.tenant_id, due.webhook.webhook_id
        event = self._endpoint_event(tenant_id, DISABLED, webhook_id, {"reason": reason})
        # It may have taken something since this attempt began.
        if await self._endpoints.disable(
            tenant_id, webhook_id, reason, attempt.at, event, failing_since=since
        ):
            log.warning("webhook disabled", webhook_id=webhook_id, reason=reason)

    def _endpoint_event(
        self, tenant_id: str, name: str, webhook_id: str, data: dict[str, object]
    ) -> EventRecord:
        """What happened to an endpoint: of no call."""
        return EventRecord(
            event_id=f"evt_{token_hex(12)}",
            tenant_id=tenant_id,
            call_id="",
            agent_id=None,
            name=name,
            sequence=None,
            occurred_at=self._clock(),
            at=0.0,
            data={"webhook_id": webhook_id, **data},
        )


def _endpoint(due: Due) -> str:
    return due.url if due.webhook is None else due.webhook.webhook_id


def _settlement(judged: Verdict, at: datetime) -> Settlement:
    match judged:
        case Succeeded():
            return Delivered()
        case Failed(retry_in=pause):
            return Dead() if pause is None else RetryAt(at + timedelta(seconds=pause))


def _tell(due: Due, attempt: Attempt, judged: Verdict) -> None:
    facts = {
        "delivery_id": due.delivery_id,
        "name": due.event.name,
        "call_id": due.event.call_id or None,
        "attempt": due.attempt,
        "status": attempt.status_code,
        "ms": attempt.duration_ms,
    }
    match judged:
        case Succeeded():
            log.debug("webhook delivered", **facts)
        case Failed(error, pause):
            message = "webhook given up" if pause is None else "webhook failed"
            log.warning(message, **facts, error=error, retry_in=pause)

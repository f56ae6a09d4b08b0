"""Reads calls that have ended, one after the other, for what their agents want extracted, as long as the gateway runs.

Nobody waits for it. What is owed is in the store: it survives a restart, and a call is read by one process at a time.
What an earlier process of this name was reading when it died is read again at once.
An endpoint that fails is asked again later and later; what came of it, or that nothing did, is in the call's timeline.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog

from control.call_record import CallRecord, EventRecord
from control.stores.errors import StoreUnavailable
from control.stores.extractions import OwedExtraction
from control.stores.store import Store
from gateway.extractor import AT_ONCE, Extraction, Extractor
from gateway.task_set import keep_running

log = structlog.get_logger()

# Seconds between looks at what is owed: nobody is on the line, and a look is one read of an index.
PERIOD = 2.0
# Longer than the extractor takes for all its attempts: four of a minute, and the pauses between them.
CLAIM = timedelta(minutes=6)
# After the extractor has given up on an endpoint that may come back: it is asked again this much later, then no more.
PAUSES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))


class Extracting:
    """Driven by its own task (`run`)."""

    def __init__(
        self,
        store: Store,
        extractor: Extractor,
        *,
        node: str,
        clock: Callable[[], datetime],
        new_id: Callable[[str], str],
        told: Callable[[str], None],
        pauses: tuple[timedelta, ...] = PAUSES,
    ) -> None:
        """
        Args:
            node: this process, by the name that it has again after a restart.
            clock: the time of day, aware.
            told: called with the tenant of whom something was stored.
        """
        self._store = store
        self._extractor = extractor
        self._node = node
        self._given_back = False
        self._clock = clock
        self._new_id = new_id
        self._told = told
        self._pauses = pauses
        self._reading: dict[asyncio.Task[None], OwedExtraction] = {}

    async def run(self) -> None:
        """Look for what is owed, until cancelled."""
        while True:
            try:
                await self._look()
            except StoreUnavailable as fault:
                log.warning("what is to be extracted is not known", error=str(fault))
            await asyncio.sleep(PERIOD)

    async def close(self) -> None:
        """Give back what is being read: another process, or the next start, reads it."""
        given_back = list(self._reading.values())
        for task in list(self._reading):
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        try:
            for owed in given_back:
                await self._store.extractions.postpone(owed, self._clock())
        except StoreUnavailable as fault:
            log.warning("extractions are due again when their claims end", error=str(fault))

    async def _look(self) -> None:
        now = self._clock()
        if not self._given_back:
            await self._store.extractions.give_back(self._node, now)
            self._given_back = True
        due = await self._store.extractions.next_due()
        room = AT_ONCE - len(self._reading)
        if due is None or due > now or room <= 0:
            return
        for owed in await self._store.extractions.claim(now, now + CLAIM, room, node=self._node):
            task = asyncio.create_task(self._read(owed), name=f"{owed.call_id} extraction")
            self._reading[task] = owed
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        owed = self._reading.pop(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("an extraction stopped by a fault", call_id=owed.call_id, exc_info=fault)

    async def _read(self, owed: OwedExtraction) -> None:
        record = await self._store.call(owed.tenant_id, owed.call_id)
        if record is None:
            return  # erased meanwhile, and what was owed with it
        extraction = await self._extractor.extract(owed.call_id, record.transcript, owed.schema)
        await self._keep(owed, record, extraction)

    async def _keep(self, owed: OwedExtraction, record: CallRecord, extraction: Extraction) -> None:
        now, rooms = self._clock(), self._store.extractions
        if extraction.data is not None:
            told = self._event(record, "extraction.completed", now, attempt=owed.attempt)
            kept = await rooms.done(owed, extraction.data, told, now)
        elif extraction.passing and owed.attempt <= len(self._pauses):
            await rooms.postpone(owed, now + self._pauses[owed.attempt - 1], extraction.error)
            return
        else:
            error = extraction.error or "nothing came of it"
            told = self._event(record, "extraction.failed", now, attempt=owed.attempt, error=error)
            kept = await rooms.failed(owed, error, told, now)
        if kept:
            self._told(owed.tenant_id)

    def _event(self, record: CallRecord, name: str, now: datetime, **data: object) -> EventRecord:
        return EventRecord(
            event_id=self._new_id("evt"),
            tenant_id=record.tenant_id,
            call_id=record.call_id,
            agent_id=record.agent_id,
            name=name,
            sequence=None,
            occurred_at=now,
            at=round((now - record.started_at).total_seconds(), 3),
            data=data,
        )


@asynccontextmanager
async def extracting(work: Extracting) -> AsyncIterator[None]:
    """Extract in here; leaving gives back what is under way."""
    task = asyncio.create_task(keep_running(work.run), name="extractions")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await work.close()

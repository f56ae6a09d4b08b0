"""Keeps calls: in the store, or, where that does not answer in time, in the journal until it does again.

Theory of operation. Where something waits for a save, it waits no longer than `PATIENCE`: then the save goes to the
journal as well, and what waited goes on. A save nobody waits for may take its time. A store that fails, or does not
answer for seconds, is *failing*: from then on saves go to the journal at once, and no new call is taken. `repair`,
which runs beside, replays the journal until it is empty; then saves go to the store again. A save that comes twice or
late does no harm: events are known by their ids, and the store keeps the newer record (revisions).
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from control.call_record import CallRecord, EventRecord
from control.service.ports import CallJournal, CallStore, World
from control.stores.errors import StoreUnavailable

log = structlog.get_logger()

# What a call may wait for its database (docs/architecture.md).
PATIENCE = 0.25
# A store that is only busy answers by then: a burst of ends is seconds of work at most.
STALLED = 3.0
# Between attempts at a store that fails.
REPAIR_PAUSE = 1.0


class Keeper:
    """Driven by calls (`save`) and by its own task (`repair`)."""

    def __init__(
        self, store: CallStore, journal: CallJournal, world: World, told: Callable[[str], None]
    ) -> None:
        """
        Args:
            told: called with the tenant of whom something was stored.
        """
        self._told = told
        self._store = store
        self._journal = journal
        self._world = world
        self._failing = not journal.empty()
        self._trouble = asyncio.Event()
        if self._failing:
            self._trouble.set()

    def is_failing(self) -> bool:
        """Whether the store does not answer, or has not been told everything yet."""
        return self._failing

    async def save(self, record: CallRecord, events: Sequence[EventRecord], *, urgent: bool = True) -> None:
        """Keep it, somewhere.

        Args:
            urgent: whether something waits for it.

        Raises:
            OSError: the store is away and the journal cannot be written either.
        """
        if not self._failing:
            taken = self._begin(record, events)
            if await _answered(taken, PATIENCE if urgent else STALLED) and taken.result() is None:
                return
            self._judge(taken, STALLED - PATIENCE if urgent else 0.0)
        await self._journal.append(record, events)
        self._trouble.set()

    async def end(self, before: CallRecord, ended: CallRecord, events: Sequence[EventRecord]) -> bool:
        """Keep the end of a call that its process has left; whether nobody was there first (`Calls.end`).

        It does not go to the journal: as long as the store does not know of it, the call is there to be ended.

        Raises:
            StoreUnavailable: it is not known whether it was kept.
        """
        kept = await self._store.end_call(before, ended, events)
        if kept:
            self._told(ended.tenant_id)
        return kept

    async def repair(self) -> None:
        """Replay the journal whenever the store can take it. Runs until it is cancelled."""
        while True:
            await self._trouble.wait()
            try:
                await self._store.ping()
                number = await self._journal.replay(self._replay)
            except StoreUnavailable:
                await self._world.sleep(REPAIR_PAUSE)
                continue
            if number:
                log.info("journal replayed into the store", saves=number)
            # Nothing comes between the question and what follows from it: one turn of the loop.
            if self._journal.empty():
                self._trouble.clear()
                if self._failing:
                    self._failing = False
                    log.info("store answers again")

    async def _replay(self, record: CallRecord, events: Sequence[EventRecord]) -> None:
        try:
            await self._save(record, events)
        except StoreUnavailable:
            raise
        except Exception:
            # Ours: one save that can never be kept must not keep all others, and every new call, waiting.
            log.exception("a save of the journal is lost", call_id=record.call_id)

    def _begin(
        self, record: CallRecord, events: Sequence[EventRecord]
    ) -> "asyncio.Future[StoreUnavailable | None]":
        """Begin a save, which ends whenever it does; returns what tells how."""
        taken: asyncio.Future[StoreUnavailable | None] = asyncio.get_running_loop().create_future()
        self._world.spawn(self._attempt(record, events, taken), f"{record.call_id} save")
        return taken

    def _judge(self, taken: "asyncio.Future[StoreUnavailable | None]", patience: float) -> None:
        """The store has failed at a save, or is late with it: failing, unless it answers yet."""
        if taken.done() or not patience:
            fault = taken.result() if taken.done() else None
            self._fail("no answer" if fault is None else str(fault))
        else:
            self._world.spawn(self._wait(taken, patience), "late save")

    async def _wait(self, taken: "asyncio.Future[StoreUnavailable | None]", patience: float) -> None:
        if not await _answered(taken, patience):
            self._fail("no answer")
        elif (fault := taken.result()) is not None:
            self._fail(str(fault))

    async def _attempt(
        self,
        record: CallRecord,
        events: Sequence[EventRecord],
        taken: "asyncio.Future[StoreUnavailable | None]",
    ) -> None:
        try:
            await self._save(record, events)
        except StoreUnavailable as fault:
            taken.set_result(fault)
        except Exception as fault:  # ours: raised where the save was asked for
            taken.set_exception(fault)
        else:
            taken.set_result(None)

    async def _save(self, record: CallRecord, events: Sequence[EventRecord]) -> None:
        await self._store.save_call(record, events)
        self._told(record.tenant_id)

    def _fail(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            log.error("calls are kept in the journal until the store answers", why=why)
        self._trouble.set()


async def _answered(taken: "asyncio.Future[StoreUnavailable | None]", patience: float) -> bool:
    """Whether a save comes to its end in time; it goes on if not."""
    await asyncio.wait({taken}, timeout=patience)
    return taken.done()

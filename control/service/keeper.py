"""Keeps calls: in the store, or, where that does not answer in time, in the journal until it does again.

Theory of operation. A call never waits for a database longer than `PATIENCE`. The first save that is late or fails
makes the store *failing*: from then on saves go to the journal at once, and `repair`, which runs beside, replays it
in order until it is empty; then saves go to the store again. So an older save never follows a newer one for long, and
where it does the store keeps the newer one (revisions). While the store fails no new call is taken.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from control.call_record import CallRecord, EventRecord
from control.service.ports import CallJournal, CallStore, World
from control.stores.errors import StoreUnavailable

log = structlog.get_logger()

# What a call may wait for its database (design, Enders).
PATIENCE = 0.25
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

    async def save(self, record: CallRecord, events: Sequence[EventRecord]) -> None:
        """Keep it, somewhere, soon.

        Raises:
            OSError: the store is away and the journal cannot be written either.
        """
        if not self._failing and await self._in_time(record, events):
            return
        self._fail()
        await self._journal.append(record, events)

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
                self._failing = False
                self._trouble.clear()
                log.info("store answers again")

    async def _replay(self, record: CallRecord, events: Sequence[EventRecord]) -> None:
        try:
            await self._save(record, events)
        except StoreUnavailable:
            raise
        except Exception:
            # Ours: one save that can never be kept must not keep all others, and every new call, waiting.
            log.exception("a save of the journal is lost", call_id=record.call_id)

    async def _in_time(self, record: CallRecord, events: Sequence[EventRecord]) -> bool:
        """Whether the store took it; a save that is late goes on beside, and is no harm when it comes twice."""
        taken: asyncio.Future[StoreUnavailable | None] = asyncio.get_running_loop().create_future()
        self._world.spawn(self._attempt(record, events, taken), f"{record.call_id} save")
        await asyncio.wait({taken}, timeout=PATIENCE)
        if not taken.done():
            log.warning("store is late", call_id=record.call_id)
            return False
        if (fault := taken.result()) is not None:
            log.warning("store does not answer", call_id=record.call_id, error=str(fault))
        return fault is None

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

    def _fail(self) -> None:
        if not self._failing:
            self._failing = True
            log.error("calls are kept in the journal until the store answers")
        self._trouble.set()

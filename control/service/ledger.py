"""What one call owes the store: its record as it is now, what has happened since, and what waits until both are kept.

Theory of operation. Whatever happens is written down here at once and kept by one task, in order, as much at a time
as there is: a database that is slow costs transactions, not order. What must not be done before it is on record (a
hang-up whose reason nobody else knows, an answer to a user) waits for exactly that; entries that nothing waits for
linger a little, so that a talkative call costs one transaction instead of ten.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from control.call_record import CallRecord, EventRecord
from control.service.keeper import Keeper

log = structlog.get_logger()

# Seconds for which an entry nobody waits for may wait for the next: a save costs some milliseconds of the processor
# that all calls share, and a conversation has several entries in each turn.
LINGER = 2.0
_CHATTY = frozenset(
    {
        "speech.started",
        "speech.ended",
        "ai.speech.started",
        "ai.speech.ended",
        "transcript.updated",
    }
)
"""Of what users are told, that which comes all the time; everything else they are told at once."""


class Ledger:
    """Driven by its call (`write`, `then`) and by its own task (`run`)."""

    def __init__(self, record: CallRecord, keeper: Keeper) -> None:
        self._record = record
        self._kept: CallRecord | None = None
        self._revision = record.revision
        self._keeper = keeper
        self._entries: list[EventRecord] = []
        self._waiting: list[Callable[[], None]] = []
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._closed = False

    def is_kept(self, record: CallRecord) -> None:
        """The store has this already."""
        self._record = self._kept = record
        self._revision = record.revision

    def write(self, record: CallRecord, entries: list[EventRecord]) -> None:
        """Note how the call is now, and what has happened."""
        changed = record != self._record or self._kept is None
        self._record = record
        self._entries += entries
        if changed or any(each.sequence is not None and each.name not in _CHATTY for each in entries):
            self._hurry.set()
        if changed or entries:
            self._news.set()

    def then(self, action: Callable[[], None]) -> None:
        """Do it once everything that was written so far is kept."""
        self._waiting.append(action)
        self._hurry.set()
        self._news.set()

    def close(self) -> None:
        """Nothing more will be written: `run` ends when all is kept."""
        self._closed = True
        self._hurry.set()
        self._news.set()

    async def run(self) -> None:
        """Keep what is written, until closed."""
        while True:
            await self._news.wait()
            if not self._hurry.is_set():
                try:
                    async with asyncio.timeout(LINGER):
                        await self._hurry.wait()
                except TimeoutError:
                    pass
            await self._keep()
            if self._closed and not self._news.is_set():
                return

    async def _keep(self) -> None:
        self._news.clear()
        self._hurry.clear()
        entries, self._entries = self._entries, []
        waiting, self._waiting = self._waiting, []
        record = self._record
        if entries or record != self._kept:
            await self._save(record, entries, urgent=bool(waiting))
        for action in waiting:
            action()

    async def _save(self, record: CallRecord, entries: list[EventRecord], *, urgent: bool) -> None:
        self._revision += 1
        try:
            await self._keeper.save(replace(record, revision=self._revision), entries, urgent=urgent)
        except Exception:
            # A call that cannot be kept is still a call: somebody is on the phone.
            log.exception("a call was not kept", call_id=record.call_id)
        self._kept = record

"""What the database could not take in time: an append-only file of this process, replayed when it can again.

Theory of operation. One line is one save: a call's record and the events that go with it. A line counts once it is on
the disk (fsync). Replaying first renames the file, so that what is journalled meanwhile goes into a new one, and
removes it when every line was taken; a crash in between replays lines twice, which the store does not mind (events are
known by their ids, and an older record never replaces a newer one). A line that a crash cut short is the last, and was
never confirmed to anybody.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from control.call_record import CallRecord, EventRecord

log = structlog.get_logger()

T = TypeVar("T")
Save = Callable[[CallRecord, Sequence[EventRecord]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One save."""

    record: CallRecord
    events: tuple[EventRecord, ...]


_decode = msgspec.json.Decoder(JournalEntry).decode


class Journal:
    """The journal of one process; one thread writes it.

    Driven by whoever saves calls (`append`) and whoever repairs (`replay`). Lines are private: numbers, transcripts.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "journal.jsonl"
        self._replayed = folder / "journal.replaying.jsonl"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._waiting = 0
        self._left = self._path.exists() or self._replayed.exists()

    def empty(self) -> bool:
        """Whether everything was taken by the database."""
        return not self._waiting and not self._left

    async def append(self, record: CallRecord, events: Sequence[EventRecord]) -> None:
        """Write one save to the disk.

        Raises:
            OSError: it is not there.
        """
        # A line that a crash cut short ends where the next one begins.
        line = b"\n" + msgspec.json.encode(JournalEntry(record, tuple(events))) + b"\n"
        self._waiting += 1
        self._left = True
        try:
            await self._run(lambda: self._append(line))
        finally:
            self._waiting -= 1

    async def replay(self, save: Save) -> int:
        """Hand everything on, oldest first; return how many saves there were.

        Raises:
            Exception: whatever `save` raised; nothing is removed then, and the next replay begins anew.
        """
        entries = await self._run(self._take)
        for entry in entries:
            await save(entry.record, entry.events)
        await self._run(lambda: self._replayed.unlink(missing_ok=True))
        # What came meanwhile is in a file of its own.
        self._left = bool(self._waiting) or self._path.exists()
        return len(entries)

    def close(self) -> None:
        self._thread.shutdown()

    async def _run(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _append(self, line: bytes) -> None:
        # Opened for each line: it is a rare day on which there is more than one, and the file is renamed meanwhile.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(descriptor, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _take(self) -> list[JournalEntry]:
        if not self._replayed.exists() and self._path.exists():
            self._path.rename(self._replayed)
        if not self._replayed.exists():
            return []
        lines = filter(None, self._replayed.read_bytes().split(b"\n"))
        return [entry for line in lines if (entry := _entry(line))]


def _entry(line: bytes) -> JournalEntry | None:
    try:
        return _decode(line)
    except msgspec.DecodeError as fault:
        log.error("a line of the journal cannot be read", error=str(fault))
        return None

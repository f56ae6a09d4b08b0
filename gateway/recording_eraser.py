"""Deletes what is to go: recordings whose time is over, and the files of those that somebody erased.

The database says what is erased, at once and for good; the files follow from here, and are tried again until they are
gone, however often the process dies or the store is away.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from control.api.ports import RecordingStoreAway
from control.recordings import names_of
from control.stores.errors import StoreUnavailable
from control.stores.recordings import Erasure, Recordings
from gateway.recording_files import RecordingFiles
from gateway.recording_store import RecordingStore

log = structlog.get_logger()

# Seconds between looks at what has expired, and at what failed.
PERIOD = 60.0
_AT_A_TIME = 100


class RecordingEraser:
    """Driven by the API (`notify`) and by its own task (`run`)."""

    def __init__(
        self,
        rows: Recordings,
        files: RecordingFiles,
        keep: RecordingStore,
        *,
        node: str,
        wall: Callable[[], datetime],
    ) -> None:
        """
        Args:
            node: whose data folder this is, as calls name it.
        """
        self._rows = rows
        self._files = files
        self._keep = keep
        self._node = node
        self._wall = wall
        self._news = asyncio.Event()

    def notify(self) -> None:
        """Something was erased."""
        self._news.set()

    async def run(self) -> None:
        """Delete, until cancelled."""
        while True:
            self._news.clear()
            try:
                await self.expire()
                await self.erase()
            except StoreUnavailable as fault:
                log.warning("recordings are not erased yet", why=str(fault))
            try:
                async with asyncio.timeout(PERIOD):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def expire(self) -> None:
        """Erase what has been kept for as long as it was to be."""
        while expired := await self._rows.expire(self._wall(), _AT_A_TIME):
            log.info("recordings expired", number=expired)

    async def erase(self) -> None:
        """Delete the files of what was erased."""
        after = 0
        while due := await self._rows.erasures(self._node, after=after, limit=_AT_A_TIME):
            for each in due:
                await self._delete(each)
            after = due[-1].number

    async def _delete(self, erasure: Erasure) -> None:
        try:
            if erasure.path is not None:
                # Under whatever name: a file that was on its way may have got another than was known.
                for name in {erasure.path, *names_of(erasure.call_id)}:
                    await self._keep.delete(name)
            if erasure.node == self._node:
                await asyncio.to_thread(self._files.remove, erasure.call_id, whole_call=erasure.whole_call)
        except (RecordingStoreAway, OSError) as fault:
            log.warning("a recording's files are not deleted yet", call_id=erasure.call_id, why=str(fault))
            return
        await self._rows.erased(erasure, node=self._node)
        log.info("a recording's files are deleted", call_id=erasure.call_id)

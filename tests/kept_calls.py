"""Calls that are over, put where a gateway finds them: their rows, and the recordings that are still to be filed."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from control.call_record import CallRecord
from control.stores.store import Store
from gateway.call_house import node_of
from gateway.recording_files import RecordingFiles
from media.wav import WavHeader
from tests.contracts.records import ended_call, event
from tests.patience import PATIENCE
from tests.whole_house import House

SECONDS = 2
AUDIO = os.urandom(SECONDS * 8_000 * 4)
"""Two seconds of stereo, which no other file has."""
WAV = WavHeader(rate=8_000, channels=2).bytes(len(AUDIO)) + AUDIO


async def kept_call(store: Store, **changes: Any) -> CallRecord:
    """A call that has ended, and has said so; it was to be recorded."""
    begun = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    record = ended_call(**{"started_at": begun, "recording_enabled": True, **changes})
    await store.save_call(record, [event(record, 1, name="call.ended")])
    return record


def leave_file(data: Path, call_id: str, content: bytes = WAV, *, due: bool = True) -> Path:
    """A recording that is finished and, unless told otherwise, to be filed."""
    files = RecordingFiles(data)
    files.due_folder.mkdir(parents=True, exist_ok=True)
    files.finished(call_id).write_bytes(content)
    if due:
        files.wanted(call_id)
    return files.finished(call_id)


async def recorded_call(house: House, content: bytes = WAV, **changes: Any) -> CallRecord:
    """A call of a running house whose recording was filed."""
    store: Store = house.gateway.house.store
    data = house.gateway.settings.data_dir
    record = await kept_call(store, **{"node": node_of(data), **changes})
    await asyncio.to_thread(leave_file, data, record.call_id, content)
    for hear in house.gateway.house.hears_of_events:
        hear()

    async def is_ready() -> bool:
        kept = await store.recordings.of_call(record.call_id)
        return kept is not None and kept.ready_at is not None

    await until(is_ready)
    return record


async def until(so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what nothing tells of, such as a file that is deleted."""
    async with asyncio.timeout(PATIENCE):
        while not await so():  # noqa: ASYNC110  # nobody sets an event
            await asyncio.sleep(0.02)


async def no_file(folder: Path, pattern: str = "*") -> None:
    """Wait until there is no such file in the folder."""

    async def is_so() -> bool:
        return not await asyncio.to_thread(lambda: any(path.is_file() for path in folder.rglob(pattern)))

    await until(is_so)

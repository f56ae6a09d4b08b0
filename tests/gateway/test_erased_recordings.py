"""A recording that is erased while it is on its way leaves no audio behind, whatever dies in between."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from control.call_record import EventRecord
from control.recordings import Recording, RecordingFormat, RecordingState
from control.stores.errors import StoreUnavailable
from control.stores.recordings import Filed
from control.stores.store import Store
from gateway.call_house import node_of
from gateway.recording_desk import RecordingDesk
from gateway.recording_encoder import RecordingEncoder
from gateway.recording_eraser import RecordingEraser
from gateway.recording_files import RecordingFiles
from gateway.recording_store import RecordingStore
from tests.conftest import RunAsync
from tests.kept_calls import kept_call, leave_file

pytestmark = pytest.mark.sockets


def wall() -> datetime:
    return datetime.now(UTC)


class Killed(BaseException):
    """Nothing of the process runs after it."""


class Stage:
    """A call whose recording is to be filed, who files it, and who erases."""

    def __init__(self, folder: Path, store: Store, kind: RecordingFormat) -> None:
        self.data, self.bucket = folder / "data", folder / "bucket"
        self.store = store
        self.files = RecordingFiles(self.data)
        self.files.due_folder.mkdir(parents=True)
        self.keep = RecordingStore.open(f"file://{self.bucket}", self.files.folder)
        self._kind = kind
        self._clock = 0.0

    def desk(self) -> RecordingDesk:
        numbers = count()
        return RecordingDesk(
            self.store.recordings,
            self.files,
            self.keep,
            RecordingEncoder(self._kind),
            cost=lambda _: Decimal(0),
            retention=None,
            now=self._later,
            wall=wall,
            new_id=lambda prefix: f"{prefix}_{next(numbers)}",
            told=lambda _: None,
        )

    def _later(self) -> float:
        """Every look comes long after the one before."""
        self._clock += 1_000
        return self._clock

    def eraser(self) -> RecordingEraser:
        node = node_of(self.data)
        return RecordingEraser(self.store.recordings, self.files, self.keep, node=node, wall=wall)

    async def erased(self, call_id: str, *, whole: bool) -> None:
        if whole:
            await self.store.delete_call("default", call_id, wall())
        else:
            assert await self.store.recordings.erase("default", call_id, wall())


@pytest.mark.parametrize("kind", [RecordingFormat.WAV, RecordingFormat.FLAC])
@pytest.mark.parametrize("whole", [False, True], ids=["recording", "call"])
def test_what_was_brought_into_the_store_before_a_kill_is_found(
    real: RunAsync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: RecordingFormat, whole: bool
) -> None:
    async def scenario() -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'o.db'}", migrate=True)
        stage = Stage(tmp_path, store, kind)
        record = await kept_call(store, node=node_of(stage.data))
        leave_file(stage.data, record.call_id)

        async def dies(*_: Any) -> Filed:
            raise Killed

        with monkeypatch.context() as patches:
            patches.setattr(store.recordings, "finish", dies)
            with pytest.raises(Killed):
                await stage.desk().file(record.call_id)
        assert len(list(stage.bucket.iterdir())) == 1
        await stage.erased(record.call_id, whole=whole)
        await stage.eraser().erase()
        await stage.desk().round()
        assert list(stage.bucket.iterdir()) == []
        assert stage.files.due() == []
        await store.close()

    real(scenario())


def test_what_is_erased_while_it_is_brought_in_is_looked_for_until_the_database_answers(
    real: RunAsync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'o.db'}", migrate=True)
        stage = Stage(tmp_path, store, RecordingFormat.WAV)
        record = await kept_call(store, node=node_of(stage.data))
        leave_file(stage.data, record.call_id)
        put, finish, answers = stage.keep.put, store.recordings.finish, asyncio.Event()

        async def slowly(name: str, file: Path, media_type: str) -> None:
            content = await asyncio.to_thread(file.read_bytes)
            await stage.erased(record.call_id, whole=False)
            await stage.eraser().erase()
            await asyncio.to_thread(file.write_bytes, content)
            await put(name, file, media_type)  # all of it was on its way by then
            await asyncio.to_thread(file.unlink)

        async def finished(recording: Recording, cost: Decimal, event: EventRecord | None) -> Filed:
            if not answers.is_set():
                raise StoreUnavailable("away")
            return await finish(recording, cost, event)

        monkeypatch.setattr(stage.keep, "put", slowly)
        monkeypatch.setattr(store.recordings, "finish", finished)
        desk = stage.desk()
        await desk.round()
        assert len(list(stage.bucket.iterdir())) == 1
        answers.set()
        await desk.round()
        assert list(stage.bucket.iterdir()) == []
        assert stage.files.due() == []
        await store.close()

    real(scenario())


def test_a_file_that_is_about_to_get_its_name_is_not_lost(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'o.db'}", migrate=True)
        stage = Stage(tmp_path, store, RecordingFormat.WAV)
        record = await kept_call(store, node=node_of(stage.data))
        finished = leave_file(stage.data, record.call_id)
        growing = stage.files.growing(record.call_id)
        finished.rename(growing)  # it is due already: a kill between the two loses nothing
        desk = stage.desk()
        await desk.round()
        assert await store.recordings.of_call(record.call_id) is None
        growing.rename(finished)
        await desk.round()
        kept = await store.recordings.of_call(record.call_id)
        assert kept is not None
        assert kept.state is RecordingState.READY
        await store.close()

    real(scenario())

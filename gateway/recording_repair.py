"""Finds whatever there is of a call's recording, and makes the database and the store agree about it.

What is wrong, and what would put it right, `control.recording_check` says.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from control.api.ports import RecordingStoreAway
from control.call_record import CallRecord
from control.recording_check import Candidate, Found, Remedy
from control.recordings import Recording, RecordingFormat, RecordingState, name_of, names_of
from control.stores.recordings import Filed, Recordings
from gateway.recording_desk import RecordingDesk
from gateway.recording_files import FOLDER, LocalFile, RecordingFiles, measure, mend
from gateway.recording_store import RecordingStore
from media.wav import BadWav, disagreement

# Bytes of a file that hold its header, also where other programs have put more into it.
_HEAD = 4_096


class RecordingRepair:
    """Driven by the API."""

    def __init__(
        self,
        rows: Recordings,
        files: RecordingFiles,
        keep: RecordingStore,
        desk: RecordingDesk,
        *,
        node: str,
        is_live: Callable[[str], bool],
        new_id: Callable[[str], str],
    ) -> None:
        """
        Args:
            node: whose data folder this is, as calls name it.
            is_live: whether the call's media goes on: nobody touches a file that grows.
        """
        self._rows = rows
        self._files = files
        self._keep = keep
        self._desk = desk
        self._node = node
        self._is_live = is_live
        self._new_id = new_id

    # What there is

    async def find(self, record: CallRecord, recording: Recording | None) -> Found:
        """Return every file of the call, the one that the database means first.

        Raises:
            RecordingStoreAway: the store does not answer.
        """
        names = list(
            dict.fromkeys([*([recording.path] if recording is not None else []), *names_of(record.call_id)])
        )
        kept = [each for each in [await self._keep.find(name) for name in names] if each is not None]
        in_store = [Candidate(each.name, each.name, each.modified_at, each.size, True) for each in kept]
        waiting = await asyncio.to_thread(self._files.of_call, record.call_id)
        on_disk = [
            self._candidate(each, record.call_id)
            for each in waiting
            if not self._keep.has_at(each.path.name, each.path) or each.path.name not in names
        ]
        found = Found((*in_store, *on_disk))
        return replace(found, header_problem=await self._contradiction(recording, found))

    def _candidate(self, file: LocalFile, call_id: str) -> Candidate:
        growing = file.path == self._files.growing(call_id)
        readable = not self._is_live(call_id) if growing else file.path != self._files.broken(call_id)
        name = file.path.name
        return Candidate(name, f"{FOLDER}/{name}", file.modified_at, file.size, False, readable)

    async def _contradiction(self, recording: Recording | None, found: Found) -> str | None:
        """In how far the file that the database means does not hold what its header says."""
        if recording is None or recording.format is not RecordingFormat.WAV:
            return None
        kept = found.named(recording.path)
        if kept is None:
            return None
        blocks = [block async for block in self._keep.read(kept.name, 0, min(_HEAD, kept.size))]
        return disagreement(b"".join(blocks), kept.size)

    # What is done about it

    async def put_right(
        self, record: CallRecord, recording: Recording | None, found: Found, remedy: Remedy
    ) -> list[str]:
        """Do it; return what was changed, in words.

        Raises:
            RecordingStoreAway: the store does not answer, or the disk.
        """
        try:
            match remedy:
                case Remedy.NOTHING:
                    return []
                case Remedy.FILE:
                    return await self._file(record, recording)
                case Remedy.RELINK | Remedy.MEND:
                    return await self._relink(record, recording, found)
                case Remedy.GIVE_UP if self._may_be_elsewhere(record, recording):
                    return []
                case Remedy.GIVE_UP:
                    return await self._give_up(recording, "its file is lost")
                case Remedy.ERASE:
                    return await self._erase(record, found)
        except OSError as fault:
            raise RecordingStoreAway(f"the disk: {fault}") from fault

    def _may_be_elsewhere(self, record: CallRecord, recording: Recording | None) -> bool:
        """Whether another process may have the file in its folder, which nobody can see from here."""
        on_its_way = recording is None or recording.state is RecordingState.PROCESSING
        return record.node != self._node and (on_its_way or self._keep.folder is not None)

    async def _file(self, record: CallRecord, recording: Recording | None) -> list[str]:
        """Finish the file, if a crash has cut it off, and bring it into the store."""
        changed = []
        try:
            if await asyncio.to_thread(self._files.finish, record.call_id):
                changed.append("finished the file that was cut off")
        except BadWav as bad:
            part = self._files.growing(record.call_id)
            await asyncio.to_thread(part.rename, self._files.broken(record.call_id))
            await self._give_up(recording or self._new(record), f"its file cannot be repaired: {bad}")
            return ["set the file aside: it cannot be repaired"]
        await asyncio.to_thread(self._files.wanted, record.call_id)
        if await self._desk.file(record.call_id, again=True):
            changed.append("brought the file into the store")
        return changed

    async def _relink(self, record: CallRecord, recording: Recording | None, found: Found) -> list[str]:
        """Have the database say which file in the store it is, and what that holds."""
        named = found.named(recording.path) if recording is not None else None
        kept = named or found.kept
        if kept is None:
            return []
        kind = next((kind for name, kind in names_of(record.call_id).items() if name == kept.name), None)
        known = recording or self._new(record)
        known = replace(
            known,
            path=kept.name,
            format=kind or known.format,
            bytes=kept.size,
            consent=record.recording_consent,
        )
        changed = []
        if known.format is RecordingFormat.WAV:
            try:
                known, mended = await self._measured(known)
            except BadWav as bad:
                return await self._give_up(known, f"its file cannot be repaired: {bad}")
            changed += ["repaired the file's header"] if mended else []
        elif known.duration_ms is None:
            known = replace(known, duration_ms=round(record.duration_seconds * 1000))
        told = recording is not None and recording.ready_at is not None
        if await self._desk.finish(record, known, told=told) is Filed.DONE:
            changed.append(f"linked {kept.name} to the call")
        return changed

    async def _measured(self, recording: Recording) -> tuple[Recording, bool]:
        """Return the recording with what its file holds, and whether that had to be repaired.

        Raises:
            BadWav: it is none that could be.
        """
        with self._borrowed(recording) as path:
            if self._keep.folder is None:
                await self._keep.fetch(recording.path, path)
            wrong = await asyncio.to_thread(_mended, path)
            if wrong:
                await self._keep.put(recording.path, path, recording.format.media_type)
            measured = await asyncio.to_thread(measure, path)
            size = path.stat().st_size
        known = replace(
            recording,
            bytes=size,
            sample_rate=measured.header.rate,
            channels=measured.header.channels,
            duration_ms=measured.milliseconds,
        )
        return known, wrong

    @contextmanager
    def _borrowed(self, recording: Recording) -> Iterator[Path]:
        """Where the file is while it is looked at: a folder's own, or a copy."""
        if self._keep.folder is not None:
            yield self._keep.folder / recording.path
            return
        path = self._files.borrowed(recording.call_id, "fetched")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def _give_up(self, recording: Recording | None, problem: str) -> list[str]:
        if recording is None:
            return []
        failed = await self._rows.fail(recording, problem)
        return ["marked the recording as failed"] if failed else []

    async def _erase(self, record: CallRecord, found: Found) -> list[str]:
        for each in found.candidates:
            if each.in_store:
                await self._keep.delete(each.name)
        await asyncio.to_thread(self._files.remove, record.call_id, whole_call=False)
        return ["deleted what was left of the recording"]

    def _new(self, record: CallRecord) -> Recording:
        """What the database does not know of yet."""
        return Recording(
            recording_id=self._new_id("rec"),
            tenant_id=record.tenant_id,
            call_id=record.call_id,
            agent_id=record.agent_id,
            state=RecordingState.PROCESSING,
            path=name_of(record.call_id, RecordingFormat.WAV),
            sample_rate=8_000,
            consent=record.recording_consent,
            started_at=record.started_at,
        )


def _mended(path: Path) -> bool:
    """Make the header say what the file holds; whether it did not."""
    with path.open("rb") as file:
        wrong = disagreement(file.read(_HEAD), path.stat().st_size) is not None
    if wrong:
        mend(path)
    return wrong

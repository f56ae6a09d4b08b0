"""Files recordings after their calls: finished on the disk, made smaller, brought into the store, kept and told of.

Theory of operation. What is to be filed is said on the disk (`gateway.recording_files`), so neither a kill nor a
database that is away loses any of it: the desk looks there, at the start and whenever something was stored. Every step
may be done again. A recording is filed when the store has its file and the database says so, in this order; only then
is the waiting file let go. Nothing here is on a live call's way.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from control.api.ports import RecordingStoreAway
from control.call_record import CallRecord, EventRecord
from control.recordings import Recording, RecordingFormat, RecordingState, name_of, names_of
from control.stores.errors import StoreUnavailable
from control.stores.recordings import Filed, Recordings, Unowned
from gateway.recording_encoder import RecordingEncoder
from gateway.recording_files import Measured, RecordingFiles, measure
from gateway.recording_store import RecordingStore
from media.wav import BadWav

log = structlog.get_logger()

# Seconds between looks: calls end in bursts, and a look is a walk through a folder.
PAUSE = 1.0
# Without news the desk looks nevertheless: a clock is all that retention and retries have.
LONGEST_SLEEP = 30.0
# Files at a time; encoders and uploads share the machine with live calls.
AT_ONCE = 2
# Seconds until what failed is tried again, ever longer; a call that has not ended waits by the first three.
RETRIES = (2.0, 5.0, 30.0, 120.0, 600.0)
_NOT_OVER = 2


@dataclass(slots=True)
class _Wait:
    """A file that could not be filed yet."""

    attempts: int = 0
    until: float = 0.0


class RecordingDesk:
    """Driven by news (`notify`) and by its own task (`run`)."""

    def __init__(
        self,
        rows: Recordings,
        files: RecordingFiles,
        keep: RecordingStore,
        encoder: RecordingEncoder,
        *,
        cost: Callable[[Decimal], Decimal],
        retention: timedelta | None,
        now: Callable[[], float],
        wall: Callable[[], datetime],
        new_id: Callable[[str], str],
        told: Callable[[str], None],
    ) -> None:
        """
        Args:
            cost: of a recording, by its seconds.
            retention: after which a recording is erased; None: never.
            told: called with the tenant of whom something was published.
        """
        self._rows = rows
        self._files = files
        self._keep = keep
        self._encoder = encoder
        self._cost = cost
        self._retention = retention
        self._now = now
        self._wall = wall
        self._new_id = new_id
        self._told = told
        self._news = asyncio.Event()
        self._waits: dict[str, _Wait] = {}
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Semaphore(AT_ONCE)

    def notify(self) -> None:
        """Something has happened that may be the end of a call."""
        self._news.set()

    async def run(self) -> None:
        """File whatever is due, until cancelled."""
        while True:
            self._news.clear()
            await self.round()
            try:
                async with asyncio.timeout(self._until_next()):
                    await self._news.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(PAUSE)

    async def round(self) -> None:
        """File what is due now, each once."""
        due = await asyncio.to_thread(self._files.due)
        self._waits = {call_id: wait for call_id, wait in self._waits.items() if call_id in due}
        now = self._now()
        ready = [each for each in due if each not in self._waits or self._waits[each].until <= now]
        await asyncio.gather(*(self._attempt(call_id) for call_id in ready))

    def _until_next(self) -> float:
        earliest = min((wait.until for wait in self._waits.values()), default=float("inf"))
        return max(0.0, min(LONGEST_SLEEP, earliest - self._now()))

    async def _attempt(self, call_id: str) -> None:
        async with self._room:
            try:
                if await self.file(call_id):
                    self._waits.pop(call_id, None)
                else:
                    self._later(call_id, at_most=_NOT_OVER)
            except (RecordingStoreAway, StoreUnavailable, OSError) as fault:
                log.warning("a recording is not filed yet", call_id=call_id, why=str(fault))
                await self._note(call_id, str(fault))
                self._later(call_id)
            except Exception:
                log.exception("a recording is not filed: the fault is ours", call_id=call_id)
                self._later(call_id)

    def _later(self, call_id: str, *, at_most: int = len(RETRIES) - 1) -> None:
        wait = self._waits.setdefault(call_id, _Wait())
        wait.until = self._now() + RETRIES[min(wait.attempts, at_most)]
        wait.attempts += 1

    async def _note(self, call_id: str, problem: str) -> None:
        try:
            await self._rows.note_problem(call_id, problem)
        except StoreUnavailable as fault:
            log.debug("a recording's problem is not kept", call_id=call_id, why=str(fault))

    # One file

    async def file(self, call_id: str, *, again: bool = False) -> bool:
        """File a call's recording; False: the call has not ended yet, or is not kept yet.

        Args:
            again: although the database says that it was filed.

        Raises:
            RecordingStoreAway, StoreUnavailable, OSError: not now.
        """
        lock = self._busy.setdefault(call_id, asyncio.Lock())  # who asks meanwhile holds it, too
        async with lock:
            return await self._file(call_id, again=again)

    async def _file(self, call_id: str, *, again: bool) -> bool:
        owner = await self._rows.owner(call_id)
        if owner is Unowned.UNKNOWN:
            return False  # a journal may still have it
        if owner is Unowned.ERASED:
            return await self._erase(call_id, whole_call=True)
        known = await self._rows.of_call(call_id)
        if known is not None and known.state is RecordingState.ERASED:
            return await self._erase(call_id)
        recording = self._begun(owner, known)
        try:
            measured = await asyncio.to_thread(measure, self._files.finished(call_id))
        except FileNotFoundError as fault:
            if await asyncio.to_thread(self._files.growing(call_id).exists):
                return False  # it is about to be finished
            return await self._fail(recording, fault)
        except BadWav as fault:
            return await self._fail(recording, fault)
        recording = replace(recording, sample_rate=measured.header.rate, channels=measured.header.channels)
        match await self._rows.begin(recording, again=again):
            case None:
                return await self._bring(owner, recording, measured)
            case Filed.LATER:
                return False
            case Filed.DONE:
                await self._let_go(call_id)
            case Filed.GONE:
                await self._erase(call_id)
        return True

    async def _erase(self, call_id: str, *, whole_call: bool = False) -> bool:
        """It was erased while it was on its way: an attempt that was cut off may have brought it into the store."""
        for name in names_of(call_id):
            await self._keep.delete(name)
        await asyncio.to_thread(self._files.remove, call_id, whole_call=whole_call)
        return True

    def _begun(self, owner: CallRecord, known: Recording | None) -> Recording:
        return Recording(
            recording_id=known.recording_id if known is not None else self._new_id("rec"),
            tenant_id=owner.tenant_id,
            call_id=owner.call_id,
            agent_id=owner.agent_id,
            path=name_of(owner.call_id, RecordingFormat.WAV),
            sample_rate=8_000,
            consent=owner.recording_consent,
            started_at=owner.started_at,
            ready_at=known.ready_at if known is not None else None,
        )

    async def _fail(self, recording: Recording, fault: Exception) -> bool:
        """There is no audio that could be kept: what is left of it stays where it is, for people."""
        problem = str(fault) if isinstance(fault, BadWav) else "its file is not on the disk"
        if await asyncio.to_thread(self._files.broken(recording.call_id).exists):
            problem = "its file was cut off before its header was whole"
        if await self._rows.fail(recording, problem):
            log.error("a recording is lost", call_id=recording.call_id, why=str(fault))
        await asyncio.to_thread(self._files.filed, recording.call_id)
        return True

    async def _bring(self, owner: CallRecord, recording: Recording, measured: Measured) -> bool:
        """Bring the file into the store, then say so."""
        wav = self._files.finished(owner.call_id)
        file, kind = await self._encoder.encode(wav, owner.call_id)
        told = recording.ready_at is not None
        recording = self._described(recording, file, kind, measured)
        await self._keep.put(recording.path, file, kind.media_type)
        # Who has erased it meanwhile took the marker with it, and did not find this file.
        await asyncio.to_thread(self._files.wanted, owner.call_id)
        match await self.finish(owner, recording, told=told):
            case Filed.DONE:
                await self._let_go(owner.call_id)
                return True
            case Filed.GONE:
                return await self._erase(owner.call_id)
            case Filed.LATER:
                return False

    def _described(
        self, recording: Recording, file: Path, kind: RecordingFormat, measured: Measured
    ) -> Recording:
        return replace(
            recording,
            path=name_of(recording.call_id, kind),
            format=kind,
            bytes=file.stat().st_size,
            duration_ms=measured.milliseconds,
        )

    async def finish(self, owner: CallRecord, recording: Recording, *, told: bool) -> Filed:
        """Keep that the store has the file, and publish it unless users were `told` before."""
        now = self._wall()
        recording = replace(
            recording,
            state=RecordingState.READY,
            problem=None,
            ready_at=now,
            expires_at=None if self._retention is None else now + self._retention,
        )
        event = None if told else self._event(owner, recording, now)
        filed = await self._rows.finish(recording, self._cost(recording.duration_seconds), event)
        if filed is Filed.DONE:
            self._told(owner.tenant_id)
            log.info(
                "recording filed",
                call_id=owner.call_id,
                format=recording.format.value,
                bytes=recording.bytes,
                seconds=float(recording.duration_seconds),
            )
        return filed

    def _event(self, owner: CallRecord, recording: Recording, wall: datetime) -> EventRecord:
        return EventRecord(
            event_id=self._new_id("evt"),
            tenant_id=owner.tenant_id,
            call_id=owner.call_id,
            agent_id=owner.agent_id,
            name="call.recording_ready",
            sequence=None,
            occurred_at=wall,
            at=round(max(0.0, (wall - owner.started_at).total_seconds()), 3),
            data={
                "recording_id": recording.recording_id,
                "duration_seconds": float(recording.duration_seconds),
                "channels": recording.channels,
                "format": recording.format.value,
                "bytes": recording.bytes,
            },
        )

    async def _let_go(self, call_id: str) -> None:
        """The store has it: what waited here goes, unless it is the store's own."""
        recording = await self._rows.of_call(call_id)
        path = self._files.finished(call_id)
        ours = recording is not None and self._keep.has_at(recording.path, path)
        await asyncio.to_thread(self._files.let_go, call_id, wav=not ours)

"""Recordings as the API asks for them: links, bytes, audio, and what is wrong with one.

It only puts together: the store has the files, the links are `control.download_links`, and what is wrong
`gateway.recording_repair` finds.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

from control.api.ports import AudioUnavailable, FetchedAudio, RecordingLink, RecordingStoreAway
from control.call_record import CallRecord
from control.download_links import DownloadLinks
from control.recording_check import Found, Remedy
from control.recordings import Recording
from gateway.recording_eraser import RecordingEraser
from gateway.recording_repair import RecordingRepair
from gateway.recording_store import RecordingStore

# What is played to a caller is held in memory: ten minutes of stereo WAV.
LARGEST = 20_000_000


class RecordingRoom:
    """Driven by the API's endpoints."""

    def __init__(
        self,
        keep: RecordingStore,
        links: DownloadLinks,
        repair: RecordingRepair,
        eraser: RecordingEraser,
        *,
        transcribe: Callable[[], None] | None,
        decode: Callable[[bytes], Awaitable[FetchedAudio]],
        wall: Callable[[], datetime],
    ) -> None:
        """
        Args:
            transcribe: says that something is to be transcribed; None where nobody transcribes.
        """
        self._keep = keep
        self._links = links
        self._repair = repair
        self._eraser = eraser
        self._transcribe = transcribe
        self._decode = decode
        self._wall = wall

    @property
    def transcribes(self) -> bool:
        return self._transcribe is not None

    async def ping(self) -> float:
        """Return how long the store takes to answer, in seconds.

        Raises:
            RecordingStoreAway: it does not.
        """
        before = time.monotonic()
        await self._keep.ping()
        return time.monotonic() - before

    async def link(self, recording: Recording, seconds: int) -> RecordingLink:
        expires_at = self._wall() + timedelta(seconds=seconds)
        url = await self._keep.link(recording.path, seconds)
        return RecordingLink(url or self._links.make(recording.call_id, expires_at), expires_at)

    def check_link(self, call_id: str, expires: str, signature: str) -> None:
        self._links.check(call_id, expires, signature, self._wall())

    async def size(self, recording: Recording) -> int | None:
        kept = await self._keep.find(recording.path)
        return None if kept is None else kept.size

    def read(self, recording: Recording, begin: int, end: int) -> AsyncIterator[bytes]:
        return self._keep.read(recording.path, begin, end)

    async def audio(self, recording: Recording) -> FetchedAudio:
        try:
            content = await self._keep.content(recording.path, LARGEST)
        except FileNotFoundError:
            raise AudioUnavailable("the recording's file is not there") from None
        except RecordingStoreAway as away:
            raise AudioUnavailable(f"the store of the recordings does not answer: {away}") from away
        if content is None:
            raise AudioUnavailable(f"the recording is larger than {LARGEST // 1_000_000} MB")
        return await self._decode(content)

    async def find(self, record: CallRecord, recording: Recording | None) -> Found:
        return await self._repair.find(record, recording)

    async def put_right(
        self, record: CallRecord, recording: Recording | None, found: Found, remedy: Remedy
    ) -> list[str]:
        return await self._repair.put_right(record, recording, found, remedy)

    def erase_soon(self) -> None:
        self._eraser.notify()

    def transcribe_soon(self) -> None:
        if self._transcribe is not None:
            self._transcribe()

"""Writes calls' recordings: one thread for all, so that a slow disk never holds the loop.

A recording grows as `<call>.wav.part`, whose header is put right when it is finished and renamed; `repair_all` does
the same, at the next start, for what a crash left behind.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from os import SEEK_CUR
from pathlib import Path
from typing import BinaryIO

from media.audio import Encoding
from media.wav import BadWav, WavHeader, repair

# Half a minute of stereo PCM16 at 8 kHz: a disk that is further behind than this is not coming back in time.
MAX_BEHIND = 1_000_000


class RecordingThread:
    """The one thread that touches recording files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recording")

    def open(self, call_id: str, rate: int) -> "Recording":
        return Recording(self.folder / f"{call_id}.wav", rate, self._thread)

    def close(self) -> None:
        self._thread.shutdown()


class Recording:
    """One call's file. Blocks are written in the order given; `finish` awaits the last of them."""

    def __init__(self, path: Path, rate: int, thread: ThreadPoolExecutor) -> None:
        self.path = path
        self.error: str | None = None
        self._part = path.with_suffix(".wav.part")
        self._header = WavHeader(rate=rate, channels=2, encoding=Encoding.PCM16)
        self._thread = thread
        self._file: BinaryIO | None = None
        self._behind = 0

    def write(self, block: bytes) -> None:
        """Queue one block; a recording that fails, or falls too far behind, stops with its `error`."""
        if self.error is not None:
            return
        self._behind += len(block)
        if self._behind > MAX_BEHIND:
            self.error = f"the disk is {self._behind} bytes behind"
            return
        job = asyncio.get_running_loop().run_in_executor(self._thread, self._append, block)
        job.add_done_callback(lambda done: self._appended(len(block), done))

    def skip(self, size: int) -> None:
        """Leave out `size` bytes of silence: the file grows, the disk does not."""
        if self.error is None:
            job = asyncio.get_running_loop().run_in_executor(self._thread, self._skip, size)
            job.add_done_callback(lambda done: self._appended(0, done))

    def _appended(self, size: int, done: "asyncio.Future[None]") -> None:
        self._behind -= size
        if not done.cancelled() and (fault := done.exception()) is not None:
            self.error = str(fault)

    def _append(self, block: bytes) -> None:
        file = self._open()
        file.write(block)
        file.flush()

    def _skip(self, size: int) -> None:
        file = self._open()
        file.truncate(file.seek(size, SEEK_CUR))

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = self._part.open("w+b")
            self._file.write(self._header.bytes(0))
        return self._file

    async def finish(self) -> Path | None:
        """Put the header right and give the file its name; None if nothing was recorded."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._finish)

    def _finish(self) -> Path | None:
        if self._file is None:
            return None
        with self._file:
            repair(self._file)
        self._part.rename(self.path)
        return self.path


def repair_all(folder: Path) -> list[Path]:
    """Finish what a crash left unfinished; return the recordings that were.

    What cannot be repaired (the crash came before the header was whole) is set aside: it must not keep us from
    starting.
    """
    repaired = []
    for part in sorted(folder.glob("*.wav.part")):
        try:
            with part.open("r+b") as file:
                repair(file)
        except BadWav:
            part.rename(part.with_suffix(".broken"))
            continue
        repaired.append(part.rename(part.with_suffix("")))
    return repaired

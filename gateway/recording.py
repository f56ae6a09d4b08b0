"""Writes calls' recordings: one thread for all, so that a slow disk never holds the loop.

A recording grows as `<call>.wav.part`, whose header is put right when it is finished and renamed; `repair_all` does
the same, at the next start, for what a crash left behind. An empty file of the call's name in the folder `due` says
that a finished recording is still to be filed (`gateway.recording_desk`): it is there before the file has its name.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import SEEK_CUR
from pathlib import Path
from typing import BinaryIO, TypeVar

from media.audio import Encoding
from media.wav import BadWav, WavHeader, repair

_T = TypeVar("_T")

# Half a minute of stereo PCM16 at 8 kHz: a disk that is further behind than this is not coming back in time.
MAX_BEHIND = 1_000_000


# Seconds of all calls' blocks that are handed over at once. Each time the thread is woken, and at each of its system
# calls, it takes the interpreter from the loop, on a core of theirs; a crash costs this much more of a recording.
GATHER = 0.25


class RecordingThread:
    """The one thread that touches recording files. Blocks go to it in few jobs, each many calls'."""

    def __init__(self, folder: Path, due: Path | None = None) -> None:
        """
        Args:
            due: where it is said which recordings are to be filed; None: nobody files them.
        """
        self.folder = folder
        self.due = due
        for each in (folder, due or folder):
            each.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recording")
        self._waiting: list[tuple[Recording, bytes | int]] = []
        self._timer: asyncio.TimerHandle | None = None

    def open(self, call_id: str, rate: int) -> "Recording":
        return Recording(self.folder / f"{call_id}.wav", rate, self)

    def add(self, recording: "Recording", block: bytes | int) -> None:
        """Write one block before long, or pass over so many bytes of silence."""
        self._waiting.append((recording, block))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER, self._hand_over)

    async def run(self, job: Callable[[], _T]) -> _T:
        """Run `job` in the thread after all that was added."""
        self._hand_over()
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._thread.submit(_write, self._gathered())
        self._thread.shutdown()

    def _hand_over(self) -> None:
        if blocks := self._gathered():
            job = asyncio.get_running_loop().run_in_executor(self._thread, _write, blocks)
            job.add_done_callback(lambda _: _account(blocks))

    def _gathered(self) -> list[tuple["Recording", bytes | int]]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        blocks, self._waiting = self._waiting, []
        return blocks


def _write(blocks: list[tuple["Recording", bytes | int]]) -> None:
    for recording, block in blocks:
        recording.append(block)


def _account(blocks: list[tuple["Recording", bytes | int]]) -> None:
    for recording, block in blocks:
        recording.appended(block)


class Recording:
    """One call's file. Blocks are written in the order given; `finish` awaits the last of them."""

    def __init__(self, path: Path, rate: int, thread: RecordingThread) -> None:
        self.path = path
        self.error: str | None = None
        self._part = path.with_suffix(".wav.part")
        self._header = WavHeader(rate=rate, channels=2, encoding=Encoding.PCM16)
        self._thread = thread
        self._file: BinaryIO | None = None
        self._fault: str | None = None
        """The thread's own word; `error` is the loop's."""
        self._behind = 0

    def write(self, block: bytes) -> None:
        """Queue one block; a recording that fails, or falls too far behind, stops with its `error`."""
        if self.error is not None:
            return
        self._behind += len(block)
        if self._behind > MAX_BEHIND:
            self.error = f"the disk is {self._behind} bytes behind"
            return
        self._thread.add(self, block)

    def skip(self, size: int) -> None:
        """Leave out `size` bytes of silence: the file grows, the disk does not."""
        if self.error is None:
            self._thread.add(self, size)

    def append(self, block: bytes | int) -> None:
        """Write one block, or pass over so many bytes; the thread's half of `write` and `skip`."""
        if self._fault is not None:
            return  # what follows a gap would stand at the wrong time
        try:
            file = self._open()
            if isinstance(block, int):
                file.truncate(file.seek(block, SEEK_CUR))
            else:
                file.write(block)
            file.flush()
        except OSError as fault:
            self._fault = str(fault)

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = self._part.open("w+b")
            self._file.write(self._header.bytes(0))
        return self._file

    def appended(self, block: bytes | int) -> None:
        """The loop's half of it, afterwards."""
        if not isinstance(block, int):
            self._behind -= len(block)
        self.error = self.error or self._fault

    async def finish(self) -> Path | None:
        """Put the header right and give the file its name; None if nothing was recorded."""
        return await self._thread.run(self._finish)

    def _finish(self) -> Path | None:
        if self._file is None:
            return None
        self._file.close()
        return finish_part(self._part, self._thread.due)


def finish_part(part: Path, due: Path | None) -> Path:
    """Put the header right and give the file its name.

    Raises:
        BadWav: it is none that could be repaired.
    """
    with part.open("r+b") as file:
        repair(file)
    path = part.with_suffix("")
    if due is not None:
        (due / path.stem).touch()
    return part.rename(path)


def repair_all(folder: Path, due: Path | None = None) -> list[Path]:
    """Finish what a crash left unfinished; return the recordings that were.

    What cannot be repaired (the crash came before the header was whole) is set aside: it must not keep us from
    starting.
    """
    repaired = []
    for part in sorted(folder.glob("*.wav.part")):
        try:
            repaired.append(finish_part(part, due))
        except BadWav:
            part.rename(part.with_suffix(".broken"))
            if due is not None:
                (due / part.name.partition(".")[0]).touch()
    return repaired

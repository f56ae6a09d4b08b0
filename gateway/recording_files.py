"""What this machine has of recordings: files that are to be filed, and what is left of a call whose audio must go.

    recordings/<call>.wav.part    grows (`gateway.recording`)
    recordings/<call>.wav         finished
    recordings/<call>.wav.broken  cannot be repaired
    recordings/.due/<call>        says that it is to be filed

Everything here blocks for as long as a disk takes: call it from a thread.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from control.recordings import names_of
from gateway.recording import finish_part
from media.wav import WavHeader, content_length, repair

FOLDER = "recordings"
DUE = ".due"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of a call's on this machine."""

    path: Path
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Measured:
    """How long a recording is, and what it is made of."""

    header: WavHeader
    samples: int

    @property
    def milliseconds(self) -> int:
        return round(self.samples * 1000 / self.header.rate)


class RecordingFiles:
    """The files of one data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.folder = data / FOLDER
        self.due_folder = self.folder / DUE

    def due(self) -> list[str]:
        """The calls whose recordings are to be filed, those that have waited longest first."""
        waiting = [(entry.stat().st_mtime, entry.name) for entry in self.due_folder.iterdir()]
        return [name for _, name in sorted(waiting)]

    def filed(self, call_id: str) -> None:
        """Nothing is to be done about it any more."""
        (self.due_folder / call_id).unlink(missing_ok=True)

    def let_go(self, call_id: str, *, wav: bool) -> None:
        """It is filed: what served for that is not needed any more, nor, perhaps, the WAV itself."""
        if wav:
            self.finished(call_id).unlink(missing_ok=True)
        for encoded in self._encoded(call_id):
            encoded.unlink(missing_ok=True)
        self.filed(call_id)

    def finished(self, call_id: str) -> Path:
        return self.folder / f"{call_id}.wav"

    def growing(self, call_id: str) -> Path:
        return self.folder / f"{call_id}.wav.part"

    def broken(self, call_id: str) -> Path:
        return self.folder / f"{call_id}.wav.broken"

    def finish(self, call_id: str) -> bool:
        """Finish what a crash left behind, and have it filed; whether there was anything.

        Raises:
            BadWav: it cannot be repaired.
        """
        part = self.growing(call_id)
        if not part.exists():
            return False
        finish_part(part, self.due_folder)
        return True

    def wanted(self, call_id: str) -> None:
        """Have it filed (again)."""
        (self.due_folder / call_id).touch()

    def borrowed(self, call_id: str, purpose: str) -> Path:
        """Where a copy out of the store may stand for a while."""
        return self.folder / f".{call_id}.{purpose}"

    def sweep(self) -> None:
        """Delete what an earlier process was in the middle of making: it is made again."""
        for path in self.folder.glob(".*"):
            if path.is_file():
                path.unlink()

    def of_call(self, call_id: str) -> list[LocalFile]:
        """Whatever audio of a call is here."""
        paths = (self.finished(call_id), self.growing(call_id), self.broken(call_id))
        return [_known(path) for path in paths if path.exists()]

    def remove(self, call_id: str, *, whole_call: bool) -> None:
        """Delete whatever is here of a call's audio: its recording, and the trace, which holds all of it.

        Args:
            whole_call: its record in a file, too.
        """
        for path in self._traces_of(call_id, whole_call=whole_call):
            path.unlink(missing_ok=True)
        self.filed(call_id)

    def _traces_of(self, call_id: str, *, whole_call: bool) -> Iterator[Path]:
        yield from (self.finished(call_id), self.growing(call_id), self.broken(call_id))
        yield from self._encoded(call_id)
        yield self._data / "traces" / f"{call_id}.jsonl"
        if whole_call:
            yield self._data / "calls" / f"{call_id}.json"

    def _encoded(self, call_id: str) -> list[Path]:
        """On their way into the store, as the encoder names them."""
        return [self.folder / f".{name}" for name in names_of(call_id)]


def measure(path: Path) -> Measured:
    """Return how long a WAV file is by its own account.

    Raises:
        BadWav: it is none.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        header, size = content_length(file)
    return Measured(header, size // header.block_bytes)


def mend(path: Path) -> None:
    """Make the lengths in a WAV file say what it holds.

    Raises:
        BadWav: it is none.
    """
    with path.open("r+b") as file:
        repair(file)


def _known(path: Path) -> LocalFile:
    found = path.stat()
    return LocalFile(path, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

"""Whether the database and the store agree about a call's recording, and what makes them agree again. Pure.

What is found where is told by the gateway (`Found`); what follows from it, and from the row, is decided here, once for
who asks (`check`) and for who has it put right (`fix`).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from control.call_record import CallRecord
from control.recordings import Recording, RecordingState


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be the call's recording."""

    name: str
    path: str
    """For people: where it is."""
    created_at: datetime
    size: int
    in_store: bool
    """Else it waits on the gateway's disk."""
    readable: bool = True
    """Whether anything can be made of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a call's recording."""

    candidates: tuple[Candidate, ...]
    header_problem: str | None = None
    """In how far the file in the store contradicts itself."""

    def named(self, name: str) -> Candidate | None:
        """The file of that name in the store."""
        return next((each for each in self.candidates if each.in_store and each.name == name), None)

    @property
    def kept(self) -> Candidate | None:
        """The best file in the store."""
        return next((each for each in self.candidates if each.in_store and each.readable), None)

    @property
    def waiting(self) -> Candidate | None:
        """A file on the disk that can be filed."""
        return next((each for each in self.candidates if not each.in_store and each.readable), None)


class Remedy(Enum):
    """What would put it right."""

    NOTHING = auto()
    FILE = auto()
    """The file on the disk is finished, if it must be, and brought into the store."""
    RELINK = auto()
    """The row is made to say which file in the store it is."""
    MEND = auto()
    """The file's header is made to say what the file holds."""
    GIVE_UP = auto()
    """The row says that there is no audio."""
    ERASE = auto()
    """What was left of an erased recording is deleted."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, in words, and what to do."""

    issues: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    remedy: Remedy = Remedy.NOTHING


_FIX = "POST /v1/calls/{call_id}/recording/fix"


def diagnose(record: CallRecord, recording: Recording | None, found: Found) -> Diagnosis:
    """Return what is wrong with an ended call's recording; of a live one nothing can be said."""
    if record.live:
        return Diagnosis(suggestions=("the call has not ended: ask again when it has",))
    if recording is None:
        return _without_row(record, found)
    match recording.state:
        case RecordingState.ERASED:
            return _erased(record, found)
        case RecordingState.READY:
            return _ready(record, recording, found)
        case RecordingState.PROCESSING:
            return _processing(record, recording, found)
        case RecordingState.FAILED:
            return _failed(record, recording, found)


def was_wanted(record: CallRecord) -> bool:
    """Whether there should be a recording of the call."""
    return (
        record.recording_enabled and record.answered_at is not None and record.recording_consent is not False
    )


def _without_row(record: CallRecord, found: Found) -> Diagnosis:
    there = _recoverable(record, "there is a file, but no recording in the database", found)
    if there is not None:
        return there
    if was_wanted(record):
        return Diagnosis(
            ("the call was to be recorded, and there is neither a file nor a recording in the database",),
            ("nothing was recorded, or another node has the file: see the call's events",),
        )
    if record.recording_consent is False:
        return Diagnosis(
            suggestions=("nothing was recorded: the caller did not hear the consent prompt out",)
        )
    return Diagnosis()


def _erased(record: CallRecord, found: Found) -> Diagnosis:
    if not found.candidates:
        return Diagnosis()
    return Diagnosis(
        ("the recording was erased, and there is a file of it",),
        (f"{_asked(record)} deletes it",),
        Remedy.ERASE,
    )


def _ready(record: CallRecord, recording: Recording, found: Found) -> Diagnosis:
    kept = found.named(recording.path)
    if kept is None:
        missing = f"its file {recording.path} is not in the store"
        return _recoverable(record, missing, found) or _lost(record, missing)
    if found.header_problem is not None:
        return Diagnosis(
            (f"its file is damaged: {found.header_problem}",),
            (f"{_asked(record)} repairs its header",),
            Remedy.MEND,
        )
    if kept.size != recording.bytes:
        return Diagnosis(
            (f"the database says {recording.bytes} bytes, the store has {kept.size}",),
            (f"{_asked(record)} takes over what the store has",),
            Remedy.RELINK,
        )
    if not record.has_recording:
        return Diagnosis(
            ("the call does not know of its recording",),
            (f"{_asked(record)} tells it",),
            Remedy.RELINK,
        )
    return Diagnosis()


def _processing(record: CallRecord, recording: Recording, found: Found) -> Diagnosis:
    if found.waiting is None:
        nowhere = "it is on its way into the store, and its file is nowhere"
        return _recoverable(record, nowhere, found) or _lost(record, nowhere)
    if recording.problem is None:
        return Diagnosis(suggestions=("it is on its way into the store: ask again in a minute",))
    return Diagnosis(
        (f"it is not in the store yet: {recording.problem}",),
        (f"it is tried again by itself; {_asked(record)} tries it now",),
        Remedy.FILE,
    )


def _failed(record: CallRecord, recording: Recording, found: Found) -> Diagnosis:
    problem = recording.problem or "there is no audio"
    return _recoverable(record, problem, found) or Diagnosis(
        (problem,), ("there is no file that it could be recovered from",)
    )


def _recoverable(record: CallRecord, issue: str, found: Found) -> Diagnosis | None:
    if found.waiting is not None:
        return Diagnosis((issue,), (f"{_asked(record)} files {found.waiting.path}",), Remedy.FILE)
    if found.kept is not None:
        return Diagnosis((issue,), (f"{_asked(record)} links {found.kept.name} to the call",), Remedy.RELINK)
    return None


def _lost(record: CallRecord, issue: str) -> Diagnosis:
    return Diagnosis(
        (issue,),
        ("restore the file from a backup, then fix", f"{_asked(record)} marks the recording as failed"),
        Remedy.GIVE_UP,
    )


def _asked(record: CallRecord) -> str:
    return _FIX.format(call_id=record.call_id)

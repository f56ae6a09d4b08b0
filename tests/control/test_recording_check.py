"""What is wrong with a recording follows from the row and from what there is; every combination has one remedy."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from control.call_record import CallRecord
from control.recording_check import Candidate, Found, Remedy, diagnose, was_wanted
from control.recordings import Recording, RecordingState
from tests.contracts.records import call, ended_call

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
RECORD = ended_call(call_id="call_1", recording_enabled=True, has_recording=True)
KEPT = Candidate("call_1.wav", "call_1.wav", NOON, 100, in_store=True)
WAITING = Candidate("call_1.wav.part", "recordings/call_1.wav.part", NOON, 50, in_store=False)
BROKEN = Candidate(
    "call_1.wav.broken", "recordings/call_1.wav.broken", NOON, 50, in_store=False, readable=False
)


def recording(state: RecordingState, **changes: object) -> Recording:
    made = Recording(
        recording_id="rec_1",
        tenant_id="default",
        call_id="call_1",
        state=state,
        path="call_1.wav",
        sample_rate=8_000,
        bytes=100,
        started_at=NOON,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields by name


READY = recording(RecordingState.READY)
STUCK = recording(RecordingState.PROCESSING, problem="the store is away")
FAILED = recording(RecordingState.FAILED, problem="its file is lost")
ERASED = recording(RecordingState.ERASED)


@pytest.mark.parametrize(
    ("row", "files", "remedy", "issue"),
    [
        (None, (), Remedy.NOTHING, "neither a file nor"),
        (None, (KEPT,), Remedy.RELINK, "no recording in the database"),
        (None, (WAITING,), Remedy.FILE, "no recording in the database"),
        (None, (BROKEN,), Remedy.NOTHING, "neither a file nor"),
        (READY, (KEPT,), Remedy.NOTHING, None),
        (READY, (KEPT, WAITING), Remedy.NOTHING, None),
        (READY, (), Remedy.GIVE_UP, "call_1.wav is not in the store"),
        (READY, (WAITING,), Remedy.FILE, "call_1.wav is not in the store"),
        (READY, (replace(KEPT, name="call_1.flac"),), Remedy.RELINK, "call_1.wav is not in the store"),
        (READY, (replace(KEPT, size=99),), Remedy.RELINK, "says 100 bytes, the store has 99"),
        (STUCK, (WAITING,), Remedy.FILE, "not in the store yet: the store is away"),
        (STUCK, (KEPT,), Remedy.RELINK, "its file is nowhere"),
        (STUCK, (), Remedy.GIVE_UP, "its file is nowhere"),
        (replace(STUCK, problem=None), (WAITING,), Remedy.NOTHING, None),
        (FAILED, (), Remedy.NOTHING, "its file is lost"),
        (FAILED, (KEPT,), Remedy.RELINK, "its file is lost"),
        (FAILED, (WAITING,), Remedy.FILE, "its file is lost"),
        (ERASED, (), Remedy.NOTHING, None),
        (ERASED, (KEPT,), Remedy.ERASE, "was erased"),
        (ERASED, (BROKEN,), Remedy.ERASE, "was erased"),
    ],
)
def test_row_and_files_tell_what_is_wrong(
    row: Recording | None, files: tuple[Candidate, ...], remedy: Remedy, issue: str | None
) -> None:
    found = diagnose(RECORD, row, Found(files))
    assert found.remedy is remedy
    if issue is None:
        assert found.issues == ()
    else:
        assert len(found.issues) == 1
        assert issue in found.issues[0]


def test_a_header_that_contradicts_its_file_is_mended() -> None:
    found = diagnose(RECORD, READY, Found((KEPT,), header_problem="it is cut"))
    assert (found.remedy, found.issues) == (Remedy.MEND, ("its file is damaged: it is cut",))


def test_a_call_that_does_not_know_of_its_recording_is_told() -> None:
    found = diagnose(replace(RECORD, has_recording=False), READY, Found((KEPT,)))
    assert found.remedy is Remedy.RELINK


def test_whatever_has_a_remedy_says_how_to_get_it() -> None:
    rows = (None, READY, STUCK, FAILED, ERASED)
    files = ((), (KEPT,), (WAITING,), (BROKEN,), (KEPT, WAITING), (WAITING, BROKEN))
    for row, some in product(rows, files):
        found = diagnose(RECORD, row, Found(some))
        if found.remedy is not Remedy.NOTHING:
            assert "POST /v1/calls/call_1/recording/fix" in found.suggestions[-1]


def test_nothing_is_said_of_a_call_that_goes_on() -> None:
    found = diagnose(call(recording_enabled=True), None, Found((WAITING,)))
    assert (found.issues, found.remedy) == ((), Remedy.NOTHING)


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        (RECORD, True),
        (replace(RECORD, recording_consent=True), True),
        (replace(RECORD, recording_consent=False), False),
        (replace(RECORD, recording_enabled=False), False),
        (replace(RECORD, answered_at=None), False),
    ],
)
def test_a_recording_is_missed_where_there_should_be_one(record: CallRecord, wanted: bool) -> None:
    assert was_wanted(record) is wanted
    assert bool(diagnose(record, None, Found(())).issues) is wanted

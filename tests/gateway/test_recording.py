"""Recordings on disk: whole when finished, repaired after a crash, and never in the loop's way."""

import asyncio
import shutil
import wave
from pathlib import Path

import pytest

from gateway.recording import MAX_BEHIND, RecordingThread, repair_all
from tests.conftest import RunAsync

BLOCK = bytes(range(256)) * 4


def frames(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        samples: bytes = file.readframes(file.getnframes())
        return samples


def test_a_recording_has_every_block_in_order(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> Path | None:
        recordings = RecordingThread(tmp_path)
        recording = recordings.open("call_1", 8000)
        for number in range(5):
            recording.write(bytes([number]) * 400)
        path = await recording.finish()
        recordings.close()
        return path

    path = virtual(scenario())
    assert path == tmp_path / "call_1.wav"
    assert frames(tmp_path / "call_1.wav") == b"".join(bytes([number]) * 400 for number in range(5))
    assert list(tmp_path.iterdir()) == [path]


def test_a_call_that_recorded_nothing_leaves_no_file(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> Path | None:
        recordings = RecordingThread(tmp_path)
        path = await recordings.open("call_1", 8000).finish()
        recordings.close()
        return path

    assert virtual(scenario()) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("written", [0, 10, 44, 45, 1068])
def test_what_a_crash_left_is_finished_at_the_next_start(
    virtual: RunAsync, tmp_path: Path, written: int
) -> None:
    """However far the last write came: `written` bytes of the file reached the disk."""

    async def scenario() -> None:
        recordings = RecordingThread(tmp_path)
        recording = recordings.open("call_1", 8000)
        recording.write(BLOCK)
        recordings.close()  # waits for the block
        assert recording._file is not None
        recording._file.close()  # as the kernel does of a killed process

    virtual(scenario())
    part = tmp_path / "call_1.wav.part"
    whole = part.read_bytes()
    part.write_bytes(whole[:written])
    repaired = repair_all(tmp_path)
    assert repair_all(tmp_path) == []
    if written < 44:  # no audio, not even a header: set aside, and no reason not to start
        assert repaired == []
        assert [path.name for path in tmp_path.iterdir()] == ["call_1.wav.broken"]
    else:
        assert repaired == [tmp_path / "call_1.wav"]
        assert frames(repaired[0]) == BLOCK[: (written - 44) // 4 * 4]


def test_a_disk_that_is_gone_costs_the_recording_only(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        recordings = RecordingThread(tmp_path / "disk")
        recording = recordings.open("call_1", 8000)
        shutil.rmtree(tmp_path / "disk")
        recording.write(BLOCK)
        assert await recording.finish() is None
        await asyncio.sleep(0)
        assert recording.error is not None
        recording.write(BLOCK)  # is not tried again
        recordings.close()

    virtual(scenario())


def test_a_disk_that_is_too_far_behind_stops_the_recording(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        recordings = RecordingThread(tmp_path)
        recording = recordings.open("call_1", 8000)
        recording.write(bytes(MAX_BEHIND))
        recording.write(BLOCK)
        assert recording.error is not None
        path = await recording.finish()
        assert path is not None
        assert len(frames(path)) == MAX_BEHIND
        recordings.close()

    virtual(scenario())

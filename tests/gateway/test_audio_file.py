"""Audio files of any make become telephone speech, or a complaint a person understands."""

import wave
from pathlib import Path

import pytest

from gateway.audio_file import AudioUnreadable, read_speech


def recording(path: Path, *, rate: int, channels: int, width: int, seconds: float = 1.0) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(bytes(round(rate * seconds) * channels * width))
    return path


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_every_wav_becomes_mono_pcm16_of_the_same_length(
    tmp_path: Path, rate: int, channels: int, width: int
) -> None:
    path = recording(tmp_path / "x.wav", rate=rate, channels=channels, width=width)
    assert len(read_speech(path)) == pytest.approx(16_000, abs=4)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no audio at all" * 50], ids=["empty", "header", "text"])
def test_what_is_no_audio_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(AudioUnreadable, match=r"x\.wav"):
        read_speech(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AudioUnreadable, match="not there"):
        read_speech(tmp_path / "none.wav")

"""Sounds for scripts: files, tones, and a stand-in for speech."""

import wave
from pathlib import Path

import numpy as np
import pytest

from gateway.agent.sound import RATE, read_sound, silence, stand_in, tone


def written(path: Path, *, channels: int = 1, width: int = 2, rate: int = 8000, seconds: float = 0.5) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(bytes(range(1, 1 + channels * width)) * int(rate * seconds))
    return path


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_a_wav_file_keeps_its_rate_and_length(tmp_path: Path, rate: int) -> None:
    sound = read_sound(written(tmp_path / "a.wav", rate=rate))
    assert sound.rate == rate
    assert sound.duration == pytest.approx(0.5)


def test_two_channels_are_mixed_to_one(tmp_path: Path) -> None:
    sound = read_sound(written(tmp_path / "a.wav", channels=2))
    left, right = np.frombuffer(bytes([1, 2, 3, 4]), "<i2").tolist()
    assert set(np.frombuffer(sound.pcm, "<i2").tolist()) == {(left + right) // 2}


def test_what_is_no_16_bit_wav_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a recording")
    with pytest.raises(ValueError, match=r"text\.wav is not a WAV file"):
        read_sound(tmp_path / "text.wav")
    with pytest.raises(ValueError, match=r"has 8-bit samples"):
        read_sound(written(tmp_path / "eight.wav", width=1))
    with pytest.raises(OSError, match="No such file"):
        read_sound(tmp_path / "missing.wav")


def test_a_tone_has_its_frequencies_and_its_level() -> None:
    sound = tone([697.0, 1209.0], 1.0, -12.0)
    samples = np.frombuffer(sound.pcm, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    strongest = sorted(np.argsort(spectrum)[-6:])
    assert {min((697, 1209), key=lambda f: abs(f - bin_)) for bin_ in strongest} == {697, 1209}
    assert 20 * np.log10(np.abs(samples).max() / 32767) == pytest.approx(-12.0, abs=0.3)
    assert samples[0] == samples[-1] == 0


def test_silence_and_words_have_a_length() -> None:
    assert silence(0.25).duration == pytest.approx(0.25)
    assert len(silence(0.25).pcm) == RATE // 2
    assert stand_in("x" * 100).duration == pytest.approx(6.5)
    assert stand_in("").duration == pytest.approx(0.2)

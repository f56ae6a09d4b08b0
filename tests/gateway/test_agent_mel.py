"""Whisper's spectrogram: its shape, its range, and that a tone is where it should be."""

import numpy as np
import pytest

from gateway.agent.mel import BANDS, RATE, log_mel


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def test_the_window_is_as_long_as_asked_and_its_range_is_eight_decades() -> None:
    mel = log_mel(tone(1000.0), 300)
    assert mel.shape == (BANDS, 300)
    # 8 decades, divided by 4.
    assert mel.max() - mel.min() == pytest.approx(2.0)


def test_what_does_not_fit_is_cut() -> None:
    assert log_mel(tone(440.0, 5.0), 100).shape == (BANDS, 100)


# By hand from Slaney's definition: mel(f) = 3f/200 below 1 kHz, 15 + 27 ln(f/1000)/ln 6.4 above; 8 kHz is 45.245 mel,
# so band n is centred on (n + 1) * 45.245 / 81: 200 Hz is band 4.4, 1 kHz 25.9, 4 kHz 61.9, 7 kHz 76.5.
@pytest.mark.parametrize(("frequency", "band"), [(200.0, 4), (1000.0, 26), (4000.0, 62), (7000.0, 76)])
def test_a_tone_lights_its_band(frequency: float, band: int) -> None:
    mel = log_mel(tone(frequency), 100)[:, 20:80].mean(axis=1)
    assert abs(int(np.argmax(mel)) - band) <= 1

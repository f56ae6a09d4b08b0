"""The built-in hold tone: two soft beeps and a long pause, at any rate."""

import numpy as np
import pytest

from media.hold_tone import hold_tone
from tests.tones import level


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_two_beeps_of_425_hz_then_silence_for_the_rest_of_four_seconds(rate: int) -> None:
    tone = np.frombuffer(hold_tone(rate), "<i2").astype(float)
    assert len(tone) == 4 * rate
    tenths = tone.reshape(40, -1)
    loud = [bool(np.abs(tenth).max() > 500) for tenth in tenths]
    assert loud == [True, True, False, False, True, True] + [False] * 34


def test_it_is_softer_than_speech_and_does_not_click() -> None:
    tone = np.frombuffer(hold_tone(), "<i2").astype(float)
    beep = tone[400:1_200]
    rms = 20 * np.log10(np.sqrt(np.mean(beep**2)) / 32_768)
    assert rms == pytest.approx(-26.0, abs=0.5)
    assert level(beep, 425) > 10 * level(beep, 1_000)
    assert np.abs(np.diff(tone[:20])).max() < 300

"""Voiced time: a tone counts, silence does not, and a frame of another length is not judged."""

import pytest

from media import g711
from media.audio import PCMU_8K, Encoding
from media.dtmf import tone
from media.voiced import VoicedTime


@pytest.mark.parametrize("encoding", [Encoding.PCMU, Encoding.PCMA])
def test_what_is_voiced_is_counted_and_what_is_silent_is_not(encoding: Encoding) -> None:
    voiced = VoicedTime()
    audio = g711.encode(tone("5", 0.4), encoding)
    for at in range(0, len(audio), 160):
        voiced.feed(audio[at : at + 160], encoding)
    assert voiced.seconds == pytest.approx(0.4, abs=0.041)
    before = voiced.seconds
    for _ in range(100):
        voiced.feed(bytes([0xFF if encoding is Encoding.PCMU else 0xD5]) * 160, encoding)
    assert voiced.seconds <= before + 0.15  # the detector's own hangover
    voiced.reset()
    assert voiced.seconds == 0.0


@pytest.mark.parametrize("length", [0, 1, 80, 159, 161, 4_000])
def test_a_frame_of_another_length_is_not_judged(length: int) -> None:
    voiced = VoicedTime()
    voiced.feed(PCMU_8K.silence(length), Encoding.PCMU)
    assert voiced.seconds == 0.0

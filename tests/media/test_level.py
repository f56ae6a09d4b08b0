import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.level import SILENCE, LevelMeter, dbfs


def pcm16(values: list[int]) -> bytes:
    return np.array(values, "<i2").tobytes()


def sine(amplitude: float, samples: int = 8_000) -> bytes:
    return np.rint(amplitude * np.sin(2 * np.pi * 1_000 * np.arange(samples) / 8_000)).astype("<i2").tobytes()


def test_a_full_scale_square_is_zero_and_a_full_scale_sine_three_below() -> None:
    assert dbfs(pcm16([-32_768, -32_768])) == pytest.approx(0.0)
    assert dbfs(sine(32_767)) == pytest.approx(-3.01, abs=0.01)
    assert dbfs(sine(3_276.7)) == pytest.approx(-23.01, abs=0.01)


@pytest.mark.parametrize("pcm", [b"", bytes(320)])
def test_silence_reads_as_a_number(pcm: bytes) -> None:
    assert dbfs(pcm) == SILENCE
    assert math.isfinite(SILENCE)


samples = st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=200)


@given(samples)
def test_the_level_is_the_root_of_the_mean_of_squares(values: list[int]) -> None:
    rms = math.sqrt(sum(value * value for value in values) / len(values)) / 32_768
    assert dbfs(pcm16(values)) == pytest.approx(20 * math.log10(rms) if rms > 1e-5 else SILENCE)


@given(st.lists(samples, max_size=6))
def test_a_meter_reads_the_same_however_its_audio_was_cut(chunks: list[list[int]]) -> None:
    meter = LevelMeter()
    for chunk in chunks:
        meter.feed(pcm16(chunk))
    everything = [value for chunk in chunks for value in chunk]
    level = meter.take()
    assert level.samples == len(everything)
    assert level.rms_dbfs == pytest.approx(dbfs(pcm16(everything)))
    assert level.clipped == sum(value in (32_767, -32_768) for value in everything)
    peak = max(map(abs, everything), default=0)
    assert level.peak_dbfs == pytest.approx(20 * math.log10(peak / 32_768) if peak else SILENCE)


def test_taking_a_level_begins_a_new_stretch() -> None:
    meter = LevelMeter()
    meter.feed(sine(32_767))
    meter.take()
    meter.feed(b"")
    level = meter.take()
    assert (level.rms_dbfs, level.peak_dbfs, level.samples, level.clipped) == (SILENCE, SILENCE, 0, 0)

"""Every figure the module states about itself is measured here, by tones and their spectra."""

from itertools import pairwise, permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.resample import _HALF_FILTERS, RATES, Resampler, resample_whole

PAIRS = list(permutations(RATES, 2))
Signal = npt.NDArray[np.float64]


def tone(frequency: float, rate: int, seconds: float = 1.0, amplitude: float = 16_000.0) -> Signal:
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def pcm16(signal: Signal) -> bytes:
    return np.rint(signal).astype("<i2").tobytes()


def convert(signal: Signal, source: int, target: int) -> Signal:
    resampler = Resampler(source, target)
    return np.frombuffer(resampler.feed(pcm16(signal)) + resampler.flush(), "<i2").astype(float)


def spectrum(signal: Signal, rate: int) -> tuple[Signal, Signal]:
    """Frequencies and their amplitude in dB of full scale, the edges of the signal left out."""
    middle = signal[len(signal) // 10 : -len(signal) // 10]
    window = np.blackman(len(middle))
    amplitude = np.abs(np.fft.rfft(middle * window)) * 2 / window.sum() / 32_768
    levels: Signal = 20 * np.log10(np.maximum(amplitude, 1e-9))
    return np.fft.rfftfreq(len(middle), 1 / rate).astype(np.float64), levels


def level_at(signal: Signal, rate: int, frequency: float) -> float:
    frequencies, levels = spectrum(signal, rate)
    near = np.abs(frequencies - frequency) < 12
    return float(levels[near].max())


def loudest_beside(signal: Signal, rate: int, frequency: float) -> float:
    frequencies, levels = spectrum(signal, rate)
    return float(levels[np.abs(frequencies - frequency) > 25].max())


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_voice_band_passes_level(source: int, target: int) -> None:
    scale = min(source, target) / 8_000
    for frequency in (100, 300, 1_000, 1_800, 2_500, 3_000, 3_200, 3_400):
        before = tone(frequency * scale, source)
        after = convert(before, source, target)
        change = level_at(after, target, frequency * scale) - level_at(before, source, frequency * scale)
        assert abs(change) < 0.13, frequency


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] < pair[1]])
def test_no_image_of_the_voice_is_heard_above_it(source: int, target: int) -> None:
    for frequency in (300, 1_000, 2_000, 3_000, 3_400, 3_800, 3_990):
        played = tone(frequency * source / 8_000, source, amplitude=30_000)
        loudest = loudest_beside(convert(played, source, target), target, frequency * source / 8_000)
        assert loudest - level_at(played, source, frequency * source / 8_000) < -62, frequency


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_nothing_above_the_new_band_folds_into_it(source: int, target: int) -> None:
    for frequency in np.linspace(target / 2 + 10, source / 2 - 50, 23):
        played = tone(frequency, source, amplitude=30_000)
        _, folded = spectrum(convert(played, source, target), target)
        assert folded.max() - level_at(played, source, frequency) < -62, frequency


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_sweep_leaves_only_itself(source: int, target: int) -> None:
    slower = min(source, target)
    seconds = 2.0
    times = np.arange(int(source * seconds)) / source
    top = 0.425 * slower  # the passband's edge

    def sweep(at: Signal) -> Signal:
        return 16_000 * np.sin(2 * np.pi * (100 * at + (top - 100) * at**2 / (2 * seconds)))

    after = convert(sweep(times), source, target)
    ideal = sweep(np.arange(len(after)) / target)
    error = (after - ideal)[400:-400]
    # +-0.12 dB of ripple is an error of -37 dB at its worst; a shift by a hundredth of a sample would show.
    assert 10 * np.log10(np.mean(error**2) / np.mean(ideal**2)) < -38


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] < pair[1]])
def test_there_and_back_is_the_same_call(source: int, target: int) -> None:
    rng = np.random.default_rng(1)
    frequencies = rng.uniform(100, 0.42 * source, 40)
    voice = sum((tone(f, source, amplitude=600) for f in frequencies), np.zeros(source))
    back = convert(convert(voice, source, target), target, source)
    error = (back - voice)[200:-200]
    assert len(back) == len(voice)
    assert 10 * np.log10(np.mean(voice**2) / np.mean(error**2)) > 33


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_delay_stated_is_the_most_that_is_withheld(source: int, target: int) -> None:
    resampler = Resampler(source, target)
    worst, given_back = 0.0, 0
    for fed in range(1, 501):
        given_back += len(resampler.feed(b"\x00\x00")) // 2
        worst = max(worst, fed / source - given_back / target)
    assert worst <= resampler.delay + 1e-9
    assert worst == pytest.approx(resampler.delay, abs=1.01 / source)
    assert resampler.delay <= 0.00226


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_an_impulse_comes_out_when_it_went_in(source: int, target: int) -> None:
    signal = np.zeros(source // 10)
    signal[source // 20] = 20_000
    after = convert(signal, source, target)
    assert np.argmax(np.abs(after)) == target // 20


@settings(deadline=None)
@given(pair=st.sampled_from(PAIRS), data=st.data())
def test_how_audio_is_cut_changes_no_bit_of_it(pair: tuple[int, int], data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 1_500) | st.integers(20_000, 25_000))
    audio = np.random.default_rng(length).integers(-32_768, 32_768, length).astype("<i2").tobytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(audio)), max_size=8)))
    whole, cut = Resampler(*pair), Resampler(*pair)
    expected = whole.feed(audio) + whole.flush()
    edges = [0, *cuts, len(audio)]
    pieces = [cut.feed(audio[a:b]) for a, b in pairwise(edges)]
    assert b"".join(pieces) + cut.flush() == expected


@settings(deadline=None)
@given(pair=st.sampled_from(PAIRS), samples=st.integers(0, 3_000))
def test_not_one_sample_is_gained_or_lost(pair: tuple[int, int], samples: int) -> None:
    resampler = Resampler(*pair)
    out = resampler.feed(bytes(2 * samples)) + resampler.flush()
    assert len(out) == 2 * round(samples * pair[1] / pair[0])


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_tail_is_heard(source: int, target: int) -> None:
    after = convert(tone(440, source, 0.1), source, target)
    assert np.abs(after[-target // 400 :]).max() > 8_000


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_after_a_reset_or_a_flush_nothing_of_the_past_is_heard(source: int, target: int) -> None:
    resampler = Resampler(source, target)
    resampler.feed(pcm16(tone(440, source, 0.1)) + b"\x7f")
    resampler.reset()
    assert not any(resampler.feed(bytes(source // 5)))
    resampler.feed(pcm16(tone(440, source, 0.1)))
    resampler.flush()
    assert not any(resampler.feed(bytes(source // 5)) + resampler.flush())


def test_full_scale_saturates_and_never_wraps() -> None:
    square = np.where(np.arange(8_000) // 10 % 2, 32_767.0, -32_768.0)
    after = convert(square, 8_000, 24_000)
    assert after.max() == 32_767
    assert after.min() == -32_768
    assert np.abs(np.diff(after)).max() < 40_000  # a wrap would jump by 65,535


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_silence_stays_silence_and_a_constant_stays_constant(source: int, target: int) -> None:
    after = convert(np.full(source // 10, 10_000.0), source, target)
    middle = after[len(after) // 4 : -len(after) // 4]
    assert np.abs(middle / 10_000 - 1).max() < 0.015
    assert not convert(np.zeros(source // 10), source, target).any()


@pytest.mark.parametrize(("source", "target"), [(8_000, 8_000), (8_000, 44_100), (11_025, 8_000), (0, 8_000)])
def test_other_rates_are_refused(source: int, target: int) -> None:
    with pytest.raises(ValueError, match="cannot resample"):
        Resampler(source, target)


def lawson(stretch: int, span: int = 36, edge: float = 0.85, stopband_weight: float = 20.0) -> Signal:
    """The design behind the table: weighted least squares, each weight multiplied by the error it left (1961)."""
    centre = span * stretch // 2 - 1
    passband = np.linspace(0.0, edge / stretch, int(4 * span * edge))
    stopband = np.linspace(1.0 / stretch, 1.0, 4 * span * (stretch - 1))
    basis = np.cos(np.pi * np.outer(np.concatenate((passband, stopband)), np.arange(centre + 1)))
    wanted = np.concatenate((np.ones_like(passband), np.zeros_like(stopband)))
    scale = np.where(wanted > 0.0, 1.0, stopband_weight)
    weight = np.ones_like(wanted)
    half = np.zeros(centre + 1)
    for _ in range(40):
        weighted = basis * (weight * scale**2)[:, None]
        half = np.linalg.solve(weighted.T @ basis, weighted.T @ wanted)
        error = np.abs(basis @ half - wanted) * scale
        weight *= error / error.max() + 1e-3
        weight /= weight.mean()
    return np.concatenate((half[:1], half[1:] / 2))


@pytest.mark.parametrize("stretch", _HALF_FILTERS)
def test_the_table_of_taps_is_what_its_design_gives(stretch: int) -> None:
    table = np.array(_HALF_FILTERS[stretch])
    assert np.abs(table - lawson(stretch) * stretch * 2**20).max() <= 1


@pytest.mark.parametrize("stretch", _HALF_FILTERS)
def test_every_filter_keeps_its_promise_at_every_frequency(stretch: int) -> None:
    half = np.array(_HALF_FILTERS[stretch]) / 2**20 / stretch
    response = 20 * np.log10(np.abs(np.fft.rfft(np.concatenate((half[:0:-1], half)), 1 << 16)) + 1e-12)
    frequency = np.linspace(0, stretch, len(response))  # in units of the slower rate's Nyquist frequency
    assert np.abs(response[frequency <= 0.85]).max() < 0.13
    assert response[frequency >= 1.0].max() < -62.5


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_whole_file_keeps_its_length_and_its_tone(source: int, target: int) -> None:
    before = tone(1_000, source, 0.5)
    after = np.frombuffer(resample_whole(pcm16(before), source, target), "<i2").astype(float)
    assert len(after) == round(len(before) * target / source)
    assert level_at(after, target, 1_000) == pytest.approx(level_at(before, source, 1_000), abs=0.1)


def test_a_file_at_the_right_rate_or_empty_is_left_alone() -> None:
    assert resample_whole(b"\x01\x02\x03", 8_000, 8_000) == b"\x01\x02"
    assert resample_whole(b"", 8_000, 24_000) == b""

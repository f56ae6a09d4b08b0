"""The tones are made here again, out of tune, out of balance and in noise: signals not the detector's own."""

import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import g711
from media.audio import Encoding
from media.dtmf import DIGITS, DtmfDetector, tone, tones
from media.level import dbfs

PROMPTS = Path("/usr/share/asterisk/sounds")
# ITU-T Q.23, table 1.
KEYPAD = {
    key: (low, high)
    for low, row in zip((697, 770, 852, 941), ("123A", "456B", "789C", "*0#D"), strict=True)
    for high, key in zip((1_209, 1_336, 1_477, 1_633), row, strict=True)
}


def key(
    digit: str,
    duration: float,
    *,
    low: float = -15.0,
    high: float = -15.0,
    detuning: float | tuple[float, float] = 0.0,
    noise: float | None = None,
    lead: int = 901,
    rate: int = 8_000,
) -> bytes:
    """A key in silence or noise; `low` and `high` are the RMS of its tones, in dBFS, `noise` that of the noise."""
    rng = np.random.default_rng(ord(digit) + lead)
    time = np.arange(round(duration * rate)) / rate
    detunings = detuning if isinstance(detuning, tuple) else (detuning, detuning)
    parts = [
        32_768 * 2**0.5 * 10 ** (level / 20) * np.sin(2 * np.pi * f * (1 + off) * time + rng.uniform(0, 6))
        for f, level, off in zip(KEYPAD[digit], (low, high), detunings, strict=True)
    ]
    signal = np.concatenate((np.zeros(lead), parts[0] + parts[1], np.zeros(rate // 8)))
    if noise is not None:
        signal += rng.standard_normal(len(signal)) * 32_768 * 10 ** (noise / 20)
    return np.rint(signal).clip(-32_768, 32_767).astype("<i2").tobytes()


def heard(pcm: bytes, rate: int = 8_000, law: Encoding = Encoding.PCMU) -> str:
    """What is heard through the network's codec, frame by frame."""
    through = g711.decode(g711.encode(pcm, law), law)
    detector = DtmfDetector(rate)
    frame = rate // 25
    return "".join(
        digit.digit
        for at in range(0, len(through), frame)
        for digit in detector.feed(through[at : at + frame])
    )


@pytest.mark.parametrize("digit", DIGITS)
def test_every_key_is_heard_from_any_position_at_the_shortest_duration(digit: str) -> None:
    assert [heard(key(digit, 0.040, lead=lead)) for lead in range(900, 940, 3)] == [digit] * 14


@pytest.mark.parametrize("digit", DIGITS)
def test_a_tone_too_short_is_no_key(digit: str) -> None:
    assert [heard(key(digit, 0.023, lead=lead)) for lead in range(900, 940, 3)] == [""] * 14
    assert heard(key(digit, 0.015)) == ""


@pytest.mark.parametrize("level", [-9.5, -15, -20, -25, -31.2])
@pytest.mark.parametrize("law", [Encoding.PCMU, Encoding.PCMA])
def test_every_key_is_heard_loud_and_faint_through_both_laws(level: float, law: Encoding) -> None:
    assert "".join(heard(key(digit, 0.04, low=level, high=level), law=law) for digit in DIGITS) == DIGITS


def test_a_tone_too_faint_is_no_key() -> None:
    assert "".join(heard(key(digit, 0.1, low=-42, high=-42)) for digit in DIGITS) == ""


@pytest.mark.parametrize("twist", [4, 2, -4, -8])
@pytest.mark.parametrize("detuning", [-0.015, 0.0, 0.015])
def test_keys_out_of_balance_and_out_of_tune_are_heard_as_far_as_q24_asks(
    twist: float, detuning: float
) -> None:
    pressed = [key(digit, 0.04, low=-15, high=-15 + twist, detuning=detuning) for digit in DIGITS]
    assert "".join(map(heard, pressed)) == DIGITS


@pytest.mark.parametrize("twist", [8, -14])
def test_keys_far_out_of_balance_are_not(twist: float) -> None:
    assert "".join(heard(key(digit, 0.1, low=-20, high=-20 + twist)) for digit in DIGITS) == ""


@pytest.mark.parametrize("detuning", [-0.035, 0.035, 0.06, -0.06, (0.035, 0.0), (-0.035, 0.0), (0.0, 0.035)])
def test_keys_out_of_tune_by_what_q24_forbids_are_not(detuning: float | tuple[float, float]) -> None:
    assert "".join(heard(key(digit, 0.1, detuning=detuning)) for digit in DIGITS) == ""


@pytest.mark.parametrize("detuning", [-0.015, 0.0, 0.015])
def test_keys_are_heard_fifteen_decibels_above_the_noise(detuning: float) -> None:
    assert "".join(heard(key(digit, 0.04, detuning=detuning, noise=-27)) for digit in DIGITS) == DIGITS


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_a_number_dialled_fast_is_read_at_any_rate(rate: int) -> None:
    number = "0123456789*#ABCD11223"
    detector = DtmfDetector(rate)
    dialled = bytes(rate // 5) + tones(number, 0.05, 0.05, rate=rate)
    digits = detector.feed(dialled)
    assert "".join(digit.digit for digit in digits) == number
    for index, digit in enumerate(digits):
        assert digit.at_sample / rate == pytest.approx(0.1 + index * 0.1, abs=0.006)


def test_a_key_held_is_pressed_once() -> None:
    assert heard(key("5", 3.0)) == "5"


def test_a_break_in_a_tone_is_not_a_second_press_but_a_pause_is() -> None:
    for gap, expected in ((0.010, "7"), (0.040, "77")):
        pressed = tone("7", 0.1) + bytes(2 * round(8_000 * gap)) + tone("7", 0.1) + bytes(1_600)
        assert heard(pressed) == expected


def test_dial_tone_ringing_and_single_tones_are_no_keys() -> None:
    time = np.arange(16_000) / 8_000
    for pair in (
        (350, 440),
        (440, 480),
        (480, 620),
        (425, 0),
        (697, 0),
        (0, 1_336),
        (697, 770),
        (1_209, 1_336),
    ):
        signal = sum(6_000 * np.sin(2 * np.pi * f * time) for f in pair)
        assert heard(np.rint(np.asarray(signal)).astype("<i2").tobytes()) == "", pair


def test_noise_and_silence_are_no_keys() -> None:
    rng = np.random.default_rng(11)
    assert (
        heard(np.rint(rng.standard_normal(80_000) * 6_000).clip(-32_768, 32_767).astype("<i2").tobytes())
        == ""
    )
    assert heard(bytes(80_000)) == ""


def test_no_voice_presses_a_key() -> None:
    recordings = sorted(PROMPTS.rglob("*.wav"))
    if not recordings:
        pytest.skip("no recorded voice: the Debian package asterisk-core-sounds-en-wav is not installed")
    for path in recordings:
        with wave.open(str(path)) as file:
            spoken = file.readframes(file.getnframes())
        assert DtmfDetector().feed(spoken) == [], path.name


def test_a_key_pressed_while_the_agent_is_faintly_heard_is_still_a_key() -> None:
    path = next(PROMPTS.rglob("demo-congrats.wav"), None)
    if path is None:
        pytest.skip("no recorded voice: the Debian package asterisk-core-sounds-en-wav is not installed")
    with wave.open(str(path)) as file:
        voice = np.frombuffer(file.readframes(8 * 8_000), "<i2") * 0.05
    pressed = np.frombuffer(tones("1234567890", 0.1, 0.1), "<i2")
    mixed = voice[: len(pressed)] + pressed
    assert heard(np.rint(mixed).clip(-32_768, 32_767).astype("<i2").tobytes()) == "1234567890"


@settings(deadline=None, max_examples=60)
@given(
    digits=st.text(DIGITS, max_size=4),
    lead=st.integers(0, 400),
    cuts=st.lists(st.integers(0, 12_000), max_size=12),
)
def test_what_was_dialled_is_heard_however_it_is_cut(digits: str, lead: int, cuts: list[int]) -> None:
    audio = bytes(2 * lead) + tones(digits, 0.06, 0.06) + bytes(800)
    edges = sorted({0, len(audio), *(min(cut, len(audio)) for cut in cuts)})
    whole, cut_up = DtmfDetector(), DtmfDetector()
    pieces = [digit for a, b in pairwise(edges) for digit in cut_up.feed(audio[a:b])]
    assert pieces == whole.feed(audio)
    assert "".join(digit.digit for digit in pieces) == digits


@pytest.mark.parametrize("level", [-6.1, -10, -30])
def test_a_key_is_as_loud_and_as_long_as_told(level: float) -> None:
    pressed = tone("d", 1.0, level_dbfs=level)
    assert len(pressed) == 16_000
    assert dbfs(pressed) == pytest.approx(level, abs=0.05)
    assert np.abs(np.frombuffer(pressed, "<i2").astype(int)).max() <= 32_767


def test_the_tones_of_a_key_are_those_of_q23() -> None:
    for digit, pair in KEYPAD.items():
        spectrum = np.abs(np.fft.rfft(np.frombuffer(tone(digit, 1.0), "<i2")))
        assert tuple(sorted(np.argsort(spectrum)[-2:].tolist())) == pair


@pytest.mark.parametrize(("digit", "level"), [("X", -10.0), ("", -10.0), ("12", -10.0), ("1", 0.0)])
def test_what_is_no_key_or_would_clip_is_refused(digit: str, level: float) -> None:
    with pytest.raises(ValueError, match=r"not a key|clip"):
        tone(digit, 0.1, level_dbfs=level)

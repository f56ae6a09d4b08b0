"""The oracle is ITU-T G.191 (g711.c: ulaw_compress, ulaw_expand, alaw_compress, alaw_expand), written out here."""

import shutil
import subprocess
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import g711
from media.audio import Encoding

SAMPLES = range(-32_768, 32_768)
EVERY_SAMPLE = np.arange(-32_768, 32_768, dtype="<i2").tobytes()
EVERY_CODE = bytes(range(256))
LAWS = [Encoding.PCMU, Encoding.PCMA]


def ulaw_compress(x: int) -> int:
    absno = min((~x >> 2) + 33 if x < 0 else (x >> 2) + 33, 0x1FFF)
    segment, rest = 1, absno >> 6
    while rest:
        segment, rest = segment + 1, rest >> 1
    code = ((8 - segment) << 4) | (0xF - ((absno >> segment) & 0xF))
    return code | 0x80 if x >= 0 else code


def ulaw_expand(code: int) -> int:
    sign = -1 if code < 0x80 else 1
    mantissa = ~code
    exponent = (mantissa >> 4) & 7
    step = 4 << (exponent + 1)
    return sign * ((0x80 << exponent) + step * (mantissa & 0xF) + step // 2 - 4 * 33)


def alaw_compress(x: int) -> int:
    value = ~x >> 4 if x < 0 else x >> 4
    if value > 15:
        exponent = 1
        while value > 16 + 15:
            value, exponent = value >> 1, exponent + 1
        value = value - 16 + (exponent << 4)
    return (value | 0x80 if x >= 0 else value) ^ 0x55


def alaw_expand(code: int) -> int:
    value = (code ^ 0x55) & 0x7F
    exponent, mantissa = value >> 4, value & 0xF
    magnitude = ((mantissa + 16 if exponent else mantissa) << 4) + 8
    if exponent > 1:
        magnitude <<= exponent - 1
    return magnitude if code > 127 else -magnitude


def samples(pcm: bytes) -> list[int]:
    values: list[int] = np.frombuffer(pcm, "<i2").tolist()
    return values


@pytest.mark.parametrize(
    ("law", "compress"), [(Encoding.PCMU, ulaw_compress), (Encoding.PCMA, alaw_compress)]
)
def test_every_sample_is_coded_as_g191_codes_it(law: Encoding, compress: Callable[[int], int]) -> None:
    assert g711.encode(EVERY_SAMPLE, law) == bytes(map(compress, SAMPLES))


@pytest.mark.parametrize(("law", "expand"), [(Encoding.PCMU, ulaw_expand), (Encoding.PCMA, alaw_expand)])
def test_every_code_is_heard_as_g191_hears_it(law: Encoding, expand: Callable[[int], int]) -> None:
    assert samples(g711.decode(EVERY_CODE, law)) == list(map(expand, EVERY_CODE))


def sox(audio: bytes, *formats: str) -> bytes:
    if (program := shutil.which("sox")) is None:
        pytest.skip("sox is not installed: it is the second oracle of G.711")
    command = [
        program,
        "-D",
        "-t",
        "raw",
        "-r",
        "8000",
        "-c",
        "1",
        *formats[:-3],
        "-",
        "-t",
        "raw",
        *formats[-3:],
        "-",
    ]
    return subprocess.run(command, input=audio, capture_output=True, check=True).stdout


@pytest.mark.parametrize(("law", "name"), [(Encoding.PCMU, "mu-law"), (Encoding.PCMA, "a-law")])
def test_sox_hears_every_code_alike(law: Encoding, name: str) -> None:
    heard = sox(EVERY_CODE, "-e", name, "-b", "8", "-e", "signed", "-b16")
    assert heard == g711.decode(EVERY_CODE, law)


@pytest.mark.parametrize(("law", "name"), [(Encoding.PCMU, "mu-law"), (Encoding.PCMA, "a-law")])
def test_sox_codes_every_sample_alike_but_for_its_rounding(law: Encoding, name: str) -> None:
    # sox first rounds to 14 (13) bits, G.191 cuts: beside a decision value sox may be four samples off.
    theirs = np.frombuffer(
        g711.decode(sox(EVERY_SAMPLE, "-e", "signed", "-b", "16", "-e", name, "-b8"), law), "<i2"
    )
    ours = np.frombuffer(g711.decode(g711.encode(EVERY_SAMPLE, law), law), "<i2")
    assert (ours[:-8] <= theirs[4:-4]).all()
    assert (theirs[4:-4] <= ours[8:]).all()
    assert np.count_nonzero(ours != theirs) <= 1_020


@pytest.mark.parametrize("law", LAWS)
def test_a_second_round_trip_changes_nothing(law: Encoding) -> None:
    once = g711.decode(g711.encode(EVERY_SAMPLE, law), law)
    assert g711.decode(g711.encode(once, law), law) == once


@pytest.mark.parametrize("law", LAWS)
def test_the_faintest_hiss_stays_faint_on_both_sides_of_zero(law: Encoding) -> None:
    hiss = np.array([0, -1, 1, -2, 2, -1], "<i2").tobytes()
    assert max(map(abs, samples(g711.decode(g711.encode(hiss, law), law)))) <= 8
    assert len({*map(abs, samples(g711.decode(g711.encode(hiss, law), law)))}) == 1


@pytest.mark.parametrize("law", LAWS)
def test_a_coded_tone_keeps_its_distance_from_the_noise(law: Encoding) -> None:
    # G.712 section 9: at least 33 dB of signal to total distortion from 0 to -30 dBm0.
    for level in (0.9, 0.3, 0.1, 0.03):
        tone = 32_767 * level * np.sin(2 * np.pi * 1_020 * np.arange(8_000) / 8_000)
        pcm = np.rint(tone).astype("<i2")
        error = np.frombuffer(g711.decode(g711.encode(pcm.tobytes(), law), law), "<i2") - pcm.astype(float)
        assert 10 * np.log10(np.mean(tone**2) / np.mean(error**2)) > 33


@pytest.mark.parametrize("source", LAWS)
@pytest.mark.parametrize("target", LAWS)
def test_one_law_becomes_the_other_as_through_linear(source: Encoding, target: Encoding) -> None:
    through = g711.encode(g711.decode(EVERY_CODE, source), target)
    changed = g711.transcode(EVERY_CODE, source, target)
    assert g711.decode(changed, target) == g711.decode(through, target)


def test_the_same_encoding_is_not_touched() -> None:
    audio = b"\x00\x7f\xff"
    assert g711.transcode(audio, Encoding.PCMA, Encoding.PCMA) is audio
    assert g711.decode(audio, Encoding.PCM16) is audio
    assert g711.encode(audio, Encoding.PCM16) is audio


@given(audio=st.binary(max_size=400), law=st.sampled_from(LAWS))
def test_linear_audio_is_transcoded_sample_by_sample(audio: bytes, law: Encoding) -> None:
    pcm = g711.transcode(audio, law, Encoding.PCM16)
    assert len(pcm) == 2 * len(audio)
    assert g711.decode(g711.transcode(pcm, Encoding.PCM16, law), law) == pcm

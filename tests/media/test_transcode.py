from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import g711
from media.audio import PCM16_8K, PCM16_16K, PCM16_24K, PCM16_48K, PCMA_8K, PCMU_8K, AudioFormat
from media.transcode import Transcoder

FORMATS = [PCMU_8K, PCMA_8K, PCM16_8K, PCM16_16K, PCM16_24K, PCM16_48K]
PAIRS = list(product(FORMATS, FORMATS))


def speech_like(audio_format: AudioFormat, seconds: float = 0.5) -> bytes:
    time = np.arange(int(audio_format.rate * seconds)) / audio_format.rate
    voice = sum(3_000 * np.sin(2 * np.pi * f * time) for f in (210, 730, 1_090, 2_440))
    return g711.encode(np.rint(np.asarray(voice)).astype("<i2").tobytes(), audio_format.encoding)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_a_call_keeps_its_length_in_any_format(source: AudioFormat, target: AudioFormat) -> None:
    transcoder = Transcoder(source, target)
    audio = speech_like(source)
    out = transcoder.feed(audio) + transcoder.flush()
    assert target.samples(out) == source.samples(audio) * target.rate // source.rate


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_a_call_sounds_the_same_there_and_back(source: AudioFormat, target: AudioFormat) -> None:
    there, back = Transcoder(source, target), Transcoder(target, source)
    audio = speech_like(source)
    returned = back.feed(there.feed(audio) + there.flush()) + back.flush()
    before = np.frombuffer(g711.decode(audio, source.encoding), "<i2").astype(float)
    after = np.frombuffer(g711.decode(returned, source.encoding), "<i2").astype(float)
    error = (after - before)[200:-200]
    assert 10 * np.log10(np.mean(before**2) / max(np.mean(error**2), 1e-9)) > 30


@pytest.mark.parametrize("audio_format", FORMATS, ids=str)
def test_the_same_format_passes_untouched(audio_format: AudioFormat) -> None:
    transcoder = Transcoder(audio_format, audio_format)
    audio = b"\x01\x02\x03"
    assert transcoder.passthrough
    assert transcoder.feed(audio) is audio
    assert transcoder.flush() == b""
    assert transcoder.delay == 0.0


def test_only_a_change_of_rate_costs_delay() -> None:
    assert Transcoder(PCMU_8K, PCMA_8K).delay == 0.0
    assert Transcoder(PCM16_8K, PCMU_8K).delay == 0.0
    assert 0.0 < Transcoder(PCMU_8K, PCM16_24K).delay < 0.005
    assert not Transcoder(PCMU_8K, PCM16_24K).passthrough


@settings(deadline=None)
@given(pair=st.sampled_from(PAIRS), cuts=st.lists(st.integers(0, 4_000), max_size=8))
def test_how_audio_is_cut_changes_nothing(pair: tuple[AudioFormat, AudioFormat], cuts: list[int]) -> None:
    audio = speech_like(pair[0], 0.04)
    whole, cut = Transcoder(*pair), Transcoder(*pair)
    edges = sorted({0, len(audio), *(min(at, len(audio)) for at in cuts)})
    pieces = [cut.feed(audio[a:b]) for a, b in pairwise(edges)]
    assert b"".join(pieces) + cut.flush() == whole.feed(audio) + whole.flush()


@pytest.mark.parametrize("target", [PCMU_8K, PCM16_24K], ids=str)
def test_after_a_reset_nothing_of_the_past_is_heard(target: AudioFormat) -> None:
    transcoder = Transcoder(PCM16_8K, target)
    transcoder.feed(speech_like(PCM16_8K, 0.1) + b"\x7f")
    transcoder.reset()
    silence = transcoder.feed(PCM16_8K.silence(800)) + transcoder.flush()
    assert silence == target.silence(target.rate // 10)


def test_a_half_sample_left_at_the_end_does_not_meet_the_next_run() -> None:
    transcoder = Transcoder(PCM16_8K, PCMU_8K)
    assert transcoder.feed(b"\x00\x00\x7f") == b"\xff"
    transcoder.flush()
    assert transcoder.feed(b"\x00\x00") == b"\xff"


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] != pair[1]], ids=str)
def test_after_a_lead_in_every_frame_gives_a_frame(source: AudioFormat, target: AudioFormat) -> None:
    transcoder = Transcoder(source, target)
    for _ in range(2):
        transcoder.lead_in()
        audio = speech_like(source, 0.1)
        frames = [audio[at : at + source.frame_bytes] for at in range(0, len(audio), source.frame_bytes)]
        given = [transcoder.feed(frame) for frame in frames]
        assert {len(frame) for frame in given} == {target.frame_bytes}
        tail = transcoder.flush()
        assert 0 <= target.samples(tail) / target.rate <= transcoder.delay
    other = Transcoder(source, target)
    sound = other.feed(audio) + other.flush()
    assert (b"".join(given) + tail).endswith(sound)

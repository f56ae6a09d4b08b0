import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.resample import resample_whole
from media.vad import RATES, SpeechOff, SpeechOn, VoiceActivity

PROMPT = next(Path("/usr/share/asterisk/sounds").rglob("demo-congrats.wav"), None)
SECOND = 8_000


def voice(seconds: float, rate: int = 8_000) -> bytes:
    """A buzz with the formants of a vowel, loud and soft in turn like syllables."""
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 3 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    gains = [
        np.exp(-((120 * k - 600) ** 2) / 3e5) + np.exp(-((120 * k - 1_400) ** 2) / 3e5) for k in range(1, 25)
    ]
    buzz = sum(gain * np.sin(k * phase) for k, gain in enumerate(gains, 1))
    loud = np.asarray(buzz, np.float64) * 2_500
    return np.rint(loud).clip(-32_768, 32_767).astype("<i2").tobytes()


def silence(seconds: float, rate: int = 8_000) -> bytes:
    return bytes(2 * int(seconds * rate))


@pytest.mark.parametrize("rate", RATES)
def test_speech_is_found_where_it_is(rate: int) -> None:
    vad = VoiceActivity(rate)
    events = vad.feed(silence(1, rate) + voice(2, rate) + silence(2, rate))
    assert [type(event) for event in events] == [SpeechOn, SpeechOff]
    assert events[0].at_sample / rate == pytest.approx(1.0, abs=0.1)
    assert events[1].at_sample / rate == pytest.approx(3.0, abs=0.3)  # webrtc's own hangover included


def test_speech_is_reported_after_its_onset_and_its_end_after_the_hangover() -> None:
    vad = VoiceActivity(onset=0.2, hangover=0.6)
    assert vad.feed(silence(1) + voice(0.18)) == []
    (began,) = vad.feed(voice(0.5))
    assert isinstance(began, SpeechOn)
    assert vad.speaking
    assert vad.feed(silence(0.58)) == []
    (ended,) = vad.feed(silence(1))
    assert isinstance(ended, SpeechOff)
    assert not vad.speaking


def test_a_short_pause_does_not_end_speech() -> None:
    events = VoiceActivity().feed(silence(1) + voice(1) + silence(0.3) + voice(1) + silence(1.5))
    assert [type(event) for event in events] == [SpeechOn, SpeechOff]


def test_a_click_is_not_speech() -> None:
    click = np.zeros(160, "<i2")
    click[40:60] = 20_000
    assert VoiceActivity(onset=0.2).feed(silence(1) + click.tobytes() + silence(1)) == []


def test_silence_and_a_faint_hiss_are_not_speech() -> None:
    hiss = np.random.default_rng(3).integers(-20, 20, 5 * SECOND).astype("<i2").tobytes()
    assert VoiceActivity().feed(silence(5)) == []
    assert len(VoiceActivity(aggressiveness=3).feed(hiss)) == 0


def test_speech_that_never_ended_ends_with_the_audio() -> None:
    vad = VoiceActivity()
    vad.feed(silence(1) + voice(1))
    (ended,) = vad.finish()
    assert ended == SpeechOff(2 * SECOND)
    assert vad.finish() == []


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2 * 4 * SECOND), max_size=10))
def test_how_audio_is_cut_changes_no_event(cuts: list[int]) -> None:
    audio = silence(0.5) + voice(1) + silence(1) + voice(0.5) + silence(1)
    vad = VoiceActivity()
    edges = sorted({0, len(audio), *(min(cut, len(audio)) for cut in cuts)})
    events = [event for a, b in pairwise(edges) for event in vad.feed(audio[a:b])]
    assert events == VoiceActivity().feed(audio)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=12))
def test_on_and_off_alternate_and_move_forward(parts: list[tuple[bool, int]]) -> None:
    audio = b"".join(voice(ticks / 25) if loud else silence(ticks / 25) for loud, ticks in parts)
    vad = VoiceActivity()
    events = vad.feed(audio) + vad.finish()
    assert [isinstance(event, SpeechOn) for event in events] == [
        index % 2 == 0 for index in range(len(events))
    ]
    positions = [event.at_sample for event in events]
    assert positions == sorted(positions)
    assert all(0 <= position <= len(audio) // 2 for position in positions)


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_a_recorded_voice_is_speech_for_most_of_its_time(rate: int) -> None:
    if PROMPT is None:
        pytest.skip("no recorded voice: the Debian package asterisk-core-sounds-en-wav is not installed")
    with wave.open(str(PROMPT)) as file:
        recorded = resample_whole(file.readframes(file.getnframes()), 8_000, rate)
    vad = VoiceActivity(rate)
    events = vad.feed(silence(1, rate) + recorded + silence(1, rate)) + vad.finish()
    spoken = sum(off.at_sample - on.at_sample for on, off in zip(events[::2], events[1::2], strict=True))
    assert spoken > 0.7 * len(recorded) / 2
    assert events[0].at_sample / rate == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize(("rate", "aggressiveness"), [(24_000, 2), (44_100, 2), (8_000, 4), (8_000, -1)])
def test_what_webrtc_cannot_do_is_refused(rate: int, aggressiveness: int) -> None:
    with pytest.raises(ValueError, match=r"voice activity|aggressiveness"):
        VoiceActivity(rate, aggressiveness)

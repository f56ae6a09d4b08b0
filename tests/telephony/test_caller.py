"""A caller follows the script by what is heard, one frame every 20 ms."""

import math
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCM16_8K, PCMA_8K, PCMU_8K, PTIME, AudioFormat, Encoding
from media.g711 import encode
from telephony.caller import (
    AwaitAgent,
    BargeIn,
    Caller,
    CallerAction,
    Echo,
    EchoTags,
    Edge,
    HangUp,
    HungUp,
    Press,
    Pressed,
    Repeat,
    Speak,
    Step,
    Wait,
    is_loud,
)
from telephony.line import Line


def tone(seconds: float, amplitude: int = 8_000) -> bytes:
    return array(
        "h",
        [int(amplitude * math.sin(2 * math.pi * 440 * n / 8_000)) for n in range(round(8_000 * seconds))],
    ).tobytes()


def ulaw(pcm: bytes) -> bytes:
    return encode(pcm, Encoding.PCMU)


SILENCE = PCMU_8K.silence(160)
HELLO = tone(0.1)
FRAMES = [ulaw(HELLO[n : n + 320]) for n in range(0, len(HELLO), 320)]


def follow(
    script: Sequence[Step],
    seconds: float,
    agent: Sequence[tuple[float, bytes]] = (),
    audio_format: AudioFormat = PCMU_8K,
) -> tuple[Caller, list[tuple[float, CallerAction]]]:
    """Play a script against a line on which the agent says some PCM at some times."""
    line, caller, said = Line(PCMU_8K), Caller(script, audio_format), []
    pending = list(agent)
    caller.answer(100.0, line.hear, PCMU_8K)
    while (due := caller.next_deadline()) is not None and due <= 100.0 + seconds + 1e-9:
        while pending and 100.0 + pending[0][0] <= due:
            at, pcm = pending.pop(0)
            line.queue(ulaw(pcm), 100.0 + at)
        said += [(due - 100.0, action) for action in caller.poll(due)]
    return caller, said


def spoken(said: list[tuple[float, CallerAction]]) -> list[float]:
    """When frames that are not silence left."""
    return [round(at, 6) for at, action in said if isinstance(action, bytes) and action != SILENCE]


def test_a_frame_leaves_every_20_ms_from_the_origin() -> None:
    _, said = follow([Wait(0.04), Speak(HELLO)], 0.3)
    assert [action for _, action in said] == [SILENCE] * 2 + FRAMES + [SILENCE] * 8
    assert [at for at, _ in said] == pytest.approx([(n + 1) * PTIME for n in range(15)])


def test_a_late_poll_catches_up_with_every_frame_once() -> None:
    caller = Caller([Speak(HELLO)])
    caller.answer(0.0, Line(PCMU_8K).hear)
    assert caller.poll(0.0999) == FRAMES[:4]
    assert caller.poll(0.0999) == []
    assert caller.next_deadline() == pytest.approx(0.1)


def test_nothing_is_said_before_the_call_is_answered() -> None:
    caller = Caller([Speak(HELLO)])
    assert caller.next_deadline() is None
    assert caller.poll(5.0) == []


def test_the_caller_speaks_the_law_of_the_leg() -> None:
    _, said = follow([Speak(HELLO)], 0.1, audio_format=PCMA_8K)
    assert said[0][1] == encode(HELLO[:320], Encoding.PCMA)
    _, said = follow([Speak(HELLO)], 0.1, audio_format=PCM16_8K)
    assert said[0][1] == HELLO[:320]


def test_the_end_of_an_utterance_is_filled_with_silence() -> None:
    _, said = follow([Speak(HELLO[:100])], 0.02)
    assert said[0][1] == ulaw(HELLO[:100].ljust(320, b"\0"))


def test_background_noise_fills_the_pauses() -> None:
    caller = Caller([Wait(0.06)], background=HELLO[:640])
    caller.answer(0.0, Line(PCMU_8K).hear)
    assert caller.poll(0.061) == [FRAMES[0], FRAMES[1], FRAMES[0]]


def test_awaiting_the_start_goes_on_when_the_agent_is_heard() -> None:
    caller, said = follow([AwaitAgent(Edge.START), Speak(HELLO)], 3.0, [(1.0, tone(0.5))])
    assert spoken(said)[0] == pytest.approx(1.02)
    assert caller.ear.first_at == pytest.approx(101.0)


def test_awaiting_the_end_bridges_gaps_between_words() -> None:
    words = [(1.0, tone(0.5)), (1.7, tone(0.5))]
    _, said = follow([AwaitAgent(Edge.END, quiet=0.6), Speak(HELLO)], 4.0, words)
    assert spoken(said)[0] == pytest.approx(2.2 + 0.6, abs=0.021)


def test_silence_from_the_agent_is_not_heard_as_speech() -> None:
    caller, _ = follow([AwaitAgent(Edge.START, timeout=2.0)], 3.0, [(0.0, tone(2.0, amplitude=100))])
    assert caller.timeouts == 1
    assert caller.ear.first_at is None


def test_a_reply_must_begin_after_the_caller_spoke() -> None:
    script: list[Step] = [AwaitAgent(Edge.END), Speak(HELLO), AwaitAgent(Edge.END), HangUp()]
    _, said = follow(script, 9.0, [(0.0, tone(1.0)), (3.0, tone(1.0))])
    assert said[-1][0] == pytest.approx(4.6, abs=0.041)
    assert isinstance(said[-1][1], HungUp)


def test_waiting_in_vain_is_given_up_and_counted() -> None:
    caller, said = follow([AwaitAgent(Edge.START, timeout=0.5), Speak(HELLO)], 1.0)
    assert caller.timeouts == 1
    assert spoken(said)[0] == pytest.approx(0.52)


def test_barging_in_waits_until_so_much_was_heard() -> None:
    caller, said = follow([BargeIn(0.4, HELLO)], 3.0, [(1.0, tone(1.5))])
    assert spoken(said)[0] == pytest.approx(1.4)
    assert caller.barge_ins == pytest.approx([101.38])  # the first frame covers the 20 ms before it leaves


def test_digits_are_pressed_at_their_times() -> None:
    caller, said = follow([Wait(0.1), Press("1#", on=0.1, gap=0.1)], 1.0)
    pressed = [action for _, action in said if isinstance(action, Pressed)]
    assert [key.at for key in pressed] == pytest.approx([100.1, 100.3])
    assert "".join(key.digit for key in pressed) == "1#"
    assert caller.digits == "1#"
    assert spoken(said) == []


def test_tones_are_heard_in_band_where_asked() -> None:
    _, said = follow([Press("5", on=0.1, gap=0.1, in_band=True)], 0.3)
    assert spoken(said) == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])


def test_hanging_up_ends_everything() -> None:
    caller, said = follow([Speak(HELLO), HangUp(), Speak(HELLO)], 1.0)
    assert [action for _, action in said][:-1] == FRAMES
    assert isinstance(said[-1][1], HungUp)
    assert said[-1][1].at == pytest.approx(100.12)
    assert caller.next_deadline() is None
    assert caller.poll(200.0) == []


def test_repeating_stops_at_the_number_or_at_the_hang_up() -> None:
    _, said = follow([Repeat([Speak(HELLO)], times=2)], 1.0)
    assert len(spoken(said)) == 10
    _, said = follow([Repeat([Speak(HELLO), HangUp()])], 1.0)
    assert len(spoken(said)) == 5


def test_repeating_what_takes_no_time_does_not_spin() -> None:
    caller, said = follow([Repeat([Wait(0.0)])], 0.2)
    assert len(said) == caller.frames == 10


def test_tags_are_found_again_after_any_reframing() -> None:
    _, said = follow([Echo(0.2)], 0.2)
    stream = b"".join(action for _, action in said if isinstance(action, bytes))
    tags = EchoTags(PCMU_8K)
    for _ in range(10):
        tags.frame()
    found = [number for at in range(0, len(stream), 7) for number in tags.find(stream[at : at + 7])]
    assert found == list(range(10))
    assert tags.number(stream[160:320]) == 1
    assert tags.number(SILENCE) is None


@given(st.lists(st.integers(1, 400), max_size=20), st.binary(max_size=40))
def test_tags_survive_any_cut_behind_any_noise(cuts: list[int], noise: bytes) -> None:
    tags = EchoTags(PCMU_8K)
    stream = noise + b"".join(tags.frame() for _ in range(8)) + SILENCE
    found = []
    for cut in [*cuts, len(stream)]:
        found += tags.find(stream[:cut])
        stream = stream[cut:]
    assert found == list(range(8))


@pytest.mark.parametrize("encoding", list(Encoding))
def test_speech_is_loud_and_silence_is_not(encoding: Encoding) -> None:
    assert is_loud(encode(tone(0.02), encoding), encoding)
    assert not is_loud(encode(tone(0.02, amplitude=200), encoding), encoding)
    assert not is_loud(AudioFormat(encoding, 8_000).silence(160), encoding)


steps: st.SearchStrategy[Step] = st.recursive(
    st.one_of(
        st.builds(Speak, st.integers(0, 900).map(lambda n: HELLO[: 2 * n])),
        st.builds(Wait, st.floats(0, 0.3)),
        st.builds(AwaitAgent, st.sampled_from(Edge), st.floats(0, 0.5)),
        st.builds(BargeIn, st.floats(0, 0.2), st.just(HELLO), st.floats(0, 0.5)),
        st.builds(Press, st.text("0123456789*#", max_size=3)),
        st.just(HangUp()),
    ),
    lambda inner: st.builds(Repeat, st.lists(inner, max_size=3), st.none() | st.integers(0, 3)),
    max_leaves=8,
)


@given(st.lists(steps, max_size=6), st.lists(st.floats(0, 0.3), max_size=30))
def test_any_script_says_one_frame_per_20_ms_and_hangs_up_at_most_once(
    script: list[Step], waits: list[float]
) -> None:
    caller, line, now = Caller(script), Line(PCMU_8K), 5.0
    caller.answer(now, line.hear)
    frames = hang_ups = 0
    for wait in waits:
        now += wait
        line.queue(ulaw(HELLO), now)
        for action in caller.poll(now):
            assert not hang_ups
            frames += isinstance(action, bytes)
            hang_ups += isinstance(action, HungUp)
        deadline = caller.next_deadline()
        assert deadline is None or deadline > now
    assert frames == caller.frames
    if not hang_ups:
        assert frames == pytest.approx((now - 5.0) / PTIME, abs=1)

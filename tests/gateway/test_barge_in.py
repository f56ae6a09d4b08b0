"""Barge-in, whole: what the model is told was heard is what the caller heard.

Every scenario runs at one-way delays of 0, 40 and 150 ms between gateway and carrier, and with jitter. The oracle is
the caller's ear: the last moment heard before the silence is looked up in the model's own audio.
"""

import wave
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from control.policy import BargeIn, CallPolicy
from gateway.agent.script import parse_script
from media import g711
from media.audio import PCM16_24K, Encoding
from media.dtmf import tone
from media.realtime.configuration import TurnDetection
from telephony.caller import AwaitAgent, Edge, HangUp, Speak, Step, Wait
from telephony.caller import BargeIn as SpeakInto
from telephony.impairments import Drop, Impairments
from telephony.line import Cut
from telephony.outcome import CallOutcome
from tests.conftest import RunAsync
from tests.whole_call import House

RATE = 8000
SPEECH = tone("5", 1.2)
# One frame of the carrier's clock: what an account may be off by, network jitter aside.
FRAME = 0.020
# Enough to be found in one place of a sweep only.
SNIPPET = RATE // 50
# With jitter nothing happens on a whole sample: the last ones before a clear are left out.
EDGE = 4
# Continuous sweeps: no pause in which one moment looks like another. Name -> (seconds, from Hz, to Hz).
SWEEPS = {
    "greeting": (1.5, 2000, 2400),
    "story": (15.0, 300, 1500),
    "answer": (4.0, 1600, 2600),
    "goodbye": (2.0, 2700, 3100),
}


@lru_cache
def sweep(name: str) -> bytes:
    """Return one of the agent's recordings: PCM16 at 8 kHz."""
    seconds, low, high = SWEEPS[name]
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (low * time + (high - low) * time**2 / (2 * seconds))
    return (10_000 * np.sin(phase)).astype("<i2").tobytes()


@lru_cache
def as_heard(name: str) -> bytes:
    """Return a recording as it sounds at the far end of a PCMU call."""
    return g711.decode(g711.encode(sweep(name), Encoding.PCMU), Encoding.PCMU)


@pytest.fixture(scope="module", name="sounds")
def _sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for name in SWEEPS:
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(sweep(name))
    return folder


def script(*items: str, more: str = "", answer_delay: int = 300) -> str:
    spoken = ", ".join(f"{{say: {item}, audio: {{file: {item}.wav}}}}" for item in items)
    answer = f"{{say: answer, audio: {{file: answer.wav}}, delay_ms: {answer_delay}}}"
    return f"turns: [{{items: [{spoken}]{more}}}, {answer}]"


BURST = script("story", more=", pace: 10")
REALTIME = script("story", more=", pace: realtime, delta_ms: 60")
THREE_ITEMS = script("greeting", "story", "goodbye")
LATE_DELTAS = script("story", more=", pace: 4, late_deltas: {count: 6, spacing_ms: 40, after_done: false}")


def heard_ms(outcome: CallOutcome, clear: Cut, name: str) -> float:
    """Return how far into a recording the caller was when the carrier obeyed a clear: the oracle."""
    assert outcome.started_at is not None
    end = round((clear.at - outcome.started_at) * RATE) - EDGE
    snippet = outcome.heard[2 * (end - SNIPPET) : 2 * end]
    audio = as_heard(name)
    at = audio.find(snippet)
    assert at >= 0, "what the caller heard last is not in the recording"
    assert audio.find(snippet, at + 2) < 0, "the snippet is not unique"
    return (at / 2 + SNIPPET + EDGE) * 1000 / RATE


def delays(one_way: float, jitter: float = 0.0) -> Impairments:
    return Impairments(
        inbound_delay=one_way,
        outbound_delay=one_way,
        inbound_jitter=jitter,
        outbound_jitter=jitter,
        seed=3,
    )


NETWORKS = [
    pytest.param(delays(0.0), id="0ms"),
    pytest.param(delays(0.040), id="40ms"),
    pytest.param(delays(0.150), id="150ms"),
    pytest.param(delays(0.040, jitter=0.030), id="40ms+jitter"),
]
every_network = pytest.mark.parametrize("network", NETWORKS)


def tolerance(network: Impairments) -> float:
    """Milliseconds: a frame, and what the network's two ways may differ by."""
    return (FRAME + network.inbound_jitter + network.outbound_jitter) * 1000


class Scene:
    """One call that was barged in on, and what it left behind."""

    def __init__(
        self,
        virtual: RunAsync,
        folder: Path,
        sounds: Path,
        agent: str,
        steps: Sequence[Step],
        network: Impairments,
        **options: Any,  # handed on to House and SimulatedCall
    ) -> None:
        self.network = network
        carrier = options.pop("carrier", "twilio")

        async def run() -> None:
            self.house = House(folder, parse_script(agent, folder=sounds), **options)
            try:
                self.outcome = await self.house.call(steps, impairments=network, carrier=carrier)
            finally:
                self.house.close()

        virtual(run())

    @property
    def truncated(self) -> list[int]:
        return [event["audio_end_ms"] for event in self.house.to_agent("conversation.item.truncate")]

    @property
    def deleted(self) -> list[str]:
        return [event["item_id"] for event in self.house.to_agent("conversation.item.delete")]

    def assert_nothing_refused(self) -> None:
        assert self.house.events("agent.error") == []
        assert self.outcome.complaints == {}

    def assert_told_what_was_heard(self, name: str, cut: int = 0) -> None:
        heard = heard_ms(self.outcome, self.outcome.clears[cut], name)
        assert abs(self.truncated[cut] - heard) <= tolerance(self.network)

    def assert_silenced_in_time(self) -> None:
        """Within a round trip and a frame of the decision, and nothing of the story after it."""
        assert self.outcome.accepted_at is not None
        decisions = [self.outcome.accepted_at + event["at"] for event in self.house.events("barge_in")]
        network = self.network
        round_trip = network.inbound_delay + network.outbound_delay
        round_trip += network.inbound_jitter + network.outbound_jitter
        for decision, clear in zip(decisions, self.outcome.clears, strict=True):
            assert clear.at - decision <= round_trip + FRAME
            later = [each for each in self.outcome.playouts if each.received_at >= clear.at]
            assert all(each.begins_at is None or each.begins_at >= clear.at for each in later)


@every_network
def test_a_model_that_finished_generating_long_before(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments
) -> None:
    """Lesson 2: fifteen seconds arrive in one and a half, the caller barges in at four."""
    steps: list[Step] = [Speak(SPEECH), SpeakInto(4.0, SPEECH), Wait(4.0), HangUp()]
    scene = Scene(virtual, tmp_path, sounds, BURST, steps, network)
    scene.assert_nothing_refused()
    scene.assert_silenced_in_time()
    scene.assert_told_what_was_heard("story")
    assert len(scene.truncated) == 1
    assert scene.house.to_agent("response.cancel") == []  # there was nothing left to cancel
    assert scene.house.record["barge_in_count"] == 1


@every_network
def test_a_model_that_is_still_generating(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments
) -> None:
    steps: list[Step] = [Speak(SPEECH), SpeakInto(3.0, SPEECH), Wait(4.0), HangUp()]
    scene = Scene(virtual, tmp_path, sounds, REALTIME, steps, network)
    scene.assert_nothing_refused()
    scene.assert_silenced_in_time()
    scene.assert_told_what_was_heard("story")


@every_network
def test_several_items_are_queued(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments
) -> None:
    """The one being heard is truncated, the one that never started is deleted, the one heard is left alone."""
    steps: list[Step] = [Speak(SPEECH), SpeakInto(5.0, SPEECH), Wait(4.0), HangUp()]
    scene = Scene(virtual, tmp_path, sounds, THREE_ITEMS, steps, network)
    scene.assert_nothing_refused()
    scene.assert_silenced_in_time()
    scene.assert_told_what_was_heard("story")
    assert (len(scene.truncated), len(scene.deleted)) == (1, 1)
    cut = [each["content"] for each in scene.house.record["transcript"] if each["interrupted"]]
    assert cut == ["story", "answer", "goodbye"]  # the answer by the caller's hanging up


@every_network
def test_a_barge_in_before_the_first_mark(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments
) -> None:
    """The playhead is known from the clock alone: no mark of this run has come back."""
    steps: list[Step] = [Speak(SPEECH), SpeakInto(0.02, SPEECH), Wait(4.0), HangUp()]
    scene = Scene(
        virtual,
        tmp_path,
        sounds,
        BURST,
        steps,
        network,
        policy=CallPolicy(lead=0.1),
        session={"transcription_model": None},
    )
    scene.assert_nothing_refused()
    scene.assert_silenced_in_time()
    scene.assert_told_what_was_heard("story")


@every_network
def test_marks_returned_by_the_clear_are_not_taken_for_playback(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments
) -> None:
    """Trap 23: the clear gives all pending marks back; a second barge-in would be told of audio never heard."""
    steps: list[Step] = [Speak(SPEECH), SpeakInto(3.9, SPEECH), SpeakInto(1.0, SPEECH), Wait(3.0), HangUp()]
    scene = Scene(virtual, tmp_path, sounds, BURST, steps, network)
    scene.assert_nothing_refused()
    assert scene.outcome.marks_flushed > 0
    scene.assert_told_what_was_heard("story", cut=0)
    scene.assert_told_what_was_heard("answer", cut=1)


@every_network
def test_two_barge_ins_within_300_ms(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments
) -> None:
    quick = {"turn_detection": TurnDetection(silence_duration_ms=100)}
    steps: list[Step] = [
        Speak(SPEECH),
        SpeakInto(3.0, tone("8", 0.09)),
        Wait(0.16),
        Speak(SPEECH),
        Wait(4.0),
        HangUp(),
    ]
    agent = script("story", more=", pace: 10", answer_delay=0)
    scene = Scene(virtual, tmp_path, sounds, agent, steps, network, session=quick)
    scene.assert_nothing_refused()
    scene.assert_silenced_in_time()
    first, second = (event["at"] for event in scene.house.events("barge_in"))
    assert second - first <= 0.300
    scene.assert_told_what_was_heard("story", cut=0)
    # Of the second one the caller heard a moment, or, a long way off, nothing: then it is deleted, not truncated at 0.
    if scene.deleted:
        assert scene.outcome.clears[1].position - scene.outcome.clears[0].position <= FRAME * RATE
    else:
        scene.assert_told_what_was_heard("answer", cut=1)


@every_network
def test_a_model_that_speaks_pcm_at_24_khz(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments
) -> None:
    """The account is kept in the carrier's samples and told in the model's; here the story is all that was sent."""
    steps: list[Step] = [Speak(SPEECH), SpeakInto(4.0, SPEECH), Wait(4.0), HangUp()]
    scene = Scene(virtual, tmp_path, sounds, BURST, steps, network, audio=PCM16_24K)
    scene.assert_nothing_refused()
    scene.assert_silenced_in_time()
    (told,) = scene.truncated
    assert abs(told - scene.outcome.clears[0].position * 1000 / RATE) <= tolerance(network)


@every_network
@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_the_stream_was_replaced_in_mid_item(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments, carrier: str
) -> None:
    plan = Impairments(
        inbound_delay=network.inbound_delay,
        outbound_delay=network.outbound_delay,
        inbound_jitter=network.inbound_jitter,
        outbound_jitter=network.outbound_jitter,
        drops=(Drop(at=4.5, reconnect_after=0.7),),
    )
    steps: list[Step] = [Speak(SPEECH), AwaitAgent(Edge.START), Wait(5.0), Speak(SPEECH), Wait(4.0), HangUp()]
    scene = Scene(virtual, tmp_path, sounds, BURST, steps, plan, carrier=carrier)
    scene.assert_nothing_refused()
    assert scene.house.record["media"]["stream_generations"] == 2
    scene.assert_silenced_in_time()
    scene.assert_told_what_was_heard("story")


@every_network
def test_late_deltas_of_the_cut_response_are_never_played(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments
) -> None:
    steps: list[Step] = [Speak(SPEECH), SpeakInto(2.0, SPEECH), Wait(0.4)]
    scene = Scene(virtual, tmp_path, sounds, LATE_DELTAS, [*steps, HangUp()], network)
    scene.assert_nothing_refused()
    scene.assert_silenced_in_time()
    scene.assert_told_what_was_heard("story")
    (clear,) = scene.outcome.clears
    assert not [each for each in scene.outcome.playouts if each.received_at > clear.at]


@every_network
def test_the_gateway_decides_after_enough_speech(
    virtual: RunAsync, tmp_path: Path, sounds: Path, network: Impairments
) -> None:
    """With `min_speech` the model neither interrupts nor responds by itself: we cancel, and we ask."""
    policy = CallPolicy(barge_in=BargeIn(min_speech=0.4))
    cough = tone("8", 0.12)
    steps: list[Step] = [Speak(SPEECH), SpeakInto(2.0, cough), Wait(1.5), Speak(SPEECH), Wait(4.0), HangUp()]
    scene = Scene(virtual, tmp_path, sounds, REALTIME, steps, network, policy=policy)
    scene.assert_nothing_refused()
    assert len(scene.outcome.clears) == 1
    assert len(scene.house.to_agent("response.cancel")) == 1
    assert len(scene.house.to_agent("response.create")) == 2
    scene.assert_silenced_in_time()
    scene.assert_told_what_was_heard("story")


def test_a_protected_greeting_is_heard_to_its_end(virtual: RunAsync, tmp_path: Path, sounds: Path) -> None:
    agent = (
        "greeting: {say: Hi., audio: {file: greeting.wav}}\nturns: [{say: Yes., audio: {file: goodbye.wav}}]"
    )
    policy = CallPolicy(greeting="Greet the caller.", barge_in=BargeIn(protect_greeting=True))
    steps: list[Step] = [SpeakInto(0.5, SPEECH), AwaitAgent(Edge.END), Wait(3.0), HangUp()]
    scene = Scene(virtual, tmp_path, sounds, agent, steps, delays(0.040), policy=policy)
    scene.assert_nothing_refused()
    assert scene.outcome.clears == ()
    assert as_heard("greeting")[:16_000] in scene.outcome.heard


def test_barge_in_switched_off_lets_the_agent_finish_and_then_answers(
    virtual: RunAsync, tmp_path: Path, sounds: Path
) -> None:
    policy = CallPolicy(barge_in=BargeIn(enabled=False))
    steps: list[Step] = [Speak(SPEECH), SpeakInto(2.0, SPEECH), Wait(18.0), HangUp()]
    scene = Scene(virtual, tmp_path, sounds, BURST, steps, delays(0.040), policy=policy)
    scene.assert_nothing_refused()
    assert scene.outcome.clears == ()
    assert as_heard("story") in scene.outcome.heard
    assert as_heard("answer")[:16_000] in scene.outcome.heard

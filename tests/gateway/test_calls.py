"""Whole calls on virtual time: caller, carrier, gateway and agent; each side is known by its own tones."""

import asyncio
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from control.policy import BargeIn, CallPolicy, Deadlines, DigitPolicy
from gateway.agent.script import parse_script
from gateway.agent.scripted import Script
from gateway.replay import replay
from media.audio import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from media.dtmf import tone as digit_tone
from telephony.caller import AwaitAgent, Edge, HangUp, Press, Speak, Step, Wait
from telephony.caller import BargeIn as SpeakInto
from telephony.impairments import Direction, Drop, Impairments, Stall
from telephony.outcome import CallOutcome, EndedBy
from tests.conftest import RunAsync
from tests.tones import stretches
from tests.whole_call import House

RATE = 8000
CALLER_HZ = 770  # one of the two tones of "5", which the caller's voice detection takes for speech
AGENT_HZ = 1900
QUESTION = digit_tone("5", 1.2)
GREETING = "Greet the caller."


def conversation(**more: Any) -> Script:
    tone = f"audio: {{tone: {{frequencies: [{AGENT_HZ}], ms: 1000}}}}"
    extra = "".join(f", {name}: {json.dumps(value)}" for name, value in more.items())
    return parse_script(
        f"greeting: {{say: Hello., {tone}}}\n"
        "turns:\n"
        f"  - {{caller: 'Where is it?', say: On its way., {tone}{extra}}}\n"
        f"  - {{caller: 'And then?', say: That is all., {tone}}}\n"
    )


DIALOGUE: list[Step] = [
    AwaitAgent(Edge.END),
    Speak(QUESTION),
    AwaitAgent(Edge.END),
    Wait(0.5),
    HangUp(),
]


async def place(house: House, steps: list[Step] | None = None, **options: Any) -> CallOutcome:
    try:
        return await house.call(DIALOGUE if steps is None else steps, **options)
    finally:
        house.close()


def greeted(**options: Any) -> CallPolicy:
    return CallPolicy(greeting=GREETING, **options)


# --- who hears whom


def tracks(path: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    with wave.open(path) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, RATE, 2)
        stereo = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
    return stereo[0::2], stereo[1::2]


@pytest.mark.parametrize("one_way", [0.0, 0.040, 0.150])
@pytest.mark.parametrize(
    ("carrier", "caller", "agent"),
    [
        ("twilio", PCMU_8K, PCMU_8K),
        ("twilio", PCMU_8K, PCM16_24K),
        ("telnyx", PCMA_8K, PCMU_8K),
        ("telnyx", PCMA_8K, PCMA_8K),
        ("telnyx", PCMA_8K, PCM16_24K),
        ("signalwire", PCMU_8K, PCMU_8K),
    ],
    ids=str,
)
def test_each_side_hears_the_other_and_the_recording_has_both_where_they_were(
    virtual: RunAsync,
    tmp_path: Path,
    carrier: str,
    caller: AudioFormat,
    agent: AudioFormat,
    one_way: float,
) -> None:
    house: House

    async def scenario() -> CallOutcome:
        nonlocal house
        house = House(tmp_path, conversation(), policy=greeted(), audio=agent)
        plan = Impairments(inbound_delay=one_way, outbound_delay=one_way)
        return await place(house, carrier=carrier, caller=caller, impairments=plan)

    outcome = virtual(scenario())
    left, right = tracks(house.record["recording"])
    heard = np.frombuffer(outcome.heard, "<i2").astype(float)
    # The caller heard the agent twice, a second each; the recording has it beside what the caller said then.
    assert len(stretches(heard, AGENT_HZ)) == 2
    for recorded, truth in zip(stretches(right, AGENT_HZ), stretches(heard, AGENT_HZ), strict=True):
        assert recorded == pytest.approx(truth, abs=0.045)
        assert recorded[1] - recorded[0] == pytest.approx(1.0, abs=0.041)
    ((start, end),) = stretches(left, CALLER_HZ)
    assert end - start == pytest.approx(1.2, abs=0.041)
    assert stretches(left, AGENT_HZ) == stretches(right, CALLER_HZ) == []
    assert len(left) == len(right)
    media = house.record["media"]
    assert -40 < media["caller_rms_dbfs"] < -10
    assert -40 < media["agent_rms_dbfs"] < -10
    texts = [(each["role"], each["content"]) for each in house.record["transcript"]]
    assert texts == [("assistant", "Hello."), ("user", "Where is it?"), ("assistant", "On its way.")]


def test_what_was_cut_is_not_in_the_recording(virtual: RunAsync, tmp_path: Path) -> None:
    house: House

    async def scenario() -> CallOutcome:
        nonlocal house
        house = House(tmp_path, conversation(), policy=greeted())
        steps: list[Step] = [SpeakInto(0.3, QUESTION), Wait(4.0), HangUp()]
        return await place(house, steps, impairments=Impairments(inbound_delay=0.04, outbound_delay=0.04))

    outcome = virtual(scenario())
    _, right = tracks(house.record["recording"])
    heard = np.frombuffer(outcome.heard, "<i2").astype(float)
    for recorded, truth in zip(stretches(right, AGENT_HZ), stretches(heard, AGENT_HZ), strict=True):
        assert recorded == pytest.approx(truth, abs=0.045)
    first = stretches(right, AGENT_HZ)[0]
    assert first[1] - first[0] < 0.9


# --- the call's life


def run(
    virtual: RunAsync, house_of: Any, steps: list[Step] | None = None, **options: Any
) -> tuple[House, CallOutcome]:
    async def scenario() -> tuple[House, CallOutcome]:
        house = house_of()
        return house, await place(house, steps, **options)

    return virtual(scenario())


def test_the_caller_hangs_up(virtual: RunAsync, tmp_path: Path) -> None:
    house, outcome = run(virtual, lambda: House(tmp_path, conversation(), policy=greeted()))
    assert outcome.ended_by is EndedBy.CALLER
    assert house.record["ended_reason"] == "caller-hangup"
    assert house.agent.live == 0
    assert house.record["duration_seconds"] == pytest.approx(
        outcome.ended_at - (outcome.started_at or 0), abs=0.05
    )


def test_we_end_the_call_once_what_is_being_said_was_heard(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> tuple[House, CallOutcome]:
        house = House(tmp_path, conversation(), policy=greeted())
        loop = asyncio.get_running_loop()
        loop.call_later(0.6, lambda: house.runner().end("api"))
        return house, await place(house, [Wait(10.0), HangUp()])

    house, outcome = virtual(scenario())
    assert outcome.ended_by is EndedBy.GATEWAY
    assert house.record["ended_reason"] == "api"
    ((start, end),) = stretches(np.frombuffer(outcome.heard, "<i2").astype(float), AGENT_HZ)
    assert end - start == pytest.approx(1.0, abs=0.041)


def test_we_end_the_call_now(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> CallOutcome:
        house = House(tmp_path, conversation(), policy=greeted())
        loop = asyncio.get_running_loop()
        loop.call_later(0.6, lambda: house.runner().end("api", after_playout=False))
        return await place(house, [Wait(10.0), HangUp()])

    outcome = virtual(scenario())
    assert outcome.ended_by is EndedBy.GATEWAY
    assert outcome.ended_at - outcome.began_at < 0.8


def test_the_longest_call_ends_by_itself(virtual: RunAsync, tmp_path: Path) -> None:
    policy = greeted(deadlines=Deadlines(max_duration=5.0))
    house, outcome = run(
        virtual, lambda: House(tmp_path, conversation(), policy=policy), [Wait(60.0), HangUp()]
    )
    assert outcome.ended_by is EndedBy.GATEWAY
    assert house.record["ended_reason"] == "max-duration"


def test_a_stream_that_goes_silent_is_ended_by_the_watchdog(virtual: RunAsync, tmp_path: Path) -> None:
    stall = Stall(direction=Direction.INBOUND, at=2.0, duration=1000.0)
    house, outcome = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=greeted()),
        [Wait(200.0), HangUp()],
        impairments=Impairments(stalls=(stall,)),
    )
    assert outcome.ended_by is EndedBy.GATEWAY
    assert house.record["ended_reason"] == "error"
    assert 31 < house.record["duration_seconds"] < 34


def test_a_lost_socket_that_nobody_replaces_ends_the_call_after_the_grace(
    virtual: RunAsync, tmp_path: Path
) -> None:
    house, _ = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=greeted()),
        [Wait(60.0), HangUp()],
        impairments=Impairments(drops=(Drop(at=3.0),)),
    )
    assert house.record["ended_reason"] == "error"
    assert house.record["ws_unavailable"]
    assert house.record["duration_seconds"] == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_a_replaced_stream_goes_on_with_what_was_not_heard(
    virtual: RunAsync, tmp_path: Path, carrier: str
) -> None:
    house, outcome = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=greeted()),
        [Wait(6.0), HangUp()],
        impairments=Impairments(drops=(Drop(at=0.8, reconnect_after=0.7),)),
        carrier=carrier,
    )
    assert outcome.ended_by is EndedBy.CALLER
    assert house.record["media"]["stream_generations"] == 2
    heard = stretches(np.frombuffer(outcome.heard, "<i2").astype(float), AGENT_HZ)
    assert len(heard) == 2
    assert sum(end - start for start, end in heard) == pytest.approx(1.0, abs=0.061)
    assert (
        house.agent.accepted == 2
    )  # the second socket's own session was let go as soon as its call was known
    assert len(list((tmp_path / "calls").iterdir())) == 1


@pytest.mark.parametrize("why", ["full", "draining"])
def test_a_live_call_gets_its_stream_back_when_no_new_call_is_taken(
    virtual: RunAsync, tmp_path: Path, why: str
) -> None:
    async def scenario() -> House:
        house = House(tmp_path, conversation(), policy=greeted(), max_calls=1 if why == "full" else 10)
        if why == "draining":
            asyncio.get_running_loop().call_later(1.0, lambda: setattr(house.calls, "draining", True))
        plan = Impairments(drops=(Drop(at=2.0, reconnect_after=0.5),))
        await place(house, [Wait(6.0), HangUp()], impairments=plan)
        return house

    house = virtual(scenario())
    assert house.record["ended_reason"] == "caller-hangup"
    assert house.record["media"]["stream_generations"] == 2


def test_lost_and_reordered_frames_leave_the_audio_in_place(virtual: RunAsync, tmp_path: Path) -> None:
    plan = Impairments(loss=0.02, reorder=0.1, seed=5)
    house, outcome = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=greeted()),
        carrier="telnyx",
        impairments=plan,
    )
    media = house.record["media"]
    assert media["frames_lost"] == pytest.approx(outcome.frames_lost, abs=1)
    assert media["frames_reordered"] > 0
    left, _ = tracks(house.record["recording"])
    assert len(left) == pytest.approx(outcome.frames_said * 160, abs=800)


def test_digits_reach_the_model_as_one_group(virtual: RunAsync, tmp_path: Path) -> None:
    house, outcome = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=greeted()),
        [AwaitAgent(Edge.END), Press("4711#"), Wait(3.0), HangUp()],
        carrier="telnyx",
    )
    assert outcome.digits == "4711#"
    assert [event["digit"] for event in house.events("call.dtmf.received")] == list("4711#")
    (item,) = house.to_agent("conversation.item.create")
    assert "4711#" in item["item"]["content"][0]["text"]
    assert len(stretches(np.frombuffer(outcome.heard, "<i2").astype(float), AGENT_HZ)) == 2  # it was answered


def test_digits_may_be_kept_from_the_model(virtual: RunAsync, tmp_path: Path) -> None:
    policy = greeted(digits=DigitPolicy(to_model=False))
    house, _ = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=policy),
        [AwaitAgent(Edge.END), Press("12#"), Wait(3.0), HangUp()],
    )
    assert house.to_agent("conversation.item.create") == []
    assert len(house.events("call.dtmf.received")) == 3


def test_tones_in_the_audio_count_where_the_carrier_reports_no_digits(
    virtual: RunAsync, tmp_path: Path
) -> None:
    policy = greeted(digits=DigitPolicy(in_band=True))
    keys = b"".join(digit_tone(digit, 0.1) + bytes(1600) for digit in "20#")
    house, _ = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=policy),
        [AwaitAgent(Edge.END), Speak(keys), Wait(3.0), HangUp()],
    )
    assert [event["digit"] for event in house.events("call.dtmf.received")] == list("20#")


def test_digits_may_interrupt(virtual: RunAsync, tmp_path: Path) -> None:
    policy = greeted(digits=DigitPolicy(interrupts=True))
    _, outcome = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=policy),
        [AwaitAgent(Edge.START), Press("1#"), Wait(3.0), HangUp()],
    )
    assert len(outcome.clears) == 1


# --- the agent's side goes wrong


def test_a_lost_session_is_replaced_and_told_what_was_said(virtual: RunAsync, tmp_path: Path) -> None:
    agent = conversation(faults=[{"at_ms": 2500, "close": {"code": 1001, "reason": "going away"}}])
    house, outcome = run(
        virtual,
        lambda: House(tmp_path, agent, policy=greeted()),
        [
            AwaitAgent(Edge.END),
            Speak(QUESTION),
            AwaitAgent(Edge.END),
            Wait(3.0),
            Speak(QUESTION),
            Wait(2.5),
            HangUp(),
        ],
    )
    assert outcome.ended_by is EndedBy.CALLER
    assert house.agent.accepted == 2
    assert [event["code"] for event in house.events("agent.lost")] == [1001]
    texts = [event["item"]["content"][0]["text"] for event in house.to_agent("conversation.item.create")]
    assert texts[:3] == ["Hello.", "Where is it?", "On its way."]
    assert len(house.to_agent("response.create")) == 1  # greeted once
    assert len(stretches(np.frombuffer(outcome.heard, "<i2").astype(float), AGENT_HZ)) == 3


def test_an_agent_that_cannot_be_reached_ends_the_call_with_an_error(
    virtual: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> tuple[House, CallOutcome]:
        house = House(tmp_path, conversation(), policy=greeted())
        house.network.refuse("wss://agent.test/v1/realtime")
        return house, await place(house, [Wait(30.0), HangUp()])

    house, outcome = virtual(scenario())
    assert outcome.ended_by is EndedBy.GATEWAY
    assert house.record["ended_reason"] == "error"
    assert len(house.events("agent.lost")) == 4


def test_a_beta_shape_refused_is_not_tried_again(virtual: RunAsync, tmp_path: Path) -> None:
    house, _ = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=greeted(), dialect="beta"),
        [Wait(30.0), HangUp()],
    )
    assert house.record["ended_reason"] == "error"
    assert house.agent.accepted == 1


def test_an_agent_that_stops_reading_is_given_up_and_replaced(virtual: RunAsync, tmp_path: Path) -> None:
    agent = conversation(faults=[{"at_ms": 1500, "stall": {}}])
    house, outcome = run(
        virtual,
        lambda: House(tmp_path, agent, policy=greeted()),
        [AwaitAgent(Edge.END), Speak(QUESTION), Wait(30.0), HangUp()],
    )
    assert outcome.ended_by is EndedBy.CALLER
    assert house.agent.accepted == 2
    assert house.events("agent.lost")[0]["reason"] == "stalled"


def test_another_format_than_asked_for_is_transcoded_never_noise(virtual: RunAsync, tmp_path: Path) -> None:
    agent = parse_script(
        "session: {force_format: audio/pcm}\n"
        f"greeting: {{say: Hello., audio: {{tone: {{frequencies: [{AGENT_HZ}], ms: 1000}}}}}}\n"
    )
    _, outcome = run(
        virtual, lambda: House(tmp_path, agent, policy=greeted()), [AwaitAgent(Edge.END), HangUp()]
    )
    heard = np.frombuffer(outcome.heard, "<i2").astype(float)
    ((start, end),) = stretches(heard, AGENT_HZ)
    assert end - start == pytest.approx(1.0, abs=0.041)


def test_an_unknown_tool_is_answered_so_that_the_model_goes_on(virtual: RunAsync, tmp_path: Path) -> None:
    agent = parse_script(
        f"greeting: {{say: Hello., audio: {{tone: {{frequencies: [{AGENT_HZ}], ms: 500}}}}}}\n"
        "turns:\n"
        "  - call: {name: look_up, arguments: {key: 1}, expect: no tool named}\n"
        f"    then: {{say: Sorry., audio: {{tone: {{frequencies: [{AGENT_HZ}], ms: 500}}}}}}\n"
    )
    house, outcome = run(virtual, lambda: House(tmp_path, agent, policy=greeted()))
    assert house.record["tools_called"] == ["look_up"]
    assert len(stretches(np.frombuffer(outcome.heard, "<i2").astype(float), AGENT_HZ)) == 2


# --- latency, keep-alive, replay


def test_latency_is_told_per_turn(virtual: RunAsync, tmp_path: Path) -> None:
    house, outcome = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=greeted()),
        impairments=Impairments(inbound_delay=0.04, outbound_delay=0.04),
    )
    greeting, answer = house.record["latency_data"]["turns"]
    assert outcome.started_at is not None
    heard = stretches(np.frombuffer(outcome.heard, "<i2").astype(float), AGENT_HZ)
    assert greeting["first_audio_heard_ms"] == pytest.approx(heard[0][0] * 1000 - 40, abs=45)
    assert answer["user_speech_ms"] == pytest.approx(1200, abs=150)
    assert answer["llm_ttfb_ms"] <= answer["tts_ttfb_ms"] <= answer["first_audio_sent_ms"]
    assert answer["first_audio_heard_ms"] - answer["first_audio_sent_ms"] == pytest.approx(40, abs=1)


def test_silence_flows_on_telnyx_until_the_agent_speaks(virtual: RunAsync, tmp_path: Path) -> None:
    slow = parse_script(
        f"greeting: {{say: Hello., delay_ms: 2500, audio: {{tone: {{frequencies: [{AGENT_HZ}], ms: 500}}}}}}\n"
    )
    _, outcome = run(
        virtual,
        lambda: House(tmp_path, slow, policy=greeted()),
        [AwaitAgent(Edge.END), HangUp()],
        carrier="telnyx",
    )
    assert outcome.media_received > 100
    assert outcome.underruns <= 1


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_a_traced_call_replays_to_the_same_outputs(virtual: RunAsync, tmp_path: Path, carrier: str) -> None:
    house, _ = run(
        virtual,
        lambda: House(tmp_path, conversation(), policy=greeted(barge_in=BargeIn(min_speech=0.2)), trace=True),
        [SpeakInto(0.4, QUESTION), AwaitAgent(Edge.END), Press("1#"), Wait(3.0), HangUp()],
        carrier=carrier,
        impairments=Impairments(
            inbound_delay=0.04,
            outbound_delay=0.04,
            inbound_jitter=0.02,
            reorder=0.05,
            drops=(Drop(at=3.0, reconnect_after=0.5),),
        ),
    )
    (trace,) = [path for path in (tmp_path / "traces").iterdir() if path.stem == house.record["call_id"]]
    replayed = replay(trace)
    assert replayed.differences == []
    assert replayed.outputs > 100
    assert replayed.bridge.ended_reason == "caller-hangup"


def test_a_trace_that_was_tampered_with_does_not_replay(virtual: RunAsync, tmp_path: Path) -> None:
    house, _ = run(virtual, lambda: House(tmp_path, conversation(), policy=greeted(), trace=True))
    trace = tmp_path / "traces" / f"{house.record['call_id']}.jsonl"
    trace.write_text(
        trace.read_text().replace('"out": "{\\"event\\":\\"mark\\"', '"out": "{\\"event\\":\\"merk\\"')
    )
    assert not replay(trace).same

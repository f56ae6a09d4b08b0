"""Whole controlled calls: who hears whom while a call is held, prompted, gathered, broken and put together again."""

import asyncio
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from control.media_orders import (
    AgentUp,
    AwaitPlayout,
    CollectDigits,
    DigitReported,
    EndMedia,
    ExpectBreak,
    HoldAgent,
    MediaEnded,
    PlayedOut,
    PromptPlayed,
    Release,
    ReleaseAgent,
    Report,
    SpeakText,
    StopCollecting,
    StreamDown,
    StreamUp,
    ToolAsked,
    ToolResult,
    Unheard,
)
from control.policy import DigitPolicy
from gateway.agent.script import parse_script
from media import g711
from media.audio import PCMA_8K, PCMU_8K, AudioFormat
from media.dtmf import tone
from telephony.caller import AwaitAgent, BargeIn, Edge, HangUp, Press, Speak, Step, Wait
from telephony.causes import EndedReason
from tests.conftest import RunAsync
from tests.controlled_call import PROMPT_HZ, ControlledCall, heard
from tests.tones import level, samples, stretches

SPEECH = tone("5", 0.8)
GREETING_HZ, STORY_HZ, ANSWER_HZ = 700, 900, 1_100
AGENT = parse_script(
    "greeting: {say: Hello., audio: {tone: {frequencies: [700], ms: 700}}}\n"
    "turns:\n"
    "  - {say: A story., audio: {tone: {frequencies: [900], ms: 4000}}, pace: 10}\n"
    "  - {say: Fine., audio: {tone: {frequencies: [1100], ms: 400}}}\n"
)
HELD_HZ = 425

each_carrier = pytest.mark.parametrize("carrier", ["twilio", "telnyx"])


@each_carrier
def test_on_hold_the_caller_hears_the_tone_and_the_agent_hears_nobody(
    virtual: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def machine(call: ControlledCall) -> None:
        await asyncio.sleep(4.0)
        call.order(HoldAgent("hold", tone=True))
        await asyncio.sleep(6.0)
        call.order(ReleaseAgent("hold", tell="The caller was on hold.", respond=True))

    steps: list[Step] = [AwaitAgent(Edge.END), Speak(SPEECH), Wait(5.0), Speak(SPEECH), Wait(8.0), HangUp()]

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT, carrier=carrier)
        outcome = await call.run(steps, machine)
        (story,) = heard(outcome, STORY_HZ)
        assert story[1] == pytest.approx(4.0, abs=0.1)
        beeps = heard(outcome, HELD_HZ)
        assert len(beeps) == 4
        assert story[1] <= beeps[0][0]
        assert beeps[-1][1] < 10.1
        (answer,) = heard(outcome, ANSWER_HZ)
        assert answer[0] > 10.0
        # What was heard of the story is what the model was told.
        (cut,) = call.house.to_agent("conversation.item.truncate")
        assert cut["audio_end_ms"] / 1000 == pytest.approx(story[1] - story[0], abs=0.06)
        _, agent = call.tracks()
        assert len(stretches(agent, HELD_HZ)) == 4
        assert call.replayed().same

    virtual(scenario())


@each_carrier
def test_digits_gathered_on_the_stream(virtual: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def machine(call: ControlledCall) -> None:
        await asyncio.sleep(2.0)
        call.order(HoldAgent("gather"), CollectDigits(), SpeakText("g", "Your account number."))
        pressed = ""
        while not pressed.endswith("#"):
            report = await call.until(DigitReported)
            assert isinstance(report, DigitReported)
            pressed += report.digit
        call.order(
            StopCollecting(), ReleaseAgent("gather", tell=f"The caller entered {pressed}.", respond=True)
        )

    steps: list[Step] = [AwaitAgent(Edge.END), Wait(3.5), Press("417#"), Wait(8.0), HangUp()]

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT, carrier=carrier)
        outcome = await call.run(steps, machine)
        (prompt,) = heard(outcome, PROMPT_HZ)
        assert prompt[1] - prompt[0] == pytest.approx(2.0, abs=0.05)
        assert call.told(PromptPlayed) == [PromptPlayed("g", ok=True)]
        assert [report.digit for report in call.reports if isinstance(report, DigitReported)] == list("417#")
        told = [
            each["item"]["content"][0]["text"] for each in call.house.to_agent("conversation.item.create")
        ]
        assert told == ["Your account number.", "The caller entered 417#."]
        assert heard(outcome, STORY_HZ)  # asked to speak, the agent does
        assert call.replayed().same

    virtual(scenario())


@pytest.mark.parametrize("unheard", list(Unheard), ids=lambda unheard: unheard.name)
def test_what_becomes_of_unheard_audio_when_the_stream_breaks(
    virtual: RunAsync, tmp_path: Path, unheard: Unheard
) -> None:
    async def machine(call: ControlledCall) -> None:
        await asyncio.sleep(4.0)
        call.order(ExpectBreak(unheard))
        call.break_stream()
        await call.until(StreamDown)
        await asyncio.sleep(5.0)
        call.new_stream()
        await call.until(StreamUp)

    steps: list[Step] = [AwaitAgent(Edge.END), Speak(SPEECH), Wait(14.0), HangUp()]

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT)
        outcome = await call.run(steps, machine)
        told = call.told(StreamUp, StreamDown)
        assert told[1:3] == [StreamDown(1, stopped=True), told[2]]
        assert isinstance(told[2], StreamUp)
        story = heard(outcome, STORY_HZ)
        cuts = call.house.to_agent("conversation.item.truncate")
        if unheard is Unheard.CUT:
            assert len(story) == 1
            assert cuts[0]["audio_end_ms"] / 1000 == pytest.approx(story[0][1] - story[0][0], abs=0.06)
        else:
            assert len(story) == 2
            assert story[1][0] > 9.0
            # A little is heard twice rather than missed: the news of a break is one way old.
            assert sum(end - begin for begin, end in story) == pytest.approx(4.0, abs=0.15)
            assert cuts == []
        assert call.runner.summary is not None
        assert not call.runner.summary.ws_unavailable
        assert call.replayed().same

    virtual(scenario())


def test_last_words_are_heard_to_the_end_whatever_the_caller_says(virtual: RunAsync, tmp_path: Path) -> None:
    async def machine(call: ControlledCall) -> None:
        await asyncio.sleep(4.0)
        call.order(AwaitPlayout("bye"))
        await call.until(PlayedOut)
        call.order(EndMedia(EndedReason.API))

    steps: list[Step] = [AwaitAgent(Edge.END), Speak(SPEECH), BargeIn(1.5, SPEECH), Wait(8.0), HangUp()]

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT)
        outcome = await call.run(steps, machine)
        (story,) = heard(outcome, STORY_HZ)
        assert story[1] - story[0] == pytest.approx(4.0, abs=0.05)
        assert outcome.clears == ()
        assert call.reports[-1] == MediaEnded()
        assert call.runner.bridge.ended_reason == "api"
        assert call.replayed().same

    virtual(scenario())


@pytest.mark.parametrize("caller", [PCMU_8K, PCMA_8K], ids=str)
@pytest.mark.parametrize("in_band", [False, True], ids=["reported", "as tones"])
def test_a_secret_is_nowhere_but_in_its_reports(
    virtual: RunAsync, tmp_path: Path, in_band: bool, caller: AudioFormat
) -> None:
    """Not in the recording, the trace, the timeline or what the model heard; and the trace still replays."""
    secret, key_hz = "9999", (852, 1_477)

    async def machine(call: ControlledCall) -> None:
        await asyncio.sleep(3.0)
        call.order(HoldAgent("gather"), CollectDigits(secret=True))
        for _ in secret:
            await call.until(DigitReported)
        call.order(StopCollecting(), ReleaseAgent("gather", tell="They did.", respond=True))

    steps: list[Step] = [
        AwaitAgent(Edge.END),
        Wait(2.5),
        Press(secret, in_band=True),
        Wait(4.0),
        Speak(tone("1", 0.8)),
        Wait(4.0),
        HangUp(),
    ]

    async def scenario() -> None:
        call = ControlledCall(
            tmp_path, AGENT, carrier="telnyx", digits=DigitPolicy(in_band=in_band), record=True
        )
        await call.run(steps, machine, caller=caller)
        reported = "".join(report.digit for report in call.reports if isinstance(report, DigitReported))
        assert reported.startswith(secret)
        caller_track, _ = call.tracks()
        heard_by_model = model_heard(call)
        for track in (caller_track, heard_by_model, traced_caller(call, caller)):
            for hz in key_hz:
                assert stretches(track, hz, loud=2_000) == []
            assert stretches(track, 1_209, loud=2_000)  # while what they said afterwards is in it
        text = call.trace.read_text()
        assert '\\"digit\\":\\"9\\"' not in text.replace(" ", "")
        assert secret not in json.dumps(call.house.agent_messages, default=repr)
        assert [each for each in call.followed if "9" in map(str, each.fields.values())] == []
        assert call.replayed().same

    virtual(scenario())


def model_heard(call: ControlledCall) -> Any:
    """What went up to the model, as its trace has it."""
    return samples(
        b"".join(
            g711.decode(b64decode(message["audio"]), PCMU_8K.encoding)
            for line in traced(call)
            if line.get("leg") == "agent" and "out" in line
            for message in [json.loads(line["out"])]
            if message["type"] == "input_audio_buffer.append"
        )
    )


def traced_caller(call: ControlledCall, fmt: AudioFormat) -> Any:
    audio = [
        b64decode(message["media"]["payload"])
        for line in traced(call)
        if line.get("leg") == "carrier" and "in" in line
        for message in [json.loads(line["in"])]
        if message["event"] == "media"
    ]
    return samples(g711.decode(b"".join(audio), fmt.encoding))


def traced(call: ControlledCall) -> list[dict[str, Any]]:
    return [json.loads(line) for line in call.trace.read_text().splitlines()]


@each_carrier
def test_a_prompt_is_heard_by_the_caller_and_recorded_and_the_model_does_not_hear_it(
    virtual: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def machine(call: ControlledCall) -> None:
        await asyncio.sleep(3.0)
        call.order(SpeakText("p", "This call is taped."))
        await call.until(PromptPlayed)

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT, carrier=carrier)
        outcome = await call.run([Wait(8.0), HangUp()], machine)
        (prompt,) = heard(outcome, PROMPT_HZ)
        assert prompt[1] - prompt[0] == pytest.approx(1.9, abs=0.05)
        _, agent = call.tracks()
        (recorded,) = stretches(agent, PROMPT_HZ)
        assert recorded == pytest.approx(prompt, abs=0.045)
        assert level(model_heard(call), PROMPT_HZ) < 5
        assert call.runner.summary is not None
        said = [(each["role"], each["content"]) for each in call.runner.summary.transcript]
        assert said == [("assistant", "Hello."), ("assistant", "This call is taped.")]
        assert [each["text"] for each in call.events("transcript.updated")] == [
            "Hello.",
            "This call is taped.",
        ]
        assert call.replayed().same

    virtual(scenario())


def test_a_text_without_a_voice_is_told_and_costs_nothing_else(virtual: RunAsync, tmp_path: Path) -> None:
    async def machine(call: ControlledCall) -> None:
        call.order(SpeakText("p", "unspeakable"), SpeakText("q", "All right."))
        assert await call.until(PromptPlayed) == PromptPlayed("p", ok=False, detail="it is unspeakable")
        assert await call.until(PromptPlayed) == PromptPlayed("q", ok=True)

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT)
        outcome = await call.run([Wait(6.0), HangUp()], machine)
        assert len(heard(outcome, PROMPT_HZ)) == 1
        assert call.replayed().same

    virtual(scenario())


def test_an_agent_is_there_before_the_stream_and_greets_with_it(virtual: RunAsync, tmp_path: Path) -> None:
    async def machine(call: ControlledCall) -> None:
        assert call.reports == [AgentUp(joined=False)]

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT)
        outcome = await call.run([AwaitAgent(Edge.END), HangUp()], machine, prewarm=5.0)
        assert AgentUp(joined=True) in call.reports
        assert heard(outcome, GREETING_HZ)[0][0] < 0.7
        assert call.replayed().same

    virtual(scenario())


def test_a_released_call_keeps_nothing_open(virtual: RunAsync, tmp_path: Path) -> None:
    async def machine(call: ControlledCall) -> None:
        await asyncio.sleep(3.0)
        call.order(Release())
        await call.until(MediaEnded)
        assert call.house.agent.live == 0
        assert call.runner.summary is not None
        assert call.runner.summary.recording is not None
        call.order(HoldAgent("late"))

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT)
        await call.run([Wait(6.0), HangUp()], machine)
        assert call.told(MediaEnded) == [MediaEnded()]
        assert not (tmp_path / "calls").exists()  # the store keeps a controlled call
        assert call.replayed().same

    virtual(scenario())


def test_orders_may_be_given_from_within_a_report(virtual: RunAsync, tmp_path: Path) -> None:
    """As a call's machine does: reports stay in order, and each order's outputs belong to it."""
    agent = parse_script(
        "greeting: {say: Hello., audio: {tone: {frequencies: [700], ms: 700}}}\n"
        "turns:\n"
        "  - call: {name: lookup, arguments: {id: 7}}\n"
        "    then: {say: Found., audio: {tone: {frequencies: [1100], ms: 400}}}\n"
    )

    def answers(report: Report) -> Any:
        match report:
            case ToolAsked(tool_call_id, name, arguments):
                assert (name, json.loads(arguments)) == ("lookup", {"id": 7})
                return [ToolResult(tool_call_id, "found"), SpeakText("p", "Anything else?")]
            case PromptPlayed():
                return [EndMedia(EndedReason.AGENT_HANGUP)]
            case _:
                return []

    async def machine(call: ControlledCall) -> None:
        call.answers = answers
        await call.until(MediaEnded)

    async def scenario() -> None:
        call = ControlledCall(tmp_path, agent)
        outcome = await call.run([AwaitAgent(Edge.END), Speak(SPEECH), Wait(5.0), HangUp()], machine)
        ((_, answered),) = heard(outcome, ANSWER_HZ)
        ((prompted, _),) = heard(outcome, PROMPT_HZ)
        assert answered <= prompted
        assert call.runner.summary is not None
        assert call.runner.summary.tools_called == ("lookup",)
        assert call.runner.bridge.ended_reason == "agent-hangup"
        assert call.replayed().same

    virtual(scenario())


def test_a_fault_of_whoever_takes_the_reports_ends_the_call_and_is_told(
    virtual: RunAsync, tmp_path: Path
) -> None:
    def fail(report: Report) -> Any:
        if isinstance(report, StreamUp):
            raise RuntimeError("a fault of the machine's")
        return []

    async def machine(call: ControlledCall) -> None:
        call.answers = fail
        await call.until(MediaEnded)

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT)
        with pytest.raises(RuntimeError, match="of the machine's"):
            await call.run([Wait(2.0), HangUp()], machine)
        assert call.runner.bridge.ended_reason == "error"
        assert call.house.agent.live == 0

    virtual(scenario())


def test_the_followers_of_a_timeline_are_told_all_of_it(virtual: RunAsync, tmp_path: Path) -> None:
    async def machine(call: ControlledCall) -> None:
        await asyncio.sleep(1.0)

    async def scenario() -> None:
        call = ControlledCall(tmp_path, AGENT)
        await call.run([AwaitAgent(Edge.END), Speak(SPEECH), Wait(6.0), HangUp()], machine)
        assert call.followed == call.runner.bridge.timeline.events
        assert np.all(np.diff([event.at for event in call.followed]) >= 0)

    virtual(scenario())


def test_a_caller_who_speaks_while_a_tool_runs_is_answered_and_told_its_result_afterwards(
    virtual: RunAsync, tmp_path: Path
) -> None:
    agent = parse_script(
        "greeting: {say: Hello., audio: {tone: {frequencies: [700], ms: 700}}}\n"
        "turns:\n"
        "  - say: Let me look.\n"
        "    audio: {tone: {frequencies: [900], ms: 600}}\n"
        "    call: {name: lookup, arguments: {id: 7}}\n"
        "  - {say: I am still looking., audio: {tone: {frequencies: [1100], ms: 400}}}\n"
        "  - {say: Found., audio: {tone: {frequencies: [1300], ms: 400}}}\n"
    )

    async def machine(call: ControlledCall) -> None:
        asked = await call.until(ToolAsked)
        assert isinstance(asked, ToolAsked)
        await asyncio.sleep(8.0)
        call.order(ToolResult(asked.tool_call_id, '{"found": true}'))
        await call.until(MediaEnded)

    async def scenario() -> None:
        call = ControlledCall(tmp_path, agent)
        call.answers = lambda report: [EndMedia(EndedReason.API)] if isinstance(report, StreamDown) else []
        steps: list[Step] = [
            AwaitAgent(Edge.END),
            Speak(SPEECH),
            Wait(3.0),
            Speak(SPEECH),
            Wait(9.0),
            HangUp(),
        ]
        outcome = await call.run(steps, machine)
        ((still, _),) = heard(outcome, 1_100)
        ((found, _),) = heard(outcome, 1_300)
        assert still + 2.0 < found
        outputs = [
            each
            for each in call.house.to_agent("conversation.item.create")
            if each["item"]["type"] == "function_call_output"
        ]
        assert [each["item"]["output"] for each in outputs] == ['{"found": true}']
        assert call.replayed().same

    virtual(scenario())

"""A controlled call's bridge: what it does of each order, and what it reports instead of ending the call."""

from base64 import b64decode
from typing import Any

import numpy as np
import pytest

from control.media_orders import (
    AgentGone,
    AgentUp,
    AwaitPlayout,
    CancelAwait,
    CollectDigits,
    DigitReported,
    DropText,
    EndMedia,
    ExpectBreak,
    ExpectStream,
    HoldAgent,
    InstructAgent,
    MediaDead,
    MediaOrder,
    PlayedOut,
    PlayFile,
    PlayFiller,
    PromptPlayed,
    Reconfigure,
    Record,
    Release,
    ReleaseAgent,
    Report,
    SilenceLasted,
    SpeakText,
    Spoken,
    StopCollecting,
    StopFile,
    StopFiller,
    StreamDown,
    StreamMissing,
    StreamUp,
    TellAgent,
    ToolAsked,
    ToolResult,
    Unheard,
)
from control.outputs import CloseCarrier, ConnectAgent, Finish, Synthesise, Unrecorded, UseProvider
from control.policy import BargeIn, Deadlines, DigitPolicy
from control.records import media_summary
from control.requests import RecordingAction
from control.timeline import TimelineEvent
from media import g711
from media.audio import PCMU_8K
from media.dtmf import tone
from media.realtime.configuration import ToolSpec
from media.realtime.events import Role
from telephony.carrier import WIRES
from telephony.causes import EndedReason
from telephony.stream import CarrierStream
from tests.control.test_bridge import Rig
from tests.tones import Samples, level, samples, stretches

MUSIC = tone("7", 1.0)
"""852 and 1209 Hz."""


class Controlled(Rig):
    """A rig whose bridge has a call's machine beside it: we are the machine."""

    def __init__(self, **policy: Any) -> None:
        super().__init__(**{"controlled": True, **policy})

    def order(self, *orders: MediaOrder) -> "Controlled":
        for order in orders:
            self.bridge.order(order, self.now)
        self._take()
        return self

    def reports(self, *kinds: type[Report]) -> list[Report]:
        """What was reported, of these kinds if any are named."""
        told = [each for each in self.news if not isinstance(each, TimelineEvent)]
        return [each for each in told if not kinds or isinstance(each, kinds)]

    def up(self) -> "Controlled":
        super().up()
        self.news.clear()
        self.actions.clear()
        return self

    def say_prompt(self, seconds: float = 1.0, ticket: str = "t1", **options: Any) -> None:
        """Order a text and hand its voice over at once."""
        self.order(SpeakText(ticket, "Please enter your number.", **options))
        self.voice(ticket, seconds)

    def voice(self, ticket: str, seconds: float = 1.0) -> None:
        self.bridge.prompt_ready(ticket, tone("5", seconds, 24_000), 24_000, self.now)
        self._take()

    def speech_begins(self) -> None:
        self.hear("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)

    def speech_ends(self) -> None:
        self.hear("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=0)

    def injected(self, role: str) -> list[str]:
        created = [each["item"] for each in self.sent("conversation.item.create")]
        return [each["content"][0]["text"] for each in created if each.get("role") == role]

    def heard(self, since: float, until: float) -> Samples:
        """What the caller heard between two times."""
        return samples(g711.decode(self.line.recording(since, until), PCMU_8K.encoding))

    def tones(self, frequency: float, loud: float = 4_000) -> list[tuple[float, float]]:
        """When the caller heard a tone; keys are at 10,000, what one leaks into another's frequency far below."""
        return stretches(self.heard(0.0, self.now + 0.02), frequency, loud)


PROMPT, AGENT = 770, 1_633
"""Hz: tones of the prompt and of the agent that nobody else has."""
SPEECH = g711.encode(tone("D", 1.0), PCMU_8K.encoding)


# --- the stream


def test_the_carriers_stop_is_reported_and_ends_nothing() -> None:
    rig = Controlled().up()
    rig.say("stop", stop={"callSid": "CA1"}, streamSid="MZ1")
    rig.until(1.0)
    assert rig.reports() == [StreamDown(1, stopped=True)]
    assert rig.actions == [CloseCarrier()]
    rig.until(3.0)
    assert rig.reports(StreamMissing) == [StreamMissing()]
    assert not rig.bridge.over()


def test_a_lost_socket_is_reported_and_missed_after_the_grace() -> None:
    rig = Controlled().up()
    rig.bridge.carrier_lost(1006, "gone", rig.now)
    rig._take()
    rig.until(1.9)
    assert rig.reports() == [StreamDown(1, stopped=False)]
    rig.until(2.1)
    assert rig.reports(StreamMissing) == [StreamMissing()]
    rig.attach()
    assert rig.reports(StreamUp) == [StreamUp(2, "MZ1")]


def test_audio_we_cannot_decode_costs_the_stream_and_is_reported() -> None:
    rig = Controlled()
    rig.bridge.carrier_attached(CarrierStream(WIRES["telnyx"]), 0.0)
    media_format = {"encoding": "OPUS", "sample_rate": 48_000, "channels": 1}
    rig.say("start", start={"call_control_id": "c", "media_format": media_format}, stream_id="MZ1")
    assert rig.reports() == [StreamDown(1, stopped=False)]
    assert not rig.bridge.over()


def test_a_stream_without_media_is_reported_again_and_again() -> None:
    rig = Controlled(deadlines=Deadlines(media_watchdog=5.0)).up()
    rig.until(10.5)
    assert rig.reports(MediaDead) == [MediaDead(), MediaDead()]


def test_while_a_break_is_expected_nothing_is_missed() -> None:
    rig = Controlled(deadlines=Deadlines(media_watchdog=5.0, silence=3.0)).up()
    rig.order(ExpectBreak(Unheard.KEEP))
    rig.say("stop", stop={"callSid": "CA1"}, streamSid="MZ1")
    rig.until(30.0)
    assert rig.reports() == [StreamDown(1, stopped=True)]
    rig.order(ExpectStream())
    rig.until(32.1)
    assert rig.reports(StreamMissing) == [StreamMissing()]
    assert not rig.bridge.ws_unavailable


def test_a_break_that_keeps_sends_again_what_was_not_heard() -> None:
    rig = Controlled().up()
    rig.begin()
    rig.speak(SPEECH * 3)
    rig.done()
    rig.until(1.0)
    rig.order(ExpectBreak(Unheard.KEEP))
    rig.line.break_off(rig.now)
    rig.say("stop", stop={"callSid": "CA1"}, streamSid="MZ1")
    rig.until(5.0)
    rig.attach()
    rig.until(8.0)
    assert rig.sent("conversation.item.truncate") == []
    assert rig.tones(AGENT) == [(0.0, 1.0), (5.0, 7.0)]


def test_a_break_that_cuts_tells_the_model_what_was_heard() -> None:
    rig = Controlled().up()
    rig.begin()
    rig.speak(SPEECH * 3)
    rig.done()
    rig.until(1.0)
    rig.order(ExpectBreak(Unheard.CUT))
    (cut,) = rig.sent("conversation.item.truncate")
    assert cut["audio_end_ms"] == 1_000
    rig.say("stop", stop={"callSid": "CA1"}, streamSid="MZ1")
    rig.begin("resp_2")
    rig.speak(SPEECH, "item_2", "resp_2")
    rig.until(5.0)
    rig.attach()
    rig.until(8.0)
    assert rig.tones(AGENT) == [(0.0, 1.0)]
    assert rig.events("agent.cut")[0]["heard_ms"] == 1_000
    assert rig.bridge.turns.barge_ins == 0


def test_only_the_machine_ends_a_controlled_call() -> None:
    rig = Controlled(deadlines=Deadlines(max_duration=5.0, silence=2.0, media_watchdog=3.0)).up()
    rig.until(60.0)
    assert not rig.bridge.over()
    rig.order(EndMedia(EndedReason.MAX_DURATION))
    assert rig.bridge.ended_reason == "max-duration"
    assert rig.actions[-1] == Finish("max-duration")
    assert rig.events("call.ended") == []


def test_a_released_call_needs_no_media() -> None:
    rig = Controlled().up().order(Release())
    assert rig.bridge.over()
    assert rig.actions[-1] == Finish("transfer")
    rig.order(HoldAgent("hold"))
    assert rig.reports() == []


# --- the agent


def test_an_agent_is_up_before_and_after_it_is_joined() -> None:
    rig = Controlled(greeting="Hello.")
    rig.connect()
    rig.confirm()
    assert rig.reports() == [AgentUp(joined=False)]
    rig.attach()
    assert rig.reports(AgentUp)[1:] == [AgentUp(joined=True)]
    assert len(rig.sent("response.create")) == 1
    assert rig.events("call.started") == rig.events("call.answered") == []


def test_an_agent_that_cannot_be_replaced_is_reported_gone() -> None:
    rig = Controlled(deadlines=Deadlines(agent_retries=(0.0,))).up()
    for _ in range(2):
        rig.bridge.agent_lost(1006, "gone", rig.now)
        rig._take()
    assert rig.reports() == [AgentGone("gone")]
    assert not rig.bridge.over()


def test_silence_is_reported_until_somebody_speaks() -> None:
    rig = Controlled(deadlines=Deadlines(silence=3.0)).up()
    rig.until(6.5)
    assert rig.reports() == [SilenceLasted(), SilenceLasted()]
    rig.speech_begins()
    assert rig.reports()[2:] == [Spoken()]
    rig.speech_ends()
    rig.until(9.0)
    assert rig.reports()[3:] == []


def test_an_agents_prompt_is_no_sign_of_life() -> None:
    rig = Controlled(deadlines=Deadlines(silence=3.0)).up()
    rig.until(3.5)
    rig.say_prompt(1.0)
    rig.until(7.0)
    assert rig.reports() == [SilenceLasted(), PromptPlayed("t1", ok=True)]
    rig.until(7.6)
    assert rig.reports(SilenceLasted, Spoken) == [SilenceLasted(), SilenceLasted()]


# --- holds


def test_an_agent_on_hold_is_silent_and_deaf_and_the_caller_hears_the_tone() -> None:
    rig = Controlled().up()
    rig.begin()
    rig.speak(SPEECH * 3)
    rig.until(0.5)
    rig.order(HoldAgent("hold", tone=True))
    assert [each["audio_end_ms"] for each in rig.sent("conversation.item.truncate")] == [500]
    assert len(rig.sent("response.cancel")) == 1
    rig.speak(SPEECH)
    for _ in range(50):
        rig.frame()
    rig.until(9.0)
    assert rig.sent("input_audio_buffer.append") == []
    assert rig.tones(AGENT) == [(0.0, 0.5)]
    beeps = [begin for begin, _ in rig.tones(425, loud=1_000)]
    assert len(beeps) == 6  # two every four seconds
    assert beeps[1] - beeps[0] == pytest.approx(0.4, abs=0.021)
    assert beeps[2] - beeps[0] == pytest.approx(4.0, abs=0.021)
    assert len(rig.events("ai.speech.started")) == 1
    assert rig.bridge.transcript.utterances == []


def test_the_end_of_a_hold_silences_its_tone_and_tells_the_model() -> None:
    rig = Controlled().up().order(HoldAgent("hold", tone=True))
    rig.until(4.1)
    rig.order(ReleaseAgent("hold", tell="The caller was on hold.", respond=True))
    assert rig.clears == 1
    assert rig.injected("system") == ["The caller was on hold."]
    assert len(rig.sent("response.create")) == 1
    rig.frame()
    assert len(rig.sent("input_audio_buffer.append")) == 1
    rig.until(9.0)
    assert rig.tones(425, loud=1_000)[-1][1] == pytest.approx(4.1, abs=0.03)


def test_holds_nest_by_reason() -> None:
    rig = Controlled().up().order(HoldAgent("hold", audio=MUSIC), HoldAgent("transfer"))
    rig.order(ReleaseAgent("hold", respond=True))
    rig.frame()
    assert rig.sent("response.create") == []
    rig.order(ReleaseAgent("transfer", tell="Nobody answered."))
    assert len(rig.sent("response.create")) == 1
    rig.order(ReleaseAgent("transfer"))
    rig.frame()
    assert len(rig.sent("input_audio_buffer.append")) == 1


def test_hold_music_plays_in_a_loop_without_a_seam() -> None:
    rig = Controlled().up().order(HoldAgent("hold", audio=MUSIC))
    rig.until(7.0)
    assert rig.tones(852) == [(0.0, 7.0)]


def test_a_caller_cut_off_in_mid_speech_does_not_leave_the_model_hanging() -> None:
    """Its voice detection goes by the audio it gets: it forgets the turn, and hears silence enough to end one."""
    rig = Controlled().up()
    rig.speech_begins()
    rig.order(HoldAgent("hold"))
    kinds = [each["type"] for each in rig.to_agent]
    assert kinds == ["input_audio_buffer.clear", "input_audio_buffer.append"]
    assert len(b64decode(rig.to_agent[1]["audio"])) == 0.8 * 8_000
    rig.speech_ends()
    rig.begin("resp_9")
    assert [each["response_id"] for each in rig.sent("response.cancel")] == ["resp_9"]
    assert len(rig.events("speech.ended")) == 1


def test_a_greeting_waits_for_the_end_of_a_hold() -> None:
    rig = Controlled(greeting="Hello.")
    rig.order(HoldAgent("consent"))
    rig.up()
    assert rig.sent("response.create") == []
    rig.order(ReleaseAgent("consent"))
    (asked,) = rig.sent("response.create")
    assert asked["response"]["instructions"] == "Hello."


# --- last words


def test_what_is_being_said_is_heard_before_it_is_reported_played() -> None:
    rig = Controlled().up()
    rig.begin()
    rig.speak(SPEECH)
    rig.order(AwaitPlayout("bye"))
    rig.until(0.5)
    rig.speech_begins()
    rig.speak(SPEECH)
    rig.done()
    rig.frame()
    rig.until(1.9)
    assert rig.reports() == []
    assert rig.clears == 0
    assert rig.sent("input_audio_buffer.append") == []
    rig.until(2.1)
    assert rig.reports() == [PlayedOut("bye")]
    rig.frame()
    assert len(rig.sent("input_audio_buffer.append")) == 1


def test_nothing_being_said_is_heard_at_once() -> None:
    assert Controlled().up().order(AwaitPlayout("bye")).reports() == [PlayedOut("bye")]


def test_words_that_were_asked_for_are_last_words_and_those_after_them_are_not() -> None:
    rig = Controlled().up().order(InstructAgent("Goodbye."), AwaitPlayout("bye"))
    assert "Goodbye." in rig.sent("response.create")[0]["response"]["instructions"]
    rig.begin("resp_1")
    rig.speak(SPEECH)
    rig.done()
    rig.begin("resp_2")
    assert [each["response_id"] for each in rig.sent("response.cancel")] == ["resp_2"]
    rig.until(1.1)
    assert rig.reports() == [PlayedOut("bye")]


def test_last_words_have_a_limit() -> None:
    rig = Controlled(deadlines=Deadlines(goodbye=2.0)).up()
    rig.begin()
    rig.speak(SPEECH * 5)
    rig.order(AwaitPlayout("bye"))
    rig.until(2.1)
    assert rig.reports() == [PlayedOut("bye", in_time=False)]


def test_a_wait_called_off_lets_the_caller_interrupt_again() -> None:
    rig = Controlled().up()
    rig.begin()
    rig.speak(SPEECH * 2)
    rig.order(AwaitPlayout("bye"), CancelAwait("bye"))
    rig.until(0.5)
    rig.speech_begins()
    assert rig.clears == 1
    assert rig.reports() == []


def test_a_prompt_that_has_no_voice_yet_is_waited_for() -> None:
    rig = Controlled().up().order(SpeakText("t1", "One moment."), AwaitPlayout("bye"))
    rig.until(1.0)
    assert rig.reports() == []
    rig.voice("t1", 1.0)
    rig.until(2.1)
    assert rig.reports() == [PromptPlayed("t1", ok=True), PlayedOut("bye")]


# --- prompts


def test_a_prompt_is_heard_transcribed_and_told_to_the_model() -> None:
    rig = Controlled().up().order(SpeakText("t1", "Please hold.", voice="f", language="en-GB"))
    assert rig.actions == [Synthesise("t1", "Please hold.", "f", "en-GB")]
    rig.voice("t1", 1.0)
    rig.until(0.9)
    assert rig.reports() == []
    rig.until(1.1)
    assert rig.reports() == [PromptPlayed("t1", ok=True)]
    assert rig.tones(PROMPT) == [(0.0, 1.0)]
    assert rig.injected("assistant") == ["Please hold."]
    assert [(each.role, each.text) for each in rig.bridge.transcript.utterances] == [
        (Role.AGENT, "Please hold.")
    ]


def test_an_interrupted_prompt_is_told_as_far_as_it_was_heard() -> None:
    rig = Controlled().up()
    rig.say_prompt(2.0)
    rig.until(0.5)
    rig.speech_begins()
    assert rig.clears == 1
    assert rig.reports(PromptPlayed) == [PromptPlayed("t1", ok=False, detail="interrupted")]
    assert "0.5 s into 2.0 s" in rig.injected("system")[0]
    assert rig.sent("conversation.item.truncate") == rig.sent("conversation.item.delete") == []
    assert rig.bridge.transcript.utterances[0].heard_ms == 500


def test_a_prompt_that_may_not_be_interrupted_is_not() -> None:
    rig = Controlled().up()
    rig.say_prompt(1.0, interruptible=False)
    rig.until(0.5)
    rig.speech_begins()
    rig.until(1.1)
    assert rig.clears == 0
    assert rig.reports() == [PromptPlayed("t1", ok=True)]


def test_a_prompt_waits_for_the_end_of_the_response_and_never_falls_into_it() -> None:
    rig = Controlled().up()
    rig.begin()
    rig.speak(SPEECH)
    rig.say_prompt(1.0)
    rig.speak(SPEECH)
    rig.done()
    rig.until(3.1)
    assert rig.tones(AGENT) == [(0.0, 2.0)]
    assert rig.tones(PROMPT) == [(2.0, 3.0)]


def test_prompts_are_heard_in_the_order_in_which_they_were_asked_for() -> None:
    rig = Controlled().up()
    rig.order(SpeakText("t1", "One."), PlayFile("t2", MUSIC, 8_000))
    rig.voice("t1", 1.0)
    rig.until(2.1)
    assert rig.tones(PROMPT) == [(0.0, 1.0)]
    assert rig.tones(852) == [(1.0, 2.0)]
    assert rig.reports() == [PromptPlayed("t1", ok=True), PromptPlayed("t2", ok=True)]


def test_a_text_without_a_voice_is_reported_and_holds_up_nobody() -> None:
    rig = Controlled().up().order(SpeakText("t1", "One."), PlayFile("t2", MUSIC, 8_000))
    rig.bridge.prompt_failed("t1", "no voice", rig.now)
    rig._take()
    rig.until(1.1)
    assert rig.reports() == [PromptPlayed("t1", ok=False, detail="no voice"), PromptPlayed("t2", ok=True)]
    rig.voice("t1")
    rig.until(3.0)
    assert len(rig.reports()) == 2


def test_too_many_prompts_are_refused() -> None:
    rig = Controlled().up().order(*(SpeakText(f"t{number}", "Again.") for number in range(33)))
    assert rig.reports() == [PromptPlayed("t32", ok=False, detail="too many prompts wait")]


def test_prompts_nobody_heard_are_reported_at_the_end() -> None:
    rig = Controlled().up()
    rig.say_prompt(2.0)
    rig.order(SpeakText("t2", "Two."), EndMedia(EndedReason.API))
    assert rig.reports() == [
        PromptPlayed(ticket, ok=False, detail="the call ended") for ticket in ("t1", "t2")
    ]


def test_a_prompt_before_the_first_stream_waits_for_it() -> None:
    rig = Controlled()
    rig.say_prompt(1.0)
    rig.until(2.0)
    rig.up()
    rig.until(3.1)
    assert rig.tones(PROMPT) == [(2.0, 3.0)]


def test_a_prompt_heard_while_the_session_is_replaced_is_in_its_history() -> None:
    rig = Controlled().up()
    rig.bridge.agent_lost(1006, "gone", rig.now)
    rig._take()
    rig.say_prompt(1.0)
    rig.until(1.5)
    rig.connect()
    assert rig.injected("assistant") == ["Please enter your number."]


# --- files


def test_a_loop_plays_while_nothing_is_said_and_gives_way_to_the_agent() -> None:
    rig = Controlled().up().order(PlayFile("music", MUSIC, 8_000, loop=True))
    rig.until(2.0)
    rig.begin()
    rig.speak(SPEECH)
    rig.done()
    rig.until(5.0)
    rig.order(StopFile())
    rig.until(7.0)
    assert rig.tones(852) == [(0.0, 2.0), (3.0, 5.0)]
    assert rig.tones(AGENT) == [(2.0, 3.0)]
    assert rig.reports() == [PromptPlayed("music", ok=False, detail="stopped")]


@pytest.mark.parametrize("user_first", [True, False])
def test_a_filler_is_heard_where_no_file_plays_and_takes_nothing_from_one(user_first: bool) -> None:
    rig = Controlled().up()
    file, filler = PlayFile("music", MUSIC, 8_000, loop=True), PlayFiller("typing", tone("5", 1.0), 8_000)
    first, second = (file, filler) if user_first else (filler, file)
    rig.order(first)
    rig.until(2.0)
    rig.order(second)
    rig.until(4.0)
    rig.order(StopFiller())
    rig.until(6.0)
    assert rig.tones(852) == [(0.0 if user_first else 2.0, 6.0)]
    assert rig.tones(PROMPT) == ([] if user_first else [(0.0, 2.0)])
    assert rig.reports() == [PromptPlayed("typing", ok=False, detail="stopped")]


def test_a_filler_goes_on_where_a_file_is_stopped() -> None:
    rig = Controlled().up()
    rig.order(PlayFiller("typing", tone("5", 1.0), 8_000), PlayFile("music", MUSIC, 8_000, loop=True))
    rig.until(2.0)
    rig.order(StopFile())
    rig.until(4.0)
    rig.order(StopFiller())
    rig.until(6.0)
    assert (rig.tones(852), rig.tones(PROMPT)) == ([(0.0, 2.0)], [(2.0, 4.0)])


def test_a_file_that_is_stopped_leaves_the_agents_words_behind_it_alone() -> None:
    rig = Controlled().up().order(PlayFile("f", MUSIC * 4, 8_000))
    rig.begin()
    rig.speak(SPEECH)
    rig.done()
    rig.until(1.0)
    rig.order(StopFile())
    rig.until(4.0)
    (music,) = rig.tones(852)
    assert music[1] <= 1.0 + 0.2 + 0.021  # what the carrier had is heard
    (spoken,) = rig.tones(AGENT)
    assert spoken[0] == music[1]
    assert spoken[1] == pytest.approx(music[1] + 1.0, abs=0.021)
    assert rig.reports() == [PromptPlayed("f", ok=False, detail="stopped")]


def test_a_file_too_long_for_playout_is_refused() -> None:
    rig = Controlled().up().order(PlayFile("f", bytes(16_000 * 600), 8_000))
    (told,) = rig.reports()
    assert isinstance(told, PromptPlayed)
    assert not told.ok


# --- what the model is told and asked


def test_what_the_model_is_told_it_is_told_again_in_the_next_session() -> None:
    rig = Controlled().up().order(TellAgent(Role.SYSTEM, "The caller is a customer.", respond=True))
    assert rig.injected("system") == ["The caller is a customer."]
    assert len(rig.sent("response.create")) == 1
    assert rig.bridge.transcript.utterances == []
    rig.bridge.agent_lost(1006, "gone", rig.now)
    rig.to_agent.clear()
    rig.connect()
    assert rig.injected("system")[0] == "The caller is a customer."


def test_an_agent_that_is_not_there_is_asked_when_it_is() -> None:
    rig = Controlled().up()
    rig.bridge.agent_lost(1006, "gone", rig.now)
    rig.order(InstructAgent("We are closed."))
    rig.connect()
    rig.confirm()
    (asked,) = rig.sent("response.create")
    assert "We are closed." in asked["response"]["instructions"]


def call_tool(rig: Controlled, call_id: str = "c1") -> None:
    rig.begin()
    item = {
        "id": "item_f",
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": "lookup",
        "arguments": '{"id": 7}',
    }
    rig.hear("response.output_item.done", response_id="resp_1", output_index=0, item=item)


def outputs_of(rig: Controlled) -> list[str]:
    items = [each["item"] for each in rig.sent("conversation.item.create")]
    return [item["output"] for item in items if item["type"] == "function_call_output"]


def test_a_tool_is_asked_for_and_its_result_answered() -> None:
    rig = Controlled().up()
    call_tool(rig)
    rig.hear("response.done", response={"id": "resp_1", "status": "completed", "output": []})
    assert rig.reports() == [ToolAsked("c1", "lookup", '{"id": 7}')]
    rig.order(ToolResult("c1", "found"), ToolResult("c1", "twice"), ToolResult("c2", "unknown"))
    assert outputs_of(rig) == ["found"]
    assert len(rig.sent("response.create")) == 1


def test_the_tool_of_a_call_that_was_barged_into_gets_its_result_and_no_turn() -> None:
    rig = Controlled().up()
    call_tool(rig)
    rig.speech_begins()
    rig.hear("response.done", response={"id": "resp_1", "status": "cancelled", "output": []})
    rig.order(ToolResult("c1", "found"))
    assert outputs_of(rig) == ["found"]
    assert rig.sent("response.create") == []


def test_the_result_for_a_session_that_is_gone_is_told_to_the_next() -> None:
    rig = Controlled().up()
    call_tool(rig)
    rig.bridge.agent_lost(1006, "gone", rig.now)
    rig.order(ToolResult("c1", "found"))
    rig.connect()
    rig.confirm()
    assert outputs_of(rig) == []
    assert "lookup" in rig.injected("system")[0]
    assert "found" in rig.injected("system")[0]
    assert len(rig.sent("response.create")) == 1


def test_a_result_that_comes_on_hold_is_answered_after_it() -> None:
    rig = Controlled().up()
    call_tool(rig)
    rig.hear("response.done", response={"id": "resp_1", "status": "completed", "output": []})
    rig.order(HoldAgent("hold"), ToolResult("c1", "found"))
    assert rig.sent("response.create") == []
    rig.order(ReleaseAgent("hold"))
    assert len(rig.sent("response.create")) == 1


# --- keys


def test_collected_keys_are_reported_and_the_model_does_not_hear_of_them() -> None:
    rig = Controlled().up().order(CollectDigits())
    rig.press("12#")
    rig.until(3.0)
    assert rig.reports() == [DigitReported(digit) for digit in "12#"]
    assert rig.injected("user") == []
    assert [each["digit"] for each in rig.events("call.dtmf.received")] == ["1", "2", "#"]
    rig.order(StopCollecting())
    rig.press("9")
    rig.until(6.0)
    assert rig.injected("user") == ["[The caller pressed these keys: 9]"]


def test_a_key_ends_the_question_it_answers() -> None:
    rig = Controlled().up().order(HoldAgent("gather"), CollectDigits())
    rig.say_prompt(3.0)
    rig.until(1.0)
    rig.press("1")
    rig.until(1.2)
    assert rig.reports() == [DigitReported("1"), PromptPlayed("t1", ok=False, detail="interrupted")]
    rig.until(4.0)
    assert rig.tones(PROMPT)[0][1] == pytest.approx(1.15, abs=0.03)


@pytest.mark.parametrize("in_band", [False, True], ids=["reported", "as tones"])
def test_secret_keys_leave_no_trace(in_band: bool) -> None:
    rig = Controlled(digits=DigitPolicy(in_band=in_band)).up()
    talk(rig, 1.0, "8")
    rig.order(CollectDigits(secret=True))
    if not in_band:
        rig.press("45")
    talk(rig, 0.5, "4")
    talk(rig, 0.5, "5")
    rig.order(StopCollecting())
    talk(rig, 2.1, "6")
    rig.to_agent.clear()
    talk(rig, 1.0, "7")
    rig.order(EndMedia(EndedReason.API))
    assert rig.reports(DigitReported) == [DigitReported("4"), DigitReported("5")]
    pressed = [each["digit"] for each in rig.events("call.dtmf.received")]
    assert pressed == (["8", "7"] if in_band else [])
    caller = samples(b"".join(each for each in rig.recording if isinstance(each, bytes)))[::2]
    assert level(caller[:8_000], 852) > 1_000
    assert not caller[8_200 : 8_000 * 4].any()
    assert level(caller[-7_000:], 852) > 1_000
    assert len(rig.sent("input_audio_buffer.append")) == 50


def talk(rig: Controlled, seconds: float, key: str) -> None:
    """The caller leans on a key."""
    audio = g711.encode(tone(key, seconds), PCMU_8K.encoding)
    for at in range(0, len(audio) - 159, 160):
        rig.frame(audio[at : at + 160])
        rig.until(rig.now + 0.02)


# --- the recording


def test_a_paused_recording_is_silent_and_as_long() -> None:
    rig = Controlled().up()
    talk(rig, 1.0, "8")
    rig.order(Record(RecordingAction.PAUSE))
    talk(rig, 1.0, "8")
    rig.order(Record(RecordingAction.RESUME))
    talk(rig, 1.0, "8")
    assert loud_seconds(rig) == [True, False, True]


def test_a_recording_started_in_mid_call_keeps_its_positions() -> None:
    rig = Controlled(record=False).up()
    talk(rig, 1.0, "8")
    rig.order(Record(RecordingAction.START))
    rig.begin()
    rig.speak(SPEECH)
    talk(rig, 1.0, "8")
    rig.order(EndMedia(EndedReason.API))
    assert rig.recording[0] == Unrecorded(8_000)
    stereo = np.frombuffer(recorded(rig), "<i2").reshape(-1, 2).astype(float)
    assert not stereo[:8_000].any()
    assert level(stereo[8_000:16_000, 0], 852) > 1_000
    assert level(stereo[8_200:15_000, 1], AGENT) > 1_000


def test_a_recording_that_was_stopped_ends_there_and_may_go_on() -> None:
    rig = Controlled().up()
    talk(rig, 1.0, "8")
    rig.order(Record(RecordingAction.STOP))
    talk(rig, 5.0, "8")
    rig.order(Record(RecordingAction.START))
    talk(rig, 1.0, "8")
    rig.order(Record(RecordingAction.STOP))
    talk(rig, 5.0, "8")
    rig.order(EndMedia(EndedReason.API))
    stereo = recorded(rig)
    assert len(stereo) // 4 == 8_000 * 7
    assert loud_seconds_of(stereo) == [True, False, False, False, False, False, True]
    assert [each["action"] for each in rig.events("recording.changed")] == ["stop", "start", "stop"]


def recorded(rig: Controlled) -> bytes:
    return b"".join(
        bytes(4 * each.samples) if isinstance(each, Unrecorded) else each for each in rig.recording
    )


def loud_seconds(rig: Controlled) -> list[bool]:
    rig.order(EndMedia(EndedReason.API))
    return loud_seconds_of(recorded(rig))


def loud_seconds_of(stereo: bytes) -> list[bool]:
    """Whether the caller is heard in each second of a recording."""
    caller = samples(stereo)[::2]
    return [
        bool(level(caller[at + 400 : at + 7_600], 852) > 1_000) for at in range(0, len(caller) - 7_999, 8_000)
    ]


# --- what is followed


def test_the_timeline_is_told_among_the_reports_in_the_order_of_things() -> None:
    rig = Controlled(deadlines=Deadlines(silence=3.0)).up()
    rig.until(3.1)
    rig.speech_begins()
    names = [each.name if isinstance(each, TimelineEvent) else type(each).__name__ for each in rig.news]
    assert names == ["SilenceLasted", "speech.started", "Spoken"]


def test_a_bare_call_reports_nothing() -> None:
    rig = Rig().up()
    rig.press("1")
    rig.until(2.0)
    assert rig.news == []


def test_a_gateway_that_decides_on_barge_in_is_held_too() -> None:
    rig = Controlled(barge_in=BargeIn(min_speech=0.2)).up()
    rig.speech_begins()
    rig.order(HoldAgent("hold"))
    rig.speech_ends()
    talk(rig, 0.5, "8")
    assert rig.sent("response.create") == []
    assert rig.sent("input_audio_buffer.clear")


# --- another configuration


LOOK_UP = Reconfigure(
    instructions="Help Ada.", greeting="Greet Ada.", tools=(ToolSpec("look_up", "Finds an order."),)
)


def configured(rig: Controlled) -> list[tuple[str, list[str]]]:
    """What the model was told to be, each time: instructions and tools."""
    told = [each["session"] for each in rig.sent("session.update")]
    return [(each["instructions"], [tool["name"] for tool in each["tools"]]) for each in told]


def asked_for(rig: Controlled) -> list[str | None]:
    """With which instructions responses were asked for."""
    return [each.get("response", {}).get("instructions") for each in rig.sent("response.create")]


def test_a_configuration_that_comes_before_the_session_is_the_sessions_first() -> None:
    rig = Controlled(greeting="Hello.")
    rig.order(LOOK_UP)
    rig.connect()
    rig.confirm()
    rig.attach()
    assert configured(rig) == [("Help Ada.", ["look_up"])]
    assert asked_for(rig) == ["Greet Ada."]


def test_a_configuration_that_comes_before_the_greeting_is_told_before_it() -> None:
    rig = Controlled(greeting="Hello.")
    rig.connect()
    rig.confirm()
    rig.order(LOOK_UP)
    assert configured(rig) == [("", []), ("Help Ada.", ["look_up"])]
    assert "voice" not in str(rig.sent("session.update")[-1])
    rig.attach()
    assert asked_for(rig) == ["Greet Ada."]


def test_a_configuration_that_comes_late_waits_for_the_end_of_the_response() -> None:
    rig = Controlled(greeting="Hello.").up()
    rig.begin()
    rig.speak(SPEECH)
    rig.order(LOOK_UP)
    assert configured(rig) == []
    rig.done()
    assert configured(rig) == [("Help Ada.", ["look_up"])]
    assert asked_for(rig) == []  # the greeting had been asked for
    rig.until(5.0)
    assert len(configured(rig)) == 1


def test_a_configuration_that_waits_is_told_though_another_comes_without_any() -> None:
    rig = Controlled().up()
    rig.begin()
    rig.speak(SPEECH)
    rig.order(LOOK_UP)
    rig.order(Reconfigure(greeting="Greet Bob."))
    rig.done()
    assert configured(rig) == [("Help Ada.", ["look_up"])]


def test_an_empty_greeting_lets_the_caller_speak_first() -> None:
    rig = Controlled(greeting="Hello.")
    rig.connect()
    rig.confirm()
    rig.order(Reconfigure(greeting=""))
    rig.attach()
    assert asked_for(rig) == []
    assert configured(rig) == [("", [])]


def test_what_was_changed_is_so_in_every_later_session() -> None:
    rig = Controlled().up()
    rig.order(Reconfigure(instructions="Help Ada."))
    rig.order(Reconfigure(tools=()))
    rig.to_agent.clear()
    rig.bridge.agent_lost(1006, "gone", rig.now)
    rig._take()
    rig.connect()
    assert configured(rig) == [("Help Ada.", [])]


# --- other providers


TWO = ("default", "spare")


def lose(rig: Controlled, *, retry: bool = True) -> list[object]:
    """The model's socket is gone; what is done about it."""
    rig.actions.clear()
    rig.bridge.agent_lost(1006, "gone", rig.now, retry=retry)
    rig._take()
    return [each for each in rig.actions if isinstance(each, ConnectAgent | UseProvider)]


def test_a_session_that_cannot_be_had_is_had_from_the_next_provider_at_once() -> None:
    rig = Controlled(providers=TWO)
    assert lose(rig) == [UseProvider(1), ConnectAgent(0.0, "gone")]
    (told,) = rig.events("agent.failover")
    assert (told["from_provider"], told["to_provider"], told["reason"]) == ("default", "spare", "gone")
    assert rig.reports(AgentGone) == []


def test_what_each_providers_model_has_consumed_is_told_apart() -> None:
    rig = Controlled(providers=TWO).up()
    rig.hear("response.created", response={"id": "r1"})
    rig.hear("response.done", response={"id": "r1", "status": "completed", "usage": tokens(3)})
    lose(rig)
    rig.connect()
    rig.confirm()
    rig.hear("response.created", response={"id": "r2"})
    rig.hear("response.done", response={"id": "r2", "status": "completed", "usage": tokens(4)})
    summary = media_summary(rig.bridge, None)
    assert [usage.audio_out for usage in summary.usages] == [3, 4]
    assert summary.usage["audio_out"] == 7


def tokens(audio_out: int) -> dict[str, object]:
    return {"output_tokens": audio_out, "output_token_details": {"audio_tokens": audio_out}}


def test_the_last_provider_is_asked_again_and_then_there_is_no_agent() -> None:
    rig = Controlled(providers=TWO, deadlines=Deadlines(agent_retries=(0.0, 0.5)))
    lose(rig)
    assert lose(rig) == [ConnectAgent(0.0, "gone")]
    assert lose(rig) == [ConnectAgent(0.5, "gone")]
    assert lose(rig) == []
    assert rig.reports(AgentGone) == [AgentGone("gone")]


def test_a_session_that_was_sound_is_asked_for_once_more_where_it_was() -> None:
    rig = Controlled(providers=TWO).up()
    rig.until(60.0)
    assert lose(rig) == [ConnectAgent(0.0, "gone")]
    assert lose(rig) == [UseProvider(1), ConnectAgent(0.0, "gone")]


def test_a_provider_that_refuses_for_good_is_left_even_if_it_was_sound() -> None:
    rig = Controlled(providers=TWO).up()
    rig.until(60.0)
    rig.actions.clear()
    error = {
        "type": "invalid_request_error",
        "code": "insufficient_quota",
        "message": "You exceeded your quota.",
    }
    rig.hear("error", error=error)
    assert [each for each in rig.actions if isinstance(each, UseProvider)] == [UseProvider(1)]
    assert rig.events("agent.failover")[0]["to_provider"] == "spare"


def test_the_next_provider_is_told_what_was_said() -> None:
    rig = Controlled(greeting="Hello.", providers=TWO).up()
    rig.begin()
    rig.hear(
        "response.output_audio_transcript.done",
        response_id="resp_1",
        item_id="item_1",
        transcript="Good day.",
    )
    rig.speak(SPEECH)
    rig.done()
    rig.until(2.0)
    lose(rig)
    rig.to_agent.clear()
    rig.connect()
    rig.confirm()
    assert "Good day." in str(rig.sent("conversation.item.create"))
    assert rig.sent("response.create") == []  # it greets nobody twice


# --- texts that wait for silence


def test_a_patient_text_begins_when_nothing_else_is_being_said() -> None:
    rig = Controlled().up()
    rig.begin()
    rig.speak(g711.encode(tone("D", 2.0), PCMU_8K.encoding))
    rig.done()
    rig.say_prompt(1.0, patient=True)
    rig.until(5.0)
    ((begun, ended),) = rig.tones(PROMPT)
    assert begun == pytest.approx(2.0, abs=0.3)
    assert ended - begun == pytest.approx(1.0, abs=0.1)
    assert rig.reports(PromptPlayed) == [PromptPlayed("t1", ok=True)]


def test_a_patient_text_waits_for_the_text_before_it_too_and_can_be_dropped_meanwhile() -> None:
    rig = Controlled().up()
    rig.order(SpeakText("t1", "Wait."), SpeakText("t2", "One moment.", patient=True))
    rig.voice("t2", 1.0)
    rig.voice("t1", 2.0)
    rig.until(1.0)
    rig.order(DropText("t2"))
    rig.until(5.0)
    ((begun, ended),) = rig.tones(PROMPT)
    assert ended - begun == pytest.approx(2.0, abs=0.1)
    assert rig.reports(PromptPlayed) == [
        PromptPlayed("t2", ok=False, detail="not wanted any more"),
        PromptPlayed("t1", ok=True),
    ]


def test_a_text_that_is_dropped_before_it_begins_is_not_heard() -> None:
    rig = Controlled().up()
    rig.begin()
    rig.speak(g711.encode(tone("D", 2.0), PCMU_8K.encoding))
    rig.done()
    rig.say_prompt(1.0, patient=True)
    rig.until(1.0)
    rig.order(DropText("t1"))
    rig.until(5.0)
    assert rig.tones(PROMPT) == []
    assert rig.reports(PromptPlayed) == [PromptPlayed("t1", ok=False, detail="not wanted any more")]


def test_a_text_that_has_begun_is_heard_to_its_end() -> None:
    rig = Controlled().up()
    rig.say_prompt(1.0, patient=True)
    rig.until(0.5)
    rig.order(DropText("t1"))
    rig.until(3.0)
    assert rig.reports(PromptPlayed) == [PromptPlayed("t1", ok=True)]

"""The bridge as a machine: no loop, no socket; both sides are spoken to in their own words and time is an argument."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.bridge import Bridge
from control.media_orders import Report
from control.outputs import Action, CloseAgent, CloseCarrier, ConnectAgent, Finish, Unrecorded
from control.policy import BargeIn, CallPolicy, Deadlines, DigitPolicy
from control.timeline import TimelineEvent
from media.audio import PCM16_24K, PCMU_8K, AudioFormat, Encoding
from media.realtime.configuration import SessionConfig, TurnDetection
from media.realtime.session import RealtimeSession
from media.turns import Floor
from telephony.carrier import WIRES
from telephony.line import Line
from telephony.stream import CarrierStream

GREETING = "Greet the caller."
SECOND = bytes(8000)
FRAME = bytes(160)
NAMES = {Encoding.PCMU: "audio/pcmu", Encoding.PCMA: "audio/pcma", Encoding.PCM16: "audio/pcm"}


class Rig:
    """A bridge between a carrier's line, which plays and returns marks at once, and a model we speak for."""

    def __init__(self, *, carrier: str = "twilio", audio: AudioFormat = PCMU_8K, **policy: Any) -> None:
        self.policy = CallPolicy(**policy)
        self.carrier = carrier
        self.audio = audio
        self.now = 0.0
        self.bridge = Bridge(self.policy, 0.0)
        self.line = Line(PCMU_8K)
        self.returns_marks = True
        self.clears = 0
        self.to_agent: list[dict[str, Any]] = []
        self.actions: list[Action] = []
        self.news: list[Report | TimelineEvent] = []
        self.recording: list[bytes | Unrecorded] = []
        self.chunk = self.sessions = 0

    # --- the two sides' words

    def attach(self) -> None:
        self.bridge.carrier_attached(CarrierStream(WIRES[self.carrier]), self.now)
        if self.carrier == "telnyx":
            media_format = {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
            start = {"call_control_id": "call", "media_format": media_format}
            self.say("start", start=start, stream_id="MZ1", sequence_number="1")
        else:
            self.say("start", start={"streamSid": "MZ1", "callSid": "CA1"}, streamSid="MZ1")

    def say(self, event: str, **fields: Any) -> None:
        self.bridge.carrier_received(json.dumps({"event": event, **fields}).encode(), self.now)
        self._take()

    def frame(self, audio: bytes = FRAME, chunk: int | None = None) -> None:
        self.chunk = self.chunk + 1 if chunk is None else chunk
        media = {"track": "inbound", "chunk": str(self.chunk), "timestamp": "0", "payload": _text(audio)}
        self.say(
            "media", media=media, streamSid="MZ1", stream_id="MZ1", sequenceNumber="2", sequence_number="2"
        )

    def press(self, digits: str) -> None:
        for digit in digits:
            self.say(
                "dtmf", dtmf={"digit": digit, "track": "inbound_track"}, streamSid="MZ1", stream_id="MZ1"
            )

    def connect(self) -> None:
        """The model's socket is up and its session configured."""
        self.sessions += 1
        ours = self.policy.barge_in.ours
        detection = TurnDetection(create_response=not ours, interrupt_response=not ours)
        config = SessionConfig(
            model="m",
            voice="v",
            instructions="",
            input_format=self.audio,
            output_format=self.audio,
            turn_detection=detection,
        )
        self.bridge.agent_opened(RealtimeSession(config), self.now, 1e9 + self.now)
        self._take()

    def confirm(self, **session: Any) -> None:
        fmt = {"type": NAMES[self.audio.encoding], "rate": self.audio.rate}
        audio = {"input": {"format": fmt}, "output": {"format": fmt}}
        self.hear("session.updated", session={"id": f"sess_{self.sessions}", "audio": audio, **session})

    def hear(self, kind: str, **fields: Any) -> None:
        self.bridge.agent_received(json.dumps({"type": kind, "event_id": "e", **fields}).encode(), self.now)
        self._take()

    def begin(self, response: str = "resp_1") -> None:
        self.hear("response.created", response={"id": response, "status": "in_progress"})

    def speak(self, audio: bytes, item: str = "item_1", response: str = "resp_1") -> None:
        self.hear(
            "response.output_audio.delta",
            response_id=response,
            item_id=item,
            output_index=0,
            content_index=0,
            delta=_text(audio),
        )

    def done(self, item: str = "item_1", response: str = "resp_1", status: str = "completed") -> None:
        self.hear("response.output_audio.done", response_id=response, item_id=item)
        self.hear("response.done", response={"id": response, "status": status, "output": []})

    def up(self) -> "Rig":
        """Both sides are there, nobody has spoken."""
        self.attach()
        self.connect()
        self.confirm()
        self.to_agent.clear()
        return self

    # --- time, and what came out

    def until(self, end: float) -> None:
        """Let time pass: the line plays, the bridge is polled exactly when it asked to be."""
        for _ in range(10_000):
            due = min(self._bridge_due(), self.line.next_deadline() or inf)
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            self._return(self.line.poll(self.now))
            if self._bridge_due() <= self.now:
                self.bridge.armed = inf
                self.bridge.poll(self.now)
                self._take()
        raise AssertionError(f"the bridge does not come to rest at {self.now}")

    def _bridge_due(self) -> float:
        deadline = self.bridge.next_deadline()
        return inf if deadline is None else deadline

    def _take(self) -> None:
        outputs = self.bridge.outputs
        carrier, outputs.carrier = outputs.carrier, []
        for message in carrier:
            self._carrier_did(json.loads(message))
        self.to_agent += [json.loads(message) for message in outputs.agent]
        self.actions += outputs.actions
        self.news += outputs.news
        self.recording += outputs.recording
        for queue in (outputs.agent, outputs.actions, outputs.news, outputs.recording):
            queue.clear()

    def _carrier_did(self, message: dict[str, Any]) -> None:
        event: str = message["event"]
        match event:
            case "media":
                self.line.queue(_bytes(message["media"]["payload"]), self.now)
            case "mark":
                self.line.mark(message["mark"]["name"], self.now)
                self._return(self.line.poll(self.now))
            case "clear":
                self.clears += 1
                self._return(self.line.clear(self.now))
            case other:
                raise AssertionError(other)

    def _return(self, names: Any) -> None:
        for name in names:
            if self.returns_marks:
                self.say("mark", mark={"name": name}, streamSid="MZ1", stream_id="MZ1")

    def sent(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.to_agent if each["type"] == kind]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [each.as_dict() for each in self.bridge.timeline.events if each.name == name]

    def connects(self) -> list[float]:
        return [each.delay for each in self.actions if isinstance(each, ConnectAgent)]


def _text(audio: bytes) -> str:
    return b64encode(audio).decode()


def _bytes(text: str) -> bytes:
    return b64decode(text)


# --- barge-in: what the carrier holds and whether the model speaks are two questions


@pytest.mark.parametrize("playing", [True, False], ids=["playing", "silent"])
@pytest.mark.parametrize("responding", [True, False], ids=["responding", "finished"])
@pytest.mark.parametrize("decides", ["model", "gateway"])
def test_a_barge_in_stops_what_is_under_way_and_nothing_else(
    playing: bool, responding: bool, decides: str
) -> None:
    """Clear and truncate follow the carrier's playout, cancel follows the response: all four combinations."""
    rig = Rig(barge_in=BargeIn(protect_greeting=decides == "gateway")).up()
    rig.begin()
    rig.speak(SECOND)
    if not responding:
        rig.done()
    rig.until(0.5 if playing else 2.0)
    rig.hear("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    assert rig.clears == (1 if playing else 0)
    cuts = [(each["item_id"], each["audio_end_ms"]) for each in rig.sent("conversation.item.truncate")]
    assert cuts == ([("item_1", 500)] if playing else [])
    # A model that interrupts by itself has cancelled already; asked again, it would answer with an error.
    ours = decides == "gateway" and responding
    assert len(rig.sent("response.cancel")) == (1 if ours else 0)
    assert rig.sent("conversation.item.delete") == []


def test_what_was_not_begun_is_deleted_and_what_was_heard_is_left_alone() -> None:
    rig = Rig().up()
    rig.begin()
    for item in ("item_1", "item_2", "item_3"):
        rig.speak(SECOND, item)
        rig.hear("response.output_audio.done", response_id="resp_1", item_id=item)
    rig.until(1.25)
    rig.hear("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    (cut,) = rig.sent("conversation.item.truncate")
    assert (cut["item_id"], cut["audio_end_ms"]) == ("item_2", 250)
    assert [each["item_id"] for each in rig.sent("conversation.item.delete")] == ["item_3"]


def test_a_greeting_that_failed_does_not_protect_what_comes_after_it() -> None:
    rig = Rig(greeting=GREETING, barge_in=BargeIn(protect_greeting=True)).up()
    rig.begin()
    rig.hear("response.done", response={"id": "resp_1", "status": "failed", "output": []})
    rig.begin("resp_2")
    rig.speak(SECOND * 3, "item_2", "resp_2")
    rig.until(1.0)
    rig.hear("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    assert rig.clears == 1


def test_late_audio_of_a_cut_response_is_not_played() -> None:
    rig = Rig().up()
    rig.begin()
    rig.speak(SECOND)
    rig.until(0.3)
    rig.hear("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.speak(SECOND)
    rig.until(2.0)
    assert rig.bridge.carrier.playout.written == rig.bridge.carrier.playout.sent
    assert not rig.bridge.carrier.playout.speaking()


# --- digits


def test_keys_are_told_one_by_one_and_given_to_the_model_as_a_group() -> None:
    rig = Rig().up()
    rig.press("47")
    rig.until(0.5)
    rig.press("11")
    assert rig.sent("conversation.item.create") == []
    rig.until(4.0)
    (item,) = rig.sent("conversation.item.create")
    assert "4711" in item["item"]["content"][0]["text"]
    assert [each["digit"] for each in rig.events("call.dtmf.received")] == list("4711")
    assert len(rig.sent("response.create")) == 1


def test_keys_that_interrupt_are_answered() -> None:
    rig = Rig(digits=DigitPolicy(interrupts=True)).up()
    rig.begin()
    rig.speak(SECOND)
    rig.until(0.3)
    rig.press("1#")
    rig.until(0.6)
    assert rig.clears == 1
    assert len(rig.sent("response.cancel")) == 1
    rig.hear("response.done", response={"id": "resp_1", "status": "cancelled", "output": []})
    assert len(rig.sent("response.create")) == 1


def test_keys_do_not_cut_a_goodbye() -> None:
    rig = Rig(digits=DigitPolicy(interrupts=True)).up()
    rig.begin()
    rig.speak(SECOND)
    rig.done()
    rig.until(0.3)
    rig.bridge.end("api", rig.now)
    rig.press("1#")
    rig.until(5.0)
    assert rig.clears == 0
    assert rig.bridge.ended_at == pytest.approx(1.0, abs=0.03)
    assert rig.sent("response.create") == []


def test_keys_pressed_while_the_session_is_replaced_reach_the_next_one() -> None:
    rig = Rig(greeting=GREETING).up()
    rig.begin()
    rig.speak(SECOND)
    rig.done()
    rig.until(2.0)
    rig.bridge.agent_lost(1006, "gone", rig.now)
    rig.press("9#")
    rig.until(3.0)
    rig.to_agent.clear()
    rig.connect()
    rig.confirm()
    texts = [each["item"]["content"][0]["text"] for each in rig.sent("conversation.item.create")]
    assert any("9" in text for text in texts)
    assert len(rig.sent("response.create")) == 1


# --- ends


def test_a_goodbye_is_heard_and_then_the_call_ends_once() -> None:
    rig = Rig().up()
    rig.begin()
    rig.speak(SECOND)
    rig.bridge.end("api", rig.now)
    rig.speak(SECOND)
    rig.until(0.5)
    rig.hear("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)  # barge-in is off
    rig.done()
    rig.until(20.0)
    assert rig.bridge.ended_at == pytest.approx(2.0, abs=0.03)
    assert rig.bridge.ended_reason == "api"
    assert len(rig.events("call.ended")) == 1
    assert [each for each in rig.actions if isinstance(each, Finish)] == [Finish("api")]
    assert CloseCarrier() in rig.actions
    assert CloseAgent() in rig.actions


def test_a_goodbye_lasts_no_longer_than_it_may_however_often_it_is_asked_for() -> None:
    rig = Rig(deadlines=Deadlines(goodbye=3.0)).up()
    rig.begin()
    rig.speak(SECOND * 20)
    rig.bridge.end("api", 0.0)
    rig.until(2.0)
    rig.bridge.end("max-duration", rig.now)
    rig.until(10.0)
    assert rig.bridge.ended_reason == "api"
    assert rig.bridge.ended_at == pytest.approx(3.0)


def test_a_goodbye_of_a_model_that_is_gone_is_not_waited_for() -> None:
    rig = Rig().up()
    rig.begin()
    rig.bridge.end("api", 0.0)
    rig.until(0.2)
    rig.bridge.agent_lost(1006, "gone", rig.now)
    assert (rig.bridge.ended_reason, rig.bridge.ended_at) == ("api", 0.2)


def test_the_reason_of_a_goodbye_stands_when_the_socket_is_lost_meanwhile() -> None:
    rig = Rig().up()
    rig.begin()
    rig.speak(SECOND * 5)
    rig.bridge.end("api", 0.0)
    rig.until(1.0)
    rig.bridge.carrier_lost(None, "gone", rig.now)
    rig.until(20.0)
    assert rig.bridge.ended_reason == "api"


def test_two_deadlines_at_once_end_a_call_once() -> None:
    rig = Rig(deadlines=Deadlines(media_watchdog=5.0, max_duration=5.0)).up()
    rig.now = 6.0
    rig.bridge.poll(6.0)
    assert len(rig.events("call.ended")) == 1


def test_a_stream_without_media_is_ended_by_the_watchdog_and_one_with_media_is_not() -> None:
    rig = Rig(deadlines=Deadlines(media_watchdog=5.0)).up()
    for _ in range(10):
        rig.until(rig.now + 1.0)
        rig.frame()
    assert not rig.bridge.over()
    rig.until(30.0)
    assert rig.bridge.ended_at == pytest.approx(15.0)
    assert rig.events("media.timeout")


def test_silence_ends_the_call_counted_from_the_end_of_playout() -> None:
    rig = Rig(deadlines=Deadlines(silence=4.0, media_watchdog=100.0)).up()
    rig.begin()
    rig.speak(SECOND * 3)
    rig.done()
    rig.until(60.0)
    assert rig.bridge.ended_reason == "silence-timeout"
    assert rig.bridge.ended_at == pytest.approx(7.0, abs=0.05)


@pytest.mark.parametrize("tail", [0, 33], ids=["whole frames", "part of a frame"])
def test_an_item_that_lost_its_session_does_not_hold_the_floor(tail: int) -> None:
    rig = Rig(deadlines=Deadlines(silence=4.0, media_watchdog=100.0)).up()
    rig.begin()
    rig.speak(SECOND + bytes(tail))
    rig.bridge.agent_lost(1006, "gone", 0.1)
    rig.connect()
    rig.confirm()
    rig.until(60.0)
    assert rig.bridge.ended_reason == "silence-timeout"


def test_a_carrier_that_returns_no_marks_is_taken_by_the_clock() -> None:
    rig = Rig(deadlines=Deadlines(silence=4.0, media_watchdog=100.0)).up()
    rig.returns_marks = False
    rig.begin()
    rig.speak(SECOND)
    rig.done()
    rig.until(8.0)
    assert rig.bridge.turns.floor is Floor.NOBODY
    rig.until(30.0)
    assert rig.bridge.ended_reason == "silence-timeout"


def test_the_longest_call() -> None:
    rig = Rig(deadlines=Deadlines(max_duration=3.0)).up()
    rig.until(10.0)
    assert (rig.bridge.ended_reason, rig.bridge.ended_at) == ("max-duration", 3.0)


def test_the_carriers_stop_ends_the_call_at_once() -> None:
    rig = Rig().up()
    rig.begin()
    rig.speak(SECOND)
    rig.until(0.4)
    rig.hear(
        "response.output_audio_transcript.done", response_id="resp_1", item_id="item_1", transcript="A story."
    )
    rig.say("stop", stop={}, streamSid="MZ1")
    assert rig.bridge.ended_reason == "caller-hangup"
    (said,) = rig.bridge.transcript.utterances
    assert (said.interrupted, said.heard_ms) == (
        True,
        400,
    )  # the record tells what was heard, not what was meant


def test_nothing_changes_a_call_that_is_over() -> None:
    rig = Rig().up()
    rig.bridge.end("api", 0.0)
    before = list(rig.bridge.timeline.events)
    rig.actions.clear()
    rig.attach()
    rig.frame()
    rig.connect()
    rig.confirm()
    rig.bridge.agent_lost(1000, "", 1.0)
    rig.bridge.carrier_lost(1000, "", 1.0)
    rig.bridge.end("other", 1.0, after_playout=False)
    rig.bridge.poll(1.0)
    assert rig.bridge.timeline.events == before
    assert rig.bridge.next_deadline() is None


# --- the carrier's stream


def test_a_lost_stream_that_comes_back_goes_on_with_what_was_not_heard() -> None:
    rig = Rig().up()
    rig.begin()
    rig.speak(SECOND * 2)
    rig.done()
    rig.until(0.5)
    rig.bridge.carrier_lost(None, "gone", rig.now)
    rig.line.break_off(rig.now)
    rig.until(1.5)
    rig.attach()
    rig.until(10.0)
    assert not rig.bridge.over()
    assert rig.bridge.carrier.playout.acked == 16_000
    assert rig.bridge.carrier.generation == 2


def test_a_lost_stream_that_stays_away_ends_the_call_after_the_grace() -> None:
    rig = Rig(deadlines=Deadlines(close_grace=2.0)).up()
    rig.until(1.0)
    rig.bridge.carrier_lost(1006, "gone", rig.now)
    rig.until(10.0)
    assert (rig.bridge.ended_reason, rig.bridge.ended_at) == ("error", 3.0)


def test_a_second_stream_supersedes_the_first_never_the_call() -> None:
    rig = Rig().up()
    rig.until(1.0)
    rig.attach()
    assert rig.actions[-1] == CloseCarrier()
    assert [each["generation"] for each in rig.events("stream.superseded")] == [1]
    rig.until(5.0)
    assert not rig.bridge.over()


def test_an_unsupported_codec_ends_the_call() -> None:
    rig = Rig(carrier="telnyx")
    rig.bridge.carrier_attached(CarrierStream(WIRES["telnyx"]), 0.0)
    media_format = {"encoding": "G729", "sample_rate": 8000, "channels": 1}
    start = {"call_control_id": "call", "media_format": media_format}
    rig.say("start", start=start, stream_id="MZ1", sequence_number="1")
    assert rig.bridge.ended_reason == "error"
    assert rig.events("carrier.error")[0]["code"] == "unsupported_format"


def test_a_flood_of_malformed_frames_costs_the_stream_not_the_call() -> None:
    rig = Rig().up()
    for _ in range(60):
        rig.bridge.carrier_received(b"{", 0.0)
    rig._take()
    assert [each for each in rig.actions if each == CloseCarrier(1002)] == [CloseCarrier(1002)]
    rig.attach()
    rig.until(10.0)
    assert not rig.bridge.over()


def test_silence_keeps_every_stream_alive_until_the_agent_first_speaks() -> None:
    """Realtime sheet, trap 15; also on a stream that replaces one on which nothing was said."""
    rig = Rig(carrier="telnyx").up()
    rig.until(1.01)
    rig.bridge.carrier_lost(None, "gone", rig.now)
    rig.line.break_off(rig.now)
    rig.until(1.5)
    rig.attach()
    before = rig.line.received
    rig.until(2.5)
    assert rig.line.received - before >= 7_800
    assert rig.events("ai.speech.started") == []


def test_frames_are_counted_over_all_streams() -> None:
    rig = Rig().up()
    for _ in range(3):
        rig.frame()
    rig.bridge.carrier_lost(None, "gone", 0.0)
    rig.chunk = 0
    rig.attach()
    rig.frame()
    assert rig.bridge.carrier.frames.received == 4


def test_frames_behind_a_gap_are_not_lost_with_their_stream() -> None:
    rig = Rig().up()
    for chunk in (1, 2, 4):
        rig.frame(chunk=chunk)
    rig.bridge.carrier_lost(None, "gone", 0.01)
    assert rig.bridge.carrier.caller_samples == 4 * 160


def test_pressure_at_the_carrier_pauses_playout_and_its_end_wakes_the_owner() -> None:
    rig = Rig(lead=0.1).up()
    rig.begin()
    rig.bridge.carrier_pressure(True, 0.0)
    rig.speak(SECOND)
    assert rig.bridge.next_deadline() == pytest.approx(rig.policy.deadlines.media_watchdog)
    rig.bridge.wake_changed = False
    rig.bridge.carrier_pressure(False, 1.0)
    assert rig.bridge.wake_changed
    rig.now = 1.0
    rig._take()
    rig.until(3.0)
    assert rig.line.played(3.0) == 8_000


# --- the agent's session


def test_pressure_at_the_model_drops_the_callers_frames_and_counts_them() -> None:
    rig = Rig().up()
    rig.frame()
    rig.bridge.agent_pressure(True)
    rig.frame()
    rig.frame()
    rig.bridge.agent_pressure(False)
    rig.frame()
    assert len(rig.sent("input_audio_buffer.append")) == 2
    assert rig.bridge.uplink_dropped == 2


def test_what_the_caller_says_before_the_session_is_ready_waits_half_a_second_long() -> None:
    rig = Rig()
    rig.attach()
    rig.connect()
    for _ in range(40):
        rig.frame()
    assert rig.sent("input_audio_buffer.append") == []
    rig.confirm()
    assert len(rig.sent("input_audio_buffer.append")) == 25
    assert rig.bridge.uplink_dropped == 15


def test_frames_may_travel_in_groups() -> None:
    rig = Rig(uplink_frames=3).up()
    for _ in range(7):
        rig.frame()
    appended = [len(_bytes(each["audio"])) for each in rig.sent("input_audio_buffer.append")]
    assert appended == [480, 480]


def test_an_answer_that_was_owed_is_asked_of_the_next_session() -> None:
    rig = Rig(greeting=GREETING).up()
    rig.begin()
    rig.speak(SECOND)
    rig.done()
    rig.until(2.0)
    rig.hear("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.hear("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    rig.bridge.agent_lost(1006, "gone", rig.now)
    rig._take()
    assert rig.connects() == [0.0]
    rig.to_agent.clear()
    rig.connect()
    rig.confirm()
    (asked,) = rig.sent("response.create")
    assert asked.get("response", {}).get("instructions") is None


def test_a_greeting_nobody_heard_is_given_by_the_next_session() -> None:
    rig = Rig(greeting=GREETING)
    rig.attach()
    rig.connect()
    rig.confirm()
    rig.begin()
    rig.bridge.agent_lost(1006, "gone", 0.1)
    rig.to_agent.clear()
    rig.connect()
    rig.confirm()
    (asked,) = rig.sent("response.create")
    assert asked["response"]["instructions"] == GREETING
    assert rig.sent("conversation.item.create") == []


def test_a_server_that_accepts_and_closes_is_not_dialled_for_ever() -> None:
    rig = Rig()
    rig.attach()
    for _ in range(4):
        rig.connect()
        rig.confirm()
        rig.bridge.agent_lost(1011, "restarting", rig.now)
        rig._take()
    assert rig.connects() == [0.0, 0.5, 1.5]
    assert rig.bridge.ended_reason == "error"


def test_a_session_that_lived_gives_its_successor_all_attempts() -> None:
    rig = Rig().up()
    for _ in range(6):
        rig.until(rig.now + 20.0)
        rig.frame()
        rig.bridge.agent_lost(1001, "going away", rig.now)
        rig._take()
        rig.connect()
        rig.confirm()
    assert rig.connects() == [0.0] * 6


def test_a_session_about_to_expire_is_replaced_at_a_quiet_moment() -> None:
    rig = Rig(deadlines=Deadlines(media_watchdog=1e6))
    rig.attach()
    rig.connect()
    rig.confirm(expires_at=1e9 + 400.0)
    rig.until(99.0)
    rig.begin()
    rig.speak(SECOND * 3)
    rig.until(101.0)
    assert rig.events("agent.expiring")
    assert rig.connects() == []
    rig.done()
    rig.until(103.0)
    assert rig.connects() == [0.0]
    assert CloseAgent() in rig.actions


def test_a_session_lost_before_its_expiry_does_not_cost_the_next_one() -> None:
    rig = Rig(deadlines=Deadlines(media_watchdog=1e6))
    rig.attach()
    rig.connect()
    rig.confirm(expires_at=1e9 + 400.0)
    rig.until(99.0)
    rig.begin()
    rig.speak(SECOND * 3)
    rig.until(100.5)
    rig.bridge.agent_lost(1001, "expired", rig.now)
    rig.connect()
    rig.confirm()
    rig.until(130.0)
    assert rig.connects() == [0.0]


def test_sessions_too_short_to_be_replaced_in_time_are_used_to_their_end() -> None:
    rig = Rig(deadlines=Deadlines(media_watchdog=1e6))
    rig.attach()
    rig.connect()
    rig.confirm(expires_at=1e9 + 60.0)
    rig.until(50.0)
    assert rig.connects() == []


def test_a_fatal_error_gives_the_session_up_and_what_follows_it_is_not_heard() -> None:
    rig = Rig().up()
    rig.hear(
        "error", error={"type": "invalid_request_error", "code": "session_expired", "message": "expired"}
    )
    rig.speak(SECOND)
    assert rig.actions[:1] == [CloseAgent()]
    assert rig.connects() == [0.0]
    assert not rig.bridge.carrier.playout.speaking()


def test_audio_in_another_format_is_turned_into_the_carriers() -> None:
    rig = Rig(audio=PCM16_24K).up()
    rig.begin()
    rig.speak(bytes(48_000))
    rig.done()
    rig.until(3.0)
    assert rig.line.played(3.0) == 8_000 + 160  # the resampler's delay, made a whole frame


def test_audio_that_comes_in_real_time_in_another_format_waits_for_no_other() -> None:
    rig = Rig(audio=PCM16_24K).up()
    rig.begin()
    for number in range(1, 20):
        rig.speak(bytes(960))
        assert rig.bridge.carrier.playout.sent == 160 * number
        rig.until(rig.now + 0.020)


# --- whatever comes


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60).map(lambda raw: ("carrier", raw)),
            st.binary(max_size=60).map(lambda raw: ("agent", raw)),
            st.floats(0.0, 3.0).map(lambda gap: ("wait", gap)),
            st.sampled_from(
                [
                    "frame",
                    "speak",
                    "begin",
                    "done",
                    "start",
                    "stop",
                    "keys",
                    "lose",
                    "attach",
                    "connect",
                    "confirm",
                ]
            ).map(lambda name: ("do", name)),
            st.sampled_from(["agent_lost", "end", "pressure", "relief"]).map(lambda name: ("do", name)),
        ),
        max_size=40,
    )
)
def test_no_order_of_events_raises_or_ends_a_call_twice(script: list[tuple[str, Any]]) -> None:
    rig = Rig(greeting=GREETING, deadlines=Deadlines(silence=5.0)).up()
    do: dict[str, Callable[[], None]] = {
        "frame": rig.frame,
        "speak": lambda: rig.speak(SECOND),
        "begin": rig.begin,
        "done": rig.done,
        "start": lambda: rig.hear("input_audio_buffer.speech_started", item_id="u", audio_start_ms=0),
        "stop": lambda: rig.hear("input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=9),
        "keys": lambda: rig.press("12#"),
        "lose": lambda: rig.bridge.carrier_lost(None, "gone", rig.now),
        "attach": rig.attach,
        "connect": rig.connect,
        "confirm": rig.confirm,
        "agent_lost": lambda: rig.bridge.agent_lost(1006, "gone", rig.now),
        "end": lambda: rig.bridge.end("api", rig.now),
        "pressure": lambda: rig.bridge.carrier_pressure(True, rig.now),
        "relief": lambda: rig.bridge.carrier_pressure(False, rig.now),
    }
    for kind, what in script:
        if kind == "carrier":
            rig.bridge.carrier_received(what, rig.now)
        elif kind == "agent":
            rig.bridge.agent_received(what, rig.now)
        elif kind == "wait":
            rig.until(rig.now + what)
        else:
            do[what]()
        playout = rig.bridge.carrier.playout
        assert playout.acked <= playout.heard(rig.now) <= playout.sent <= playout.written
        rig._take()
    rig.bridge.end("over", rig.now, after_playout=False)
    assert len(rig.events("call.ended")) == 1
    assert rig.bridge.timeline.events[-1].name == "call.ended"


# --- found by breaking it


def telnyx_start(rig: Rig, encoding: str) -> None:
    rig.bridge.carrier_attached(CarrierStream(WIRES["telnyx"]), rig.now)
    audio = {"encoding": encoding, "sample_rate": 8000, "channels": 1}
    rig.say(
        "start",
        start={"call_control_id": "call", "media_format": audio},
        stream_id="MZ1",
        sequence_number="1",
    )


def test_a_stream_that_comes_back_in_the_other_law_is_not_noise() -> None:
    rig = Rig(carrier="telnyx")
    telnyx_start(rig, "PCMU")
    rig.connect()
    rig.confirm()
    rig.bridge.carrier_lost(None, "gone", 0.0)
    telnyx_start(rig, "PCMA")
    rig.to_agent.clear()
    rig.frame(b"\xd5" * 160)  # A-law silence
    (sent,) = rig.sent("input_audio_buffer.append")
    assert set(b64decode(sent["audio"])) <= {0xFF, 0xFE, 0x7F, 0x7E}  # mu-law silence
    rig.begin()
    rig.speak(b"\xff" * 1600)
    heard = b"".join(stretch.audio for stretch in rig.line.heard(0.1))[-160:]  # before it: the first stream's
    assert set(heard) <= {0xD5, 0x55, 0xD4, 0x54}, "not A-law silence"


def test_a_new_turn_does_not_prolong_a_goodbye() -> None:
    rig = Rig().up()
    rig.begin()
    rig.speak(SECOND)
    rig.bridge.end("api", 0.0)
    rig.until(0.5)
    rig.hear("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    rig.hear("response.done", response={"id": "resp_1", "status": "cancelled", "output": []})
    rig.begin("resp_2")
    rig.speak(SECOND * 5, "item_2", "resp_2")
    rig.done("item_2", "resp_2")
    rig.until(20.0)
    assert rig.bridge.ended_at == pytest.approx(1.0, abs=0.1)


def test_a_model_that_only_calls_tools_is_not_answered_for_ever() -> None:
    rig = Rig().up()
    for number in range(200):
        rig.begin(f"r{number}")
        call = {"id": f"i{number}", "type": "function_call", "status": "completed", "call_id": f"c{number}"}
        item = {**call, "name": "x", "arguments": "{}"}
        rig.hear("response.output_item.done", response_id=f"r{number}", item=item)
        rig.hear("response.done", response={"id": f"r{number}", "status": "completed", "output": [item]})
    assert len(rig.sent("response.create")) < 50

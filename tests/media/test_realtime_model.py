"""A realtime session against a server that obeys the real rules, under any interleaving of the two.

The server refuses what OpenAI refuses: a second response, a truncate at 0 or beyond the audio, anything about
an unknown item, a cancel of nothing, an output nobody asked for. Messages wait in two queues, so each side
acts on what it knew; the only refusals allowed are the two races no client can avoid.
"""

import json
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from media.realtime.events import AgentEvent, AudioReceived, ResponseStarted, SpeechStarted, ToolCall
from media.realtime.session import ItemCut, TurnDetection
from tests.media.realtime_peer import config, ready

FRAME = b"\x55" * 160  # 20 ms of PCMU
RACES = {"conversation_already_has_active_response", "response_cancel_not_active"}


@dataclass
class Spoken:
    """An agent item as the server keeps it."""

    response_id: str
    ms: int = 0
    heard_ms: int | None = None
    """What the client said was heard."""


@dataclass
class Server:
    """One conversation, one response at a time."""

    turns: TurnDetection
    out: deque[dict[str, Any]] = field(default_factory=deque)
    active: str | None = None
    item: str | None = None
    speaking: bool = False
    spoken: dict[str, Spoken] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    count: int = 0

    def say(self, kind: str, **fields: object) -> None:
        self.out.append({"type": kind, "event_id": f"event_{self.count}", **fields})

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    # -- what happens on its own

    def begin(self) -> None:
        self.active = self.name("resp")
        self.say("response.created", response={"id": self.active, "status": "in_progress"})

    def begin_item(self) -> None:
        assert self.active is not None
        self.item = self.name("item")
        item = {"id": self.item, "type": "message", "role": "assistant", "status": "in_progress"}
        self.spoken[self.item] = Spoken(self.active)
        self.say("response.output_item.added", response_id=self.active, output_index=0, item=item)
        self.say("conversation.item.added", item=item, previous_item_id=None)

    def speak(self) -> None:
        if self.item is None:
            self.begin_item()
        assert self.item is not None
        self.spoken[self.item].ms += 20
        self.say(
            "response.output_audio.delta",
            response_id=self.active,
            item_id=self.item,
            delta=b64encode(FRAME).decode(),
        )

    def call(self) -> None:
        call_id = self.name("call")
        self.calls.add(call_id)
        item = {
            "id": self.name("item"),
            "type": "function_call",
            "status": "completed",
            "call_id": call_id,
            "name": "weather",
            "arguments": "{}",
        }
        self.say("response.output_item.done", response_id=self.active, output_index=1, item=item)

    def end(self, status: str = "completed", reason: str | None = None) -> None:
        if self.item is not None:
            self.say("response.output_audio.done", response_id=self.active, item_id=self.item)
        details = {"type": status, "reason": reason}
        self.say("response.done", response={"id": self.active, "status": status, "status_details": details})
        self.active = self.item = None

    def hear_speech(self) -> None:
        self.speaking = True
        self.say("input_audio_buffer.speech_started", audio_start_ms=0, item_id=f"caller_{self.count}")
        if self.active is not None and self.turns.interrupt_response:
            self.end("cancelled", "turn_detected")

    def hear_silence(self) -> None:
        self.speaking = False
        self.say("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id=f"caller_{self.count}")
        self.say("input_audio_buffer.committed", item_id=self.name("caller"), previous_item_id=None)
        if self.turns.create_response:
            if self.active is None:
                self.begin()
            else:
                self.refuse("conversation_already_has_active_response", None)

    # -- what it is asked

    def receive(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "response.create":
                if self.active is not None:
                    self.refuse("conversation_already_has_active_response", event)
                else:
                    self.begin()
            case "response.cancel":
                if self.active is None or event["response_id"] != self.active:
                    self.refuse("response_cancel_not_active", event)
                else:
                    self.end("cancelled", "client_cancelled")
            case "conversation.item.truncate":
                self.truncate(event)
            case "conversation.item.delete":
                if event["item_id"] not in self.spoken or event["item_id"] in self.deleted:
                    self.refuse("item_delete_invalid_item_id", event)
                self.deleted.add(event["item_id"])
            case "conversation.item.create":
                call_id = event["item"].get("call_id")
                if call_id is not None and (call_id not in self.calls or call_id in self.answered):
                    self.refuse("invalid_tool_call_id", event)
                self.answered.add(call_id)
            case unknown:
                raise AssertionError(unknown)

    def truncate(self, event: dict[str, Any]) -> None:
        item = self.spoken.get(event["item_id"])
        if item is None or event["item_id"] in self.deleted:
            self.refuse("item_truncate_invalid_item_id", event)
        elif not 0 < event["audio_end_ms"] <= item.ms or item.heard_ms is not None:
            self.refuse("truncate_out_of_range", event)
        else:
            item.heard_ms = event["audio_end_ms"]

    def refuse(self, code: str, event: dict[str, Any] | None) -> None:
        if event is not None:
            self.refusals.append(code)
        request = event.get("event_id") if event is not None else None
        self.say(
            "error",
            error={"type": "invalid_request_error", "code": code, "message": code, "event_id": request},
        )

    def believed_ms(self, item_id: str) -> int:
        """How much of an item the model believes it said."""
        item = self.spoken[item_id]
        if item_id in self.deleted:
            return 0
        return item.ms if item.heard_ms is None else item.heard_ms


class Conversation(RuleBasedStateMachine):
    """The session, its server, and a bridge between them that knows what was heard."""

    @initialize(interrupt=st.booleans(), create=st.booleans(), instant=st.booleans())
    def start(self, interrupt: bool, create: bool, instant: bool) -> None:
        turns = TurnDetection(interrupt_response=interrupt, create_response=create)
        self.server = Server(turns)
        self.session = ready(config(turns=turns))
        self.instant = instant
        """Whether messages arrive at once: then nothing at all may be refused."""
        self.wire: deque[dict[str, Any]] = deque()
        self.now = 0.0
        self.received: dict[str, int] = {}
        """Milliseconds of each item that came out to be played."""
        self.heard: dict[str, int] = {}
        self.of: dict[str, str] = {}
        self.begun: list[str] = []
        self.cut: set[str] = set()
        self.cut_items: set[str] = set()
        self.open_calls: list[str] = []
        self.asked = 0
        self.asked_at_interrupt = 0

    # -- the wire

    def collect(self) -> None:
        self.send()
        if self.instant:
            self.exchange()

    def send(self) -> None:
        for message in self.session.outgoing():
            event = json.loads(message)
            match event["type"]:
                case "conversation.item.truncate":
                    assert event["audio_end_ms"] <= self.received[event["item_id"]]
                case "response.cancel":
                    # Cut before, or a response asked for before an interruption, cut as it begins.
                    assert event["response_id"] in self.cut or self.asked_at_interrupt > 0
                    self.cut.add(event["response_id"])
                case "response.create":
                    self.asked += 1
                case _:
                    pass
            self.wire.append(event)

    def exchange(self) -> None:
        while self.wire or self.server.out:
            self.to_server() if self.wire else self.to_client()

    def to_server(self) -> None:
        before = len(self.server.refusals)
        self.server.receive(self.wire.popleft())
        assert set(self.server.refusals) <= RACES
        if self.instant:
            assert self.server.refusals[before:] == []

    def to_client(self) -> None:
        event = self.server.out.popleft()
        message = json.dumps(event).encode()
        self.now += 0.001
        scanned = self.session.scan(message)
        if scanned is not None:
            self.play(event, *scanned)
        else:
            for happened in self.session.receive(message, self.now):
                self.react(event, happened)
        self.send()

    def react(self, event: dict[str, Any], happened: AgentEvent) -> None:
        match happened:
            case AudioReceived(item_id, audio):
                self.play(event, item_id, audio)
            case ResponseStarted(response_id):
                self.begun.append(response_id)
            case ToolCall(call_id, _, _):
                self.open_calls.append(call_id)
            case SpeechStarted():
                self.interrupt()
            case _:
                pass
        if event["type"] == "input_audio_buffer.committed" and not self.server.turns.create_response:
            self.session.request_response(self.now)

    def play(self, event: dict[str, Any], item_id: str, audio: bytes) -> None:
        response_id = event["response_id"]
        self.of[item_id] = response_id
        if response_id in self.cut:
            assert audio == b"", "late audio of a cut response came out"
            return
        if audio:
            assert audio == FRAME
            self.received[item_id] = self.received.get(item_id, 0) + 20

    def interrupt(self) -> None:
        cuts = []
        for item_id, ms in self.received.items():
            heard = self.heard.get(item_id, 0)
            if item_id not in self.cut_items and heard < ms:
                cuts.append(ItemCut(item_id, heard))
                self.cut_items.add(item_id)
        # Whatever has begun and may still speak is cut from here on.
        self.cut.update(self.begun)
        self.asked_at_interrupt = self.asked
        self.session.interrupt(cuts, self.now)

    # -- what may happen

    @rule()
    def deliver_to_server(self) -> None:
        if self.wire:
            self.to_server()

    @rule(count=st.integers(1, 4))
    def deliver_to_client(self, count: int) -> None:
        for _ in range(count):
            if self.server.out:
                self.to_client()
        self.collect()

    @rule(frames=st.integers(1, 6))
    def server_speaks(self, frames: int) -> None:
        if self.server.active is not None:
            for _ in range(frames):
                self.server.speak()
            self.collect()

    @rule()
    def server_begins_another_item(self) -> None:
        if self.server.active is not None:
            self.server.begin_item()
            self.collect()

    @rule()
    def server_calls_a_tool(self) -> None:
        if self.server.active is not None:
            self.server.call()
            self.collect()

    @rule()
    def response_ends(self) -> None:
        if self.server.active is not None:
            self.server.end()
            self.collect()

    @rule()
    def caller_speaks_or_stops(self) -> None:
        if self.server.speaking:
            self.server.hear_silence()
        else:
            self.server.hear_speech()
        self.collect()

    @rule(ms=st.integers(1, 90))
    def caller_hears(self, ms: int) -> None:
        for item_id, received in self.received.items():
            if item_id not in self.cut_items and self.heard.get(item_id, 0) < received:
                self.heard[item_id] = min(received, self.heard.get(item_id, 0) + ms)
                return

    @rule(instructions=st.sampled_from([None, "Say so."]))
    def bridge_asks_for_a_response(self, instructions: str | None) -> None:
        self.session.request_response(self.now, instructions=instructions)
        self.collect()

    @rule()
    def bridge_interrupts(self) -> None:
        self.interrupt()
        self.collect()

    @precondition(lambda self: self.open_calls)
    @rule(twice=st.booleans())
    def tool_answers(self, twice: bool) -> None:
        call_id = self.open_calls.pop()
        self.session.tool_result(call_id, "{}", self.now)
        if twice:
            self.session.tool_result(call_id, "{}", self.now)
        self.collect()

    # -- the end

    def teardown(self) -> None:
        """Left alone, the two come to rest: nothing owed, nothing active, and one view of what was heard."""
        if not hasattr(self, "server"):
            return
        for _ in range(100):
            self.collect()
            self.exchange()
            if self.open_calls:
                self.session.tool_result(self.open_calls.pop(), "{}", self.now)
            elif self.server.active is not None:
                self.server.end()
            elif not self.session.responding:
                break
        assert not self.session.responding
        assert self.server.active is None
        for item_id, item in self.server.spoken.items():
            if item_id in self.cut_items:
                assert self.server.believed_ms(item_id) == self.heard.get(item_id, 0)
            elif item.response_id in self.cut:
                # All that came out of it was heard; what came later was dropped.
                assert self.server.believed_ms(item_id) == self.received.get(item_id, 0)
            else:
                assert self.server.believed_ms(item_id) == item.ms == self.received.get(item_id, 0)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

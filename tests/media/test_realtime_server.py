"""The server's side of a realtime session: driven by hand, with `now` given; the openai SDK's types are the oracle."""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from media import g711
from media.audio import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, Encoding
from media.realtime.server import AgentServerSession
from media.realtime.server_behaviour import (
    CallerTurn,
    CloseSocket,
    FunctionCall,
    LateDeltas,
    Reply,
    ResponseRequest,
    SendError,
    SendRaw,
    SessionFaults,
    Sound,
    Speech,
    Stall,
    Transcription,
    TruncateRefusal,
)

ORACLE: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
# What the service sends and the SDK's session types do not list.
SESSION_EXTRAS = {"id", "object", "expires_at", "offhook"}
WIRE = {
    PCMU_8K: {"type": "audio/pcmu"},
    PCMA_8K: {"type": "audio/pcma"},
    PCM16_24K: {"type": "audio/pcm", "rate": 24000},
}

Event = dict[str, Any]


class Says:
    """A behaviour that says the replies it is given, in order."""

    name = "says"
    note = "for tests"
    keeps_audio = False

    def __init__(
        self,
        *replies: Reply | None,
        transcripts: Sequence[Transcription] = (),
        faults: SessionFaults | None = None,
        echo: bool = False,
    ) -> None:
        self.echo = echo
        self.faults = faults or SessionFaults()
        self.requests: list[ResponseRequest] = []
        self.turns: list[CallerTurn] = []
        self.cuts: list[str] = []
        self._replies = list(replies)
        self._transcripts = list(transcripts)

    def heard(self, turn: CallerTurn) -> Transcription | None:
        self.turns.append(turn)
        return self._transcripts.pop(0) if self._transcripts else None

    def reply(self, request: ResponseRequest) -> Reply | None:
        self.requests.append(request)
        return self._replies.pop(0) if self._replies else Reply(items=())

    def cancelled(self, response_id: str) -> None:
        self.cuts.append(response_id)


class Client:
    """The other end of one session; every event it hears is checked against the SDK's types."""

    def __init__(self, behaviour: Says, *, beta: bool = False, wall: float | None = None) -> None:
        self.session = AgentServerSession(behaviour, "sess_1", beta=beta)
        self.now = 100.0
        self.heard: list[Event] = []
        self.times: list[float] = []
        self.raw: list[bytes] = []
        self.session.opened(self.now, wall=wall)
        self._listen()

    def send(self, kind: str, **fields: object) -> list[Event]:
        return self.send_raw(json.dumps({"type": kind, **fields}).encode())

    def send_raw(self, message: bytes) -> list[Event]:
        before = len(self.heard)
        answer = self.session.scan(message)
        if answer is None:
            self.session.receive(message, self.now)
            self._listen()
        else:
            self._take(answer)
        return self.heard[before:]

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass, stopping at every deadline."""
        before, end = len(self.heard), self.now + seconds
        while (due := self.session.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.session.poll(self.now)
            self._listen()
        self.now = end
        return self.heard[before:]

    def configure(self, audio_format: AudioFormat = PCMU_8K, **audio_input: object) -> list[Event]:
        shown = WIRE[audio_format]
        audio = {"input": {"format": shown, **audio_input}, "output": {"format": shown}}
        return self.send("session.update", session={"type": "realtime", "audio": audio})

    def append(self, audio: bytes) -> list[Event]:
        text = base64.b64encode(audio).decode()
        return self.send_raw(f'{{"type":"input_audio_buffer.append","audio":"{text}"}}'.encode())

    def speak(self, audio: bytes, frame: int = 160) -> list[Event]:
        """Append audio in real time."""
        before = len(self.heard)
        for start in range(0, len(audio), frame):
            self.append(audio[start : start + frame])
            self.wait(0.020)
        return self.heard[before:]

    def _listen(self) -> None:
        for message in self.session.outgoing():
            self._take(message)

    def _take(self, message: bytes) -> None:
        try:
            event = json.loads(message)
        except ValueError:
            self.raw.append(message)
            return
        check(event)
        self.heard.append(event)
        self.times.append(self.now)


def check(event: Event) -> None:
    """The SDK knows the event, by its type, and every key in it."""
    model = ORACLE.validate_python(event)
    assert model.type == event["type"]
    assert unknown_keys(model) <= {f"session.{name}" for name in SESSION_EXTRAS}
    assert model.to_dict(mode="json") == event


def unknown_keys(model: BaseModel, path: str = "") -> set[str]:
    found = {f"{path}{name}" for name in model.model_extra or {}}
    for name in model.__class__.model_fields:
        value = getattr(model, name)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, BaseModel):
                found |= unknown_keys(part, f"{path}{name}.")
    return found


def types(events: Sequence[Event]) -> list[str]:
    return [event["type"] for event in events]


def of(events: Sequence[Event], kind: str) -> list[Event]:
    return [event for event in events if event["type"] == kind]


def only(events: Sequence[Event], kind: str) -> Event:
    (event,) = of(events, kind)
    return event


def audio_of(events: Sequence[Event]) -> bytes:
    return b"".join(base64.b64decode(event["delta"]) for event in of(events, "response.output_audio.delta"))


def refusal(events: Sequence[Event]) -> Event:
    error = only(events, "error")["error"]
    assert isinstance(error, dict)
    return error


def voice(seconds: float, rate: int = 8000) -> bytes:
    """A buzz with the harmonics and the rhythm of a voice, PCM16."""
    time = np.arange(int(seconds * rate)) / rate
    wave = sum((np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20)), np.zeros_like(time))
    wave = wave * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    return (wave / 3 * 12000).astype("<i2").tobytes()


def pcmu(pcm: bytes) -> bytes:
    return g711.encode(pcm, Encoding.PCMU)


def quiet(seconds: float) -> bytes:
    return PCMU_8K.silence(int(seconds * 8000))


def speech(seconds: float = 1.0, text: str = "Hello there.") -> Speech:
    return Speech(text, Sound(bytes(range(256)) * int(seconds * 8000 * 2 // 256 + 1), 8000))


def exactly(seconds: float, text: str = "Hello there.") -> Speech:
    return Speech(text, Sound(b"\x00\x10" * int(seconds * 8000), 8000))


# The session


def test_the_first_event_is_session_created_with_the_services_defaults() -> None:
    client = Client(Says(), wall=1_800_000_000.0)
    session = only(client.heard, "session.created")["session"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert session["expires_at"] == 1_800_003_600
    assert session["offhook"] == {"behaviour": "says", "note": "for tests"}


@pytest.mark.parametrize("audio_format", WIRE)
def test_a_session_update_is_answered_with_the_whole_configuration(audio_format: AudioFormat) -> None:
    client = Client(Says())
    client.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
    session = only(client.configure(audio_format, turn_detection=None), "session.updated")["session"]
    assert session["audio"]["output"]["format"] == WIRE[audio_format]
    assert session["audio"]["input"]["turn_detection"] is None
    assert session["instructions"] == "Be brief."


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({}, "missing_required_parameter", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
        ({"type": "realtime", "nonsense": 1}, "unknown_parameter", "session.nonsense"),
        ({"type": "realtime", "instructions": 5}, "invalid_type", "session.instructions"),
        (
            {"type": "realtime", "output_modalities": ["audio", "text"]},
            "invalid_value",
            "session.output_modalities",
        ),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "g711_ulaw"}}}},
            "invalid_value",
            "session.audio.input.format.type",
        ),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}},
            "unknown_parameter",
            "session.audio.input.format.rate",
        ),
        (
            {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcm", "rate": 8000}}}},
            "invalid_value",
            "session.audio.output.format.rate",
        ),
        (
            {
                "type": "realtime",
                "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}},
            },
            "decimal_above_max_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            {"type": "realtime", "max_output_tokens": 5000},
            "integer_above_max_value",
            "session.max_output_tokens",
        ),
        (
            {"type": "realtime", "tools": [{"type": "function"}]},
            "missing_required_parameter",
            "session.tools[0].name",
        ),
    ],
)
def test_a_wrong_session_update_is_refused_and_changes_nothing(session: Event, code: str, param: str) -> None:
    client = Client(Says())
    error = refusal(client.send("session.update", event_id="mine", session=session))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    assert of(client.heard, "session.updated") == []
    after = only(client.send("session.update", session={"type": "realtime"}), "session.updated")["session"]
    assert after | {"offhook": None} == client.heard[0]["session"] | {"offhook": None}


def test_the_beta_shape_is_refused_and_the_socket_closed_with_4000() -> None:
    client = Client(Says())
    events = client.send("session.update", session={"modalities": ["audio"], "voice": "alloy"})
    assert refusal(events)["code"] == "beta_api_shape_disabled"
    assert client.session.close_requested == (4000, "invalid_request_error.beta_api_shape_disabled")
    assert client.send("response.create") == []


def test_the_beta_header_is_refused_before_anything_else() -> None:
    client = Client(Says(), beta=True)
    assert types(client.heard) == ["error"]
    assert client.session.close_requested == (4000, "invalid_request_error.beta_api_shape_disabled")


def test_the_voice_is_fixed_once_it_was_heard() -> None:
    client = Client(Says(Reply(items=(speech(),))))
    update = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
    assert types(client.send("session.update", session=update)) == ["session.updated"]
    client.send("response.create")
    client.wait(1)
    assert types(client.send("session.update", session=update)) == ["session.updated"]
    update = {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
    assert refusal(client.send("session.update", session=update))["code"] == "cannot_update_voice"


def test_an_expired_session_says_so_and_closes_with_1001() -> None:
    client = Client(Says())
    assert client.wait(3599) == []
    assert refusal(client.wait(2))["code"] == "session_expired"
    assert client.session.close_requested is not None
    assert client.session.close_requested[0] == 1001


# A response


def test_a_response_has_the_whole_life_of_an_item() -> None:
    client = Client(Says(Reply(items=(exactly(0.5, "One two."),), delta=0.25)))
    client.configure()
    events = client.send("response.create") + client.wait(1)
    assert types(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = only(events, "response.done")["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "One two."}]
    deltas = of(events, "response.output_audio_transcript.delta")
    assert "".join(delta["delta"] for delta in deltas) == "One two."
    ids = [event["event_id"] for event in client.heard]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("audio_format", WIRE)
def test_the_audio_of_a_reply_is_whole_in_every_format(audio_format: AudioFormat) -> None:
    said = speech(1.0)
    client = Client(Says(Reply(items=(said,), delta=0.07)))
    client.configure(audio_format)
    client.send("response.create")
    assert audio_of(client.wait(1)) == said.sound.encoded(audio_format)


@pytest.mark.parametrize(
    ("pace", "last"), [(None, 0.3), (1.0, 0.3 + 0.8), (4.0, 0.3 + 0.2), (0.5, 0.3 + 1.6)]
)
def test_a_reply_comes_at_its_pace(pace: float | None, last: float) -> None:
    client = Client(Says(Reply(items=(exactly(1.0),), delay=0.3, pace=pace, delta=0.2)))
    client.configure()
    client.send("response.create")
    client.wait(5)
    times = [
        time - 100.0
        for time, event in zip(client.times, client.heard, strict=True)
        if event["type"] == "response.output_audio.delta"
    ]
    assert len(times) == 5
    assert times[0] == pytest.approx(0.3)
    assert times[-1] == pytest.approx(last)


def test_several_items_come_one_after_the_other() -> None:
    items = (exactly(0.2, "One."), FunctionCall("look", '{"up": 1}'), exactly(0.4, "Two."))
    client = Client(Says(Reply(items=items)))
    client.configure()
    client.send("response.create")
    events = client.wait(1)
    done = only(events, "response.done")["response"]
    assert [item["type"] for item in done["output"]] == ["message", "function_call", "message"]
    assert [event["output_index"] for event in of(events, "response.output_item.done")] == [0, 1, 2]
    call = done["output"][1]
    assert (call["status"], call["name"], call["arguments"]) == ("completed", "look", '{"up": 1}')


def test_usage_counts_the_callers_audio_and_the_agents_at_their_rates() -> None:
    client = Client(Says(Reply(items=(exactly(2.0, "Hello."),)), Reply(items=(exactly(1.0, "Bye."),))))
    client.configure(turn_detection=None)
    client.append(quiet(3.0))
    client.send("input_audio_buffer.commit")
    client.send("response.create")
    first = only(client.wait(1), "response.done")["response"]["usage"]
    assert first["input_token_details"]["audio_tokens"] == 30
    assert first["output_token_details"]["audio_tokens"] == 40
    assert first["total_tokens"] == first["input_tokens"] + first["output_tokens"]
    client.send("response.create")
    second = only(client.wait(1), "response.done")["response"]["usage"]
    # The first reply is read again with the caller's turn, which was read before.
    assert second["input_token_details"]["audio_tokens"] == 70
    assert second["input_token_details"]["cached_tokens_details"]["audio_tokens"] == 30


def test_a_response_longer_than_its_tokens_is_incomplete() -> None:
    client = Client(Says(Reply(items=(exactly(10.0, ""),))))
    client.send("response.create", response={"max_output_tokens": 20})
    done = only(client.wait(1), "response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
    assert done["output"][0]["status"] == "incomplete"


def test_a_failed_response_says_why() -> None:
    client = Client(Says(Reply(items=(), failure="rate_limit_exceeded")))
    client.send("response.create")
    done = only(client.wait(1), "response.done")["response"]
    assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", "rate_limit_exceeded")


def test_a_response_may_be_text() -> None:
    client = Client(Says(Reply(items=(exactly(1.0, "Only words."),))))
    client.send("response.create", response={"output_modalities": ["text"]})
    events = client.wait(1)
    assert only(events, "response.output_text.done")["text"] == "Only words."
    assert of(events, "response.output_audio.delta") == []


def test_a_response_out_of_band_runs_beside_the_one_in_the_conversation() -> None:
    client = Client(Says(Reply(items=(exactly(3.0),), pace=1.0), Reply(items=(exactly(0.1, "Aside."),))))
    client.send("response.create")
    events = client.send(
        "response.create", response={"conversation": "none", "metadata": {"topic": "summary"}}
    )
    created = only(events, "response.created")["response"]
    assert (created["conversation_id"], created["metadata"]) == (None, {"topic": "summary"})
    events = client.wait(1)
    done = only(events, "response.done")["response"]
    assert done["metadata"] == {"topic": "summary"}
    assert of(events, "conversation.item.done") == []
    assert client.session.responding


def test_a_second_response_is_refused_while_one_is_active() -> None:
    client = Client(Says(Reply(items=(exactly(1.0),), pace=1.0)))
    created = only(client.send("response.create"), "response.created")["response"]
    error = refusal(client.send("response.create"))
    assert error["code"] == "conversation_already_has_active_response"
    assert created["id"] in error["message"]


def test_a_reply_may_come_later() -> None:
    behaviour = Says(None)
    client = Client(behaviour)
    client.send("response.create")
    assert client.wait(1) == []
    client.session.replied(behaviour.requests[0].response_id, Reply(items=(exactly(0.2),)), client.now)
    assert only(client.wait(1), "response.done")["response"]["status"] == "completed"


def test_a_reply_that_comes_after_the_cut_is_dropped() -> None:
    behaviour = Says(None)
    client = Client(behaviour)
    client.send("response.create")
    events = client.send("response.cancel")
    assert only(events, "response.done")["response"]["status"] == "cancelled"
    assert behaviour.cuts == [behaviour.requests[0].response_id]
    client.session.replied(behaviour.requests[0].response_id, Reply(items=(exactly(0.2),)), client.now)
    assert client.wait(1) == []


# Cancel, truncate, delete


def test_a_cancel_ends_the_response_with_everything_closed() -> None:
    client = Client(Says(Reply(items=(exactly(2.0),), pace=1.0, delta=0.2)))
    client.send("response.create")
    client.wait(0.5)
    events = client.send("response.cancel")
    assert types(events) == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = only(events, "response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
    assert done["output"][0]["status"] == "incomplete"
    assert done["usage"]["output_token_details"]["audio_tokens"] == 12
    assert client.wait(5) == []


@pytest.mark.parametrize("fields", [{}, {"response_id": "resp_of_another"}])
def test_a_cancel_with_nothing_active_is_refused_and_harmless(fields: Event) -> None:
    client = Client(Says(Reply(items=(exactly(1.0),))))
    client.send("response.create")
    client.wait(1)
    assert refusal(client.send("response.cancel", **fields))["code"] == "response_cancel_not_active"


def spoken_item(client: Client, seconds: float = 1.0) -> str:
    client.send("response.create")
    events = client.wait(seconds + 1)
    return str(only(events, "response.output_item.added")["item"]["id"])


def test_a_truncation_within_the_audio_is_confirmed() -> None:
    client = Client(Says(Reply(items=(exactly(1.0),))))
    item = spoken_item(client)
    events = client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=400)
    assert only(events, "conversation.item.truncated")["audio_end_ms"] == 400
    retrieved = only(client.send("conversation.item.retrieve", item_id=item), "conversation.item.retrieved")
    assert retrieved["item"]["content"][0]["transcript"] == ""


@pytest.mark.parametrize("audio_format", WIRE)
@pytest.mark.parametrize("cut_at", [1000, 1001, 55960])
def test_a_truncation_beyond_the_audio_is_refused_in_the_services_words(
    cut_at: int, audio_format: AudioFormat
) -> None:
    client = Client(Says(Reply(items=(exactly(1.0),))))
    client.configure(audio_format)
    item = spoken_item(client)
    events = client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=cut_at)
    if cut_at == 1000:
        assert types(events) == ["conversation.item.truncated"]
    else:
        assert refusal(events)["code"] is None
        assert refusal(events)["message"] == f"Audio content of 1000ms is already shorter than {cut_at}ms"


def test_a_second_truncation_cannot_give_audio_back() -> None:
    client = Client(Says(Reply(items=(exactly(1.0),))))
    item = spoken_item(client)
    client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=300)
    events = client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=301)
    assert refusal(events)["message"] == "Audio content of 300ms is already shorter than 301ms"


def test_a_truncation_before_any_audio_is_refused() -> None:
    client = Client(Says(Reply(items=(), delay=9)))
    user = {
        "type": "message",
        "role": "user",
        "id": "typed",
        "content": [{"type": "input_text", "text": "hi"}],
    }
    client.send("conversation.item.create", item=user)
    events = client.send("conversation.item.truncate", item_id="typed", content_index=0, audio_end_ms=0)
    assert refusal(events)["code"] == "unsupported_content_type"
    assert refusal(events)["message"] == "Only model output audio messages can be truncated."


def test_a_deleted_item_is_gone() -> None:
    client = Client(Says(Reply(items=(exactly(1.0),))))
    item = spoken_item(client)
    assert only(client.send("conversation.item.delete", item_id=item), "conversation.item.deleted")
    for kind in ("delete", "retrieve", "truncate"):
        events = client.send(f"conversation.item.{kind}", item_id=item, content_index=0, audio_end_ms=1)
        assert refusal(events)["code"] == f"item_{kind}_invalid_item_id"


# Items and tools


def test_a_replayed_history_takes_its_order() -> None:
    client = Client(Says())
    for item_id, after in (("b", None), ("c", None), ("a", "root"), ("bb", "b")):
        item = {
            "id": item_id,
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "x"}],
        }
        events = client.send("conversation.item.create", item=item, previous_item_id=after)
        assert types(events) == ["conversation.item.added", "conversation.item.done"]
    previous = [event["previous_item_id"] for event in of(client.heard, "conversation.item.added")]
    assert previous == [None, "b", None, "b"]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (
            {"type": "message", "role": "assistant", "content": [{"type": "output_audio"}]},
            "item.content[0].type",
        ),
        ({"type": "message", "role": "tool", "content": []}, "item.role"),
        ({"type": "message", "role": "user"}, "item.content"),
        ({"type": "song"}, "item.type"),
        ({"type": "function_call_output", "call_id": "call_unknown", "output": ""}, "item.call_id"),
    ],
)
def test_a_wrong_item_is_refused(item: Event, param: str) -> None:
    client = Client(Says())
    assert refusal(client.send("conversation.item.create", item=item))["param"] == param


def test_tool_outputs_reach_the_next_response() -> None:
    behaviour = Says(Reply(items=(FunctionCall("look", "{}"),)))
    client = Client(behaviour)
    client.send("response.create")
    call = only(client.wait(1), "response.function_call_arguments.done")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "found"}
    client.send("conversation.item.create", item=output)
    client.send("response.create")
    (given,) = behaviour.requests[1].tool_outputs
    assert (given.name, given.output) == ("look", "found")


# The caller's audio


def test_speech_makes_a_turn_and_its_transcript_comes_after_the_reply_began() -> None:
    behaviour = Says(
        Reply(items=(exactly(1.0),), delay=0.1), transcripts=[Transcription(text="I am here", delay=0.5)]
    )
    client = Client(behaviour)
    client.configure(transcription={"model": "gpt-transcribe"})
    events = client.speak(quiet(0.5) + pcmu(voice(1.0)) + quiet(1.5))
    order = types(events)
    for earlier, later in [
        ("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"),
        ("input_audio_buffer.speech_stopped", "input_audio_buffer.committed"),
        ("input_audio_buffer.committed", "conversation.item.added"),
        ("conversation.item.done", "response.created"),
        ("response.output_audio.delta", "conversation.item.input_audio_transcription.completed"),
    ]:
        assert order.index(earlier) < order.index(later)
    started, stopped = only(events, order[0]), only(events, "input_audio_buffer.speech_stopped")
    completed = only(events, "conversation.item.input_audio_transcription.completed")
    assert started["item_id"] == stopped["item_id"] == completed["item_id"]
    assert started["audio_start_ms"] == pytest.approx(500 - 300, abs=60)
    assert stopped["audio_end_ms"] == pytest.approx(1500 + 500, abs=160)
    assert completed["transcript"] == "I am here"
    assert behaviour.turns[0].duration == pytest.approx(1.8, abs=0.2)


def test_positions_count_the_audio_written_not_the_time() -> None:
    client = Client(Says())
    client.configure()
    events = client.append(quiet(2.0) + pcmu(voice(1.0)) + quiet(1.0))  # four seconds at once
    started = only(events, "input_audio_buffer.speech_started")
    assert started["audio_start_ms"] == pytest.approx(1700, abs=60)


@pytest.mark.parametrize("audio_format", WIRE)
def test_speech_is_heard_in_every_format(audio_format: AudioFormat) -> None:
    client = Client(Says())
    client.configure(audio_format)
    pcm = voice(1.0, audio_format.rate)
    encoding = audio_format.encoding
    audio = pcm if encoding is Encoding.PCM16 else g711.encode(pcm, encoding)
    events = client.append(audio + audio_format.silence(audio_format.rate))
    assert "input_audio_buffer.speech_stopped" in types(events)


@pytest.mark.parametrize("silence_ms", [200, 500, 900])
def test_the_silence_that_ends_a_turn_is_the_clients_choice(silence_ms: int) -> None:
    client = Client(Says())
    detection = {"type": "server_vad", "silence_duration_ms": silence_ms, "prefix_padding_ms": 0}
    client.configure(turn_detection=detection)
    client.append(quiet(0.5) + pcmu(voice(1.0)))
    events: list[Event] = []
    waited = 0
    while not events:
        events = client.append(quiet(0.02))
        waited += 20
    assert events[0]["type"] == "input_audio_buffer.speech_stopped"
    assert waited == pytest.approx(silence_ms, abs=160)


def test_a_barge_in_cancels_the_response_by_turn_detection() -> None:
    client = Client(Says(Reply(items=(exactly(10.0),), pace=1.0)))
    client.configure()
    client.send("response.create")
    client.wait(1.0)
    events = client.speak(pcmu(voice(0.5)))
    order = types(events)
    assert order.index("input_audio_buffer.speech_started") < order.index("response.done")
    done = only(events, "response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
    after = events[order.index("response.done") :]
    assert audio_of(after) == b""


def test_a_client_that_interrupts_by_itself_is_only_told_of_speech() -> None:
    client = Client(Says(Reply(items=(exactly(10.0),), pace=1.0)))
    client.configure(
        turn_detection={"type": "server_vad", "interrupt_response": False, "create_response": False}
    )
    client.send("response.create")
    events = client.speak(pcmu(voice(1.0)) + quiet(1.0))
    assert "input_audio_buffer.speech_stopped" in types(events)
    assert client.session.responding
    assert of(events, "error") == []


def test_an_automatic_response_fails_while_another_goes_on() -> None:
    client = Client(Says(Reply(items=(exactly(10.0),), pace=1.0)))
    client.configure(turn_detection={"type": "server_vad", "interrupt_response": False})
    client.send("response.create")
    events = client.speak(pcmu(voice(1.0)) + quiet(1.0))
    assert refusal(events)["code"] == "conversation_already_has_active_response"


def test_without_turn_detection_the_client_commits() -> None:
    behaviour = Says(transcripts=[Transcription(text="yes", delay=0.0)])
    client = Client(behaviour)
    client.configure(turn_detection=None, transcription={"model": "gpt-transcribe"})
    assert client.append(pcmu(voice(1.0)) + quiet(1.0)) == []
    events = client.send("input_audio_buffer.commit") + client.wait(0.1)
    assert types(events)[0] == "input_audio_buffer.committed"
    assert "response.created" not in types(events)
    assert only(events, "conversation.item.input_audio_transcription.completed")["usage"]["seconds"] == 2.0
    assert refusal(client.send("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_a_cleared_buffer_has_nothing_to_commit() -> None:
    client = Client(Says())
    client.configure(turn_detection=None)
    client.append(quiet(1.0))
    assert types(client.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    error = refusal(client.send("input_audio_buffer.commit"))
    assert error["message"].endswith("buffer only has 0.00ms of audio.")


def test_a_transcription_may_fail() -> None:
    client = Client(Says(transcripts=[Transcription(text="", delay=0.0, failure="audio_unintelligible")]))
    client.configure(turn_detection=None, transcription={"model": "gpt-transcribe"})
    client.append(quiet(1.0))
    client.send("input_audio_buffer.commit")
    failed = only(client.wait(0.1), "conversation.item.input_audio_transcription.failed")
    assert failed["error"]["code"] == "audio_unintelligible"


def test_a_long_silence_after_the_reply_has_played_is_told_and_answered() -> None:
    client = Client(Says(Reply(items=(exactly(2.0),)), Reply(items=(exactly(1.0, "Still there?"),))))
    client.configure(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000})
    client.send("response.create")
    client.wait(1)
    client.speak(quiet(5.9))
    assert of(client.heard, "input_audio_buffer.timeout_triggered") == []
    events = client.speak(quiet(0.5))
    assert "input_audio_buffer.timeout_triggered" in types(events)
    assert "response.created" in types(events)


# Echo


@pytest.mark.parametrize("audio_format", WIRE)
def test_echo_returns_each_frame_at_once_in_one_endless_item(audio_format: AudioFormat) -> None:
    client = Client(Says(echo=True))
    client.configure(audio_format)
    frames = [bytes([n]) * audio_format.frame_bytes for n in range(1, 51)]
    for frame in frames:
        events = client.append(frame)
        assert base64.b64decode(events[-1]["delta"]) == frame
    assert len({event["item_id"] for event in of(client.heard, "response.output_audio.delta")}) == 1
    assert len(of(client.heard, "response.created")) == 1
    item = of(client.heard, "response.output_audio.delta")[0]["item_id"]
    events = client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1001)
    assert refusal(events)["message"] == "Audio content of 1000ms is already shorter than 1001ms"


def test_echo_takes_the_hot_path_from_the_second_frame_on() -> None:
    session = AgentServerSession(Says(echo=True))
    session.opened(0.0)
    append = b'{"type":"input_audio_buffer.append","audio":"' + base64.b64encode(bytes(960)) + b'"}'
    assert session.scan(append) is None
    session.receive(append, 0.0)
    assert session.scan(append) is not None


def test_echo_begins_again_after_a_cancel() -> None:
    client = Client(Says(echo=True))
    client.append(bytes(960))
    assert only(client.send("response.cancel"), "response.done")["response"]["status"] == "cancelled"
    assert "response.created" in types(client.append(bytes(960)))


def test_echo_between_two_formats_is_transcoded() -> None:
    client = Client(Says(echo=True))
    audio = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcma"}}}
    client.send("session.update", session={"type": "realtime", "audio": audio})
    client.append(quiet(0.02))
    assert audio_of(client.append(quiet(0.02))) == g711.transcode(quiet(0.02), Encoding.PCMU, Encoding.PCMA)


# Faults


def test_late_deltas_come_between_the_cut_and_its_response_done() -> None:
    late = LateDeltas(count=3, spacing=0.1)
    client = Client(Says(Reply(items=(exactly(5.0),), pace=1.0, late=late)))
    client.send("response.create")
    client.wait(1)
    assert client.send("response.cancel") == []
    assert refusal(client.send("response.cancel"))["code"] == "response_cancel_not_active"
    order = types(client.wait(1))
    assert order[:3] == ["response.output_audio.delta"] * 3
    assert order.index("response.done") > 2


def test_late_deltas_may_come_after_response_done() -> None:
    late = LateDeltas(count=2, spacing=0.1, after_done=True)
    client = Client(Says(Reply(items=(exactly(5.0),), pace=1.0, late=late)))
    client.send("response.create")
    client.wait(1)
    assert "response.done" in types(client.send("response.cancel"))
    assert types(client.wait(1)) == ["response.output_audio.delta"] * 2


def test_planned_errors_closes_and_garbage_come_on_time() -> None:
    faults = (
        SendError(at=0.1, code="boom", message="oops"),
        SendRaw(at=0.2, message=b"{not json"),
        CloseSocket(at=0.3, code=1001, reason="bye"),
    )
    client = Client(Says(Reply(items=(exactly(5.0),), pace=1.0, faults=faults)))
    client.send("response.create")
    assert refusal(client.wait(0.15))["code"] == "boom"
    client.wait(0.1)
    assert client.raw == [b"{not json"]
    assert client.session.next_deadline() is not None
    client.wait(0.1)
    assert client.session.close_requested == (1001, "bye")
    assert client.wait(10) == []


def test_a_stall_holds_everything_back_and_then_lets_it_go() -> None:
    client = Client(Says(Reply(items=(exactly(2.0),), pace=1.0, faults=(Stall(at=0.5, duration=1.0),))))
    client.send("response.create")
    client.wait(0.6)
    assert client.session.stalled
    assert client.send("nonsense") == []
    assert client.wait(0.8) == []
    events = client.wait(0.2)
    assert refusal(events)["code"] == "invalid_value"
    assert of(events, "response.output_audio.delta")


def test_a_stall_may_be_for_good() -> None:
    client = Client(Says(faults=SessionFaults(timed=(Stall(at=1.0),))))
    client.wait(2)
    assert client.session.next_deadline() is None
    assert client.send("response.create") == []


def test_a_format_can_be_refused() -> None:
    client = Client(Says(faults=SessionFaults(refused_formats=frozenset({"audio/pcmu"}))))
    error = refusal(client.configure(PCMU_8K))
    assert (error["code"], error["param"]) == ("invalid_value", "session.audio.input.format.type")
    assert types(client.configure(PCM16_24K)) == ["session.updated"]


def test_another_format_can_be_forced() -> None:
    said = exactly(0.5)
    client = Client(Says(Reply(items=(said,)), faults=SessionFaults(forced_format=PCM16_24K)))
    session = only(client.configure(PCMU_8K), "session.updated")["session"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    client.send("response.create")
    assert audio_of(client.wait(1)) == said.sound.encoded(PCM16_24K)


def test_session_updated_can_be_late_or_missing() -> None:
    late = Client(Says(faults=SessionFaults(update_delay=0.7)))
    assert late.configure() == []
    assert types(late.wait(0.8)) == ["session.updated"]
    never = Client(Says(faults=SessionFaults(silent_update=True)))
    assert never.configure() + never.wait(60) == []


def test_a_truncation_can_be_refused_by_plan() -> None:
    refuse = TruncateRefusal(code="item_already_truncated", message="Already truncated.")
    client = Client(Says(Reply(items=(exactly(1.0),), truncate_refusal=refuse)))
    item = spoken_item(client)
    events = client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=10)
    assert refusal(events)["code"] == "item_already_truncated"


# Whatever a client sends


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b"{}", "missing_required_parameter"),
        (b'{"type":5}', "invalid_type"),
        (b'{"type":"session.destroy"}', "invalid_value"),
        (b'{"type":"output_audio_buffer.clear"}', "invalid_value"),
        (b'{"type":"input_audio_buffer.append"}', "missing_required_parameter"),
        (b'{"type":"input_audio_buffer.append","audio":"?"}', "invalid_value"),
        (
            b'{"type":"conversation.item.truncate","item_id":"x","content_index":0,"audio_end_ms":1.5}',
            "invalid_type",
        ),
        (b'{"type":"conversation.item.delete","item_id":true}', "invalid_type"),
    ],
)
def test_what_cannot_be_understood_is_an_error_event(message: bytes, code: str) -> None:
    client = Client(Says())
    assert refusal(client.send_raw(message))["code"] == code
    assert client.session.close_requested is None


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["realtime", "message", "user", "audio/pcmu", "server_vad", "none", "root"])
)
NAMES = st.sampled_from(
    [
        "session",
        "type",
        "audio",
        "input",
        "output",
        "format",
        "item",
        "item_id",
        "content_index",
        "audio_end_ms",
        "response",
        "call_id",
        "role",
        "content",
        "turn_detection",
        "threshold",
        "tools",
        "id",
        "conversation",
        "max_output_tokens",
        "instructions",
        "event_id",
        "voice",
        "speed",
    ]
)
KINDS = st.sampled_from(
    [
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "conversation.item.create",
        "conversation.item.truncate",
        "conversation.item.delete",
        "conversation.item.retrieve",
        "response.create",
        "response.cancel",
        "output_audio_buffer.clear",
    ]
)


def nested() -> st.SearchStrategy[Any]:
    shallow = SCALARS | st.dictionaries(NAMES, SCALARS, max_size=3) | st.lists(SCALARS, max_size=2)
    deeper = shallow | st.dictionaries(NAMES, shallow, max_size=3)
    return deeper | st.dictionaries(NAMES, deeper, max_size=2)


def events_of_any_shape() -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda kind, fields: json.dumps({**fields, "type": kind}).encode(),
        KINDS,
        st.dictionaries(NAMES, nested(), max_size=5),
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60) | events_of_any_shape(), max_size=6), st.booleans())
def test_nothing_a_client_sends_raises(messages: list[bytes], echo: bool) -> None:
    session = AgentServerSession(Says(Reply(items=(exactly(0.5),), pace=1.0), echo=echo))
    session.opened(0.0)
    now = 0.0
    for message in messages:
        if session.scan(message) is None:
            session.receive(message, now)
        now += 0.1
        session.poll(now)
        for sent in session.outgoing():
            json.loads(sent)


ACTIONS = st.sampled_from(
    ["create", "cancel", "speak", "quiet", "wait", "commit", "clear", "truncate", "delete"]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 3000)), max_size=25))
def test_every_response_that_began_ends_once_and_no_audio_follows(actions: list[tuple[str, int]]) -> None:
    behaviour = Says(*[Reply(items=(exactly(1.5), exactly(0.5)), delay=0.1, pace=2.0) for _ in range(30)])
    client = Client(behaviour)
    client.configure()
    for action, number in actions:
        perform(client, action, number)
    client.wait(60)
    created = [event["response"]["id"] for event in of(client.heard, "response.created")]
    done = [event["response"]["id"] for event in of(client.heard, "response.done")]
    assert sorted(created) == sorted(done)
    assert list(spoken_after_done(client.heard)) == []


def perform(client: Client, action: str, number: int) -> None:
    match action:
        case "create":
            client.send("response.create")
        case "cancel":
            client.send("response.cancel")
        case "speak":
            client.append(pcmu(voice(number / 1000)))
        case "quiet":
            client.append(quiet(number / 1000))
        case "commit":
            client.send("input_audio_buffer.commit")
        case "clear":
            client.send("input_audio_buffer.clear")
        case "truncate" | "delete":
            items = [event["item"]["id"] for event in of(client.heard, "conversation.item.added")]
            item = items[number % len(items)] if items else "none"
            fields = {"content_index": 0, "audio_end_ms": number} if action == "truncate" else {}
            client.send(f"conversation.item.{action}", item_id=item, **fields)
        case _:
            client.wait(number / 1000)


def spoken_after_done(events: Sequence[Event]) -> Iterator[Event]:
    over: set[str] = set()
    for event in events:
        if event["type"] == "response.done":
            over.add(event["response"]["id"])
        elif event["type"] == "response.output_audio.delta" and event["response_id"] in over:
            yield event

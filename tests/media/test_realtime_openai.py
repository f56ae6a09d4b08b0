"""The GA wire against the openai SDK: its types accept every event we send, and we read every event it knows."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from media.audio import PCM16_8K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from media.realtime.configuration import HistoryItem, SessionConfig, ToolSpec, TurnDetection
from media.realtime.dialects import DIALECTS, OPENAI, read_format, spell
from media.realtime.events import AgentEvent, AgentFault, Role, Unrecognised
from media.realtime.openai import MalformedMessage, parse
from media.realtime.session import ItemCut, RealtimeSession
from tests.media.realtime_peer import SERVER_EVENTS, begin, call, config, finish, ready, speak

CLIENT: TypeAdapter[RealtimeClientEvent] = TypeAdapter(RealtimeClientEvent)
SERVER: TypeAdapter[RealtimeServerEvent] = TypeAdapter(RealtimeServerEvent)


def unknown_keys(value: object) -> Iterator[str]:
    """Every key anywhere in a model that its type does not declare (the SDK's models keep such keys)."""
    if isinstance(value, BaseModel):
        yield from value.model_extra or {}
        for name in value.model_fields_set:
            yield from unknown_keys(getattr(value, name))
    elif isinstance(value, list):
        for each in value:
            yield from unknown_keys(each)


def assert_sdk_accepts(message: bytes) -> str:
    """Assert that a client event is one the SDK knows, whole; return its type."""
    event = CLIENT.validate_json(message, strict=True)
    assert list(unknown_keys(event)) == []
    assert event.model_dump(exclude_unset=True, mode="json") == json.loads(message)
    return event.type


def all_settings() -> SessionConfig:
    return SessionConfig(
        model="gpt-realtime-2.1",
        voice="cedar",
        instructions="Be brief.",
        input_format=PCMU_8K,
        output_format=PCMA_8K,
        turn_detection=TurnDetection(idle_timeout_ms=6000),
        transcription_model="gpt-transcribe",
        language="de",
        tools=(ToolSpec("weather", "Tells the weather", {"type": "object"}), ToolSpec("bye", "Ends")),
        tool_choice="weather",
        noise_reduction="near_field",
        speed=1.1,
        max_output_tokens=2000,
    )


@pytest.mark.parametrize(
    "settings",
    [
        all_settings(),
        config(),
        config(audio=PCM16_8K, tools=()),
        config(turns=TurnDetection(kind=None)),
        config(turns=TurnDetection(kind="semantic_vad", eagerness="low", interrupt_response=False)),
    ],
)
def test_the_sdk_accepts_every_session_we_ask_for(settings: SessionConfig) -> None:
    session = RealtimeSession(settings)
    session.opened(0.0, history=[HistoryItem(role, "words") for role in Role])
    messages = session.outgoing()
    assert [assert_sdk_accepts(message) for message in messages] == [
        "session.update",
        *["conversation.item.create"] * len(Role),
    ]


def test_the_sdk_notices_a_key_it_does_not_know() -> None:
    """The oracle itself: a rate beside audio/pcmu is the mistake it must catch."""
    session = {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}}
    message = json.dumps({"type": "session.update", "session": session}).encode()
    with pytest.raises(AssertionError):
        assert_sdk_accepts(message)


def test_the_sdk_accepts_everything_said_during_a_call() -> None:
    session = ready()
    messages = [session.append(b"\xff" * 160)]
    session.request_response(0.0, instructions="Greet.")
    begin(session, "resp_1", "item_1", ms=200)
    speak(session, "resp_1", "item_2", 100)
    call(session, "resp_1", "call_1")
    call(session, "resp_1", "call_2", arguments="{")
    session.tool_result("call_1", "sunny", 0.0)
    finish(session, "resp_1")
    session.inject(Role.CALLER, "pressed 5", 0.0)
    begin(session, "resp_2", "item_3", ms=40)
    session.interrupt([ItemCut("item_1", 100), ItemCut("item_2", 0), ItemCut("item_3", 20)], 1.0)
    messages += session.outgoing()
    assert {assert_sdk_accepts(message) for message in messages} == {
        "input_audio_buffer.append",
        "response.create",
        "conversation.item.create",
        "response.cancel",
        "conversation.item.truncate",
        "conversation.item.delete",
    }


# One sample of each event a bridge reads, as the SDK types them.
MESSAGE = {"id": "item_1", "type": "message", "role": "assistant", "status": "completed", "content": []}
CALL = {
    "id": "item_2",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "weather",
    "arguments": "{}",
}
SESSION = {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}
RESPONSE = {"id": "resp_1", "object": "realtime.response", "status": "completed", "output": [MESSAGE]}
OUTPUT = {"response_id": "resp_1", "output_index": 0}
CONTENT = {**OUTPUT, "item_id": "item_1", "content_index": 0}
SAMPLES: list[dict[str, Any]] = [
    {"type": "session.created", "session": SESSION},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 10, "item_id": "item_0"},
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 10, "item_id": "item_0"},
    {"type": "input_audio_buffer.committed", "item_id": "item_0", "previous_item_id": None},
    {"type": "conversation.item.created", "item": MESSAGE, "previous_item_id": "item_0"},
    {"type": "conversation.item.added", "item": CALL, "previous_item_id": "item_1"},
    {"type": "conversation.item.done", "item": MESSAGE},
    {"type": "conversation.item.deleted", "item_id": "item_1"},
    {"type": "conversation.item.truncated", "item_id": "item_1", "content_index": 0, "audio_end_ms": 5},
    {
        "type": "conversation.item.input_audio_transcription.delta",
        "item_id": "item_0",
        "content_index": 0,
        "delta": "he",
    },
    {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "item_0",
        "content_index": 0,
        "transcript": "hello",
        "usage": {"type": "tokens", "input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    },
    {
        "type": "conversation.item.input_audio_transcription.failed",
        "item_id": "item_0",
        "content_index": 0,
        "error": {"code": "audio_unintelligible", "message": "?", "type": "transcription_error"},
    },
    {"type": "response.created", "response": RESPONSE},
    {"type": "response.output_item.added", **OUTPUT, "item": MESSAGE},
    {"type": "response.output_audio.delta", **CONTENT, "delta": "VVVV"},
    {"type": "response.output_audio.done", **CONTENT},
    {"type": "response.output_audio_transcript.delta", **CONTENT, "delta": "hi"},
    {"type": "response.output_audio_transcript.done", **CONTENT, "transcript": "hi"},
    {"type": "response.output_text.delta", **CONTENT, "delta": "hi"},
    {"type": "response.output_text.done", **CONTENT, "text": "hi"},
    {"type": "response.output_item.done", **OUTPUT, "item": CALL},
    {"type": "response.done", "response": RESPONSE},
    {"type": "rate_limits.updated", "rate_limits": []},
    {"type": "error", "error": {"type": "invalid_request_error", "message": "no", "code": None}},
    {"type": "session.updated", "session": SESSION},
]
# What each sample must make of itself (all others: at least no fault and nothing unrecognised).
QUIET = {
    "conversation.item.deleted",
    "conversation.item.done",
    "error",
    "rate_limits.updated",
    "response.output_audio.done",  # of an item without audio
    "response.output_item.added",
    "session.created",
    "session.updated",
}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample["type"]))
def test_every_event_the_sdk_types_is_read(sample: dict[str, Any]) -> None:
    event = SERVER.validate_python({"event_id": "event_1", **sample}, strict=True)
    assert event.type == sample["type"]
    assert list(unknown_keys(event)) == []
    session = ready()
    events = session.receive(event.model_dump_json(exclude_unset=True).encode(), 0.0)
    assert not any(isinstance(each, Unrecognised) for each in events)
    if sample["type"] not in QUIET:
        assert events
        assert not faults(events)


@pytest.mark.parametrize("name", SERVER_EVENTS)
def test_no_event_the_sdk_knows_is_unrecognised(name: str) -> None:
    assert Unrecognised(name) not in ready().receive(json.dumps({"type": name}).encode(), 0.0)


def faults(events: list[AgentEvent]) -> list[AgentFault]:
    return [event for event in events if isinstance(event, AgentFault)]


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("audio", [PCMU_8K, PCMA_8K, PCM16_24K])
def test_every_dialects_spelling_reads_as_what_was_written(name: str, audio: AudioFormat) -> None:
    dialect = DIALECTS[name]
    assert read_format(spell(audio, dialect), dialect) == audio


def test_the_beta_says_everything_at_the_top() -> None:
    session = RealtimeSession(config(), DIALECTS["beta"])
    session.opened(0.0)
    said = json.loads(session.outgoing()[0])["session"]
    assert said["input_audio_format"] == said["output_audio_format"] == "g711_ulaw"
    assert said["modalities"] == ["text", "audio"]
    assert said["turn_detection"]["type"] == "server_vad"
    assert said["input_audio_transcription"] == {"model": "gpt-transcribe", "language": "en"}
    assert "type" not in said
    assert "audio" not in said


def test_xai_has_voice_and_turns_at_the_top_and_formats_below() -> None:
    session = RealtimeSession(config(), DIALECTS["xai"])
    session.opened(0.0)
    said = json.loads(session.outgoing()[0])["session"]
    assert said["voice"] == "marin"
    assert said["audio"]["output"] == {"format": {"type": "audio/pcmu"}}
    assert set(said["turn_detection"]) == {"type", "threshold", "prefix_padding_ms", "silence_duration_ms"}


def test_a_beta_name_reads_as_its_ga_name() -> None:
    assert parse(b'{"type":"response.audio.delta"}', OPENAI).name == "response.output_audio.delta"


@pytest.mark.parametrize(
    "message", [b"", b"{}", b"[]", b'"type"', b'{"type":7}', b'{"type":null}', b"\xff", b"{" * 9999]
)
def test_what_is_no_event_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse(message, OPENAI)

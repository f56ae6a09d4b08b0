"""A realtime session and what its server says to it, in few words."""

import json
from base64 import b64encode
from typing import Any, get_args

from openai.types.realtime import RealtimeServerEvent

from media.audio import PCMU_8K, AudioFormat
from media.realtime.dialects import OPENAI, Dialect
from media.realtime.events import AgentEvent, AgentFault, AudioReceived
from media.realtime.session import RealtimeSession, SessionConfig, SessionState, ToolSpec, TurnDetection

# The name of every event the SDK knows a server to send: `RealtimeServerEvent` is Annotated[Union[...], ...].
SERVER_EVENTS: list[str] = sorted(
    get_args(model.model_fields["type"].annotation)[0] for model in get_args(get_args(RealtimeServerEvent)[0])
)
WEATHER = ToolSpec(
    "weather", "Tells the weather", {"type": "object", "properties": {"city": {"type": "string"}}}
)


def config(
    *,
    audio: AudioFormat = PCMU_8K,
    turns: TurnDetection | None = None,
    tools: tuple[ToolSpec, ...] = (WEATHER,),
) -> SessionConfig:
    return SessionConfig(
        model="gpt-realtime-2.1",
        voice="marin",
        instructions="Be brief.",
        input_format=audio,
        output_format=audio,
        turn_detection=turns or TurnDetection(),
        transcription_model="gpt-transcribe",
        language="en",
        tools=tools,
    )


def tell(session: RealtimeSession, kind: str, now: float = 0.0, /, **fields: object) -> list[AgentEvent]:
    """The server says something."""
    return session.receive(json.dumps({"type": kind, "event_id": "event_1", **fields}).encode(), now)


def sent(session: RealtimeSession) -> list[dict[str, Any]]:
    """Take what the session has to send."""
    return [json.loads(message) for message in session.outgoing()]


def kinds(session: RealtimeSession) -> list[object]:
    return [message["type"] for message in sent(session)]


def ready(settings: SessionConfig | None = None, dialect: Dialect = OPENAI) -> RealtimeSession:
    """A session whose server confirmed all it was asked."""
    session = RealtimeSession(settings or config(), dialect)
    session.opened(0.0)
    (update,) = sent(session)
    tell(session, "session.updated", session=update["session"])
    assert session.state is SessionState.READY
    return session


def delta(response: str, item: str, audio: bytes, event_id: str = "event_1") -> bytes:
    """An audio delta as OpenAI writes it."""
    fields = {
        "type": "response.output_audio.delta",
        "event_id": event_id,
        "response_id": response,
        "item_id": item,
        "output_index": 0,
        "content_index": 0,
        "delta": b64encode(audio).decode(),
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def hear(session: RealtimeSession, message: bytes, now: float = 0.0) -> bytes:
    """Hand over a message as the socket's owner does; return the audio that came out."""
    if (found := session.scan(message)) is not None:
        return found[1]
    return b"".join(
        event.audio for event in session.receive(message, now) if isinstance(event, AudioReceived)
    )


def speak(session: RealtimeSession, response: str, item: str, ms: int) -> bytes:
    """The server sends `ms` of PCMU audio in deltas of 20 ms; return what came out."""
    return b"".join(hear(session, delta(response, item, b"\x55" * 160)) for _ in range(ms // 20))


def begin(session: RealtimeSession, response: str, item: str, ms: int = 0) -> None:
    """A response begins and speaks."""
    tell(session, "response.created", response={"id": response, "status": "in_progress"})
    message = {"id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    tell(session, "response.output_item.added", response_id=response, output_index=0, item=message)
    tell(session, "conversation.item.added", previous_item_id=None, item=message)
    speak(session, response, item, ms)


def finish(
    session: RealtimeSession, response: str, status: str = "completed", reason: str | None = None
) -> None:
    details = {"type": status, "reason": reason} if reason else None
    tell(session, "response.done", response={"id": response, "status": status, "status_details": details})


def call(session: RealtimeSession, response: str, call_id: str, **changes: object) -> list[AgentEvent]:
    """A function call of a response is complete."""
    item = {
        "id": f"item_{call_id}",
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": "weather",
        "arguments": '{"city":"Oslo"}',
        **changes,
    }
    return tell(session, "response.output_item.done", response_id=response, output_index=0, item=item)


def refuse(
    session: RealtimeSession, code: str | None, message: str, event_id: str | None = None
) -> AgentFault:
    error = {
        "type": "invalid_request_error",
        "code": code,
        "message": message,
        "param": None,
        "event_id": event_id,
    }
    (fault,) = tell(session, "error", error=error)
    assert isinstance(fault, AgentFault)
    return fault

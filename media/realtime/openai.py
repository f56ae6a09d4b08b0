"""The OpenAI Realtime GA wire: client events as bytes, server events as checked fields.

Reading never trusts a server: a field that is missing, null or of the wrong type reads as empty or zero,
an identifier of absurd length as none. Only a message that is no JSON object with a `type` is malformed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from media.audio import AudioFormat
from media.realtime.configuration import HistoryItem, SessionConfig
from media.realtime.dialects import Dialect, Nesting, read_format, spell
from media.realtime.events import Role

# OpenAI takes 15 MiB per event; nothing a speech session needs comes near it.
LARGEST_MESSAGE = 16 << 20
# OpenAI's ids are about 30 characters; a longer one is a fault, and would be kept in memory.
LONGEST_ID = 256
LONGEST_NAME = 100
MOST_MILLISECONDS = 1 << 40

APPEND = b'{"type":"input_audio_buffer.append","audio":"'
END = b'"}'

Fields = Mapping[str, object]


class MalformedMessage(ValueError):
    """The server sent bytes that are no event of this wire."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server event under its GA name; `raw` is what it was read from."""

    name: str
    fields: Fields
    raw: bytes


def parse(message: bytes, dialect: Dialect) -> ServerEvent:
    """Read one message.

    Raises:
        MalformedMessage: it is no JSON object with a `type`.
    """
    if len(message) > LARGEST_MESSAGE:
        raise MalformedMessage(f"a message of {len(message)} bytes")
    try:
        fields = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(str(error)) from error
    if not isinstance(fields, dict):
        raise MalformedMessage("not a JSON object")
    name = fields.get("type")
    if not isinstance(name, str):
        raise MalformedMessage("no event type")
    return ServerEvent(dialect.names.get(name, name[:LONGEST_NAME]), fields, message)


# -- reading fields


def text(fields: Fields, key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def identifier(fields: Fields, key: str) -> str:
    value = text(fields, key)
    return value if len(value) <= LONGEST_ID else ""


def number(fields: Fields, key: str) -> int:
    """Return a whole number not below zero; 0 for anything else."""
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value <= MOST_MILLISECONDS else 0


def part(fields: Fields, key: str) -> Fields:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def item_role(item: Fields) -> Role:
    """Return whose an item is; function calls and their outputs are the tool's."""
    kind = text(item, "type")
    if kind and kind != "message":
        return Role.TOOL
    match text(item, "role"):
        case "user":
            return Role.CALLER
        case "system":
            return Role.SYSTEM
        case _:
            return Role.AGENT


def read_error(fields: Fields) -> Fields:
    """Return the error of an `error` event; self-hosted servers write it as one text, or without nesting."""
    error = fields.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {"message": error}
    # `type` and `event_id` are then the event's own.
    return {key: fields[key] for key in ("code", "message", "param") if key in fields}


def arguments_of(item: Fields) -> dict[str, object] | None:
    """Return a function call's arguments; None unless they are a JSON object."""
    try:
        arguments = msgspec.json.decode(text(item, "arguments") or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a `session.updated` says was configured."""

    input_format: AudioFormat | None
    output_format: AudioFormat | None
    names_input: bool
    """Whether it says anything about the input format at all (it may be one we do not know)."""
    names_output: bool
    turn_detection: Fields | None
    """None where it says nothing; empty where turn detection is off."""


def read_session(session: Fields, dialect: Dialect) -> Confirmed:
    """Read a session object in any nesting."""
    audio = part(session, "audio")
    listening, speaking = part(audio, "input"), part(audio, "output")
    heard = listening.get("format") or session.get("input_audio_format")
    said = speaking.get("format") or session.get("output_audio_format")
    turns: Fields | None = None
    for place in (listening, session):
        if "turn_detection" in place:
            turns = part(place, "turn_detection")
            break
    return Confirmed(
        read_format(heard, dialect), read_format(said, dialect), heard is not None, said is not None, turns
    )


# -- writing events


def session_update(
    config: SessionConfig,
    input_format: AudioFormat,
    output_format: AudioFormat,
    dialect: Dialect,
    event_id: str,
) -> bytes:
    """Return the `session.update` that asks for these formats."""
    session = _SESSIONS[dialect.nesting](
        config, spell(input_format, dialect), spell(output_format, dialect), dialect
    )
    if config.max_output_tokens is not None:
        flat = dialect.nesting is Nesting.FLAT
        session["max_response_output_tokens" if flat else "max_output_tokens"] = config.max_output_tokens
    return _event("session.update", event_id=event_id, session=session)


def session_change(config: SessionConfig, dialect: Dialect, event_id: str) -> bytes:
    """Return the `session.update` of what may change in mid-call; servers leave alone what it does not name."""
    kind = {"type": "realtime"} if dialect.nesting is Nesting.GA else {}
    session = {**kind, "instructions": _clean(config.instructions), **_tools(config)}
    return _event("session.update", event_id=event_id, session=session)


def message_item(
    entry: HistoryItem, dialect: Dialect, *, item_id: str | None = None, event_id: str | None = None
) -> bytes:
    """Return the `conversation.item.create` of one message of text."""
    agent = entry.role is Role.AGENT
    role = {Role.CALLER: "user", Role.AGENT: "assistant"}.get(entry.role, "system")
    content = {"type": dialect.assistant_content if agent else "input_text", "text": _clean(entry.text)}
    item: dict[str, object] = {"type": "message", "role": role, "content": [content]}
    if item_id is not None:
        item["id"] = item_id
    return _event("conversation.item.create", event_id=event_id, item=item)


def function_output(call_id: str, output: str) -> bytes:
    item = {"type": "function_call_output", "call_id": call_id, "output": _clean(output)}
    return _event("conversation.item.create", item=item)


def input_clear() -> bytes:
    return _event("input_audio_buffer.clear")


def response_create(event_id: str, instructions: str | None) -> bytes:
    if instructions is None:
        return _event("response.create", event_id=event_id)
    return _event("response.create", event_id=event_id, response={"instructions": _clean(instructions)})


def response_cancel(response_id: str) -> bytes:
    return _event("response.cancel", response_id=response_id or None)


def item_truncate(item_id: str, audio_end_ms: int) -> bytes:
    return _event("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=audio_end_ms)


def item_delete(item_id: str) -> bytes:
    return _event("conversation.item.delete", item_id=item_id)


def _event(kind: str, **fields: object) -> bytes:
    return msgspec.json.encode(
        {"type": kind} | {key: value for key, value in fields.items() if value is not None}
    )


def _clean(words: str) -> str:
    """Replace lone surrogates (a tool's output may hold them): they have no UTF-8 and would not be sent."""
    return words.encode("utf-8", "replace").decode()


def _turn_detection(config: SessionConfig, dialect: Dialect) -> object:
    turns = config.turn_detection
    if turns.kind is None:
        return None
    fields: dict[str, object] = {"type": turns.kind}
    if turns.kind == "semantic_vad":
        fields["eagerness"] = turns.eagerness
    else:
        fields["threshold"] = turns.threshold
        fields["prefix_padding_ms"] = turns.prefix_padding_ms
        fields["silence_duration_ms"] = turns.silence_duration_ms
        if turns.idle_timeout_ms is not None:
            fields["idle_timeout_ms"] = turns.idle_timeout_ms
    if dialect.switches_turns:
        fields["create_response"] = turns.create_response
        fields["interrupt_response"] = turns.interrupt_response
    return fields


def _transcription(config: SessionConfig, language: str = "language") -> object:
    if config.transcription_model is None:
        return None
    fields: dict[str, object] = {"model": config.transcription_model}
    if config.language is not None:
        fields[language] = config.language
    return fields


def _tools(config: SessionConfig) -> dict[str, object]:
    tools = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            # An empty schema is refused by some servers; a function without parameters is this one.
            "parameters": dict(tool.parameters) or {"type": "object", "properties": {}},
        }
        for tool in config.tools
    ]
    return {"tools": tools, "tool_choice": _tool_choice(config.tool_choice)} if tools else {"tools": []}


def _tool_choice(choice: str) -> object:
    return choice if choice in ("auto", "none", "required") else {"type": "function", "name": choice}


def _noise_reduction(config: SessionConfig) -> object:
    return {"type": config.noise_reduction} if config.noise_reduction is not None else None


def _output(config: SessionConfig, spelt: object) -> dict[str, object]:
    return {"format": spelt} | _voice(config) | _speed(config)


def _voice(config: SessionConfig) -> dict[str, object]:
    return {"voice": config.voice} if config.voice else {}


def _speed(config: SessionConfig) -> dict[str, object]:
    return {} if config.speed is None else {"speed": config.speed}


def _ga_session(config: SessionConfig, heard: object, said: object, dialect: Dialect) -> dict[str, object]:
    return {
        "type": "realtime",
        "instructions": _clean(config.instructions),
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": heard,
                "noise_reduction": _noise_reduction(config),
                "transcription": _transcription(config),
                "turn_detection": _turn_detection(config, dialect),
            },
            "output": _output(config, said),
        },
        **_tools(config),
    }


def _flat_session(config: SessionConfig, heard: object, said: object, dialect: Dialect) -> dict[str, object]:
    return {
        "modalities": ["text", "audio"],
        "instructions": _clean(config.instructions),
        "input_audio_format": heard,
        "output_audio_format": said,
        "input_audio_transcription": _transcription(config),
        "turn_detection": _turn_detection(config, dialect),
        **_voice(config),
        **_speed(config),
        **(
            {}
            if config.noise_reduction is None
            else {"input_audio_noise_reduction": _noise_reduction(config)}
        ),
        **_tools(config),
    }


def _top_session(config: SessionConfig, heard: object, said: object, dialect: Dialect) -> dict[str, object]:
    listening: dict[str, object] = {"format": heard}
    # xAI transcribes without being asked; naming a model brings interim text.
    if (transcription := _transcription(config, language="language_hint")) is not None:
        listening["transcription"] = transcription
    return {
        "instructions": _clean(config.instructions),
        "turn_detection": _turn_detection(config, dialect),
        "audio": {"input": listening, "output": {"format": said} | _speed(config)},
        **_voice(config),
        **_tools(config),
    }


_SESSIONS = {Nesting.GA: _ga_session, Nesting.FLAT: _flat_session, Nesting.TOP: _top_session}

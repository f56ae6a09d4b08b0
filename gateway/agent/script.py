"""Agent scripts: YAML read into a typed `Script`, each mistake named by file, line and field.

The document is read as a tree of nodes, not as plain values, so that every complaint knows its line.
`examples/agents/reference.yaml` shows every field with what it means.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from gateway.agent.scripted import Script, Turn
from gateway.agent.sound import read_sound, silence, stand_in, tone
from gateway.yaml_document import Field, parse_document, read, required
from media.realtime.server_behaviour import (
    CloseSocket,
    Fault,
    FunctionCall,
    LateDeltas,
    Reply,
    SendError,
    SendRaw,
    SessionFaults,
    Sound,
    Speech,
    Stall,
    Transcription,
    TruncateRefusal,
)
from media.realtime.server_config import FORMATS

DELAY_MS = 300.0
DELTA_MS = 200.0
TRANSCRIPT_DELAY_MS = 300.0
LONGEST_MS = 3_600_000.0


def load_script(path: Path) -> Script:
    """Read a script from a file; its audio files are relative to it.

    Raises:
        ScriptError: what is wrong, and where.
        OSError: the file cannot be read.
    """
    return parse_script(path.read_text("utf-8"), source=path.name, folder=path.parent)


def parse_script(text: str, *, source: str = "script", folder: Path = Path()) -> Script:
    """Read a script from text."""
    return _script(parse_document(text, source=source, folder=folder))


def _seconds(field: Field) -> float:
    return field.number(0, LONGEST_MS) / 1000


class _Defaults:
    """What a reply has where it does not say."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self.delay = read(fields, "delay_ms", _seconds, DELAY_MS / 1000)
        self.delta = read(fields, "delta_ms", _delta, DELTA_MS / 1000)
        self.pace = read(fields, "pace", _pace, None)
        self.transcript_delay = read(fields, "transcript_delay_ms", _seconds, TRANSCRIPT_DELAY_MS / 1000)


def _script(root: Field) -> Script:
    fields = root.fields("name", "defaults", "session", "greeting", "turns", "after", "out_of_band")
    given = fields.get("defaults")
    defaults = _Defaults(
        {} if given is None else given.fields("delay_ms", "delta_ms", "pace", "transcript_delay_ms")
    )
    listed = fields.get("turns")
    turns = () if listed is None else tuple(_turn(each, defaults) for each in listed.items())
    greeting = read(fields, "greeting", lambda field: _greeting(field, defaults), None)
    if not turns and "greeting" not in fields:
        raise root.wrong("needs turns, a greeting, or both")
    return Script(
        name=read(fields, "name", Field.text, "scripted"),
        greeting=greeting,
        turns=turns,
        after=read(fields, "after", lambda field: field.choice("last", "loop", "silent"), "last"),
        out_of_band=read(fields, "out_of_band", Field.text, "{}"),
        faults=read(fields, "session", _session, SessionFaults()),
    )


def _session(field: Field) -> SessionFaults:
    fields = field.fields(
        "refuse_formats", "force_format", "session_updated", "session_updated_delay_ms", "expires_s", "faults"
    )
    forced = fields.get("force_format")
    return SessionFaults(
        refused_formats=read(
            fields,
            "refuse_formats",
            lambda names: frozenset(name.choice(*FORMATS) for name in names.items()),
            frozenset(),
        ),
        forced_format=None if forced is None else FORMATS[forced.choice(*FORMATS)],
        silent_update=not read(fields, "session_updated", Field.flag, True),
        update_delay=read(fields, "session_updated_delay_ms", _seconds, 0.0),
        expires_in=read(fields, "expires_s", lambda each: each.number(0, 86_400), 3600.0),
        timed=read(fields, "faults", _faults, ()),
    )


_REPLY = (
    "say",
    "audio",
    "call",
    "items",
    "delay_ms",
    "pace",
    "delta_ms",
    "late_deltas",
    "refuse_truncate",
    "fails",
    "faults",
    "then",
)


def _greeting(field: Field, defaults: _Defaults) -> Turn:
    # A greeting may be words alone: `greeting: "Hello."`
    if field.scalar:
        text = field.text()
        speech = Speech(text, stand_in(text))
        return Turn(
            reply=Reply(items=(speech,), delay=defaults.delay, pace=defaults.pace, delta=defaults.delta)
        )
    return _exchange(field, field.fields(*_REPLY), defaults, None)


def _turn(field: Field, defaults: _Defaults) -> Turn:
    fields = field.fields("caller", *_REPLY)
    caller = read(fields, "caller", lambda each: _caller(each, defaults), None)
    return _exchange(field, fields, defaults, caller)


def _caller(field: Field, defaults: _Defaults) -> Transcription:
    if field.scalar:
        return Transcription(text=field.text(), delay=defaults.transcript_delay)
    fields = field.fields("text", "delay_ms", "fails")
    return Transcription(
        text=read(fields, "text", Field.text, ""),
        delay=read(fields, "delay_ms", _seconds, defaults.transcript_delay),
        failure=read(fields, "fails", Field.text, None),
    )


def _exchange(
    field: Field, fields: Mapping[str, Field], defaults: _Defaults, caller: Transcription | None
) -> Turn:
    expect: list[tuple[str, str]] = []
    items = _items(field, fields, expect)
    then = fields.get("then")
    if then is not None and not any(isinstance(item, FunctionCall) for item in items):
        raise then.wrong("follows tool outputs, but this turn calls no function")
    reply = Reply(
        items=items,
        delay=read(fields, "delay_ms", _seconds, defaults.delay),
        pace=read(fields, "pace", _pace, defaults.pace),
        delta=read(fields, "delta_ms", _delta, defaults.delta),
        faults=read(fields, "faults", _faults, ()),
        late=read(fields, "late_deltas", _late, None),
        truncate_refusal=read(fields, "refuse_truncate", _truncate_refusal, None),
        failure=read(fields, "fails", Field.text, None),
    )
    return Turn(
        reply=reply,
        caller=caller,
        expect=tuple(expect),
        then=None if then is None else _exchange(then, then.fields(*_REPLY), defaults, None),
    )


def _items(
    field: Field, fields: Mapping[str, Field], expect: list[tuple[str, str]]
) -> tuple[Speech | FunctionCall, ...]:
    listed = fields.get("items")
    if listed is None:
        return tuple(_item(field, fields, expect))
    for name in ("say", "audio", "call"):
        if name in fields:
            raise fields[name].wrong("give either items or say, audio and call, not both")
    found: list[Speech | FunctionCall] = []
    for each in listed.items():
        found += _item(each, each.fields("say", "audio", "call"), expect)
    return tuple(found)


def _item(
    field: Field, fields: Mapping[str, Field], expect: list[tuple[str, str]]
) -> list[Speech | FunctionCall]:
    found: list[Speech | FunctionCall] = []
    if "say" in fields or "audio" in fields:
        text = read(fields, "say", Field.text, "")
        sound = _sound(fields["audio"]) if "audio" in fields else stand_in(text)
        found.append(Speech(text, sound))
    if "call" in fields:
        found.append(_call(fields["call"], expect))
    if not found and not fields.keys() & {"fails", "faults"}:
        raise field.wrong("says nothing: needs say, audio, call, items, fails or faults")
    return found


def _call(field: Field, expect: list[tuple[str, str]]) -> FunctionCall:
    fields = field.fields("name", "arguments", "raw_arguments", "expect")
    name = required(field, fields, "name").text()
    if "expect" in fields:
        pattern = fields["expect"].text()
        try:
            re.compile(pattern)
        except re.error as error:
            raise fields["expect"].wrong(f"not a regular expression: {error}") from error
        expect.append((name, pattern))
    if "raw_arguments" in fields:
        return FunctionCall(name, fields["raw_arguments"].text())
    arguments: object = fields["arguments"].value() if "arguments" in fields else {}
    if not isinstance(arguments, dict):
        raise fields["arguments"].wrong("expected a mapping of arguments")
    try:
        return FunctionCall(name, json.dumps(arguments))
    except (TypeError, ValueError) as error:
        raise fields["arguments"].wrong(f"cannot be written as JSON: {error}") from error


def _sound(field: Field) -> Sound:
    fields = field.fields("file", "tone", "silence_ms")
    if len(fields) != 1:
        raise field.wrong("needs exactly one of file, tone or silence_ms")
    if "file" in fields:
        path = field.folder / fields["file"].text()
        try:
            return read_sound(path)
        except OSError as error:
            raise fields["file"].wrong(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise fields["file"].wrong(str(error)) from error
    if "silence_ms" in fields:
        return silence(_seconds(fields["silence_ms"]))
    given = fields["tone"].fields("frequencies", "ms", "level")
    frequencies = required(fields["tone"], given, "frequencies")
    return tone(
        [each.number(20, 12_000) for each in frequencies.items()],
        _seconds(required(fields["tone"], given, "ms")),
        read(given, "level", lambda each: each.number(-90, 0), -20.0),
    )


def _pace(field: Field) -> float | None:
    value = field.value()
    if value == "burst":
        return None
    if value == "realtime":
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.01 <= value <= 1000:
        raise field.wrong(
            f"expected burst, realtime or a speed from 0.01 to 1000 (1 is realtime), got {value!r:.40}"
        )
    return float(value)


def _delta(field: Field) -> float:
    return field.number(1, 60_000) / 1000


def _late(field: Field) -> LateDeltas:
    fields = field.fields("count", "spacing_ms", "after_done")
    return LateDeltas(
        count=required(field, fields, "count").integer(0, 1000),
        spacing=read(fields, "spacing_ms", _seconds, 0.05),
        after_done=read(fields, "after_done", Field.flag, False),
    )


def _truncate_refusal(field: Field) -> TruncateRefusal:
    fields = field.fields("code", "message")
    return TruncateRefusal(
        code=read(fields, "code", Field.text, None),
        message=read(fields, "message", Field.text, "The item cannot be truncated."),
    )


def _faults(field: Field) -> tuple[Fault, ...]:
    return tuple(_fault(each) for each in field.items())


def _fault(field: Field) -> Fault:
    fields = field.fields("at_ms", "error", "close", "stall", "malformed")
    kinds = fields.keys() - {"at_ms"}
    if len(kinds) != 1:
        raise field.wrong("needs exactly one of error, close, stall or malformed")
    at = read(fields, "at_ms", _seconds, 0.0)
    match kinds.pop():
        case "error":
            return _error(fields["error"], at)
        case "close":
            given = fields["close"].fields("code", "reason")
            code = required(fields["close"], given, "code").integer(1000, 4999)
            return CloseSocket(at=at, code=code, reason=read(given, "reason", Field.text, ""))
        case "stall":
            given = fields["stall"].fields("ms")
            return Stall(at=at, duration=read(given, "ms", _seconds, None))
        case _:
            return SendRaw(at=at, message=fields["malformed"].text().encode())


def _error(field: Field, at: float) -> SendError:
    fields = field.fields("code", "message", "type", "param")
    return SendError(
        at=at,
        code=read(fields, "code", Field.text, None),
        message=read(fields, "message", Field.text, "The server had an error."),
        kind=read(fields, "type", Field.text, "server_error"),
        param=read(fields, "param", Field.text, None),
    )

"""Agent scripts: YAML read into a typed `Script`, each mistake named by file, line and field.

The document is read as a tree of nodes, not as plain values, so that every complaint knows its line.
`examples/agents/reference.yaml` shows every field with what it means.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from gateway.agent.scripted import Script, Turn
from gateway.agent.sound import read_sound, silence, stand_in, tone
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

_T = TypeVar("_T")

DELAY_MS = 300.0
DELTA_MS = 200.0
TRANSCRIPT_DELAY_MS = 300.0
LONGEST_MS = 3_600_000.0


class ScriptError(ValueError):
    """A script that cannot be played, and where it says so."""

    def __init__(self, source: str, line: int, field: str, problem: str) -> None:
        super().__init__(f"{source}:{line}: {field}: {problem}" if field else f"{source}:{line}: {problem}")
        self.source = source
        self.line = line
        self.field = field
        self.problem = problem


def load_script(path: Path) -> Script:
    """Read a script from a file; its audio files are relative to it.

    Raises:
        ScriptError: what is wrong, and where.
        OSError: the file cannot be read.
    """
    return parse_script(path.read_text("utf-8"), source=path.name, folder=path.parent)


def parse_script(text: str, *, source: str = "script", folder: Path = Path()) -> Script:
    """Read a script from text."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise ScriptError(source, mark.line + 1 if mark else 1, "", f"not YAML: {problem}") from error
    if root is None:
        raise ScriptError(source, 1, "", "the script is empty")
    return _script(_Field(root, "", source, folder))


class _Field:
    """One node of the document, with the path by which people know it."""

    def __init__(self, node: yaml.Node, path: str, source: str, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self._node = node
        self._source = source

    def wrong(self, problem: str) -> ScriptError:
        return ScriptError(self._source, self._node.start_mark.line + 1, self.path, problem)

    def _child(self, node: yaml.Node, path: str) -> "_Field":
        return _Field(node, path, self._source, self.folder)

    @property
    def scalar(self) -> bool:
        return isinstance(self._node, yaml.ScalarNode)

    def fields(self, *known: str) -> "dict[str, _Field]":
        """Return the fields of a mapping, each of which must be known."""
        if not isinstance(self._node, yaml.MappingNode):
            raise self.wrong(f"expected a mapping with {_either(known)}")
        found: dict[str, _Field] = {}
        for key, value in self._node.value:
            name = str(key.value)
            child = self._child(value, f"{self.path}.{name}".lstrip("."))
            if name not in known:
                raise _Field(key, child.path, self._source, self.folder).wrong(
                    f"unknown field; known here: {', '.join(known)}"
                )
            if name in found:
                raise child.wrong("given twice")
            found[name] = child
        return found

    def items(self) -> "list[_Field]":
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.wrong("expected a list")
        return [self._child(node, f"{self.path}[{index}]") for index, node in enumerate(self._node.value)]

    def value(self) -> object:
        """Return the plain value, whatever it is."""
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(self._node, deep=True)
        except yaml.YAMLError as error:
            raise self.wrong(f"cannot be read: {getattr(error, 'problem', error)}") from error
        finally:
            loader.dispose()

    def text(self) -> str:
        if not isinstance(self._node, yaml.ScalarNode):
            raise self.wrong("expected text")
        return str(self._node.value)

    def number(self, low: float = 0.0, high: float = LONGEST_MS) -> float:
        value = self.value()
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(f"expected a number from {low:g} to {high:g}, got {value!r:.40}")
        return float(value)

    def integer(self, low: int, high: int) -> int:
        value = self.number(low, high)
        if value != int(value):
            raise self.wrong(f"expected a whole number, got {value:g}")
        return int(value)

    def flag(self) -> bool:
        value = self.value()
        if not isinstance(value, bool):
            raise self.wrong(f"expected true or false, got {value!r:.40}")
        return value

    def choice(self, *known: str) -> str:
        value = self.text()
        if value not in known:
            raise self.wrong(f"expected {_either(known)}, got {value!r:.40}")
        return value


def _either(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _read(fields: Mapping[str, _Field], name: str, read: Callable[[_Field], _T], default: _T) -> _T:
    found = fields.get(name)
    return default if found is None else read(found)


def _seconds(field: _Field) -> float:
    return field.number() / 1000


def _required(parent: _Field, fields: Mapping[str, _Field], name: str) -> _Field:
    if name not in fields:
        raise parent.wrong(f"needs the field {name}")
    return fields[name]


# --- the document ------------------------------------------------------------------------------------


class _Defaults:
    """What a reply has where it does not say."""

    def __init__(self, fields: Mapping[str, _Field]) -> None:
        self.delay = _read(fields, "delay_ms", _seconds, DELAY_MS / 1000)
        self.delta = _read(fields, "delta_ms", _delta, DELTA_MS / 1000)
        self.pace = _read(fields, "pace", _pace, None)
        self.transcript_delay = _read(fields, "transcript_delay_ms", _seconds, TRANSCRIPT_DELAY_MS / 1000)


def _script(root: _Field) -> Script:
    fields = root.fields("name", "defaults", "session", "greeting", "turns", "after", "out_of_band")
    given = fields.get("defaults")
    defaults = _Defaults(
        {} if given is None else given.fields("delay_ms", "delta_ms", "pace", "transcript_delay_ms")
    )
    listed = fields.get("turns")
    turns = () if listed is None else tuple(_turn(each, defaults) for each in listed.items())
    greeting = _read(fields, "greeting", lambda field: _greeting(field, defaults), None)
    if not turns and "greeting" not in fields:
        raise root.wrong("needs turns, a greeting, or both")
    return Script(
        name=_read(fields, "name", _Field.text, "scripted"),
        greeting=greeting,
        turns=turns,
        after=_read(fields, "after", lambda field: field.choice("last", "loop", "silent"), "last"),
        out_of_band=_read(fields, "out_of_band", _Field.text, "{}"),
        faults=_read(fields, "session", _session, SessionFaults()),
    )


def _session(field: _Field) -> SessionFaults:
    fields = field.fields(
        "refuse_formats", "force_format", "session_updated", "session_updated_delay_ms", "expires_s", "faults"
    )
    forced = fields.get("force_format")
    return SessionFaults(
        refused_formats=_read(
            fields,
            "refuse_formats",
            lambda names: frozenset(name.choice(*FORMATS) for name in names.items()),
            frozenset(),
        ),
        forced_format=None if forced is None else FORMATS[forced.choice(*FORMATS)],
        silent_update=not _read(fields, "session_updated", _Field.flag, True),
        update_delay=_read(fields, "session_updated_delay_ms", _seconds, 0.0),
        expires_in=_read(fields, "expires_s", lambda each: each.number(0, 86_400), 3600.0),
        timed=_read(fields, "faults", _faults, ()),
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


def _greeting(field: _Field, defaults: _Defaults) -> Turn:
    # A greeting may be words alone: `greeting: "Hello."`
    if field.scalar:
        text = field.text()
        speech = Speech(text, stand_in(text))
        return Turn(
            reply=Reply(items=(speech,), delay=defaults.delay, pace=defaults.pace, delta=defaults.delta)
        )
    return _exchange(field, field.fields(*_REPLY), defaults, None)


def _turn(field: _Field, defaults: _Defaults) -> Turn:
    fields = field.fields("caller", *_REPLY)
    caller = _read(fields, "caller", lambda each: _caller(each, defaults), None)
    return _exchange(field, fields, defaults, caller)


def _caller(field: _Field, defaults: _Defaults) -> Transcription:
    if field.scalar:
        return Transcription(text=field.text(), delay=defaults.transcript_delay)
    fields = field.fields("text", "delay_ms", "fails")
    return Transcription(
        text=_read(fields, "text", _Field.text, ""),
        delay=_read(fields, "delay_ms", _seconds, defaults.transcript_delay),
        failure=_read(fields, "fails", _Field.text, None),
    )


def _exchange(
    field: _Field, fields: Mapping[str, _Field], defaults: _Defaults, caller: Transcription | None
) -> Turn:
    expect: list[tuple[str, str]] = []
    items = _items(field, fields, expect)
    then = fields.get("then")
    if then is not None and not any(isinstance(item, FunctionCall) for item in items):
        raise then.wrong("follows tool outputs, but this turn calls no function")
    reply = Reply(
        items=items,
        delay=_read(fields, "delay_ms", _seconds, defaults.delay),
        pace=_read(fields, "pace", _pace, defaults.pace),
        delta=_read(fields, "delta_ms", _delta, defaults.delta),
        faults=_read(fields, "faults", _faults, ()),
        late=_read(fields, "late_deltas", _late, None),
        truncate_refusal=_read(fields, "refuse_truncate", _truncate_refusal, None),
        failure=_read(fields, "fails", _Field.text, None),
    )
    return Turn(
        reply=reply,
        caller=caller,
        expect=tuple(expect),
        then=None if then is None else _exchange(then, then.fields(*_REPLY), defaults, None),
    )


def _items(
    field: _Field, fields: Mapping[str, _Field], expect: list[tuple[str, str]]
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
    field: _Field, fields: Mapping[str, _Field], expect: list[tuple[str, str]]
) -> list[Speech | FunctionCall]:
    found: list[Speech | FunctionCall] = []
    if "say" in fields or "audio" in fields:
        text = _read(fields, "say", _Field.text, "")
        sound = _sound(fields["audio"]) if "audio" in fields else stand_in(text)
        found.append(Speech(text, sound))
    if "call" in fields:
        found.append(_call(fields["call"], expect))
    if not found and not fields.keys() & {"fails", "faults"}:
        raise field.wrong("says nothing: needs say, audio, call, items, fails or faults")
    return found


def _call(field: _Field, expect: list[tuple[str, str]]) -> FunctionCall:
    fields = field.fields("name", "arguments", "raw_arguments", "expect")
    name = _required(field, fields, "name").text()
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


def _sound(field: _Field) -> Sound:
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
    frequencies = _required(fields["tone"], given, "frequencies")
    return tone(
        [each.number(20, 12_000) for each in frequencies.items()],
        _seconds(_required(fields["tone"], given, "ms")),
        _read(given, "level", lambda each: each.number(-90, 0), -20.0),
    )


def _pace(field: _Field) -> float | None:
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


def _delta(field: _Field) -> float:
    return field.number(1, 60_000) / 1000


def _late(field: _Field) -> LateDeltas:
    fields = field.fields("count", "spacing_ms", "after_done")
    return LateDeltas(
        count=_required(field, fields, "count").integer(0, 1000),
        spacing=_read(fields, "spacing_ms", _seconds, 0.05),
        after_done=_read(fields, "after_done", _Field.flag, False),
    )


def _truncate_refusal(field: _Field) -> TruncateRefusal:
    fields = field.fields("code", "message")
    return TruncateRefusal(
        code=_read(fields, "code", _Field.text, None),
        message=_read(fields, "message", _Field.text, "The item cannot be truncated."),
    )


def _faults(field: _Field) -> tuple[Fault, ...]:
    return tuple(_fault(each) for each in field.items())


def _fault(field: _Field) -> Fault:
    fields = field.fields("at_ms", "error", "close", "stall", "malformed")
    kinds = fields.keys() - {"at_ms"}
    if len(kinds) != 1:
        raise field.wrong("needs exactly one of error, close, stall or malformed")
    at = _read(fields, "at_ms", _seconds, 0.0)
    match kinds.pop():
        case "error":
            return _error(fields["error"], at)
        case "close":
            given = fields["close"].fields("code", "reason")
            code = _required(fields["close"], given, "code").integer(1000, 4999)
            return CloseSocket(at=at, code=code, reason=_read(given, "reason", _Field.text, ""))
        case "stall":
            given = fields["stall"].fields("ms")
            return Stall(at=at, duration=_read(given, "ms", _seconds, None))
        case _:
            return SendRaw(at=at, message=fields["malformed"].text().encode())


def _error(field: _Field, at: float) -> SendError:
    fields = field.fields("code", "message", "type", "param")
    return SendError(
        at=at,
        code=_read(fields, "code", _Field.text, None),
        message=_read(fields, "message", _Field.text, "The server had an error."),
        kind=_read(fields, "type", _Field.text, "server_error"),
        param=_read(fields, "param", _Field.text, None),
    )

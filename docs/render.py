"""Writes the parts of the documentation that the code knows better: `python docs/render.py`.

`docs/states.md` is written whole, from the tables the machines run on; in `docs/settings.md` and `docs/agents.md` what
stands between the markers, from `gateway.settings.Settings` and `control.agents.AgentConfig`. `tests/test_docs.py`
fails when the committed files say something else.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from control.agents import AgentConfig
from gateway.settings import CONFIG, PREFIX, Settings
from media import turns
from media.audio import PCMU_8K, Encoding
from media.realtime import faults
from media.realtime.configuration import SessionConfig
from media.realtime.dialects import DIALECTS, Dialect
from media.realtime.session import CONFIGURE_TIMEOUT, FLOOD, FLOOD_SECONDS, RealtimeSession, SessionState
from telephony import stream
from telephony.carrier import WIRES, CarrierWire
from telephony.events import StreamEvent

DOCS = Path(__file__).parent
BEGIN = "<!-- begin: written by docs/render.py -->"
END = "<!-- end: written by docs/render.py -->"

State = TypeVar("State", bound=Enum)
Event = TypeVar("Event")


# Markdown


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def code(text: object) -> str:
    return f"`{text}`"


def yes(fact: bool) -> str:
    return "yes" if fact else "no"


# docs/states.md


def states() -> str:
    return (
        "\n\n".join(
            [
                "# State tables",
                "Written by `python docs/render.py` from the tables the code runs on; do not edit. "
                "What the machines are for is in [architecture.md](architecture.md).",
                *_floor(),
                *_stream(),
                *_session(),
                *_faults(),
                *_dialects(),
                *_carriers(),
            ]
        ).rstrip()
        + "\n"
    )


def _matrix(
    transitions: Mapping[tuple[State, Event], State],
    columns: Sequence[Event],
    name: Callable[[Event], str],
    states: type[State],
) -> str:
    def cell(state: State, event: Event) -> str:
        after = transitions.get((state, event))
        return "-" if after is None else after.name

    rows = [[f"**{state.name}**", *(cell(state, event) for event in columns)] for state in states]
    return table(["in", *(name(event) for event in columns)], rows)


def _diagram(transitions: Iterable[tuple[str, str, str]], first: str) -> str:
    arrows = [f"    {before} --> {after}: {event}" for before, event, after in transitions if before != after]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *arrows, "```"])


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


def _floor() -> Iterator[str]:
    yield "## Who holds the floor"
    yield (
        "`media/turns.py`, `TRANSITIONS`. A pair marked `-` is stale: delivered late or twice, it changes nothing. "
        f"{len(turns.TRANSITIONS)} pairs move the floor, {len(turns.STALE)} are stale."
    )
    yield _matrix(turns.TRANSITIONS, list(turns.Speech), lambda event: _words(event.name), turns.Floor)
    arrows = [
        (before.name, _words(event.name), after.name) for (before, event), after in turns.TRANSITIONS.items()
    ]
    yield _diagram(arrows, turns.Floor.NOBODY.name)


def _stream() -> Iterator[str]:
    yield "## A carrier's media socket"
    yield (
        "`telephony/stream.py`, `TRANSITIONS`. A pair marked `-` is malformed: counted and reported, never an "
        f"exception. More than {stream.FLOOD} malformed messages within {stream.FLOOD_WINDOW:.0f} s stop the stream, "
        "and so does a `start` in audio we cannot decode; a STOPPED stream ignores whatever comes."
    )
    columns: list[type[StreamEvent]] = []
    for _, event in stream.TRANSITIONS:
        if event not in columns:
            columns.append(event)
    yield _matrix(stream.TRANSITIONS, columns, lambda event: event.__name__, stream.StreamState)
    arrows = [
        (before.name, event.__name__, after.name) for (before, event), after in stream.TRANSITIONS.items()
    ]
    yield _diagram(arrows, stream.StreamState.WAITING.name)


_PCMU = {"format": {"type": "audio/pcmu"}}
_OPUS = {"format": {"type": "audio/opus"}}
_CONFIRMED = {"session": {"audio": {"input": _PCMU, "output": _PCMU}}}
_STRANGE = {"session": {"audio": {"input": _OPUS, "output": _OPUS}}}
# What can happen to a session, and how it is done to one.
_HAPPENINGS: Mapping[str, Callable[[RealtimeSession], object]] = {
    "socket is up": lambda session: session.opened(0.0),
    "`session.updated`, a format we can use": lambda session: _say(session, "session.updated", _CONFIRMED),
    "`session.updated`, a format we cannot use": lambda session: _say(session, "session.updated", _STRANGE),
    "`error`: recoverable": lambda session: _say(
        session, "error", {"error": {"code": "rate_limit_exceeded"}}
    ),
    "`error`: fatal": lambda session: _say(session, "error", {"error": {"code": "session_expired"}}),
    "time passes": lambda session: session.poll(CONFIGURE_TIMEOUT),
    f"{FLOOD} malformed messages": lambda session: [session.receive(b"{", 0.0) for _ in range(FLOOD)],
    "socket closes": lambda session: session.closed(None, "", 0.0),
    "we close": lambda session: session.close(),
}


def _say(session: RealtimeSession, kind: str, fields: Mapping[str, object]) -> None:
    session.receive(msgspec.json.encode({"type": kind, **fields}), 0.0)


def _session_in(state: SessionState) -> RealtimeSession:
    config = SessionConfig(
        model="model", voice="voice", instructions="", input_format=PCMU_8K, output_format=PCMU_8K
    )
    session = RealtimeSession(config)
    if state is not SessionState.CONNECTING:
        session.opened(0.0)
    if state is SessionState.READY:
        _say(session, "session.updated", _CONFIRMED)
    if state is SessionState.CLOSED:
        session.close()
    return session


def _session() -> Iterator[str]:
    yield "## A realtime session, seen from us"
    yield (
        "`media/realtime/session.py` has no table; this one is found by doing each thing to a session in each state "
        "and looking where it is then. Columns: the state before; `-`: it stays there. "
        f"A session that is not confirmed within {CONFIGURE_TIMEOUT:.0f} s is closed; {FLOOD} malformed messages "
        f"within {FLOOD_SECONDS:.0f} s close one. A format we cannot use is answered by asking once more, for the "
        "server's own PCM16; the second time it is fatal. A format that can be transcoded is one we can use."
    )
    befores = [state for state in SessionState if state is not SessionState.CLOSED]
    rows = []
    for name, happen in _HAPPENINGS.items():
        row = [name]
        for state in befores:
            if state is SessionState.CONNECTING and name not in ("socket is up", "socket closes", "we close"):
                row.append("cannot be")
                continue
            if state is not SessionState.CONNECTING and name == "socket is up":
                row.append("cannot be")
                continue
            session = _session_in(state)
            happen(session)
            row.append("-" if session.state is state else session.state.name)
        rows.append(row)
    yield table(["", *(state.name for state in befores)], rows)


def _faults() -> Iterator[str]:
    yield "## Faults of a realtime server"
    yield (
        "`media/realtime/faults.py`. An error is judged by its code, else by words of its message, else by its type; "
        "what is not listed is recoverable. *Benign*: a known race, nothing was lost. *Recoverable*: something failed, "
        "the session goes on. *Fatal*: the session is over, and the last column says whether another is tried."
    )
    rows = [
        [code(name), severity.value, _retry(name) if severity is faults.FATAL else ""]
        for name, severity in faults.BY_CODE.items()
    ]
    # Those that no server names: the session's own verdicts.
    rows += [[code(name), "fatal", "no"] for name in sorted(faults.FINAL) if name not in faults.BY_CODE]
    yield table(["code", "severity", "another session?"], rows)
    yield "By words, in lower case, for servers that send no code or another:"
    yield table(["message contains", "is"], [[code(phrase), code(name)] for phrase, name in faults.BY_WORDS])
    yield "By `error.type`:"
    yield table(
        ["type", "severity", "another session?"],
        [[code(kind), severity.value, _retry(kind)] for kind, severity in faults.BY_TYPE.items()],
    )
    yield (
        "A socket that closes without our asking is always fatal for the session. Any other code is called "
        "`closed_<code>`, a broken connection `connection_lost`; after both another session is tried."
    )
    yield table(
        ["close code", "is", "another session?"],
        [[str(number), code(name), _retry(name)] for number, name in faults.BY_CLOSE.items()],
    )


def _retry(name: str) -> str:
    return "no" if name in faults.FINAL else "yes"


def _dialects() -> Iterator[str]:
    yield "## Dialects of the realtime wire"
    yield (
        "`media/realtime/dialects.py`, chosen by `OFFHOOK_REALTIME_DIALECT`. Event names of the beta are understood in "
        "every dialect. Where *G.711* is `no`, the session speaks PCM16 and the gateway transcodes. Where *switches "
        "turns* is `no`, the server interrupts and responds by itself whatever it is asked."
    )
    facts: list[tuple[str, Callable[[Dialect], str]]] = [
        ("session object", lambda dialect: dialect.nesting.value),
        ("G.711", lambda dialect: _g711(dialect)),
        (
            "PCM16 rates",
            lambda dialect: ", ".join(
                f"**{rate}**" if rate == dialect.pcm_rate else str(rate) for rate in sorted(dialect.pcm_rates)
            ),
        ),
        ("cancel", lambda dialect: yes(dialect.supports_cancel)),
        ("truncate", lambda dialect: yes(dialect.supports_truncate)),
        ("delete", lambda dialect: yes(dialect.supports_delete)),
        ("switches turns", lambda dialect: yes(dialect.switches_turns)),
        ("agent's text", lambda dialect: code(dialect.assistant_content)),
        ("key in", lambda dialect: code(dialect.key_header)),
        ("ends after", lambda dialect: _minutes(dialect.session_seconds)),
    ]
    yield table(
        ["", *(code(name) for name in DIALECTS)],
        [[name, *(fact(dialect) for dialect in DIALECTS.values())] for name, fact in facts],
    )
    yield "The rate in bold is the one the server speaks natively: the fall-back when G.711 is refused."


def _g711(dialect: Dialect) -> str:
    if not dialect.supports_g711:
        return "no"
    return ", ".join(code(dialect.g711[encoding]) for encoding in (Encoding.PCMU, Encoding.PCMA))


def _minutes(seconds: float | None) -> str:
    return "not known" if seconds is None else f"{seconds / 60:.0f} min"


def _carriers() -> Iterator[str]:
    yield "## Carriers"
    yield "`telephony/carrier.py`, `WIRES`. The name stands in the media URL: `/media/{carrier}/{token}`."
    facts: list[tuple[str, Callable[[CarrierWire], str]]] = [
        ("inbound audio, 8 kHz", lambda wire: _encodings(wire.inbound_encodings)),
        ("outbound audio, 8 kHz", lambda wire: _encodings(wire.outbound_encodings)),
        ("`start` within", lambda wire: f"{wire.start_timeout:.0f} s"),
        ("socket may open before the answer", lambda wire: yes(wire.connects_before_answer)),
        ("needs silence until the agent speaks", lambda wire: yes(wire.needs_silence_until_first_audio)),
        ("a frame's number is called", lambda wire: code(wire.sequence_key.decode())),
    ]
    yield table(
        ["", *(code(name) for name in WIRES)],
        [[name, *(fact(wire) for wire in WIRES.values())] for name, fact in facts],
    )


def _encodings(encodings: frozenset[Encoding]) -> str:
    return ", ".join(sorted((encoding.value for encoding in encodings), reverse=True))


# Pages of which a part is written here


def between_markers(text: str, written: str) -> str:
    """Return the page with what stands between its markers written anew."""
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"the page has lost its markers: {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n\n{written}\n\n{END}{after}"


# docs/settings.md


def _settings() -> str:
    sections = list(_sections())
    written = [name for _, names in sections for name in names]
    assert written == list(Settings.model_fields), "a setting stands before the first comment of its class"
    parts = []
    for title, names in sections:
        rows = [_setting(name, Settings.model_fields[name]) for name in names]
        parts += [f"### {title}", table(["variable", "in TOML", "value", "default", "what it is"], rows)]
    named = ("the TOML file to read; without it `offhook.toml` in the working directory, if there is one",)
    parts += ["### Where the file is", table(["variable", "what it is"], [[code(CONFIG), *named]])]
    return "\n\n".join(parts)


def _sections() -> Iterator[tuple[str, list[str]]]:
    """The groups of the class: its one-line comments between the fields."""
    title, names = "", list[str]()
    for line in inspect.getsource(Settings).splitlines():
        if comment := re.fullmatch(r"    # (\S.*)\.", line):
            if names:
                yield title, names
            title, names = comment[1], []
        elif (field := re.match(r"    (\w+): ", line)) and field[1] in Settings.model_fields:
            names.append(field[1])
    yield title, names


def _setting(name: str, field: FieldInfo) -> list[str]:
    return [
        code(f"{PREFIX}{name}".upper()),
        code(name),
        _values(field),
        _default(field.default),
        _escaped(field.description or ""),
    ]


def _escaped(text: str) -> str:
    """`<` begins HTML in Markdown, but not between backticks."""
    return "".join(
        part if index % 2 else part.replace("<", "&lt;")
        for index, part in enumerate(re.split("(`[^`]*`)", text))
    )


def _default(default: object) -> str:
    match default:
        case None:
            return "unset"
        case dict():
            return "empty"
        case bool():
            return code(str(default).lower())
        case SecretStr():
            return code(default.get_secret_value())
        case _:
            return code(default)


def _values(field: FieldInfo) -> str:
    kind, facts = _bare(field.annotation, list(field.metadata))
    if get_origin(kind) is Literal:
        return ", ".join(code(value) for value in get_args(kind))
    if get_origin(kind) is dict:
        return "table"
    if get_origin(kind) is tuple:
        return "list"
    if issubclass(kind, StrEnum):
        return ", ".join(code(value) for value in kind)
    words = {
        bool: "`true` or `false`",
        int: "integer",
        float: "number",
        Decimal: "number",
        str: "text",
        Path: "path",
        SecretStr: "secret",
    }
    return ", ".join([words[kind], *_bounds(facts)])


def _bare(kind: Any, facts: list[object]) -> tuple[Any, list[object]]:  # noqa: ANN401  # any annotation
    """The type itself, without `None` and `Annotated`, and what is said of its values."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
        return _bare(kind, facts)
    if hasattr(kind, "__metadata__"):
        return _bare(kind.__origin__, [*facts, *kind.__metadata__])
    nested = [inner for fact in facts if isinstance(fact, FieldInfo) for inner in fact.metadata]
    return kind, [*facts, *nested]


def _bounds(facts: Iterable[object]) -> Iterator[str]:
    for fact in facts:
        match fact:
            case Ge(ge=bound):
                yield f"≥ {bound}"
            case Gt(gt=bound):
                yield f"> {bound}"
            case Le(le=bound):
                yield f"≤ {bound}"
            case Lt(lt=bound):
                yield f"< {bound}"
            case MinLen(min_length=1):
                yield "not empty"
            case _:
                pass


# docs/agents.md


def _agent_fields() -> str:
    return table(["field", "value", "what it is"], _fields(AgentConfig))


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[list[str]]:
    for name, field in model.model_fields.items():
        part = _part(field.annotation)
        values = _values(field) if part is None else ("list of tables" if _is_list(field) else "table")
        yield [code(f"{prefix}{name}"), values, _escaped(field.description or "")]
        if part is not None:
            yield from _fields(part, f"{prefix}{name}{'[]' if _is_list(field) else ''}.")


def _part(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  # any annotation
    """The model that a field holds, or holds a list of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _part(each)) is not None), None)


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def pages() -> dict[Path, str]:
    """Every page this module writes, as it should be."""
    parts = {"settings.md": _settings, "agents.md": _agent_fields}
    return {
        DOCS / "states.md": states(),
        **{
            DOCS / name: between_markers((DOCS / name).read_text("utf-8"), write())
            for name, write in parts.items()
        },
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")

"""The documentation says what the code does: rendered pages, tables of names, commands, links and paths."""

import ast
import dataclasses
import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from control.api.problem_codes import PROBLEM_CODES
from control.bridge import Bridge
from control.media_deadline import Deadline
from control.outputs import CloseAgent, CloseCarrier, ConnectAgent, Finish, Outputs
from control.policy import CallPolicy
from control.records import CallFacts, call_record
from control.transcript import Utterance
from docs import render
from gateway.__main__ import app
from gateway.agent.script import load_script
from gateway.caller_script import load_caller
from gateway.commands.openapi import document
from gateway.far_ends import load_far_ends
from gateway.settings import CONFIG, Settings
from media.latency import TurnLatency
from media.realtime.events import Role, Usage

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
WRITTEN = [page for page in PAGES if not page.startswith("adr/")]


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def section(name: str, heading: str) -> str:
    """What stands under a heading, up to the next of the same rank or a higher one."""
    rank = heading.partition(" ")[0]
    _, found, rest = page(name).partition(f"\n{heading}\n")
    assert found, f"{name} has no heading {heading!r}"
    return re.split(rf"^#{{1,{len(rank)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def names(text: str) -> list[str]:
    """What the first column of the tables in `text` has between backticks."""
    return [name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])]


def fenced(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def calls_of(package: str, method: str) -> Iterator[ast.Call]:
    """Every call of a method of this name in a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == method
            ):
                yield node


def literals(calls: Iterator[ast.Call], position: int) -> set[str]:
    """The texts given as one argument, where it is written out."""
    return {
        argument.value
        for call in calls
        for argument in call.args[position : position + 1]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


# What is rendered


@pytest.mark.parametrize("path", sorted(render.pages()), ids=lambda path: path.name)
def test_a_rendered_page_is_what_the_code_says(path: Path) -> None:
    assert path.read_text("utf-8") == render.pages()[path], "run: python docs/render.py"


# Constants and names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (row[0].strip("`"), row[1])
        for name in WRITTEN
        for row in rows(page(name))
        if re.fullmatch(r"`(media|telephony|control|gateway)\.[\w.]+\.[A-Z_]+`", row[0])
    ],
)
def test_a_constant_has_the_value_it_is_told_to_have(name: str, value: str) -> None:
    module, _, constant = name.rpartition(".")
    assert float(value.split()[0]) == getattr(importlib.import_module(module), constant)


@pytest.mark.parametrize("name", PAGES)
def test_every_path_and_setting_a_page_names_exists(name: str) -> None:
    quoted = set(re.findall(r"`([^`\n]+)`", page(name)))
    paths = {
        text
        for text in quoted
        if re.fullmatch(r"(media|telephony|control|gateway|tests|docs)/[\w/.-]+", text)
    }
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    settings = {text for text in re.findall(r"OFFHOOK_[A-Z_]+", page(name)) if not text.endswith("_")}
    known = {f"OFFHOOK_{field}".upper() for field in Settings.model_fields} | {CONFIG}
    assert settings <= known


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page(name))
    here = (DOCS / name).parent
    assert [link for link in links if "://" not in link and not (here / link).exists()] == []


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((DOCS / "adr").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


# Problems


def problems_of(package: str) -> Iterator[tuple[str, int]]:
    """Every code and status that are written out together, where a problem or a refusal is made."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id not in ("Problem", "Refused"):
                    continue
                named = {each.arg: each.value for each in node.keywords}
                status, code = (*node.args[:2], named.get("status"), named.get("code"))[:2]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    yield str(code.value), int(str(status.value))


@pytest.mark.parametrize("package", ["control", "gateway"])
def test_every_problem_is_on_the_list_with_its_status(package: str) -> None:
    found = set(problems_of(package))
    assert len(found) > 5
    assert {(code, status) for code, status in found if PROBLEM_CODES[code].status != status} == set()


# Coming from another platform

SERVED_WITHOUT_A_KEY = {
    f"GET /{name}" for name in ("health", "readiness", "liveness", "version", "docs", "redoc", "openapi.json")
}


def nameless(endpoint: str) -> str:
    """An endpoint whatever its parameters are called."""
    return re.sub(r"\{[^}]*\}", "{}", endpoint)


def offered() -> set[str]:
    return {
        nameless(f"{method.upper()} {path}")
        for path, operations in document()["paths"].items()
        for method in operations
    }


def test_every_endpoint_of_ours_that_a_newcomer_is_led_to_exists() -> None:
    """Theirs stand in the first column, ours in the others."""
    lines = [line for line in page("coming-from.md").splitlines() if line.startswith("| ")]
    ours = " ".join(cell for line in lines for cell in line.strip("|").split("|")[1:])
    named = {nameless(each) for each in re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", ours)}
    assert len(named) > 70
    assert named - offered() - SERVED_WITHOUT_A_KEY == set()


# `GET /v1/calls`, or `GET`, `PATCH /v1/agents/{id}`: one path, and what may be asked of it.
ASKED = re.compile(r"((?:`?(?:GET|POST|PUT|PATCH|DELETE)`?(?:, | or | and )?)+) (/v1/[^\s`\"',)|;?]*)")


@pytest.mark.parametrize(
    "name", [name for name in PAGES if name != "coming-from.md"] + ["../README.md", "../CHANGELOG.md"]
)
def test_every_endpoint_that_a_page_names_exists(name: str) -> None:
    """Diagrams may name a call by an id, as a person does."""
    named = {
        nameless(f"{method} {path.rstrip('.:').replace('/call_1', '/{call_id}')}")
        for methods, path in ASKED.findall(page(name))
        for method in re.findall("[A-Z]+", methods)
    }
    assert named - offered() == set()


# Diagrams

ARROW = re.compile(r"(\w+)(?:-->>|->>|--x)(\w+): [^;#]+")


def diagrams() -> list[str]:
    return [diagram for name in PAGES for diagram in fenced(page(name), "mermaid")]


def test_every_diagram_is_of_a_kind_we_draw() -> None:
    assert {diagram.split()[0] for diagram in diagrams()} == {
        "flowchart",
        "sequenceDiagram",
        "stateDiagram-v2",
    }


@pytest.mark.parametrize("diagram", [each for each in diagrams() if each.startswith("sequenceDiagram")])
def test_a_sequence_names_its_participants_and_closes_its_blocks(diagram: str) -> None:
    lines = [line.strip() for line in diagram.splitlines()[1:]]
    known = {line.split()[1] for line in lines if line.startswith("participant ")}
    depth = 0
    for line in lines:
        if arrow := ARROW.fullmatch(line):
            assert {arrow[1], arrow[2]} <= known, line
        elif note := re.fullmatch(r"Note over ([\w,]+): [^;#]+", line):
            assert set(note[1].split(",")) <= known, line
        elif re.match(r"(alt|opt) ", line):
            depth += 1
        elif line == "end":
            depth -= 1
        else:
            assert re.match(r"participant \w+ as |else ", line), line
    assert depth == 0


# The bridge


def test_the_inputs_and_outputs_of_the_bridge_are_those_described() -> None:
    text = section("architecture.md", "## The bridge")
    inputs, rest = text.split("Outputs, carried out", 1)
    outputs, deadlines = rest.split("Besides the deadlines", 1)
    methods = {name for name in vars(Bridge) if not name.startswith("_") and callable(getattr(Bridge, name))}
    assert set(names(inputs)) == methods - {"over", "next_deadline"}
    assert names(outputs) == [field.name for field in dataclasses.fields(Outputs)]
    for action in (CloseCarrier, CloseAgent, ConnectAgent, Finish):
        assert f"`{action.__name__}`" in outputs
    assert names(deadlines) == [deadline.name for deadline in Deadline]


# The record


def record() -> dict[str, object]:
    facts = CallFacts(call_id="call_1", carrier="twilio", started_at="2026-01-01T00:00:00.000Z")
    return call_record(facts, Bridge(CallPolicy(), 0.0))


def test_every_field_of_the_record_is_documented_and_no_other() -> None:
    fields = section("records.md", "## The record").split("###")[0]
    assert names(fields) == list(record())


def test_the_fields_of_its_parts_are_documented() -> None:
    media = record()["media"]
    assert isinstance(media, dict)
    assert names(section("records.md", "### Media")) == list(media)
    utterance = Utterance("item_1", Role.CALLER, 0.0)
    assert names(section("records.md", "### Transcript")) == list(utterance.as_dict())
    latency = [field.name for field in dataclasses.fields(TurnLatency)]
    assert names(section("records.md", "### Latency")) == latency
    told = re.findall(r"`([a-z_]+)`", section("records.md", "### Usage"))
    assert set(told) == {field.name for field in dataclasses.fields(Usage)}


def test_every_reason_a_call_ends_for_is_documented() -> None:
    reasons = {
        reason
        for package in ("control", "gateway")
        for method in ("end", "_end")
        for reason in literals(calls_of(package, method), 0)
    }
    assert set(names(section("records.md", "### Why it ended"))) == reasons


def test_every_event_of_the_timeline_is_documented_with_its_fields_and_no_other() -> None:
    told = {
        row[0].strip("`"): set(re.findall(r"`([^`]+)`", row[1]))
        for row in rows(section("records.md", "## The timeline"))
    }
    added: dict[str, set[str]] = {}
    for call in calls_of("control", "add"):
        # A name that is a choice between names ("call.resumed" if ... else "call.started") counts as both.
        for node in ast.walk(call.args[1]) if len(call.args) > 1 else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                fields = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
                added.setdefault(node.value, set()).update(fields)
    assert told == added


def test_every_input_in_a_trace_is_documented_with_its_fields_and_no_other() -> None:
    *_, events = section("records.md", "## The trace").split("| event |")
    told = {row[0].strip("`"): set(re.findall(r"`([^`]+)`", row[1])) for row in rows(events)}
    written = {
        str(argument.value): {keyword.arg for keyword in call.keywords}
        for call in calls_of("gateway", "event")
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant)
    }
    assert told == written


# Commands


def commands() -> dict[str, TyperCommand]:
    """Every command by the words that call it; a group is its commands."""

    def within(group: TyperGroup, before: tuple[str, ...]) -> Iterator[tuple[str, TyperCommand]]:
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                yield from within(command, (*before, name))
            else:
                assert isinstance(command, TyperCommand)
                yield " ".join((*before, name)), command

    line = typer.main.get_command(app)
    assert isinstance(line, TyperGroup)
    return dict(within(line, ()))


def called(words: list[str]) -> str:
    """The command that these words call."""
    names = [name for name in commands() if words[: len(name.split())] == name.split()]
    assert names, f"there is no command {words}"
    return names[0]


def typed() -> list[list[str]]:
    """Every `offhook ...` that a page tells a reader to type, as words; variables in front are left out."""
    lines = [line for name in PAGES for block in fenced(page(name), "sh") for line in block.splitlines()]
    found = [re.search(r"(?:^|[\s;&])offhook (.*)", line) for line in lines]
    return [shlex.split(each[1], comments=True) for each in found if each is not None]


@pytest.mark.parametrize("words", typed(), ids=" ".join)
def test_a_command_a_page_tells_to_type_is_understood(words: list[str]) -> None:
    name = called(words)
    context = commands()[name].make_context(name, words[len(name.split()) :])
    assert context.args == []


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_its_section_its_options_and_an_example_of_each(name: str) -> None:
    (heading,) = re.findall(rf"^###? `offhook {name}`.*$", page("trying.md"), re.MULTILINE)
    options = {
        max(parameter.opts, key=len)
        for parameter in commands()[name].params
        if isinstance(parameter, TyperOption)
    } - {"--help"}
    assert set(names(section("trying.md", heading))) == options
    examples = [words for words in typed() if called(words) == name]
    assert examples
    assert options - {word for words in examples for word in words} <= {"--host", "--api-key", "--tenant"}


READERS: dict[str, Callable[[Path], object]] = {
    "agents": load_script,
    "callers": load_caller,
    "carriers": load_far_ends,
}


def test_every_script_a_page_points_to_is_read() -> None:
    linked = set(re.findall(r"\]\(\.\./(examples/[^)]+\.yaml)\)", page("trying.md")))
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").glob("*/*.yaml")} - linked == {
        "examples/audio/texts.yaml"
    }
    for path in linked:
        assert READERS[Path(path).parent.name](ROOT / path)

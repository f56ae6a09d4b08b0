"""Texts of an agent with variables in them: `Hello {{customer_name}}`, checked when written, filled in for one call.

Theory of operation. The syntax is Jinja's, and so is the sandbox, but only a part of the language is let in: values
by name, `if`, comparisons and a few filters. There are no loops, calls, attributes or arithmetic, so what a
text can become is bounded by what goes in, whoever wrote it. A value is never itself read as a template.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, nodes
from jinja2.sandbox import SandboxedEnvironment

# Longer than any prompt a speech model takes well; gpt-realtime's whole context is 32 k tokens.
LONGEST_TEXT = 32_000

FILTERS = frozenset({"default", "d", "upper", "lower", "title", "capitalize", "trim"})
"""None of them makes a text longer than its own arguments."""
TESTS = frozenset({"defined", "undefined"})
_LET_IN = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Const,
    nodes.Filter,
    nodes.Test,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
)

# Names that the language gives a value of its own.
_OF_JINJA = frozenset({"self", "super", "caller", "loop", "varargs", "kwargs"})


class TemplateInvalid(ValueError):
    """A text that is no template of ours; the message says what and where."""


@dataclass(frozen=True, slots=True)
class TextFault:
    """Why a text cannot be filled in."""

    pointer: str
    """Which text: a JSON pointer into the agent."""
    detail: str


class TextsUnfilled(ValueError):
    """Texts want variables that are not there, or become too long; every fault is told at once."""

    def __init__(self, faults: Iterable[TextFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in self.faults))


class _Unfillable(Exception):
    """Never leaves this module."""


class _Values(SandboxedEnvironment):
    """Knows values by name and nothing that objects can do."""

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401  # as the base
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:  # noqa: ANN401  # as the base
        if isinstance(obj, Mapping) and argument in obj:
            return obj[argument]
        return self.undefined(obj=obj, name=argument)


def _environment() -> _Values:
    environment = _Values(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        # Comments would vanish from a text like "press {#}": nothing begins one.
        comment_start_string="\x00{#",
        comment_end_string="#}\x00",
        finalize=_written,
    )
    environment.globals.clear()
    return environment


def _written(value: object) -> object:
    """How a value reads in a text: nothing for null; what is no single value has no reading."""
    if isinstance(value, Mapping | list | tuple):
        raise _Unfillable("a variable with parts of its own cannot be spoken; name one of its parts")
    return "" if value is None else value


_ENVIRONMENT = _environment()


@lru_cache(maxsize=512)
def _parsed(text: str) -> nodes.Template:
    """Parse a text.

    Raises:
        TemplateInvalid: a syntax error, or more of the language than is let in.
    """
    try:
        tree = _ENVIRONMENT.parse(text)
        for node in _all(tree):
            _check(node)
    except TemplateSyntaxError as error:
        raise TemplateInvalid(f"line {error.lineno}: {error.message}") from error
    except RecursionError as error:
        raise TemplateInvalid("nested too deeply") from error
    return tree


@lru_cache(maxsize=512)
def _compiled(text: str) -> Template:
    return _ENVIRONMENT.from_string(_parsed(text))


def _all(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _all(child)


def _check(node: nodes.Node) -> None:
    if not isinstance(node, _LET_IN):
        _refuse(node, f"{type(node).__name__.lower()} is not allowed: values by name, `if` and filters are")
    if isinstance(node, nodes.Name) and node.name in _OF_JINJA:
        _refuse(node, f"{node.name} is a word of the template language")
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        _refuse(node, f"no filter {node.name}; there are {', '.join(sorted(FILTERS))}")
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        _refuse(node, f"no test {node.name}; there are {', '.join(sorted(TESTS))}")
    if isinstance(node, nodes.Getitem) and not (
        isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
    ):
        _refuse(node, "a part of a variable is named by a text in quotes")


def _refuse(node: nodes.Node, detail: str) -> NoReturn:
    raise TemplateInvalid(f"line {node.lineno}: {detail}")


def check_text(text: str) -> str:
    """Return the text if it is a template of ours.

    Raises:
        TemplateInvalid: it is none.
    """
    _parsed(text)
    return text


def wanted(text: str) -> frozenset[str]:
    """The variables a text cannot do without, dotted; those with a `default` or asked for by `is defined` it can.

    Raises:
        TemplateInvalid: it is no template.
    """
    tree = _parsed(text)
    guarded = {
        path
        for node in _all(tree)
        if (isinstance(node, nodes.Filter) and node.name in ("default", "d"))
        or (isinstance(node, nodes.Test))
        if (path := _path(node.node)) is not None
    }
    return frozenset(path for path in _paths(tree) if path not in guarded)


def _paths(node: nodes.Node) -> Iterator[str]:
    """The longest paths named anywhere: `customer.number`, not `customer` as well."""
    path = _path(node)
    if path is not None:
        yield path
        return
    for child in node.iter_child_nodes():
        yield from _paths(child)


def _path(node: nodes.Node | None) -> str | None:
    match node:
        case nodes.Name(name=name):
            return str(name)
        case nodes.Getattr(node=whole, attr=part):
            before = _path(whole)
            return None if before is None else f"{before}.{part}"
        case nodes.Getitem(node=whole, arg=nodes.Const(value=part)):
            before = _path(whole)
            return None if before is None else f"{before}.{part}"
        case _:
            return None


def _absent(text: str, variables: Mapping[str, object]) -> list[str]:
    """The variables that the text names and that are not there."""
    return sorted({path for path in _paths(_parsed(text)) if not _is_there(path, variables)})


def _is_there(path: str, variables: Mapping[str, object]) -> bool:
    value: object = variables
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


class Filling:
    """Fills in the texts of one agent for one call; faults are gathered, so that all are told together."""

    def __init__(self, variables: Mapping[str, object]) -> None:
        self._variables = variables
        self._faults: list[TextFault] = []

    def text(self, pointer: str, text: str) -> str:
        """Return the text with its variables filled in; "" where it cannot be, and `finish` says why."""
        try:
            filled = _filled(text, self._variables)
        except _Unfillable as fault:
            self._faults.append(TextFault(pointer, str(fault)))
            return ""
        if len(filled) > LONGEST_TEXT:
            self._faults.append(TextFault(pointer, f"becomes longer than {LONGEST_TEXT} characters"))
            return ""
        return filled

    def finish(self) -> None:
        """
        Raises:
            TextsUnfilled: a text could not be filled in.
        """
        if self._faults:
            raise TextsUnfilled(self._faults)


def _filled(text: str, variables: Mapping[str, object]) -> str:
    try:
        return _compiled(text).render(variables)
    except UndefinedError as error:
        raise _Unfillable(f"unknown variable {', '.join(_absent(text, variables))}") from error
    except (TemplateError, TypeError) as error:  # such as a number compared with a text
        raise _Unfillable(str(error)) from error

"""YAML written by people, read as a tree of nodes so that every complaint knows its file, line and field."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import yaml

_T = TypeVar("_T")


class ScriptError(ValueError):
    """A script that cannot be played, and where it says so."""

    def __init__(self, source: str, line: int, field: str, problem: str) -> None:
        super().__init__(f"{source}:{line}: {field}: {problem}" if field else f"{source}:{line}: {problem}")
        self.source = source
        self.line = line
        self.field = field
        self.problem = problem


def parse_document(text: str, *, source: str, folder: Path) -> "Field":
    """Return the root of a document; files it names are relative to `folder`.

    Raises:
        ScriptError: it is no YAML, or empty.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise ScriptError(source, mark.line + 1 if mark else 1, "", f"not YAML: {problem}") from error
    if root is None:
        raise ScriptError(source, 1, "", "the script is empty")
    return Field(root, "", source, folder)


class Field:
    """One node of the document, with the path by which people know it."""

    def __init__(self, node: yaml.Node, path: str, source: str, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self._node = node
        self._source = source

    def wrong(self, problem: str) -> ScriptError:
        return ScriptError(self._source, self._node.start_mark.line + 1, self.path, problem)

    def _child(self, node: yaml.Node, path: str) -> "Field":
        return Field(node, path, self._source, self.folder)

    @property
    def scalar(self) -> bool:
        return isinstance(self._node, yaml.ScalarNode)

    @property
    def sequence(self) -> bool:
        return isinstance(self._node, yaml.SequenceNode)

    def entries(self) -> "dict[str, Field]":
        """Return the fields of a mapping whose keys are the writer's own."""
        return {name: child for name, _, child in self._entries("a mapping")}

    def fields(self, *known: str) -> "dict[str, Field]":
        """Return the fields of a mapping, each of which must be known."""
        found: dict[str, Field] = {}
        for name, key, child in self._entries(f"a mapping with {_either(known)}"):
            if name not in known:
                raise key.wrong(f"unknown field; known here: {', '.join(known)}")
            found[name] = child
        return found

    def _entries(self, expected: str) -> "Iterator[tuple[str, Field, Field]]":
        """Yield each name with its key, to complain of, and its value."""
        if not isinstance(self._node, yaml.MappingNode):
            raise self.wrong(f"expected {expected}")
        seen = set()
        for key, value in self._node.value:
            name = str(key.value)
            path = f"{self.path}.{name}".lstrip(".")
            child = self._child(value, path)
            if name in seen:
                raise child.wrong("given twice")
            seen.add(name)
            yield name, self._child(key, path), child

    def items(self) -> "list[Field]":
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

    def number(self, low: float = 0.0, high: float = math.inf) -> float:
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


def read(fields: Mapping[str, Field], name: str, convert: Callable[[Field], _T], default: _T) -> _T:
    found = fields.get(name)
    return default if found is None else convert(found)


def required(parent: Field, fields: Mapping[str, Field], name: str) -> Field:
    if name not in fields:
        raise parent.wrong(f"needs the field {name}")
    return fields[name]


# --- the document ------------------------------------------------------------------------------------

"""JSON Schemas that users write (a tool's parameters, what is extracted from a call): checked, and checked against.

Theory of operation. A schema is a program that somebody else wrote and every call of a process waits for. So it is
small, its references are its own and do not go round in circles, and what can take unbounded time (`pattern`, whose
regular expressions backtrack, and `uniqueItems`) is shown to the model but not run here. Whether it is a schema at all
takes `jsonschema` a third of a second for the largest, and `jsonschema_rs` a thousandth of that (ADR 0011).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jsonschema_rs
import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

JsonSchema = Mapping[str, object]

# Whatever a schema says it is written in: models are told of no other.
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Bytes: more than a model can make use of, and a bound on what validating costs.
LARGEST_SCHEMA = 16_000
# Places that validating may visit with every reference written out.
MOST_PLACES = 500
# A model that gets so much wrong learns nothing from the rest.
MOST_FAULTS = 5


class SchemaRefused(ValueError):
    """A schema that is none, or that we do not run; the message says where."""


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """One way in which a value is not what its schema wants."""

    pointer: str
    detail: str


def check_schema(schema: JsonSchema) -> None:
    """
    Raises:
        SchemaRefused: it is no JSON Schema (2020-12) of an object, or too much of one.
    """
    try:
        if len(msgspec.json.encode(schema)) > LARGEST_SCHEMA:
            raise SchemaRefused(f"is larger than {LARGEST_SCHEMA} bytes")
        jsonschema_rs.meta.validate({**schema, "$schema": _DIALECT})
        _Walk(schema).visit(schema, "")
    except jsonschema_rs.ValidationError as error:
        raise SchemaRefused(f"at {_pointer(error.instance_path)}: {error.message}") from error
    except RecursionError as error:
        raise SchemaRefused("is nested too deeply") from error
    if schema.get("type") != "object":
        raise SchemaRefused('must have "type": "object"')


class _Walk:
    """Visits what validating would, references written out."""

    def __init__(self, root: JsonSchema) -> None:
        self._root = root
        self._places = 0

    def visit(self, node: object, pointer: str, within: tuple[str, ...] = ()) -> None:
        self._places += 1
        if self._places > MOST_PLACES:
            raise SchemaRefused(f"has more than {MOST_PLACES} places, with its references written out")
        match node:
            case Mapping():
                for refused in ("$dynamicRef", "$dynamicAnchor", "$id", "$anchor", "patternProperties"):
                    if refused in node:
                        raise SchemaRefused(f"at {pointer or '/'}: {refused} is not supported")
                self._follow(node.get("$ref"), pointer, within)
                for name, child in node.items():
                    if name != "$defs" or pointer:  # the root's are visited from where they are used
                        self.visit(child, f"{pointer}/{name}", within)
            case list():
                for index, child in enumerate(node):
                    self.visit(child, f"{pointer}/{index}", within)
            case _:
                pass

    def _follow(self, reference: object, pointer: str, within: tuple[str, ...]) -> None:
        if reference is None:
            return
        if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
            raise SchemaRefused(f"at {pointer or '/'}: $ref must begin with #/$defs/")
        if reference in within:
            raise SchemaRefused(f"at {pointer or '/'}: $ref leads back to itself")
        definitions = self._root.get("$defs")
        name = reference.removeprefix("#/$defs/")
        if not isinstance(definitions, Mapping) or name not in definitions:
            raise SchemaRefused(f"at {pointer or '/'}: {reference} is not there")
        self.visit(definitions[name], reference.removeprefix("#"), (*within, reference))


def faults(schema: JsonSchema, value: object) -> list[SchemaFault]:
    """How the value differs from what a checked schema wants; the first few."""
    errors = _VALIDATOR(schema, registry=Registry()).iter_errors(value)
    try:
        return [
            SchemaFault(_pointer(error.absolute_path), _told(error)) for error in islice(errors, MOST_FAULTS)
        ]
    except RecursionError:
        return [SchemaFault("/", "is nested too deeply")]


def _not_run(*_: object) -> Iterator[ValidationError]:
    yield from ()


# `uniqueItems` compares each with each where they cannot be sorted.
_VALIDATOR = extend(  # type: ignore[no-untyped-call]  # its stubs give it no types
    Draft202012Validator, {"pattern": _not_run, "uniqueItems": _not_run}
)


# Of a value that does not fit: enough to see which it is.
_LONGEST_DETAIL = 300


def _told(error: ValidationError) -> str:
    message = error.message
    return message if len(message) <= _LONGEST_DETAIL else f"{message[:_LONGEST_DETAIL]}..."


def _pointer(path: Any) -> str:  # noqa: ANN401  # a deque of names and indices
    return "".join(f"/{part}" for part in path) or "/"

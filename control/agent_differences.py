"""How two versions of an agent differ, field by field. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from control.agents import AgentConfig
from control.tool_definition import MASK, REVEAL


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not the same."""

    pointer: str
    """Where, as a JSON Pointer; a tool's place is its id."""
    change: Literal["added", "removed", "changed"]
    a: object
    """None where it was added."""
    b: object
    """None where it was removed."""


def differences(a: AgentConfig, b: AgentConfig) -> list[Difference]:
    """Return what is not the same in `b` as in `a`, in the order of the fields; secrets are compared and not shown."""
    return list(_compared("", _fields(a), _fields(b)))


def _fields(config: AgentConfig) -> dict[str, Any]:
    dumped = config.model_dump(mode="json", context={REVEAL: True})
    fields = {name: None if said is None else dumped[name] for name, said in config.said().items()}
    return {**fields, "tools": {each["tool_id"] or each["name"]: each for each in dumped["tools"]}}


def _compared(pointer: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*a, *b)):
        place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in a:
            yield Difference(place, "added", None, _shown(place, b[name]))
        elif name not in b:
            yield Difference(place, "removed", _shown(place, a[name]), None)
        elif isinstance(a[name], dict) and isinstance(b[name], dict):
            yield from _compared(place, a[name], b[name])
        elif a[name] != b[name]:
            yield Difference(place, "changed", _shown(place, a[name]), _shown(place, b[name]))


def _shown(pointer: str, value: Any) -> object:  # noqa: ANN401  # JSON
    """The value, unless it is a secret: the headers of a tool are."""
    match pointer.split("/")[1:]:
        case ["tools", _, "headers", _]:
            return MASK
        case ["tools", _]:
            return {**value, "headers": dict.fromkeys(value["headers"], MASK)}
        case _:
            return value

"""Which tool is which when an agent is changed."""

from itertools import count
from typing import Any

import pytest

from control.tool_definition import MASK, ToolDefinition
from control.tool_identity import ToolRefused, identified


def tool(name: str, tool_id: str | None = None, **headers: str) -> ToolDefinition:
    fields: dict[str, Any] = {"name": name, "url": "https://shop.example", "tool_id": tool_id}
    return ToolDefinition.model_validate({**fields, "headers": headers} if headers else fields)


BEFORE = (tool("a", "tool_1", Key="one"), tool("b", "tool_2"))


def ids(*wanted: ToolDefinition) -> list[str | None]:
    fresh = count(7)
    return [each.tool_id for each in identified(wanted, BEFORE, lambda: f"tool_{next(fresh)}")]


def test_a_tool_is_the_one_of_its_id_whatever_its_name() -> None:
    assert ids(tool("c", "tool_1"), tool("b", "tool_2")) == ["tool_1", "tool_2"]


def test_a_tool_without_an_id_is_the_one_of_its_name_or_a_new_one() -> None:
    assert ids(tool("b"), tool("c"), tool("d")) == ["tool_2", "tool_7", "tool_8"]


def test_an_old_name_is_free_once_its_tool_has_another() -> None:
    assert ids(tool("a"), tool("c", "tool_1")) == ["tool_7", "tool_1"]


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ([tool("a", "tool_9")], "/0/tool_id"),
        ([tool("a", "tool_1"), tool("c", "tool_1")], "/1/tool_id"),
        ([tool("a", "tool_1"), tool("c", None, Key=MASK)], "/1/headers/Key"),
        ([tool("a", "tool_1", Other=MASK)], "/0/headers/Other"),
    ],
)
def test_what_cannot_be_meant_is_refused(wanted: list[ToolDefinition], pointer: str) -> None:
    with pytest.raises(ToolRefused) as refused:
        ids(*wanted)
    assert refused.value.pointer == pointer


def test_a_masked_header_is_as_it_was() -> None:
    kept, other = identified([tool("a", None, Key=MASK, More="2"), tool("b")], BEFORE, lambda: "tool_7")
    assert {name: value.get_secret_value() for name, value in kept.headers.items()} == {
        "Key": "one",
        "More": "2",
    }
    assert other == BEFORE[1]

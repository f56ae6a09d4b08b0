"""How two versions of an agent differ."""

from typing import Any

from control.agent_differences import Difference, differences
from control.agents import AgentConfig

SHOP = {"tool_id": "tool_1", "name": "look_up", "url": "https://shop.example", "headers": {"Key": "one"}}
BOOK = {"tool_id": "tool_2", "name": "book", "url": "https://book.example", "headers": {"Key": "hidden"}}


def agent(**fields: Any) -> AgentConfig:
    return AgentConfig.model_validate({"name": "sales", "tools": [SHOP], **fields})


def test_the_same_agent_does_not_differ() -> None:
    assert differences(agent(), agent()) == []


def test_fields_differ_by_their_place() -> None:
    a = agent(voice="marin", metadata={"a/b": 1, "c": {"d": 1}}, silence_prompts=["Hello?"])
    b = agent(greeting="Hi.", metadata={"c": {"d": 2}, "e": None}, silence_prompts=["Hello?", "Bye."])
    assert differences(agent(), agent(silence_prompts=[])) == [
        Difference("/silence_prompts", "changed", None, [])
    ]
    assert differences(a, b) == [
        Difference("/voice", "changed", "marin", None),
        Difference("/greeting", "changed", None, "Hi."),
        Difference("/silence_prompts", "changed", ["Hello?"], ["Hello?", "Bye."]),
        Difference("/metadata/a~1b", "removed", 1, None),
        Difference("/metadata/c/d", "changed", 1, 2),
        Difference("/metadata/e", "added", None, None),
    ]


def test_tools_are_told_apart_by_their_ids_and_their_headers_compared_but_not_shown() -> None:
    changed = {**SHOP, "name": "find", "headers": {"Key": "two"}}
    found = differences(agent(), agent(tools=[BOOK, changed]))
    assert found[:2] == [
        Difference("/tools/tool_1/name", "changed", "look_up", "find"),
        Difference("/tools/tool_1/headers/Key", "changed", "**********", "**********"),
    ]
    (added,) = found[2:]
    assert (added.pointer, added.change, added.a) == ("/tools/tool_2", "added", None)
    assert "hidden" not in repr(found)
    assert "**********" in repr(added.b)

"""A call of a tool as the HTTP request that runs it."""

import json

import pytest

from control.egress import OutgoingRequest
from control.tool_definition import ToolDefinition
from control.tools.request import ArgumentsRefused, NobodyToAsk, ToolContext, read_arguments, tool_request

CONTEXT = ToolContext(call_id="call_1", agent_id="agent_1")
PARAMETERS = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
    "required": ["order"],
    "additionalProperties": False,
}


def tool(**fields: object) -> ToolDefinition:
    given = {"name": "look_up", "url": "https://shop.example/look-up", "parameters": PARAMETERS, **fields}
    return ToolDefinition.model_validate(given)


def request(tool: ToolDefinition, context: ToolContext = CONTEXT, **arguments: object) -> OutgoingRequest:
    return tool_request(tool, "fc_1", arguments, context)


def test_arguments_are_the_body_and_the_call_is_in_the_headers() -> None:
    made = request(tool(headers={"Authorization": "Bearer s"}, timeout_seconds=3), order="A7", lines=[1, 2])
    assert made.body == b'{"order":"A7","lines":[1,2]}'
    assert (made.method, made.url, made.timeout) == ("POST", "https://shop.example/look-up", 3)
    assert dict(made.headers) == {
        "Offhook-Call-Id": "call_1",
        "Offhook-Tool-Call-Id": "fc_1",
        "Idempotency-Key": "fc_1",
        "Authorization": "Bearer s",
        "Content-Type": "application/json",
    }


def test_a_get_has_them_in_its_query() -> None:
    made = request(tool(method="GET", url="https://shop.example/o?v=2"), order="A 7&b", lines=[1, 2])
    assert made.url == "https://shop.example/o?v=2&order=A+7%26b&lines=%5B1%2C2%5D"
    assert made.body is None


def test_a_header_of_the_users_own_counts_instead_of_ours() -> None:
    made = request(tool(headers={"idempotency-key": "mine"}), order="A7")
    assert [value for name, value in made.headers.items() if name.lower() == "idempotency-key"] == ["mine"]


@pytest.mark.parametrize(
    "arguments", [{}, {"order": 7}, {"order": "A7", "more": 1}, {"order": "A7", "lines": ["x"]}]
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ArgumentsRefused):
        tool_request(tool(), "fc_1", arguments, CONTEXT)


def test_a_query_has_its_limit() -> None:
    with pytest.raises(ArgumentsRefused, match="too long"):
        request(tool(method="GET"), order="x" * 3_000)


@pytest.mark.parametrize("text", ["[1]", "nonsense", '{"a": ', '"' + "x" * 9_000 + '"', "[" * 5_000])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ArgumentsRefused):
        read_arguments(text)


def test_no_arguments_are_an_empty_object() -> None:
    assert read_arguments("") == {}


def test_a_tool_without_a_url_is_asked_of_the_agents_server_in_a_signed_envelope() -> None:
    context = ToolContext(
        call_id="call_1",
        agent_id="agent_1",
        server_url="https://shop.example/hook",
        sign=lambda body: {"webhook-signature": f"v1,{len(body)}"},
    )
    made = request(tool(url=None), context, order="A7")
    assert made.url == "https://shop.example/hook"
    assert json.loads(made.body or b"") == {
        "event": "tool.call",
        "call_id": "call_1",
        "agent_id": "agent_1",
        "tool_call_id": "fc_1",
        "name": "look_up",
        "arguments": {"order": "A7"},
    }
    assert made.headers["webhook-signature"] == f"v1,{len(made.body or b'')}"


def test_nothing_is_asked_of_a_server_that_cannot_tell_us_from_others() -> None:
    with pytest.raises(NobodyToAsk):
        request(
            tool(url=None),
            ToolContext(call_id="c", agent_id=None, server_url="https://shop.example"),
            order="A7",
        )


def test_secrets_do_not_show_in_a_request() -> None:
    assert "very-secret" not in repr(request(tool(headers={"X": "very-secret"}), order="A7"))

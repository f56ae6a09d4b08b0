"""A tool as its user defines it."""

import pytest
from pydantic import ValidationError

from control.tool_definition import REVEAL, ToolDefinition


def tool(**fields: object) -> ToolDefinition:
    return ToolDefinition.model_validate({"name": "look_up", "url": "https://example.com/look-up", **fields})


def test_the_smallest_tool_is_a_name_and_an_address() -> None:
    assert tool().parameters == {"type": "object", "properties": {}}
    assert (tool().method, tool().timeout_seconds) == ("POST", 10.0)


def test_secrets_in_headers_are_shown_to_the_store_alone() -> None:
    secret = tool(headers={"Authorization": "Bearer very-secret"})
    assert "very-secret" not in repr(secret)
    assert "very-secret" not in secret.model_dump_json()
    kept = secret.model_dump(mode="json", context={REVEAL: True})
    assert ToolDefinition.model_validate(kept) == secret


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": "look up"}, "name"),
        ({"url": "ftp://example.com"}, "http or https"),
        ({"url": "https://user:word@example.com"}, "credentials"),
        ({"method": "TRACE"}, "method"),
        ({"parameters": {"type": "string"}}, "object"),
        ({"headers": {"Host": "x"}}, "gateway's own"),
        ({"headers": {"X-A\r\nX-B": "x"}}, "letters, digits"),
        ({"headers": {"X-A": "secret\r\nX-B: y"}}, "cannot be sent"),
        ({"timeout_seconds": 90}, "60"),
        ({"filler": {}}, "phrase or an audio_url"),
        ({"filler": {"phrase": "x", "audio_url": "https://example.com/a.wav"}}, "one of them"),
        ({"filler": {"phrase": "{{"}}, "line 1"),
        ({"methd": "GET"}, "methd"),
    ],
)
def test_what_cannot_be_run_is_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why) as refused:
        tool(**fields)
    assert "secret" not in str(refused.value)


def test_a_built_in_tool_is_switched_on_by_its_name() -> None:
    gather = ToolDefinition(name="gather_digits", description="Only for account numbers.")
    assert gather.built_in
    with pytest.raises(ValidationError, match="has no url"):
        ToolDefinition(name="gather_digits", url="https://example.com")


def test_only_what_does_no_more_twice_than_once_is_repeated() -> None:
    methods = {method: tool(method=method).repeatable for method in ("GET", "POST", "PUT", "PATCH", "DELETE")}
    assert methods == {"GET": True, "POST": False, "PUT": True, "PATCH": False, "DELETE": True}

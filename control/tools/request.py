"""A call of a tool as an HTTP request: the model's arguments, checked, on their way to the user's server."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from control.egress import OutgoingRequest
from control.egress_policy import MAX_URL
from control.json_schema import SchemaFault, faults
from control.tool_definition import ToolDefinition

# Characters of arguments: more than any tool asks a caller for; a model that writes more is running away.
LONGEST_ARGUMENTS = 8_000
# Of an answer, in bytes: what is beyond would not fit into the model's context either.
MOST_BYTES = 64 * 1024

Sign = Callable[[bytes], Mapping[str, str]]
"""Returns the headers that prove a body to be ours, for one tenant's `server_url`."""


class ArgumentsRefused(ValueError):
    """The model called a tool with arguments that do not fit it; the model is told so."""

    def __init__(self, found: list[SchemaFault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in found))
        self.faults = found


class NobodyToAsk(ValueError):
    """The tool has no server that could run it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """In which call a tool is called."""

    call_id: str
    agent_id: str | None
    server_url: str | None = None
    """The agent's own server: runs the tools that have no `url`."""
    sign: Sign | None = None
    """Without one, nothing is asked of the agent's server: it could not tell us from anybody else."""


def read_arguments(text: str) -> dict[str, object]:
    """Return the arguments as the model wrote them.

    Raises:
        ArgumentsRefused: they are no JSON object, or too long.
    """
    if len(text) > LONGEST_ARGUMENTS:
        raise ArgumentsRefused([SchemaFault("/", f"longer than {LONGEST_ARGUMENTS} characters")])
    try:
        arguments = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ArgumentsRefused([SchemaFault("/", "is not JSON")]) from error
    if not isinstance(arguments, dict):
        raise ArgumentsRefused([SchemaFault("/", "is not an object")])
    return arguments


def tool_request(
    tool: ToolDefinition, tool_call_id: str, arguments: Mapping[str, object], context: ToolContext
) -> OutgoingRequest:
    """Return the request that runs the tool.

    The arguments alone are the query or the body, so that an existing API can be a tool as it is; which call it is
    about stands in headers. The agent's `server_url` is told everything in a signed envelope.

    Raises:
        ArgumentsRefused: they do not fit the tool's parameters.
        NobodyToAsk: it has no `url`, and there is no server we can prove ourselves to.
    """
    if found := faults(tool.parameters, arguments):
        raise ArgumentsRefused(found)
    if tool.url is None:
        return _asked_of_server(tool, tool_call_id, arguments, context)
    headers = _named_once(
        {
            "Offhook-Call-Id": context.call_id,
            "Offhook-Tool-Call-Id": tool_call_id,
            "Idempotency-Key": tool_call_id,
        },
        {name: value.get_secret_value() for name, value in tool.headers.items()},
    )
    if tool.method in ("GET", "DELETE"):
        return _request(tool, _with_query(tool.url, arguments), headers)
    body = msgspec.json.encode(arguments)
    return _request(tool, tool.url, {**headers, "Content-Type": "application/json"}, body)


def _asked_of_server(
    tool: ToolDefinition, tool_call_id: str, arguments: Mapping[str, object], context: ToolContext
) -> OutgoingRequest:
    if context.server_url is None or context.sign is None:
        raise NobodyToAsk(f"{tool.name} has no url, and the agent no server that knows us")
    envelope = {
        "event": "tool.call",
        "call_id": context.call_id,
        "agent_id": context.agent_id,
        "tool_call_id": tool_call_id,
        "name": tool.name,
        "arguments": arguments,
    }
    body = msgspec.json.encode(envelope)
    headers = {**context.sign(body), "Content-Type": "application/json"}
    return OutgoingRequest(
        url=context.server_url,
        method="POST",
        headers=headers,
        body=body,
        timeout=tool.timeout_seconds,
        max_bytes=MOST_BYTES,
    )


def _request(
    tool: ToolDefinition, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> OutgoingRequest:
    return OutgoingRequest(
        url=url,
        method=tool.method,
        headers=headers,
        body=body,
        timeout=tool.timeout_seconds,
        max_bytes=MOST_BYTES,
    )


def _named_once(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """A header of the user's counts instead of ours, however it is capitalised."""
    taken = {name.lower() for name in theirs}
    return {**{name: value for name, value in ours.items() if name.lower() not in taken}, **theirs}


def _with_query(url: str, arguments: Mapping[str, object]) -> str:
    parts = urlsplit(url)
    query = urlencode([(name, _in_query(value)) for name, value in arguments.items()])
    joined = "&".join(part for part in (parts.query, query) if part)
    whole = urlunsplit((parts.scheme, parts.netloc, parts.path, joined, ""))
    if len(whole) > MAX_URL:
        raise ArgumentsRefused([SchemaFault("/", "too long for a query")])
    return whole


def _in_query(value: object) -> str:
    """Texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

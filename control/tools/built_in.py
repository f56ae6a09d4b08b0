"""The tools that the gateway has itself: what the model is told of them, and what a call of one asks of the call.

`end_call` and `transfer_call` are on where the agent says so in its own fields; any of them is on where `tools` has
an entry of its name.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from control.agents import AgentConfig
from control.json_schema import SchemaFault, faults
from control.requests import After, EndCall, Gather, SendDigits, TransferCall
from control.tool_definition import BUILT_IN
from control.tools.request import ArgumentsRefused
from media.realtime.configuration import ToolSpec

BuiltInRequest = EndCall | TransferCall | SendDigits | Gather

_DIGITS = re.compile(r"[0-9A-D*#wW]{1,64}")

_DESCRIPTIONS: Mapping[str, str] = {
    "end_call": "Hang up. Say goodbye first; what you are saying is heard to its end.",
    "transfer_call": "Connect the caller with somebody else. Say first whom with. If nobody answers, the caller "
    "comes back to you.",
    "send_dtmf": "Press keys on the telephone, for instance to get through a menu at the other end.",
    "gather_digits": "Ask the caller to enter a number with the telephone's keys: exact, where speech is not.",
}


def is_enabled(name: str, config: AgentConfig) -> bool:
    """Whether this agent has the built-in tool."""
    switched_on = (
        (name == "end_call" and config.end_call_enabled)
        or (name == "transfer_call" and config.transfer_targets)
        or any(tool.name == name for tool in config.tools)
    )
    return name in BUILT_IN and bool(switched_on)


def specs(config: AgentConfig) -> list[ToolSpec]:
    """What the model is told of the built-in tools that the agent has."""
    own = {tool.name: tool.description for tool in config.tools}
    return [
        ToolSpec(name, own.get(name) or _DESCRIPTIONS[name], parameters(name, config))
        for name in BUILT_IN
        if is_enabled(name, config)
    ]


def request_of(
    name: str, arguments: Mapping[str, object], config: AgentConfig, new_id: Callable[[str], str]
) -> BuiltInRequest:
    """What the model's call of a built-in tool asks of the call.

    Args:
        new_id: makes the id of a gather (`gather`) or a transfer (`transfer`).

    Raises:
        ArgumentsRefused: the arguments do not fit.
    """
    if found := faults(parameters(name, config), arguments):
        raise ArgumentsRefused(found)
    given: Mapping[str, Any] = arguments
    match name:
        case "end_call":
            return EndCall(after=After.PLAYOUT)
        case "transfer_call":
            (target,) = (each for each in config.transfer_targets if each.name == given["target"])
            return TransferCall(transfer_id=new_id("transfer"), destination=target.destination)
        case "send_dtmf":
            if not _DIGITS.fullmatch(given["digits"]):
                raise ArgumentsRefused([SchemaFault("/digits", "only 0-9, A-D, *, #, w and W, up to 64")])
            return SendDigits(digits=given["digits"])
        case _:
            return _gather(given, config, new_id)


def _gather(given: Mapping[str, Any], config: AgentConfig, new_id: Callable[[str], str]) -> Gather:
    names = {"max_digits": "max_digits", "timeout_seconds": "timeout"}
    chosen: dict[str, Any] = {names[name]: value for name, value in given.items() if name in names}
    if config.language is not None:
        chosen["language"] = config.language
    return Gather(gather_id=new_id("gather"), prompt=given["prompt"], **chosen)


def parameters(name: str, config: AgentConfig) -> dict[str, object]:
    """The JSON Schema of a built-in tool's arguments."""
    match name:
        case "end_call":
            return _schema()
        case "transfer_call":
            target = {
                "type": "string",
                "enum": [each.name for each in config.transfer_targets],
                "description": _targets(config),
            }
            return _schema(required=["target"], target=target)
        case "send_dtmf":
            digits = {
                "type": "string",
                "minLength": 1,
                "maxLength": 64,
                "pattern": f"^{_DIGITS.pattern}$",
                "description": "0-9, A-D, * and #; w waits half a second, W a second.",
            }
            return _schema(required=["digits"], digits=digits)
        case "gather_digits":
            return _schema(
                required=["prompt"],
                prompt={
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1_000,
                    "description": "What the caller is told, word for word.",
                },
                max_digits={"type": "integer", "minimum": 1, "maximum": 20},
                timeout_seconds={
                    "type": "integer",
                    "minimum": 5,
                    "maximum": 60,
                    "description": "How long to wait for the first key.",
                },
            )
        case _:
            raise ValueError(f"{name} is no built-in tool")


def _schema(required: list[str] | None = None, **properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


def _targets(config: AgentConfig) -> str:
    return "; ".join(
        f"{target.name}: {target.description}" if target.description else target.name
        for target in config.transfer_targets
    )

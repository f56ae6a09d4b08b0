"""The model's calls of the gateway's own tools, as what they ask of the call. Pure."""

from collections.abc import Callable

from control.agent_run import EffectiveAgent
from control.brief import BuiltInRequest, ToolRefused
from control.tools import built_in
from control.tools.request import ArgumentsRefused, read_arguments

BuiltIn = Callable[[str, str], BuiltInRequest | ToolRefused | None]


def built_in_of(agent: EffectiveAgent | None, new_id: Callable[[str], str]) -> BuiltIn:
    """Return what reads such calls for one agent (`CallPorts.built_in`)."""

    def read(name: str, arguments: str) -> BuiltInRequest | ToolRefused | None:
        if agent is None or not built_in.is_enabled(name, agent.config):
            return None
        try:
            return built_in.request_of(name, read_arguments(arguments), agent.config, new_id)
        except ArgumentsRefused as refused:
            return ToolRefused(str(refused))

    return read

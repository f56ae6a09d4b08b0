"""Which tool of an agent is which: every stored one has an id, and keeps it while it is changed. Pure.

Whoever changes an agent sends what they were shown, changed: tools with their ids, and headers whose values were
masked. A tool without an id is the one of that name, if there was one; a value that is still masked is as it was.
"""

from collections.abc import Callable, Sequence

from pydantic import SecretStr

from control.tool_definition import MASK, ToolDefinition


class ToolRefused(ValueError):
    """A tool that cannot be meant."""

    def __init__(self, pointer: str, detail: str) -> None:
        """
        Args:
            pointer: where, in the list of tools.
        """
        super().__init__(detail)
        self.pointer = pointer
        self.detail = detail


def identified(
    wanted: Sequence[ToolDefinition], before: Sequence[ToolDefinition], new_id: Callable[[], str]
) -> tuple[ToolDefinition, ...]:
    """Return the tools, each with its id and its secrets.

    Args:
        before: those that the agent has had so far.

    Raises:
        ToolRefused: an id is not one of this agent's or is there twice, or a header is masked and there is none.
    """
    by_id = {tool.tool_id: tool for tool in before}
    given = {tool.tool_id for tool in wanted if tool.tool_id is not None}
    # An old name is not the way to a tool that is there already, by its id, under a new one.
    by_name = {tool.name: tool for tool in before if tool.tool_id not in given}
    found: list[ToolDefinition] = []
    for index, tool in enumerate(wanted):
        if tool.tool_id is not None and tool.tool_id not in by_id:
            raise ToolRefused(f"/{index}/tool_id", "the agent has no such tool, or it is there twice")
        known = by_name.get(tool.name) if tool.tool_id is None else by_id.pop(tool.tool_id)
        tool_id = new_id() if known is None else known.tool_id
        headers = _unmasked(f"/{index}/headers", tool, known)
        found.append(tool.model_copy(update={"tool_id": tool_id, **headers}))
    return tuple(found)


def _unmasked(pointer: str, tool: ToolDefinition, known: ToolDefinition | None) -> dict[str, object]:
    masked = [name for name, value in tool.headers.items() if value.get_secret_value() == MASK]
    if not masked:
        return {}
    kept: dict[str, SecretStr] = {} if known is None else known.headers
    for name in masked:
        if name not in kept:
            raise ToolRefused(f"{pointer}/{name}", "is masked, and there is no such header to take it from")
    return {"headers": {**tool.headers, **{name: kept[name] for name in masked}}}

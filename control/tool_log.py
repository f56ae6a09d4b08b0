"""What is kept of every run of a tool: what the model asked with, what it was told, how long that took.

A run is written down with the event that tells of its end, in the same transaction; a repeated save keeps it once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

# Of an error; who runs the tool is told more by the tool's own log.
_LONGEST_ERROR = 500
# What is kept of arguments that are no JSON object, in characters.
_LONGEST_UNREAD = 1_000


class ToolOutcome(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    ABANDONED = "abandoned"
    """The call was over first: nobody is told of the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLog:
    """One run, as it is kept; whose it is, and when it ended, its event says."""

    tool_log_id: str
    tool_call_id: str
    """The model's name for it."""
    name: str
    outcome: ToolOutcome
    tool_id: str | None = None
    """The tool's own, which outlives a change of its name; None: it had none."""
    arguments: Mapping[str, object] | None = field(default=None, repr=False)
    """As the model wrote them, but for keys that were pressed for somebody else."""
    result: object = field(default=None, repr=False)
    """What the model was told."""
    status_code: int | None = None
    """Of the last HTTP answer."""
    error: str | None = None
    attempts: int = 0
    """HTTP requests; 0 for the gateway's own tools and for what was refused before any."""
    duration_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun:
    """One run, as the call's machine knows it: `began` is on its clock."""

    tool_call_id: str
    name: str
    began: float
    arguments: str = field(repr=False)
    """JSON as the model wrote it."""
    tool_id: str | None = None
    outcome: ToolOutcome = ToolOutcome.ABANDONED
    result: str | None = field(default=None, repr=False)
    """JSON as the model was told."""
    status_code: int | None = None
    error: str | None = None
    attempts: int = 0

    def log(self, tool_log_id: str, now: float) -> ToolLog:
        """Return what is kept of it, now that it is over."""
        return ToolLog(
            tool_log_id=tool_log_id,
            tool_call_id=self.tool_call_id,
            name=self.name,
            tool_id=self.tool_id,
            outcome=self.outcome,
            arguments=kept_arguments(self.name, self.arguments),
            result=_read(self.result),
            status_code=self.status_code,
            error=None if self.error is None else self.error[:_LONGEST_ERROR],
            attempts=self.attempts,
            duration_ms=max(0, round((now - self.began) * 1000)),
        )


def kept_arguments(name: str, arguments: str) -> Mapping[str, object]:
    """Return what is kept of a tool's arguments.

    Keys that are pressed for the far end may be a card's number or a password there: how many, and nothing else.
    """
    given = _read(arguments or "{}")
    if not isinstance(given, dict):
        return {"unread": arguments[:_LONGEST_UNREAD]}
    digits = given.get("digits")
    if name == "send_dtmf" and digits is not None:
        return {**given, "digits": f"[{len(str(digits))} keys]"}
    return given


def _read(text: str | None) -> object:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text

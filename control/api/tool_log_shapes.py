"""What tools did, as the API shows it."""

from typing import Any

from pydantic import Field

from control.api.shapes import Moment, Shape
from control.stores.tool_logs import StoredToolLog, ToolFigures
from control.tool_log import ToolOutcome


class ToolLogShape(Shape):
    """One run of a tool."""

    tool_log_id: str
    tool_call_id: str = Field(description="The model's name for it, as events have it.")
    call_id: str
    agent_id: str | None
    name: str
    tool_id: str | None = Field(
        description="The tool's, as its agent lists it; null: it had none, as a tool of an ad-hoc agent, or "
        "of a call's own server."
    )
    outcome: ToolOutcome = Field(description="`abandoned`: the call was over first.")
    arguments: dict[str, Any] | None = Field(
        description="As the model wrote them; of keys that were pressed, how many. Headers are never kept."
    )
    result: Any = Field(description="What the model was told; null where it was told nothing.")
    status_code: int | None = Field(description="Of the last HTTP answer.")
    error: str | None
    attempts: int = Field(description="HTTP requests that were made.")
    duration_ms: int
    created_at: Moment = Field(description="When it ended.")


class ToolLogList(Shape):
    """A page of runs, newest first."""

    data: list[ToolLogShape]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


class ToolFiguresShape(Shape):
    """One tool in numbers."""

    name: str
    calls: int
    success: int
    errors: int
    timeouts: int
    abandoned: int = Field(description="The call was over first; not among the durations.")
    duration_p50_ms: int | None
    duration_p95_ms: int | None


class ToolStatistics(Shape):
    """Every tool that ran, by name."""

    data: list[ToolFiguresShape]


def tool_log_shape(stored: StoredToolLog) -> ToolLogShape:
    log = stored.log
    return ToolLogShape(
        tool_log_id=log.tool_log_id,
        tool_call_id=log.tool_call_id,
        call_id=stored.call_id,
        agent_id=stored.agent_id,
        name=log.name,
        tool_id=log.tool_id,
        outcome=log.outcome,
        arguments=None if log.arguments is None else dict(log.arguments),
        result=log.result,
        status_code=log.status_code,
        error=log.error,
        attempts=log.attempts,
        duration_ms=log.duration_ms,
        created_at=stored.created_at,
    )


def tool_figures(figures: ToolFigures) -> ToolFiguresShape:
    return ToolFiguresShape(**{name: getattr(figures, name) for name in ToolFiguresShape.model_fields})

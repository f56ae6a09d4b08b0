"""What happens to a call, as its machine is told: requests of users, what carriers and media say, what became of
commands and tools, and what was found out by asking the carrier.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from control.effects import CommandOutcome
from control.media_orders import Report
from control.requests import CallRequest
from telephony.calls import CallEvent


@dataclass(frozen=True, slots=True)
class Asked:
    """A user asks something of the call; the effect `Reply` with the same ticket answers, exactly once."""

    ticket: str
    request: CallRequest


class ToolStatus(StrEnum):
    """How the run of a tool ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """What came of `RunTool`."""

    tool_call_id: str
    output: str = field(repr=False)
    """JSON, for the model: its result, or what went wrong."""
    status: ToolStatus = ToolStatus.COMPLETED
    http_status: int | None = None
    """Of the last answer, if there was one."""
    detail: str = ""
    """What went wrong, for whoever runs the tool."""
    attempts: int = 0
    """How many requests were made."""
    actions: tuple[CallRequest, ...] = field(default=(), repr=False)
    """What the agent's server wants done, which has run it."""
    fault: str = ""
    """Why what it wants done cannot be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Asked, the carrier says that the call is up: how a dial of unknown outcome is settled."""

    carrier_call_id: str
    leg_id: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class NotFound:
    """Asked, the carrier knows no such live call: it is over, or there never was one."""


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """The process is to stop: a call that has not ended by itself within so many seconds is ended, politely."""

    within: float


@dataclass(frozen=True, slots=True)
class ServerHeard:
    """The agent's server has said what this call is to be, or will not: nobody waits for it any more."""


CallInput = (
    CallEvent | Report | CommandOutcome | Asked | ToolFinished | Found | NotFound | DrainAsked | ServerHeard
)

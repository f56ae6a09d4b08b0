"""What a dead process had in hand of a call, by the events that tell of its beginnings: each is told of its end, too.

Pure. Users who were told that something has begun wait for what comes of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from control.call_record import EventRecord
from control.gathering import GatherResult

EVENTS = frozenset(
    {
        "gather.started",
        "call.gather.completed",
        "transfer.initiated",
        "transfer.completed",
        "transfer.failed",
    }
)
"""Those to be looked at."""

ENDINGS = frozenset(
    {
        "call.failed",
        "call.ended",
        "call.gather.completed",
        "transfer.completed",
        "transfer.failed",
        "tool.completed",
        "tool.timeout",
        "tool.abandoned",
    }
)
"""Those by which the end of something is told."""

# What a transfer failed of.
RESTARTED = "error"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The event by which the end of something is told."""

    name: str
    data: Mapping[str, object]


def unfinished(events: Iterable[EventRecord]) -> list[Unfinished]:
    """Return what has begun and not ended, in the order in which it began."""
    begun: dict[object, Unfinished] = {}
    for event in events:
        match event.name:
            case "gather.started":
                gather_id = event.data["gather_id"]
                data = {"gather_id": gather_id, "status": GatherResult.HANGUP.value, "input": None}
                begun[gather_id] = Unfinished("call.gather.completed", data)
            case "transfer.initiated":
                data = {name: event.data[name] for name in ("transfer_id", "destination")}
                begun[event.data["transfer_id"]] = Unfinished("transfer.failed", {**data, "cause": RESTARTED})
            case "call.gather.completed":
                begun.pop(event.data.get("gather_id"), None)
            case "transfer.completed" | "transfer.failed":
                begun.pop(event.data.get("transfer_id"), None)
            case _:
                pass
    return list(begun.values())


def ending(event: EventRecord) -> tuple[str, object] | None:
    """Return what it is that the event tells the end of, and which one; None: of nothing."""
    match event.name:
        case "call.failed" | "call.ended":
            return "call", event.call_id
        case "call.gather.completed":
            return "gather", event.data.get("gather_id")
        case "transfer.completed" | "transfer.failed":
            return "transfer", event.data.get("transfer_id")
        case "tool.completed" | "tool.timeout" | "tool.abandoned":
            return "tool", event.data.get("tool_call_id")
        case _:
            return None


def transferred_at(events: Iterable[EventRecord]) -> datetime | None:
    """Return when the caller was connected to somebody else; None: never, or nobody has noted it."""
    return next((event.occurred_at for event in events if event.name == "transfer.completed"), None)

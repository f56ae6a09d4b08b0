"""A call's timeline: what happened when, in the order it happened."""

from collections.abc import Callable
from dataclasses import dataclass

# Far beyond any sane call; a call that says more keeps its first part and a count of the rest.
MAX_EVENTS = 20_000

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One thing that happened, `at` seconds after the call began."""

    at: float
    name: str
    fields: dict[str, Value]

    def as_dict(self) -> dict[str, Value]:
        return {"at": round(self.at, 3), "event": self.name, **self.fields}


class Timeline:
    """Collects events; its owner reads them from `events`, or is told of each as it comes."""

    def __init__(self, origin: float, told: Callable[[TimelineEvent], None] | None = None) -> None:
        self.origin = origin
        self._told = told
        self.events: list[TimelineEvent] = []
        self.dropped = 0

    def add(self, now: float, name: str, **fields: Value) -> None:
        if len(self.events) >= MAX_EVENTS:
            self.dropped += 1
            return
        event = TimelineEvent(now - self.origin, name, fields)
        self.events.append(event)
        if self._told is not None:
            self._told(event)

"""Keys the caller pressed, in the order of pressing, one by one and as groups.

Carriers may deliver digits out of order (Telnyx says so). Each is held for a short window and takes its place
by the time of pressing, else by its number in the stream, else by arrival; no digit waits longer than the window.
A group is what one would say as one number: it ends with `#` or when no key was pressed for a while.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

# Frames overtake each other by a few frames of 20 ms; the fastest dialler leaves 80 ms between keys (ITU-T Q.24).
REORDER_WINDOW = 0.150
# The pause after which the digits pressed so far are one answer.
GROUP_PAUSE = 1.5
GROUP_END = "#"
# A caller who leans on a key, or a machine: the group is handed on at this size, the window released at once.
MAX_GROUP = 64
MAX_HELD = 32


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """One key, in its order."""

    digit: str


@dataclass(frozen=True, slots=True)
class KeysEntered:
    """A group of keys as pressed, the `#` that ended it included."""

    digits: str


DigitEvent = KeyPressed | KeysEntered


@dataclass(slots=True)
class _Held:
    digit: str
    pressed: datetime | None
    sequence: int | None
    arrived: float
    deadline: float

    def precedes(self, other: "_Held") -> bool:
        if self.pressed is not None and other.pressed is not None and self.pressed != other.pressed:
            return self.pressed < other.pressed
        if self.sequence is not None and other.sequence is not None:
            return self.sequence < other.sequence
        return False


class DigitCollector:
    """Orders and groups the digits of one call.

    Driven by the carrier's digits (`push`) and by time passing (`poll`). Never decides what digits mean.
    """

    def __init__(self, *, window: float = REORDER_WINDOW, pause: float = GROUP_PAUSE) -> None:
        self._window = window
        self._pause = pause
        self._held: list[_Held] = []
        self._group = ""
        self._last_arrival = 0.0

    def push(self, digit: str, occurred_at: str | None, sequence: int | None, now: float) -> list[DigitEvent]:
        """Take a digit as it arrived; return what is due."""
        events = self.poll(now)  # whatever ended before this key was pressed
        held = _Held(digit, _time(occurred_at), sequence, now, now + self._window)
        place = len(self._held)
        while place > 0 and held.precedes(self._held[place - 1]):
            place -= 1
        if place < len(self._held):  # nobody waits for a later arrival longer than for their own
            held.deadline = self._held[place].deadline
        self._held.insert(place, held)
        if len(self._held) > MAX_HELD:
            events += self._release(self._held.pop(0))
        return events + self.poll(now)

    def next_deadline(self) -> float | None:
        """Return when `poll` next has something to say."""
        if self._held:
            return self._held[0].deadline
        return self._last_arrival + self._pause if self._group else None

    def poll(self, now: float) -> list[DigitEvent]:
        """Return the digits and groups due by `now`."""
        events: list[DigitEvent] = []
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            events += self._release(self._held.pop(0)) if self._held else self._end_group()
        return events

    def flush(self) -> list[DigitEvent]:
        """Return all that is held, as at the end of the call."""
        events: list[DigitEvent] = []
        while self._held:
            events += self._release(self._held.pop(0))
        return events + self._end_group()

    def _release(self, held: _Held) -> list[DigitEvent]:
        self._group += held.digit
        self._last_arrival = max(self._last_arrival, held.arrived)
        events: list[DigitEvent] = [KeyPressed(held.digit)]
        if held.digit == GROUP_END or len(self._group) >= MAX_GROUP:
            events += self._end_group()
        return events

    def _end_group(self) -> list[DigitEvent]:
        digits, self._group = self._group, ""
        return [KeysEntered(digits)] if digits else []


def _time(occurred_at: str | None) -> datetime | None:
    """Return an RFC 3339 time; None if it is not one: it is only a hint."""
    if occurred_at is None:
        return None
    try:
        time = datetime.fromisoformat(occurred_at)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)

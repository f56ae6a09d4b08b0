"""When a lost agent session is replaced, and when that is given up."""

# An agent session that lived this long was sound: its loss is a new trouble, not the old one again. Counted from
# `ready`, or a server that accepts and closes would be dialled without pause for as long as the caller stays.
_STEADY = 10.0


class Redial:
    """Counts losses in a row. Driven by the bridge with sessions that are ready and sessions that are lost."""

    def __init__(self, waits: tuple[float, ...]) -> None:
        """`waits`: seconds before each attempt."""
        self._waits = waits
        self._losses = 0
        self._ready_at: float | None = None

    def ready(self, now: float) -> None:
        self._ready_at = now

    def steady(self, now: float) -> bool:
        """Whether the present session has lived long enough to be worth replacing before its end."""
        return self._ready_at is not None and now - self._ready_at >= _STEADY

    def lost(self, now: float) -> float | None:
        """Return after how many seconds the next attempt is to be made; None if there have been enough."""
        if self.steady(now):
            self._losses = 0
        self._ready_at = None
        if self._losses >= len(self._waits):
            return None
        self._losses += 1
        return self._waits[self._losses - 1]

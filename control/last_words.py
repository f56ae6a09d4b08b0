"""Waiting until what is being said was heard: before a call ends, before it is handed to somebody else.

While anybody waits, the caller cannot interrupt and nobody begins a new turn.
"""


class LastWords:
    """Who waits for the end of playout, and until when.

    Driven by the bridge: who waits (`wait_for`, `end_with`), that all was heard (`heard`), time passing (`overdue`).
    Never looks at playout itself.
    """

    def __init__(self, limit: float) -> None:
        """`limit`: seconds after which a wait is over all the same."""
        self._limit = limit
        self._tickets: dict[str, float] = {}
        self._ends_at: float | None = None
        self.reason: str | None = None
        """Why the call will end after its last words, where that is what is waited for."""
        self.locked = False
        """Whether anybody waits."""
        self.response_due = False
        """Whether a response was asked for before the wait and has not begun: it is one of the last words."""

    def end_with(self, reason: str, now: float) -> None:
        """The call is to end for `reason`; the first reason, and its time, stand."""
        if self.reason is None:
            self.reason, self._ends_at = reason, now + self._limit
            self.locked = True

    def wait_for(self, ticket: str, now: float) -> None:
        self._tickets.setdefault(ticket, now + self._limit)
        self.locked = True

    def cancel(self, ticket: str) -> None:
        self._tickets.pop(ticket, None)
        self._unlock()

    def heard(self) -> list[str]:
        """All was heard: return the tickets that waited for it."""
        tickets = list(self._tickets)
        self._tickets.clear()
        self._unlock()
        return tickets

    def overdue(self, now: float) -> list[str]:
        """Return the tickets that have waited long enough."""
        tickets = [ticket for ticket, until in self._tickets.items() if until <= now]
        for ticket in tickets:
            del self._tickets[ticket]
        self._unlock()
        return tickets

    def end_overdue(self, now: float) -> bool:
        """Whether the call is to end although something is still being said."""
        return self._ends_at is not None and self._ends_at <= now

    def next_deadline(self) -> float | None:
        if not self.locked:
            return None
        ends_at = [] if self._ends_at is None else [self._ends_at]
        return min([*self._tickets.values(), *ends_at])

    def _unlock(self) -> None:
        self.locked = bool(self._tickets) or self.reason is not None
        if not self.locked:
            self.response_due = False

"""What will happen later in a server-side session, in order: one heap of times and actions."""

import heapq
from collections.abc import Callable

Action = Callable[[float], None]
"""Called with the time it was due, which may lie a little in the past: what it plans counts from there."""


class Agenda:
    """Driven by its session: `at` plans, `next` says when, `step` lets the first due action happen."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Action]] = []
        self._order = 0

    def at(self, when: float, action: Action) -> None:
        self._order += 1
        heapq.heappush(self._entries, (when, self._order, action))

    def next(self) -> float | None:
        return self._entries[0][0] if self._entries else None

    def step(self, now: float) -> bool:
        """Let one thing happen that is due; return whether there was one."""
        if not self._entries or self._entries[0][0] > now:
            return False
        when, _, action = heapq.heappop(self._entries)
        action(when)
        return True

    def clear(self) -> None:
        self._entries.clear()

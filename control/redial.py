"""When a lost agent session is replaced, by whom, and when that is given up.

While there is another provider, nobody waits for one that fails: a session that was sound is asked for once more where
it was, everything else is had from the next. The last one is asked again and again, with pauses.
"""

from dataclasses import dataclass

# An agent session that lived this long was sound: its loss is a new trouble, not the old one again. Counted from
# `ready`, or a server that accepts and closes would be dialled without pause for as long as the caller stays.
_STEADY = 10.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """Open another session."""

    wait: float
    """Seconds before it."""
    provider: int
    """The nth of the call's, from 0."""


class Redial:
    """Counts losses in a row. Driven by the bridge with sessions that are ready and sessions that are lost."""

    def __init__(self, waits: tuple[float, ...], providers: int = 1) -> None:
        """
        Args:
            waits: seconds before each attempt at the last provider.
            providers: how many there are.
        """
        self._waits = waits
        self._providers = providers
        self.provider = 0
        """With whom sessions are opened now."""
        self._losses = 0
        self._ready_at: float | None = None

    def ready(self, now: float) -> None:
        self._ready_at = now

    def steady(self, now: float) -> bool:
        """Whether the present session has lived long enough to be worth replacing before its end."""
        return self._ready_at is not None and now - self._ready_at >= _STEADY

    def lost(self, now: float, *, retry: bool) -> Attempt | None:
        """Return how the next session is to be had; None if there have been enough attempts.

        Args:
            retry: whether the same provider may do better when it is asked again.
        """
        steady = self.steady(now)
        self._ready_at = None
        if steady:
            self._losses = 0
        if self.provider + 1 < self._providers:
            if retry and steady:
                return Attempt(0.0, self.provider)
            self.provider += 1
            self._losses = 0
            return Attempt(0.0, self.provider)
        if not retry or self._losses >= len(self._waits):
            return None
        self._losses += 1
        return Attempt(self._waits[self._losses - 1], self.provider)

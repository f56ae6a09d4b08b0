"""The rule that ends a link whose peer does not read: every write is bounded.

Sends never block, so a peer that stops reading shows itself only in the bytes that pile up. It is stalled when
they stay above the high-water mark for `patience`, or pass the ceiling. Real and in-memory links share it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBounds:
    """How far a peer may fall behind."""

    high_water: int = 64 * 1024
    """Bytes; above it the link is paused: about 5 s of a call's audio."""
    low_water: int = 16 * 1024
    """Bytes; below it a paused link goes on."""
    ceiling: int = 256 * 1024
    """Bytes; nobody who reads at all is ever this far behind."""
    patience: float = 2.0
    """Seconds above the high-water mark: longer than any hiccup of a network that can still carry a call."""


class StallWatch:
    """Watches one link's backlog.

    Driven by its link: `pause` and `resume` at the water marks, `grown` after a write while paused. Calls
    `stalled` once, from the timer or from within `grown`.
    """

    __slots__ = ("_bounds", "_stalled", "_timer", "paused")

    def __init__(self, bounds: WriteBounds, stalled: Callable[[], None]) -> None:
        self.paused = False
        self._bounds = bounds
        self._stalled = stalled
        self._timer: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        self.paused = True
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._bounds.patience, self._give_up)

    def resume(self) -> None:
        self.paused = False
        self.stop()

    def grown(self, buffered: int) -> None:
        if buffered > self._bounds.ceiling and self._timer is not None:
            self._give_up()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self.stop()
        self._stalled()

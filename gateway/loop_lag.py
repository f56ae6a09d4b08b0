"""How late the loop comes to what it has promised: the figure by which new calls are refused before old ones suffer.

CPU use says little: one core at its limit still reads as half of a machine. A loop that is late is late for every
frame of every call.
"""

import asyncio
from collections import deque

# Seconds between looks, and how many of them count: a garbage collection is no overload, seconds of lateness are.
PERIOD = 0.25
SAMPLES = 20
# Half of the playout lead (0.2 s): beyond it a further stall is heard.
LIMIT = 0.1


class LoopLag:
    """Driven by its own timer, from `start` to `stop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._wait()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def overloaded(self) -> str | None:
        """Say so if the loop was late at least half of the time lately; None if it was not."""
        late = [lag for lag in self._samples if lag > LIMIT]
        if len(late) * 2 < SAMPLES:
            return None
        return f"overloaded: the event loop is {max(late) * 1000:.0f} ms late"

    def _wait(self) -> None:
        due = self._loop.time() + PERIOD
        self._timer = self._loop.call_at(due, self._look, due)

    def _look(self, due: float) -> None:
        self._samples.append(max(0.0, self._loop.time() - due))
        self._wait()

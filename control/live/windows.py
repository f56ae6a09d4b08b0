"""How often somebody may ask: counts in windows of fixed length. Pure: time is an argument."""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to somebody."""

    allowed: bool
    limit: int
    remaining: int
    reset_after: float
    """Seconds until the window is over."""


@dataclass(slots=True)
class _Window:
    began: float
    used: int = 0


class Windows:
    """Counts per name; the names least recently seen are forgotten beyond `most`."""

    def __init__(self, *, seconds: float, most: int = 10_000) -> None:
        self._seconds = seconds
        self._most = most
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def use(self, name: str, limit: int, now: float) -> Allowance:
        """Count one; not counted where nothing is left of what they may."""
        window = self._window(name, now)
        allowed = window.used < limit
        if allowed:
            window.used += 1
        return self._allowance(window, limit, allowed, now)

    def look(self, name: str, limit: int, now: float) -> Allowance:
        """Count nothing."""
        window = self._windows.get(name)
        if window is None or now - window.began >= self._seconds:
            return Allowance(limit > 0, limit, limit, self._seconds)
        return self._allowance(window, limit, window.used < limit, now)

    def _window(self, name: str, now: float) -> _Window:
        window = self._windows.get(name)
        if window is None or now - window.began >= self._seconds:
            window = self._windows[name] = _Window(now)
        self._windows.move_to_end(name)
        if len(self._windows) > self._most:
            self._windows.popitem(last=False)
        return window

    def _allowance(self, window: _Window, limit: int, allowed: bool, now: float) -> Allowance:
        left = max(0.0, window.began + self._seconds - now)
        return Allowance(allowed, limit, max(0, limit - window.used), left)

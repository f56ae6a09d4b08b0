"""How long callers are not heard while a stream is opened again, carrier by carrier: what a stream break costs."""

from collections import deque
from statistics import median

# As many of the latest as a median needs to be steady.
_KEPT = 200


class StreamGaps:
    """Driven by live calls: when a stream is gone (`down`) and when the next one carries audio (`up`)."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._gaps: dict[str, deque[float]] = {}

    def down(self, call_id: str, now: float) -> None:
        """The call has no stream any more; the first word of it counts."""
        self._since.setdefault(call_id, now)

    def up(self, call_id: str, carrier: str, now: float) -> None:
        """The call has a stream."""
        since = self._since.pop(call_id, None)
        if since is not None:
            self._gaps.setdefault(carrier, deque(maxlen=_KEPT)).append(now - since)

    def forget(self, call_id: str) -> None:
        """The call is over."""
        self._since.pop(call_id, None)

    def typical(self, carrier: str) -> float | None:
        """Return the median in seconds; None: no stream of this carrier was opened again yet."""
        gaps = self._gaps.get(carrier)
        return median(gaps) if gaps else None

"""How many attempts may go on at a time, in all and at one endpoint, so that a slow one holds up itself alone.

An endpoint that is full gets nothing new until half of its attempts are over: what is then claimed comes in handfuls
and not one by one.
"""

from collections import Counter


class DeliverySlots:
    """Counts attempts. Driven by its owner; knows neither time nor deliveries."""

    def __init__(self, total: int, per_endpoint: int) -> None:
        self._total = total
        self._per_endpoint = per_endpoint
        self._taken: Counter[str] = Counter()
        self._busy: set[str] = set()

    @property
    def busy(self) -> list[str]:
        """The endpoints that get nothing new for now."""
        return sorted(self._busy)

    def room(self) -> int:
        """How many may begin, even if all of them are for the one endpoint not busy that has the most already."""
        fullest = max((count for name, count in self._taken.items() if name not in self._busy), default=0)
        return min(self._total - self._taken.total(), self._per_endpoint - fullest)

    def take(self, endpoint: str) -> None:
        """An attempt begins."""
        self._taken[endpoint] += 1
        if self._taken[endpoint] >= self._per_endpoint:
            self._busy.add(endpoint)

    def leave(self, endpoint: str) -> None:
        """An attempt has ended."""
        self._taken[endpoint] -= 1
        if self._taken[endpoint] <= self._per_endpoint // 2:
            self._busy.discard(endpoint)
        if not self._taken[endpoint]:
            del self._taken[endpoint]

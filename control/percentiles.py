"""Percentiles of counted values, exact and the same on every database: the nearest rank (ISO 3534-1's order statistic).

The p-th percentile of n values is the smallest of them that at least p percent do not exceed. It is always one of
the values, so that what is told is something that happened.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How values are spread; of no values everything is null."""

    count: int = 0
    average: float | None = None
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None
    highest: int | None = None


def distribution(counted: Iterable[tuple[int, int]]) -> Distribution:
    """Return the distribution of values, given each with how often it occurs, in any order."""
    ordered = sorted(counted)
    count = sum(times for _, times in ordered)
    if not count:
        return Distribution()
    return Distribution(
        count=count,
        average=sum(value * times for value, times in ordered) / count,
        p50=_ranked(ordered, _rank(50, count)),
        p95=_ranked(ordered, _rank(95, count)),
        p99=_ranked(ordered, _rank(99, count)),
        highest=ordered[-1][0],
    )


def _rank(percent: int, count: int) -> int:
    """The place, from 1, of the smallest value that so many percent do not exceed."""
    return -(-percent * count // 100)


def _ranked(ordered: Iterable[tuple[int, int]], rank: int) -> int:
    for value, times in ordered:
        rank -= times
        if rank <= 0:
            return value
    raise AssertionError("a rank is not above the count")

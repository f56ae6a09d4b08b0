"""Local days and hours of moments in a database: the zone's offsets, as a table that SQL can look up.

Theory of operation. SQLite knows no time zones, and a PostgreSQL server has its own edition of their rules. So the
rules are read here, where the filters' are: between two changes of a zone's clock its offset is one number, and the
numbers of a range of time are few. Shifted by theirs, moments are local, and local days and hours are divisions.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, case, literal

from control.stores.columns import EPOCH, micros, micros_of

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
# Beyond these no rule is known, and the nearest offset stands.
_EARLIEST = EPOCH
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)


def local(
    moment: ColumnElement[datetime], zone: ZoneInfo, first: datetime, last: datetime
) -> ColumnElement[int]:
    """Return microseconds of local time since 1970, for moments from `first` to `last`."""
    shifts = offsets(zone, first.astimezone(UTC).date(), last.astimezone(UTC).date())
    utc = micros(moment)
    *changes, (_, final) = zip(
        [micros_of(end) for end, _ in shifts[1:]] + [0], [by for _, by in shifts], strict=True
    )
    if not changes:
        return utc + literal(final // _MICROSECOND)
    shift = case(*[(utc < end, by // _MICROSECOND) for end, by in changes], else_=final // _MICROSECOND)
    return utc + shift


def count_of(local_time: ColumnElement[int], unit: timedelta) -> ColumnElement[int]:
    """Return how many whole units have passed since 1970."""
    return local_time // literal(unit // _MICROSECOND)


def day_of(days: int) -> date:
    """Return the date so many days after 1970 began."""
    return (EPOCH + days * DAY).date()


@lru_cache(maxsize=256)
def offsets(zone: ZoneInfo, first: date, last: date) -> tuple[tuple[datetime, timedelta], ...]:
    """Return since when which offset from UTC holds, on these days of UTC and what lies between."""
    moment = min(max(_midnight(first), _EARLIEST), _LATEST)
    end = min(max(_midnight(last) + DAY, moment), _LATEST)
    found = [(moment, _offset(zone, moment))]
    while moment < end:
        # No clock is changed twice in a day.
        if _offset(zone, moment + DAY) != found[-1][1]:
            change = _change(zone, moment, moment + DAY)
            found.append((change, _offset(zone, change)))
        moment += DAY
    return tuple(found)


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """When the offset of the one moment stops to hold: the rules know whole seconds only."""
    old = _offset(zone, before)
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if _offset(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

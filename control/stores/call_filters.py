"""Which calls are meant: the filters of lists, summaries and statistics, the same everywhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, or_

from control.stores.tables import calls
from telephony.causes import CallStatus, Direction, Disposition

_UTC = ZoneInfo("UTC")
_FIRST_YEAR = 1970
_BEFORE_ALL = date(_FIRST_YEAR - 1, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilters:
    """All of these hold; None holds always."""

    agent_id: str | None = None
    status: CallStatus | None = None
    disposition: Disposition | None = None
    direction: Direction | None = None
    carrier: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    number: str | None = None
    """Either of the two."""
    from_date: date | None = None
    """The first day, in `timezone`, of the call's start."""
    to_date: date | None = None
    """The last day, inclusive."""
    timezone: ZoneInfo = _UTC
    search: str | None = None
    """Words of the transcript and the notes, in any order."""

    def started_between(self) -> tuple[datetime | None, datetime | None]:
        """Return the moment from which on calls must have begun, and the one before which."""
        return moments_of(self.from_date, self.to_date, self.timezone)

    def conditions(self, tenant_id: str) -> Iterator[ColumnElement[bool]]:
        """Return all but `search`, as conditions on `calls`."""
        yield from self._besides_number(tenant_id)
        if self.number is not None:
            yield or_(calls.c.from_number == self.number, calls.c.to_number == self.number)

    def alternatives(self, tenant_id: str) -> list[list[ColumnElement[bool]]]:
        """Return the same as one or more sets of conditions, of which a call fulfils one at most.

        No index has calls of either number in a list's order; each number has its own.
        """
        conditions = list(self._besides_number(tenant_id))
        if self.number is None:
            return [conditions]
        own, other = calls.c.from_number, calls.c.to_number
        return [
            [*conditions, own == self.number],
            [*conditions, other == self.number, own.is_distinct_from(self.number)],
        ]

    def _besides_number(self, tenant_id: str) -> Iterator[ColumnElement[bool]]:
        yield calls.c.tenant_id == tenant_id
        for name in ("agent_id", "status", "disposition", "direction", "carrier", "from_number", "to_number"):
            wanted = getattr(self, name)
            if wanted is not None:
                yield calls.c[name] == wanted
        yield from within(calls.c.started_at, self.started_between())


def within(
    moment: ColumnElement[datetime], bounds: tuple[datetime | None, datetime | None]
) -> Iterator[ColumnElement[bool]]:
    """Return that a moment is not before the first bound, and before the second; None: there is no bound."""
    first, end = bounds
    if first is not None:
        yield moment >= first
    if end is not None:
        yield moment < end


def moments_of(
    from_date: date | None, to_date: date | None, timezone: ZoneInfo
) -> tuple[datetime | None, datetime | None]:
    """Return the moment at which these days begin, and the one at which they are over; None: there is no bound."""
    first = end = None
    # Beyond these years nothing is left out, and no zone's offset fits the calendar.
    if from_date is not None and from_date.year >= _FIRST_YEAR:
        first = midnight(from_date, timezone)
    if to_date is not None and to_date.year < MAXYEAR:
        end = midnight(max(to_date, _BEFORE_ALL) + timedelta(days=1), timezone)
    return first, end


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return when a day begins in a zone.

    Where clocks are put forward at midnight the day begins when they are (PEP 495: the earlier offset, `fold` 0,
    names that very moment); where they are put back over midnight, at the first of the two.
    """
    return datetime.combine(day, time(), zone).astimezone(UTC)

"""Pages of calls: which are meant, in which order, and by which way the database gets there soonest.

Theory of operation. A plain list is read off the index of its filter. A search has two ways. Of a frequent word the
last calls are soon found by looking at one call after the other, from the newest on; of a rare one by the index of
words, which knows all its calls but not their order. SQLite's index of words knows both. PostgreSQL must choose, and
chooses by a guess: of a word that nobody has said it guesses enough calls to look for them one after the other,
through all there are. So the first way is gone here for a bounded stretch, and the second where that was not enough.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select

from control.call_record import CallRecord
from control.stores.call_filters import CallFilters
from control.stores.call_rows import record_of
from control.stores.columns import EPOCH, Instant, Text
from control.stores.database import Database
from control.stores.keyset import Keyset, Page
from control.stores.search import Search, found_first
from control.stores.search import index as call_search
from control.stores.tables import calls

NEWEST = ("-started_at",)
INTAKE = "intake"
"""The order in which calls were taken: a search's."""

# Of calls looked at one after the other: some 20 ms. A word of every 200th call fills a page within them.
_STRETCH = 10_000

SORTABLE: dict[str, ColumnElement[Any]] = {
    **{
        name: calls.c[name]
        for name in (
            "started_at",
            "status",
            "direction",
            "carrier",
            "minutes_used",
            "call_cost",
            "llm_cost",
            "recording_cost",
            "transfer_cost",
            "total_cost",
            "turn_count",
            "barge_in_count",
            "tool_call_count",
        )
    },
    # Where there is none it comes before all others.
    **{
        name: func.coalesce(calls.c[name], literal("", Text()))
        for name in ("agent_id", "from_number", "to_number", "disposition")
    },
    **{name: func.coalesce(calls.c[name], literal(EPOCH, Instant())) for name in ("answered_at", "ended_at")},
    "duration_seconds": calls.c.duration_ms,
}
"""What a list may be sorted by."""


@dataclass(frozen=True, slots=True)
class CallPage:
    """A part of a list of calls, without their transcripts and latencies."""

    calls: tuple[CallRecord, ...]
    next_cursor: str | None
    """None: this was the last one."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A query that has the calls, but for the filters' conditions on calls themselves; and the order of its rows."""

    query: Select[Any]
    order: Keyset


class CallList:
    """Reads pages."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._search = Search(database)

    async def page(self, tenant_id: str, filters: CallFilters, page: Page) -> CallPage:
        """Return a page of the tenant's calls, newest first unless sorted otherwise; a search's by their intake.

        Raises:
            InvalidCursor, InvalidSort: what the page asks by.
        """
        found = CallPage((), None)
        async with self._database.read() as connection:
            for way in self._ways(tenant_id, filters, page):
                first, *others = (way.query.where(*each) for each in filters.alternatives(tenant_id))
                rows, cursor = await way.order.page(connection, first, page, *others)
                found = CallPage(tuple(record_of(row) for row in rows), cursor)
                # Only a page that is full may leave out what lies beyond the stretch.
                if cursor is not None:
                    break
        return found

    def _ways(self, tenant_id: str, filters: CallFilters, page: Page) -> Iterator[_Way]:
        """The ways to a page, the last of which has it for sure; none if nothing can be found."""
        if filters.search is None:
            yield _Way(select(calls), Keyset.of(page.sort or NEWEST, SORTABLE, calls.c.id))
            return
        sort = page.sort or (f"-{INTAKE}",)
        between = filters.started_between()
        holds = self._search.holds(filters.search, tenant_id, filters.agent_id, between)
        by_index = self._order(sort, call_search.c.rowid)
        if holds is None:
            return
        indexed = select(calls).join(call_search, call_search.c.rowid == calls.c.id).where(holds)
        if not self._database.postgresql:
            yield _Way(found_first(indexed), by_index)
            return
        narrow = None not in between
        if by_index.names[0].removeprefix("-") == INTAKE and not narrow:
            yield _Way(indexed.where(_within_a_stretch(by_index, page)), by_index)
        found = select(call_search.c.rowid).where(holds).cte("found").prefix_with("MATERIALIZED")
        yield _Way(select(calls).join(found, found.c.rowid == calls.c.id), self._order(sort, found.c.rowid))

    def _order(self, sort: tuple[str, ...], intake: ColumnElement[int]) -> Keyset:
        # Calls have numbers in the order of their beginnings, but for those that began in the same moment on two
        # machines: no sorting of all that were found.
        return Keyset.of(sort, SORTABLE | {INTAKE: intake}, intake)


def _within_a_stretch(order: Keyset, page: Page) -> ColumnElement[bool]:
    """No further than so many calls from where the page begins."""
    number = call_search.c.rowid
    down = order.descending[0]
    begin = select(func.max(number) if down else func.min(number))
    if page.after is not None:
        begin = begin.where(order.after(page.after))
    start = begin.scalar_subquery()
    return number > start - _STRETCH if down else number < start + _STRETCH

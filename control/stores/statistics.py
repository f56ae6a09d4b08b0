"""Sums, rates and percentiles over the calls that a filter leaves: counted by the database, at the time of asking.

Nothing is summed up beforehand, so every filter of a list is one of a statistic, and a call counts the moment it is
saved. Days, months and hours are those of the filters' time zone. Money is added exactly and per currency.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import (
    CTE,
    ColumnElement,
    CompoundSelect,
    FromClause,
    RowMapping,
    Select,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from control.call_record import LIVE
from control.percentiles import Distribution, distribution
from control.stores.call_filters import CallFilters
from control.stores.columns import Text
from control.stores.database import Database
from control.stores.errors import RangeTooLong
from control.stores.local_time import DAY, HOUR, count_of, day_of, local
from control.stores.search import Search, found_first
from control.stores.search import index as call_search
from control.stores.tables import calls, tool_logs, turns
from control.tool_log import ToolOutcome
from telephony.causes import CallStatus, Direction, Disposition

MOST_DAYS = 1100
"""Of a list of days: three years."""
MOST_MONTHS = 240
MOST_AGENTS = 1000
"""Of a page of a list of agents."""

STAGES = tuple(column.name for column in turns.columns if column.name.endswith("_ms"))

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What calls cost, in one currency."""

    calls: int = 0
    call_cost: Decimal = Decimal(0)
    llm_cost: Decimal = Decimal(0)
    llm_discount: Decimal = Decimal(0)
    recording_cost: Decimal = Decimal(0)
    transfer_cost: Decimal = Decimal(0)
    total_cost: Decimal = Decimal(0)

    def plus(self, other: "Costs") -> "Costs":
        return Costs(
            **{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Costs)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What calls come to."""

    total_calls: int = 0
    live_calls: int = 0
    answered_calls: int = 0
    """Those that were answered, by whomever: a machine, too."""
    completed_calls: int = 0
    failed_calls: int = 0
    busy_calls: int = 0
    no_answer_calls: int = 0
    canceled_calls: int = 0
    rejected_calls: int = 0
    transferred_calls: int = 0
    voicemail_calls: int = 0
    inbound_calls: int = 0
    outbound_calls: int = 0
    recorded_calls: int = 0
    disturbed_calls: int = 0
    """Those in which a media or agent socket was unreachable at some time."""
    duration_ms: int = 0
    minutes_used: Decimal = Decimal(0)
    turn_count: int = 0
    barge_in_count: int = 0
    tool_call_count: int = 0
    transfer_duration_seconds: int = 0
    costs: Mapping[str, Costs] = field(default_factory=dict)
    """By currency."""

    def plus(self, other: "Totals") -> "Totals":
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        costs = dict(self.costs)
        for currency, more in other.costs.items():
            costs[currency] = costs.get(currency, Costs()).plus(more)
        return Totals(**sums, costs=costs)


_SUMMED = tuple(each.name for each in fields(Totals) if each.name != "costs")
_MONEY = tuple(each.name for each in fields(Costs) if each.name != "calls")

_COUNTED: Mapping[str, ColumnElement[bool]] = {
    "live_calls": calls.c.status.in_(sorted(LIVE)),
    "answered_calls": calls.c.answered_at.is_not(None),
    "completed_calls": calls.c.status == CallStatus.COMPLETED,
    "failed_calls": calls.c.status == CallStatus.FAILED,
    "busy_calls": calls.c.status == CallStatus.BUSY,
    "no_answer_calls": calls.c.status == CallStatus.NO_ANSWER,
    "canceled_calls": calls.c.status == CallStatus.CANCELED,
    "rejected_calls": calls.c.status == CallStatus.REJECTED,
    "transferred_calls": calls.c.disposition == Disposition.TRANSFERRED,
    "voicemail_calls": calls.c.disposition == Disposition.VOICEMAIL,
    "inbound_calls": calls.c.direction == Direction.INBOUND,
    "outbound_calls": calls.c.direction == Direction.OUTBOUND,
    "recorded_calls": calls.c.has_recording.is_(True),
    "disturbed_calls": calls.c.ws_unavailable.is_(True),
}
_ADDED = tuple(name for name in _SUMMED if name != "total_calls" and name not in _COUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How calls ended, in the words of one of their fields."""

    calls: int = 0
    duration_ms: int = 0

    def plus(self, other: "Outcome") -> "Outcome":
        return Outcome(calls=self.calls + other.calls, duration_ms=self.duration_ms + other.duration_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How calls ended, field by field, by its values; None where a call has none."""

    disposition: Mapping[str | None, Outcome]
    status: Mapping[str | None, Outcome]
    ended_reason: Mapping[str | None, Outcome]
    hangup_cause: Mapping[str | None, Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """How often one tool was called, and how that went."""

    name: str
    outcomes: Mapping[str, int]
    duration: Distribution
    """Milliseconds, of those that came to an end."""

    @property
    def calls(self) -> int:
        return sum(self.outcomes.values())


class Statistics:
    """Asks the database. Driven by the API and the command line."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._search = Search(database)

    async def totals(self, tenant_id: str, filters: CallFilters) -> Totals:
        """Return what all of the calls come to."""
        found = await self._grouped(tenant_id, filters, literal(1), lambda _: None)
        return found.get(None, Totals())

    async def by_day(self, tenant_id: str, filters: CallFilters) -> dict[date, Totals]:
        """Return each day from the first to the last: the filters', where they name them, or a call's.

        Raises:
            RangeTooLong: they are more than `MOST_DAYS`.
        """
        days = await self._days(tenant_id, filters, MOST_DAYS)
        span = _span(days, filters)
        if span is None:
            return {}
        _check(span, MOST_DAYS)
        first, last = span
        every = (first + timedelta(days=number) for number in range((last - first).days + 1))
        return {day: days.get(day, Totals()) for day in every}

    async def by_month(self, tenant_id: str, filters: CallFilters) -> dict[date, Totals]:
        """Return each month from the first to the last, as its first day.

        Raises:
            RangeTooLong: they are more than `MOST_MONTHS`.
        """
        most = MOST_MONTHS * 30
        days = await self._days(tenant_id, filters, most)
        span = _span(days, filters)
        if span is None:
            return {}
        _check(span, most)
        first, last = (day.year * 12 + day.month - 1 for day in span)
        months = {date(number // 12, number % 12 + 1, 1): Totals() for number in range(first, last + 1)}
        for day, totals in days.items():
            months[day.replace(day=1)] = months[day.replace(day=1)].plus(totals)
        return months

    async def by_hour(self, tenant_id: str, filters: CallFilters) -> dict[int, Totals]:
        """Return each hour of the day as clocks show it: all days' together."""
        found = await self._by_local(tenant_id, filters, HOUR, lambda hours: hours % 24)
        return {hour: found.get(hour, Totals()) for hour in range(24)}

    async def by_agent(
        self,
        tenant_id: str,
        filters: CallFilters,
        *,
        limit: int = MOST_AGENTS,
        after: tuple[int, str] | None = None,
    ) -> dict[str | None, Totals]:
        """Return so many agents', those with the most calls first; None: calls without an agent.

        Args:
            after: calls and name of the agent before them ("" where calls have none).
        """
        agent = func.coalesce(calls.c.agent_id, literal("", Text()))
        found = await self._grouped(tenant_id, filters, agent, lambda name: name or None)
        ranked = sorted((-totals.total_calls, name or "") for name, totals in found.items())
        if after is not None:
            ranked = ranked[bisect_right(ranked, (-after[0], after[1])) :]
        return {name or None: found[name or None] for _, name in ranked[:limit]}

    async def outcomes(self, tenant_id: str, filters: CallFilters) -> Outcomes:
        """Return how the calls ended."""
        names = tuple(each.name for each in fields(Outcomes))
        columns = [calls.c[name] for name in names]
        folded: dict[str, dict[str | None, Outcome]] = {name: {} for name in names}
        query = self._chosen(tenant_id, filters, *columns, func.count(), func.sum(calls.c.duration_ms))
        if query is not None:
            async with self._database.read() as connection:
                rows = (await connection.execute(query.group_by(*columns))).all()
            for *values, count, duration_ms in rows:
                for name, value in zip(names, values, strict=True):
                    more = Outcome(calls=count, duration_ms=int(duration_ms))
                    folded[name][value] = folded[name].get(value, Outcome()).plus(more)
        return Outcomes(**folded)

    async def latency(self, tenant_id: str, filters: CallFilters) -> dict[str, Distribution]:
        """Return the distribution of each stage's milliseconds over the turns of ended calls."""
        counted: dict[str, list[tuple[int, int]]] = {stage: [] for stage in STAGES}
        stages = [turns.c[stage] for stage in STAGES]
        query = self._chosen(tenant_id, filters, *stages, beside=turns, by=turns.c.call == calls.c.id)
        if query is not None:
            # The turns are looked up once, and counted stage by stage.
            async with self._database.read() as connection:
                for stage, ms, count in await connection.execute(_counts(query.cte("chosen"))):
                    counted[stage].append((ms, count))
        return {stage: distribution(values) for stage, values in counted.items()}

    async def tools(self, tenant_id: str, filters: CallFilters) -> list[ToolUse]:
        """Return each tool's use in the calls, by name."""
        columns = (tool_logs.c.name, tool_logs.c.outcome, tool_logs.c.duration_ms)
        by = (tool_logs.c.call_id == calls.c.call_id) & (tool_logs.c.tenant_id == calls.c.tenant_id)
        query = self._chosen(tenant_id, filters, *columns, func.count(), beside=tool_logs, by=by)
        if query is None:
            return []
        async with self._database.read() as connection:
            rows = (await connection.execute(query.group_by(*columns))).all()
        return _tool_uses(rows)

    async def _days(self, tenant_id: str, filters: CallFilters, most: int) -> dict[date, Totals]:
        """The days that have calls; nothing is asked for if too many are meant."""
        if filters.from_date is not None and filters.to_date is not None:
            _check((filters.from_date, filters.to_date), most)
        return await self._by_local(tenant_id, filters, DAY, day_of)

    async def _by_local(
        self, tenant_id: str, filters: CallFilters, unit: timedelta, key: Callable[[int], K]
    ) -> dict[K, Totals]:
        """Totals by units of local time, which are numbered from 1970."""
        bounds = await self._bounds(tenant_id, filters)
        if bounds is None:
            return {}
        number = count_of(local(calls.c.started_at, filters.timezone, *bounds), unit)
        return await self._grouped(tenant_id, filters, number, key)

    async def _bounds(self, tenant_id: str, filters: CallFilters) -> tuple[datetime, datetime] | None:
        """A range in which all of the calls began; None if there are none."""
        ends = select(func.min(calls.c.started_at)), select(func.max(calls.c.started_at))
        mine = calls.c.tenant_id == tenant_id
        async with self._database.read() as connection:
            first, last = [await connection.scalar(end.where(mine)) for end in ends]
        if first is None or last is None:
            return None
        begin, end = filters.started_between()
        return (max(first, begin) if begin else first), (min(last, end) if end else last)

    async def _grouped(
        self, tenant_id: str, filters: CallFilters, group: ColumnElement[Any], key: Callable[[Any], K]
    ) -> dict[K, Totals]:
        columns = [group.label("grouped"), calls.c.currency, func.count().label("total_calls")]
        columns += [func.count().filter(condition).label(name) for name, condition in _COUNTED.items()]
        columns += [func.sum(calls.c[name]).label(name) for name in (*_ADDED, *_MONEY)]
        query = self._chosen(tenant_id, filters, *columns)
        found: dict[K, Totals] = {}
        if query is None:
            return found
        async with self._database.read() as connection:
            rows = (await connection.execute(query.group_by("grouped", calls.c.currency))).mappings().all()
        for row in rows:
            place = key(row["grouped"])
            found[place] = found.get(place, Totals()).plus(_totals_of(row))
        return found

    def _chosen(
        self,
        tenant_id: str,
        filters: CallFilters,
        *columns: ColumnElement[Any],
        beside: FromClause | None = None,
        by: ColumnElement[bool] | None = None,
    ) -> Select[Any] | None:
        """A query of these columns over the calls that the filters leave; None if they leave none."""
        source: FromClause = calls
        conditions = list(filters.conditions(tenant_id))
        if filters.search is not None:
            holds = self._search.holds(filters.search, tenant_id, filters.agent_id, filters.started_between())
            if holds is None:
                return None
            source = source.join(call_search, call_search.c.rowid == calls.c.id)
            conditions.append(holds)
        if beside is not None:
            source = source.join(beside, by)
        query = select(*columns).select_from(source).where(*conditions)
        return query if filters.search is None else found_first(query)


def _counts(chosen: CTE) -> CompoundSelect[Any]:
    """How often each stage took which time."""

    def of(stage: str) -> Select[Any]:
        took = chosen.c[stage]
        named: ColumnElement[str] = literal_column(f"'{stage}'").label("stage")
        return select(named, took.label("ms"), func.count()).where(took.is_not(None)).group_by(took)

    return union_all(*map(of, STAGES))


def _totals_of(row: RowMapping) -> Totals:
    # A sum of integers is a decimal to PostgreSQL.
    sums: dict[str, Any] = {name: int(row[name]) for name in _SUMMED if name != "minutes_used"}
    money = {name: row[name] for name in _MONEY}
    costs = {row["currency"]: Costs(calls=row["total_calls"], **money)}
    return Totals(**sums, minutes_used=row["minutes_used"], costs=costs)


def _tool_uses(rows: Iterable[Any]) -> list[ToolUse]:
    outcomes: dict[str, dict[str, int]] = {}
    durations: dict[str, list[tuple[int, int]]] = {}
    for name, outcome, duration_ms, count in rows:
        mine = outcomes.setdefault(name, {})
        mine[outcome] = mine.get(outcome, 0) + count
        ended = durations.setdefault(name, [])
        if outcome != ToolOutcome.ABANDONED:
            ended.append((duration_ms, count))
    return [
        ToolUse(name=name, outcomes=outcomes[name], duration=distribution(durations[name]))
        for name in sorted(outcomes)
    ]


def _span(days: Mapping[date, Totals], filters: CallFilters) -> tuple[date, date] | None:
    """The first and the last day of a list; None if it has none."""
    first = filters.from_date or min(days, default=None)
    last = filters.to_date or max(days, default=None)
    return None if first is None or last is None or last < first else (first, last)


def _check(span: tuple[date, date], most: int) -> None:
    first, last = span
    if (last - first).days >= most:
        raise RangeTooLong(most)

"""The runs of tools: kept once with the events of their ends, listed by each filter, counted as they were."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from control.call_record import CallRecord, EventRecord
from control.stores.errors import InvalidCursor, InvalidSort
from control.stores.keyset import Page
from control.stores.store import Store
from control.stores.tool_logs import ToolFigures, ToolLogFilters
from control.tool_log import ToolLog, ToolOutcome
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call, event

pytestmark = pytest.mark.sockets


def ran(record: CallRecord, number: int, *, at: datetime = NOON, **facts: Any) -> EventRecord:
    log = ToolLog(
        tool_log_id=f"tlog_{record.call_id}_{number}",
        tool_call_id=f"tc_{number}",
        **{"name": "weather", "outcome": ToolOutcome.SUCCESS, **facts},
    )
    return event(record, number, name="tool.completed", occurred_at=at, tool_log=log)


async def ids(store: Store, tenant: str = "default", **filters: Any) -> list[str]:
    page = await store.tool_logs.page(tenant, ToolLogFilters(**filters), Page())
    return [each.log.tool_call_id for each in page.logs]


def test_a_run_comes_back_as_it_was_kept(stored: RunWithStore) -> None:
    record = call(agent_id="agent_1")
    happened = ran(
        record,
        1,
        tool_id="tool_1",
        outcome=ToolOutcome.ERROR,
        arguments={"city": "Oslo", "odd": "\x00\ud800"},
        result={"error": ["the tool answered with an error"]},
        status_code=503,
        error="HTTP 503",
        attempts=3,
        duration_ms=1234,
    )

    async def scenario(store: Store) -> None:
        await store.save_call(record, [happened])
        (found,) = (await store.tool_logs.page("default", ToolLogFilters(), Page())).logs
        assert happened.tool_log is not None
        assert found.log == replace(happened.tool_log, arguments={"city": "Oslo", "odd": "\ufffd\ufffd"})
        assert (found.call_id, found.agent_id, found.created_at) == (record.call_id, "agent_1", NOON)
        assert await store.tool_logs.get("default", found.log.tool_log_id) == found

    stored(scenario)


def test_a_save_that_is_repeated_keeps_a_run_once(stored: RunWithStore) -> None:
    record = call()
    first, second = ran(record, 1), ran(record, 2)

    async def scenario(store: Store) -> None:
        await asyncio.gather(*[store.save_call(record, [first]) for _ in range(4)])
        await store.save_call(record, [first, second])
        assert sorted(await ids(store)) == ["tc_1", "tc_2"]

    stored(scenario)


def test_the_timeline_does_not_show_what_the_log_keeps(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        await store.save_call(record, [ran(record, 1, arguments={"city": "Oslo"})])
        (told,) = await store.events("default", record.call_id)
        assert told.event.data == {}
        assert told.event.tool_log is None

    stored(scenario)


def test_runs_are_listed_by_each_filter_and_by_all(stored: RunWithStore) -> None:
    one, other = call(agent_id="agent_1"), call(agent_id="agent_2")

    async def scenario(store: Store) -> None:
        await store.save_call(one, [ran(one, 1), ran(one, 2, name="order", outcome=ToolOutcome.TIMEOUT)])
        await store.save_call(other, [ran(other, 3, outcome=ToolOutcome.TIMEOUT)])
        assert sorted(await ids(store, agent_id="agent_1")) == ["tc_1", "tc_2"]
        assert await ids(store, call_id=other.call_id) == ["tc_3"]
        assert await ids(store, name="order") == ["tc_2"]
        assert sorted(await ids(store, outcome=ToolOutcome.TIMEOUT)) == ["tc_2", "tc_3"]
        assert await ids(store, agent_id="agent_2", outcome=ToolOutcome.SUCCESS) == []

    stored(scenario)


def test_a_tool_is_found_by_its_id_under_every_name_it_had(stored: RunWithStore) -> None:
    record, theirs = call(), call(tenant_id="other")

    async def scenario(store: Store) -> None:
        renamed = [ran(record, 1, tool_id="tool_1"), ran(record, 2, tool_id="tool_1", name="forecast")]
        await store.save_call(record, [*renamed, ran(record, 3, tool_id="tool_2"), ran(record, 4)])
        await store.save_call(theirs, [ran(theirs, 5, tool_id="tool_1")])
        assert sorted(await ids(store, tool_id="tool_1")) == ["tc_1", "tc_2"]
        figures = await store.tool_logs.figures("default", ToolLogFilters(tool_id="tool_1"))
        assert [(each.name, each.calls) for each in figures] == [("forecast", 1), ("weather", 1)]

    stored(scenario)


def test_days_are_those_of_the_zone(stored: RunWithStore) -> None:
    record = call()
    # 23:30 UTC on the 2nd of March is half past midnight of the 3rd in Berlin.
    late = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)

    async def scenario(store: Store) -> None:
        await store.save_call(record, [ran(record, 1), ran(record, 2, at=late)])
        second, third = date(2026, 3, 2), date(2026, 3, 3)
        assert sorted(await ids(store, from_date=second, to_date=second)) == ["tc_1", "tc_2"]
        berlin = ZoneInfo("Europe/Berlin")
        assert await ids(store, to_date=second, timezone=berlin) == ["tc_1"]
        assert await ids(store, from_date=third, timezone=berlin) == ["tc_2"]

    stored(scenario)


def test_pages_go_on_where_they_ended_though_runs_are_added(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        for number in range(1, 6):
            await store.save_call(record, [ran(record, number, at=NOON + timedelta(seconds=number))])
        first = await store.tool_logs.page("default", ToolLogFilters(), Page(limit=2))
        await store.save_call(record, [ran(record, 6, at=NOON + timedelta(seconds=6))])
        second = await store.tool_logs.page(
            "default", ToolLogFilters(), Page(limit=3, after=first.next_cursor)
        )
        told = [each.log.tool_call_id for page in (first, second) for each in page.logs]
        assert told == ["tc_5", "tc_4", "tc_3", "tc_2", "tc_1"]
        assert second.next_cursor is None
        by_length = Page(sort=("duration_ms", "-name"))
        assert len((await store.tool_logs.page("default", ToolLogFilters(), by_length)).logs) == 6
        with pytest.raises(InvalidSort):
            await store.tool_logs.page("default", ToolLogFilters(), Page(sort=("arguments",)))
        with pytest.raises(InvalidCursor):
            await store.tool_logs.page("default", ToolLogFilters(), Page(after="nonsense"))

    stored(scenario)


def test_tools_are_counted_and_their_durations_ranked(stored: RunWithStore) -> None:
    record = call()
    # Of the durations 1..20 the nearest rank of 50 % is the 10th, of 95 % the 19th.
    lasted = [ran(record, number, duration_ms=number) for number in range(1, 21)]
    wrong = [
        ran(record, 21, name="order", outcome=ToolOutcome.ERROR, duration_ms=7),
        ran(record, 22, name="order", outcome=ToolOutcome.TIMEOUT, duration_ms=10_000),
        ran(record, 23, name="order", outcome=ToolOutcome.ABANDONED, duration_ms=99_999),
        ran(record, 24, name="wait", outcome=ToolOutcome.ABANDONED, duration_ms=5),
    ]

    async def scenario(store: Store) -> None:
        await store.save_call(record, [*lasted, *wrong])
        order, wait, weather = await store.tool_logs.figures("default", ToolLogFilters())
        assert weather == ToolFigures(
            name="weather", calls=20, success=20, errors=0, timeouts=0, abandoned=0,
            duration_p50_ms=10, duration_p95_ms=19,
        )  # fmt: skip
        assert order == ToolFigures(
            name="order", calls=3, success=0, errors=1, timeouts=1, abandoned=1,
            duration_p50_ms=7, duration_p95_ms=10_000,
        )  # fmt: skip
        assert (wait.calls, wait.abandoned, wait.duration_p50_ms, wait.duration_p95_ms) == (1, 1, None, None)
        assert [
            each.name for each in await store.tool_logs.figures("default", ToolLogFilters(name="wait"))
        ] == ["wait"]
        assert await store.tool_logs.figures("default", ToolLogFilters(name="none")) == []

    stored(scenario)


def test_a_tenant_sees_its_own_runs_alone(stored: RunWithStore) -> None:
    theirs = call(tenant_id="other")

    async def scenario(store: Store) -> None:
        await store.save_call(theirs, [ran(theirs, 1)])
        (found,) = (await store.tool_logs.page("other", ToolLogFilters(), Page())).logs
        assert await ids(store) == []
        assert await store.tool_logs.get("default", found.log.tool_log_id) is None
        assert await store.tool_logs.figures("default", ToolLogFilters()) == []

    stored(scenario)


def test_an_erased_call_takes_its_runs_with_it(stored: RunWithStore) -> None:
    record = ended_call()

    async def scenario(store: Store) -> None:
        happened = ran(record, 1)
        await store.save_call(record, [happened])
        await store.delete_call("default", record.call_id, NOON)
        await store.save_call(record, [happened])
        assert await ids(store) == []

    stored(scenario)

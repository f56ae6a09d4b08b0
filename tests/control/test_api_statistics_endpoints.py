"""Statistics as users have them over HTTP: sums, days of their own time zone, files that programs read."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pyarrow import parquet

from control.api.call_table import COLUMNS
from control.api.shapes import CallSummary
from control.api.statistics_endpoints import MOST_EXPORTS
from control.call_record import CallRecord
from control.stores.keys import Scope
from control.stores.store import Store
from telephony.causes import CallStatus, Direction, Disposition
from tests.conftest import RunAsync
from tests.contracts.records import NOON, call, ended_call
from tests.served_api import Users, made, whole_api

pytestmark = pytest.mark.sockets

MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def with_calls(folder: Path, records: Sequence[CallRecord]) -> AsyncIterator[tuple[Users, Store]]:
    async with whole_api("telnyx", folder) as (house, users):
        store = house.gateway.house.store
        for record in records:
            await store.save_call(record)
        yield users, store


def some_calls() -> list[CallRecord]:
    """Two days' calls of two agents: three answered ones, a busy one, one that rings."""
    answered = [
        ended_call(
            agent_id="agent_a",
            started_at=NOON + number * MINUTE,
            rate_per_minute=Decimal("0.01"),
            llm_cost=Decimal("0.1"),
            recording_cost=Decimal("0.002"),
            llm_discount=Decimal("0.05"),
            turn_count=3,
            latency_turns=({"turn": 1, "llm_ttfb_ms": 300 + number},),
        )
        for number in range(3)
    ]
    # 22:30 in UTC is the next day in Berlin.
    busy = call(
        agent_id="agent_b",
        started_at=NOON.replace(hour=23, minute=30),
        status=CallStatus.BUSY,
        disposition=Disposition.BUSY,
        direction=Direction.OUTBOUND,
    )
    return [*answered, busy, call(started_at=NOON + timedelta(days=1))]


def test_a_summary_is_that_of_the_contract(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_calls(tmp_path, some_calls()) as (users, _):
            said = await users.ask("GET", "/v1/calls/summary?agent_id=agent_a&from_date=2026-03-01")
            assert said.status == 200
            costs = said.json.pop("costs")
            assert said.json == {
                "total_calls": 3,
                "completed_calls": 3,
                "failed_calls": 0,
                "answered_calls": 3,
                "no_answer_calls": 0,
                "total_duration_seconds": 180.0,
                "total_minutes_used": 3.0,
                "total_cost": 0.186,
                "total_recording_cost": 0.006,
                "total_llm_discount": 0.15,
                "currency": "USD",
                "filters": {"agent_id": "agent_a", "from_date": "2026-03-01"},
            }
            assert [(each["currency"], each["calls"], each["call_cost"]) for each in costs] == [
                ("USD", 3, 0.03)
            ]

    real(scenario())


def test_money_of_two_currencies_is_not_added_up(real: RunAsync, tmp_path: Path) -> None:
    both = [ended_call(llm_cost=Decimal(2)), ended_call(llm_cost=Decimal(3), currency="EUR")]

    async def scenario() -> None:
        async with with_calls(tmp_path, both) as (users, _):
            said = (await users.ask("GET", "/v1/calls/summary")).json
            assert (said["total_calls"], said["total_cost"], said["currency"]) == (2, None, None)
            assert [(each["currency"], each["total_cost"]) for each in said["costs"]] == [
                ("EUR", 3.0),
                ("USD", 2.0),
            ]

    real(scenario())


def test_of_no_calls_sums_are_zero_and_rates_unknown(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_calls(tmp_path, ()) as (users, _):
            said = (await users.ask("GET", "/v1/stats/overview")).json
            assert (said["total_calls"], said["total_cost"], said["total_minutes_used"]) == (0, 0.0, 0.0)
            assert said["answer_rate"] is said["average_duration_seconds"] is said["currency"] is None
            for part in ("daily", "monthly", "agents", "tools"):
                assert (await users.ask("GET", f"/v1/stats/{part}")).json["data"] == []
            assert (await users.ask("GET", "/v1/stats/latency")).json["llm_ttfb_ms"]["p99"] is None
            assert (await users.ask("GET", "/v1/stats/dispositions")).json["statuses"] == []

    real(scenario())


def test_every_statistic_tells_of_the_same_calls(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_calls(tmp_path, some_calls()) as (users, _):

            async def of(part: str, query: str = "") -> Any:
                said = await users.ask("GET", f"/v1/stats/{part}{query}")
                assert said.status == 200, said.body
                return said.json

            overview = await of("overview")
            assert (overview["total_calls"], overview["live_calls"], overview["busy_calls"]) == (5, 1, 1)
            assert (overview["answer_rate"], overview["average_duration_seconds"]) == (0.6, 60.0)
            assert (overview["outbound_calls"], overview["turn_count"]) == (1, 9)
            daily = (await of("daily", "?timezone=Europe/Berlin"))["data"]
            assert [(day["date"], day["total_calls"]) for day in daily] == [
                ("2026-03-02", 3),
                ("2026-03-03", 2),
            ]
            assert [day["total_calls"] for day in (await of("daily"))["data"]] == [4, 1]
            week = (await of("daily", "?from_date=2026-03-01&to_date=2026-03-07"))["data"]
            assert [day["total_calls"] for day in week] == [0, 4, 1, 0, 0, 0, 0]
            monthly = (await of("monthly", "?to_date=2026-05-01"))["data"]
            assert [(month["month"], month["total_calls"]) for month in monthly] == [
                ("2026-03", 5),
                ("2026-04", 0),
                ("2026-05", 0),
            ]
            hourly = (await of("hourly", "?timezone=Asia/Tokyo"))["data"]
            assert {each["hour"]: each["total_calls"] for each in hourly if each["total_calls"]} == {
                21: 4,
                8: 1,
            }
            agents = (await of("agents"))["data"]
            assert [(each["agent_id"], each["total_calls"]) for each in agents] == [
                ("agent_a", 3),
                (None, 1),
                ("agent_b", 1),
            ]
            latency = await of("latency", "?agent_id=agent_a")
            assert latency["llm_ttfb_ms"] == {
                "count": 3, "average": 301.0, "p50": 301, "p95": 302, "p99": 302, "max": 302,
            }  # fmt: skip
            endings = await of("dispositions")
            assert endings["dispositions"] == [
                {"value": "answered", "calls": 3, "share": 0.6, "total_duration_seconds": 180.0},
                {"value": None, "calls": 1, "share": 0.2, "total_duration_seconds": 0.0},
                {"value": "busy", "calls": 1, "share": 0.2, "total_duration_seconds": 0.0},
            ]

    real(scenario())


def test_agents_come_in_pages(real: RunAsync, tmp_path: Path) -> None:
    many = [
        call(call_id=f"call_{agent}_{number}", agent_id=None if agent == 2 else f"agent_{agent}")
        for agent, count in enumerate((3, 5, 3, 1))
        for number in range(count)
    ]

    async def scenario() -> None:
        async with with_calls(tmp_path, many) as (users, _):
            seen: list[tuple[str | None, int]] = []
            path = "/v1/stats/agents?limit=2"
            while path:
                page = (await users.ask("GET", path)).json
                seen += [(each["agent_id"], each["total_calls"]) for each in page["data"]]
                assert len(page["data"]) <= 2
                path = f"/v1/stats/agents?limit=2&after={page['next_cursor']}" if page["next_cursor"] else ""
            assert seen == [("agent_1", 5), (None, 3), ("agent_0", 3), ("agent_3", 1)]
            for nonsense in ("x", "WzEsMl0", "bnVsbA", "eyJhIjoxfQ", "%F0%9F%98%80"):
                said = await users.ask("GET", f"/v1/stats/agents?after={nonsense}")
                assert (said.status, said.code) == (400, "invalid_cursor"), nonsense

    real(scenario())


PARTS = ("overview", "daily", "monthly", "hourly", "agents", "latency", "tools", "dispositions", "export")


def test_what_cannot_be_asked_is_refused(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_calls(tmp_path, some_calls()) as (users, _):
            for part in PARTS:
                for query in (
                    "agent=x",
                    "timezone=Mars/Olympus",
                    "from_date=2026-02-30",
                    "status=odd",
                    "offset=5",
                ):
                    said = await users.ask("GET", f"/v1/stats/{part}?{query}")
                    assert (said.status, said.code) == (400, "invalid_query"), (part, query)
            for part, query in (
                ("daily", "from_date=0001-01-01"),
                ("daily", "to_date=9999-12-31"),
                ("daily", "from_date=2020-01-01&to_date=2026-01-01"),
                ("monthly", "from_date=1900-01-01&to_date=2026-01-01"),
            ):
                said = await users.ask("GET", f"/v1/stats/{part}?{query}")
                assert (said.status, said.code) == (400, "range_too_long"), (part, query)
            for part in ("overview", "hourly", "latency", "export"):
                wide = await users.ask("GET", f"/v1/stats/{part}?from_date=0001-01-01&to_date=9999-12-31")
                assert wide.status == 200, part
            assert (await users.ask("GET", "/v1/stats/export?format=xlsx")).code == "invalid_query"

    real(scenario())


def test_nobody_is_told_of_another_tenants_calls(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_calls(tmp_path, some_calls()) as (users, store):
            stranger = users.with_key((await made(store, Scope.READ, "other")).secret)
            assert (await stranger.ask("GET", "/v1/calls/summary")).json["total_calls"] == 0
            for part in ("daily", "monthly", "agents", "tools"):
                assert (await stranger.ask("GET", f"/v1/stats/{part}")).json["data"] == []
            assert (await stranger.ask("GET", "/v1/stats/dispositions")).json["statuses"] == []
            assert len((await stranger.ask("GET", "/v1/stats/export")).body.splitlines()) == 1
            for part in PARTS:
                assert (await users.with_key("").ask("GET", f"/v1/stats/{part}")).code == "missing_api_key"

    real(scenario())


# Files


def test_a_table_has_the_fields_of_a_listed_call() -> None:
    assert list(COLUMNS) == list(CallSummary.model_fields)


def odd_calls() -> list[CallRecord]:
    """More than a page of them, with everything that a cell can hold."""
    odd = ended_call(
        from_number="anonymous",
        notes='=HYPERLINK("http://x")\nsecond line, with "quotes"',
        metadata={"order": 7, "name": "Zoë"},
        tools_called=("lookup", "end_call"),
        rate_per_minute=Decimal("0.0125"),
        llm_cost=Decimal("0.000001"),
        has_recording=True,
    )
    return [
        odd,
        *(replace(ended_call(), started_at=NOON + number * MINUTE) for number in range(1, 230)),
        call(started_at=NOON + 300 * MINUTE),
    ]


def test_a_csv_file_has_every_call_once_the_oldest_first(real: RunAsync, tmp_path: Path) -> None:
    records = odd_calls()

    async def scenario() -> None:
        async with with_calls(tmp_path, records) as (users, _):
            said = await users.ask("GET", "/v1/stats/export")
            assert said.headers["Content-Type"] == "text/csv"
            assert said.headers["Content-Disposition"] == 'attachment; filename="calls.csv"'
            rows = list(csv.DictReader(io.StringIO(said.body.decode(), newline="")))
            assert [row["call_id"] for row in rows] == [record.call_id for record in records]
            first, last = rows[0], rows[-1]
            assert first["notes"] == "'" + (records[0].notes or "")
            assert (first["from_number"], first["to_number"]) == ("anonymous", "+15550002222")
            assert first["metadata"] == '{"order":7,"name":"Zoë"}'
            assert first["tools_called"] == '["lookup","end_call"]'
            assert (first["llm_cost"], first["call_cost"], first["total_cost"]) == (
                "0.000001",
                "0.012500",
                "0.012501",
            )
            assert (first["duration_seconds"], first["has_recording"]) == ("60.000", "true")
            assert (first["started_at"], last["ended_at"]) == ("2026-03-02T12:00:00.000Z", "")

    real(scenario())


def test_a_parquet_file_keeps_numbers_exact_and_times_in_utc(real: RunAsync, tmp_path: Path) -> None:
    records = odd_calls()

    async def scenario() -> None:
        async with with_calls(tmp_path, records) as (users, _):
            said = await users.ask("GET", "/v1/stats/export?format=parquet")
            assert said.headers["Content-Type"] == "application/vnd.apache.parquet"
            rows = parquet.read_table(io.BytesIO(said.body)).to_pylist()
            assert [row["call_id"] for row in rows] == [record.call_id for record in records]
            for row, record in zip(rows, records, strict=True):
                for name in (
                    "total_cost",
                    "minutes_used",
                    "started_at",
                    "ended_at",
                    "notes",
                    "status",
                    "agent_id",
                ):
                    assert row[name] == getattr(record, name), name

    real(scenario())


def test_a_file_is_of_the_calls_that_the_filters_leave(real: RunAsync, tmp_path: Path) -> None:
    said_it = [
        ended_call(transcript=({"role": "user", "content": "my parcel"},), started_at=NOON + number * MINUTE)
        for number in range(120)
    ]

    async def scenario() -> None:
        async with with_calls(tmp_path, [*said_it, *some_calls()]) as (users, _):
            body = (
                await users.ask("GET", "/v1/stats/export?search=parcel&from_date=2026-03-02")
            ).body.decode()
            rows = list(csv.DictReader(io.StringIO(body, newline="")))
            assert {row["call_id"] for row in rows} == {record.call_id for record in said_it}
            assert len(rows) == len(said_it)

    real(scenario())


def test_a_tenant_fetches_only_so_many_files_at_a_time(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        # Enough that a client who reads nothing holds the file up: more than sockets buffer.
        bulky = [ended_call(notes="x" * 300_000, started_at=NOON + number * MINUTE) for number in range(150)]
        async with with_calls(tmp_path, bulky) as (users, store), aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{users.port}/v1/stats/export"
            headers = {"Authorization": f"Bearer {users.secret}"}
            slow = [await session.get(url, headers=headers) for _ in range(MOST_EXPORTS)]
            refused = await users.ask("GET", "/v1/stats/export")
            assert (refused.status, refused.code) == (429, "too_many_exports")
            other = users.with_key((await made(store, Scope.READ, "other")).secret)
            assert (await other.ask("GET", "/v1/stats/export")).status == 200
            slow.pop().close()
            while (await users.ask("GET", "/v1/stats/export?status=failed")).status == 429:
                pass  # until the gateway has seen that its client is gone
            assert len(await slow.pop().read()) > 150 * 300_000

    real(scenario())

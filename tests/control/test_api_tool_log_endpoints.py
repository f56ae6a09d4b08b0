"""What tools did, as users see it over HTTP."""

from pathlib import Path

import pytest

from control.api.tool_log_endpoints import ToolLogEndpoints
from control.stores.store import Store
from control.tool_log import ToolLog, ToolOutcome
from tests.conftest import RunAsync
from tests.contracts.records import NOON, call, event
from tests.served_api import served

pytestmark = pytest.mark.sockets


async def keep(store: Store, tenant: str, name: str, outcome: ToolOutcome, number: int) -> None:
    record = call(tenant_id=tenant, agent_id="agent_1", call_id=f"call_{tenant}_{number}")
    log = ToolLog(
        tool_log_id=f"tlog_{tenant}_{number}",
        tool_call_id=f"tc_{number}",
        name=name,
        tool_id=f"tool_{name}",
        outcome=outcome,
        arguments={"city": "Oslo"},
        result={"rain": True},
        status_code=200,
        attempts=1,
        duration_ms=40,
    )
    await store.save_call(record, [event(record, name="tool.completed", tool_log=log)])


def test_runs_are_listed_read_and_counted(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'offhook.db'}", migrate=True)
        await keep(store, "default", "weather", ToolOutcome.SUCCESS, 1)
        await keep(store, "default", "order", ToolOutcome.TIMEOUT, 2)
        await keep(store, "other", "weather", ToolOutcome.SUCCESS, 3)
        async with served(tmp_path, ToolLogEndpoints(store).endpoints()) as api:
            listed = await api.reader.ask("GET", "/v1/tool-logs?limit=1")
            assert [each["tool_log_id"] for each in listed.json["data"]] == ["tlog_default_2"]
            rest = await api.reader.ask("GET", f"/v1/tool-logs?after={listed.json['next_cursor']}")
            assert rest.json["next_cursor"] is None
            assert rest.json["data"] == [
                {
                    "tool_log_id": "tlog_default_1",
                    "tool_call_id": "tc_1",
                    "call_id": "call_default_1",
                    "agent_id": "agent_1",
                    "name": "weather",
                    "tool_id": "tool_weather",
                    "outcome": "success",
                    "arguments": {"city": "Oslo"},
                    "result": {"rain": True},
                    "status_code": 200,
                    "error": None,
                    "attempts": 1,
                    "duration_ms": 40,
                    "created_at": NOON.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                }
            ]
            assert (await api.reader.ask("GET", "/v1/tool-logs/tlog_default_1")).json == rest.json["data"][0]
            of_one = await api.reader.ask("GET", "/v1/tool-logs?tool_id=tool_order")
            assert [each["name"] for each in of_one.json["data"]] == ["order"]
            counted = await api.reader.ask("GET", "/v1/tool-logs/stats?name=order&from_date=2026-03-02")
            assert counted.json["data"] == [
                {
                    "name": "order",
                    "calls": 1,
                    "success": 0,
                    "errors": 0,
                    "timeouts": 1,
                    "abandoned": 0,
                    "duration_p50_ms": 40,
                    "duration_p95_ms": 40,
                }
            ]
            assert (await api.reader.ask("GET", "/v1/tool-logs?outcome=timeout&to_date=2026-03-01")).json[
                "data"
            ] == []
        await store.close()

    real(scenario())


def test_another_tenants_run_is_none_and_a_wrong_filter_is_said(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'offhook.db'}", migrate=True)
        await keep(store, "other", "weather", ToolOutcome.SUCCESS, 1)
        async with served(tmp_path, ToolLogEndpoints(store).endpoints()) as api:
            assert (await api.reader.ask("GET", "/v1/tool-logs/tlog_other_1")).code == "not_found"
            assert (await api.reader.ask("GET", "/v1/tool-logs/none")).code == "not_found"
            for wrong in ("outcome=odd", "timezone=Nowhere", "from_date=March", "tool=weather", "limit=101"):
                assert (await api.reader.ask("GET", f"/v1/tool-logs?{wrong}")).code == "invalid_query"
            assert (await api.reader.ask("GET", "/v1/tool-logs?after=odd")).code == "invalid_cursor"
            assert (await api.reader.ask("GET", "/v1/tool-logs?sort=odd")).code == "invalid_sort"
            assert (await api.anybody.ask("GET", "/v1/tool-logs")).code == "missing_api_key"
        await store.close()

    real(scenario())

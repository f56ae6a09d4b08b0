"""Tables from nothing and from an earlier release, rows and all, are the tables that the code works with."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from control.stores.agents import Agents
from control.stores.database import Database
from control.stores.migrating import head, upgrade
from control.stores.tables import metadata
from tests.conftest import RunAsync

pytestmark = pytest.mark.sockets

# Full-text search, whose tables are made by hand.
_BY_HAND = "call_search"

CALL = (
    "INSERT INTO calls (call_id, tenant_id, revision, direction, carrier, integration_id, status, node, started_at,"
    " currency, rate_per_minute, llm_cost, llm_discount, recording_cost, transfer_cost, recording_enabled,"
    " has_recording, turn_count, barge_in_count, tool_call_count, tools_called, transfer_duration_seconds, metadata,"
    " ws_unavailable, drain_forced, usage, duration_ms, minutes_used, call_cost, total_cost) VALUES"
    " ('call_1', 'default', 1, 'inbound', 'telnyx', 'default', 'ringing', 'node_1', {now}, 'USD', 0, 0, 0, 0, 0,"
    " false, false, 0, 0, 0, '[]', 0, '{{}}', false, false, '{{}}', 0, 0, 0, 0)"
)
EVENT = (
    "INSERT INTO events (event_id, tenant_id, call_id, name, sequence, occurred_at, at, data) VALUES"
    " ('evt_1', 'default', 'call_1', 'call.ringing', 1, {now}, 0, '{{}}')"
)
WEBHOOK = (
    "INSERT INTO webhooks (webhook_id, tenant_id, url, events, secret, payload, created_at, updated_at) VALUES"
    " ('wh_1', 'default', 'https://example.com', '[\"*\"]', {secret}, 'envelope', {now}, {now})"
)
DELIVERY = (
    "INSERT INTO deliveries (delivery_id, tenant_id, webhook_id, call_id, position, lane, state, attempts, created_at)"
    " VALUES ('dlv_1', 'default', 'wh_1', 'call_1', 1, 'wh_1|call_1', 'delivered', 1, {now})"
)
ATTEMPT = (
    "INSERT INTO delivery_attempts (delivery_id, tenant_id, attempt, url, success, duration_ms, created_at)"
    " VALUES ('dlv_1', 'default', 1, 'https://example.com', true, 5, {now})"
)
AGENT = (
    "INSERT INTO agents (agent_id, tenant_id, name, version, created_at, updated_at) VALUES"
    " ('agent_1', 'default', 'sales', 1, {now}, {now})"
)
VERSION = (
    "INSERT INTO agent_versions (agent_id, version, configuration, created_at) VALUES"
    " ('agent_1', 1, '{{\"name\":\"sales\"}}', {now})"
)


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection,
        opts={"include_name": lambda name, kind, _: kind != "table" or not str(name).startswith(_BY_HAND)},
    )
    return list(compare_metadata(context, metadata))


def test_tables_made_from_nothing_are_those_of_the_code(empty_url: str, real: RunAsync) -> None:
    async def scenario() -> None:
        database = Database(empty_url)
        applied = await upgrade(database)
        assert applied[-1] == head()
        assert await upgrade(database) == []
        async with database.read() as connection:
            assert await connection.run_sync(differences) == []
        await database.close()

    real(scenario())


def test_an_earlier_releases_rows_come_along(empty_url: str, real: RunAsync) -> None:
    async def scenario() -> None:
        database = Database(empty_url)
        assert await upgrade(database, "0001") == ["0001"]
        values = (
            {"now": "now()", "secret": r"'\x6f70'"}
            if database.postgresql
            else {"now": "1700000000000000", "secret": "x'6f70'"}
        )
        async with database.write() as connection:
            for statement in (CALL, EVENT, WEBHOOK, DELIVERY, ATTEMPT, AGENT, VERSION):
                await connection.exec_driver_sql(statement.format(**values))
        assert (await upgrade(database))[-1] == head()
        async with database.read() as connection:
            assert await connection.run_sync(differences) == []
            found = await connection.execute(text("SELECT webhook_id, delivery_id FROM delivery_attempts"))
            assert [tuple(row) for row in found] == [("wh_1", "dlv_1")]
            assert await connection.scalar(text("SELECT count(*) FROM calls")) == 1
        agent = await Agents(database).current("default", "agent_1")
        assert agent is not None
        assert (agent.configuration, agent.secrets, agent.signing) == ({"name": "sales"}, None, None)
        await database.close()

    real(scenario())

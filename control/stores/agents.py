"""Agents that users have stored: every change is a version, and none is ever changed again.

Theory of operation. An agent's row says which version is current; its versions hold what they were configured with.
A change is decided on the current version and written in one transaction that has the agent's row for itself, so of
two changes at once the second is decided on what the first has made. A deleted agent is not found by anybody any
more, but its versions stay: records of calls name them. `tools` has one row for each tool of a current version.

What is secret is opaque here: whoever puts it in has encrypted it (`control.agent_book`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.stores.columns import Values
from control.stores.database import Database
from control.stores.tables import agent_versions, agents, tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a version is to be made of."""

    configuration: Mapping[str, Any]
    """With a `name`, and `tools` that each have a `tool_id` and a `name`; nothing secret in it."""
    secrets: bytes | None = field(default=None, repr=False)
    """What of the configuration is secret."""
    note: str | None = None
    """How it came to be, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAgent:
    """One version of an agent."""

    agent_id: str
    tenant_id: str
    version: int
    configuration: Mapping[str, Any]
    secrets: bytes | None = field(default=None, repr=False)
    signing: bytes | None = field(default=None, repr=False)
    """What proves requests to the agent's servers; the agent's, not a version's."""
    note: str | None = None
    created_at: datetime
    """Of the agent."""
    updated_at: datetime
    """When this version was made."""


Decide = Callable[[StoredAgent], Draft | None]
"""What becomes of an agent: its next version, or None where it stays as it is. May raise: nothing is changed then."""


class Agents:
    """Keeps agents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, agent_id: str, tenant_id: str, draft: Draft, now: datetime, *, signing: bytes
    ) -> StoredAgent:
        """Keep a new agent's first version."""
        row = {
            "agent_id": agent_id,
            "tenant_id": tenant_id,
            "name": draft.configuration["name"],
            "version": 1,
            "secret": signing,
            "created_at": now,
            "updated_at": now,
        }
        async with self._database.write() as connection:
            await connection.execute(insert(agents).values(row))
            await _keep(connection, agent_id, tenant_id, 1, draft, now)
            return await self._one(connection, tenant_id, agent_id)

    async def current(self, tenant_id: str, agent_id: str) -> StoredAgent | None:
        """Return the agent as it is now; None if the tenant has no such agent."""
        async with self._database.read() as connection:
            return await _found(connection, _current().where(_is(tenant_id, agent_id)))

    async def change(
        self, tenant_id: str, agent_id: str, decide: Decide, now: datetime
    ) -> StoredAgent | None:
        """Give an agent its next version; return it as it is then. None if the tenant has no such agent."""
        async with self._database.write() as connection:
            if not await _taken(connection, tenant_id, agent_id):
                return None
            before = await self._one(connection, tenant_id, agent_id)
            draft = decide(before)
            if draft is None:
                return before
            version = before.version + 1
            await _keep(connection, agent_id, tenant_id, version, draft, now)
            changed = {"version": version, "name": draft.configuration["name"], "updated_at": now}
            await connection.execute(update(agents).where(_is(tenant_id, agent_id)).values(changed))
            return await self._one(connection, tenant_id, agent_id)

    async def _one(self, connection: AsyncConnection, tenant_id: str, agent_id: str) -> StoredAgent:
        found = await _found(connection, _current().where(_is(tenant_id, agent_id)))
        assert found is not None
        return found


def _is(tenant_id: str, agent_id: str) -> ColumnElement[bool]:
    return (
        (agents.c.agent_id == agent_id) & (agents.c.tenant_id == tenant_id) & (agents.c.deleted_at.is_(None))
    )


async def _taken(connection: AsyncConnection, tenant_id: str, agent_id: str) -> bool:
    """Have the agent's row for this transaction alone; whether there is one.

    A statement of its own: only one that begins after the lock was given sees what the one before had made of it.
    """
    query = select(agents.c.agent_id).where(_is(tenant_id, agent_id)).with_for_update()
    return await connection.scalar(query) is not None


def _versions() -> Select[Any]:
    """Every version with its agent."""
    return select(
        agents.c.agent_id,
        agents.c.tenant_id,
        agents.c.secret,
        agents.c.created_at,
        agent_versions.c.version,
        agent_versions.c.configuration,
        agent_versions.c.secrets,
        agent_versions.c.note,
        agent_versions.c.created_at.label("updated_at"),
    ).join(agent_versions, agent_versions.c.agent_id == agents.c.agent_id)


def _current() -> Select[Any]:
    return _versions().where(agent_versions.c.version == agents.c.version)


async def _found(connection: AsyncConnection, query: Select[Any]) -> StoredAgent | None:
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _agent(row)


def _agent(row: Values) -> StoredAgent:
    return StoredAgent(
        agent_id=row["agent_id"],
        tenant_id=row["tenant_id"],
        version=row["version"],
        configuration=row["configuration"],
        secrets=row["secrets"],
        signing=row["secret"],
        note=row["note"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def _keep(
    connection: AsyncConnection, agent_id: str, tenant_id: str, version: int, draft: Draft, now: datetime
) -> None:
    row = {
        "agent_id": agent_id,
        "version": version,
        "configuration": draft.configuration,
        "secrets": draft.secrets,
        "note": draft.note,
        "created_at": now,
    }
    await connection.execute(insert(agent_versions).values(row))
    await _list_tools(connection, agent_id, tenant_id, draft.configuration.get("tools", ()), now)


async def _list_tools(
    connection: AsyncConnection,
    agent_id: str,
    tenant_id: str,
    definitions: Sequence[Mapping[str, Any]],
    now: datetime,
) -> None:
    """Have `tools` say which there are; what was there before keeps the time of its making."""
    query = select(tools.c.tool_id, tools.c.created_at).where(tools.c.agent_id == agent_id)
    made = {row.tool_id: row.created_at for row in await connection.execute(query)}
    await connection.execute(delete(tools).where(tools.c.agent_id == agent_id))
    rows = [
        {
            "tool_id": each["tool_id"],
            "tenant_id": tenant_id,
            "agent_id": agent_id,
            "name": each["name"],
            "created_at": made.get(each["tool_id"], now),
        }
        for each in definitions
    ]
    if rows:
        await connection.execute(insert(tools), rows)

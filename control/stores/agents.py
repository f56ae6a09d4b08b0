"""Agents that users have stored: every change is a version, and none is ever changed again.

Theory of operation. An agent's row says which version is current; its versions hold what they were configured with.
A change is decided on the current version and written in one transaction that has the agent's row for itself, so of
two changes at once the second is decided on what the first has made. A deleted agent is not found by anybody any
more, but its versions stay: records of calls name them. `tools` has one row for each tool of a current version.

What is secret is opaque here: whoever puts it in has encrypted it (`control.agent_book`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control.call_record import LIVE
from control.integrations import Kind, is_account_id
from control.stores.columns import Values
from control.stores.database import Database
from control.stores.keyset import Keyset, Page
from control.stores.tables import agent_accounts, agent_versions, agents, calls, integrations, numbers, tools

NEWEST = ("-created_at",)
SORTABLE: dict[str, ColumnElement[Any]] = {
    name: agents.c[name] for name in ("created_at", "updated_at", "name")
}
"""What a list of agents may be sorted by."""
TOOLS_SORTABLE: dict[str, ColumnElement[Any]] = {name: tools.c[name] for name in ("created_at", "name")}
"""What a list of tools may be sorted by."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFilters:
    """All of these hold; None holds always."""

    name: str | None = None
    search: str | None = None
    """A part of the name; ASCII letters in either case."""

    def conditions(self, tenant_id: str) -> Iterator[ColumnElement[bool]]:
        yield agents.c.tenant_id == tenant_id
        yield agents.c.deleted_at.is_(None)
        if self.name is not None:
            yield agents.c.name == self.name
        if self.search is not None:
            yield agents.c.name.icontains(self.search, autoescape=True)


@dataclass(frozen=True, slots=True)
class AgentPage:
    """A part of a list of agents, or of the versions of one."""

    agents: tuple[StoredAgent, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class StoredTool:
    """A tool of a current version."""

    tool_id: str
    created_at: datetime
    """When its agent first had it."""
    agent: StoredAgent


@dataclass(frozen=True, slots=True)
class ToolPage:
    """A part of a list of tools."""

    tools: tuple[StoredTool, ...]
    next_cursor: str | None


class Removal(Enum):
    """What came of wanting an agent deleted."""

    DELETED = auto()
    LIVE = auto()
    """A call talks to it."""
    MISSING = auto()


class AccountsMissing(Exception):
    """An agent is to name provider accounts that its tenant does not have."""

    def __init__(self, accounts: Sequence[str]) -> None:
        super().__init__(f"no such provider accounts: {', '.join(accounts)}")
        self.accounts = tuple(accounts)


Decide = Callable[[StoredAgent], Draft | None]
"""What becomes of an agent: its next version, or None where it stays as it is. May raise: nothing is changed then."""


class Agents:
    """Keeps agents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, agent_id: str, tenant_id: str, draft: Draft, now: datetime, *, signing: bytes
    ) -> StoredAgent:
        """Keep a new agent's first version.

        Raises:
            AccountsMissing
        """
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
            await _keep(connection, agent_id, tenant_id, 1, draft, now, named_before=())
            return await self._one(connection, tenant_id, agent_id)

    async def current(self, tenant_id: str, agent_id: str) -> StoredAgent | None:
        """Return the agent as it is now; None if the tenant has no such agent."""
        async with self._database.find() as connection:
            return await _found(connection, _current().where(_is(tenant_id, agent_id)))

    async def version(self, tenant_id: str, agent_id: str, version: int) -> StoredAgent | None:
        """Return the agent as one version has it; None if the tenant has no such agent, or it no such version."""
        query = _versions().where(_is(tenant_id, agent_id), agent_versions.c.version == version)
        async with self._database.read() as connection:
            return await _found(connection, query)

    async def page(self, tenant_id: str, filters: AgentFilters, page: Page) -> AgentPage:
        """Return a page of the tenant's agents, newest first unless sorted otherwise.

        Raises:
            InvalidCursor, InvalidSort: what the page asks by.
        """
        order = Keyset.of(page.sort or NEWEST, SORTABLE, agents.c.agent_id)
        query = _current().where(*filters.conditions(tenant_id))
        async with self._database.read() as connection:
            rows, cursor = await order.page(connection, query, page)
        return AgentPage(tuple(map(_agent, rows)), cursor)

    async def versions(self, tenant_id: str, agent_id: str, page: Page) -> AgentPage:
        """Return a page of an agent's versions, newest first unless sorted otherwise; none if there is no such agent.

        Raises:
            InvalidCursor, InvalidSort: what the page asks by.
        """
        fields: dict[str, ColumnElement[Any]] = {
            "version": agent_versions.c.version,
            "created_at": agent_versions.c.created_at,
        }
        order = Keyset.of(page.sort or NEWEST, fields, agent_versions.c.version)
        async with self._database.read() as connection:
            rows, cursor = await order.page(connection, _versions().where(_is(tenant_id, agent_id)), page)
        return AgentPage(tuple(map(_agent, rows)), cursor)

    async def tools(
        self, tenant_id: str, page: Page, *, name: str | None = None, agent_id: str | None = None
    ) -> ToolPage:
        """Return a page of the tools of one of the tenant's agents, or all, newest first unless sorted otherwise.

        Raises:
            InvalidCursor, InvalidSort: what the page asks by.
        """
        order = Keyset.of(page.sort or NEWEST, TOOLS_SORTABLE, tools.c.tool_id)
        query = select(tools).where(tools.c.tenant_id == tenant_id)
        for column, wanted in ((tools.c.name, name), (tools.c.agent_id, agent_id)):
            if wanted is not None:
                query = query.where(column == wanted)
        # A tool that is listed is one of its owner's, though that is changed meanwhile.
        async with self._database.snapshot() as connection:
            rows, cursor = await order.page(connection, query, page)
            owners = _current().where(agents.c.agent_id.in_({row["agent_id"] for row in rows}))
            found = {row["agent_id"]: _agent(row) for row in (await connection.execute(owners)).mappings()}
        return ToolPage(
            tuple(StoredTool(row["tool_id"], row["created_at"], found[row["agent_id"]]) for row in rows),
            cursor,
        )

    async def change(
        self, tenant_id: str, agent_id: str, decide: Decide, now: datetime
    ) -> StoredAgent | None:
        """Give an agent its next version; return it as it is then. None if the tenant has no such agent.

        Raises:
            AccountsMissing: what the version before named may stay, there or not.
        """
        async with self._database.write() as connection:
            if not await _taken(connection, tenant_id, agent_id):
                return None
            before = await self._one(connection, tenant_id, agent_id)
            draft = decide(before)
            if draft is None:
                return before
            version = before.version + 1
            named = _accounts(before.configuration)
            await _keep(connection, agent_id, tenant_id, version, draft, now, named_before=named)
            changed = {"version": version, "name": draft.configuration["name"], "updated_at": now}
            await connection.execute(update(agents).where(_is(tenant_id, agent_id)).values(changed))
            return await self._one(connection, tenant_id, agent_id)

    async def sign_with(self, tenant_id: str, agent_id: str, decide: Callable[[bytes | None], bytes]) -> bool:
        """Replace what signs, as `decide` says of what has signed so far; whether there is such an agent."""
        async with self._database.write() as connection:
            if not await _taken(connection, tenant_id, agent_id):
                return False
            before = await self._one(connection, tenant_id, agent_id)
            values = {"secret": decide(before.signing)}
            await connection.execute(update(agents).where(_is(tenant_id, agent_id)).values(values))
            return True

    async def delete(self, tenant_id: str, agent_id: str, now: datetime) -> Removal:
        """Delete an agent that no call talks to: nobody finds it any more, and its numbers have no agent."""
        live = exists().where(
            calls.c.tenant_id == tenant_id, calls.c.agent_id == agent_id, calls.c.status.in_(sorted(LIVE))
        )
        async with self._database.write() as connection:
            if not await _taken(connection, tenant_id, agent_id):
                return Removal.MISSING
            if await connection.scalar(select(live)):
                return Removal.LIVE
            await connection.execute(update(agents).where(_is(tenant_id, agent_id)).values(deleted_at=now))
            await connection.execute(delete(tools).where(tools.c.agent_id == agent_id))
            await connection.execute(delete(agent_accounts).where(agent_accounts.c.agent_id == agent_id))
            answered = (numbers.c.tenant_id == tenant_id) & (numbers.c.agent_id == agent_id)
            await connection.execute(update(numbers).where(answered).values(agent_id=None, updated_at=now))
            return Removal.DELETED

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
    connection: AsyncConnection,
    agent_id: str,
    tenant_id: str,
    version: int,
    draft: Draft,
    now: datetime,
    *,
    named_before: Sequence[str],
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
    await _list_accounts(connection, agent_id, tenant_id, _accounts(draft.configuration), named_before)


def _accounts(configuration: Mapping[str, Any]) -> list[str]:
    """The provider accounts that a configuration names, each once."""
    named = [configuration.get("provider"), *(configuration.get("fallback_providers") or ())]
    return [name for name in dict.fromkeys(named) if name is not None and is_account_id(name)]


async def _list_accounts(
    connection: AsyncConnection,
    agent_id: str,
    tenant_id: str,
    named: Sequence[str],
    named_before: Sequence[str],
) -> None:
    """Have `agent_accounts` say which are named. They stay while the transaction lasts (`Integrations.delete`)."""
    query = (
        select(integrations.c.integration_id)
        .where(
            integrations.c.tenant_id == tenant_id,
            integrations.c.integration_id.in_(named),
            integrations.c.kind == Kind.PROVIDER.value,
        )
        .order_by(integrations.c.integration_id)
        .with_for_update()
    )
    there = set((await connection.scalars(query)).all()) if named else set()
    if missing := [name for name in named if name not in there and name not in named_before]:
        raise AccountsMissing(missing)
    await connection.execute(delete(agent_accounts).where(agent_accounts.c.agent_id == agent_id))
    if there:
        rows = [{"agent_id": agent_id, "integration_id": name, "tenant_id": tenant_id} for name in there]
        await connection.execute(insert(agent_accounts), rows)


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

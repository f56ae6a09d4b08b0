"""The agents that users have stored, as everybody but the store knows them: whole, and with secrets in the clear."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from control.agent_sealing import Signer, sealed, sealed_signers, signers, unsealed
from control.agents import Agent, AgentConfig, Source
from control.secrets import Cipher, SecretUnreadable
from control.stores.agents import AgentFilters, Agents, Draft, Removal, StoredAgent
from control.stores.keyset import Page
from control.tool_definition import ToolDefinition
from control.tool_identity import identified
from control.webhook_message import new_webhook_secret

log = structlog.get_logger()

# Secrets that sign beside the newest: somebody who rotates again and again does not make every request longer.
_MOST_RETIRING = 2


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret that nobody will see again."""

    secret: str = field(repr=False)
    until: datetime | None
    """Until when the one before it signs, too; None: not any more."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an agent, and how it came to be."""

    agent: Agent
    note: str | None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of an agent, as its current version has it."""

    agent: Agent
    definition: ToolDefinition
    created_at: datetime


class AgentBook:
    """Driven by the API, and by whoever looks an agent up. Every method may raise `StoreUnavailable`, and those that
    read an agent `SecretUnreadable`: what is stored was encrypted with a key that is not ours. A list has such an agent
    all the same, without what is secret."""

    def __init__(
        self, agents: Agents, cipher: Cipher, *, new_id: Callable[[str], str], clock: Callable[[], datetime]
    ) -> None:
        """
        Args:
            new_id: a fresh, opaque name with this prefix.
            clock: the time of day, aware.
        """
        self._agents = agents
        self._cipher = cipher
        self._new_id = new_id
        self._clock = clock

    # To be read

    async def current(self, tenant_id: str, agent_id: str) -> Agent | None:
        """Return the agent as it is now; None if the tenant has no such agent."""
        stored = await self._agents.current(tenant_id, agent_id)
        return None if stored is None else self._read(stored)

    async def version(self, tenant_id: str, agent_id: str, version: int) -> Version | None:
        """Return one version; None if there is no such agent, or it has no such version."""
        stored = await self._agents.version(tenant_id, agent_id, version)
        return None if stored is None else Version(self._read(stored), stored.note)

    async def versions(
        self, tenant_id: str, agent_id: str, page: Page
    ) -> tuple[Sequence[Version], str | None]:
        """Return a page of an agent's versions, and the cursor of the next."""
        found = await self._agents.versions(tenant_id, agent_id, page)
        agents = await self._read_all(found.agents)
        notes = [stored.note for stored in found.agents]
        return list(map(Version, agents, notes)), found.next_cursor

    async def page(
        self, tenant_id: str, filters: AgentFilters, page: Page
    ) -> tuple[Sequence[Agent], str | None]:
        """Return a page of the tenant's agents, and the cursor of the next."""
        found = await self._agents.page(tenant_id, filters, page)
        return await self._read_all(found.agents), found.next_cursor

    async def tools(
        self, tenant_id: str, page: Page, *, name: str | None = None, agent_id: str | None = None
    ) -> tuple[Sequence[Tool], str | None]:
        """Return a page of the tools of one of the tenant's agents, or all, and the cursor of the next."""
        found = await self._agents.tools(tenant_id, page, name=name, agent_id=agent_id)
        owners = {each.agent.agent_id: each.agent for each in found.tools}
        agents = dict(zip(owners, await self._read_all(owners.values()), strict=True))
        listed = []
        for each in found.tools:
            agent = agents[each.agent.agent_id]
            listed.append(Tool(agent, tool_of(agent, each.tool_id), each.created_at))
        return listed, found.next_cursor

    # To be written

    async def add(
        self, tenant_id: str, config: AgentConfig, note: str | None = None
    ) -> tuple[Agent, NewSecret]:
        """Store a new agent. Its tools are its own, whatever ids they come with.

        Raises:
            ToolRefused: a header is masked.
        """
        nameless = [tool.model_copy(update={"tool_id": None}) for tool in config.tools]
        tools = identified(nameless, (), self._new_tool_id)
        made = new_webhook_secret()
        stored = await self._agents.add(
            self._new_id("agent"),
            tenant_id,
            sealed(with_tools(config, tools), self._cipher, note),
            self._clock(),
            signing=sealed_signers([Signer(made)], self._cipher),
        )
        return self._read(stored), NewSecret(made, None)

    async def change(
        self,
        tenant_id: str,
        agent_id: str,
        edit: Callable[[AgentConfig], AgentConfig],
        note: str | None = None,
    ) -> Agent | None:
        """Give an agent its next version, unless nothing is different; return it. None if there is no such agent.

        Args:
            edit: returns what the configuration is to be; may raise, and nothing is changed then.

        Raises:
            ToolRefused: a tool is meant that is not there.
        """

        def decide(stored: StoredAgent) -> Draft | None:
            before = self._read(stored).config
            wanted = edit(before)
            tools = identified(wanted.tools, before.tools, self._new_tool_id)
            after = with_tools(wanted, tools)
            if after.said() == before.said():
                return None
            return sealed(after, self._cipher, note)

        changed = await self._agents.change(tenant_id, agent_id, decide, self._clock())
        return None if changed is None else self._read(changed)

    async def restore(
        self, tenant_id: str, agent_id: str, version: int, check: Callable[[AgentConfig, AgentConfig], None]
    ) -> Agent | None:
        """Make what an earlier version was the next one; None if there is no such agent or version.

        Args:
            check: is given what the agent is to be and what it is; may raise, and nothing is changed then.
        """
        earlier = await self._agents.version(tenant_id, agent_id, version)
        if earlier is None:
            return None
        config = self._read(earlier).config

        def decide(stored: StoredAgent) -> Draft | None:
            before = self._read(stored).config
            if before.said() == config.said():
                return None
            check(config, before)
            return sealed(config, self._cipher, f"restored from version {version}")

        changed = await self._agents.change(tenant_id, agent_id, decide, self._clock())
        return None if changed is None else self._read(changed)

    async def rotate(self, tenant_id: str, agent_id: str, keep: timedelta) -> NewSecret | None:
        """Have another secret sign; beside it, for so long, those that have so far. None if there is no such agent."""
        made = new_webhook_secret()
        until = self._clock() + keep if keep else None

        def decide(kept: bytes | None) -> bytes:
            before = [] if until is None else [each.retired(until) for each in self._signers(kept)]
            return sealed_signers([Signer(made), *before[:_MOST_RETIRING]], self._cipher)

        found = await self._agents.sign_with(tenant_id, agent_id, decide)
        return NewSecret(made, until) if found else None

    async def delete(self, tenant_id: str, agent_id: str) -> Removal:
        """See `control.stores.agents.Agents.delete`."""
        return await self._agents.delete(tenant_id, agent_id, self._clock())

    # How

    def _new_tool_id(self) -> str:
        return self._new_id("tool")

    async def _read_all(self, many: Iterable[StoredAgent]) -> list[Agent]:
        """Read a page of them: a large one takes milliseconds, and calls have the loop in between."""
        read = []
        for stored in many:
            read.append(self._listed(stored))
            await asyncio.sleep(0)
        return read

    def _listed(self, stored: StoredAgent) -> Agent:
        """An agent of a list: one whose secrets no key opens is there without them, and hides none of the others."""
        try:
            return self._read(stored)
        except SecretUnreadable:
            log.error("an agent's secrets cannot be read", agent_id=stored.agent_id)
            return _agent(stored, AgentConfig.model_validate(stored.configuration), ())

    def _read(self, stored: StoredAgent) -> Agent:
        config = unsealed(stored.configuration, stored.secrets, self._cipher)
        return _agent(stored, config, [each.secret for each in self._signers(stored.signing)])

    def _signers(self, kept: bytes | None) -> list[Signer]:
        return [] if kept is None else signers(kept, self._cipher, self._clock())


def _agent(stored: StoredAgent, config: AgentConfig, signing: Sequence[str]) -> Agent:
    return Agent(
        agent_id=stored.agent_id,
        version=stored.version,
        config=config,
        source=Source.STORED,
        tenant_id=stored.tenant_id,
        signing=tuple(signing),
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )


def tool_of(agent: Agent, tool_id: str) -> ToolDefinition:
    """
    Raises:
        KeyError: the agent has no such tool.
    """
    for tool in agent.config.tools:
        if tool.tool_id == tool_id:
            return tool
    raise KeyError(tool_id)


def with_tools(config: AgentConfig, tools: tuple[ToolDefinition, ...]) -> AgentConfig:
    """Return the configuration with these tools; one that says nothing of tools goes on to say nothing."""
    return config if tools == config.tools else config.model_copy(update={"tools": tools})

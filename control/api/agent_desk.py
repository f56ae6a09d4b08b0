"""Agents as endpoints find and change them: those of the settings read only, another tenant's not there at all."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from control.agent_book import AgentBook, NewSecret, Version
from control.agents import Agent, AgentConfig
from control.api.agent_shapes import changed
from control.api.problem import Fault, Problem
from control.api.reading import validated
from control.directory import Directory
from control.egress import EgressRefused
from control.egress_policy import EgressPolicy
from control.stores.agents import AccountsMissing
from control.tool_identity import ToolRefused

_NO_PROVIDER = "there is no such provider"


class AgentDesk:
    """Driven by the endpoints of agents and tools."""

    def __init__(
        self,
        directory: Directory,
        book: AgentBook,
        policy: EgressPolicy,
        unknown_providers: Callable[[AgentConfig], Iterable[tuple[str, str]]],
    ) -> None:
        """
        Args:
            policy: where agents may send us.
            unknown_providers: returns those that an agent names and nobody knows, with their JSON pointers.
        """
        self.book = book
        self._directory = directory
        self._policy = policy
        self._unknown_providers = unknown_providers

    def configured(self, tenant_id: str) -> list[Agent]:
        """The tenant's agents that the settings describe, in the order of the file."""
        return [agent for agent in self._directory.agents() if agent.tenant_id == tenant_id]

    async def agent(self, tenant_id: str, agent_id: str) -> Agent:
        """Find an agent as it is now; one of the settings by its name, too.

        Raises:
            Problem: 404.
        """
        found = self._configured(tenant_id, agent_id) or await self.book.current(tenant_id, agent_id)
        if found is None:
            raise no_such_agent()
        return found

    async def version(self, tenant_id: str, agent_id: str, version: int) -> Version:
        """Find an agent as one of its versions has it; those of the settings have one.

        Raises:
            Problem: 404.
        """
        configured = self._configured(tenant_id, agent_id)
        if configured is not None:
            found = Version(configured, None) if configured.version == version else None
        else:
            found = await self.book.version(tenant_id, agent_id, version)
        if found is None:
            raise Problem(404, "not_found", "there is no such version of an agent")
        return found

    def check_changeable(self, tenant_id: str, agent_id: str) -> None:
        """
        Raises:
            Problem: 409, the agent is of the settings.
        """
        if self._configured(tenant_id, agent_id) is not None:
            raise Problem(
                409,
                "agent_read_only",
                "the agent is written in the gateway's settings: change it there, or clone it",
            )

    async def add(self, tenant_id: str, config: AgentConfig, note: str | None) -> tuple[Agent, NewSecret]:
        """Store a new agent.

        Raises:
            Problem: 422.
        """
        self._check(config)
        try:
            return await self.book.add(tenant_id, config, note)
        except ToolRefused as refused:
            raise _unmeant(refused) from None
        except AccountsMissing as missing:
            raise _nobodys(missing, config) from None

    async def change(
        self, tenant_id: str, agent_id: str, changes: Mapping[str, Any], note: str | None = None
    ) -> Agent:
        """Change fields of an agent.

        Raises:
            Problem: 404, 409, or 422 where the whole would make no sense.
        """
        return await self.edit(
            tenant_id, agent_id, lambda before: configuration(changed(before.with_secrets(), changes)), note
        )

    async def edit(
        self,
        tenant_id: str,
        agent_id: str,
        edit: Callable[[AgentConfig], AgentConfig],
        note: str | None = None,
    ) -> Agent:
        """Change an agent as `edit` does, which may raise.

        Raises:
            Problem: 404, 409 or 422.
        """
        self.check_changeable(tenant_id, agent_id)

        wanted: list[AgentConfig] = []

        def checked(before: AgentConfig) -> AgentConfig:
            after = edit(before)
            self._check(after, before)
            wanted.append(after)
            return after

        try:
            found = await self.book.change(tenant_id, agent_id, checked, note)
        except ToolRefused as refused:
            raise _unmeant(refused) from None
        except AccountsMissing as missing:
            raise _nobodys(missing, wanted[-1]) from None
        if found is None:
            raise no_such_agent()
        return found

    async def restore(self, tenant_id: str, agent_id: str, version: int) -> Agent:
        """Make what an earlier version was the next one, if it would be taken today.

        Raises:
            Problem: 404, 409, or 422 where it names what is gone meanwhile.
        """
        self.check_changeable(tenant_id, agent_id)
        wanted: list[AgentConfig] = []

        def check(config: AgentConfig, before: AgentConfig) -> None:
            self._check(config, before)
            wanted.append(config)

        try:
            found = await self.book.restore(tenant_id, agent_id, version, check)
        except AccountsMissing as missing:
            raise _nobodys(missing, wanted[-1]) from None
        if found is None:
            raise no_such_agent()
        return found

    def _check(self, config: AgentConfig, before: AgentConfig | None = None) -> None:
        """Make sure that we go where it names and know whom it names; what it has named `before` may stay."""
        faults = [*self._refused_urls(config, before), *self._missing_providers(config, before)]
        if faults:
            first = faults[0]
            raise Problem(422, "invalid_body", f"{first.pointer[1:]}: {first.detail}", errors=faults)

    def _refused_urls(self, config: AgentConfig, before: AgentConfig | None) -> Iterator[Fault]:
        """What a name stands for is looked at whenever we go there."""
        known = [] if before is None else [url for _, url in before.urls()]
        for pointer, url in config.urls():
            try:
                if url not in known:
                    self._policy.check_url(url)
            except EgressRefused as refused:
                yield Fault(pointer, refused.detail)

    def _missing_providers(self, config: AgentConfig, before: AgentConfig | None) -> Iterator[Fault]:
        known = [] if before is None else [name for _, name in before.provider_names()]
        for pointer, name in self._unknown_providers(config):
            if name not in known:
                yield Fault(pointer, _NO_PROVIDER)

    def _configured(self, tenant_id: str, agent_id: str) -> Agent | None:
        found = self._directory.agent(agent_id)
        return found if found is not None and found.tenant_id == tenant_id else None


def configuration(fields: Mapping[str, Any]) -> AgentConfig:
    """
    Raises:
        Problem: 422, with the place of each fault.
    """
    return validated(AgentConfig, fields)


def _unmeant(refused: ToolRefused) -> Problem:
    """Return what is wrong with a list of tools as HTTP says it."""
    fault = Fault(f"/tools{refused.pointer}", refused.detail)
    return Problem(422, "invalid_body", f"{fault.pointer.removeprefix('/')}: {fault.detail}", errors=[fault])


def _nobodys(missing: AccountsMissing, config: AgentConfig) -> Problem:
    """Return which accounts an agent names that its tenant does not have."""
    faults = [
        Fault(pointer, _NO_PROVIDER) for pointer, name in config.provider_names() if name in missing.accounts
    ]
    first = faults[0]
    return Problem(422, "invalid_body", f"{first.pointer[1:]}: {first.detail}", errors=faults)


def no_such_agent() -> Problem:
    return Problem(404, "not_found", "there is no such agent")

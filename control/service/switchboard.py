"""Who answers a number and who is meant by a name: first the settings, then what users have stored.

Theory of operation. What the settings say needs no database, and what they say holds: neither a stored number nor a
stored agent takes their place. Everything else is looked up when a call begins, so that it gets what is current then.
The caller hears it ring meanwhile, so a look-up that takes longer than `PATIENCE` has failed: the call is refused, as
every new call is while the database does not answer. Calls that live ask for nothing here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from control.agents import Agent
from control.directory import Directory
from control.integrations import DEFAULT
from control.stores.errors import StoreUnavailable
from control.stores.keys import DEFAULT_TENANT
from control.stores.numbers import NumberRoute
from telephony import numbers

# Seconds. Twilio waits 15 for the document that answers a call, of which the agent may have up to 10.
PATIENCE = 2.0


class StoredAgents(Protocol):
    """Agents that users have stored (`control.agent_book.AgentBook`)."""

    async def current(self, tenant_id: str, agent_id: str) -> Agent | None:
        """
        Raises:
            StoreUnavailable
            SecretUnreadable: it was encrypted with a key that is not ours.
        """
        ...


class StoredNumbers(Protocol):
    """Numbers that users have claimed (`control.stores.numbers.Numbers`). Raises `StoreUnavailable`."""

    async def route(self, carrier: str, integration_id: str, number: str) -> NumberRoute | None:
        """Return where a call leads that this carrier account brings."""
        ...

    async def held(self, tenant_id: str, number: str) -> NumberRoute | None:
        """Return the number as the tenant has it."""
        ...

    async def any_with(self, carrier: str, integration_id: str) -> bool:
        """Whether any number is claimed with this carrier account."""
        ...


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a call that came in leads."""

    tenant_id: str
    agent: Agent | None
    """None: nobody answers."""


class Switchboard:
    """Driven by the service, once per call that comes in or is to be made."""

    def __init__(
        self,
        directory: Directory,
        agents: StoredAgents,
        stored: StoredNumbers,
        secrets: Callable[[str], Awaitable[tuple[str, ...]]],
    ) -> None:
        """
        Args:
            secrets: returns what proves a tenant's requests; none: the gateway's own secret does.
        """
        self._directory = directory
        self._agents = agents
        self._numbers = stored
        self._secrets = secrets

    @property
    def default(self) -> Agent:
        """The agent that the settings describe."""
        return self._directory.default

    async def answering(
        self, called: str | None, *, carrier: str, integration_id: str, tenant_id: str = DEFAULT_TENANT
    ) -> Destination:
        """Find who answers a call to `called` which this carrier account brings.

        Args:
            tenant_id: whose account it is; whoever signs for one may not speak for another's.

        Raises:
            StoreUnavailable: nobody can say in time.
            SecretUnreadable
        """
        if tenant_id == DEFAULT_TENANT:
            listed = self._directory.answering(called, carrier=carrier, integration_id=integration_id)
            if listed is not None:
                return Destination(listed.tenant_id, listed)
        async with in_time():
            return await self._stored(called, carrier, integration_id, tenant_id)

    async def agent(self, tenant_id: str, id_or_name: str) -> Agent | None:
        """Find an agent of the tenant's by its id, or one of the settings by its name, too.

        Raises:
            StoreUnavailable: nobody can say in time.
            SecretUnreadable
        """
        configured = self._directory.agent(id_or_name)
        if configured is not None and configured.tenant_id == tenant_id:
            return configured
        async with in_time():
            return await self._agents.current(tenant_id, id_or_name)

    async def signing(self, tenant_id: str) -> tuple[str, ...]:
        """What proves the requests of a tenant's agent that is stored nowhere, so that nobody else's secret does.

        Raises:
            StoreUnavailable: nobody can say in time.
            SecretUnreadable
        """
        async with in_time():
            return await self._secrets(tenant_id)

    async def account_of(self, tenant_id: str, number: str) -> tuple[str, str] | None:
        """Find the carrier account that one of the tenant's numbers is with, if that is said.

        Raises:
            StoreUnavailable: nobody can say in time.
        """
        entry = self._directory.number(number) if tenant_id == DEFAULT_TENANT else None
        if entry is not None:
            return None if entry.carrier is None else (entry.carrier, entry.integration_id)
        async with in_time():
            held = await self._numbers.held(tenant_id, number)
        return None if held is None else (held.carrier, held.integration_id)

    async def _stored(
        self, called: str | None, carrier: str, integration_id: str, tenant_id: str
    ) -> Destination:
        number = _canonical(called)
        route = None if number is None else await self._numbers.route(carrier, integration_id, number)
        if route is not None:
            agent_id = route.agent_id
            agent = None if agent_id is None else await self.agent(route.tenant_id, agent_id)
            return Destination(route.tenant_id, agent)
        # Whoever else has an account with the carrier does not mean the agent of the settings by it.
        if integration_id != DEFAULT:
            return Destination(tenant_id, None)
        any_stored = await self._numbers.any_with(carrier, integration_id)
        return Destination(DEFAULT_TENANT, self._directory.otherwise(any_stored=any_stored))


def _canonical(called: str | None) -> str | None:
    try:
        return None if called is None else numbers.parse(called)
    except numbers.InvalidNumber:  # a SIP address, or a number that the carrier withholds
        return None


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Whatever a new call waits for ends within `PATIENCE`, or is as if the database did not answer.

    Raises:
        StoreUnavailable: it has not.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"no answer within {PATIENCE:.0f} s") from None

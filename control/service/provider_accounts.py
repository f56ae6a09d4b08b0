"""Which providers an agent's sessions are opened with: those of the settings, or accounts of its tenant's.

An agent names an account by its id. It is read when a call begins, so that the call gets what is current then; calls
that live ask for nothing here.
"""

from asyncio import gather
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from control.agent_run import EffectiveAgent
from control.integrations import (
    Kind,
    ProviderAddress,
    ProviderConfig,
    foreign_address,
    is_account_id,
    provider_address,
    read,
)
from control.secrets import Cipher, SecretUnreadable
from control.service.switchboard import in_time
from control.stores.errors import StoreUnavailable
from control.stores.integrations import Integration
from media.realtime.configuration import SessionConfig

log = structlog.get_logger()


class ProviderMissing(Exception):
    """The tenant has no such account, or it cannot be used."""


_NotFound = ProviderMissing | StoreUnavailable


class StoredIntegrations(Protocol):
    """Accounts that users have stored (`control.stores.integrations.Integrations`). Raises `StoreUnavailable`."""

    async def get(self, tenant_id: str, integration_id: str) -> Integration | None: ...


class ProviderAccounts:
    """Driven by the service, once per call that begins."""

    def __init__(
        self, integrations: StoredIntegrations, cipher: Cipher, allowed: Callable[[str], bool]
    ) -> None:
        """
        Args:
            allowed: whether the operator lets tenants name this address, which is no vendor's own.
        """
        self._integrations = integrations
        self._cipher = cipher
        self._allowed = allowed

    async def placed(self, tenant_id: str, agent: EffectiveAgent, own_model: str | None) -> EffectiveAgent:
        """Return the agent with where its sessions are opened, where that is not what the settings say.

        A fallback that cannot be used, or of which nobody can say so in time, is left out: it is no reason to turn a
        call away that may never need it.

        Args:
            own_model: the model that the agent itself names; else it is the account's.

        Raises:
            ProviderMissing: it is the agent's own provider that there is not.
            StoreUnavailable: of the agent's own provider nobody can say in time.
        """
        names = [name for name in (agent.provider, *agent.fallbacks) if is_account_id(name)]
        if not names:
            return agent
        # At once: they share what a call waits for its database.
        found = dict(zip(names, await gather(*[self._found(tenant_id, name) for name in names]), strict=True))
        if is_account_id(agent.provider):
            address = found.pop(agent.provider)
            if isinstance(address, Exception):
                raise address
            session = _modelled(agent.session, own_model or address.model)
            agent = replace(agent, session=session, addresses={agent.provider: address})
        return _with_fallbacks(agent, found)

    async def _found(self, tenant_id: str, integration_id: str) -> ProviderAddress | _NotFound:
        try:
            async with in_time():
                return await self.address(tenant_id, integration_id)
        except (ProviderMissing, StoreUnavailable) as fault:
            return fault

    async def address(self, tenant_id: str, integration_id: str) -> ProviderAddress:
        """Return where an account's sessions are opened, and with what.

        Raises:
            ProviderMissing, StoreUnavailable
        """
        row = await self._integrations.get(tenant_id, integration_id)
        if row is None or row.kind is not Kind.PROVIDER:
            raise ProviderMissing("there is no such provider account")
        return self._address(row)

    def _address(self, row: Integration) -> ProviderAddress:
        try:
            config = read(row.vendor, self._cipher.decrypt(row.credentials), row.settings)
        except (SecretUnreadable, ValueError) as fault:
            log.error("a provider account cannot be read", integration_id=row.integration_id)
            raise ProviderMissing("its credentials cannot be read; give them anew") from fault
        assert isinstance(config, ProviderConfig), "providers have these"
        foreign = foreign_address(row.vendor, config)
        if foreign is not None and not self._allowed(foreign[1]):
            raise ProviderMissing("its address is not allowed any more")
        return provider_address(row.vendor, config)


def _with_fallbacks(
    agent: EffectiveAgent, found: Mapping[str, ProviderAddress | _NotFound]
) -> EffectiveAgent:
    addresses, fallbacks = dict(agent.addresses), dict(agent.fallbacks)
    for name, address in found.items():
        if isinstance(address, Exception):
            log.warning("a fallback provider is left out", integration_id=name, why=str(address))
            del fallbacks[name]
        else:
            addresses[name] = address
            fallbacks[name] = _modelled(fallbacks[name], address.model)
    return replace(agent, addresses=addresses, fallbacks=fallbacks)


def _modelled(session: SessionConfig, model: str | None) -> SessionConfig:
    return session if model is None else replace(session, model=model)

"""The agents that users have stored, as everybody but the store knows them: secrets in the clear.

What is secret of a configuration (the headers of tools) is taken out of it and encrypted as a whole, by the tools' ids.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from control.agents import Agent, AgentConfig, Source
from control.secrets import Cipher
from control.stores.agents import Agents, Draft, StoredAgent


class AgentBook:
    """Driven by whoever looks an agent up."""

    def __init__(self, agents: Agents, cipher: Cipher, clock: Callable[[], datetime]) -> None:
        """
        Args:
            clock: the time of day, aware.
        """
        self._agents = agents
        self._cipher = cipher
        self._clock = clock

    async def current(self, tenant_id: str, agent_id: str) -> Agent | None:
        """Return the agent as it is now; None if the tenant has no such agent.

        Raises:
            SecretUnreadable: it was encrypted with a key that is not ours.
            StoreUnavailable
        """
        stored = await self._agents.current(tenant_id, agent_id)
        return None if stored is None else self._read(stored)

    def _read(self, stored: StoredAgent) -> Agent:
        return Agent(
            agent_id=stored.agent_id,
            version=stored.version,
            config=unsealed(stored.configuration, stored.secrets, self._cipher),
            source=Source.STORED,
            tenant_id=stored.tenant_id,
            signing=self._signing(stored.signing),
            created_at=stored.created_at,
            updated_at=stored.updated_at,
        )

    def _signing(self, kept: bytes | None) -> tuple[str, ...]:
        """The secrets that sign now, the newest first."""
        if kept is None:
            return ()
        now = self._clock().timestamp()
        secrets = json.loads(self._cipher.decrypt(kept))
        return tuple(each["secret"] for each in secrets if each["until"] is None or each["until"] > now)


def sealed(config: AgentConfig, cipher: Cipher, note: str | None = None) -> Draft:
    """Return a configuration, each of whose tools has its id, as it is kept."""
    whole = config.with_secrets()
    secrets = {each["tool_id"]: each.pop("headers") for each in whole.get("tools", ()) if each.get("headers")}
    return Draft(
        configuration=whole,
        secrets=cipher.encrypt(json.dumps(secrets)) if secrets else None,
        note=note,
    )


def unsealed(configuration: Mapping[str, Any], secrets: bytes | None, cipher: Cipher) -> AgentConfig:
    """Return a configuration as it was before it was kept.

    Raises:
        SecretUnreadable: it was encrypted with a key that is not ours.
    """
    if secrets is None:
        return AgentConfig.model_validate(configuration)
    headers = json.loads(cipher.decrypt(secrets))
    return AgentConfig.model_validate(
        {
            **configuration,
            "tools": [
                {**each, "headers": headers[each["tool_id"]]} if each["tool_id"] in headers else each
                for each in configuration["tools"]
            ],
        }
    )

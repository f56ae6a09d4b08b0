"""How everything is that the gateway depends on, asked at once and bounded in time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from control.api.ports import Health
from control.stores.errors import StoreUnavailable
from control.stores.store import Store
from gateway.accounts import Account, Accounts
from telephony.client_errors import CommandFailed

# Seconds for each answer; whoever asks for health does not wait for the sick.
PATIENCE = 3.0

Check = Callable[[], Awaitable[str]]
"""Asks one dependency; returns what is to be said of it, raises what is wrong."""


class HealthChecks:
    """Driven by the API, once per question."""

    def __init__(self, store: Store, accounts: Accounts, realtime_url: str) -> None:
        self._store = store
        self._accounts = accounts
        self._realtime_url = realtime_url

    async def __call__(self) -> Mapping[str, Health]:
        checks: dict[str, Check] = {"database": self._database, "realtime": self._realtime}
        for account in self._accounts.all():
            checks[f"{account.carrier}/{account.integration_id}"] = self._account(account)
        found = await asyncio.gather(*(_asked(check) for check in checks.values()))
        return dict(zip(checks, found, strict=True))

    async def _database(self) -> str:
        await self._store.ping()
        return ""

    async def _realtime(self) -> str:
        """Whether anybody listens there; a session would cost money."""
        parts = urlsplit(self._realtime_url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()
        return ""

    def _account(self, account: Account) -> Check:
        async def check() -> str:
            # Of no call there ever was: the answer proves address and credentials, and costs nothing.
            await account.is_alive("health-check")
            return ""

        return check


async def _asked(check: Check) -> Health:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(PATIENCE):
            detail = await check()
    except TimeoutError:
        return Health(ok=False, detail="no answer in time")
    except (StoreUnavailable, CommandFailed, OSError) as fault:
        return Health(ok=False, detail=str(fault))
    return Health(ok=True, latency=loop.time() - began, detail=detail)

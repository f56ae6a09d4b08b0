"""Every carrier account of this gateway: those of the settings, and those that tenants have stored.

Theory of operation. Webhooks name an account, and nothing of one is read before the account has proved it; so accounts
are looked up for every request of whoever may send some. An account that was found is remembered. After a while the
store is asked whether it has changed, briefly: while the store does not answer, what was known stands, since calls in
progress need their carriers' words. What this process itself changes it knows at once (`changed`); what another
process of the same database changes, within `FRESH` seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from control.integrations import (
    DEFAULT,
    Kind,
    TelnyxConfig,
    TwilioConfig,
    foreign_address,
    is_account_id,
    read,
)
from control.secrets import Cipher, SecretUnreadable
from control.stores.errors import StoreUnavailable
from control.stores.integrations import Integration
from gateway.accounts import CarrierAccount, TelnyxAccount, TwilioAccount, stored_account
from gateway.task_set import TaskSet

log = structlog.get_logger()

# Seconds for which an account stands without the store being asked.
FRESH = 5.0
# Seconds that whoever knows an account waits for the store to say that it has changed: carriers wait one for an answer.
_PATIENCE = 0.25
# What was being asked with an old client is answered by then (`telephony`: 5 s, once more).
_RETIREMENT = 15.0


class KeptAccounts(Protocol):
    """Where accounts are stored (`control.stores.integrations.Integrations`). Raises `StoreUnavailable`."""

    async def find(self, integration_id: str) -> Integration | None: ...
    async def of_kind(self, tenant_id: str, kind: Kind) -> list[Integration]: ...


@dataclass(slots=True)
class _Known:
    """A stored account that was found."""

    account: CarrierAccount
    updated_at: datetime
    seen_at: float


class StoredAccounts:
    """Finds carrier accounts in the store. Driven by the book."""

    def __init__(
        self,
        integrations: KeptAccounts,
        cipher: Cipher,
        public_url: str | None,
        allowed: Callable[[str], bool],
        tasks: TaskSet,
    ) -> None:
        """
        Args:
            public_url: where carriers reach us; without one there are no accounts.
            allowed: whether the operator lets tenants name this address, which is no vendor's own.
            tasks: own what outlives a request.
        """
        self._integrations = integrations
        self._cipher = cipher
        self._public_url = public_url
        self._allowed = allowed
        self._tasks = tasks
        self._known: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Lock] = {}

    def known(self, integration_id: str) -> CarrierAccount | None:
        """Return an account that was found lately, without asking."""
        known = self._known.get(integration_id)
        return None if known is None else known.account

    async def find(self, integration_id: str) -> CarrierAccount | None:
        """
        Raises:
            StoreUnavailable: it is not known, and the store does not answer.
        """
        if self._public_url is None or not is_account_id(integration_id):
            return None
        known = self._known.get(integration_id)
        if known is None:
            return await self._look(integration_id)
        if asyncio.get_running_loop().time() - known.seen_at < FRESH:
            return known.account
        with suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(_PATIENCE):
                return await self._look(integration_id)
        return known.account

    async def of_tenant(self, tenant_id: str) -> list[CarrierAccount]:
        """Return the tenant's accounts, the oldest first.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        if self._public_url is None:
            return []
        rows = await self._integrations.of_kind(tenant_id, Kind.CARRIER)
        found = [await self._taken(row) for row in rows]
        return [account for account in found if account is not None]

    def changed(self, integration_id: str) -> None:
        """What is known of the account may not be so any more."""
        known = self._known.get(integration_id)
        if known is not None:
            known.seen_at = float("-inf")

    async def close(self) -> None:
        for known in self._known.values():
            await known.account.close()

    async def _look(self, integration_id: str) -> CarrierAccount | None:
        row = await self._integrations.find(integration_id)
        if row is None or row.kind is not Kind.CARRIER:
            self._drop(integration_id)
            return None
        return await self._taken(row)

    async def _taken(self, row: Integration) -> CarrierAccount | None:
        """The account of a row, made anew if the row has changed. One at a time: nobody makes two of one."""
        lock = self._looking.setdefault(row.integration_id, asyncio.Lock())
        async with lock:
            known, now = self._known.get(row.integration_id), asyncio.get_running_loop().time()
            if known is not None and known.updated_at >= row.updated_at:
                known.seen_at = now
                return known.account
            fresh = await self._made(row)
            if fresh is None:
                return None
            account = fresh if known is None else self._renewed(known.account, fresh)
            self._known[row.integration_id] = _Known(account, row.updated_at, now)
            return account

    async def _made(self, row: Integration) -> CarrierAccount | None:
        assert self._public_url is not None, "nobody looks without one"
        try:
            config = read(row.vendor, self._cipher.decrypt(row.credentials), row.settings)
        except (SecretUnreadable, ValueError) as fault:
            reason = (
                str(fault) if isinstance(fault, SecretUnreadable) else "kept by a release with other rules"
            )
            log.error("an account cannot be used", integration_id=row.integration_id, reason=reason)
            return None
        assert isinstance(config, TelnyxConfig | TwilioConfig), "carriers have these"
        foreign = foreign_address(row.vendor, config)
        if foreign is not None and not self._allowed(foreign[1]):
            log.error("an account's address is not allowed any more", integration_id=row.integration_id)
            return None
        # In a thread: the first account of a carrier imports its SDK, which takes longer than a frame.
        return await asyncio.to_thread(
            stored_account,
            config,
            public_url=self._public_url,
            integration_id=row.integration_id,
            tenant_id=row.tenant_id,
        )

    def _renewed(self, account: CarrierAccount, fresh: CarrierAccount) -> CarrierAccount:
        match account, fresh:
            case (TelnyxAccount(), TelnyxAccount()):
                self._retire(account.renew(fresh))
            case (TwilioAccount(), TwilioAccount()):
                self._retire(account.renew(fresh))
            case _:
                raise AssertionError("an account's vendor never changes")
        return account

    def _drop(self, integration_id: str) -> None:
        known = self._known.pop(integration_id, None)
        self._looking.pop(integration_id, None)
        if known is not None:
            self._retire(known.account.close)

    def _retire(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close a client once nobody waits for it any more."""

        async def later() -> None:
            try:
                await asyncio.sleep(_RETIREMENT)
            finally:
                await close()

        self._tasks.spawn(later(), "retired carrier client")


class Accounts:
    """Every account, by carrier and integration id."""

    def __init__(self, accounts: Iterable[CarrierAccount] = (), stored: StoredAccounts | None = None) -> None:
        """
        Args:
            accounts: of the settings.
        """
        self._accounts = {(account.carrier, account.integration_id): account for account in accounts}
        self._stored = stored

    def find(self, carrier: str, integration_id: str = DEFAULT) -> CarrierAccount | None:
        """Return an account that is of the settings, or was found lately; asks nobody."""
        account = self._accounts.get((carrier, integration_id))
        if account is None and self._stored is not None:
            account = self._stored.known(integration_id)
        return account if account is not None and account.carrier == carrier else None

    async def fetch(self, carrier: str, integration_id: str = DEFAULT) -> CarrierAccount | None:
        """Return an account, wherever it is written down.

        Raises:
            StoreUnavailable: it is not known, and the store does not answer.
        """
        account = self._accounts.get((carrier, integration_id))
        if account is None and self._stored is not None:
            account = await self._stored.find(integration_id)
        return account if account is not None and account.carrier == carrier else None

    async def telnyx(self, integration_id: str) -> TelnyxAccount | None:
        """See `fetch`."""
        account = await self.fetch(TelnyxAccount.carrier, integration_id)
        return account if isinstance(account, TelnyxAccount) else None

    async def twilio(self, integration_id: str) -> TwilioAccount | None:
        """See `fetch`."""
        account = await self.fetch(TwilioAccount.carrier, integration_id)
        return account if isinstance(account, TwilioAccount) else None

    def of_settings(self, tenant_id: str) -> list[CarrierAccount]:
        """Return the accounts of the settings, if they are the tenant's."""
        return [account for account in self._accounts.values() if account.tenant_id == tenant_id]

    async def of_tenant(self, tenant_id: str) -> list[CarrierAccount]:
        """Return every account of a tenant, those of the settings first.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        stored = [] if self._stored is None else await self._stored.of_tenant(tenant_id)
        return [*self.of_settings(tenant_id), *stored]

    async def carriers(self, tenant_id: str) -> frozenset[str]:
        """Return the carriers that a tenant has accounts with.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        return frozenset(account.carrier for account in await self.of_tenant(tenant_id))

    def changed(self, integration_id: str) -> None:
        """A stored account was changed, or is gone."""
        if self._stored is not None:
            self._stored.changed(integration_id)

    async def close(self) -> None:
        for account in self._accounts.values():
            await account.close()
        if self._stored is not None:
            await self._stored.close()

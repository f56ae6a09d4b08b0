"""Accounts with carriers and providers, as the API sees them: those of the settings, and whether any of them works."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from control.api.ports import SettingsAccount, Trial
from control.egress_policy import EgressPolicy
from control.integrations import (
    DEFAULT,
    PROVIDERS,
    Kind,
    ProviderAddress,
    Vendor,
)
from control.service.provider_accounts import ProviderAccounts, ProviderMissing
from control.stores.keys import DEFAULT_TENANT
from gateway.account_book import Accounts
from gateway.accounts import webhook_urls
from gateway.settings import Settings
from media.realtime.dialects import DIALECTS, connection
from telephony.client_errors import CommandFailed
from telephony.link import Connector, LinkRefused

# Of a whole trial; carriers' clients give up before.
_PATIENCE = 12.0
# A server that has let us in says something, or says nothing: then it has let us in.
_FIRST_WORD = 2.0


class AccountDesk:
    """Driven by the API. Implements `control.api.ports.AccountDesk`."""

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        providers: ProviderAccounts,
        policy: EgressPolicy,
        connect: Connector,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._providers = providers
        self._connect = connect
        self.allowed = policy.excepts
        self.changed = accounts.changed

    def of_settings(self, tenant_id: str) -> Sequence[SettingsAccount]:
        if tenant_id != DEFAULT_TENANT:
            return []
        carriers = [
            SettingsAccount(vendor=Vendor(account.carrier), settings=self._shown(account.carrier))
            for account in self._accounts.of_settings(tenant_id)
        ]
        return [*carriers, self._provider()]

    def webhook_urls(self, vendor: Vendor, integration_id: str) -> Mapping[str, str]:
        if vendor.kind is not Kind.CARRIER or self._settings.public_url is None:
            return {}
        return webhook_urls(self._settings.public_url, vendor.value, integration_id)

    async def tried(
        self, tenant_id: str, vendor: Vendor, integration_id: str, *, patience: float = _PATIENCE
    ) -> Trial:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(patience):
                if vendor.kind is Kind.CARRIER:
                    problem = await self._carrier_problem(vendor, integration_id)
                else:
                    problem = await self._provider_problem(tenant_id, integration_id)
        except TimeoutError:
            problem = f"no answer within {patience:.0f} s"
        return Trial(latency=loop.time() - began, problem=problem)

    # The settings

    def _shown(self, carrier: str) -> dict[str, str]:
        settings = self._settings
        values = {
            "telnyx": {
                "public_key": settings.telnyx_public_key,
                "connection_id": settings.telnyx_connection_id,
                "base_url": settings.telnyx_base_url,
            },
            "twilio": {
                "account_sid": settings.twilio_account_sid,
                "api_key_sid": settings.twilio_api_key_sid,
                "base_url": settings.twilio_base_url,
            },
        }
        return {name: value for name, value in values[carrier].items() if value is not None}

    def _provider(self) -> SettingsAccount:
        settings = self._settings
        url = urlsplit(settings.realtime_url)
        vendor = next(
            (each for each, known in PROVIDERS.items() if url.hostname in known.hosts), Vendor.REALTIME
        )
        return SettingsAccount(
            vendor=vendor,
            settings={
                "url": f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}",
                "dialect": settings.realtime_dialect,
                "model": settings.realtime_model,
            },
        )

    # Trials

    async def _carrier_problem(self, vendor: Vendor, integration_id: str) -> str | None:
        account = await self._accounts.fetch(vendor.value, integration_id)
        if account is None:
            if self._settings.public_url is None:
                return "no carrier can reach this gateway: it has no public URL"
            return "its credentials cannot be read; give them anew"
        try:
            return await account.numbers.trouble()
        except CommandFailed as failed:
            return f"{failed.verdict.value}: {failed.detail}"

    async def _provider_problem(self, tenant_id: str, integration_id: str) -> str | None:
        try:
            address = await self._address(tenant_id, integration_id)
        except ProviderMissing as missing:
            return str(missing)
        url, headers = connection(
            address.url,
            address.api_key,
            address.model or self._settings.realtime_model,
            DIALECTS[address.dialect],
        )
        first = _FirstWord()
        try:
            link = await self._connect(url, first, headers=headers)
        except LinkRefused as refused:
            return f"refused with HTTP {refused.status}"
        except OSError as error:
            return f"cannot be reached: {error.strerror or type(error).__name__}"
        try:
            return await first.problem()
        finally:
            link.close()

    async def _address(self, tenant_id: str, integration_id: str) -> ProviderAddress:
        if integration_id == DEFAULT:
            settings = self._settings
            key = settings.realtime_api_key
            return ProviderAddress(
                settings.realtime_url,
                "" if key is None else key.get_secret_value(),
                settings.realtime_dialect,
                settings.realtime_model,
            )
        if (named := self._settings.providers.get(integration_id)) is not None:
            key = named.api_key
            return ProviderAddress(
                named.url, "" if key is None else key.get_secret_value(), named.dialect, named.model
            )
        return await self._providers.address(tenant_id, integration_id)


class _FirstWord:
    """Hears what a server says first; a `LinkListener`."""

    def __init__(self) -> None:
        self._said: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def problem(self) -> str | None:
        """Return what the server complains of; None: nothing, or it says nothing at all."""
        try:
            async with asyncio.timeout(_FIRST_WORD):
                return await self._said
        except TimeoutError:
            return None

    def message_received(self, message: bytes) -> None:
        self._settle(_complaint(message))

    def pressure(self, paused: bool) -> None:
        pass

    def link_lost(self, code: int | None, reason: str) -> None:
        self._settle(f"the session was closed at once ({code}{': ' + reason if reason else ''})")

    def _settle(self, problem: str | None) -> None:
        if not self._said.done():
            self._said.set_result(problem)


def _complaint(message: bytes) -> str | None:
    try:
        said = json.loads(message)
        if not isinstance(said, dict) or said.get("type") != "error":
            return None
        error = said.get("error")
        return str(error.get("message") or error.get("code")) if isinstance(error, dict) else "an error"
    except ValueError:
        return None

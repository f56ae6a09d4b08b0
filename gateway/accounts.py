"""One account with a carrier: whose webhooks are believed, and through whom calls are commanded.

An account is named by its carrier and its integration id, which stands in the URLs that the carrier calls; the one of
the settings is `default`. It owns its client, and whatever proves that a webhook is the carrier's own. An account stays
the same while calls are with it: new credentials are put into it (`renew`), so that calls in progress go on with them.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, urlsplit

import structlog
from pydantic import SecretStr

from control.effects import Attach, Instruction, PutDown, Refuse
from control.integrations import DEFAULT, TelnyxConfig, TwilioConfig
from control.stores.keys import DEFAULT_TENANT
from gateway.settings import Settings
from telephony.account_numbers import AccountNumbers
from telephony.calls import LegToken, Reported
from telephony.capabilities import CAPABILITIES, Capabilities
from telephony.client_errors import LiveCall, Performed
from telephony.commands import CallCommand
from telephony.telnyx import webhooks as telnyx_webhooks
from telephony.twilio import twiml
from telephony.twilio import webhooks as twilio_webhooks
from telephony.twilio.account_numbers import TwilioNumbers
from telephony.twilio.client import TwilioClient
from telephony.twilio.documents import Documents
from telephony.twilio.webhooks import Endpoint

if TYPE_CHECKING:
    from telephony.telnyx.client import TelnyxClient

log = structlog.get_logger()


class Account(Protocol):
    """One account with a carrier."""

    @property
    def carrier(self) -> str: ...
    @property
    def integration_id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def numbers(self) -> AccountNumbers: ...

    async def perform(self, command: CallCommand) -> Performed:
        """
        Raises:
            CommandFailed: with its verdict.
            CarrierCannot: the carrier has no such request.
        """
        ...

    async def is_alive(self, carrier_call_id: str) -> bool:
        """
        Raises:
            CommandFailed: the carrier does not answer the question.
        """
        ...

    async def live_calls(self, to_number: str | None) -> list[LiveCall]:
        """
        Raises:
            CommandFailed: the carrier does not answer the question.
        """
        ...

    async def close(self) -> None: ...


class TelnyxAccount:
    """One Telnyx account and call control application."""

    carrier = telnyx_webhooks.CARRIER

    def __init__(
        self,
        client: "TelnyxClient",
        numbers: AccountNumbers,
        *,
        public_key: str,
        integration_id: str = DEFAULT,
        tenant_id: str = DEFAULT_TENANT,
    ) -> None:
        """
        Raises:
            ValueError: the key is not an Ed25519 public key.
        """
        telnyx_webhooks.verify_key(public_key)
        self.integration_id = integration_id
        self.tenant_id = tenant_id
        self.capabilities = CAPABILITIES[self.carrier]
        self._client = client
        self._public_key = public_key
        self.numbers = numbers

    def renew(self, fresh: "TelnyxAccount") -> Callable[[], Awaitable[None]]:
        """Take on what a fresh account of the same id has; return what closes the client that was used so far."""
        used = self._client
        self._client, self._public_key, self.numbers = fresh._client, fresh._public_key, fresh.numbers
        return used.close

    async def perform(self, command: CallCommand) -> Performed:
        return await self._client.perform(command)

    async def is_alive(self, carrier_call_id: str) -> bool:
        return await self._client.is_alive(carrier_call_id)

    async def close(self) -> None:
        await self._client.close()

    async def live_calls(self, to_number: str | None) -> list[LiveCall]:  # Telnyx repeats our tokens
        return await self._client.live_calls()

    def reported(self, body: bytes, headers: Mapping[str, str], *, now: float) -> list[Reported]:
        """Return what one webhook says; `now` is unix seconds.

        Raises:
            SignatureRefused: it is not Telnyx's, or is too old.
            CarrierProtocolError: it is, and cannot be read.
        """
        telnyx_webhooks.verify(body, headers, public_key=self._public_key, now=now)
        return telnyx_webhooks.parse(body)


class TwilioAccount:
    """One Twilio account."""

    carrier = twilio_webhooks.CARRIER

    def __init__(
        self,
        client: TwilioClient,
        *,
        auth_token: str,
        public_url: str,
        integration_id: str = DEFAULT,
        tenant_id: str = DEFAULT_TENANT,
    ) -> None:
        self.integration_id = integration_id
        self.tenant_id = tenant_id
        self.capabilities = CAPABILITIES[self.carrier]
        self.auth_token = auth_token
        """What Twilio signs with."""
        self._client = client
        self._public_url = public_url
        self._documents = Documents(public_url, integration_id)
        urls = webhook_urls(public_url, self.carrier, integration_id)
        self.numbers = TwilioNumbers(client, voice_url=urls["voice"], status_url=urls["status"])

    def renew(self, fresh: "TwilioAccount") -> Callable[[], Awaitable[None]]:
        """Take on what a fresh account of the same id has; return what closes the client that was used so far."""
        used = self._client
        self._client, self.auth_token, self.numbers = fresh._client, fresh.auth_token, fresh.numbers
        return used.close

    async def perform(self, command: CallCommand) -> Performed:
        return await self._client.perform(command)

    async def is_alive(self, carrier_call_id: str) -> bool:
        return await self._client.is_alive(carrier_call_id)

    async def close(self) -> None:
        await self._client.close()

    async def live_calls(self, to_number: str | None) -> list[LiveCall]:
        return await self._client.live_calls(to_number=to_number)

    def reported(
        self, endpoint: Endpoint, target: str, body: bytes, headers: Mapping[str, str], token: str | None
    ) -> list[Reported]:
        """Return what one request says; `target` is its path and query as received, `token` the path's, if any.

        Raises:
            SignatureRefused: it is not Twilio's.
            CarrierProtocolError: it is, and cannot be read.
        """
        url = twilio_webhooks.requested_url(self._public_url, target)
        twilio_webhooks.verify(url, body, headers, auth_token=self.auth_token)
        given = token or parse_qs(urlsplit(target).query).get("token", [""])[0]
        return twilio_webhooks.parse(endpoint, body, token=LegToken.parse(given))

    def document(self, instruction: Instruction, token: LegToken) -> str:
        """Return the document that says so; `token` names the leg that is to do it."""
        match instruction:
            case Attach(stream):
                return self._documents.attach(stream, token)
            case Refuse(reason):
                return twiml.reject(reason)
            case PutDown():
                return twiml.hangup()
            case _:
                return self._documents.of(instruction)


CarrierAccount = TelnyxAccount | TwilioAccount


def webhook_urls(public_url: str, carrier: str, integration_id: str) -> dict[str, str]:
    """Return where a carrier tells us of an account's calls, by what is told there."""
    account = f"{public_url.rstrip('/')}/carriers/{carrier}/{integration_id}"
    names = ("webhook",) if carrier == TelnyxAccount.carrier else ("voice", "status")
    return {name: f"{account}/{name}" for name in names}


def settings_accounts(settings: Settings) -> list[CarrierAccount]:
    """Return the accounts that the settings describe in full (`gateway.account_findings` says what one lacks).

    Raises:
        ValueError: Telnyx's public key is none.
    """
    if settings.public_url is None:
        if settings.telnyx_api_key is not None or settings.twilio_account_sid is not None:
            log.warning(
                "no carrier can reach us without a public URL: calls are not controlled",
                setting="OFFHOOK_PUBLIC_URL",
            )
        return []
    return [*_telnyx(settings, settings.public_url), *_twilio(settings, settings.public_url)]


def stored_account(
    config: TelnyxConfig | TwilioConfig, *, public_url: str, integration_id: str, tenant_id: str
) -> CarrierAccount:
    """Return an account as a tenant has given it. Takes its time: the carrier's SDK is imported, TLS prepared."""
    match config:
        case TelnyxConfig(credentials=credentials, settings=settings):
            return _telnyx_account(
                api_key=credentials.api_key.get_secret_value(),
                public_key=settings.public_key,
                connection_id=settings.connection_id,
                base_url=settings.base_url,
                public_url=public_url,
                integration_id=integration_id,
                tenant_id=tenant_id,
            )
        case TwilioConfig(credentials=secrets, settings=settings):
            return _twilio_account(
                account_sid=settings.account_sid,
                auth_token=secrets.auth_token,
                key_sid=settings.api_key_sid,
                key_secret=secrets.api_key_secret,
                base_url=settings.base_url,
                public_url=public_url,
                integration_id=integration_id,
                tenant_id=tenant_id,
            )


def _telnyx(settings: Settings, public_url: str) -> Iterable[TelnyxAccount]:
    key, public_key, connection_id = (
        settings.telnyx_api_key,
        settings.telnyx_public_key,
        settings.telnyx_connection_id,
    )
    if key is not None and public_key is not None and connection_id is not None:
        yield _telnyx_account(
            api_key=key.get_secret_value(),
            public_key=public_key,
            connection_id=connection_id,
            base_url=settings.telnyx_base_url,
            public_url=public_url,
            integration_id=DEFAULT,
            tenant_id=DEFAULT_TENANT,
        )


def _telnyx_account(
    *,
    api_key: str,
    public_key: str,
    connection_id: str,
    base_url: str | None,
    public_url: str,
    integration_id: str,
    tenant_id: str,
) -> TelnyxAccount:
    # Here: Telnyx's SDK takes a second to import, which every command would wait for.
    from telephony.telnyx.account_numbers import TelnyxNumbers
    from telephony.telnyx.client import TelnyxClient

    client = TelnyxClient(api_key=api_key, connection_id=connection_id, base_url=base_url)
    webhook_url = webhook_urls(public_url, TelnyxAccount.carrier, integration_id)["webhook"]
    return TelnyxAccount(
        client,
        TelnyxNumbers(client, webhook_url),
        public_key=public_key,
        integration_id=integration_id,
        tenant_id=tenant_id,
    )


def _twilio(settings: Settings, public_url: str) -> Iterable[TwilioAccount]:
    if settings.twilio_account_sid is None or settings.twilio_auth_token is None:
        return
    yield _twilio_account(
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token,
        key_sid=settings.twilio_api_key_sid,
        key_secret=settings.twilio_api_key_secret,
        base_url=settings.twilio_base_url,
        public_url=public_url,
        integration_id=DEFAULT,
        tenant_id=DEFAULT_TENANT,
    )


def _twilio_account(
    *,
    account_sid: str,
    auth_token: SecretStr,
    key_sid: str | None,
    key_secret: SecretStr | None,
    base_url: str | None,
    public_url: str,
    integration_id: str,
    tenant_id: str,
) -> TwilioAccount:
    """An account that is asked with its API key where it has one, else with the token that it signs with."""
    by_key = key_sid is not None and key_secret is not None
    client = TwilioClient(
        account_sid=account_sid,
        auth_token=(key_secret if by_key and key_secret is not None else auth_token).get_secret_value(),
        username=key_sid if by_key else None,
        public_url=public_url,
        integration_id=integration_id,
        base_url=base_url,
    )
    return TwilioAccount(
        client,
        auth_token=auth_token.get_secret_value(),
        public_url=public_url,
        integration_id=integration_id,
        tenant_id=tenant_id,
    )

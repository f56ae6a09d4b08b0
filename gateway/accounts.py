"""The carrier accounts of this gateway: whose webhooks are believed, and through whom calls are commanded.

An account is named by its carrier and its integration id, which stands in the URLs that the carrier calls; the one of
the settings is `default`. It owns its client, and whatever proves that a webhook is the carrier's own.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, urlsplit

import structlog

from control.effects import Attach, Instruction, PutDown, Refuse
from gateway.settings import Settings
from telephony.calls import LegToken, Reported
from telephony.capabilities import CAPABILITIES, Capabilities
from telephony.client_errors import LiveCall, Performed
from telephony.commands import CallCommand
from telephony.telnyx import webhooks as telnyx_webhooks
from telephony.twilio import twiml
from telephony.twilio import webhooks as twilio_webhooks
from telephony.twilio.client import TwilioClient
from telephony.twilio.documents import Documents
from telephony.twilio.webhooks import Endpoint

if TYPE_CHECKING:
    from telephony.telnyx.client import TelnyxClient

log = structlog.get_logger()

DEFAULT = "default"
"""The integration id of the account that the settings describe."""


class Account(Protocol):
    """One account with a carrier."""

    @property
    def carrier(self) -> str: ...
    @property
    def integration_id(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...

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

    def __init__(self, client: "TelnyxClient", *, public_key: str, integration_id: str = DEFAULT) -> None:
        """
        Raises:
            ValueError: the key is not an Ed25519 public key.
        """
        telnyx_webhooks.verify_key(public_key)
        self.integration_id = integration_id
        self.capabilities = CAPABILITIES[self.carrier]
        self._client = client
        self._public_key = public_key
        self.perform = client.perform
        self.is_alive = client.is_alive
        self.close = client.close

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
        self, client: TwilioClient, *, auth_token: str, public_url: str, integration_id: str = DEFAULT
    ) -> None:
        self.integration_id = integration_id
        self.capabilities = CAPABILITIES[self.carrier]
        self._client = client
        self._auth_token = auth_token
        self._public_url = public_url
        self._documents = Documents(public_url, integration_id)
        self.perform = client.perform
        self.is_alive = client.is_alive
        self.close = client.close

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
        twilio_webhooks.verify(url, body, headers, auth_token=self._auth_token)
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


class Accounts:
    """Every account, by carrier and integration id."""

    def __init__(self, accounts: Iterable[TelnyxAccount | TwilioAccount] = ()) -> None:
        self._accounts = {(account.carrier, account.integration_id): account for account in accounts}

    def __len__(self) -> int:
        return len(self._accounts)

    def find(self, carrier: str, integration_id: str = DEFAULT) -> Account | None:
        return self._accounts.get((carrier, integration_id))

    def telnyx(self, integration_id: str) -> TelnyxAccount | None:
        account = self._accounts.get((TelnyxAccount.carrier, integration_id))
        return account if isinstance(account, TelnyxAccount) else None

    def twilio(self, integration_id: str) -> TwilioAccount | None:
        account = self._accounts.get((TwilioAccount.carrier, integration_id))
        return account if isinstance(account, TwilioAccount) else None

    def all(self) -> list[Account]:
        return list(self._accounts.values())

    async def close(self) -> None:
        for account in self._accounts.values():
            await account.close()


def accounts_of(settings: Settings) -> Accounts:
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
        return Accounts()
    return Accounts([*_telnyx(settings), *_twilio(settings, settings.public_url)])


def _telnyx(settings: Settings) -> Iterable[TelnyxAccount]:
    key, public_key, connection_id = (
        settings.telnyx_api_key,
        settings.telnyx_public_key,
        settings.telnyx_connection_id,
    )
    if key is not None and public_key is not None and connection_id is not None:
        # Here: Telnyx's SDK takes a second to import, which every command would wait for.
        from telephony.telnyx.client import TelnyxClient

        client = TelnyxClient(
            api_key=key.get_secret_value(), connection_id=connection_id, base_url=settings.telnyx_base_url
        )
        yield TelnyxAccount(client, public_key=public_key)


def _twilio(settings: Settings, public_url: str) -> Iterable[TwilioAccount]:
    sid, token = settings.twilio_account_sid, settings.twilio_auth_token
    if sid is None or token is None:
        return
    key, secret = settings.twilio_api_key_sid, settings.twilio_api_key_secret
    by_key = key is not None and secret is not None
    client = TwilioClient(
        account_sid=sid,
        auth_token=(secret if by_key and secret is not None else token).get_secret_value(),
        username=key if by_key else None,
        public_url=public_url,
        integration_id=DEFAULT,
        base_url=settings.twilio_base_url,
    )
    yield TwilioAccount(client, auth_token=token.get_secret_value(), public_url=public_url)

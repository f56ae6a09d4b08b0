"""Accounts with carriers and speech providers: which there can be, what each needs, and what of it is secret.

Theory of operation. An account is one of a *vendor*, and what it needs has two halves: *credentials*, which are
encrypted at rest and never shown again, and *settings*, which are neither. The addresses that a tenant may send us to
are the vendor's own; any other must be named by the operator (`control.egress_policy`), since a gateway sits inside
somebody's network.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from control.configuration import Part, WebUrl, Word
from media.realtime.dialects import DIALECTS
from telephony.telnyx.webhooks import verify_key

DEFAULT = "default"
"""The id of every account that the settings describe; its carrier tells them apart."""

_ID = re.compile(r"int_[0-9a-f]{24}")


def is_account_id(name: str) -> bool:
    """Whether an account that is stored may have this id."""
    return _ID.fullmatch(name) is not None


class Kind(StrEnum):
    """What an account is good for."""

    CARRIER = "carrier"
    PROVIDER = "provider"


class Vendor(StrEnum):
    """Whose account it is."""

    TELNYX = "telnyx"
    TWILIO = "twilio"
    OPENAI = "openai"
    AZURE = "azure"
    XAI = "xai"
    REALTIME = "realtime"
    """Any other server that speaks the OpenAI Realtime wire."""

    @property
    def kind(self) -> Kind:
        return Kind.CARRIER if self in (Vendor.TELNYX, Vendor.TWILIO) else Kind.PROVIDER


@dataclass(frozen=True, slots=True)
class ProviderVendor:
    """What is known of a vendor of speech models."""

    dialect: str | None
    """None: the account says."""
    url: str | None
    """Where its sessions are opened, unless the account says; None: it has to."""
    hosts: tuple[str, ...]
    """Its own: these, and whatever lies below them."""


PROVIDERS: Mapping[Vendor, ProviderVendor] = {
    Vendor.OPENAI: ProviderVendor("openai", "wss://api.openai.com/v1/realtime", ("api.openai.com",)),
    # Azure gives every resource a host of its own.
    Vendor.AZURE: ProviderVendor(
        "azure", None, ("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com")
    ),
    Vendor.XAI: ProviderVendor("xai", "wss://api.x.ai/v1/realtime", ("api.x.ai",)),
    Vendor.REALTIME: ProviderVendor(None, None, ()),
}


def _headerable(secret: SecretStr) -> SecretStr:
    """Secrets travel in headers, where a space or a line break would end them (RFC 9110, section 5.5)."""
    text = secret.get_secret_value()
    if not text or len(text) > 512 or not all("!" <= letter <= "~" for letter in text):
        raise ValueError("is 1 to 512 printable ASCII characters, without spaces")
    return secret


def _public_key(key: str) -> str:
    verify_key(key)
    return key


def _websocket_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError("is a ws or wss URL")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must hold neither credentials nor a fragment")
    return url


Secret = Annotated[SecretStr, AfterValidator(_headerable)]
SocketUrl = Annotated[str, StringConstraints(max_length=2_000), AfterValidator(_websocket_url)]


class TelnyxCredentials(Part):
    """What Telnyx is asked with."""

    api_key: Secret = Field(description="API key, `KEY...`.")


class TelnyxSettings(Part):
    """A Telnyx account's call control application."""

    public_key: Annotated[str, StringConstraints(max_length=100), AfterValidator(_public_key)] = Field(
        description="The account's public key, in base64; checks the signature of its webhooks."
    )
    connection_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")] = Field(
        description="Id of the Call Control application that calls go through."
    )
    base_url: WebUrl | None = Field(
        default=None, description="Another address of the API; only hosts that the operator allows."
    )


class TelnyxConfig(Part):
    """All of a Telnyx account."""

    credentials: TelnyxCredentials
    settings: TelnyxSettings


class TwilioCredentials(Part):
    """What Twilio is asked with, and what its signatures are checked with."""

    auth_token: Secret = Field(description="The account's primary auth token; checks signatures.")
    api_key_secret: Secret | None = Field(
        default=None, description="Of the API key that Twilio is asked with instead of the token."
    )


class TwilioSettings(Part):
    """A Twilio account."""

    account_sid: Annotated[str, StringConstraints(pattern=r"^AC[0-9a-fA-F]{32}$")] = Field(
        description="SID of the account, `AC...`."
    )
    api_key_sid: Annotated[str, StringConstraints(pattern=r"^SK[0-9a-fA-F]{32}$")] | None = Field(
        default=None, description="SID of that API key, `SK...`."
    )
    base_url: WebUrl | None = Field(
        default=None, description="Another address of the API; only hosts that the operator allows."
    )


class TwilioConfig(Part):
    """All of a Twilio account."""

    credentials: TwilioCredentials
    settings: TwilioSettings

    @model_validator(mode="after")
    def _whole_key(self) -> Self:
        if (self.settings.api_key_sid is None) != (self.credentials.api_key_secret is None):
            raise ValueError("settings.api_key_sid and credentials.api_key_secret come together")
        return self


class ProviderCredentials(Part):
    """What a provider is asked with."""

    api_key: Secret | None = Field(default=None, description="The key that it wants.")


class ProviderSettings(Part):
    """Where a provider's sessions are opened."""

    url: SocketUrl | None = Field(
        default=None,
        description="Websocket URL of its sessions; the vendor's own, or of a host that the operator allows.",
    )
    model: Word | None = Field(
        default=None, description="The model of agents that are with this account and name none."
    )
    dialect: (
        Literal["openai", "beta", "azure", "xai", "speaches", "hf", "vllm-omni", "vllm-omni-duplex"] | None
    ) = Field(default=None, description="How the server spells the wire; of vendor `realtime` alone.")


class ProviderConfig(Part):
    """All of an account with a provider."""

    credentials: ProviderCredentials
    settings: ProviderSettings


class KeyedProviderConfig(ProviderConfig):
    """Of a vendor that lets nobody in without a key, and speaks its own dialect."""

    @model_validator(mode="after")
    def _key_and_no_dialect(self) -> Self:
        if self.credentials.api_key is None:
            raise ValueError("credentials.api_key is missing")
        if self.settings.dialect is not None:
            raise ValueError("settings.dialect is for vendor realtime alone")
        return self


class AddressedProviderConfig(KeyedProviderConfig):
    """Of a vendor that has an address for each customer."""

    @model_validator(mode="after")
    def _address(self) -> Self:
        if self.settings.url is None:
            raise ValueError("settings.url is missing: the vendor has one for each resource")
        return self


class RealtimeConfig(ProviderConfig):
    """Of a server of somebody's own."""

    @model_validator(mode="after")
    def _address(self) -> Self:
        if self.settings.url is None:
            raise ValueError("settings.url is missing")
        return self


Config = TelnyxConfig | TwilioConfig | ProviderConfig

CONFIGS: Mapping[Vendor, type[TelnyxConfig] | type[TwilioConfig] | type[ProviderConfig]] = {
    Vendor.TELNYX: TelnyxConfig,
    Vendor.TWILIO: TwilioConfig,
    Vendor.OPENAI: KeyedProviderConfig,
    Vendor.AZURE: AddressedProviderConfig,
    Vendor.XAI: KeyedProviderConfig,
    Vendor.REALTIME: RealtimeConfig,
}
"""What an account of each vendor is made of."""

IDENTITY = ("account_sid", "connection_id", "base_url")
"""The settings of a carrier account that say which one it is: its numbers and calls are that one's."""


def settings_of(config: Config) -> dict[str, str]:
    """Return what may be shown."""
    shown: dict[str, str] = config.settings.model_dump(mode="json", exclude_none=True)
    return shown


def secrets_of(config: Config) -> str:
    """Return the credentials as text: for a cipher, and for nobody else."""
    secrets = {name: getattr(config.credentials, name) for name in type(config.credentials).model_fields}
    return json.dumps(
        {name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None}
    )


def read(vendor: Vendor, secrets: str, settings: Mapping[str, Any]) -> Config:
    """Return an account as it was kept.

    Raises:
        ValueError: it was kept by a release with other rules.
    """
    return CONFIGS[vendor].model_validate({"credentials": json.loads(secrets), "settings": dict(settings)})


def foreign_address(vendor: Vendor, config: Config) -> tuple[str, str] | None:
    """Return the address of an account that is not its vendor's own, with its JSON pointer."""
    if isinstance(config, ProviderConfig):
        url = config.settings.url
        if url is None or _is_own(url, PROVIDERS[vendor].hosts):
            return None
        return "/settings/url", url
    return None if config.settings.base_url is None else ("/settings/base_url", config.settings.base_url)


def _is_own(url: str, hosts: tuple[str, ...]) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return (
        parts.scheme == "wss"
        and parts.port in (None, 443)
        and any(host == own or host.endswith(f".{own}") for own in hosts)
    )


@dataclass(frozen=True, slots=True)
class ProviderAddress:
    """Where a provider's sessions are opened, and with what."""

    url: str
    api_key: str = field(repr=False)
    dialect: str
    model: str | None
    """Of agents that name none."""


def provider_address(vendor: Vendor, config: ProviderConfig) -> ProviderAddress:
    known, own = PROVIDERS[vendor], config.settings
    url = own.url or known.url
    assert url is not None, "the vendor's configuration asks for it"
    key = config.credentials.api_key
    dialect = known.dialect or own.dialect or "openai"
    assert dialect in DIALECTS, "the configuration's choices are the table's names"
    return ProviderAddress(url, "" if key is None else key.get_secret_value(), dialect, config.settings.model)

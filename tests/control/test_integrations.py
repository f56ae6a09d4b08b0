"""What an account of each vendor needs, what of it is secret, and which addresses are a vendor's own."""

import json
from base64 import b64encode
from typing import Any

import pytest
from pydantic import ValidationError

from control.integrations import (
    CONFIGS,
    Kind,
    ProviderConfig,
    Vendor,
    foreign_address,
    provider_address,
    read,
    secrets_of,
    settings_of,
)

KEY = b64encode(bytes(range(32))).decode()
TELNYX = {"credentials": {"api_key": "KEY1"}, "settings": {"public_key": KEY, "connection_id": "149"}}
TWILIO = {"credentials": {"auth_token": "t"}, "settings": {"account_sid": "AC" + "1" * 32}}


def provider(key: str | None = "k", **settings: str) -> dict[str, Any]:
    return {"credentials": {} if key is None else {"api_key": key}, "settings": settings}


WHOLE = [
    (Vendor.TELNYX, TELNYX),
    (Vendor.TWILIO, TWILIO),
    (Vendor.OPENAI, provider()),
    (Vendor.AZURE, provider(url="wss://x.openai.azure.com/openai/v1/realtime")),
    (Vendor.XAI, provider(model="grok-voice-latest")),
    (Vendor.REALTIME, provider(None, url="ws://10.0.0.1:8090/v1/realtime", dialect="hf")),
]


@pytest.mark.parametrize(("vendor", "given"), WHOLE)
def test_an_account_is_read_back_from_what_is_kept_of_it(vendor: Vendor, given: dict[str, Any]) -> None:
    config = CONFIGS[vendor].model_validate(given)
    assert json.loads(secrets_of(config)) == given["credentials"]
    assert settings_of(config) == given["settings"]
    assert read(vendor, secrets_of(config), settings_of(config)) == config
    assert not any(secret in repr(config) for secret in ("KEY1", "'t'", "'k'"))


def test_every_vendor_is_known_and_of_a_kind() -> None:
    assert set(CONFIGS) == set(Vendor)
    assert {vendor for vendor in Vendor if vendor.kind is Kind.CARRIER} == {Vendor.TELNYX, Vendor.TWILIO}


@pytest.mark.parametrize(
    ("vendor", "given", "where"),
    [
        (Vendor.TELNYX, {**TELNYX, "credentials": {}}, ("credentials", "api_key")),
        (Vendor.TELNYX, {**TELNYX, "credentials": {"api_key": "a b"}}, ("credentials", "api_key")),
        (Vendor.TELNYX, {**TELNYX, "credentials": {"api_key": "x", "token": "y"}}, ("credentials", "token")),
        (
            Vendor.TELNYX,
            {**TELNYX, "settings": {"public_key": "AAAA", "connection_id": "1"}},
            ("settings", "public_key"),
        ),
        (
            Vendor.TELNYX,
            {**TELNYX, "settings": {"public_key": KEY, "connection_id": "1/../2"}},
            ("settings", "connection_id"),
        ),
        (Vendor.TWILIO, {**TWILIO, "settings": {"account_sid": "AC1"}}, ("settings", "account_sid")),
        (
            Vendor.TWILIO,
            {**TWILIO, "settings": {**TWILIO["settings"], "api_key_sid": "SK" + "2" * 32}},
            (),
        ),
        (Vendor.OPENAI, provider(None), ()),
        (Vendor.OPENAI, provider(dialect="xai"), ()),
        (Vendor.AZURE, provider(), ()),
        (Vendor.REALTIME, provider(), ()),
        (Vendor.REALTIME, provider(url="https://example.com"), ("settings", "url")),
        (Vendor.REALTIME, provider(url="wss://u:p@example.com"), ("settings", "url")),
        (Vendor.REALTIME, provider(url="wss://example.com", dialect="klingon"), ("settings", "dialect")),
    ],
)
def test_what_is_missing_or_wrong_is_said_by_its_place_and_not_repeated(
    vendor: Vendor, given: dict[str, Any], where: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        CONFIGS[vendor].model_validate(given)
    assert [error["loc"] for error in refused.value.errors()] == [where]
    assert "a b" not in str(refused.value)


@pytest.mark.parametrize(
    ("vendor", "settings", "foreign"),
    [
        (Vendor.OPENAI, {}, None),
        (Vendor.OPENAI, {"url": "wss://eu.api.openai.com/v1/realtime"}, None),
        (Vendor.OPENAI, {"url": "ws://api.openai.com/v1/realtime"}, "/settings/url"),
        (Vendor.OPENAI, {"url": "wss://api.openai.com:8443/v1/realtime"}, "/settings/url"),
        (Vendor.OPENAI, {"url": "wss://notapi.openai.com.evil.example"}, "/settings/url"),
        (Vendor.OPENAI, {"url": "wss://evilapi.openai.com"}, "/settings/url"),
        (Vendor.AZURE, {"url": "wss://x.openai.azure.com/openai/v1/realtime"}, None),
        (Vendor.REALTIME, {"url": "wss://example.com"}, "/settings/url"),
    ],
)
def test_an_address_that_is_not_the_vendors_is_told(
    vendor: Vendor, settings: dict[str, str], foreign: str | None
) -> None:
    config = CONFIGS[vendor].model_validate(provider(**settings))
    found = foreign_address(vendor, config)
    assert found == (None if foreign is None else (foreign, settings["url"]))


def test_another_address_of_a_carrier_is_nobodys_own() -> None:
    given = {**TELNYX, "settings": {**TELNYX["settings"], "base_url": "https://api.telnyx.com/v2"}}
    found = foreign_address(Vendor.TELNYX, CONFIGS[Vendor.TELNYX].model_validate(given))
    assert found == ("/settings/base_url", "https://api.telnyx.com/v2")


def test_a_providers_sessions_are_opened_at_its_address_in_its_dialect() -> None:
    def address(vendor: Vendor, given: dict[str, Any]) -> tuple[str, str, str, str | None]:
        config = CONFIGS[vendor].model_validate(given)
        assert isinstance(config, ProviderConfig)
        found = provider_address(vendor, config)
        return found.url, found.api_key, found.dialect, found.model

    assert address(Vendor.OPENAI, provider()) == ("wss://api.openai.com/v1/realtime", "k", "openai", None)
    assert address(Vendor.XAI, provider(model="grok")) == ("wss://api.x.ai/v1/realtime", "k", "xai", "grok")
    own = provider(None, url="wss://example.com", dialect="hf")
    assert address(Vendor.REALTIME, own) == ("wss://example.com", "", "hf", None)

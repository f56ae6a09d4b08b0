"""The carriers' accounts of the settings: what is half there is named, with what it costs."""

from base64 import b64encode

import pytest

from gateway.account_findings import account_findings
from gateway.finding import Finding
from gateway.settings import Settings
from tests.gateway.test_settings import nowhere

__all__ = ["nowhere"]  # the fixture, for every test here

PUBLIC = {"public_url": "https://example.com"}
TELNYX: dict[str, object] = {
    "telnyx_api_key": "KEY-of-telnyx",
    "telnyx_public_key": b64encode(bytes(32)).decode(),
    "telnyx_connection_id": "1494404757140276705",
}
TWILIO: dict[str, object] = {"twilio_account_sid": "AC" + "0f" * 16, "twilio_auth_token": "token-of-twilio"}
API_KEY: dict[str, object] = {
    "twilio_api_key_sid": "SK" + "0f" * 16,
    "twilio_api_key_secret": "secret-of-key",
}


def found(values: dict[str, object]) -> list[Finding]:
    return account_findings(Settings.model_validate(values))


def faults(values: dict[str, object]) -> dict[str, str]:
    return {
        each.setting.removeprefix("OFFHOOK_"): each.problem for each in found(values) if each.level != "note"
    }


@pytest.mark.parametrize(
    "values",
    [
        {},
        {**PUBLIC, **TELNYX},
        {**PUBLIC, **TWILIO},
        {**PUBLIC, **TWILIO, **API_KEY, **TELNYX},
        {"public_url": "http://127.0.0.1:8080", **TELNYX, "telnyx_base_url": "http://127.0.0.1:9000"},
        # Signatures are checked without calls being controlled: media streams of the account's own documents.
        {**PUBLIC, "twilio_auth_token": "token-of-twilio"},
    ],
)
def test_a_whole_account_or_none_has_no_fault(values: dict[str, object]) -> None:
    assert faults(values) == {}


@pytest.mark.parametrize(
    ("missing", "cost"),
    [
        ("telnyx_api_key", "answered"),
        ("telnyx_public_key", "refused"),
        ("telnyx_connection_id", "no call can be dialled"),
    ],
)
def test_half_a_telnyx_account_says_what_it_lacks(missing: str, cost: str) -> None:
    half = {name: value for name, value in TELNYX.items() if name != missing}
    problems = faults({**PUBLIC, **half})
    assert list(problems) == [missing.upper()]
    assert cost in problems[missing.upper()]


@pytest.mark.parametrize(
    ("values", "setting", "problem"),
    [
        ({**PUBLIC, "twilio_account_sid": "AC" + "0f" * 16}, "TWILIO_AUTH_TOKEN", "refused"),
        ({**PUBLIC, **TWILIO, "twilio_api_key_sid": "SK" + "0f" * 16}, "TWILIO_API_KEY_SECRET", "no use"),
        ({**PUBLIC, **TWILIO, "twilio_api_key_secret": "s"}, "TWILIO_API_KEY_SID", "no use"),
        ({**PUBLIC, **TWILIO, "twilio_account_sid": "SK" + "0f" * 16}, "TWILIO_ACCOUNT_SID", "AC and 32"),
        (TWILIO, "PUBLIC_URL", "refused"),
        (TELNYX, "PUBLIC_URL", "no address"),
        ({"telnyx_base_url": "https://carrier.example"}, "TELNYX_BASE_URL", "does nothing"),
        (
            {**PUBLIC, **TWILIO, "twilio_base_url": "http://carrier.example"},
            "TWILIO_BASE_URL",
            "in the clear",
        ),
    ],
)
def test_each_fault_of_an_account_is_explained(values: dict[str, object], setting: str, problem: str) -> None:
    assert problem in faults(values)[setting]
    assert all(each.remedy for each in found(values))


def test_an_api_key_alone_is_no_account() -> None:
    assert set(faults({**PUBLIC, **API_KEY})) == {"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"}


def test_no_finding_repeats_a_secret() -> None:
    for values in (TELNYX, TWILIO, {**TWILIO, **API_KEY}, {"telnyx_api_key": "KEY-of-telnyx"}):
        told = repr(found(dict(values)))
        assert "of-telnyx" not in told
        assert "of-twilio" not in told
        assert "of-key" not in told

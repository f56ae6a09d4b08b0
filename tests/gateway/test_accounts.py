"""Accounts: whole ones are there, their secrets prove what is theirs, and answers are their carrier's documents."""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from control.effects import Attach, PutDown, Refuse
from control.integrations import TelnyxConfig
from gateway.accounts import TelnyxAccount, TwilioAccount, settings_accounts, stored_account, webhook_urls
from gateway.settings import Settings
from telephony.calls import LegToken
from telephony.commands import MediaStream, RejectReason, Transfer
from telephony.errors import CarrierProtocolError
from telephony.signatures import SignatureRefused
from telephony.twilio.webhooks import Endpoint

# carriers.md, section G: computed with the carriers' own SDKs.
PUBLIC_KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
TELNYX_BODY = (
    b'{"data":{"record_type":"event","event_type":"call.initiated",'
    b'"id":"0ccc7b54-4df3-4bca-a65a-3da1ecc777f0"}}'
)
TELNYX_SIGNATURE = "L6oTO7PwGT+277r2w2zNnNHks+zAWSabxKklaNLBHih194OWApGtf+00zGOlQf2TzkAA5O3oYLqepxf22AioBg=="
TELNYX: dict[str, Any] = {"telnyx_api_key": "k", "telnyx_public_key": PUBLIC_KEY, "telnyx_connection_id": "1"}
TWILIO: dict[str, Any] = {"twilio_account_sid": "AC" + "1" * 32, "twilio_auth_token": "12345"}


def telnyx(tmp_path: Path, **values: Any) -> TelnyxAccount:
    """The one account of the settings."""
    (account,) = settings_accounts(Settings(data_dir=tmp_path, public_url="https://example.com", **values))
    assert isinstance(account, TelnyxAccount)
    return account


def twilio(tmp_path: Path, **values: Any) -> TwilioAccount:
    (account,) = settings_accounts(Settings(data_dir=tmp_path, public_url="https://example.com", **values))
    assert isinstance(account, TwilioAccount)
    return account


def close(account: TelnyxAccount | TwilioAccount) -> None:
    asyncio.run(account.close())


def test_an_account_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    whole = settings_accounts(
        Settings(data_dir=tmp_path, public_url="https://example.com", **TELNYX, **TWILIO)
    )
    assert [(each.carrier, each.integration_id, each.tenant_id) for each in whole] == [
        ("telnyx", "default", "default"),
        ("twilio", "default", "default"),
    ]
    half: dict[str, Any] = {"telnyx_api_key": "k", "twilio_auth_token": "t"}
    assert settings_accounts(Settings(data_dir=tmp_path, public_url="https://example.com", **half)) == []
    for each in whole:
        close(each)


def test_without_a_public_url_no_carrier_can_be_told_where_we_are(tmp_path: Path) -> None:
    assert settings_accounts(Settings(data_dir=tmp_path, **TELNYX, **TWILIO)) == []


def test_carriers_are_told_of_a_place_for_each_account() -> None:
    assert webhook_urls("https://example.com/x/", "telnyx", "int_1") == {
        "webhook": "https://example.com/x/carriers/telnyx/int_1/webhook"
    }
    assert webhook_urls("https://example.com", "twilio", "default") == {
        "voice": "https://example.com/carriers/twilio/default/voice",
        "status": "https://example.com/carriers/twilio/default/status",
    }


def test_telnyx_is_believed_for_its_key(tmp_path: Path) -> None:
    account = telnyx(tmp_path, **TELNYX)
    headers = {"telnyx-signature-ed25519": TELNYX_SIGNATURE, "telnyx-timestamp": "1700000000"}
    with pytest.raises(SignatureRefused) as stale:
        account.reported(TELNYX_BODY, headers, now=1_700_000_301)
    assert stale.value.code == "stale_timestamp"
    with pytest.raises(SignatureRefused):
        account.reported(TELNYX_BODY + b" ", headers, now=1_700_000_000)
    close(account)


def test_twilio_is_believed_for_its_token_and_our_public_url(tmp_path: Path) -> None:
    account = twilio(tmp_path, **TWILIO)
    body = b"CallSid=CA1234567890ABCDE&From=%2B14158675310&To=%2B18005551212&CallStatus=ringing"
    headers = {
        "x-twilio-signature": "Ykh8GyY7vCPUfDfLzoHaRa2SIGQ=",
        "content-type": "application/x-www-form-urlencoded",
    }
    events = account.reported(Endpoint.STATUS, "/twilio/voice", body, headers, None)
    assert len(events) == 1
    with pytest.raises(SignatureRefused):
        account.reported(Endpoint.STATUS, "/twilio/voice?x=1", body, headers, None)
    close(account)


def test_every_instruction_is_a_document(tmp_path: Path) -> None:
    account = twilio(tmp_path, **TWILIO)
    token = LegToken("call_1")
    attached = account.document(Attach(MediaStream(url="wss://example.com/media/twilio/t")), token)
    assert "<Stream" in attached
    assert "https://example.com/carriers/twilio/default/after-stream/call_1" in attached
    assert '<Reject reason="busy"' in account.document(Refuse(RejectReason.BUSY), token)
    assert "<Hangup" in account.document(PutDown(), token)
    transfer = Transfer(
        command_id="t",
        carrier_call_id="CA1",
        token=LegToken("call_1", "t_1"),
        destination="+13125550177",
        caller_id="+13125550101",
    )
    dialled = account.document(transfer, token)
    assert "https://example.com/carriers/twilio/default/dial/call_1.t_1" in dialled
    close(account)


def test_a_key_of_twilios_signs_requests_and_the_auth_token_proves_webhooks(tmp_path: Path) -> None:
    account = twilio(
        tmp_path,
        twilio_api_key_sid="SK" + "2" * 32,
        twilio_api_key_secret="secret",
        **TWILIO,
    )
    assert account.capabilities.carrier == "twilio"
    close(account)


def test_new_credentials_are_taken_on_by_the_account_that_calls_have() -> None:
    def made(public_key: str, connection: str) -> TelnyxAccount:
        config = TelnyxConfig.model_validate(
            {
                "credentials": {"api_key": "KEY"},
                "settings": {"public_key": public_key, "connection_id": connection},
            }
        )
        account = stored_account(
            config, public_url="https://example.com", integration_id="int_1", tenant_id="acme"
        )
        assert isinstance(account, TelnyxAccount)
        return account

    headers = {"telnyx-signature-ed25519": TELNYX_SIGNATURE, "telnyx-timestamp": "1700000000"}
    account = made(b64encode(bytes(32)).decode(), "1")
    with pytest.raises(SignatureRefused):
        account.reported(TELNYX_BODY, headers, now=1_700_000_000)
    close_used = account.renew(made(PUBLIC_KEY, "2"))
    with pytest.raises(CarrierProtocolError):  # proved, and no event of a call
        account.reported(TELNYX_BODY, headers, now=1_700_000_000)
    asyncio.run(_all(close_used(), account.close()))


async def _all(*closing: Awaitable[None]) -> None:
    for each in closing:
        await each

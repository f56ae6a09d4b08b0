"""Accounts: whole ones are there, their secrets prove what is theirs, and answers are their carrier's documents."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from control.effects import Attach, PutDown, Refuse
from gateway.accounts import Accounts, accounts_of
from gateway.settings import Settings
from telephony.calls import LegToken
from telephony.commands import MediaStream, RejectReason, Transfer
from telephony.signatures import SignatureRefused
from telephony.twilio.webhooks import Endpoint

# carriers.md, section G: computed with the carriers' own SDKs.
PUBLIC_KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
TELNYX_BODY = (
    b'{"data":{"record_type":"event","event_type":"call.initiated",'
    b'"id":"0ccc7b54-4df3-4bca-a65a-3da1ecc777f0"}}'
)
TELNYX_SIGNATURE = "L6oTO7PwGT+277r2w2zNnNHks+zAWSabxKklaNLBHih194OWApGtf+00zGOlQf2TzkAA5O3oYLqepxf22AioBg=="
TELNYX = {"telnyx_api_key": "k", "telnyx_public_key": PUBLIC_KEY, "telnyx_connection_id": "1"}
TWILIO = {"twilio_account_sid": "AC" + "1" * 32, "twilio_auth_token": "12345"}


def accounts(tmp_path: Path, **values: Any) -> Accounts:
    settings = Settings(data_dir=tmp_path, **values)
    return accounts_of(settings)


def close(opened: Accounts) -> None:
    asyncio.run(opened.close())


def test_an_account_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    whole = accounts(tmp_path, public_url="https://example.com", **TELNYX, **TWILIO)
    assert sorted(account.carrier for account in whole.all()) == ["telnyx", "twilio"]
    assert whole.find("telnyx") is whole.telnyx("default")
    assert whole.find("twilio") is whole.twilio("default")
    assert whole.find("telnyx", "other") is None
    assert whole.telnyx("other") is None
    assert whole.twilio("other") is None
    half = accounts(tmp_path, public_url="https://example.com", telnyx_api_key="k", twilio_auth_token="t")
    assert len(half) == 0
    close(whole)


def test_without_a_public_url_no_carrier_can_be_told_where_we_are(tmp_path: Path) -> None:
    assert len(accounts(tmp_path, **TELNYX, **TWILIO)) == 0


def test_telnyx_is_believed_for_its_key(tmp_path: Path) -> None:
    opened = accounts(tmp_path, public_url="https://example.com", **TELNYX)
    account = opened.telnyx("default")
    assert account is not None
    headers = {"telnyx-signature-ed25519": TELNYX_SIGNATURE, "telnyx-timestamp": "1700000000"}
    with pytest.raises(SignatureRefused) as stale:
        account.reported(TELNYX_BODY, headers, now=1_700_000_301)
    assert stale.value.code == "stale_timestamp"
    with pytest.raises(SignatureRefused):
        account.reported(TELNYX_BODY + b" ", headers, now=1_700_000_000)
    close(opened)


def test_twilio_is_believed_for_its_token_and_our_public_url(tmp_path: Path) -> None:
    opened = accounts(tmp_path, public_url="https://example.com", **TWILIO)
    account = opened.twilio("default")
    assert account is not None
    body = b"CallSid=CA1234567890ABCDE&From=%2B14158675310&To=%2B18005551212&CallStatus=ringing"
    headers = {
        "x-twilio-signature": "Ykh8GyY7vCPUfDfLzoHaRa2SIGQ=",
        "content-type": "application/x-www-form-urlencoded",
    }
    events = account.reported(Endpoint.STATUS, "/twilio/voice", body, headers, None)
    assert len(events) == 1
    with pytest.raises(SignatureRefused):
        account.reported(Endpoint.STATUS, "/twilio/voice?x=1", body, headers, None)
    close(opened)


def test_every_instruction_is_a_document(tmp_path: Path) -> None:
    opened = accounts(tmp_path, public_url="https://example.com", **TWILIO)
    account = opened.twilio("default")
    assert account is not None
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
    close(opened)


def test_a_key_of_twilios_signs_requests_and_the_auth_token_proves_webhooks(tmp_path: Path) -> None:
    opened = accounts(
        tmp_path,
        public_url="https://example.com",
        twilio_api_key_sid="SK" + "2" * 32,
        twilio_api_key_secret="secret",
        **TWILIO,
    )
    account = opened.twilio("default")
    assert account is not None
    assert account.capabilities.carrier == "twilio"
    close(opened)

"""Carriers' requests over real sockets: proved, read, told once, answered at once."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import time as unix_time
from urllib.parse import urlencode

import aiohttp
import pytest
from nacl.signing import SigningKey
from twilio.request_validator import RequestValidator

from control.effects import Attach, Instruction, PutDown, Refuse
from gateway.account_book import Accounts
from gateway.accounts import TelnyxAccount, TwilioAccount
from gateway.media_auth import MediaAuth, StreamTokens
from gateway.server import create_app, serving
from gateway.webhook_endpoint import LARGEST_BODY, WebhookEndpoint
from telephony.calls import CallEvent, HungUp, Initiated, LegToken, TwimlPurpose, TwimlRequested
from telephony.commands import MediaStream, RejectReason
from telephony.telnyx.account_numbers import TelnyxNumbers
from telephony.telnyx.client import TelnyxClient
from telephony.twilio.client import TwilioClient
from tests.conftest import RunAsync

pytestmark = pytest.mark.sockets

KEY = SigningKey(bytes(range(32)))
TOKEN = "12345"
SID = "AC" + "1" * 32
PUBLIC = "https://gw.example.com/offhook"
VOICE = {
    "CallSid": "CA1",
    "AccountSid": SID,
    "From": "+14158675310",
    "To": "+18005551212",
    "CallStatus": "ringing",
    "Direction": "inbound",
}


class Desk:
    """Takes note of what it is told; answers as scripted."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, CallEvent]] = []
        self.asked: list[TwimlRequested] = []
        self.answer: tuple[Instruction, LegToken] = PutDown(), LegToken("call_1")

    def carrier_event(self, carrier: str, integration_id: str, event: CallEvent) -> None:
        self.events.append((carrier, integration_id, event))

    async def document(
        self, carrier: str, integration_id: str, requested: TwimlRequested
    ) -> tuple[Instruction, LegToken]:
        self.asked.append(requested)
        return self.answer


class Scene:
    def __init__(self, desk: Desk, http: aiohttp.ClientSession) -> None:
        self.desk, self.http = desk, http

    async def telnyx(
        self,
        body: bytes,
        *,
        key: SigningKey = KEY,
        at: float | None = None,
        account: str = "default",
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        stamp = str(int(unix_time() if at is None else at))
        signature = b64encode(key.sign(f"{stamp}|".encode() + body).signature).decode()
        signed = {"telnyx-signature-ed25519": signature, "telnyx-timestamp": stamp}
        return await self.http.post(
            f"/carriers/telnyx/{account}/webhook", data=body, headers={**signed, **(headers or {})}
        )

    async def twilio(
        self,
        path: str,
        form: Mapping[str, str],
        *,
        secret: str = TOKEN,
        account: str = "default",
        public: str = PUBLIC,
    ) -> aiohttp.ClientResponse:
        target = f"/carriers/twilio/{account}/{path}"
        signature = RequestValidator(secret).compute_signature(public + target, dict(form))
        headers = {
            "x-twilio-signature": signature,
            "content-type": "application/x-www-form-urlencoded",
        }
        return await self.http.post(target, data=urlencode(form), headers=headers)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    telnyx = TelnyxClient(api_key="k", connection_id="1", base_url="http://127.0.0.1:1/v2")
    twilio = TwilioClient(
        account_sid=SID,
        auth_token=TOKEN,
        public_url=PUBLIC,
        integration_id="default",
        base_url="http://127.0.0.1:1",
    )
    public_key = b64encode(bytes(KEY.verify_key)).decode()
    accounts = Accounts(
        [
            TelnyxAccount(telnyx, TelnyxNumbers(telnyx, PUBLIC), public_key=public_key),
            TwilioAccount(twilio, auth_token=TOKEN, public_url=PUBLIC),
        ]
    )
    desk = Desk()
    auth = MediaAuth(tokens=StreamTokens(), bound_host="127.0.0.1")

    def nobody(*_: object) -> None:
        raise AssertionError("no media here")

    app = create_app(media_auth=auth, accept_stream=nobody, readiness=list, carriers=())  # type: ignore[arg-type]  # never called
    WebhookEndpoint(accounts, desk).add_to(app)
    try:
        async with (
            serving(app, "127.0.0.1", 0) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        ):
            yield Scene(desk, http)
    finally:
        await accounts.close()


def hangup(event_id: str = "e-1") -> bytes:
    payload = {
        "call_control_id": "v3:1",
        "call_leg_id": "leg-1",
        "hangup_cause": "normal_clearing",
        "hangup_source": "caller",
    }
    return json.dumps(
        {
            "data": {
                "record_type": "event",
                "event_type": "call.hangup",
                "id": event_id,
                "occurred_at": "2026-01-01T00:00:00.000000Z",
                "payload": payload,
            }
        }
    ).encode()


async def code(response: aiohttp.ClientResponse) -> tuple[int, str]:
    return response.status, (await response.json())["code"]


def test_a_signed_webhook_of_telnyx_is_told_once_and_always_acknowledged(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            for _ in range(3):
                assert (await s.telnyx(hangup())).status == 200
            ((carrier, account, event),) = s.desk.events
            assert (carrier, account) == ("telnyx", "default")
            assert isinstance(event, HungUp)
            assert (await s.telnyx(hangup("e-2"))).status == 200
            assert len(s.desk.events) == 2

    real(scenario())


def test_what_telnyx_has_not_signed_is_nobodys(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            other = SigningKey(bytes(range(1, 33)))
            assert await code(await s.telnyx(hangup(), key=other)) == (403, "invalid_signature")
            unsigned = await s.http.post("/carriers/telnyx/default/webhook", data=hangup())
            assert await code(unsigned) == (403, "invalid_signature")
            assert await code(await s.telnyx(b"no json", key=other)) == (403, "invalid_signature")
            assert s.desk.events == []

    real(scenario())


def test_a_webhook_of_long_ago_is_refused(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            assert await code(await s.telnyx(hangup(), at=unix_time() - 301)) == (403, "stale_timestamp")
            assert await code(await s.telnyx(hangup(), at=unix_time() + 310)) == (403, "stale_timestamp")
            assert (await s.telnyx(hangup(), at=unix_time() - 290)).status == 200

    real(scenario())


def test_another_account_is_unknown_whoever_signs(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            assert await code(await s.telnyx(hangup(), account="other")) == (404, "unknown_integration")
            refused = await s.twilio("voice", VOICE, account="other")
            assert await code(refused) == (404, "unknown_integration")

    real(scenario())


def test_what_is_signed_and_no_event_is_a_400(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            assert await code(await s.telnyx(b'{"data": 1}')) == (400, "invalid_webhook")
            assert await code(await s.twilio("status", {"AccountSid": SID})) == (400, "invalid_webhook")

    real(scenario())


def test_an_event_of_another_product_is_acknowledged(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            body = b'{"data":{"record_type":"event","event_type":"fax.sent","id":"f","payload":{}}}'
            assert (await s.telnyx(body)).status == 200
            assert s.desk.events == []

    real(scenario())


def test_a_voice_request_is_answered_with_what_is_to_happen(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            stream = MediaStream(url="wss://gw.example.com/offhook/media/twilio/t")
            s.desk.answer = Attach(stream), LegToken("call_7")
            response = await s.twilio("voice", VOICE)
            assert response.status == 200
            assert response.content_type == "text/xml"
            document = await response.text()
            assert 'url="wss://gw.example.com/offhook/media/twilio/t"' in document
            assert f"{PUBLIC}/carriers/twilio/default/after-stream/call_7" in document
            ((_, _, event),) = s.desk.events
            assert isinstance(event, Initiated)
            assert s.desk.asked[0].purpose is TwimlPurpose.VOICE

    real(scenario())


def test_a_question_is_answered_as_often_as_it_is_asked_and_told_once(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            s.desk.answer = Refuse(RejectReason.BUSY), LegToken("call_7")
            for _ in range(2):
                assert "<Reject" in await (await s.twilio("voice", VOICE)).text()
            assert len(s.desk.events) == 1
            assert len(s.desk.asked) == 2

    real(scenario())


def test_what_only_tells_is_acknowledged_without_a_document(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            told = {**VOICE, "CallStatus": "completed", "SequenceNumber": "3"}
            response = await s.twilio("status?token=call_9", told)
            assert response.status == 204
            ((_, _, event),) = s.desk.events
            assert event.origin.token == LegToken("call_9")

    real(scenario())


def test_the_token_of_a_path_names_the_leg(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            form = {**VOICE, "CallStatus": "in-progress", "DialCallStatus": "busy"}
            assert (await s.twilio("dial/call_9.t_1", form)).status == 200
            assert s.desk.asked[0].origin.token == LegToken("call_9", "t_1")

    real(scenario())


def test_what_twilio_has_not_signed_is_nobodys(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            for refused in (
                await s.twilio("voice", VOICE, secret="54321"),
                await s.twilio("voice", VOICE, public="https://proxy.example.com"),
                await s.http.post("/carriers/twilio/default/voice", data=dict(VOICE)),
            ):
                assert await code(refused) == (403, "invalid_signature")
            assert s.desk.events == []

    real(scenario())


def test_a_callback_that_twilio_was_never_told_of_is_not_there(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            assert await code(await s.twilio("fax", VOICE)) == (404, "unknown_callback")

    real(scenario())


def test_a_body_without_end_is_not_read_to_it(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            assert await code(await s.telnyx(bytes(LARGEST_BODY + 1))) == (413, "content_too_large")

            async def blocks() -> AsyncIterator[bytes]:
                for _ in range(LARGEST_BODY // 65_536 + 2):
                    yield bytes(65_536)
                    await asyncio.sleep(0)

            chunked = await s.http.post("/carriers/telnyx/default/webhook", data=blocks())
            assert await code(chunked) == (413, "content_too_large")

    real(scenario())

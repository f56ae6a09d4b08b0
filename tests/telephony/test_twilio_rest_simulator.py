"""The simulated Twilio, driven by Twilio's own SDK alone; its RequestValidator accepts every request that is sent."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from gateway.links import connect
from media.audio import PCMU_8K
from telephony.caller import Caller, HangUp, Press, Wait
from telephony.party_lines import PartyLines
from telephony.simulated_exchange import Refuse
from telephony.simulated_switch import FarEnd, Kind, Reaction
from telephony.twilio.client import BoundedHttpClient
from telephony.twilio.rest_simulator import SimulatedTwilio
from telephony.webhook_sender import Fate
from tests.conftest import RunAsync
from tests.telephony.application_peer import Answerer, Application, Received

pytestmark = pytest.mark.sockets

OURS, THEIRS = "+13125550101", "+13125550177"


def xml(body: str) -> Answerer:
    return lambda _: web.Response(text=f"<Response>{body}</Response>", content_type="text/xml")


class Scene:
    def __init__(self, carrier: SimulatedTwilio, application: Application, sdk: Any) -> None:
        self.carrier, self.application, self.sdk = carrier, application, sdk

    def says(self, path: str, body: str) -> None:
        """The document under one of our URLs; WS and URL stand for where we are."""
        told = body.replace("WS", self.application.media).replace("URL", self.application.url)
        self.application.answers[path] = xml(told)

    async def asked(self, path: str, **expected: str) -> dict[str, str]:
        """The first request to one of our URLs that says all this; every request is validly signed."""

        def found(app: Application) -> list[Received]:
            hooks = [hook for hook in app.webhooks if hook.path == path]
            return [hook for hook in hooks if expected.items() <= hook.form.items()]

        await self.application.hears(found)
        for hook in self.application.webhooks:
            assert RequestValidator("simulated-token").validate(
                hook.url, hook.form, hook.headers["x-twilio-signature"]
            )
        return found(self.application)[0].form

    async def dial(self, **options: Any) -> Any:
        values = {
            "to": THEIRS,
            "from_": OURS,
            "status_callback": f"{self.application.url}/status",
            "status_callback_event": ["initiated", "ringing", "answered", "completed"],
            **options,
        }
        return await self.sdk.calls.create_async(**values)


@asynccontextmanager
async def scene(**options: Any) -> AsyncIterator[Scene]:
    async with Application.running() as application:
        carrier = SimulatedTwilio(
            PartyLines(connect),
            f"{application.url}/voice",
            **{
                "voice": lambda _: bytes(800),
                "status_callback": f"{application.url}/status",
                "fallback_url": f"{application.url}/fallback",
                **options,
            },
        )
        await carrier.start()
        http = BoundedHttpClient(base_url=carrier.base_url)
        sdk = Client(carrier.account_sid, "simulated-token", http_client=http)
        try:
            yield Scene(carrier, application, sdk)
        finally:
            await http.close()
            await carrier.stop()


async def refusal(request: Any) -> tuple[int, int]:
    with pytest.raises(TwilioRestException) as refused:
        await request
    return refused.value.status, int(refused.value.code or 0)


STREAM = '<Stream url="WS/m" statusCallback="URL/stream"><Parameter name="k" value="v"/></Stream>'
CONNECT = f'<Connect action="/after">{STREAM}</Connect>'


def test_an_inbound_call_plays_its_document_and_tells_its_end(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            s.says("/voice", CONNECT)
            s.says("/after", "<Say>Bye</Say>")
            call = s.carrier.place_call(OURS)
            asked = await s.asked("/voice")
            assert (asked["CallStatus"], asked["Direction"], asked["CallSid"]) == (
                "ringing",
                "inbound",
                call.sid,
            )
            socket = await s.application.socket()
            assert socket.messages[1]["start"]["customParameters"] == {"k": "v"}
            assert socket.messages[1]["start"]["callSid"] == call.sid
            url = f"{s.application.media}/m"
            upgrade = socket.headers["x-twilio-signature"]
            assert RequestValidator("simulated-token").compute_signature(url, {}) == upgrade
            await s.asked("/stream", StreamEvent="stream-started")
            await socket.close()
            assert (await s.asked("/after"))["CallStatus"] == "in-progress"
            await s.asked("/stream", StreamEvent="stream-stopped")
            done = await s.asked("/status", CallStatus="completed")
            assert done["SequenceNumber"] == "0"
            assert call.phone is not None
            assert [prompt.what for prompt in call.phone.prompts] == ["Bye"]

    real(scenario())


def test_a_caller_who_leaves_a_stream_is_the_last_thing_its_action_hears(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            s.says("/voice", CONNECT)
            s.says("/after", CONNECT)
            s.carrier.place_call(OURS, caller=Caller([Wait(0.1), HangUp()], PCMU_8K))
            await s.application.socket()
            await s.asked("/after", CallStatus="completed")
            await s.asked("/status", CallStatus="completed")
            await s.carrier.webhooks.drained()
            assert len(s.application.sockets) == 1

    real(scenario())


@pytest.mark.parametrize(("reason", "status"), [("busy", "busy"), ("rejected", "no-answer")])
def test_a_rejected_call_is_never_answered(real: RunAsync, reason: str, status: str) -> None:
    async def scenario() -> None:
        async with scene() as s:
            s.says("/voice", f'<Reject reason="{reason}"/>')
            call = s.carrier.place_call(OURS)
            await s.asked("/status", CallStatus=status)
            assert call.leg.answered_at is None

    real(scenario())


def test_a_gather_posts_the_digits_and_plays_the_answer(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            s.says("/voice", '<Gather action="/digits" timeout="3"><Say>Number?</Say></Gather><Hangup/>')
            s.says("/digits", '<Gather action="/none" timeout="0.01" actionOnEmptyResult="true"/>')
            s.says("/none", "<Hangup/>")
            s.carrier.place_call(OURS, caller=Caller([Wait(0.1), Press("42#", on=0.02, gap=0.02)], PCMU_8K))
            gathered = await s.asked("/digits")
            assert (gathered["Digits"], gathered["FinishedOnKey"]) == ("42", "#")
            assert (await s.asked("/none"))["Digits"] == ""
            await s.asked("/status", CallStatus="completed")

    real(scenario())


@pytest.mark.parametrize(
    ("far_end", "status", "bridged"),
    [
        (FarEnd(hangs_up_after=0.02), "completed", "true"),
        (FarEnd(reaction=Reaction.BUSY), "busy", "false"),
        (FarEnd(reaction=Reaction.NOT_FOUND), "failed", "false"),
        (FarEnd(reaction=Reaction.RINGS_OUT), "no-answer", "false"),
    ],
)
def test_a_dial_tells_its_action_how_it_ended_and_the_caller_is_still_there(
    real: RunAsync, far_end: FarEnd, status: str, bridged: str
) -> None:
    async def scenario() -> None:
        async with scene(far_end=far_end) as s:
            events = "initiated ringing answered completed"
            number = f'<Number statusCallback="URL/leg" statusCallbackEvent="{events}">{THEIRS}</Number>'
            s.says("/voice", f'<Dial action="/dialled" timeout="1">{number}</Dial>')
            s.says("/dialled", CONNECT)
            call = s.carrier.place_call(OURS)
            outcome = await s.asked("/dialled")
            assert (outcome["DialCallStatus"], outcome["DialBridged"]) == (status, bridged)
            leg = await s.asked("/leg", CallStatus=status)
            assert (leg["ParentCallSid"], leg["Direction"]) == (call.sid, "outbound-dial")
            assert leg["CallSid"] == outcome["DialCallSid"]
            await s.application.socket()
            assert call.status == "in-progress"

    real(scenario())


def test_an_update_ends_the_stream_and_a_broken_dial_still_asks_its_action(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            s.says("/voice", CONNECT)
            s.says("/second", CONNECT)
            call = s.carrier.place_call(OURS)
            first = await s.application.socket()
            dial = f'<Response><Dial action="{s.application.url}/dialled">{THEIRS}</Dial></Response>'
            await s.sdk.calls(call.sid).update_async(twiml=dial)
            await first.closed.wait()
            assert first.events()[-1] == "stop"
            await s.sdk.calls(call.sid).update_async(url=f"{s.application.url}/second", method="POST")
            second = await s.application.socket(2)
            assert second.messages[1]["start"]["streamSid"] != first.messages[1]["start"]["streamSid"]
            assert second.messages[1]["start"]["callSid"] == call.sid
            assert (await s.asked("/dialled"))["DialCallStatus"] == "completed"
            assert s.carrier.call_to(THEIRS).status == "canceled"
            assert all(hook.path != "/after" for hook in s.application.webhooks)

    real(scenario())


@pytest.mark.parametrize(
    ("far_end", "statuses", "sip"),
    [
        (FarEnd(hangs_up_after=0.01), ["initiated", "ringing", "in-progress", "completed"], "200"),
        (FarEnd(reaction=Reaction.BUSY), ["initiated", "ringing", "busy"], "486"),
        (FarEnd(reaction=Reaction.REJECTS), ["initiated", "ringing", "busy"], "603"),
        (FarEnd(reaction=Reaction.FAILS), ["initiated", "ringing", "failed"], "503"),
    ],
)
def test_an_outbound_call_tells_each_status_once_in_order(
    real: RunAsync, far_end: FarEnd, statuses: list[str], sip: str
) -> None:
    async def scenario() -> None:
        async with scene(far_end=far_end) as s:
            call = await s.dial(twiml="<Response><Pause length='9'/></Response>")
            assert call.status == "queued"
            last = await s.asked("/status", CallStatus=statuses[-1])
            assert last["SipResponseCode"] == sip
            forms = [hook.form for hook in s.application.webhooks]
            assert [form["CallStatus"] for form in forms] == statuses
            assert [form["SequenceNumber"] for form in forms] == [str(n) for n in range(len(statuses))]
            fetched = await s.sdk.calls(call.sid).fetch_async()
            assert fetched.status == statuses[-1]

    real(scenario())


@pytest.mark.parametrize(
    ("mode", "far_end", "answered_by"),
    [
        ("Enable", FarEnd(), "human"),
        ("Enable", FarEnd(kind=Kind.MACHINE), "machine_start"),
        ("DetectMessageEnd", FarEnd(kind=Kind.MACHINE, beep_after=0.02), "machine_end_beep"),
        ("Enable", FarEnd(kind=Kind.FAX), "fax"),
        ("Enable", FarEnd(kind=Kind.UNSURE), "unknown"),
    ],
)
def test_machine_detection_is_told_with_the_document_or_beside_it(
    real: RunAsync, mode: str, far_end: FarEnd, answered_by: str
) -> None:
    async def scenario() -> None:
        async with scene(far_end=far_end) as s:
            s.says("/voice", "<Pause length='9'/>")
            await s.dial(url=f"{s.application.url}/voice", machine_detection=mode)
            assert (await s.asked("/voice"))["AnsweredBy"] == answered_by
            await s.dial(
                twiml="<Response><Pause length='9'/></Response>",
                machine_detection=mode,
                async_amd="true",
                async_amd_status_callback=f"{s.application.url}/amd",
            )
            assert (await s.asked("/amd"))["AnsweredBy"] == answered_by

    real(scenario())


def test_requests_are_refused_with_the_carriers_own_codes(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            document = "<Response/>"
            assert await refusal(s.dial(twiml=document, to="")) == (400, 21201)
            assert await refusal(s.dial(twiml=document, to="12")) == (400, 21211)
            assert await refusal(s.dial(twiml=document, from_="12")) == (400, 21212)
            assert await refusal(s.dial()) == (400, 21205)
            assert await refusal(s.dial(twiml=document, timeout=601)) == (400, 20001)
            call = await s.dial(twiml=document)
            ringing = s.sdk.calls(call.sid)
            assert await refusal(ringing.update_async(twiml=document)) == (400, 21220)
            assert (await ringing.update_async(status="canceled")).status == "canceled"
            assert await refusal(ringing.update_async(status="completed")) == (400, 21220)
            assert await refusal(s.sdk.calls("CA" + "0" * 32).fetch_async()) == (404, 20404)
            stranger = Client(s.carrier.account_sid, "wrong", http_client=s.sdk.http_client)
            assert await refusal(stranger.calls(call.sid).fetch_async()) == (401, 20003)

    real(scenario())


def test_a_wrong_status_event_costs_every_callback(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(reaction=Reaction.BUSY)) as s:
            await s.dial(twiml="<Response/>", status_callback_event=["initiated ringing"])
            await s.carrier.webhooks.drained()
            assert s.application.webhooks == []
            assert [code for code, _ in s.carrier.alerts] == ["21626"]

    real(scenario())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda _: web.Response(status=500), "11200"),
        (lambda _: web.Response(text="not xml"), "12100"),
        (xml("<Enqueue/>"), "12200"),
        (xml('<Connect><Stream url="wss://h/m?token=1"/></Connect>'), "31920"),
        (xml('<Connect><Stream url="https://h/m"/></Connect>'), "31922"),
    ],
)
def test_a_document_that_cannot_be_had_or_played_goes_to_the_fallback(
    real: RunAsync, answer: Callable[[Received], web.Response], code: str
) -> None:
    async def scenario() -> None:
        async with scene() as s:
            s.application.answers["/voice"] = answer
            s.says("/fallback", "<Hangup/>")
            s.carrier.place_call(OURS)
            assert (await s.asked("/fallback"))["ErrorCode"] == code
            await s.asked("/status", CallStatus="completed")

    real(scenario())


def test_a_stream_that_is_refused_is_told_and_the_document_goes_on(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            s.says(
                "/voice",
                '<Connect action="/after"><Stream url="ws://127.0.0.1:9/m" statusCallback="URL/stream"/></Connect>',
            )
            s.says("/after", "<Hangup/>")
            s.carrier.place_call(OURS)
            failed = await s.asked("/stream", StreamEvent="stream-error")
            assert failed["StreamError"].startswith("31920")
            await s.asked("/after")

    real(scenario())


def test_a_doubled_voice_request_opens_two_streams_and_the_second_wins(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(duplicates_voice=True) as s:
            s.says("/voice", CONNECT)
            call = s.carrier.place_call(OURS)
            await s.application.hears(lambda app: [h.path for h in app.webhooks].count("/voice") == 2)
            await s.application.hears(lambda app: any("start" in socket.events() for socket in app.sockets))
            assert call.status == "in-progress"

    real(scenario())


def test_trouble_and_hostile_callbacks_are_scripted(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(hangs_up_after=0.05)) as s:
            s.carrier.rest.script("create", Refuse(status=429, body=b'{"code": 20429, "message": "slow"}'))
            assert await refusal(s.dial(twiml="<Response/>")) == (429, 20429)
            s.carrier.webhooks.script("ringing", Fate(behind=1))
            s.carrier.webhooks.script("completed", Fate(copies=2))
            await s.dial(twiml="<Response><Pause length='9'/></Response>")
            await s.carrier.webhooks.wait_for("completed", times=2)
            order = [hook.form["SequenceNumber"] for hook in s.application.webhooks]
            assert order == ["0", "2", "1", "3", "3"]

    real(scenario())

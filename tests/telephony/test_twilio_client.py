"""Our Twilio client against the simulated Twilio: what each command does there, and how each refusal is read."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.links import connect
from telephony.calls import LegToken
from telephony.client_errors import CarrierCannot, CommandFailed, Performed, Verdict
from telephony.commands import (
    Answer,
    CallCommand,
    CancelTransfer,
    Dial,
    GatherDigits,
    Hangup,
    MachineDetection,
    MediaStream,
    Play,
    Refer,
    Reject,
    SendDigits,
    Speak,
    StartStream,
    StopGather,
    StopPlay,
    StopStream,
    Transfer,
    UpdateClientState,
)
from telephony.link import Link, LinkListener
from telephony.party_lines import PartyLines
from telephony.simulated_exchange import AnswerLate, Refuse
from telephony.simulated_switch import FarEnd, Kind, Reaction
from telephony.twilio import twiml
from telephony.twilio.client import TwilioClient
from telephony.twilio.rest_simulator import SimulatedTwilio, error_body
from telephony.twilio.simulated_call import TwilioCall
from tests.conftest import RunAsync
from tests.telephony.application_peer import Application

pytestmark = pytest.mark.sockets

OURS, THEIRS = "+13125550101", "+13125550177"
TOKEN = LegToken("call-1")
BASE = "/carriers/twilio/main"


async def plainly(url: str, listener: LinkListener, *, headers: Mapping[str, str] | None = None) -> Link:
    """Dial without TLS what the document calls wss; the signature is over the document's URL."""
    return await connect(url.replace("wss://", "ws://", 1), listener, headers=headers)


class Scene:
    def __init__(self, carrier: SimulatedTwilio, application: Application, client: TwilioClient) -> None:
        self.carrier, self.application, self.client = carrier, application, client
        self.stream = MediaStream(
            url=f"{application.media}/media/twilio/t".replace("ws://", "wss://"), parameters={"k": "v"}
        )

    def dial(self, **options: Any) -> Dial:
        values = {
            "command_id": "d-1",
            "token": TOKEN,
            "to": THEIRS,
            "from_number": OURS,
            "stream": self.stream,
            **options,
        }
        return Dial(**values)

    async def talking(self) -> TwilioCall:
        performed = await self.client.perform(self.dial())
        await self.application.socket()
        assert performed.carrier_call_id is not None
        return self.carrier.calls[performed.carrier_call_id]

    async def asked(self, path: str, **expected: str) -> dict[str, str]:
        """The first request to one of our URLs that says all this."""

        def found(app: Application) -> list[dict[str, str]]:
            forms = [hook.form for hook in app.webhooks if hook.path == f"{BASE}/{path}"]
            return [form for form in forms if expected.items() <= form.items()]

        await self.application.hears(found)
        return found(self.application)[0]


@asynccontextmanager
async def scene(*, timeout: float = 5.0, **options: Any) -> AsyncIterator[Scene]:
    async with Application.running() as application:
        carrier = SimulatedTwilio(
            PartyLines(plainly), f"{application.url}/voice", **{"voice": lambda _: bytes(800), **options}
        )
        await carrier.start()
        client = TwilioClient(
            account_sid=carrier.account_sid,
            auth_token="simulated-token",
            public_url=application.url,
            integration_id="main",
            base_url=carrier.base_url,
            timeout=timeout,
        )
        for path in ("after-stream/call-1", "gather/call-1~g-1", "dial/call-1.t-1"):
            application.answers[f"{BASE}/{path}"] = lambda _: web.Response(text=twiml.hangup())
        try:
            yield Scene(carrier, application, client)
        finally:
            await client.close()
            await carrier.stop()


async def failure(s: Scene, command: CallCommand) -> CommandFailed:
    with pytest.raises(CommandFailed) as failed:
        await s.client.perform(command)
    return failed.value


def test_a_dial_brings_a_call_that_streams_and_tells_our_urls(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            call = await s.talking()
            socket = s.application.sockets[0]
            assert socket.messages[1]["start"]["customParameters"] == {"k": "v"}
            for number, status in enumerate(("initiated", "ringing", "in-progress")):
                await s.asked("status", CallStatus=status, SequenceNumber=str(number))
            await s.asked("stream", StreamEvent="stream-started")
            (live,) = await s.client.live_calls(to_number=THEIRS)
            assert (live.carrier_call_id, live.to_number) == (call.sid, THEIRS)
            assert await s.client.is_alive(call.sid)
            await s.client.perform(Hangup(command_id="h", carrier_call_id=call.sid))
            await s.asked("status", CallStatus="completed")
            assert not await s.client.is_alive(call.sid)
            assert not await s.client.is_alive("CA" + "0" * 32)

    real(scenario())


@pytest.mark.parametrize(
    ("detection", "path"), [(MachineDetection.ASYNC, "amd/call-1"), (MachineDetection.SYNC, "voice")]
)
def test_machine_detection_tells_the_url_that_waits_for_it(
    real: RunAsync, detection: MachineDetection, path: str
) -> None:
    async def scenario() -> None:
        machine = FarEnd(kind=Kind.MACHINE, beep_after=0.02)
        async with scene(far_end=machine) as s:
            await s.client.perform(s.dial(machine_detection=detection))
            assert (await s.asked(path))["AnsweredBy"] == "machine_end_beep"

    real(scenario())


def test_every_command_of_a_call_in_progress_replaces_its_document(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            call = await s.talking()
            common: dict[str, Any] = {"carrier_call_id": call.sid, "token": TOKEN}
            again: dict[str, Any] = {**common, "reattach": s.stream}
            commands: list[CallCommand] = [
                StartStream(command_id="1", stream=s.stream, **common),
                SendDigits(command_id="2", digits="1", **again),
                Speak(command_id="3", text="Hello", **again),
                Play(command_id="4", url=f"{s.application.url}/none", **again),
                StopPlay(command_id="5", **again),
                StopGather(command_id="6", **again),
            ]
            for number, command in enumerate(commands):
                assert await s.client.perform(command) == Performed()
                await s.application.socket(number + 2)
            assert call.phone is not None
            assert [prompt.what for prompt in call.phone.prompts] == ["digits 1", "Hello"]
            asked = LegToken("call-1", operation="g-1")
            gather = GatherDigits(
                command_id="7",
                carrier_call_id=call.sid,
                token=asked,
                prompt="?",
                timeout=1,
                inter_digit_timeout=1,
            )
            await s.client.perform(gather)
            call.key_pressed("4")
            call.key_pressed("#")
            assert (await s.asked("gather/call-1~g-1"))["Digits"] == "4"
            await s.asked("status", CallStatus="completed")

    real(scenario())


def test_a_transfer_tells_its_leg_and_is_cancelled_by_it(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            call = await s.talking()
            s.carrier.far_ends.script("+13125550188", FarEnd(reaction=Reaction.RINGS_OUT))
            await s.client.perform(
                Transfer(
                    command_id="t",
                    carrier_call_id=call.sid,
                    token=LegToken("call-1", "t-1"),
                    destination="+13125550188",
                    caller_id=OURS,
                )
            )
            leg = await s.asked("leg/call-1.t-1", CallStatus="ringing")
            assert leg["ParentCallSid"] == call.sid
            await s.client.perform(
                CancelTransfer(command_id="x", carrier_call_id=call.sid, transfer_call_id=leg["CallSid"])
            )
            outcome = await s.asked("dial/call-1.t-1")
            assert (outcome["DialCallStatus"], outcome["DialBridged"]) == ("canceled", "false")
            assert outcome["CallStatus"] == "in-progress"

    real(scenario())


def test_a_hangup_of_a_ringing_call_cancels_it_and_one_that_comes_too_late_still_ends_it(
    real: RunAsync,
) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            performed = await s.client.perform(s.dial())
            hangup = Hangup(command_id="h", carrier_call_id=str(performed.carrier_call_id), ringing=True)
            assert await s.client.perform(hangup) == Performed()
            await s.asked("status", CallStatus="canceled")
            assert await s.client.perform(hangup) == Performed(already=True)
            s.carrier.far_ends.default = FarEnd()
            call = await s.talking()
            await s.client.perform(Hangup(command_id="h", carrier_call_id=call.sid, ringing=True))
            await s.asked("status", CallStatus="completed")

    real(scenario())


def test_what_twilio_cannot_do_is_said_before_anything_is_sent(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            common: dict[str, Any] = {"command_id": "c", "carrier_call_id": "CA1"}
            impossible: list[CallCommand] = [
                Answer(token=TOKEN, **common),
                Reject(**common),
                StopStream(**common),
                Refer(token=TOKEN, sip_address="sip:a@b", **common),
                UpdateClientState(token=TOKEN, **common),
            ]
            for command in impossible:
                with pytest.raises(CarrierCannot):
                    await s.client.perform(command)
            with pytest.raises(ValueError, match="needs the stream"):
                await s.client.perform(Speak(token=TOKEN, text="x", **common))
            assert s.carrier.rest.requests == []

    real(scenario())


def test_a_refusal_carries_the_carriers_code_and_text(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            wrong = await failure(s, s.dial(to="+12"))
            assert (wrong.verdict, wrong.code, wrong.status) == (Verdict.REJECTED, "21211", 400)
            assert "not valid" in wrong.detail
            limit = Refuse(
                status=429, body=error_body(429, 20429, "Too Many Requests"), headers={"Retry-After": "3"}
            )
            html = Refuse(status=503, body=b"<html>", content_type="text/html")
            s.carrier.rest.script("create", limit, html)
            limited = await failure(s, s.dial())
            assert (limited.verdict, limited.retry_after) == (Verdict.RATE_LIMITED, 3.0)
            assert (await failure(s, s.dial())).verdict is Verdict.UNKNOWN
            ringing = await s.client.perform(s.dial())
            start = StartStream(
                command_id="s", carrier_call_id=str(ringing.carrier_call_id), token=TOKEN, stream=s.stream
            )
            assert (await failure(s, start)).code == "21220"
            stranger = TwilioClient(
                account_sid=s.carrier.account_sid,
                auth_token="wrong",
                public_url="http://x",
                integration_id="m",
                base_url=s.carrier.base_url,
            )
            with pytest.raises(CommandFailed) as refused:
                await stranger.perform(s.dial())
            await stranger.close()
            assert (refused.value.verdict, refused.value.code) == (Verdict.UNAUTHORISED, "20003")

    real(scenario())


def test_a_dial_whose_answer_is_lost_is_unknown_and_never_sent_again(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(timeout=0.2, far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            s.carrier.rest.script("create", AnswerLate())
            assert (await failure(s, s.dial())).verdict is Verdict.UNKNOWN
            assert s.carrier.rest.count("create") == 1
            # The status callback's token says whose call it is.
            form = await s.asked("status", CallStatus="initiated")
            assert form["CallSid"] in s.carrier.calls

    real(scenario())


def test_a_carrier_that_is_not_there_has_done_nothing(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            client = TwilioClient(
                account_sid="AC1",
                auth_token="t",
                public_url="http://x",
                integration_id="m",
                base_url="http://127.0.0.1:9",
            )
            for asking in (client.perform(s.dial()), client.live_calls(), client.is_alive("CA1")):
                with pytest.raises(CommandFailed) as failed:
                    await asking
                assert failed.value.verdict is Verdict.UNAVAILABLE
            await client.close()

    real(scenario())

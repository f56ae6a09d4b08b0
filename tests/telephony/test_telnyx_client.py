"""Our Telnyx client against the simulated Telnyx: what each command does there, and how each refusal is read."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.links import connect
from media.audio import PCMU_8K, Encoding
from telephony.caller import Caller, Press, Wait
from telephony.calls import LegToken
from telephony.client_errors import CommandFailed, Performed, Verdict
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
    RejectReason,
    SendDigits,
    Speak,
    StartStream,
    StopGather,
    StopPlay,
    StopStream,
    Transfer,
    UpdateClientState,
)
from telephony.party_lines import PartyLines
from telephony.simulated_exchange import AnswerLate, Cut, Refuse
from telephony.simulated_switch import FarEnd, Reaction
from telephony.telnyx.client import TelnyxClient
from telephony.telnyx.rest_simulator import SimulatedTelnyx, too_many_requests
from telephony.telnyx.simulated_leg import TelnyxLeg
from tests.conftest import RunAsync
from tests.telephony.application_peer import Application

pytestmark = pytest.mark.sockets

OURS, THEIRS = "+13125550101", "+13125550177"
TOKEN = LegToken("call-1")
ID = "c-1"


class Scene:
    def __init__(self, carrier: SimulatedTelnyx, application: Application, client: TelnyxClient) -> None:
        self.carrier, self.application, self.client = carrier, application, client
        self.stream = MediaStream(
            url=f"{application.media}/media/telnyx/t",
            inbound=Encoding.PCMU,
            auth_token="t",
            parameters={"k": "v"},
        )

    async def payload(self, name: str, times: int = 1) -> dict[str, Any]:
        delivery = await self.carrier.webhooks.wait_for(name, times=times)
        payload: dict[str, Any] = json.loads(delivery.request.body)["data"]["payload"]
        return payload

    async def talking(self, caller: Caller | None = None) -> TelnyxLeg:
        leg = self.carrier.place_call(OURS, caller=caller)
        await self.client.perform(Answer(command_id="a", carrier_call_id=leg.control_id, token=TOKEN))
        await self.payload("call.answered")
        return leg

    def dial(self, **options: Any) -> Dial:
        return Dial(
            **{
                "command_id": "d-1",
                "token": TOKEN,
                "to": THEIRS,
                "from_number": OURS,
                "stream": self.stream,
                **options,
            }
        )


@asynccontextmanager
async def scene(*, timeout: float = 5.0, **options: Any) -> AsyncIterator[Scene]:
    async with Application.running() as application:
        carrier = SimulatedTelnyx(
            PartyLines(connect), f"{application.url}/telnyx", **{"voice": lambda _: bytes(1_600), **options}
        )
        await carrier.start()
        client = TelnyxClient(
            api_key="KEY_SIMULATED",
            connection_id=carrier.connection_id,
            base_url=carrier.base_url,
            timeout=timeout,
        )
        try:
            yield Scene(carrier, application, client)
        finally:
            await client.close()
            await carrier.stop()


async def failure(s: Scene, command: CallCommand) -> CommandFailed:
    with pytest.raises(CommandFailed) as failed:
        await s.client.perform(command)
    return failed.value


def test_a_dial_brings_a_call_that_streams_and_carries_our_token(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            dial = s.dial(
                machine_detection=MachineDetection.ASYNC,
                caller_name="Offhook",
                headers={"X-A": "1"},
                ring_timeout=1,
            )
            performed = await s.client.perform(dial)
            assert performed.carrier_call_id in s.carrier.legs
            answered = await s.payload("call.answered")
            assert answered["call_leg_id"] == performed.leg_id
            assert base64.b64decode(answered["client_state"]).decode() == "call-1"
            assert (await s.payload("call.machine.premium.detection.ended"))["result"] == "human_residence"
            socket = await s.application.socket()
            await socket.send(event="media", media={"payload": base64.b64encode(b"\x11" * 160).decode()})
            await socket.send(event="mark", mark={"name": "m"})
            await s.application.hears(lambda _: "mark" in socket.events())
            phone = s.carrier.legs[performed.carrier_call_id].phone
            assert phone is not None
            assert phone.line.received == 160  # trap 2: the mode is stated
            (live,) = await s.client.live_calls()
            assert live.token == TOKEN
            assert live.leg_id == performed.leg_id

    real(scenario())


def test_every_command_of_an_answered_call_is_accepted(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            leg = await s.talking(Caller([Wait(0.3), Press("42#", on=0.02, gap=0.02)], PCMU_8K))
            common: dict[str, Any] = {"carrier_call_id": leg.control_id, "token": TOKEN}
            asked = LegToken("call-1", operation="g-1")
            commands: list[CallCommand] = [
                StartStream(command_id="1", stream=s.stream, **common),
                SendDigits(command_id="3", digits="1w2", **common),
                Speak(command_id="4", text="Hello", **common),
                Play(command_id="5", url=f"{s.application.url}/none", loop=None, **common),
                StopPlay(command_id="6", **common),
                GatherDigits(command_id="7", carrier_call_id=leg.control_id, token=asked, prompt="Number?"),
            ]
            for command in commands:
                assert await s.client.perform(command) == Performed()
            ended = await s.payload("call.gather.ended")
            assert ended["digits"] == "42"
            assert base64.b64decode(ended["client_state"]).decode() == "call-1~g-1"
            for command in (
                StopGather(command_id="8", **common),
                StopStream(command_id="9", carrier_call_id=leg.control_id),
                Refer(command_id="10", sip_address="sip:a@example.com", headers={"X-A": "1"}, **common),
                UpdateClientState(command_id="11", carrier_call_id=leg.control_id, token=LegToken("call-2")),
                Hangup(command_id="12", carrier_call_id=leg.control_id),
            ):
                await s.client.perform(command)
            hangup = await s.payload("call.hangup")
            assert base64.b64decode(hangup["client_state"]).decode() == "call-2"
            assert not await s.client.is_alive(leg.control_id)
            assert not await s.client.is_alive("v3:unknown")

    real(scenario())


def test_a_transfer_dials_with_its_own_token_and_is_cancelled_by_its_leg(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            leg = await s.talking()
            token = LegToken("call-1", "t-1")
            await s.client.perform(
                Transfer(
                    command_id="t",
                    carrier_call_id=leg.control_id,
                    token=token,
                    destination=THEIRS,
                    caller_id=OURS,
                    headers={"X-A": "1"},
                )
            )
            target = s.carrier.leg_to(THEIRS)
            await s.client.perform(
                CancelTransfer(
                    command_id="x", carrier_call_id=leg.control_id, transfer_call_id=target.control_id
                )
            )
            hangup = await s.payload("call.hangup")
            assert base64.b64decode(hangup["client_state"]).decode() == "call-1.t-1"
            assert await s.client.is_alive(leg.control_id)

    real(scenario())


@pytest.mark.parametrize("reason", RejectReason)
def test_a_call_is_rejected_for_every_reason(real: RunAsync, reason: RejectReason) -> None:
    async def scenario() -> None:
        async with scene() as s:
            leg = s.carrier.place_call(OURS)
            await s.client.perform(Reject(command_id="r", carrier_call_id=leg.control_id, reason=reason))
            await s.payload("call.hangup")

    real(scenario())


def test_a_call_that_is_over_is_what_a_hangup_wants_and_not_what_speech_wants(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            leg = await s.talking()
            s.carrier.hang_up(leg)
            assert await s.client.perform(Hangup(command_id=ID, carrier_call_id=leg.control_id)) == Performed(
                already=True
            )
            late = await failure(
                s, Speak(command_id=ID, carrier_call_id=leg.control_id, token=TOKEN, text="Hello")
            )
            assert (late.verdict, late.code) == (Verdict.ALREADY_ENDED, "90018")

    real(scenario())


def test_a_refusal_carries_the_carriers_code_and_text(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            leg = s.carrier.place_call(OURS)
            early = await failure(
                s,
                StartStream(command_id=ID, carrier_call_id=leg.control_id, token=TOKEN, stream=s.stream),
            )
            assert (early.verdict, early.code, early.status) == (Verdict.NOT_ANSWERED, "90034", 422)
            wrong = await failure(s, s.dial(to="12"))
            assert (wrong.verdict, wrong.code) == (Verdict.REJECTED, "10016")
            assert "+E.164" in wrong.detail
            s.carrier.rest.script(
                "dial", Refuse(status=429, body=too_many_requests(), headers={"x-ratelimit-reset": "7"})
            )
            limited = await failure(s, s.dial())
            assert (limited.verdict, limited.retry_after) == (Verdict.RATE_LIMITED, 7.0)
            s.carrier.rest.script(
                "dial", Refuse(status=502, body=b"<html>Bad gateway</html>", content_type="text/html")
            )
            assert (await failure(s, s.dial())).verdict is Verdict.UNKNOWN
            stranger = TelnyxClient(
                api_key="wrong", connection_id=s.carrier.connection_id, base_url=s.carrier.base_url
            )
            with pytest.raises(CommandFailed) as refused:
                await stranger.perform(s.dial())
            await stranger.close()
            assert (refused.value.verdict, refused.value.code) == (Verdict.UNAUTHORISED, "10009")
            assert [leg for leg in s.carrier.legs.values() if leg.leg.to_number == THEIRS] == []

    real(scenario())


def test_a_dial_whose_answer_is_lost_is_unknown_sent_once_and_found_again_by_our_token(
    real: RunAsync,
) -> None:
    async def scenario() -> None:
        async with scene(timeout=0.2, far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            s.carrier.rest.script("dial", AnswerLate())
            assert (await failure(s, s.dial())).verdict is Verdict.UNKNOWN
            assert s.carrier.rest.count("dial") == 1  # trap 8
            (live,) = await s.client.live_calls()
            assert live.token == TOKEN
            # The owner's own repetition, with the same id, finds the call it made.
            again = await s.client.perform(s.dial())
            assert again.carrier_call_id == live.carrier_call_id

    real(scenario())


def test_what_dials_nobody_is_repeated_once_with_the_same_id(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            leg = await s.talking()
            s.carrier.rest.script("speak", Cut(done=True))
            await s.client.perform(
                Speak(command_id=ID, carrier_call_id=leg.control_id, token=TOKEN, text="Hello")
            )
            assert s.carrier.rest.count("speak") == 2
            phone = leg.phone
            assert phone is not None
            assert len(phone.prompts) == 1

    real(scenario())


def test_a_carrier_that_is_not_there_has_done_nothing(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            client = TelnyxClient(
                api_key="k", connection_id="1", base_url="http://127.0.0.1:9/v2", timeout=1.0
            )
            for asking in (client.perform(s.dial()), client.live_calls(), client.is_alive("v3:x")):
                with pytest.raises(CommandFailed) as failed:
                    await asking
                assert failed.value.verdict is Verdict.UNAVAILABLE
            await client.close()

    real(scenario())

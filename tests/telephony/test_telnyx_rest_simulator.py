"""The simulated Telnyx, driven by Telnyx's own SDK alone; its verifier and models read every webhook."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import telnyx
from aiohttp import web
from telnyx import AsyncTelnyx

from gateway.links import connect
from media.audio import PCMU_8K, Encoding
from media.wav import WavHeader, read
from telephony.caller import Caller, HangUp, Press, Wait
from telephony.party_lines import PartyLines
from telephony.simulated_exchange import AnswerLate, Cut, Refuse
from telephony.simulated_switch import FarEnd, Kind, Reaction
from telephony.telnyx.rest_simulator import SimulatedTelnyx, too_many_requests
from telephony.webhook_sender import Fate
from tests.conftest import RunAsync
from tests.telephony.application_peer import Application, Received

pytestmark = pytest.mark.sockets

OURS = "+13125550101"
THEIRS = "+13125550177"
STATE = base64.b64encode(b"call-1").decode()


class Scene:
    """A simulated Telnyx, the application it calls, and the SDK as the application uses it."""

    def __init__(self, carrier: SimulatedTelnyx, application: Application, sdk: AsyncTelnyx) -> None:
        self.carrier = carrier
        self.application = application
        self.sdk = sdk

    async def event(self, name: str, *, times: int = 1, of: str | None = None) -> dict[str, Any]:
        """The payload of the nth webhook of this name (of this leg), verified and modelled by the SDK."""

        def found(app: Application) -> list[Received]:
            return [
                hook
                for hook in app.webhooks
                if hook.json["data"]["event_type"] == name
                and of in (None, hook.json["data"]["payload"].get("call_control_id"))
            ]

        await self.application.hears(lambda app: len(found(app)) >= times)
        hook = found(self.application)[times - 1]
        self.check(hook)
        payload: dict[str, Any] = hook.json["data"]["payload"]
        return payload

    def check(self, hook: Received) -> None:
        event: Any = self.sdk.webhooks.unwrap(
            hook.body.decode(), headers=hook.headers, key=self.carrier.public_key
        )
        # The union of the SDK falls back to any model; the strict one must know the event and every value of it.
        assert event.data.event_type == hook.json["data"]["event_type"]
        type(event).model_validate_json(hook.body)

    def names(self) -> list[str]:
        return [hook.json["data"]["event_type"] for hook in self.application.webhooks]

    async def dial(self, **options: Any) -> Any:
        answer = await self.sdk.calls.dial(
            **{"connection_id": self.carrier.connection_id, "to": THEIRS, "from_": OURS, **options}
        )
        assert answer.data is not None
        return answer.data

    async def talking(self, *, script: tuple[Any, ...] = (), **answer: Any) -> str:
        """An inbound call that was answered: its control id."""
        caller = Caller([*script], PCMU_8K) if script else None
        leg = self.carrier.place_call(OURS, caller=caller)
        await self.event("call.initiated", of=leg.control_id)
        await self.sdk.calls.actions.answer(leg.control_id, **answer)
        await self.event("call.answered", of=leg.control_id)
        return leg.control_id


@asynccontextmanager
async def scene(**options: Any) -> AsyncIterator[Scene]:
    async with Application.running() as application:
        carrier = SimulatedTelnyx(
            PartyLines(connect),
            f"{application.url}/telnyx",
            **{"webhook_retries": (0.01, 0.01), "voice": lambda _: bytes(1_600), **options},
        )
        await carrier.start()
        sdk = AsyncTelnyx(
            api_key="KEY_SIMULATED", base_url=carrier.base_url, max_retries=0, public_key=carrier.public_key
        )
        try:
            yield Scene(carrier, application, sdk)
        finally:
            await sdk.close()
            await carrier.stop()


async def refusal(request: Any) -> tuple[int, str]:
    """The status and code that the SDK was refused with."""
    with pytest.raises(telnyx.APIStatusError) as refused:
        await request
    body: Any = refused.value.body
    return refused.value.status_code, body["errors"][0]["code"]


def stream(application: Application, **more: Any) -> dict[str, Any]:
    return {
        "stream_url": f"{application.media}/media/telnyx/t0",
        "stream_codec": "PCMU",
        "stream_bidirectional_mode": "rtp",
        "stream_bidirectional_codec": "PCMU",
        **more,
    }


def test_an_inbound_call_is_answered_streamed_and_hung_up_in_the_documented_order(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking(**stream(s.application), client_state=STATE)
            socket = await s.application.socket()
            await s.event("streaming.started")
            start = next(m for m in socket.messages if m["event"] == "start")
            assert start["start"]["call_control_id"] == control_id
            await socket.send(event="media", media={"payload": base64.b64encode(b"\x11" * 160).decode()})
            await socket.send(event="mark", mark={"name": "m"})
            await s.application.hears(lambda _: "mark" in socket.events())
            answer = await s.sdk.calls.actions.hangup(control_id)
            assert answer.data is not None
            assert answer.data.result == "ok"
            hangup = await s.event("call.hangup")
            await socket.closed.wait()

            assert s.names() == [
                "call.initiated",
                "call.answered",
                "streaming.started",
                "streaming.stopped",
                "call.hangup",
            ]
            assert socket.events()[-1] == "stop"
            assert hangup["hangup_cause"] == "normal_clearing"
            assert hangup["hangup_source"] == "callee"  # of an inbound leg that is us
            assert hangup["client_state"] == STATE
            leg = s.carrier.legs[control_id]
            assert leg.phone is not None
            assert leg.phone.line.received == 160
            status = await s.sdk.calls.retrieve_status(control_id)
            assert status.data is not None
            assert status.data.is_alive is False
            for hook in s.application.webhooks:
                s.check(hook)

    real(scenario())


def test_a_caller_who_hangs_up_ends_the_leg_as_the_caller(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking(script=(Wait(0.04), HangUp()), **stream(s.application))
            hangup = await s.event("call.hangup", of=control_id)
            assert (hangup["hangup_cause"], hangup["hangup_source"]) == ("normal_clearing", "caller")
            assert await refusal(s.sdk.calls.actions.hangup(control_id)) == (422, "90018")

    real(scenario())


def test_a_caller_who_gives_up_before_the_answer_has_cancelled(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            leg = s.carrier.place_call(OURS, patience=0.01)
            hangup = await s.event("call.hangup", of=leg.control_id)
            assert (hangup["hangup_cause"], hangup["sip_hangup_cause"]) == ("originator_cancel", "487")
            assert hangup["hangup_source"] == "caller"

    real(scenario())


@pytest.mark.parametrize(
    ("cause", "word", "sip"),
    [
        ("USER_BUSY", "user_busy", "486"),
        ("CALL_REJECTED", "call_rejected", "603"),
        ("NOT_FOUND", "not_found", "404"),
        ("TEMPORARILY_UNAVAILABLE", "unspecified", "480"),
    ],
)
def test_an_inbound_call_is_rejected_with_the_cause_asked_for(
    real: RunAsync, cause: Any, word: str, sip: str
) -> None:
    async def scenario() -> None:
        async with scene() as s:
            leg = s.carrier.place_call(OURS)
            await s.sdk.calls.actions.reject(leg.control_id, cause=cause)
            hangup = await s.event("call.hangup")
            assert (hangup["hangup_cause"], hangup["sip_hangup_cause"]) == (word, sip)

    real(scenario())


@pytest.mark.parametrize(
    ("far_end", "cause", "source"),
    [
        (FarEnd(reaction=Reaction.BUSY), "user_busy", "callee"),
        (FarEnd(reaction=Reaction.REJECTS), "call_rejected", "callee"),
        (FarEnd(reaction=Reaction.NOT_FOUND), "not_found", "callee"),
        (FarEnd(reaction=Reaction.FAILS), "unspecified", "callee"),
        (FarEnd(hangs_up_after=0.01), "normal_clearing", "callee"),
    ],
)
def test_a_called_party_ends_the_call_in_its_own_way(
    real: RunAsync, far_end: FarEnd, cause: str, source: str
) -> None:
    async def scenario() -> None:
        async with scene(far_end=far_end) as s:
            data = await s.dial(client_state=STATE)
            hangup = await s.event("call.hangup", of=data.call_control_id)
            assert (hangup["hangup_cause"], hangup["hangup_source"]) == (cause, source)
            assert hangup["client_state"] == STATE
            assert hangup["call_session_id"] == data.call_session_id

    real(scenario())


def test_a_dialled_call_that_is_hung_up_while_it_rings_was_cancelled_by_us(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            data = await s.dial()
            assert data.is_alive is False
            initiated = await s.event("call.initiated")
            assert (initiated["direction"], initiated["state"]) == ("outgoing", "bridging")
            assert await refusal(s.sdk.calls.actions.answer(data.call_control_id)) == (422, "90102")
            await s.sdk.calls.actions.hangup(data.call_control_id)
            hangup = await s.event("call.hangup")
            assert (hangup["hangup_cause"], hangup["hangup_source"]) == ("originator_cancel", "caller")

    real(scenario())


def test_a_dialled_call_streams_as_soon_as_it_is_answered(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(changes_ids=True) as s:
            data = await s.dial(**stream(s.application, stream_auth_token="secret"))
            answered = await s.event("call.answered")
            # Trap 17: the webhooks name another control id than the answer did; both are good for commands.
            assert answered["call_control_id"] != data.call_control_id
            assert answered["call_leg_id"] == data.call_leg_id
            socket = await s.application.socket()
            assert socket.headers["x-telnyx-streaming-auth-token"] == "secret"
            await s.sdk.calls.actions.hangup(data.call_control_id)
            await s.event("call.hangup")

    real(scenario())


@pytest.mark.parametrize(
    ("mode", "kind", "beep", "expected"),
    [
        ("detect", Kind.HUMAN, None, [("call.machine.detection.ended", "human")]),
        (
            "detect_beep",
            Kind.MACHINE,
            0.02,
            [("call.machine.detection.ended", "machine"), ("call.machine.greeting.ended", "beep_detected")],
        ),
        (
            "premium",
            Kind.MACHINE,
            0.02,
            [
                ("call.machine.premium.detection.ended", "machine"),
                ("call.machine.premium.greeting.ended", "beep_detected"),
            ],
        ),
        ("premium", Kind.FAX, None, [("call.machine.premium.detection.ended", "fax_detected")]),
    ],
)
def test_machine_detection_tells_what_answered(
    real: RunAsync, mode: Any, kind: Kind, beep: float | None, expected: list[tuple[str, str]]
) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(kind=kind, detected_after=0.01, beep_after=beep)) as s:
            await s.dial(answering_machine_detection=mode)
            for name, result in expected:
                assert (await s.event(name))["result"] == result

    real(scenario())


def test_a_transfer_bridges_both_legs_and_one_end_ends_both(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking()
            await s.sdk.calls.actions.transfer(control_id, to=THEIRS, target_leg_client_state=STATE)
            bridged = [await s.event("call.bridged", times=n) for n in (1, 2)]
            target = s.carrier.leg_to(THEIRS)
            assert {b["call_control_id"] for b in bridged} == {control_id, target.control_id}
            assert len({b["call_session_id"] for b in bridged}) == 1
            answered = await s.event("call.answered", of=target.control_id)
            assert answered["client_state"] == STATE
            assert answered["from"] == OURS
            s.carrier.hang_up(target)
            await s.event("call.hangup", of=target.control_id)
            await s.event("call.hangup", of=control_id)

    real(scenario())


@pytest.mark.parametrize(
    ("far_end", "cause"),
    [
        (FarEnd(reaction=Reaction.BUSY), "user_busy"),
        (FarEnd(reaction=Reaction.RINGS_OUT), "originator_cancel"),
    ],
)
def test_a_transfer_that_fails_or_is_cancelled_leaves_the_caller_alone(
    real: RunAsync, far_end: FarEnd, cause: str
) -> None:
    async def scenario() -> None:
        async with scene(far_end=far_end) as s:
            control_id = await s.talking(**stream(s.application))
            await s.event("streaming.started", of=control_id)
            await s.sdk.calls.actions.transfer(control_id, to=THEIRS)
            target = s.carrier.leg_to(THEIRS)
            if far_end.reaction is Reaction.RINGS_OUT:
                await s.sdk.calls.actions.hangup(target.control_id)
            hangup = await s.event("call.hangup", of=target.control_id)
            assert hangup["hangup_cause"] == cause
            status = await s.sdk.calls.retrieve_status(control_id)
            assert status.data is not None
            assert status.data.is_alive
            assert s.carrier.legs[control_id].streaming

    real(scenario())


def test_a_caller_who_leaves_takes_a_ringing_transfer_along(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            control_id = await s.talking()
            await s.sdk.calls.actions.transfer(control_id, to=THEIRS)
            s.carrier.hang_up(s.carrier.legs[control_id])
            hangup = await s.event("call.hangup", of=s.carrier.leg_to(THEIRS).control_id)
            assert hangup["hangup_cause"] == "originator_cancel"

    real(scenario())


def test_a_spoken_gather_hears_the_keys_that_the_caller_presses(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking(script=(Wait(0.2), Press("12#", on=0.02, gap=0.02)))
            await s.sdk.calls.actions.gather_using_speak(
                control_id, payload="Your number?", voice="female", client_state=STATE
            )
            ended = await s.event("call.gather.ended")
            assert (ended["digits"], ended["status"], ended["client_state"]) == ("12", "valid", STATE)
            assert "call.dtmf.received" in s.names()
            phone = s.carrier.legs[control_id].phone
            assert phone is not None
            assert [prompt.what for prompt in phone.prompts] == ["Your number?"]

    real(scenario())


def test_a_gather_without_keys_times_out_and_one_that_is_stopped_is_cancelled(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking()
            await s.sdk.calls.actions.gather(control_id, initial_timeout_millis=10)
            assert (await s.event("call.gather.ended"))["status"] == "timeout"
            await s.sdk.calls.actions.gather(control_id)
            await s.sdk.calls.actions.stop_gather(control_id)
            assert (await s.event("call.gather.ended", times=2))["status"] == "cancelled"
            await s.sdk.calls.actions.gather(control_id)
            await s.sdk.calls.actions.hangup(control_id)
            assert (await s.event("call.gather.ended", times=3))["status"] == "call_hangup"

    real(scenario())


def test_speech_is_heard_on_the_line_and_told_from_begin_to_end(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking()
            await s.sdk.calls.actions.speak(control_id, payload="Hello", voice="female")
            await s.event("call.speak.started")
            assert (await s.event("call.speak.ended"))["status"] == "completed"
            phone = s.carrier.legs[control_id].phone
            assert phone is not None
            assert phone.line.received == 800
            await s.sdk.calls.actions.send_dtmf(control_id, digits="1w2")

    real(scenario())


def test_a_file_is_fetched_and_played(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            wav = WavHeader(rate=8_000, channels=1, encoding=Encoding.PCM16).bytes(320) + bytes(320)
            s.application.answers["/a.wav"] = lambda _: web.Response(body=wav)
            control_id = await s.talking()
            await s.sdk.calls.actions.start_playback(
                control_id, audio_url=f"{s.application.url}/a.wav", loop=2
            )
            await s.event("call.playback.started")
            assert (await s.event("call.playback.ended"))["status"] == "completed"
            await s.sdk.calls.actions.start_playback(control_id, audio_url=f"{s.application.url}/none")
            assert (await s.event("call.playback.ended", times=2))["status"] == "file_not_found"

    real(scenario())


def test_a_stream_is_started_once_stopped_and_started_again(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking()
            actions = s.sdk.calls.actions
            await actions.start_streaming(
                control_id, **stream(s.application), custom_parameters=[{"name": "k", "value": "v"}]
            )
            socket = await s.application.socket()
            assert socket.messages[1]["start"]["custom_parameters"] == {"k": "v"}
            assert await refusal(actions.start_streaming(control_id, **stream(s.application))) == (
                422,
                "90045",
            )
            await actions.stop_streaming(control_id)
            await s.event("streaming.stopped")
            await socket.closed.wait()
            await actions.start_streaming(control_id, **stream(s.application))
            second = await s.application.socket(2)
            # A gateway that closes the socket ends the stream, never the call.
            await second.close()
            await s.event("streaming.stopped", times=2)
            status = await s.sdk.calls.retrieve_status(control_id)
            assert status.data is not None
            assert status.data.is_alive

    real(scenario())


def test_a_stream_that_cannot_be_opened_leaves_the_call_up_in_silence(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking(**stream(s.application, stream_url="http://nowhere"))
            failed = await s.event("streaming.failed")
            assert failed["stream_params"]["stream_url"] == "http://nowhere"
            status = await s.sdk.calls.retrieve_status(control_id)
            assert status.data is not None
            assert status.data.is_alive

    real(scenario())


def test_audio_sent_without_rtp_mode_is_never_heard(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking(stream_url=f"{s.application.media}/x")
            socket = await s.application.socket()
            await socket.send(event="media", media={"payload": base64.b64encode(b"\x11" * 160).decode()})
            await socket.send(event="mark", mark={"name": "m"})
            await s.application.hears(lambda _: "mark" in socket.events())
            phone = s.carrier.legs[control_id].phone
            assert phone is not None
            assert phone.line.received == 0

    real(scenario())


def test_a_recording_is_saved_and_can_be_fetched(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(costs=True) as s:
            leg = s.carrier.place_call(OURS)
            actions = s.sdk.calls.actions
            early = actions.start_recording(leg.control_id, channels="dual", format="wav")
            assert await refusal(early) == (422, "90020")
            await actions.answer(leg.control_id)
            await actions.start_recording(leg.control_id, channels="dual", format="wav")
            await actions.stop_recording(leg.control_id)
            saved = await s.event("call.recording.saved")
            found = await s.sdk.recordings.retrieve(saved["recording_id"])
            assert found.data is not None
            assert found.data.channels == "dual"
            async with aiohttp.ClientSession() as session, session.get(saved["recording_urls"]["wav"]) as got:
                header, _ = read(io.BytesIO(await got.read()))
            assert header.rate == 8_000
            await actions.hangup(leg.control_id)
            assert (await s.event("call.cost"))["status"] == "success"

    real(scenario())


def test_a_refer_is_completed_or_failed_by_the_far_end(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            control_id = await s.talking()
            s.carrier.refers_to["sip:no@example.com"] = False
            await s.sdk.calls.actions.refer(control_id, sip_address="sip:yes@example.com")
            assert (await s.event("call.refer.completed"))["sip_notify_response"] == 200
            await s.sdk.calls.actions.refer(control_id, sip_address="sip:no@example.com")
            await s.event("call.refer.failed")

    real(scenario())


def test_requests_are_refused_with_the_carriers_own_codes(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            leg = s.carrier.place_call(OURS)
            calls, actions = s.sdk.calls, s.sdk.calls.actions
            own: dict[str, Any] = {"connection_id": s.carrier.connection_id}
            assert await refusal(s.dial(to="12")) == (422, "10016")
            assert await refusal(s.dial(connection_id="1")) == (422, "10015")
            assert await refusal(s.dial(timeout_secs=1)) == (422, "10033")
            assert await refusal(s.dial(client_state="not base64!")) == (422, "10015")
            assert await refusal(s.dial(answering_machine_detection="guess")) == (422, "10032")
            assert await refusal(calls.dial(to=THEIRS, from_="", **own)) == (422, "10004")
            assert await refusal(actions.speak(leg.control_id, payload="x", voice="female")) == (422, "90034")
            assert await refusal(actions.speak(leg.control_id, payload="x", voice="Alice")) == (422, "90012")
            assert await refusal(actions.hangup(leg.session_id)) == (422, "90015")  # trap 7
            stranger = s.sdk.with_options(api_key="wrong")
            assert await refusal(stranger.calls.actions.hangup(leg.control_id)) == (401, "10009")
            assert s.carrier.rest.count("dial") == 6

    real(scenario())


def test_the_same_command_id_is_executed_once(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(far_end=FarEnd(reaction=Reaction.RINGS_OUT)) as s:
            first, second = await s.dial(command_id="d-1"), await s.dial(command_id="d-1")
            assert first.call_control_id == second.call_control_id
            third = await s.dial(command_id="d-2")
            assert third.call_control_id != first.call_control_id
            page = await s.sdk.connections.list_active_calls(s.carrier.connection_id)
            assert page.data is not None
            assert len(page.data) == 2
            # And so is a dial whose answer was lost.
            s.carrier.rest.script("dial", Cut(done=True))
            with pytest.raises(telnyx.APIConnectionError):
                await s.dial(command_id="d-3")
            await s.dial(command_id="d-3")
            assert len(s.carrier.legs) == 3

    real(scenario())


def test_trouble_is_scripted_for_single_requests(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            s.carrier.rest.script(
                "dial",
                Refuse(status=429, body=too_many_requests(), headers={"x-ratelimit-reset": "1"}),
                AnswerLate(),
            )
            assert await refusal(s.dial()) == (429, "10011")
            with pytest.raises(telnyx.APITimeoutError):
                await s.dial(timeout=0.05)
            # Trap 42: the webhooks of a dial may come before its answer; here it never comes.
            await s.event("call.answered")

    real(scenario())


def test_webhooks_are_lost_doubled_overtaken_and_repeated_as_told(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as s:
            refusals = iter([503, 429])
            s.application.answers["/telnyx"] = lambda _: web.Response(status=next(refusals, 200))
            s.carrier.webhooks.script("call.initiated", Fate(), Fate(copies=0))
            s.carrier.webhooks.script("call.answered", Fate(behind=1))
            s.carrier.webhooks.script("call.hangup", Fate(copies=2))
            leg = s.carrier.place_call(OURS)
            await s.carrier.webhooks.wait_for("call.initiated", times=3)
            await s.sdk.calls.actions.answer(leg.control_id)
            await s.sdk.calls.actions.hangup(leg.control_id)
            await s.event("call.answered")
            await s.carrier.webhooks.drained()
            assert s.names() == [*["call.initiated"] * 3, *["call.hangup"] * 2, "call.answered"]
            ids = [hook.json["data"]["id"] for hook in s.application.webhooks]
            assert len(set(ids)) == 3
            assert [hook.json["meta"]["attempt"] for hook in s.application.webhooks[:3]] == [1, 2, 3]
            s.carrier.place_call(OURS)
            assert [lost.name for lost in s.carrier.webhooks.lost] == ["call.initiated"]

    real(scenario())


def test_what_breaks_in_the_simulator_is_raised_when_it_stops(real: RunAsync) -> None:
    async def scenario() -> None:
        async def broken(*_: Any, **__: Any) -> Any:
            raise RuntimeError("a bug")

        carrier = SimulatedTelnyx(PartyLines(broken), "http://127.0.0.1:9/none")
        await carrier.start()
        sdk = AsyncTelnyx(api_key="KEY_SIMULATED", base_url=carrier.base_url, max_retries=0)
        leg = carrier.place_call(OURS)
        await sdk.calls.actions.answer(leg.control_id, stream_url="ws://127.0.0.1:9/x")
        assert leg.phone is not None
        await asyncio.wait([leg.phone.task])
        with pytest.raises(RuntimeError, match="a bug"):
            await carrier.stop()
        await sdk.close()

    real(scenario())

"""The races and traps that others fell into (docs of the carriers and public issues), by their numbers in our sheet.

Whole calls through HTTP and websockets. Traps of audio, marks and codecs on the wire (3, 15, 23 to 26, 29 to 31, 35,
36) are in the tests of the bridge, playout and wires; 6 and 12 in those of the carriers' webhooks and clients; 16, 37
and 38 are about what is not used here.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote

import aiohttp
import pytest

from gateway.links import connect
from telephony.caller import AwaitAgent, Edge, HangUp, Wait
from telephony.link import Link, LinkListener
from telephony.simulated_exchange import AnswerLate, Refuse, Stall
from telephony.simulated_switch import FarEnd, Reaction
from telephony.telnyx.rest_simulator import too_many_requests
from telephony.twilio.rest_simulator import error_body
from telephony.webhook_sender import Fate, Storm
from tests.conftest import RunAsync
from tests.whole_house import OTHER, OURS, THEIRS, House, whole_house

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])
HEARD = AwaitAgent(Edge.END, quiet=0.2)
PATIENT = FarEnd(script=(HEARD, Wait(30)))


async def talks(house: House, **options: object) -> str:
    """A call that was dialled and talks."""
    said = await house.dial(**options)  # type: ignore[arg-type]  # the body's own fields
    assert said.status in (201, 202), said
    call_id = str(said.json["call_id"])
    await house.happened(call_id, "call.started")
    return call_id


def bodies(house: House, *operations: str) -> list[dict[str, object]]:
    """What Telnyx was asked for."""
    return [json.loads(each.body) for each in house.carrier.rest.requests if each.operation in operations]


def documents(house: House) -> list[str]:
    """Every document that Twilio was given, by REST or as an answer."""
    shown = [
        parse_qs(each.body.decode())["Twiml"][0]
        for each in house.carrier.rest.requests
        if b"Twiml=" in each.body
    ]
    answers = [each.answer.body.decode() for each in house.carrier.webhooks.deliveries if each.answer]
    return shown + [each for each in answers if "<Response" in each]


class Flaky:
    """A network on which the first so many media sockets cannot be opened."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.opened = 0

    async def __call__(
        self, url: str, listener: LinkListener, *, headers: Mapping[str, str] | None = None
    ) -> Link:
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError("nobody there")
        self.opened += 1
        return await connect(url, listener, headers=headers)


# Telnyx


def test_trap_01_a_hang_up_after_the_far_end_hung_up_is_a_success(real: RunAsync, tmp_path: Path) -> None:
    """422 with 90018: the call is over, which is what was wanted."""

    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path, far_end=PATIENT) as house:
            call_id = await talks(house)
            body = b'{"errors":[{"code":"90018","title":"Call has already ended","detail":"over"}]}'
            house.carrier.rest.script("hangup", Refuse(status=422, body=body))
            assert (await house.ask(call_id, "end", after="now")).status == 200
            record = await house.ended(call_id)
            assert (record.status, record.ended_reason) == ("completed", "api")
            assert house.carrier.rest.count("hangup") == 1

    real(scenario())


@pytest.mark.parametrize("inbound", [True, False])
def test_trap_02_every_stream_is_opened_in_rtp_mode(real: RunAsync, tmp_path: Path, inbound: bool) -> None:
    """The default, mp3, makes the agent inaudible without any error."""

    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path, far_end=PATIENT) as house:
            if inbound:
                house.ring(HEARD, HangUp())
                await house.ended(await house.the_call())
            else:
                await talks(house)
            (asked,) = bodies(house, "dial", "answer", "streaming_start")
            assert asked["stream_bidirectional_mode"] == "rtp"
            assert asked["stream_bidirectional_codec"] == "PCMU"

    real(scenario())


def test_trap_04_a_stream_that_cannot_be_opened_is_opened_again(real: RunAsync, tmp_path: Path) -> None:
    """`streaming.failed` leaves the call up, in silence."""

    async def scenario() -> None:
        network = Flaky(1)
        async with whole_house("telnyx", tmp_path, far_end=PATIENT, connector=network) as house:
            call_id = await talks(house)
            assert house.carrier.rest.count("streaming_start") == 1
            assert network.opened == 1
            assert (await house.ask(call_id, "end", after="now")).status == 200
            await house.ended(call_id)

    real(scenario())


@both
def test_trap_04_a_stream_that_never_opens_ends_the_call(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT, connector=Flaky(1_000)) as house:
            said = await house.dial()
            record = await house.ended(said.json["call_id"])
            assert (record.ended_reason, record.ws_unavailable) == ("error", True)
            assert not house.leg_to(THEIRS).leg.alive

    real(scenario())


def test_trap_05_an_outbound_leg_is_never_answered_by_us(real: RunAsync, tmp_path: Path) -> None:
    """90102; and no stream is started before the answer (90034)."""

    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path, far_end=PATIENT) as house:
            await talks(house)
            assert house.carrier.rest.count("answer") == 0
            assert house.carrier.rest.count("streaming_start") == 0

    real(scenario())


def test_trap_07_commands_are_addressed_to_legs_never_to_sessions(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path, far_end=PATIENT) as house:
            call_id = await talks(house)
            assert (await house.ask(call_id, "dtmf", digits="1")).status == 200
            assert (await house.ask(call_id, "end", after="now")).status == 200
            await house.ended(call_id)
            paths = [unquote(each.path) for each in house.carrier.rest.requests if "/actions/" in each.path]
            assert paths
            assert all(path.split("/calls/")[1].split("/")[0] in house.telnyx.legs for path in paths)

    real(scenario())


@both
def test_trap_08_a_dial_whose_answer_is_lost_makes_one_call(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    """An SDK that repeats it by itself makes two."""

    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            operation = "dial" if carrier == "telnyx" else "create"
            house.carrier.rest.script(operation, AnswerLate(6.5))
            call_id = await talks(house)
            assert (await house.ask(call_id, "end", after="now")).status == 200
            await house.ended(call_id)
            assert house.legs_to(THEIRS) == 1

    real(scenario())


@both
def test_trap_09_webhooks_are_acknowledged_at_once_and_done_once(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    """A slow receiver gets a storm of repetitions, and does everything again."""

    async def scenario() -> None:
        weather = Storm(seed=1, duplicate=1.0)
        async with whole_house(carrier, tmp_path, weather=weather) as house:
            house.ring(HEARD, HangUp())
            call_id = await house.the_call()
            await house.ended(call_id)
            assert house.carrier.rest.count("answer") <= 1
            assert (await house.published(call_id)).count("call.ended") == 1
            assert all(each.attempt == 1 for each in house.carrier.webhooks.deliveries)
            assert len(await house.calls()) == 1

    real(scenario())


@pytest.mark.parametrize("seed", range(4))
@both
def test_trap_10_webhooks_in_any_order_make_the_same_call(
    real: RunAsync, tmp_path: Path, carrier: str, seed: int
) -> None:
    async def scenario() -> None:
        weather = Storm(seed=seed, duplicate=0.4, reorder=0.5, delay=0.4)
        async with whole_house(carrier, tmp_path, far_end=PATIENT, weather=weather) as house:
            call_id = await talks(house)
            assert (await house.ask(call_id, "end", after="now")).status == 200
            record = await house.ended(call_id)
            assert (record.status, record.disposition, record.ended_reason) == (
                "completed",
                "answered",
                "api",
            )
            told = await house.published(call_id)
            assert [told.count(name) for name in ("call.answered", "call.started", "call.ended")] == [1, 1, 1]
            assert told.count("call.ringing") <= 1  # news of ringing after the answer is none
            assert told[-1] == "call.ended"

    real(scenario())


@both
def test_trap_11_a_stranger_finds_no_media_socket(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await talks(house)
            for token in ("guess", call_id, "x" * 43):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await house.http.ws_connect(f"/media/{carrier}/{token}")
                assert refused.value.status == 404

    real(scenario())


@pytest.mark.parametrize("number", [13, 27])
def test_trap_13_27_no_document_ends_in_a_pause(real: RunAsync, tmp_path: Path, number: int) -> None:
    """Dead air after the stream; and it cut more than half of somebody's transfers."""

    async def scenario() -> None:
        async with whole_house("twilio", tmp_path, far_end=PATIENT) as house:
            if number == 27:
                house.ring(HEARD, HangUp())
                await house.ended(await house.the_call())
            else:
                call_id = await talks(house)
                house.answers(OTHER, FarEnd(reaction=Reaction.BUSY))
                assert (await house.ask(call_id, "transfer", destination=OTHER, after="now")).status == 200
                await house.happened(call_id, "transfer.failed")
            shown = documents(house)
            assert shown
            assert not any("<Pause" in each for each in shown)

    real(scenario())


@both
def test_trap_14_a_call_that_is_never_answered_leaves_nothing_behind(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=FarEnd(reaction=Reaction.BUSY)) as house:
            said = await house.dial()
            await house.ended(said.json["call_id"])
            assert len(house.gateway.calls) == 0
            assert len(house.gateway.tokens) == 0

    real(scenario())


def test_trap_17_a_call_that_changes_its_name_is_still_the_call(real: RunAsync, tmp_path: Path) -> None:
    """Webhooks may name another `call_control_id` than the answer to the dial did."""

    async def scenario() -> None:
        options = {"changes_ids": True}
        async with whole_house("telnyx", tmp_path, far_end=PATIENT, carrier_options=options) as house:
            call_id = await talks(house)
            assert (await house.ask(call_id, "end", after="now")).status == 200
            assert (await house.ended(call_id)).ended_reason == "api"
            assert len(await house.calls()) == 1

    real(scenario())


@both
def test_trap_18_the_end_of_a_transfers_leg_is_not_the_end_of_the_call(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    """Both legs share a session."""

    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await talks(house)
            house.answers(OTHER, FarEnd(reaction=Reaction.REJECTS))
            assert (await house.ask(call_id, "transfer", destination=OTHER, after="now")).status == 200
            await house.happened(call_id, "transfer.failed")
            assert (await house.call(call_id)).live
            assert house.leg_to(THEIRS).leg.alive

    real(scenario())


# Twilio


def test_trap_19_nothing_replaces_the_document_that_opens_the_stream(real: RunAsync, tmp_path: Path) -> None:
    """The news of the answer comes before the media socket."""

    async def scenario() -> None:
        async with whole_house("twilio", tmp_path, far_end=PATIENT) as house:
            said = await house.dial()
            call_id = said.json["call_id"]
            await house.happened(call_id, "call.answered")
            asked = await house.ask(call_id, "dtmf", digits="12#")
            assert asked.status == 200, asked
            await house.happened(call_id, "stream.started", times=2)
            names = [event.name for event in await house.events(call_id)]
            assert names.index("stream.started") < names.index("command.send_digits")

    real(scenario())


def test_trap_20_a_voice_request_that_comes_twice_is_one_call(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        options = {"duplicates_voice": True}
        async with whole_house("twilio", tmp_path, carrier_options=options) as house:
            leg = house.ring(HEARD, Wait(0.5), HangUp())
            record = await house.ended(await house.the_call())
            assert (record.status, record.ended_reason) == ("completed", "caller-hangup")
            assert len(await house.calls()) == 1
            assert leg.phone is not None

    real(scenario())


def test_trap_21_a_streams_url_has_no_query(real: RunAsync, tmp_path: Path) -> None:
    """Twilio drops it, and whatever token stood in it."""

    async def scenario() -> None:
        async with whole_house("twilio", tmp_path) as house:
            house.ring(HEARD, HangUp())
            await house.ended(await house.the_call())
            urls = re.findall(r'<Stream [^>]*?\burl="([^"]*)"', "".join(documents(house)))
            assert urls
            assert not any("?" in url for url in urls)

    real(scenario())


def test_trap_22_an_upgrade_with_a_wrong_signature_is_refused(real: RunAsync, tmp_path: Path) -> None:
    """Whatever token it brings; those of real calls are signed over the `wss` URL, and pass."""

    async def scenario() -> None:
        async with whole_house("twilio", tmp_path, far_end=PATIENT) as house:
            await talks(house)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await house.http.ws_connect("/media/twilio/any", headers={"x-twilio-signature": "AAAA"})
            assert refused.value.status == 403

    real(scenario())


def test_trap_28_whatever_replaces_a_document_opens_the_next_stream(real: RunAsync, tmp_path: Path) -> None:
    """Forgetting it ends the call."""

    async def scenario() -> None:
        async with whole_house("twilio", tmp_path, far_end=PATIENT) as house:
            call_id = await talks(house)
            assert (await house.ask(call_id, "dtmf", digits="1")).status == 200
            await house.happened(call_id, "stream.started", times=2)
            assert (await house.ask(call_id, "gather", prompt="PIN?", mode="carrier")).status == 202
            assert (await house.stop(call_id, "gather")).status == 200
            await house.happened(call_id, "call.gather.completed")
            await house.happened(call_id, "stream.started", times=3)
            assert (await house.call(call_id)).live
            for document in documents(house):
                assert "<Stream" in document or "<Gather" in document or "<Hangup" in document

    real(scenario())


@pytest.mark.parametrize(("status", "code"), [(400, 21220), (404, 20404)])
def test_trap_32_a_hang_up_of_a_call_that_is_over_is_a_success(
    real: RunAsync, tmp_path: Path, status: int, code: int
) -> None:
    async def scenario() -> None:
        async with whole_house("twilio", tmp_path, far_end=PATIENT) as house:
            call_id = await talks(house)
            refusal = Refuse(status=status, body=error_body(status, code, "over"))
            house.carrier.rest.script("update", refusal)
            assert (await house.ask(call_id, "end", after="now")).status == 200
            record = await house.ended(call_id)
            assert (record.status, record.ended_reason) == ("completed", "api")
            assert house.carrier.rest.count("update") == 1

    real(scenario())


@both
def test_trap_33_a_carrier_that_does_not_answer_holds_up_no_end(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT, drain_s=0.0) as house:
            call_id = await talks(house)
            house.carrier.rest.script("hangup" if carrier == "telnyx" else "update", *[Stall(None)] * 9)
            asked = asyncio.get_running_loop().time()
            assert (await house.ask(call_id, "end", after="now")).status == 200
            assert asyncio.get_running_loop().time() - asked < 2.0
            house.put_down(house.leg_to(THEIRS))
            assert (await house.ended(call_id)).ended_reason == "api"

    real(scenario())


@both
def test_trap_34_a_rate_limit_is_waited_out(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    """One call a second is Twilio's default."""

    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            refusal = (
                Refuse(status=429, body=too_many_requests(), headers={"x-ratelimit-reset": "1"})
                if carrier == "telnyx"
                else Refuse(status=429, body=error_body(429, 20429, "slow down"))
            )
            house.carrier.rest.script("dial" if carrier == "telnyx" else "create", refusal)
            await talks(house)
            assert house.legs_to(THEIRS) == 1

    real(scenario())


# Both


@both
def test_trap_39_an_end_that_comes_from_all_sides_is_one_end(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await talks(house)
            ends = [asyncio.create_task(house.ask(call_id, "end", after="now")) for _ in range(3)]
            house.put_down(house.leg_to(THEIRS))
            assert {said.status for said in await asyncio.gather(*ends)} == {200}
            await house.ended(call_id)
            await house.carrier.webhooks.drained()
            assert (await house.published(call_id)).count("call.ended") == 1

    real(scenario())


@both
def test_trap_41_a_call_whose_agent_is_lost_is_hung_up_by_us(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    """Closing the media socket alone leaves the caller in silence."""

    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await talks(house)
            await house.agent.close()
            record = await house.ended(call_id)
            assert (record.ended_reason, record.ws_unavailable) == ("error", True)
            assert not house.leg_to(THEIRS).leg.alive

    real(scenario())


@both
def test_trap_42_webhooks_that_overtake_the_answer_to_the_dial_find_their_call(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            house.carrier.rest.script("dial" if carrier == "telnyx" else "create", AnswerLate(2.0))
            dialling = asyncio.create_task(house.dial())
            call_id = await house.the_call()
            await house.happened(call_id, "call.started")
            assert not dialling.done()
            said = await dialling
            assert (said.status, said.json["call_id"]) == (201, call_id)
            assert said.json["from_number"] == OURS

    real(scenario())


@both
def test_a_lost_end_is_found_by_the_stream_that_stopped(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    """The webhook of the end never comes."""

    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await talks(house)
            for name in ("call.hangup", "completed", "streaming.stopped", "stream-stopped"):
                house.carrier.webhooks.script(name, Fate(copies=0))
            house.put_down(house.leg_to(THEIRS))
            record = await house.ended(call_id)
            assert record.status == "completed"

    real(scenario())

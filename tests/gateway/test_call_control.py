"""Whole calls under control, through HTTP and websockets alone, on both carriers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from control.call_record import CallRecord
from telephony.caller import AwaitAgent, Edge, HangUp, Press, Wait
from telephony.simulated_exchange import Refuse
from telephony.simulated_switch import FarEnd, Kind, Reaction
from tests.conftest import RunAsync
from tests.whole_house import OTHER, OURS, THEIRS, House, whole_house

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])

HEARD = AwaitAgent(Edge.END, quiet=0.2)
PATIENT = FarEnd(script=(HEARD, Wait(30)))


def came_to(record: CallRecord) -> tuple[str, str | None, str | None]:
    return (
        record.status.value,
        record.disposition and record.disposition.value,
        record.ended_reason and record.ended_reason.value,
    )


async def calls_events(house: House, call_id: str) -> list[str]:
    return [name for name in await house.published(call_id) if name.startswith("call.")]


async def dialled(house: House, **options: Any) -> str:
    """A call that was dialled and talks."""
    said = await house.dial(**options)
    assert said.status == 201, said
    call_id = str(said.json["call_id"])
    await house.happened(call_id, "call.started")
    return call_id


# Calls that come in


@both
def test_a_call_comes_in_is_greeted_and_ends_with_its_caller(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path) as house:
            house.ring(HEARD, HangUp())
            call_id = await house.the_call()
            record = await house.ended(call_id)
            assert came_to(record) == ("completed", "answered", "caller-hangup")
            assert record.duration_seconds > 0
            assert await calls_events(house, call_id) == [
                "call.ringing",
                "call.answered",
                "call.started",
                "call.ended",
            ]
            assert [entry["content"] for entry in record.transcript] == ["Hello."]

    real(scenario())


@both
def test_a_call_to_a_number_that_nobody_has_is_turned_away(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, inbound_default="reject") as house:
            leg = house.ring()
            record = await house.ended(await house.the_call())
            assert came_to(record) == ("rejected", "rejected", "api")
            assert leg.leg.answered_at is None
            assert len(house.gateway.calls) == 0

    real(scenario())


@both
def test_a_caller_who_gives_up_while_it_rings_was_never_answered(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, agent_up=False, answer_wait_s=5) as house:
            house.ring(patience=0.2)
            record = await house.ended(await house.the_call())
            assert record.answered_at is None
            assert came_to(record) in (
                ("canceled", "no-answer", "caller-hangup"),
                ("rejected", "rejected", "error"),
                ("failed", "failed", "error"),
            )

    real(scenario())


@both
def test_a_full_house_turns_calls_away_as_busy(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, max_calls=1) as house:
            house.ring(HEARD, Wait(30))
            first = await house.the_call()
            await house.happened(first, "call.started")
            second = house.ring()
            record = await house.ended(await house.the_call(2))
            assert came_to(record) == ("rejected", "rejected", "api")
            assert second.leg.answered_at is None
            refused = await house.dial()
            assert (refused.status, refused.code) == (429, "concurrent_call_limit")

    real(scenario())


# Calls that are made


@both
def test_a_call_is_made_and_ended_by_request(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            await house.happened(call_id, "ai.speech.ended")
            assert (await house.ask(call_id, "end")).json == {"success": True}
            record = await house.ended(call_id)
            assert came_to(record) == ("completed", "answered", "api")
            assert house.legs_to(THEIRS) == 1
            assert not house.leg_to(THEIRS).leg.alive
            assert (await house.ask(call_id, "end")).json == {"success": True}

    real(scenario())


@pytest.mark.parametrize(
    ("reaction", "expected"),
    [
        (Reaction.BUSY, ("busy", "busy", None)),
        (Reaction.REJECTS, ("rejected", "rejected", None)),
        (Reaction.NOT_FOUND, ("failed", "failed", "error")),
    ],
)
@both
def test_a_far_end_that_does_not_answer_says_how(
    real: RunAsync, tmp_path: Path, carrier: str, reaction: Reaction, expected: tuple[str, str, str | None]
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=FarEnd(reaction=reaction)) as house:
            said = await house.dial()
            assert said.status == 201, said
            call_id = said.json["call_id"]
            record = await house.ended(call_id)
            assert came_to(record) == expected
            assert (await calls_events(house, call_id))[-2:] == ["call.failed", "call.ended"]

    real(scenario())


@both
def test_a_far_end_that_only_rings_is_given_up(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        nobody = FarEnd(reaction=Reaction.RINGS_OUT)
        async with whole_house(carrier, tmp_path, far_end=nobody) as house:
            said = await house.dial(ring_timeout_seconds=5)
            assert said.status == 201, said
            call_id = said.json["call_id"]
            record = await house.ended(call_id)
            assert came_to(record) == ("no-answer", "no-answer", "timeout")

    real(scenario())


@both
def test_a_ringing_call_that_is_ended_was_cancelled(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        nobody = FarEnd(reaction=Reaction.RINGS_OUT)
        async with whole_house(carrier, tmp_path, far_end=nobody) as house:
            said = await house.dial()
            assert said.status == 201, said
            call_id = said.json["call_id"]
            assert said.json["status"] == "ringing"
            assert (await house.ask(call_id, "end")).json == {"success": True}
            assert came_to(await house.ended(call_id)) == ("canceled", "no-answer", "api")
            assert not house.leg_to(THEIRS).leg.alive

    real(scenario())


@both
def test_what_the_carrier_refuses_to_dial_is_told_in_its_own_words(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path) as house:
            operation = "dial" if carrier == "telnyx" else "create"
            body = (
                b'{"errors":[{"code":"10016","title":"not E.164","detail":"the to number is wrong"}]}'
                if carrier == "telnyx"
                else b'{"code":21211,"message":"the to number is wrong","status":400}'
            )
            house.carrier.rest.script(
                operation, Refuse(status=422 if carrier == "telnyx" else 400, body=body)
            )
            refused = await house.dial()
            assert (refused.status, refused.code) == (422, "carrier_rejected")
            assert "the to number is wrong" in refused.json["detail"]
            (record,) = await house.calls()
            assert came_to(record) == ("failed", "failed", "error")
            assert house.legs_to(THEIRS) == 0

    real(scenario())


@both
def test_a_machine_that_answers_is_voicemail(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        machine = FarEnd(kind=Kind.MACHINE, detected_after=0.3, beep_after=0.5, script=(Wait(30),))
        async with whole_house(carrier, tmp_path, far_end=machine) as house:
            said = await house.dial(machine_detection="async")
            assert said.status == 201, said
            call_id = said.json["call_id"]
            detected = await house.happened(call_id, "call.machine_detected")
            assert detected.data["answered_by"] == "machine"
            record = await house.ended(call_id)
            assert record.disposition == "voicemail"

    real(scenario())


# Transfers


async def transferring(house: House, call_id: str, **options: Any) -> str:
    """A transfer that was taken; its id."""
    said = await house.ask(call_id, "transfer", destination=OTHER, after="now", **options)
    assert said.status == 200, said
    assert said.json["destination"] == OTHER
    return str(said.json["transfer_id"])


@both
def test_a_transfer_that_is_answered_releases_the_caller(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            house.answers(OTHER, FarEnd(script=(Wait(30),)))
            transfer_id = await transferring(house, call_id)
            await house.happened(call_id, "transfer.completed")
            record = await house.call(call_id)
            assert (record.status, record.transferred_to) == ("in-progress", OTHER)
            refused = await house.ask(call_id, "dtmf", digits="1")
            assert (refused.status, refused.code) == (409, "call_released")
            shown = await house.api("GET", f"/v1/calls/{call_id}/transfer")
            assert (shown.json["transfer_id"], shown.json["state"]) == (transfer_id, "completed")
            assert house.leg_to(THEIRS).leg.alive
            house.put_down(house.leg_to(OTHER))
            record = await house.ended(call_id)
            assert came_to(record) == ("completed", "transferred", "transfer")

    real(scenario())


@pytest.mark.parametrize("reaction", [Reaction.BUSY, Reaction.REJECTS, Reaction.NOT_FOUND])
@both
def test_a_transfer_that_fails_gives_the_caller_back(
    real: RunAsync, tmp_path: Path, carrier: str, reaction: Reaction
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            house.answers(OTHER, FarEnd(reaction=reaction))
            transfer_id = await transferring(house, call_id)
            failed = await house.happened(call_id, "transfer.failed")
            assert failed.data["transfer_id"] == transfer_id
            assert (await house.ask(call_id, "end", after="now")).json == {"success": True}
            assert came_to(await house.ended(call_id)) == ("completed", "answered", "api")

    real(scenario())


@both
def test_a_transfer_that_only_rings_can_be_cancelled(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            house.answers(OTHER, FarEnd(reaction=Reaction.RINGS_OUT))
            await transferring(house, call_id)
            assert (await house.stop(call_id, "transfer")).status == 200
            await house.happened(call_id, "transfer.failed")
            assert house.leg_to(THEIRS).leg.alive
            assert (await house.ask(call_id, "end", after="now")).json == {"success": True}
            assert came_to(await house.ended(call_id)) == ("completed", "answered", "api")
            assert not house.leg_to(OTHER).leg.alive

    real(scenario())


@both
def test_a_caller_who_hangs_up_while_a_transfer_rings_leaves_nobody_ringing(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            house.answers(OTHER, FarEnd(reaction=Reaction.RINGS_OUT))
            await transferring(house, call_id)
            await house.until(lambda: asyncio.sleep(0, house.legs_to(OTHER)), bool)
            house.put_down(house.leg_to(THEIRS))
            record = await house.ended(call_id)
            assert came_to(record) == ("completed", "answered", "caller-hangup")
            assert "transfer.failed" in await house.published(call_id)
            assert not house.leg_to(OTHER).leg.alive

    real(scenario())


# Digits


@both
def test_a_gather_by_the_carrier_brings_what_was_typed(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        typist = FarEnd(script=(HEARD, Wait(1.5), Press("1234#"), Wait(30)))
        async with whole_house(carrier, tmp_path, far_end=typist) as house:
            call_id = await dialled(house)
            await house.happened(call_id, "ai.speech.ended")
            said = await house.ask(call_id, "gather", prompt="PIN?", max_digits=6, mode="carrier")
            assert said.status == 202, said
            done = await house.happened(call_id, "call.gather.completed")
            assert (done.data["status"], done.data["input"]) == ("completed", "1234")
            assert (await house.ask(call_id, "end", after="now")).json == {"success": True}
            assert came_to(await house.ended(call_id)) == ("completed", "answered", "api")

    real(scenario())


@both
def test_a_gather_can_be_stopped(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            assert (await house.ask(call_id, "gather", prompt="PIN?", mode="carrier")).status == 202
            again = await house.ask(call_id, "gather", prompt="PIN?")
            assert (again.status, again.code) == (409, "gather_in_progress")
            assert (await house.stop(call_id, "gather")).status == 200
            done = await house.happened(call_id, "call.gather.completed")
            assert done.data["status"] == "cancelled"
            assert (await house.ask(call_id, "end", after="now")).json == {"success": True}
            await house.ended(call_id)

    real(scenario())


@both
def test_digits_are_pressed_for_the_far_end_and_the_call_goes_on(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            assert (await house.ask(call_id, "dtmf", digits="12#")).status == 200
            if carrier == "twilio":
                await house.until(
                    lambda: asyncio.sleep(0, house.twilio.call_to(THEIRS).phone),
                    lambda phone: any(prompt.what == "digits 12#" for prompt in phone.prompts),
                )
                await house.happened(call_id, "stream.started", times=2)
            assert (await house.ask(call_id, "hold")).status == 200
            assert (await house.ask(call_id, "resume")).status == 200
            assert (await house.ask(call_id, "end", after="now")).json == {"success": True}
            assert came_to(await house.ended(call_id)) == ("completed", "answered", "api")

    real(scenario())


# The end of the process


@both
def test_a_gateway_that_stops_lets_calls_end_politely(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT, drain_s=0.3) as house:
            call_id = await dialled(house)
            ending = asyncio.create_task(house.gateway.house.drain(0.3))
            service = house.gateway.house.service
            await house.until(lambda: asyncio.sleep(0, service.draining), bool)
            refused = await house.dial()
            assert (refused.status, refused.code) == (503, "draining")
            record = await house.ended(call_id)
            assert record.drain_forced
            await ending
            assert not house.leg_to(THEIRS).leg.alive
            assert record.from_number == OURS

    real(scenario())

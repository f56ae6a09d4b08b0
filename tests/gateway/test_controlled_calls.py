"""Whole calls under control, through HTTP and websockets alone, on both carriers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from control.call_record import CallRecord
from control.dialling import DialFailed, Dialled
from control.requests import (
    Accepted,
    After,
    CancelGather,
    CancelTransfer,
    EndCall,
    Gather,
    GatherMode,
    Hold,
    Refused,
    Resume,
    SendDigits,
    TransferCall,
)
from telephony.caller import AwaitAgent, Edge, HangUp, Press, Wait
from telephony.commands import MachineDetection
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
    outcome = await house.dial(**options)
    assert isinstance(outcome, Dialled), outcome
    await house.happened(outcome.record.call_id, "call.started")
    return outcome.record.call_id


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
        async with whole_house(carrier, tmp_path, agents=False, answer_wait_s=5) as house:
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
            assert isinstance(refused, Refused)
            assert (refused.status, refused.code) == (429, "concurrent_call_limit")

    real(scenario())


# Calls that are made


@both
def test_a_call_is_made_and_ended_by_request(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            await house.happened(call_id, "ai.speech.ended")
            assert await house.ask(call_id, EndCall()) == Accepted()
            record = await house.ended(call_id)
            assert came_to(record) == ("completed", "answered", "api")
            assert house.legs_to(THEIRS) == 1
            assert not house.leg_to(THEIRS).leg.alive
            assert await house.ask(call_id, EndCall()) == Accepted()

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
            outcome = await house.dial()
            assert isinstance(outcome, Dialled)
            record = await house.ended(outcome.record.call_id)
            assert came_to(record) == expected
            assert (await calls_events(house, outcome.record.call_id))[-2:] == ["call.failed", "call.ended"]

    real(scenario())


@both
def test_a_far_end_that_only_rings_is_given_up(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        nobody = FarEnd(reaction=Reaction.RINGS_OUT)
        async with whole_house(carrier, tmp_path, far_end=nobody) as house:
            outcome = await house.dial(ring_timeout=5)
            assert isinstance(outcome, Dialled)
            record = await house.ended(outcome.record.call_id)
            assert came_to(record) == ("no-answer", "no-answer", "timeout")

    real(scenario())


@both
def test_a_ringing_call_that_is_ended_was_cancelled(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        nobody = FarEnd(reaction=Reaction.RINGS_OUT)
        async with whole_house(carrier, tmp_path, far_end=nobody) as house:
            outcome = await house.dial()
            assert isinstance(outcome, Dialled)
            call_id = outcome.record.call_id
            assert outcome.record.status == "ringing"
            assert await house.ask(call_id, EndCall()) == Accepted()
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
            failed = await house.dial()
            assert isinstance(failed, DialFailed)
            assert (failed.refused.status, failed.refused.code) == (422, "carrier_rejected")
            assert "the to number is wrong" in failed.refused.detail
            (record,) = await house.calls()
            assert came_to(record) == ("failed", "failed", "error")
            assert house.legs_to(THEIRS) == 0

    real(scenario())


@both
def test_a_machine_that_answers_is_voicemail(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        machine = FarEnd(kind=Kind.MACHINE, detected_after=0.3, beep_after=0.5, script=(Wait(30),))
        async with whole_house(carrier, tmp_path, far_end=machine) as house:
            outcome = await house.dial(machine_detection=MachineDetection.ASYNC)
            assert isinstance(outcome, Dialled)
            call_id = outcome.record.call_id
            detected = await house.happened(call_id, "call.machine_detected")
            assert detected.data["answered_by"] == "machine"
            record = await house.ended(call_id)
            assert record.disposition == "voicemail"

    real(scenario())


# Transfers


def transfer(**options: object) -> TransferCall:
    values = {"transfer_id": "t_1", "destination": OTHER, "after": After.NOW, **options}
    return TransferCall(**values)  # type: ignore[arg-type]  # a test's own options


@both
def test_a_transfer_that_is_answered_releases_the_caller(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            house.answers(OTHER, FarEnd(script=(Wait(30),)))
            assert isinstance(await house.ask(call_id, transfer()), Accepted)
            await house.happened(call_id, "transfer.completed")
            record = await house.call(call_id)
            assert (record.status, record.transferred_to) == ("in-progress", OTHER)
            refused = await house.ask(call_id, SendDigits(digits="1"))
            assert isinstance(refused, Refused)
            assert refused.code == "call_released"
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
            assert isinstance(await house.ask(call_id, transfer()), Accepted)
            failed = await house.happened(call_id, "transfer.failed")
            assert failed.data["transfer_id"] == "t_1"
            assert await house.ask(call_id, EndCall(after=After.NOW)) == Accepted()
            assert came_to(await house.ended(call_id)) == ("completed", "answered", "api")

    real(scenario())


@both
def test_a_transfer_that_only_rings_can_be_cancelled(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            house.answers(OTHER, FarEnd(reaction=Reaction.RINGS_OUT))
            assert isinstance(await house.ask(call_id, transfer()), Accepted)
            assert isinstance(await house.ask(call_id, CancelTransfer()), Accepted)
            await house.happened(call_id, "transfer.failed")
            assert house.leg_to(THEIRS).leg.alive
            assert await house.ask(call_id, EndCall(after=After.NOW)) == Accepted()
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
            assert isinstance(await house.ask(call_id, transfer()), Accepted)
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
            asked = Gather(gather_id="g_1", prompt="PIN?", max_digits=6, mode=GatherMode.CARRIER)
            assert isinstance(await house.ask(call_id, asked), Accepted)
            done = await house.happened(call_id, "call.gather.completed")
            assert (done.data["status"], done.data["input"]) == ("completed", "1234")
            assert await house.ask(call_id, EndCall(after=After.NOW)) == Accepted()
            assert came_to(await house.ended(call_id)) == ("completed", "answered", "api")

    real(scenario())


@both
def test_a_gather_can_be_stopped(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            asked = Gather(gather_id="g_1", prompt="PIN?", mode=GatherMode.CARRIER)
            assert isinstance(await house.ask(call_id, asked), Accepted)
            again = await house.ask(call_id, Gather(gather_id="g_2", prompt="PIN?"))
            assert isinstance(again, Refused)
            assert again.code == "gather_in_progress"
            assert isinstance(await house.ask(call_id, CancelGather()), Accepted)
            done = await house.happened(call_id, "call.gather.completed")
            assert done.data["status"] == "cancelled"
            assert await house.ask(call_id, EndCall(after=After.NOW)) == Accepted()
            await house.ended(call_id)

    real(scenario())


@both
def test_digits_are_pressed_for_the_far_end_and_the_call_goes_on(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, far_end=PATIENT) as house:
            call_id = await dialled(house)
            assert isinstance(await house.ask(call_id, SendDigits(digits="12#")), Accepted)
            if carrier == "twilio":
                await house.until(
                    lambda: asyncio.sleep(0, house.twilio.call_to(THEIRS).phone),
                    lambda phone: any(prompt.what == "digits 12#" for prompt in phone.prompts),
                )
                await house.happened(call_id, "stream.started", times=2)
            assert isinstance(await house.ask(call_id, Hold()), Accepted)
            assert isinstance(await house.ask(call_id, Resume()), Accepted)
            assert await house.ask(call_id, EndCall(after=After.NOW)) == Accepted()
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
            assert isinstance(refused, Refused)
            assert (refused.status, refused.code) == (503, "draining")
            record = await house.ended(call_id)
            assert record.drain_forced
            await ending
            assert not house.leg_to(THEIRS).leg.alive
            assert record.from_number == OURS

    real(scenario())

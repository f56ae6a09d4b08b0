"""Call control put together: what survives a restart, what is settled after a crash, and calls without control."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from control.call_record import CallRecord
from control.stores.store import Store
from gateway.call_house import database_of, node_of
from gateway.links import connect
from gateway.settings import Settings
from telephony.caller import AwaitAgent, Caller, Edge, HangUp, Press, Wait
from telephony.causes import CallStatus, Direction, EndedReason
from telephony.simulated_switch import FarEnd
from telephony.simulation import SimulatedCall
from tests.conftest import RunAsync
from tests.receiver import Receiver
from tests.whole_house import OTHER, OURS, THEIRS, whole_house

pytestmark = pytest.mark.sockets

HEARD = AwaitAgent(Edge.END, quiet=0.2)


def left(**changes: object) -> CallRecord:
    record = CallRecord(
        call_id="call_left",
        direction=Direction.OUTBOUND,
        carrier="telnyx",
        from_number=OURS,
        to_number=THEIRS,
        status=CallStatus.IN_PROGRESS,
        started_at=datetime.now(UTC),
        answered_at=datetime.now(UTC),
        revision=1,
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # a test's own changes


async def leave(folder: Path, record: CallRecord) -> None:
    """What a process leaves behind that died with a call."""
    data = folder / "data"
    store = await Store.open(f"sqlite:///{data / 'offhook.db'}", migrate=True)
    await store.save_call(replace(record, node=node_of(data)), ())
    await store.close()


def test_calls_survive_a_restart(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path) as house:
            house.ring(HEARD, HangUp())
            call_id = await house.the_call()
            record = await house.ended(call_id)
            told = await house.published(call_id)
        async with whole_house("telnyx", tmp_path) as house:
            assert await house.call(call_id) == record
            assert await house.published(call_id) == told
            assert (await house.ask(call_id, "end")).status == 200

    real(scenario())


def test_a_call_that_a_crash_left_ends_as_our_error(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        await leave(tmp_path, left(carrier_call_id="v3:gone", leg_id="gone"))
        async with whole_house("telnyx", tmp_path) as house:
            record = await house.ended("call_left")
            assert (record.status, record.ended_reason) == (CallStatus.COMPLETED, EndedReason.ERROR)
            await house.until(lambda: asyncio.sleep(0, house.carrier.rest.count("hangup")), bool)

    real(scenario())


def test_a_caller_who_was_transferred_before_a_crash_is_waited_for(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        await leave(tmp_path, left(carrier_call_id="v3:gone", leg_id="gone", transferred_to=OTHER))
        async with whole_house("telnyx", tmp_path) as house:
            assert (await house.call("call_left")).live
            assert house.carrier.rest.count("hangup") == 0

    real(scenario())


def test_a_bare_call_is_on_record_like_any_other(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_house("twilio", tmp_path, media_auth="none", twilio_auth_token=None) as house:
            simulated = SimulatedCall(
                "twilio",
                connect,
                house.gateway.media_url("twilio", "anything"),
                Caller((HEARD, HangUp())),
                ids=Random(7),
            )
            await simulated.run()
            record = await house.ended(await house.the_call())
            assert (record.status, record.ended_reason) == (CallStatus.COMPLETED, EndedReason.CALLER_HANGUP)
            assert record.agent_id == "agent_default"
            assert [entry["content"] for entry in record.transcript] == ["Hello."]
            assert (await house.published(record.call_id)).count("call.ended") == 1

    real(scenario())


def test_a_bare_call_cannot_be_controlled(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_house("twilio", tmp_path, media_auth="none", twilio_auth_token=None) as house:
            call = SimulatedCall(
                "twilio",
                connect,
                house.gateway.media_url("twilio", "anything"),
                Caller((HEARD, Wait(20))),
                ids=Random(7),
            )
            running = asyncio.create_task(call.run())
            call_id = await house.the_call()
            refused = await house.ask(call_id, "end")
            assert (refused.status, refused.code) == (409, "no_control_channel")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    real(scenario())


def test_a_process_that_stops_leaves_nothing_live_but_transferred_callers(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        patient = FarEnd(script=(HEARD, Wait(30)))
        async with whole_house("telnyx", tmp_path, far_end=patient, drain_s=0.2) as house:
            call_id = (await house.dial()).json["call_id"]
            await house.happened(call_id, "call.started")
        store = await Store.open(f"sqlite:///{tmp_path / 'data' / 'offhook.db'}")
        assert await store.live_calls() == []
        record = await store.call("default", call_id)
        assert record is not None
        assert record.drain_forced
        await store.close()

    real(scenario())


def test_a_data_folder_keeps_its_name(tmp_path: Path) -> None:
    assert node_of(tmp_path / "a") == node_of(tmp_path / "a")
    assert node_of(tmp_path / "a") != node_of(tmp_path / "b")
    (tmp_path / "a" / "node").write_text("")  # as a full disk leaves it
    named = node_of(tmp_path / "a")
    assert named == node_of(tmp_path / "a") != ""


def test_calls_are_kept_beside_the_data_unless_told_otherwise(tmp_path: Path) -> None:
    assert database_of(Settings(data_dir=tmp_path)).endswith(f"{tmp_path}/offhook.db")
    elsewhere = Settings(data_dir=tmp_path, database_url="postgresql://db/offhook")  # type: ignore[arg-type]  # parsed
    assert database_of(elsewhere) == "postgresql://db/offhook"


def test_the_digits_of_a_sensitive_gather_are_in_its_webhook_and_nowhere_else(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        typist = FarEnd(script=(HEARD, Wait(1.5), Press("86420975#"), Wait(30)))
        allowed: dict[str, Any] = {"egress_allow": "127.0.0.1", "egress_allow_http": True, "trace": True}
        async with (
            Receiver.running() as receiver,
            whole_house("telnyx", tmp_path, far_end=typist, **allowed) as house,
        ):
            call_id = (await house.dial(webhook_url=f"{receiver.url}/hook")).json["call_id"]
            await house.happened(call_id, "ai.speech.ended")
            said = await house.ask(call_id, "gather", prompt="Card?", sensitive=True, mode="carrier")
            assert said.status == 202, said
            await house.happened(call_id, "call.gather.completed")
            assert (await house.ask(call_id, "end", after="now")).status == 200
            await house.ended(call_id)
            while not any(b"86420975" in each.body for each in receiver.received):
                await receiver.heard(len(receiver.received) + 1)
            (told,) = [each.json for each in receiver.received if b"86420975" in each.body]
            assert (told["event"], told["data"]["input"]) == ("call.gather.completed", "86420975")
            for path in (f"/v1/calls/{call_id}/events", "/v1/events", f"/v1/calls/{call_id}/gather"):
                assert "86420975" not in str((await house.api("GET", path)).json)
            await house.until(house.gateway.house.store.deliveries.pending, lambda owed: not owed)
        for file in (tmp_path / "data").rglob("*"):
            if file.is_file() and file.suffix not in (".db-wal", ".db-shm"):
                assert b"86420975" not in file.read_bytes(), file

    real(scenario())

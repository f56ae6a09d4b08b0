"""Calls are read after their end: nobody waits, nothing owed is forgotten, and a failure is seen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from control.call_record import CallRecord
from control.stores.store import Store
from gateway.extracting import Extracting, extracting
from gateway.extractor import Extractor
from tests.conftest import RunAsync
from tests.contracts.records import ended_call, event
from tests.gateway.test_extractor import FITS, SCHEMA, refuses, says
from tests.receiver import Receiver
from tests.whole_house import House, whole_house

pytestmark = pytest.mark.sockets

TALK = ({"role": "user", "content": "Order A seven, please."},)


@asynccontextmanager
async def reading(
    store: Store, server: Receiver, pauses: tuple[timedelta, ...] = ()
) -> AsyncIterator[asyncio.Queue[str]]:
    """Somebody reads; the queue says whenever something was stored."""
    numbers = count(1)
    told: asyncio.Queue[str] = asyncio.Queue()
    extractor = Extractor(f"{server.url}/v1", api_key="k", model="m", pauses=())
    work = Extracting(
        store,
        extractor,
        node="node_1",
        clock=lambda: datetime.now(UTC),
        new_id=lambda prefix: f"{prefix}_x{next(numbers)}",
        told=told.put_nowait,
        pauses=pauses,
    )
    async with extracting(work):
        yield told
    await extractor.close()


async def owe(store: Store, **facts: Any) -> CallRecord:
    record = ended_call(transcript=TALK, agent_id="agent_1", **facts)
    await store.save_call(record, [event(record, name="call.ended", extraction_schema=SCHEMA)])
    return record


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[tuple[Store, Receiver]]:
    store = await Store.open(f"sqlite:///{folder / 'offhook.db'}", migrate=True)
    async with Receiver.running() as server:
        server.answer = lambda _: says(FITS)
        yield store, server
    await store.close()


async def kept(store: Store, record: CallRecord) -> tuple[object, list[str]]:
    found = await store.call(record.tenant_id, record.call_id)
    assert found is not None
    events = await store.events(record.tenant_id, record.call_id)
    return found.extracted_data, [each.event.name for each in events]


def test_a_call_that_has_ended_is_read(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (store, server):
            record = await owe(store)
            async with reading(store, server) as told:
                assert await told.get() == "default"
            assert await kept(store, record) == ({"order": "A7"}, ["call.ended", "extraction.completed"])

    real(scenario())


def test_what_cannot_be_had_is_told_with_why(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (store, server):
            server.answer = lambda _: refuses(401)
            record = await owe(store)
            async with reading(store, server) as told:
                await told.get()
            assert await kept(store, record) == (None, ["call.ended", "extraction.failed"])
            failed = (await store.events("default", record.call_id))[-1].event
            assert failed.data == {"attempt": 1, "error": "the endpoint answered 401"}
            assert failed.agent_id == "agent_1"

    real(scenario())


def test_an_endpoint_that_is_down_is_asked_again_later(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (store, server):
            answers = [refuses(503), says(FITS)]
            server.answer = lambda _: answers.pop(0)
            record = await owe(store)
            async with reading(store, server, (timedelta(0),)) as told:
                await told.get()
            assert (await kept(store, record))[0] == {"order": "A7"}
            assert len(server.received) == 2

    real(scenario())


def test_what_was_being_read_at_the_end_of_the_process_is_read_by_the_next(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (store, server):
            record = await owe(store)
            server.hold()
            async with reading(store, server):
                await server.heard()
            server.let_go()
            due = await store.extractions.next_due()
            assert due is not None
            assert due <= datetime.now(UTC)
            async with reading(store, server) as told:
                await told.get()
            assert (await kept(store, record))[0] == {"order": "A7"}

    real(scenario())


def test_a_call_that_was_erased_meanwhile_is_left_alone(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as (store, server):
            erased = await owe(store)
            await store.delete_call("default", erased.call_id, datetime.now(UTC))
            record = await owe(store)
            async with reading(store, server) as told:
                await told.get()
            assert (await kept(store, record))[0] == {"order": "A7"}
            assert len(server.received) == 1

    real(scenario())


def test_a_whole_call_ends_at_once_and_is_read_then(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Receiver.running() as server:
            server.hold()
            server.answer = lambda _: says(FITS)
            options: dict[str, Any] = {
                "extraction_url": f"{server.url}/v1",
                "extraction_api_key": "secret-key",
                "extraction_model": "reader",
            }
            async with whole_house("telnyx", tmp_path, **options) as house:
                call_id = await talked(house)
                record = await house.ended(call_id)
                await server.heard()
                assert record.extracted_data is None  # the endpoint has not answered, and the call is over
                (asked,) = server.received
                assert asked.headers["authorization"] == "Bearer secret-key"
                assert asked.json["model"] == "reader"
                assert "Agent: Hello." in asked.json["messages"][1]["content"]
                server.let_go()
                await house.happened(call_id, "extraction.completed")
                said = await house.api("GET", f"/v1/calls/{call_id}")
                assert said.json["extracted_data"] == {"order": "A7"}

    real(scenario())


def test_a_schema_without_a_model_is_told_of_in_the_timeline(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path) as house:
            call_id = await talked(house)
            failed = await house.happened(call_id, "extraction.failed")
            assert "OFFHOOK_EXTRACTION_URL" in str(failed.data["error"])

    real(scenario())


async def talked(house: House) -> str:
    """A call of an agent that wants something extracted, which said hello and was ended."""
    said = await house.dial(agent_id=None, agent={"extraction_schema": SCHEMA})
    call_id = str(said.json["call_id"])
    await house.happened(call_id, "transcript.updated")
    await house.ask(call_id, "end")
    return call_id

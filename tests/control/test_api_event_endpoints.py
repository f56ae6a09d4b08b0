"""Events as users follow them: pages, and streams that lose and repeat nothing, whoever comes late or leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control.stores.keys import Scope
from tests.conftest import RunAsync
from tests.served_api import Users, made, whole_api
from tests.whole_house import TENANT, THEIRS, House

pytestmark = pytest.mark.sockets


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream, as its client reads it."""

    cursor: int
    name: str


class Stream:
    """Somebody who follows."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self._reader = reader
        self._writer = writer
        self.head = head

    async def next(self) -> Event | None:
        """The next event; None: the stream has ended."""
        fields: dict[str, str] = {}
        while True:
            line = (await self._reader.readline()).decode().rstrip("\r\n")
            if line == "0" or (not line and self._reader.at_eof()):
                return None
            if not line and "id" in fields:
                return Event(int(fields["id"]), fields["event"])
            name, found, value = line.partition(": ")
            if found:
                fields[name] = value

    async def rest(self) -> list[Event]:
        """Everything until its end."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found

    async def until(self, name: str) -> list[Event]:
        found: list[Event] = []
        while not found or found[-1].name != name:
            event = await self.next()
            assert event is not None, [each.name for each in found]
            found.append(event)
        return found

    def leave(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def following(
    users: Users, path: str, secret: str, last_seen: int | None = None
) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection("127.0.0.1", users.port)
    resumed = "" if last_seen is None else f"Last-Event-ID: {last_seen}\r\n"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {secret}\r\n{resumed}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    try:
        yield Stream(reader, writer, head)
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def in_progress(house: House) -> str:
    """A call that goes on until somebody ends it."""
    house.ring()
    call_id = await house.the_call()
    await house.happened(call_id, "call.started")
    return call_id


async def ended(users: Users, call_id: str) -> None:
    assert (await users.ask("POST", f"/v1/calls/{call_id}/end")).status == 200


async def secret_of(house: House) -> str:
    return (await made(house.gateway.house.store, Scope.READ)).secret


def test_a_calls_stream_has_all_of_its_timeline_once_and_ends_with_it(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            call_id = await in_progress(house)
            async with following(
                users, f"/v1/calls/{call_id}/events?follow=1", await secret_of(house)
            ) as stream:
                told = await stream.until("call.started")
                await ended(users, call_id)
                told += await stream.rest()
            assert [event.name for event in told] == [event.name for event in await house.events(call_id)]
            assert [event.cursor for event in told] == sorted({event.cursor for event in told})
            assert b"200 OK" in stream.head
            assert b"Content-Type: text/event-stream" in stream.head
            assert b"X-RateLimit-Remaining" in stream.head

    real(scenario())


def test_a_stream_that_broke_goes_on_where_it_was(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("twilio", tmp_path) as (house, users):
            call_id = await in_progress(house)
            path, secret = f"/v1/calls/{call_id}/events?follow=1", await secret_of(house)
            async with following(users, path, secret) as stream:
                told = [await stream.next(), await stream.next()]
            last = told[-1]
            assert last is not None
            await ended(users, call_id)
            async with following(users, path, secret, last.cursor) as stream:
                told += await stream.rest()
            assert [event.name for event in told if event] == [
                event.name for event in await house.events(call_id)
            ]

    real(scenario())


def test_a_tenants_stream_is_what_webhooks_tell_of_every_call(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            async with following(users, "/v1/events?follow=1", await secret_of(house)) as stream:
                first = await in_progress(house)
                await ended(users, first)
                told = await stream.until("call.ended")
                said = await users.ask(
                    "POST", "/v1/calls", json={"to": THEIRS, "from": "+13125550101", "agent_id": "default"}
                )
                await ended(users, said.json["call_id"])
                again = await stream.until("call.ended")
            assert [event.name for event in told] == await house.published(first)
            assert [event.name for event in again] == await house.published(said.json["call_id"])

    real(scenario())


def test_pages_go_on_where_the_last_one_ended(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            call_id = await in_progress(house)
            await ended(users, call_id)
            await house.ended(call_id)
            names: list[str] = []
            after = ""
            while True:
                said = await users.ask("GET", f"/v1/calls/{call_id}/events?limit=3{after}")
                names += [event["event"] for event in said.json["data"]]
                if said.json["next_cursor"] is None:
                    break
                after = f"&after={said.json['next_cursor']}"
            assert names == [event.name for event in await house.events(call_id)]

    real(scenario())


def test_a_cursor_that_is_none_of_ours_is_refused(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            for after in ("x", "-1", "1.5", "99999999999999999999", "%C2%B2"):
                said = await users.ask("GET", f"/v1/events?after={after}")
                assert (said.status, said.code) == (400, "invalid_cursor"), after
            endless = {"Last-Event-ID": "9" * 5_000}
            said = await users.ask("GET", "/v1/events", headers=endless)
            assert (said.status, said.code) == (400, "invalid_cursor")

    real(scenario())


def test_another_tenants_call_is_not_there(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            call_id = await in_progress(house)
            stranger = await made(house.gateway.house.store, Scope.FULL, "other")
            for path in (f"/v1/calls/{call_id}/events", f"/v1/calls/{call_id}/events?follow=1"):
                said = await users.with_key(stranger.secret).ask("GET", path)
                assert (said.status, said.code) == (404, "not_found")
            said = await users.with_key(stranger.secret).ask("GET", "/v1/events")
            assert said.json == {"data": [], "next_cursor": None}

    real(scenario())


def test_a_stream_ends_when_its_key_is_revoked(
    real: RunAsync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.api.event_endpoints._KEY_CHECKED", 0.0)

    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            key = await made(house.gateway.house.store, Scope.READ)
            async with following(users, "/v1/events?follow=1", key.secret) as stream:
                await house.gateway.house.store.keys.revoke(TENANT, key.key.key_id, datetime.now(UTC))
                await in_progress(house)
                assert "call.started" not in [event.name for event in await stream.rest()]

    real(scenario())


def test_who_leaves_is_followed_no_more_and_a_tenant_has_so_many_streams(
    real: RunAsync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.api.event_endpoints.MOST_STREAMS", 1)

    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            secret = await secret_of(house)
            async with following(users, "/v1/events?follow=1", secret) as stream:
                said = await users.ask("GET", "/v1/events?follow=1")
                assert (said.status, said.code) == (429, "too_many_streams")
                stream.leave()
            call_id = await in_progress(house)  # news, at which it is seen that nobody is there
            await ended(users, call_id)
            await house.ended(call_id)
            async with following(users, "/v1/events?follow=1", secret) as stream:
                while b"429" in stream.head:
                    async with following(users, "/v1/events?follow=1", secret) as again:
                        stream = again
                assert b"200 OK" in stream.head

    real(scenario())


def test_a_gateway_that_stops_does_not_wait_for_who_follows(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as follower:
            async with whole_api("telnyx", tmp_path) as (house, users):
                stream = await follower.enter_async_context(
                    following(users, "/v1/events?follow=1", await secret_of(house))
                )
            assert await stream.rest() == []

    real(scenario())

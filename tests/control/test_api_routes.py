"""Requests to an endpoint: who is let in, what is refused, and what a repetition does."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import Field

from control.api.endpoint import Answer, Asked, Body, Endpoint, NoBody, NoQuery, Query, Reply, endpoint
from control.api.problem import Problem
from control.api.repetition import repeated
from control.api.shapes import Done
from control.stores.errors import InvalidCursor, InvalidSort
from control.stores.idempotency import Claim, Claimed
from control.stores.keys import Scope
from tests.conftest import RunAsync
from tests.served_api import CONCURRENT_CALLS, Said, Served, made, served

pytestmark = pytest.mark.sockets

FOREIGN = "some-other-request"


class OrderQuery(Query):
    limit: int = Field(default=1, ge=1, le=3)


class OrderBody(Body):
    dish: str = Field(min_length=1)
    extras: dict[str, Any] = Field(default_factory=dict)


class Kitchen:
    """Endpoints that count what they were asked, and answer as they are told."""

    def __init__(self, served: Callable[[], Served] | None = None) -> None:
        self.cooked = 0
        self.full = False
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.outcome: Callable[[], Answer] = lambda: Reply(Done(), 201)
        self._served = served

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        def line(
            method: str,
            path: str,
            handler: Callable[[Asked[Any, Any]], Coroutine[Any, Any, Answer]],
            **more: Any,
        ) -> Endpoint[Any, Any]:
            wanted = {
                "summary": "",
                "tag": "",
                "query": NoQuery,
                "body": NoBody,
                "answers": {200: Done},
                **more,
            }
            return endpoint(method, path, handler, **wanted)

        return [
            line("GET", "/orders", self.cook, query=OrderQuery),
            line("POST", "/orders", self.cook, body=OrderBody, once=True),
            line("POST", "/orders/{order_id}", self.cook, once=True),
            line("POST", "/orders/{order_id}/stop", self.cook, once=True, harmless=True),
            line("POST", "/banquets", self.claim_and_cook, body=OrderBody, once=True, claims=True),
        ]

    async def cook(self, asked: Asked[Any, Any]) -> Answer:
        self.cooked += 1
        self.started.set()
        await self.go_on.wait()
        return self.outcome()

    async def claim_and_cook(self, asked: Asked[Any, Any]) -> Answer:
        """As a dial does it."""
        if self.full:
            raise Problem(429, "concurrent_call_limit", "the kitchen is full")
        assert self._served is not None
        assert asked.idempotency_key is not None
        claim = Claim(key=asked.idempotency_key, fingerprint=asked.fingerprint)
        claimed = await self._served().store.idempotency.claim(asked.tenant_id, claim, asked.key.created_at)
        if not isinstance(claimed, Claimed):
            return repeated(claimed)
        return await self.cook(asked)


def asking(
    real: RunAsync, folder: Path, scenario: Callable[[Kitchen, Served], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> None:
        open_houses: list[Served] = []
        kitchen = Kitchen(lambda: open_houses[0])
        async with served(folder, kitchen.endpoints()) as house:
            open_houses.append(house)
            await scenario(kitchen, house)

    real(main())


SOUP = {"dish": "soup"}


def refused(said: Said) -> tuple[int, str]:
    return said.status, said.code


# The request itself


@pytest.mark.parametrize(
    ("method", "path", "options", "problem"),
    [
        ("GET", "/orders?limt=2", {}, (400, "invalid_query")),
        ("GET", "/orders?limit=4", {}, (400, "invalid_query")),
        ("GET", "/orders?limit=1&limit=2", {}, (400, "invalid_query")),
        ("GET", "/orders?limit=%00", {}, (400, "invalid_query")),
        ("GET", "/orders", {"json": {"x": 1}}, (422, "invalid_body")),
        ("POST", "/orders", {"json": {}}, (422, "invalid_body")),
        ("POST", "/orders", {"json": {"dish": ""}}, (422, "invalid_body")),
        ("POST", "/orders", {"json": {"dish": "soup", "spoon": 1}}, (422, "invalid_body")),
        ("POST", "/orders", {"json": []}, (422, "invalid_body")),
        ("POST", "/orders", {"json": {"dish": "\ud800"}}, (400, "invalid_json")),
        ("POST", "/orders", {"json": {**SOUP, "extras": {"x": "\0"}}}, (400, "invalid_json")),
        ("POST", "/orders", {"data": b"{", "headers": {"Content-Type": "application/json"}}, (400, "invalid_json")),
        ("POST", "/orders", {"data": {"dish": "soup"}}, (415, "unsupported_media_type")),
        ("POST", "/orders", {"data": BytesIO(bytes(1_100_000))}, (413, "content_too_large")),
        ("POST", "/orders", {"json": SOUP, "headers": {"Idempotency-Key": "a b"}}, (400, "invalid_header")),
        ("POST", "/orders/%00", {}, (404, "not_found")),
        ("POST", "/orders/" + "x" * 200, {}, (404, "not_found")),
        ("POST", "/orders/%C3%A9", {}, (404, "not_found")),
        ("GET", "/nowhere", {}, (404, "not_found")),
        ("DELETE", "/orders", {}, (405, "method_not_allowed")),
    ],
)  # fmt: skip
def test_what_is_no_proper_request_never_reaches_its_endpoint(
    real: RunAsync,
    tmp_path: Path,
    method: str,
    path: str,
    options: dict[str, Any],
    problem: tuple[int, str],
) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        assert refused(await house.user.ask(method, path, **options)) == problem
        assert kitchen.cooked == 0

    asking(real, tmp_path, scenario)


def test_every_fault_of_a_body_is_told_by_its_place(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(_: Kitchen, house: Served) -> None:
        said = await house.user.ask("POST", "/orders", json={"a/b~c": 1, "extras": 3})
        assert {fault["pointer"] for fault in said.json["errors"]} == {"/dish", "/extras", "/a~1b~0c"}

    asking(real, tmp_path, scenario)


# Who asks


def test_every_answer_to_a_key_says_what_is_left_to_it(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        def fails() -> Answer:
            raise ZeroDivisionError

        for number, status in enumerate((200, 400, 500, 403)):
            kitchen.outcome = fails if status == 500 else lambda: Reply(Done())
            who = house.reader if status == 403 else house.user
            said = await who.ask(
                "POST" if status == 403 else "GET", "/orders?x=1" if status == 400 else "/orders"
            )
            assert said.status == status
            assert said.headers["X-RateLimit-Limit"] == "10000"
            assert int(said.headers["X-RateLimit-Remaining"]) == 10_000 - number - 1
            assert said.headers["X-Concurrent-Call-Limit"] == str(CONCURRENT_CALLS)

    asking(real, tmp_path, scenario)


def test_a_key_that_may_only_read_changes_nothing(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        assert refused(await house.reader.ask("POST", "/orders", json=SOUP)) == (403, "read_only_key")
        assert kitchen.cooked == 0
        assert (await house.reader.ask("GET", "/orders")).status == 201

    asking(real, tmp_path, scenario)


def test_beyond_its_minute_a_tenant_is_told_to_wait_and_no_other_is(real: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        kitchen = Kitchen()
        async with served(tmp_path, kitchen.endpoints(), requests_per_minute=2) as house:
            said = [await house.user.ask("GET", "/orders") for _ in range(3)]
            assert [each.status for each in said] == [201, 201, 429]
            assert said[2].code == "rate_limited"
            assert 1 <= int(said[2].headers["Retry-After"]) <= 60
            assert said[2].headers["X-RateLimit-Remaining"] == "0"
            assert (await house.reader.ask("GET", "/orders")).code == "rate_limited"
            stranger = house.user.with_key((await made(house.store, Scope.FULL, "another")).secret)
            assert (await stranger.ask("GET", "/orders")).status == 201

    real(main())


@pytest.mark.parametrize("lines", [["203.0.113.9"], ["1.2.3.4", "203.0.113.9"], ["1.2.3.4, 203.0.113.9"]])
def test_failures_are_put_down_to_whom_the_proxy_names_last(
    real: RunAsync, tmp_path: Path, lines: list[str]
) -> None:
    async def main() -> None:
        async with served(tmp_path, Kitchen().endpoints(), proxies=["127.0.0.0/8"]) as house:
            told = await guesses(house.user.port, lines, 101)
            assert told == [401] * 100 + [429]
            assert await guesses(house.user.port, ["203.0.113.10"], 1) == [401]

    real(main())


async def guesses(port: int, forwarded: list[str], times: int) -> list[int]:
    """What so many requests with wrong keys are answered, through a proxy that adds these lines."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"X-Forwarded-For: {line}\r\n" for line in forwarded)
    statuses = []
    for _ in range(times):
        writer.write(f"GET /orders HTTP/1.1\r\nHost: x\r\n{lines}X-API-Key: wrong\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        statuses.append(int(head.split(b" ", 2)[1]))
    writer.close()
    await writer.wait_closed()
    return statuses


# Repetitions

KEY = {"Idempotency-Key": "order-1"}


def test_a_repetition_is_answered_as_the_first_was_byte_for_byte(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        first, second = [await house.user.ask("POST", "/orders", json=SOUP, headers=KEY) for _ in range(2)]
        assert (first.status, first.body) == (second.status, second.body) == (201, b'{"success":true}')
        assert second.headers["Idempotency-Replayed"] == "true"
        assert kitchen.cooked == 1

    asking(real, tmp_path, scenario)


def test_a_refusal_is_replayed_too(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        def over() -> Answer:
            raise Problem(409, "call_not_in_progress", "Call is not in progress")

        kitchen.outcome = over
        first, second = [await house.user.ask("POST", "/orders", json=SOUP, headers=KEY) for _ in range(2)]
        assert refused(first) == refused(second) == (409, "call_not_in_progress")
        assert first.body == second.body
        assert kitchen.cooked == 1

    asking(real, tmp_path, scenario)


@pytest.mark.parametrize(("path", "dish"), [("/orders", "bread"), ("/orders/1", None)])
def test_another_request_with_the_same_key_is_a_conflict(
    real: RunAsync, tmp_path: Path, path: str, dish: str | None
) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        await house.user.ask("POST", "/orders", json=SOUP, headers=KEY)
        options = {} if dish is None else {"json": {"dish": dish}}
        said = await house.user.ask("POST", path, headers=KEY, **options)
        assert refused(said) == (409, "idempotency_conflict")
        assert kitchen.cooked == 1

    asking(real, tmp_path, scenario)


def test_while_the_first_runs_a_repetition_is_told_to_come_back(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        kitchen.go_on.clear()
        first = asyncio.create_task(house.user.ask("POST", "/orders", json=SOUP, headers=KEY))
        await kitchen.started.wait()
        second = await house.user.ask("POST", "/orders", json=SOUP, headers=KEY)
        assert refused(second) == (409, "idempotency_in_progress")
        assert int(second.headers["Retry-After"]) >= 1
        kitchen.go_on.set()
        assert (await first).status == 201
        assert kitchen.cooked == 1

    asking(real, tmp_path, scenario)


@pytest.mark.parametrize("failure", [Problem(502, "carrier_unavailable", "not now"), ZeroDivisionError()])
def test_after_a_failure_of_ours_the_same_key_may_try_again(
    real: RunAsync, tmp_path: Path, failure: Exception
) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        def fails() -> Answer:
            raise failure

        kitchen.outcome = fails
        assert (await house.user.ask("POST", "/orders", json=SOUP, headers=KEY)).status in (500, 502)
        kitchen.outcome = lambda: Reply(Done(), 201)
        assert (await house.user.ask("POST", "/orders", json=SOUP, headers=KEY)).status == 201
        assert kitchen.cooked == 2

    asking(real, tmp_path, scenario)


def test_keys_of_tenants_do_not_meet(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        other = await house.store.keys.add("other", "", house.key.key.scope, house.key.key.created_at)
        await house.user.ask("POST", "/orders", json=SOUP, headers=KEY)
        said = await house.anybody.with_key(other.secret).ask(
            "POST", "/orders", json={"dish": "bread"}, headers=KEY
        )
        assert said.status == 201
        assert kitchen.cooked == 2

    asking(real, tmp_path, scenario)


# Where the handler claims the key, in a transaction of its own


def test_a_claim_of_the_handlers_is_kept_and_replayed(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        said = [await house.user.ask("POST", "/banquets", json=SOUP, headers=KEY) for _ in range(2)]
        assert [each.status for each in said] == [201, 201]
        assert said[0].body == said[1].body
        assert kitchen.cooked == 1

    asking(real, tmp_path, scenario)


def test_a_refusal_after_the_claim_is_the_answer_for_good(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        kitchen.outcome = lambda: Problem(422, "carrier_rejected", "no such number")
        said = [await house.user.ask("POST", "/banquets", json=SOUP, headers=KEY) for _ in range(2)]
        assert [refused(each) for each in said] == [(422, "carrier_rejected")] * 2
        assert kitchen.cooked == 1

    asking(real, tmp_path, scenario)


def test_who_repeats_a_request_in_a_full_house_is_told_of_the_first_one(
    real: RunAsync, tmp_path: Path
) -> None:
    """A dial that still runs, and its repetition, which finds the house full."""

    async def scenario(kitchen: Kitchen, house: Served) -> None:
        kitchen.go_on.clear()
        first = asyncio.create_task(house.user.ask("POST", "/banquets", json=SOUP, headers=KEY))
        await kitchen.started.wait()
        kitchen.full = True
        second = await house.user.ask("POST", "/banquets", json=SOUP, headers=KEY)
        assert refused(second) == (409, "idempotency_in_progress")
        kitchen.go_on.set()
        assert (await first).status == 201
        again = await house.user.ask("POST", "/banquets", json=SOUP, headers=KEY)
        assert (again.status, kitchen.cooked) == (201, 1)
        other = await house.user.ask("POST", "/banquets", json=SOUP, headers={"Idempotency-Key": "order-2"})
        assert refused(other) == (429, "concurrent_call_limit")
        kitchen.full = False
        assert (
            await house.user.ask("POST", "/banquets", json=SOUP, headers={"Idempotency-Key": "order-2"})
        ).status == 201

    asking(real, tmp_path, scenario)


def test_a_fault_after_the_claim_does_not_give_the_key_back(real: RunAsync, tmp_path: Path) -> None:
    """The call may have been made."""

    async def scenario(kitchen: Kitchen, house: Served) -> None:
        def fails() -> Answer:
            raise ZeroDivisionError

        kitchen.outcome = fails
        assert (await house.user.ask("POST", "/banquets", json=SOUP, headers=KEY)).status == 500
        again = await house.user.ask("POST", "/banquets", json=SOUP, headers=KEY)
        assert refused(again) == (409, "idempotency_in_progress")
        assert kitchen.cooked == 1

    asking(real, tmp_path, scenario)


# Faults of ours


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (InvalidCursor("none of ours"), (400, "invalid_cursor")),
        (InvalidSort("no such field"), (400, "invalid_sort")),
        (ZeroDivisionError(), (500, "internal_error")),
        (web.HTTPForbidden(), (403, "forbidden")),
    ],
)
def test_what_endpoints_raise_is_a_problem(
    real: RunAsync, tmp_path: Path, fault: Exception, problem: tuple[int, str]
) -> None:
    async def scenario(kitchen: Kitchen, house: Served) -> None:
        def fails() -> Answer:
            raise fault

        kitchen.outcome = fails
        assert refused(await house.user.ask("GET", "/orders")) == problem

    asking(real, tmp_path, scenario)


def test_without_the_database_a_known_key_still_commands(real: RunAsync, tmp_path: Path) -> None:
    """Calls are hung up whatever a database does."""

    async def scenario(kitchen: Kitchen, house: Served) -> None:
        assert (await house.user.ask("POST", "/orders/1")).status == 201
        (tmp_path / "offhook.db").rename(tmp_path / "away.db")
        await house.store.close()
        stranger = await house.anybody.with_key("ok_live_unknown").ask("POST", "/orders/1")
        assert stranger.status in (401, 503)
        assert (await house.user.ask("POST", "/orders/1")).status == 201
        assert json.loads((await house.user.ask("POST", "/orders/1")).body) == {"success": True}
        keyed = {"headers": {"Idempotency-Key": "k"}}
        assert refused(await house.user.ask("POST", "/orders/1", **keyed)) == (503, "store_unavailable")
        # What is harmless to repeat needs nobody who keeps its key.
        assert (await house.user.ask("POST", "/orders/1/stop", **keyed)).status == 201

    asking(real, tmp_path, scenario)

"""Who is let in, and how often; with keys of a real store."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from control.api.endpoint import Access
from control.api.gate import FAILED_ATTEMPTS, Gate
from control.api.problem import Problem
from control.stores.errors import StoreUnavailable
from control.stores.keys import ApiKey, NewKey, Scope
from control.stores.store import Store
from tests.conftest import RunAsync
from tests.served_api import made

pytestmark = pytest.mark.sockets

HOME, ELSEWHERE = "198.51.100.7", "203.0.113.9"


def at_the_gate(
    real: RunAsync,
    folder: Path,
    scenario: Callable[[Store, Gate], Coroutine[Any, Any, None]],
    limit: int = 1000,
) -> None:
    async def main() -> None:
        store = await Store.open(f"sqlite:///{folder / 'keys.db'}", migrate=True)
        try:
            await scenario(store, Gate(store.keys, requests_per_minute=limit))
        finally:
            await store.close()

    real(main())


def bearer(key: NewKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.secret}"}


async def refused(gate: Gate, headers: dict[str, str], now: float, client: str = HOME) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        await gate.identify(headers, client, now)
    return caught.value.status, caught.value.code


def test_a_key_is_shown_in_either_header(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, gate: Gate) -> None:
        key = await made(store, Scope.FULL)
        for headers in (bearer(key), {"Authorization": f"bearer  {key.secret} "}, {"X-API-Key": key.secret}):
            assert (await gate.identify(headers, HOME, 0.0)).key.key_id == key.key.key_id

    at_the_gate(real, tmp_path, scenario)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, "missing_api_key"),
        ({"Authorization": "Bearer "}, "missing_api_key"),
        ({"X-API-Key": ""}, "missing_api_key"),
        ({"Authorization": "Bearer ok_live_guess"}, "invalid_api_key"),
        ({"X-API-Key": "\udcff"}, "invalid_api_key"),
    ],
)
def test_without_a_good_key_nobody_is_let_in(
    real: RunAsync, tmp_path: Path, headers: dict[str, str], code: str
) -> None:
    async def scenario(_: Store, gate: Gate) -> None:
        assert await refused(gate, headers, 0.0) == (401, code)

    at_the_gate(real, tmp_path, scenario)


@pytest.mark.parametrize(
    ("scope", "access", "code"),
    [
        (Scope.READ, Access.READ, None),
        (Scope.READ, Access.FULL, "read_only_key"),
        (Scope.READ, Access.ADMIN, "admin_key_required"),
        (Scope.FULL, Access.FULL, None),
        (Scope.FULL, Access.ADMIN, "admin_key_required"),
        (Scope.ADMIN, Access.FULL, None),
        (Scope.ADMIN, Access.ADMIN, None),
    ],
)
def test_a_key_may_what_its_scope_says(
    real: RunAsync, tmp_path: Path, scope: Scope, access: Access, code: str | None
) -> None:
    async def scenario(store: Store, gate: Gate) -> None:
        known = await gate.identify(bearer(await made(store, scope)), HOME, 0.0)
        if code is None:
            known.admit(access)
        else:
            with pytest.raises(Problem) as caught:
                known.admit(access)
            assert (caught.value.status, caught.value.code) == (403, code)

    at_the_gate(real, tmp_path, scenario)


def test_a_revoked_key_is_worthless_within_seconds(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, gate: Gate) -> None:
        key = await made(store, Scope.FULL)
        await gate.identify(bearer(key), HOME, 0.0)
        await store.keys.revoke(key.key.tenant_id, key.key.key_id, datetime.now(UTC))  # by another process
        assert await refused(gate, bearer(key), 5.0) == (401, "invalid_api_key")

    at_the_gate(real, tmp_path, scenario)


def test_a_key_that_is_revoked_here_is_worthless_at_once(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, gate: Gate) -> None:
        key, other = await made(store, Scope.FULL), await made(store, Scope.FULL)
        for each in (key, other):
            await gate.identify(bearer(each), HOME, 0.0)
        await store.keys.revoke(key.key.tenant_id, key.key.key_id, datetime.now(UTC))
        gate.forget(key.key.key_id)
        assert await refused(gate, bearer(key), 0.1) == (401, "invalid_api_key")
        await gate.identify(bearer(other), HOME, 0.1)

    at_the_gate(real, tmp_path, scenario)


def test_more_than_a_hundred_failures_in_a_quarter_of_an_hour_close_the_gate(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario(store: Store, gate: Gate) -> None:
        for number in range(FAILED_ATTEMPTS):
            assert await refused(gate, {"X-API-Key": f"guess-{number}"}, float(number)) == (
                401,
                "invalid_api_key",
            )
        key = await made(store, Scope.FULL)
        assert await refused(gate, bearer(key), 100.0) == (429, "auth_rate_limited")
        await gate.identify(bearer(key), ELSEWHERE, 100.0)
        await gate.identify(bearer(key), HOME, 900.0)

    at_the_gate(real, tmp_path, scenario)


def test_guesses_from_all_over_an_ipv6_network_are_one_neighbours(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(_: Store, gate: Gate) -> None:
        for number in range(FAILED_ATTEMPTS):
            await refused(gate, {}, 0.0, f"2001:db8:0:1::{number:x}")
        assert (await refused(gate, {}, 0.0, "2001:db8:0:1:ffff::1"))[0] == 429
        assert (await refused(gate, {}, 0.0, "2001:db8:0:2::1"))[0] == 401

    at_the_gate(real, tmp_path, scenario)


def test_beyond_its_minute_a_key_is_told_when_to_come_back(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, gate: Gate) -> None:
        key = bearer(await made(store, Scope.FULL))
        for now in (0.0, 10.0):
            (await gate.identify(key, HOME, now)).admit(Access.READ)
        known = await gate.identify(key, HOME, 20.0)
        with pytest.raises(Problem) as caught:
            known.admit(Access.READ)
        assert (caught.value.status, caught.value.code) == (429, "rate_limited")
        assert caught.value.headers["Retry-After"] == "40"
        assert known.headers(1_000_000.0, 9) == {
            "X-RateLimit-Limit": "2",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": "1000040",
            "X-Concurrent-Call-Limit": "9",
        }
        (await gate.identify(key, HOME, 60.0)).admit(Access.READ)

    at_the_gate(real, tmp_path, scenario, limit=2)


class FailingKeys:
    """A store's keys, behind a line that can be cut."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.cut = self.read_only = False
        self.answering = asyncio.Event()
        """Cleared: nothing is answered, and nothing refused either."""
        self.answering.set()
        self.asked = 0

    async def find(self, secret: str) -> ApiKey | None:
        self.asked += 1
        await self.answering.wait()
        if self.cut:
            raise StoreUnavailable("cut")
        return await self._store.keys.find(secret)

    async def used(self, key: ApiKey, now: datetime) -> None:
        await self.answering.wait()
        if self.cut or self.read_only:
            raise StoreUnavailable("cut")
        await self._store.keys.used(key, now)


def test_without_the_database_a_key_that_was_found_lately_stands(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, _: Gate) -> None:
        line = FailingKeys(store)
        gate = Gate(line, requests_per_minute=1000)
        key, unseen = await made(store, Scope.FULL), await made(store, Scope.FULL)
        await gate.identify(bearer(key), HOME, 0.0)
        line.cut = True
        await gate.identify(bearer(key), HOME, 599.0)
        for late in (bearer(unseen), 1.0), (bearer(key), 600.0):
            with pytest.raises(StoreUnavailable):
                await gate.identify(late[0], HOME, late[1])

    at_the_gate(real, tmp_path, scenario)


def test_a_database_that_hangs_is_not_waited_for(real: RunAsync, tmp_path: Path) -> None:
    """Whoever wants to hang up has a key that was found lately."""

    async def scenario(store: Store, _: Gate) -> None:
        line = FailingKeys(store)
        gate = Gate(line, requests_per_minute=1000)
        key = await made(store, Scope.FULL)
        await gate.identify(bearer(key), HOME, 0.0)
        line.answering.clear()
        async with asyncio.timeout(5):
            for now in (10.0, 11.0, 12.0):
                assert (await gate.identify(bearer(key), HOME, now)).key.key_id == key.key.key_id
        assert line.asked == 2  # once it was there, once it was not; then it is let alone for a while
        await store.keys.revoke(key.key.tenant_id, key.key.key_id, datetime.now(UTC))
        line.answering.set()
        assert await refused(gate, bearer(key), 16.0) == (401, "invalid_api_key")

    at_the_gate(real, tmp_path, scenario)


def test_a_use_that_cannot_be_noted_is_a_use_all_the_same(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, _: Gate) -> None:
        line = FailingKeys(store)
        line.read_only = True
        key = await made(store, Scope.FULL)
        known = await Gate(line, requests_per_minute=1000).identify(bearer(key), HOME, 0.0)
        assert known.key.key_id == key.key.key_id

    at_the_gate(real, tmp_path, scenario)


def test_the_use_of_a_key_is_noted(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, gate: Gate) -> None:
        key = await made(store, Scope.FULL)
        await gate.identify(bearer(key), HOME, 0.0)
        found = await store.keys.get(key.key.tenant_id, key.key.key_id)
        assert found is not None
        assert found.last_used_at is not None

    at_the_gate(real, tmp_path, scenario)

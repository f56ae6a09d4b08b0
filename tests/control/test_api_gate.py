"""Who is let in, and how often; with keys of a real store."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from control.api.endpoint import Access
from control.api.gate import FAILED_ATTEMPTS, FAILED_WITHIN, MINUTE, Gate, KeyRing, Known
from control.api.problem import Problem
from control.live.in_process import ProcessWindows
from control.stores.errors import StoreUnavailable
from control.stores.keys import ApiKey, NewKey, Scope
from control.stores.store import Store
from control.stores.tenants import Tenant
from control.tenancy import Tenancy, Terms
from tests.conftest import RunAsync
from tests.patience import PATIENCE
from tests.served_api import made

pytestmark = pytest.mark.sockets

HOME, ELSEWHERE = "198.51.100.7", "203.0.113.9"


class Door:
    """A gate, and the clock by which it works."""

    def __init__(self, keys: KeyRing, store: Store, limit: int = 1000) -> None:
        self.now = 0.0

        def clock() -> float:
            return self.now

        self.tenancy = Tenancy(
            store.tenants, usual=Terms(requests_per_minute=limit, max_calls=9), clock=clock
        )
        self.gate = Gate(
            keys,
            self.tenancy,
            requests=ProcessWindows(clock, seconds=MINUTE),
            failures=ProcessWindows(clock, seconds=FAILED_WITHIN),
            clock=clock,
        )

    async def identify(self, headers: dict[str, str], client: str, now: float) -> Known:
        self.now = now
        return await self.gate.identify(headers, client)


def at_the_gate(
    real: RunAsync,
    folder: Path,
    scenario: Callable[[Store, Door], Coroutine[Any, Any, None]],
    limit: int = 1000,
) -> None:
    async def main() -> None:
        store = await Store.open(f"sqlite:///{folder / 'keys.db'}", migrate=True)
        try:
            await scenario(store, Door(store.keys, store, limit))
        finally:
            await store.close()

    real(main())


def bearer(key: NewKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.secret}"}


async def refused(door: Door, headers: dict[str, str], now: float, client: str = HOME) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        await door.identify(headers, client, now)
    return caught.value.status, caught.value.code


def test_a_key_is_shown_in_either_header(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, door: Door) -> None:
        key = await made(store, Scope.FULL)
        for headers in (bearer(key), {"Authorization": f"bearer  {key.secret} "}, {"X-API-Key": key.secret}):
            assert (await door.identify(headers, HOME, 0.0)).key.key_id == key.key.key_id

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
    async def scenario(_: Store, door: Door) -> None:
        assert await refused(door, headers, 0.0) == (401, code)

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
    async def scenario(store: Store, door: Door) -> None:
        known = await door.identify(bearer(await made(store, scope)), HOME, 0.0)
        if code is None:
            known.admit(access)
        else:
            with pytest.raises(Problem) as caught:
                known.admit(access)
            assert (caught.value.status, caught.value.code) == (403, code)

    at_the_gate(real, tmp_path, scenario)


def test_a_revoked_key_is_worthless_within_seconds(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, door: Door) -> None:
        key = await made(store, Scope.FULL)
        await door.identify(bearer(key), HOME, 0.0)
        await store.keys.revoke(key.key.tenant_id, key.key.key_id, datetime.now(UTC))  # by another process
        assert await refused(door, bearer(key), 5.0) == (401, "invalid_api_key")

    at_the_gate(real, tmp_path, scenario)


def test_a_key_that_is_revoked_here_is_worthless_at_once(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, door: Door) -> None:
        key, other = await made(store, Scope.FULL), await made(store, Scope.FULL)
        for each in (key, other):
            await door.identify(bearer(each), HOME, 0.0)
        await store.keys.revoke(key.key.tenant_id, key.key.key_id, datetime.now(UTC))
        door.gate.forget(key.key.key_id)
        assert await refused(door, bearer(key), 0.1) == (401, "invalid_api_key")
        await door.identify(bearer(other), HOME, 0.1)

    at_the_gate(real, tmp_path, scenario)


def test_more_than_a_hundred_failures_in_a_quarter_of_an_hour_close_the_gate(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario(store: Store, door: Door) -> None:
        for number in range(FAILED_ATTEMPTS):
            assert await refused(door, {"X-API-Key": f"guess-{number}"}, float(number)) == (
                401,
                "invalid_api_key",
            )
        key = await made(store, Scope.FULL)
        assert await refused(door, bearer(key), 100.0) == (429, "auth_rate_limited")
        await door.identify(bearer(key), ELSEWHERE, 100.0)
        await door.identify(bearer(key), HOME, 900.0)

    at_the_gate(real, tmp_path, scenario)


def test_guesses_from_all_over_an_ipv6_network_are_one_neighbours(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(_: Store, door: Door) -> None:
        for number in range(FAILED_ATTEMPTS):
            await refused(door, {}, 0.0, f"2001:db8:0:1::{number:x}")
        assert (await refused(door, {}, 0.0, "2001:db8:0:1:ffff::1"))[0] == 429
        assert (await refused(door, {}, 0.0, "2001:db8:0:2::1"))[0] == 401

    at_the_gate(real, tmp_path, scenario)


def test_beyond_its_minute_a_key_is_told_when_to_come_back(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, door: Door) -> None:
        key = bearer(await made(store, Scope.FULL))
        for now in (0.0, 10.0):
            (await door.identify(key, HOME, now)).admit(Access.READ)
        known = await door.identify(key, HOME, 20.0)
        with pytest.raises(Problem) as caught:
            known.admit(Access.READ)
        assert (caught.value.status, caught.value.code) == (429, "rate_limited")
        assert caught.value.headers["Retry-After"] == "40"
        assert known.headers(1_000_000.0) == {
            "X-RateLimit-Limit": "2",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": "1000040",
            "X-Concurrent-Call-Limit": "9",
        }
        (await door.identify(key, HOME, 60.0)).admit(Access.READ)

    at_the_gate(real, tmp_path, scenario, limit=2)


def tenant(**terms: Any) -> Tenant:
    return Tenant(tenant_id="acme", name="Acme", created_at=datetime.now(UTC), **terms)


def test_all_keys_of_a_tenant_share_its_minute_and_nobody_elses(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, door: Door) -> None:
        first = await store.tenants.add(tenant(requests_per_minute=3, max_calls=2), "first")
        second = await made(store, Scope.READ, "acme")
        for key, remaining in ((first, 2), (second, 1), (first, 0)):
            known = await door.identify(bearer(key), HOME, 0.0)
            assert (known.allowance.limit, known.allowance.remaining) == (3, remaining)
        assert not (await door.identify(bearer(second), HOME, 0.0)).allowance.allowed
        assert known.headers(0.0)["X-Concurrent-Call-Limit"] == "2"
        other = await door.identify(bearer(await made(store, Scope.READ)), HOME, 0.0)
        assert (other.allowance.limit, other.allowance.remaining) == (1000, 999)

    at_the_gate(real, tmp_path, scenario)


def test_a_disabled_tenants_keys_open_nothing(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, door: Door) -> None:
        key = await store.tenants.add(tenant(), "first")
        (await door.identify(bearer(key), HOME, 0.0)).admit(Access.FULL)
        await store.tenants.change("acme", {"disabled_at": datetime.now(UTC)})
        (await door.identify(bearer(key), HOME, 4.9)).admit(Access.FULL)  # by another process
        known = await door.identify(bearer(key), HOME, 5.0)
        with pytest.raises(Problem) as caught:
            known.admit(Access.READ)
        assert (caught.value.status, caught.value.code) == (403, "tenant_disabled")

    at_the_gate(real, tmp_path, scenario)


def test_a_deleted_tenants_keys_are_worthless_at_once(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, door: Door) -> None:
        key = await store.tenants.add(tenant(), "first")
        await door.identify(bearer(key), HOME, 0.0)
        await store.tenants.remove("acme")
        door.gate.forget_tenant("acme")
        assert await refused(door, bearer(key), 0.1) == (401, "invalid_api_key")

    at_the_gate(real, tmp_path, scenario)


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
    async def scenario(store: Store, _: Door) -> None:
        line = FailingKeys(store)
        door = Door(line, store)
        key, unseen = await made(store, Scope.FULL), await made(store, Scope.FULL)
        await door.identify(bearer(key), HOME, 0.0)
        line.cut = True
        await door.identify(bearer(key), HOME, 599.0)
        for late in (bearer(unseen), 1.0), (bearer(key), 600.0):
            with pytest.raises(StoreUnavailable):
                await door.identify(late[0], HOME, late[1])

    at_the_gate(real, tmp_path, scenario)


def test_a_database_that_hangs_is_not_waited_for(real: RunAsync, tmp_path: Path) -> None:
    """Whoever wants to hang up has a key that was found lately."""

    async def scenario(store: Store, _: Door) -> None:
        line = FailingKeys(store)
        door = Door(line, store)
        key = await made(store, Scope.FULL)
        await door.identify(bearer(key), HOME, 0.0)
        line.answering.clear()
        async with asyncio.timeout(PATIENCE):
            for now in (10.0, 11.0, 12.0):
                assert (await door.identify(bearer(key), HOME, now)).key.key_id == key.key.key_id
        assert line.asked == 2  # once it was there, once it was not; then it is let alone for a while
        await store.keys.revoke(key.key.tenant_id, key.key.key_id, datetime.now(UTC))
        line.answering.set()
        assert await refused(door, bearer(key), 16.0) == (401, "invalid_api_key")

    at_the_gate(real, tmp_path, scenario)


def test_a_use_that_cannot_be_noted_is_a_use_all_the_same(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, _: Door) -> None:
        line = FailingKeys(store)
        line.read_only = True
        key = await made(store, Scope.FULL)
        known = await Door(line, store).identify(bearer(key), HOME, 0.0)
        assert known.key.key_id == key.key.key_id

    at_the_gate(real, tmp_path, scenario)


def test_the_use_of_a_key_is_noted(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(store: Store, door: Door) -> None:
        key = await made(store, Scope.FULL)
        await door.identify(bearer(key), HOME, 0.0)
        found = await store.keys.get(key.key.tenant_id, key.key.key_id)
        assert found is not None
        assert found.last_used_at is not None

    at_the_gate(real, tmp_path, scenario)

"""API keys: shown once, found by their secret, worth nothing once revoked."""

import asyncio
import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import select

from control.stores.database import Database
from control.stores.keys import Scope
from control.stores.store import Store
from control.stores.tables import api_keys
from tests.conftest import RunAsync
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON

pytestmark = pytest.mark.sockets


def test_a_key_is_found_by_its_secret_and_by_nothing_else(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        new = await store.keys.add("default", "backend", Scope.READ, NOON)
        assert await store.keys.find(new.secret) == new.key
        assert (new.key.tenant_id, new.key.scope, new.key.name) == ("default", Scope.READ, "backend")
        for wrong in (new.secret[:-1], new.secret + "x", new.key.key_id, "", "\ud800", "a\x00"):
            assert await store.keys.find(wrong) is None

    stored(scenario)


def test_a_secret_is_long_random_and_kept_as_a_digest_only(database_url: str, real: RunAsync) -> None:
    async def scenario() -> None:
        store = await Store.open(database_url)
        made = [await store.keys.add("default", "x", Scope.FULL, NOON) for _ in range(2)]
        assert made[0].secret != made[1].secret
        assert made[0].secret.startswith("ok_live_")
        # 32 bytes in base64 without padding.
        assert len(made[0].secret) == len("ok_live_") + 43
        assert made[0].secret not in repr(made[0])
        database = Database(database_url)
        async with database.read() as connection:
            rows = (await connection.execute(select(api_keys))).all()
        assert not any(made[0].secret in str(value) for row in rows for value in row)
        assert hashlib.sha256(made[0].secret.encode()).digest() in [row.digest for row in rows]
        await database.close()
        await store.close()

    real(scenario())


def test_a_revoked_key_lets_nobody_in_and_is_still_listed(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        new = await store.keys.add("default", "x", Scope.FULL, NOON)
        assert await store.keys.revoke("default", new.key.key_id, NOON)
        assert await store.keys.revoke("default", new.key.key_id, NOON + timedelta(days=1))
        assert await store.keys.find(new.secret) is None
        assert await store.keys.rotate("default", new.key.key_id) is None
        (listed,) = await store.keys.of_tenant("default")
        assert listed.revoked_at == NOON

    stored(scenario)


def test_a_rotated_key_has_another_secret(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        old = await store.keys.add("default", "x", Scope.FULL, NOON)
        new = await store.keys.rotate("default", old.key.key_id)
        assert new is not None
        assert await store.keys.find(old.secret) is None
        assert await store.keys.find(new.secret) == new.key
        assert (new.key.key_id, new.key.hint) == (old.key.key_id, new.secret[-4:])

    stored(scenario)


def test_its_last_use_is_kept_to_the_minute(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        new = await store.keys.add("default", "x", Scope.FULL, NOON)
        for seconds, seen in ((0, 0), (59, 0), (60, 60)):
            key = await store.keys.get("default", new.key.key_id)
            assert key is not None
            await store.keys.used(key, NOON + timedelta(seconds=seconds))
            (listed,) = await store.keys.of_tenant("default")
            assert listed.last_used_at == NOON + timedelta(seconds=seen)

    stored(scenario)


def test_another_tenants_key_is_not_there(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        new = await store.keys.add("theirs", "x", Scope.FULL, NOON)
        assert await store.keys.of_tenant("ours") == []
        assert await store.keys.get("ours", new.key.key_id) is None
        assert not await store.keys.revoke("ours", new.key.key_id, NOON)
        assert await store.keys.rotate("ours", new.key.key_id) is None
        assert await store.keys.find(new.secret) == new.key

    stored(scenario)


def test_the_first_key_is_made_once_however_many_processes_start(database_url: str, real: RunAsync) -> None:
    async def scenario() -> None:
        stores = [await Store.open(database_url) for _ in range(3)]
        made = await asyncio.gather(*[store.keys.ensure_bootstrap(NOON) for store in stores])
        (first,) = [each for each in made if each is not None]
        assert await stores[0].keys.find(first.secret) == first.key
        assert first.key.scope is Scope.ADMIN
        # Not again when it has been revoked, either.
        await stores[0].keys.revoke("default", first.key.key_id, NOON)
        assert await stores[1].keys.ensure_bootstrap(NOON) is None
        for store in stores:
            await store.close()

    real(scenario())


def test_whoever_has_keys_gets_no_first_one(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.keys.add("default", "x", Scope.FULL, NOON)
        assert await store.keys.ensure_bootstrap(NOON) is None

    stored(scenario)

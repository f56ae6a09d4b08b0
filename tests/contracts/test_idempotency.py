"""Idempotency keys: a request is carried out once, and repeated in its answer."""

import asyncio
from datetime import timedelta

import pytest

from control.stores.idempotency import KEPT, Answered, Claim, Claimed, Conflict, InProgress
from control.stores.store import Store
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, event

pytestmark = pytest.mark.sockets

CLAIM = Claim(key="k", fingerprint="POST /v1/calls 1234")


def test_a_key_answers_with_the_first_answer(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        keys = store.idempotency
        assert await keys.claim("default", CLAIM, NOON) == Claimed()
        assert await keys.claim("default", CLAIM, NOON) == InProgress(NOON, None)
        await keys.finish("default", "k", 201, b'{"a": 1}', "/v1/calls/call_1")
        await keys.finish("default", "k", 500, b"")
        assert await keys.claim("default", CLAIM, NOON) == Answered(201, b'{"a": 1}', "/v1/calls/call_1")
        assert await keys.look("default", CLAIM, NOON) == Answered(201, b'{"a": 1}', "/v1/calls/call_1")

    stored(scenario)


def test_a_key_used_for_another_request_is_a_conflict(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.idempotency.claim("default", CLAIM, NOON)
        other = Claim(key="k", fingerprint="POST /v1/calls 5678")
        assert await store.idempotency.claim("default", other, NOON) == Conflict()

    stored(scenario)


def test_a_key_is_its_tenants_own(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.idempotency.claim("default", CLAIM, NOON)
        assert await store.idempotency.claim("other", CLAIM, NOON) == Claimed()
        await store.idempotency.abandon("other", "k")
        assert isinstance(await store.idempotency.claim("default", CLAIM, NOON), InProgress)

    stored(scenario)


def test_an_abandoned_key_may_be_used_again_an_answered_one_not(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        keys = store.idempotency
        await keys.claim("default", CLAIM, NOON)
        await keys.abandon("default", "k")
        assert await keys.claim("default", CLAIM, NOON) == Claimed()
        await keys.finish("default", "k", 200, b"")
        await keys.abandon("default", "k")
        assert await keys.claim("default", CLAIM, NOON) == Answered(200, b"")

    stored(scenario)


def test_a_key_is_forgotten_after_a_day(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        keys = store.idempotency
        await keys.claim("default", CLAIM, NOON)
        just = NOON + timedelta(hours=24) - timedelta(microseconds=1)
        assert await keys.claim("default", CLAIM, just) == InProgress(NOON, None)
        assert await keys.purge(just) == 0
        assert await keys.claim("default", CLAIM, NOON + KEPT) == Claimed()
        assert await keys.purge(NOON + 2 * KEPT) == 1

    stored(scenario)


def test_old_keys_are_forgotten_in_steps(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for key in "abc":
            await store.idempotency.claim("default", Claim(key=key, fingerprint="f"), NOON)
        await store.idempotency.claim("other", Claim(key="a", fingerprint="f"), NOON + KEPT)
        assert [await store.idempotency.purge(NOON + KEPT, limit=2) for _ in range(3)] == [2, 1, 0]

    stored(scenario)


def test_a_dial_and_its_key_are_kept_together(stored: RunWithStore) -> None:
    first, second = call(), call(call_id="call_of_the_same_request")

    async def scenario(store: Store) -> None:
        assert await store.add_call(first, [event(first)], CLAIM) == Claimed()
        again = await store.add_call(second, [event(second)], CLAIM)
        assert again == InProgress(first.started_at, first.call_id)
        assert await store.call("default", second.call_id) is None
        assert len(await store.events("default")) == 1

    stored(scenario)


def test_of_many_equal_dials_at_once_one_is_made(stored: RunWithStore) -> None:
    dials = [call() for _ in range(10)]

    async def scenario(store: Store) -> None:
        outcomes = await asyncio.gather(*[store.add_call(each, [], CLAIM) for each in dials])
        assert outcomes.count(Claimed()) == 1
        (made,) = await store.live_calls()
        others = [outcome for outcome in outcomes if outcome != Claimed()]
        assert others == [InProgress(made.started_at, made.call_id)] * 9

    stored(scenario)

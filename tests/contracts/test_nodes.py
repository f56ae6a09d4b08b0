"""When the processes that share a database were last there."""

from datetime import timedelta

import pytest

from control.stores.store import Store
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call

pytestmark = pytest.mark.sockets

LATER = NOON + timedelta(minutes=5)


def test_the_others_are_those_with_live_calls_and_those_that_were_there_lately(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for node in ("ours", "lately", "live", "long gone"):
            await store.beat(node, NOON)
        for node in ("ours", "lately"):
            await store.beat(node, LATER)
        await store.save_call(call(node="live"))
        await store.save_call(call(node="of another release"))
        await store.save_call(ended_call(node="long gone"))
        assert await store.neighbours("ours", LATER) == {"lately": LATER, "live": NOON}

    stored(scenario)


def test_who_is_no_more_is_forgotten_but_not_whose_calls_live(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for node in ("live", "gone"):
            await store.beat(node, NOON)
        await store.beat("here", LATER)
        await store.save_call(call(node="live"))
        assert await store.nodes.forget(LATER) == 1
        assert await store.neighbours("ours", NOON) == {"live": NOON, "here": LATER}

    stored(scenario)

"""Sweeps let go of what is old, and of nothing where everything is to stay."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control.stores.idempotency import Claim, Claimed
from control.stores.store import Store
from gateway.pruner import Pruner
from tests.conftest import RunAsync
from tests.contracts.records import NOON, call, ended_call, event

pytestmark = pytest.mark.sockets

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("retention", "left"), [(30 * DAY, 1), (31 * DAY, 2), (None, 2)])
def test_events_are_kept_for_as_long_as_they_are_to_be(
    real: RunAsync, tmp_path: Path, retention: timedelta | None, left: int
) -> None:
    async def scenario() -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'offhook.db'}", migrate=True)
        try:
            record = ended_call()
            told = [event(record, 1), event(record, 2, name="call.ended")]
            await store.save_call(record, told)
            past = NOON + 30 * DAY + timedelta(seconds=1)
            await Pruner(
                store.pruning, store.idempotency, store.nodes, retention=retention, wall=lambda: past
            ).sweep()
            assert len(await store.events("default", record.call_id)) == left
        finally:
            await store.close()

    real(scenario())


def test_used_idempotency_keys_go_after_their_day(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'offhook.db'}", migrate=True)
        try:
            for key in ("old", "young"):
                at = NOON if key == "old" else NOON + DAY
                assert (
                    await store.idempotency.claim("default", Claim(key=key, fingerprint="f"), at) == Claimed()
                )
            wall = datetime(2026, 3, 3, 12, 0, 1, tzinfo=UTC)
            await Pruner(
                store.pruning, store.idempotency, store.nodes, retention=None, wall=lambda: wall
            ).sweep()
            assert await store.idempotency.purge(NOON + 2 * DAY) == 1  # the young one was left
        finally:
            await store.close()

    real(scenario())


def test_processes_that_are_no_more_are_forgotten_after_a_day(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await Store.open(f"sqlite:///{tmp_path / 'offhook.db'}", migrate=True)
        try:
            for node, at in (("old", NOON - SECOND), ("young", NOON), ("owning", NOON - SECOND)):
                await store.beat(node, at)
            await store.save_call(call(node="owning"))
            wall = NOON + DAY
            await Pruner(
                store.pruning, store.idempotency, store.nodes, retention=None, wall=lambda: wall
            ).sweep()
            assert set(await store.neighbours("ours", NOON - DAY)) == {"young", "owning"}
        finally:
            await store.close()

    real(scenario())

"""What the processes of one gateway count together, and that calls are taken when they cannot."""

from pathlib import Path
from typing import Any

import pytest

from gateway.live_state import live_state
from tests.conftest import RunAsync
from tests.redis_server import PROGRAM, redis_server
from tests.served_api import whole_api

pytestmark = pytest.mark.sockets

over_redis = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")


def test_without_a_redis_a_process_counts_for_itself_and_misses_nothing(real: RunAsync) -> None:
    async def scenario() -> None:
        async with live_state(None) as live:
            assert (await live.requests.use("acme", 2)).remaining == 1
            assert await live.slots.take("acme", "call_1", 1)
            assert (live.degraded(), live.redis) == ([], None)

    real(scenario())


@over_redis
def test_two_processes_count_together(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        with redis_server(tmp_path) as url:
            async with live_state(url) as first, live_state(url) as second:
                await first.requests.use("acme", 3)
                assert (await second.requests.use("acme", 3)).remaining == 1
                await first.failures.use("198.51.100.7", 3)
                assert (await second.failures.look("198.51.100.7", 3)).remaining == 2
                assert await first.slots.take("acme", "call_1", 1)
                assert not await second.slots.take("acme", "call_2", 1)
                assert first.redis is not None
                health = await first.redis()
                assert health.ok
                assert health.latency is not None

    real(scenario())


@over_redis
def test_two_gateways_share_a_tenants_calls_and_requests(real: RunAsync, tmp_path: Path) -> None:
    async def scenario(url: str) -> None:
        shared: dict[str, Any] = {"database_url": f"sqlite:///{tmp_path}/shared.db", "redis_url": url}
        async with (
            whole_api("telnyx", tmp_path / "a", **shared) as (first, users),
            whole_api("telnyx", tmp_path / "b", key=users.secret, **shared) as (second, others),
        ):
            one = await users.ask("PATCH", "/v1/tenants/default", json={"max_calls": 1})
            assert one.json["max_calls"] == 1
            first.ring()
            call_id = await first.the_call()
            await first.happened(call_id, "call.started")
            refused = await second.dial()
            assert (refused.status, refused.code) == (429, "concurrent_call_limit")
            assert (await first.ask(call_id, "end", after="now")).status == 200
            await first.ended(call_id)
            assert (await second.dial()).status == 201
            before = int((await users.ask("GET", "/v1/account")).headers["X-RateLimit-Remaining"])
            after = int((await others.ask("GET", "/v1/account")).headers["X-RateLimit-Remaining"])
            assert after == before - 1

    with redis_server(tmp_path) as url:
        real(scenario(url))


@over_redis
def test_calls_are_taken_while_redis_is_gone_and_somebody_is_told(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        with redis_server(tmp_path) as url:
            async with whole_api("telnyx", tmp_path, redis_url=url) as (_, users):
                detailed = (await users.ask("GET", "/v1/health/detailed")).json
                assert detailed["dependencies"]["redis"]["ok"]
        # Its port is taken back, and nothing answers there.
        async with whole_api("telnyx", tmp_path, redis_url=url) as (house, users):
            house.ring()
            call_id = await house.the_call()
            await house.happened(call_id, "call.started")
            assert (await users.ask("GET", f"/v1/calls/{call_id}")).status == 200
            ready = await users.ask("GET", "/readiness")
            assert ready.status == 200
            assert ready.json["degraded"] == [
                "redis does not answer: limits are counted by each process for itself"
            ]
            detailed = (await users.ask("GET", "/v1/health/detailed")).json
            assert (detailed["status"], detailed["dependencies"]["redis"]["ok"]) == ("degraded", False)

    real(scenario())

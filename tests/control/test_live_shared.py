"""Redis that is away, comes back, or is full of others' keys; what it answers, `test_live_ports.py` asks."""

from pathlib import Path

import pytest

from control.live.ports import LiveStateUnavailable
from control.live.shared import SharedOwners, SharedSlots, SharedWindows, connected
from tests.conftest import RunAsync
from tests.redis_server import PROGRAM, redis_server

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed"),
]


def test_a_redis_that_is_away_is_said_to_be(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with connected(f"unix://{tmp_path}/nobody.sock") as redis:
            for question in (
                SharedWindows(redis, "requests", seconds=60.0).use("key_1", 1),
                SharedOwners(redis, lease=60.0).claim("call_1", "a"),
                SharedOwners(redis, lease=60.0).owner("call_1"),
                SharedSlots(redis, lease=60.0).take("default", "call_1", 1),
                SharedSlots(redis, lease=60.0).leave("default", "call_1"),
            ):
                with pytest.raises(LiveStateUnavailable):
                    await question

    real(scenario())


def test_a_redis_that_was_restarted_answers_again(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        with redis_server(tmp_path) as url:
            pass
        async with connected(url) as redis:
            owners = SharedOwners(redis, lease=60.0)
            with redis_server(tmp_path):
                assert await owners.claim("call_1", "a") == "a"
            with pytest.raises(LiveStateUnavailable):
                await owners.claim("call_1", "a")
            with redis_server(tmp_path):
                assert await owners.claim("call_1", "b") == "b"

    real(scenario())


def test_every_key_is_ours_by_name_and_ends_by_itself(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        with redis_server(tmp_path) as url:
            async with connected(url) as redis:
                await SharedWindows(redis, "requests", seconds=60.0).use("key_1", 1)
                await SharedOwners(redis, lease=60.0).claim("call_1", "a")
                await SharedSlots(redis, lease=60.0).take("default", "call_1", 1)
                keys = await redis.keys()
                assert len(keys) == 3
                for key in keys:
                    assert str(key).startswith("offhook:")
                    assert 0 < await redis.pttl(key) <= 60_000

    real(scenario())


def test_what_is_no_url_of_redis_is_refused(real: RunAsync) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError, match="redis://"):
            async with connected("postgresql://localhost/"):
                pass

    real(scenario())

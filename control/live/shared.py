"""Live state of many processes, in one Redis.

Each question is one script, so it is asked and answered at once, and time is the server's: what a process believes of
its own clock decides nothing. Keys end by themselves.
"""

from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from control.live.ports import LiveStateUnavailable
from control.live.windows import Allowance

PREFIX = "offhook"

# Seconds. An answer takes a millisecond; a call's setup does not wait long for a Redis that is away.
CONNECT = 1.0
ANSWER = 0.5

CONNECTIONS = 16
"""At a time; who finds none free waits as for an answer."""

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000); "

# A window begins with its first count and ends with its key.
_USE = """
local used = tonumber(redis.call('GET', KEYS[1]) or 0)
local allowed = used < tonumber(ARGV[1])
if allowed and tonumber(ARGV[3]) == 1 then
    used = redis.call('INCR', KEYS[1])
    if used == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
end
local left = redis.call('PTTL', KEYS[1])
if left < 0 then left = tonumber(ARGV[2]) end
return {allowed and 1 or 0, used, left}
"""

_CLAIM = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return owner end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"

# A set of calls, each with the moment at which its lease ends.
_TAKE = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

_TAKEN = _NOW + "return redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf')"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    """A client for the rooms below. It connects when it is first used, and again whenever the server is back.

    Raises:
        ValueError: the URL is none of Redis.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=ANSWER,
        socket_connect_timeout=CONNECT,
        socket_timeout=ANSWER,
        retry=Retry(NoBackoff(), 1),  # a connection that a restarted server has forgotten is no outage
        decode_responses=True,
    )
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()


class SharedWindows:
    """`RequestWindows` over all processes."""

    def __init__(self, redis: Redis, room: str, *, seconds: float) -> None:
        """
        Args:
            room: what is counted, such as `requests`: rooms do not share counts.
        """
        self._redis = redis
        self._room = room
        self._milliseconds = round(seconds * 1000)

    async def use(self, name: str, limit: int) -> Allowance:
        return await self._ask(name, limit, count=1)

    async def look(self, name: str, limit: int) -> Allowance:
        return await self._ask(name, limit, count=0)

    async def _ask(self, name: str, limit: int, count: int) -> Allowance:
        key = f"{PREFIX}:window:{self._room}:{name}"
        answer = await _run(self._redis, _USE, key, limit, self._milliseconds, count)
        allowed, used, left = cast(list[int], answer)
        return Allowance(bool(allowed), limit, max(0, limit - used), left / 1000)


class SharedOwners:
    """`CallOwners` over all processes."""

    def __init__(self, redis: Redis, *, lease: float) -> None:
        self._redis = redis
        self._milliseconds = round(lease * 1000)

    async def claim(self, call_id: str, node: str) -> str:
        return str(await _run(self._redis, _CLAIM, _owner(call_id), node, self._milliseconds))

    async def owner(self, call_id: str) -> str | None:
        with _reached():
            found = await self._redis.get(_owner(call_id))
        return None if found is None else str(found)

    async def release(self, call_id: str, node: str) -> None:
        await _run(self._redis, _RELEASE, _owner(call_id), node)


class SharedSlots:
    """`CallSlots` over all processes."""

    def __init__(self, redis: Redis, *, lease: float) -> None:
        self._redis = redis
        self._milliseconds = round(lease * 1000)

    async def take(self, tenant_id: str, call_id: str, limit: int) -> bool:
        return bool(await _run(self._redis, _TAKE, _slots(tenant_id), call_id, limit, self._milliseconds))

    async def leave(self, tenant_id: str, call_id: str) -> None:
        with _reached():
            await self._redis.zrem(_slots(tenant_id), call_id)

    async def taken(self, tenant_id: str) -> int:
        return cast(int, await _run(self._redis, _TAKEN, _slots(tenant_id)))


async def ping(redis: Redis) -> None:
    """
    Raises:
        LiveStateUnavailable: it does not answer.
    """
    with _reached():
        await redis.ping()


def _owner(call_id: str) -> str:
    return f"{PREFIX}:owner:{call_id}"


def _slots(tenant_id: str) -> str:
    return f"{PREFIX}:slots:{tenant_id}"


async def _run(redis: Redis, script: str, key: str, *arguments: str | int) -> object:
    """One script on one key."""
    with _reached():
        return await cast(Awaitable[object], redis.eval(script, 1, key, *[str(each) for each in arguments]))


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise LiveStateUnavailable(f"{type(error).__name__}: {error}") from error

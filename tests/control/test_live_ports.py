"""Live state answers alike in one process and over Redis: one suite for both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import pytest

from control.live.in_process import ProcessOwners, ProcessSlots, ProcessWindows
from control.live.ports import CallOwners, CallSlots, RequestWindows
from control.live.shared import SharedOwners, SharedSlots, SharedWindows, connected
from tests.conftest import RunAsync
from tests.redis_server import PROGRAM, redis_server

# Seconds of windows and leases here: on Redis they really pass.
SHORT = 0.5


@dataclass
class State:
    """Both kinds make the same rooms."""

    windows: RequestWindows
    owners: CallOwners
    slots: CallSlots


@asynccontextmanager
async def in_process() -> AsyncIterator[State]:
    clock = asyncio.get_running_loop().time
    yield State(
        ProcessWindows(clock, seconds=SHORT),
        ProcessOwners(clock, lease=SHORT),
        ProcessSlots(clock, lease=SHORT),
    )


@asynccontextmanager
async def over_redis(url: str) -> AsyncIterator[State]:
    async with connected(url) as redis:
        await redis.flushall()
        yield State(
            SharedWindows(redis, token_hex(4), seconds=SHORT),
            SharedOwners(redis, lease=SHORT),
            SharedSlots(redis, lease=SHORT),
        )


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if PROGRAM is None:
        pytest.skip("redis-server is not installed")
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


Scenario = Callable[[State], Coroutine[Any, Any, None]]


@pytest.fixture(params=["in process", pytest.param("over redis", marks=pytest.mark.sockets)])
def run(request: pytest.FixtureRequest, virtual: RunAsync, real: RunAsync) -> Callable[[Scenario], None]:
    """Runs a scenario on one kind of state."""
    shared = request.param == "over redis"
    url = request.getfixturevalue("redis_url") if shared else ""

    def scenario_on(scenario: Scenario) -> None:
        async def main() -> None:
            async with over_redis(url) if shared else in_process() as state:
                await scenario(state)

        (real if shared else virtual)(main())

    return scenario_on


async def time_passes(share: float) -> None:
    """So much of a lease."""
    await asyncio.sleep(share * SHORT)


# Windows


def test_so_many_may_ask_in_a_window_and_the_next_one_is_new(run: Callable[[Scenario], None]) -> None:
    async def scenario(state: State) -> None:
        windows = state.windows
        answers = [await windows.use("key_1", 3) for _ in range(5)]
        assert [each.allowed for each in answers] == [True, True, True, False, False]
        assert [each.remaining for each in answers] == [2, 1, 0, 0, 0]
        assert all(0 < each.reset_after <= SHORT for each in answers)
        assert (await windows.use("key_2", 3)).remaining == 2
        await time_passes(1.1)
        assert (await windows.use("key_1", 3)).remaining == 2

    run(scenario)


def test_looking_counts_nothing(run: Callable[[Scenario], None]) -> None:
    async def scenario(state: State) -> None:
        windows = state.windows
        looks = [await windows.look("key_1", 1) for _ in range(3)]
        assert {(each.allowed, each.remaining, each.limit) for each in looks} == {(True, 1, 1)}
        await windows.use("key_1", 1)
        assert not (await windows.look("key_1", 1)).allowed

    run(scenario)


def test_refused_ones_do_not_make_a_window_longer(run: Callable[[Scenario], None]) -> None:
    async def scenario(state: State) -> None:
        windows = state.windows
        await windows.use("key_1", 1)
        await time_passes(0.6)
        assert not (await windows.use("key_1", 1)).allowed
        await time_passes(0.6)
        assert (await windows.use("key_1", 1)).allowed

    run(scenario)


# Owners


def test_a_call_has_one_owner_until_it_lets_go(run: Callable[[Scenario], None]) -> None:
    async def scenario(state: State) -> None:
        owners = state.owners
        assert await owners.owner("call_1") is None
        assert await owners.claim("call_1", "a") == "a"
        assert await owners.claim("call_1", "b") == "a"
        await owners.release("call_1", "b")
        assert await owners.owner("call_1") == "a"
        await owners.release("call_1", "a")
        assert await owners.claim("call_1", "b") == "b"

    run(scenario)


def test_an_owner_that_claims_again_stays_and_one_that_is_gone_is_replaced(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(state: State) -> None:
        owners = state.owners
        await owners.claim("call_1", "a")
        await time_passes(0.7)
        await owners.claim("call_1", "a")
        await time_passes(0.7)
        assert await owners.claim("call_1", "b") == "a"
        await time_passes(1.1)
        assert await owners.owner("call_1") is None
        assert await owners.claim("call_1", "b") == "b"

    run(scenario)


def test_of_many_who_claim_together_one_has_it(run: Callable[[Scenario], None]) -> None:
    async def scenario(state: State) -> None:
        said = await asyncio.gather(*[state.owners.claim("call_1", f"node_{n}") for n in range(20)])
        assert len(set(said)) == 1

    run(scenario)


# Slots


def test_so_many_calls_have_a_slot_and_no_more(run: Callable[[Scenario], None]) -> None:
    async def scenario(state: State) -> None:
        slots = state.slots
        taken = await asyncio.gather(*[slots.take("default", f"call_{n}", 3) for n in range(10)])
        assert sum(taken) == await slots.taken("default") == 3
        assert await slots.take("another", "call_x", 3)
        first = taken.index(True)
        await slots.leave("default", f"call_{first}")
        assert await slots.take("default", "call_y", 3)
        assert not await slots.take("default", "call_z", 3)

    run(scenario)


def test_a_call_keeps_its_slot_whatever_becomes_of_the_limit(run: Callable[[Scenario], None]) -> None:
    async def scenario(state: State) -> None:
        slots = state.slots
        assert await slots.take("default", "call_1", 2)
        assert await slots.take("default", "call_2", 2)
        assert await slots.take("default", "call_1", 1)
        assert await slots.taken("default") == 2

    run(scenario)


def test_slots_of_a_dead_process_are_free_when_their_lease_ends(run: Callable[[Scenario], None]) -> None:
    async def scenario(state: State) -> None:
        slots = state.slots
        await slots.take("default", "of the dead", 2)
        await slots.take("default", "of the living", 2)
        await time_passes(0.7)
        await slots.take("default", "of the living", 2)
        await time_passes(0.7)
        assert await slots.taken("default") == 1
        assert await slots.take("default", "new", 2)

    run(scenario)


def test_leaving_twice_or_without_a_slot_is_nothing(run: Callable[[Scenario], None]) -> None:
    async def scenario(state: State) -> None:
        await state.slots.leave("default", "call_1")
        await state.slots.take("default", "call_1", 1)
        await state.slots.leave("default", "call_1")
        await state.slots.leave("default", "call_1")
        assert await state.slots.taken("default") == 0

    run(scenario)

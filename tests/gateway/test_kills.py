"""A gateway's process is killed without a word, at whatever it was doing; what it owed is done when it is back.

Every call has an end, once; every event that was owed is told, in order, and what is told twice can be known again by
its id; every recording opens. The moments are chosen, but for those of the last test, which chance chooses: for a night
of it, `OFFHOOK_KILLS=1000`.
"""

import asyncio
import os
import wave
from functools import partial
from pathlib import Path
from random import Random

import aiohttp
import pytest

from gateway.agent.script import parse_script
from telephony.caller import AwaitAgent, Edge, HangUp, Wait
from telephony.causes import CallStatus, Disposition, EndedReason
from telephony.simulated_exchange import AnswerLate
from telephony.simulated_switch import Cause, FarEnd, LegState, Reaction, Side
from tests.conftest import RunAsync
from tests.killable_house import KillableHouse, killable_house
from tests.whole_house import OTHER, THEIRS

pytestmark = pytest.mark.sockets

# A story that is told for as long as anybody listens.
TELLS = parse_script(
    "greeting: {say: A story., audio: {tone: {frequencies: [1900], ms: 60000}}}\nafter: silent\n"
)
LISTENS = FarEnd(script=(Wait(60), HangUp()))
NOBODY = FarEnd(reaction=Reaction.RINGS_OUT)
HEARS_OUT = FarEnd(script=(AwaitAgent(Edge.START), Wait(0.5), HangUp()))
GREETS = parse_script(
    "greeting: {say: Hello., audio: {tone: {frequencies: [1900], ms: 300}}}\nafter: silent\n"
)
# Of the last test.
KILLS = int(os.environ.get("OFFHOOK_KILLS", "1"))
KILLS_OF_ONE = 4
"""Of one house, before the next begins with nothing."""
SEED = int(os.environ.get("OFFHOOK_KILLS_SEED", "0")) or Random().randrange(1, 10**6)


async def all_is_well(house: KillableHouse) -> None:
    """What must hold once the gateway is back, however it went."""
    await all_are_over(house)
    for call in await house.calls():
        await house.backend.was_told(call.call_id, "call.ended")
        await house.until(partial(everything_is_told, house, call.call_id))
    for call in await house.calls():
        assert not call.live
        assert call.ended_at is not None
        names = list((await house.published(call.call_id)).values())
        assert names.count("call.ended") == 1
        # A recording is filed when its call is over.
        assert names[-1] == "call.ended" or names[-2:] == ["call.ended", "call.recording_ready"]
        sequences = house.backend.sequences(call.call_id)
        assert sequences == sorted(sequences)
    for path in house.recordings():
        assert path.suffix == ".wav"
        with wave.open(str(path)) as recording:
            assert recording.getnchannels() == 2
            assert recording.getnframes() * 4 == path.stat().st_size - 44


async def everything_is_told(house: KillableHouse, call_id: str) -> bool:
    house.backend.told(call_id)
    return set(house.backend.events[call_id]) == set(await house.published(call_id))


async def recorded(house: KillableHouse, number: int) -> None:
    """Wait until so many recordings have begun to grow."""

    async def grown() -> bool:
        return len([path for path in house.recordings() if path.stat().st_size > 4096]) >= number

    await house.until(grown)


async def all_have_recordings(house: KillableHouse) -> bool:
    return all(call.has_recording for call in await house.calls())


async def nobody_is_left_on_the_line(house: KillableHouse) -> None:
    async def gone() -> bool:
        return not any(leg.leg.alive for leg in house.carrier.legs.values())

    await house.until(gone)


async def all_are_over(house: KillableHouse) -> None:
    """Wait until every call on record has ended, whatever of it has been told."""

    left: list[object] = []

    async def over() -> bool:
        left[:] = [
            (call, list(events.values()))
            for call in await house.calls()
            if "call.ended" not in (events := await house.published(call.call_id)).values()
        ]
        return not left

    try:
        await house.until(over)
    except TimeoutError:
        raise AssertionError(f"not over: {left}; the log: {house.gateway.log}") from None


def test_a_crash_in_the_middle_of_calls_ends_them_as_our_error(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with killable_house(tmp_path, agent=TELLS, far_end=LISTENS) as house:
            await house.gateway.start()
            dialled = [await house.dial() for _ in range(2)]
            house.ring()
            for call_id in dialled:
                await house.backend.was_told(call_id, "ai.speech.started")
            await recorded(house, 3)
            await house.gateway.kill()
            assert len(house.recordings()) == 3
            await house.gateway.start()
            await nobody_is_left_on_the_line(house)
            await house.until(partial(all_have_recordings, house))
            await all_is_well(house)
            calls = await house.calls()
            assert {call.status for call in calls} == {CallStatus.COMPLETED}
            assert {call.ended_reason for call in calls} == {EndedReason.ERROR}
            assert len(calls) == len(house.recordings()) == 3
            await house.gateway.stop()

    real(scenario())


async def a_phone_rings(house: KillableHouse) -> bool:
    return any(leg.leg.state is LegState.RINGING for leg in house.carrier.legs.values())


@pytest.mark.parametrize("answered", [True, False], ids=["the-dial-was-answered", "the-dial-was-not"])
def test_a_crash_while_a_phone_rings_ends_the_call_and_the_ringing(
    real: RunAsync, tmp_path: Path, answered: bool
) -> None:
    async def scenario() -> None:
        async with killable_house(tmp_path, agent=TELLS, far_end=NOBODY) as house:
            await house.gateway.start()
            if not answered:  # by the carrier, to us: whether there is a call is not known
                house.carrier.rest.script("dial", AnswerLate())
            dialling = asyncio.create_task(house.dial())
            await house.until(partial(a_phone_rings, house))
            (leg,) = [each.leg for each in house.carrier.legs.values()]
            if answered:
                await dialling
            (call,) = await house.calls()
            await house.backend.was_told(call.call_id, "call.ringing")
            await house.gateway.kill()
            if not answered:
                with pytest.raises(aiohttp.ClientError):
                    await dialling
            assert leg.state is LegState.RINGING
            await house.gateway.start()
            await nobody_is_left_on_the_line(house)
            await all_is_well(house)
            assert (leg.cause, leg.ended_by) == (Cause.CANCEL, Side.APPLICATION)
            (call,) = await house.calls()
            assert (call.status, call.disposition) == (CallStatus.FAILED, Disposition.FAILED)
            assert (call.ended_reason, call.answered_at) == (EndedReason.ERROR, None)
            assert house.backend.told(call.call_id) == ["call.ringing", "call.failed", "call.ended"]
            assert house.carrier.rest.count("dial") == 1
            await house.gateway.stop()

    real(scenario())


def test_a_crash_in_the_middle_of_deliveries_loses_none_and_doubles_have_one_id(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with killable_house(tmp_path, agent=GREETS, far_end=HEARS_OUT) as house:
            await house.gateway.start()
            house.backend.receiver.hold()
            for _ in range(3):
                await house.dial()
            await house.backend.receiver.heard(3)
            await all_are_over(house)
            await house.gateway.kill()
            house.backend.receiver.let_go()
            await house.gateway.start()
            await all_is_well(house)
            assert house.backend.doubles == 3  # what was under way
            assert {call.status for call in await house.calls()} == {CallStatus.COMPLETED}
            await house.gateway.stop()

    real(scenario())


def test_crashes_at_any_moment_strand_no_call_and_lose_no_event(real: RunAsync, tmp_path: Path) -> None:
    print(f"OFFHOOK_KILLS_SEED={SEED}")
    chance = Random(SEED)

    async def scenario(folder: Path, kills: int) -> None:
        async with killable_house(folder, agent=TELLS, far_end=LISTENS) as house:
            house.carrier.far_ends.script(OTHER, HEARS_OUT)
            await house.gateway.start()
            for _ in range(kills):
                await _use_and_kill(house, chance)
                await house.gateway.start()
            await nobody_is_left_on_the_line(house)
            await all_is_well(house)
            assert await house.calls()
            await house.gateway.stop()

    for first in range(0, KILLS, KILLS_OF_ONE):
        folder = tmp_path / str(first)
        folder.mkdir()
        real(scenario(folder, min(KILLS_OF_ONE, KILLS - first)))


async def _use_and_kill(house: KillableHouse, chance: Random) -> None:
    """Calls in and out, of all lengths, until the process is killed: while it works, or while it starts again."""
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.3:
            house.ring()
        else:
            await house.dial(chance.choice([OTHER, THEIRS]))
    await asyncio.sleep(chance.uniform(0.0, 2.0))
    await house.gateway.kill()
    if chance.random() < 0.3:
        await house.gateway.begin()
        await asyncio.sleep(chance.uniform(0.5, 3.0))
        await house.gateway.kill()

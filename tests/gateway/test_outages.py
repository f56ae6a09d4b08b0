"""Whole calls over real sockets while what they lean on is gone: the database, webhooks' receivers, tools.

Callers send frames that can be told apart, an agent echoes them, and every one of them must come back in time. Real
time, on a machine that does other things besides: a frame counts as late only if it is later than any noise is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from control.agents import AgentConfig
from gateway.agent.echo import EchoBehaviour
from gateway.agent.script import parse_script
from gateway.agent.scripted import ScriptedBehaviour
from gateway.load import echo_script
from telephony.caller import AwaitAgent, Edge, HangUp, Step, Wait
from telephony.causes import CallStatus
from telephony.simulated_switch import Cause, FarEnd
from tests.backend import Backend
from tests.conftest import RunAsync
from tests.outage import KINDS, NoServer, Outage, outage_of
from tests.receiver import Received, Receiver, saying
from tests.whole_house import OTHER, THEIRS, House, free_port, whole_house

# One after the other: what they hold is how late frames may be.
pytestmark = [pytest.mark.sockets, pytest.mark.xdist_group("on time")]

# Seconds for which something is gone. `benchmarks/outage.py` has it gone for 30.
OUTAGE = 6.0
CALLS = 4
# Later than this no frame may come back: less than what a database, a tool or a receiver is waited for, and more than a
# machine under load takes for itself (measured beside eight others' work: 0.8 s without any outage).
LATEST = 2.5
# What a hang-up may take while the database is gone: 250 ms twice, for the key and for the call, and no 5 s.
AT_ONCE = 4.0
# Calls a tool before anything else, and tells what came of it.
ASKS = parse_script(
    """
greeting:
  items: [{call: {name: look_up, arguments: {}}}]
  then: {say: It does not answer., audio: {tone: {frequencies: [1900], ms: 300}}}
after: silent
"""
)


@asynccontextmanager
async def echoing(folder: Path, backend: Backend, **settings: Any) -> AsyncIterator[House]:
    """A house whose agent echoes, and which tells a backend of its calls."""
    given: dict[str, Any] = {
        "agent": EchoBehaviour,
        "agents": {"default": AgentConfig(name="default", webhook_url=backend.url)},
        "egress_allow": "127.0.0.1",
        "egress_allow_http": True,
        "unhurried": False,
        **settings,
    }
    async with whole_house("telnyx", folder, **given) as house:
        yield house


async def talking(house: House, *seconds: float, after: int = 0) -> list[Any]:
    """Calls that echo for so long each and end by themselves, once all of them talk; `after` so many others."""
    legs = [house.ring(*echoes(each)) for each in seconds]
    for number in range(after + 1, after + len(legs) + 1):
        await house.happened(await house.the_call(number), "call.started")
    return legs


def echoes(seconds: float) -> list[Step]:
    """Somebody whose frames can be told apart, and who waits for the last of them."""
    return [*echo_script(seconds)[:-1], Wait(LATEST), HangUp()]


def assert_steady(legs: Sequence[Any]) -> None:
    """Every frame came back, and none of them late."""
    for leg in legs:
        outcome = leg.phone.outcome
        assert outcome.latency.returned == outcome.latency.sent > 100
        assert outcome.latency.maximum < LATEST
        assert not outcome.complaints


# The database


@pytest.fixture(params=KINDS)
def outage(request: pytest.FixtureRequest) -> Iterator[Outage]:
    try:
        with outage_of(request.param) as made:
            yield made
    except NoServer as missing:
        pytest.skip(str(missing))


def test_a_database_that_is_gone_is_heard_by_nobody_and_costs_nothing(
    real: RunAsync, tmp_path: Path, outage: Outage
) -> None:
    async def scenario() -> None:
        far_end = FarEnd(script=echoes(60))
        async with (
            Backend.running() as backend,
            echoing(tmp_path, backend, far_end=far_end, database_url=outage.database_url) as house,
        ):
            dialled = (await house.dial()).json["call_id"]
            await house.happened(dialled, "call.started")
            # One of them ends while the database is gone.
            legs = await talking(house, OUTAGE / 2, *[OUTAGE + 2] * (CALLS - 1))
            async with outage.begins(tmp_path / "data"):
                await through_it(house, dialled)
            await _until(house, lambda: not house.gateway.house.unready())
            await afterwards(house, backend)
            assert_steady(legs)

    real(scenario())


async def through_it(house: House, dialled: str) -> None:
    """What users and carriers want meanwhile: calls end, and no new one begins."""
    loop = asyncio.get_running_loop()
    until = loop.time() + OUTAGE
    began = loop.time()
    dialling = asyncio.create_task(house.dial(OTHER))  # before anybody knows
    assert (await house.ask(dialled, "end", after="now")).status == 200
    assert loop.time() - began < AT_ONCE
    refused = await dialling
    assert (refused.status, refused.code) == (503, "store_unavailable")
    await _until(house, lambda: bool(house.gateway.house.unready()))
    began = loop.time()
    refused = await house.dial(OTHER)
    assert (refused.status, refused.code) == (503, "store_unavailable")
    assert loop.time() - began < AT_ONCE
    assert house.legs_to(OTHER) == 0
    turned_away = house.ring()
    await _until(house, lambda: not turned_away.leg.alive)
    assert turned_away.leg.cause is Cause.BUSY
    assert not house.leg_to(THEIRS).leg.alive
    await asyncio.sleep(until - loop.time())


async def afterwards(house: House, backend: Backend) -> None:
    """Everything that there was is on record and was told."""
    calls = await house.until(house.calls, lambda calls: all(not call.live for call in calls))
    statuses = sorted(call.status.value for call in calls if call.to_number != OTHER)
    assert statuses == [*[CallStatus.COMPLETED.value] * (CALLS + 1), CallStatus.REJECTED.value]
    for call in calls:
        await house.ended(call.call_id)
        published = await house.published(call.call_id)
        assert published.count("call.ended") == 1
        if call.webhook_url is None:  # nobody could look up whose call it was
            assert call.status is CallStatus.REJECTED
            continue
        await backend.was_told(call.call_id, "call.ended")
        assert backend.told(call.call_id) == published
        assert backend.sequences(call.call_id) == list(range(1, len(published) + 1))
    assert house.gateway.house.service.live() == []


async def _until(house: House, true: Callable[[], bool]) -> None:
    await house.until(lambda: asyncio.sleep(0, true()), bool)


# Webhooks' receivers


FAULTS = {"moved": "HTTP 302", "garbage": "garbage", "down": "unreachable"}


async def moved(_: Received) -> web.Response:
    return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"})


def test_receivers_that_misbehave_are_heard_by_nobody_and_get_everything_once_they_behave(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        far_end = FarEnd(script=echoes(7))
        async with (
            Receiver.running() as slow,
            Backend.running() as moving,
            saying(b"no HTTP at all\r\n\r\n") as babbling,
            Backend.running() as backend,
            echoing(tmp_path, backend, far_end=far_end) as house,
        ):
            slow.hold()
            moving.receiver.answer = moved
            urls = {
                "slow": slow.url,
                "moved": moving.url,
                "garbage": babbling,
                "down": f"http://127.0.0.1:{free_port()}/",
            }
            assert (await house.dial(webhook_url="http://10.1.2.3/hooks")).status == 422
            calls = {name: (await house.dial(webhook_url=url)).json["call_id"] for name, url in urls.items()}
            legs = [leg for leg in house.telnyx.legs.values() if leg.leg.to_number == THEIRS]
            for call_id in calls.values():
                await house.happened(call_id, "call.started")
            await moving.receiver.heard()
            moving.receiver.answer = lambda _: web.Response(status=204)
            for call_id in calls.values():
                assert (await house.ended(call_id)).status is CallStatus.COMPLETED
            assert_steady(legs)
            await moving.was_told(calls["moved"], "call.ended")
            assert moving.told(calls["moved"]) == await house.published(calls["moved"])
            assert len(slow.received) == 1  # and is still being waited for
            for name, error in FAULTS.items():
                log = (await house.api("GET", f"/v1/calls/{calls[name]}/webhooks")).json["deliveries"]
                assert (log[0]["success"], log[0]["error"].partition(":")[0]) == (False, error)
            assert await house.gateway.house.store.deliveries.pending() > 0  # tried again for hours

    real(scenario())


# Tools


def test_a_tool_that_hangs_is_heard_by_nobody_and_its_model_is_told(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Receiver.running() as tool, Backend.running() as backend:
            tool.hold()
            behaviours = iter([ScriptedBehaviour(ASKS)])
            config = AgentConfig.model_validate(
                {
                    "name": "default",
                    "webhook_url": backend.url,
                    "tools": [
                        {"name": "look_up", "description": "Slow.", "url": tool.url, "timeout_seconds": 3}
                    ],
                }
            )
            async with echoing(
                tmp_path,
                backend,
                agent=lambda: next(behaviours, None) or EchoBehaviour(),
                agents={"default": config},
            ) as house:
                house.ring(AwaitAgent(Edge.END, quiet=0.2), HangUp())
                asking = await house.the_call()
                await house.happened(asking, "tool.invoked")
                legs = await talking(house, *[5.0] * CALLS, after=1)
                told = await house.happened(asking, "tool.timeout")
                assert told.data["name"] == "look_up"
                record = await house.ended(asking)
                assert [entry["content"] for entry in record.transcript] == ["It does not answer."]
                for call in await house.calls():
                    await house.ended(call.call_id)
                assert_steady(legs)

    real(scenario())

"""Telnyx's numbers through our client, against the simulated Telnyx: listed, pointed here, pointed away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.links import connect
from telephony.account_numbers import AccountNumber
from telephony.client_errors import CommandFailed, Verdict
from telephony.party_lines import PartyLines
from telephony.simulated_exchange import Cut, Refuse
from telephony.telnyx.account_numbers import TelnyxNumbers
from telephony.telnyx.client import TelnyxClient
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from tests.conftest import RunAsync

pytestmark = pytest.mark.sockets

HERE, ELSEWHERE = "https://gw.example.com/carriers/telnyx/int_1/webhook", "https://other.example.com/hook"
FIRST, SECOND = "+13125550101", "+13125550102"


@asynccontextmanager
async def scene(
    webhook_url: str = HERE, key: str = "KEY_SIMULATED"
) -> AsyncIterator[tuple[SimulatedTelnyx, TelnyxNumbers]]:
    carrier = SimulatedTelnyx(PartyLines(connect), webhook_url, numbers={FIRST: True, SECOND: False})
    await carrier.start()
    client = TelnyxClient(api_key=key, connection_id=carrier.connection_id, base_url=carrier.base_url)
    try:
        yield carrier, TelnyxNumbers(client, HERE)
    finally:
        await client.close()
        await carrier.stop()


async def the(numbers: TelnyxNumbers, number: str) -> AccountNumber:
    (found,) = await numbers.all(number)
    return found


def test_every_number_is_listed_with_where_it_points(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as (_, numbers):
            assert {each.number: each.points_here for each in await numbers.all()} == {
                FIRST: True,
                SECOND: False,
            }
            assert [each.number for each in await numbers.all(SECOND)] == [SECOND]
            assert await numbers.all("+13125550199") == []
            assert await numbers.all("+1312555") == []  # a part of a number is none

    real(scenario())


def test_a_number_is_pointed_here_once_or_twice_and_away(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as (carrier, numbers):
            second = await the(numbers, SECOND)
            assert not carrier.numbers.rings(SECOND)
            for _ in range(2):
                await numbers.point_here(second)
                assert (await the(numbers, SECOND)).points_here
            assert carrier.numbers.rings(SECOND)
            for _ in range(2):
                await numbers.point_away(second)
                assert not (await the(numbers, SECOND)).points_here
            assert (await the(numbers, FIRST)).points_here

    real(scenario())


def test_an_application_that_tells_somebody_else_is_told_to_tell_us(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(ELSEWHERE) as (carrier, numbers):
            first = await the(numbers, FIRST)
            assert not first.points_here
            assert "webhook URL" in (await numbers.trouble() or "")
            await numbers.point_here(first)
            assert carrier.webhook_url == HERE
            assert carrier.numbers.application_name == "simulated application"
            assert await numbers.trouble() is None

    real(scenario())


def test_what_fails_says_whose_fault_it_is(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(key="wrong") as (_, numbers):
            with pytest.raises(CommandFailed) as refused:
                await numbers.trouble()
            assert (refused.value.verdict, refused.value.code) == (Verdict.UNAUTHORISED, "10009")
        async with scene() as (carrier, numbers):
            first = await the(numbers, FIRST)
            carrier.rest.script("number_update", Refuse(status=422, body=b'{"errors":[{"code":"10015"}]}'))
            with pytest.raises(CommandFailed) as refused:
                await numbers.point_here(first)
            assert (refused.value.verdict, refused.value.status) == (Verdict.REJECTED, 422)
            carrier.rest.script("numbers", *[Cut()] * 3)
            with pytest.raises(CommandFailed) as refused:
                await numbers.all()
            assert refused.value.verdict is Verdict.UNAVAILABLE

    real(scenario())


def test_a_long_list_is_read_to_its_end(real: RunAsync) -> None:
    async def scenario() -> None:
        many = {f"+1312555{place:04d}": False for place in range(300)}
        carrier = SimulatedTelnyx(PartyLines(connect), HERE, numbers=many)
        await carrier.start()
        client = TelnyxClient(
            api_key=carrier.api_key, connection_id=carrier.connection_id, base_url=carrier.base_url
        )
        try:
            found = await TelnyxNumbers(client, HERE).all()
            assert [each.number for each in found] == list(many)
        finally:
            await client.close()
            await carrier.stop()

    real(scenario())

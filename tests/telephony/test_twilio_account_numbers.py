"""Twilio's numbers through our client, against the simulated Twilio: listed, pointed here, pointed away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.links import connect
from telephony.account_numbers import AccountNumber
from telephony.client_errors import CommandFailed, Verdict
from telephony.party_lines import PartyLines
from telephony.simulated_exchange import Cut, Refuse
from telephony.twilio.account_numbers import TwilioNumbers
from telephony.twilio.client import TwilioClient
from telephony.twilio.rest_simulator import SimulatedTwilio, error_body
from tests.conftest import RunAsync

pytestmark = pytest.mark.sockets

GATEWAY = "https://gw.example.com"
VOICE, STATUS = f"{GATEWAY}/carriers/twilio/int_1/voice", f"{GATEWAY}/carriers/twilio/int_1/status"
FIRST, SECOND = "+13125550101", "+13125550102"


@asynccontextmanager
async def scene(
    token: str = "simulated-token", many: int = 0
) -> AsyncIterator[tuple[SimulatedTwilio, TwilioNumbers]]:
    numbers = {FIRST: True, SECOND: False} | {f"+1312556{place:04d}": False for place in range(many)}
    carrier = SimulatedTwilio(PartyLines(connect), VOICE, status_callback=STATUS, numbers=numbers)
    await carrier.start()
    client = TwilioClient(
        account_sid=carrier.account_sid,
        auth_token=token,
        public_url=GATEWAY,
        integration_id="int_1",
        base_url=carrier.base_url,
    )
    try:
        yield carrier, TwilioNumbers(client, voice_url=VOICE, status_url=STATUS)
    finally:
        await client.close()
        await carrier.stop()


async def the(numbers: TwilioNumbers, number: str) -> AccountNumber:
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

    real(scenario())


def test_a_number_is_pointed_here_once_or_twice_and_away(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as (carrier, numbers):
            second, held = await the(numbers, SECOND), carrier.numbers.called(SECOND)
            assert held is not None
            for _ in range(2):
                await numbers.point_here(second)
                assert (held.rings, held.setting("status_callback")) == (VOICE, STATUS)
            for _ in range(2):
                await numbers.point_away(second)
                assert (held.rings, held.setting("status_callback")) == ("", "")

    real(scenario())


@pytest.mark.parametrize("name", ["trunk_sid", "voice_application_sid"])
def test_what_goes_before_the_voice_url_is_taken_away(real: RunAsync, name: str) -> None:
    async def scenario() -> None:
        async with scene() as (carrier, numbers):
            held = carrier.numbers.called(FIRST)
            assert held is not None
            held.settings[name] = "XX1"
            first = await the(numbers, FIRST)
            assert not first.points_here
            await numbers.point_here(first)
            assert held.rings == VOICE

    real(scenario())


def test_a_number_that_somebody_has_pointed_elsewhere_is_left_there(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene() as (carrier, numbers):
            first, held = await the(numbers, FIRST), carrier.numbers.called(FIRST)
            assert held is not None
            held.settings["voice_url"] = "https://other.example.com"
            await numbers.point_away(first)
            assert held.rings == "https://other.example.com"

    real(scenario())


def test_what_fails_says_whose_fault_it_is(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(token="wrong") as (_, numbers):
            with pytest.raises(CommandFailed) as refused:
                await numbers.trouble()
            assert (refused.value.verdict, refused.value.code) == (Verdict.UNAUTHORISED, "20003")
        async with scene() as (carrier, numbers):
            assert await numbers.trouble() is None
            first = await the(numbers, FIRST)
            body = error_body(400, 21502, "VoiceUrl is not valid")
            carrier.rest.script("number_update", Refuse(status=400, body=body))
            with pytest.raises(CommandFailed) as refused:
                await numbers.point_here(first)
            assert (refused.value.verdict, refused.value.code) == (Verdict.REJECTED, "21502")
            carrier.rest.script(
                "numbers", Cut(), Cut()
            )  # aiohttp asks once more on a connection that was kept
            with pytest.raises(CommandFailed) as refused:
                await numbers.all()
            assert refused.value.verdict is Verdict.UNAVAILABLE

    real(scenario())


def test_a_long_list_is_read_to_its_end(real: RunAsync) -> None:
    async def scenario() -> None:
        async with scene(many=1_100) as (_, numbers):
            assert len(await numbers.all()) == 1_102

    real(scenario())

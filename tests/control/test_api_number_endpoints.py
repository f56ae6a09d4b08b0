"""Numbers over HTTP: found at the carriers, claimed once, given to agents, released; and whatever stands in the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from control.stores.keys import Scope
from telephony.simulated_exchange import Refuse
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from telephony.twilio.rest_simulator import SimulatedTwilio
from tests.conftest import RunAsync
from tests.second_account import ALLOWED, NUMBERS, added, second_carrier
from tests.served_api import Said, Users, made, whole_api
from tests.whole_house import House

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])

FIRST, SECOND = NUMBERS
LISTED = "+13125550101"

Carrier = SimulatedTelnyx | SimulatedTwilio


def unavailable(carrier: str) -> list[Refuse]:
    """A carrier that does not do one thing it is asked: Telnyx's client asks twice, Twilio's once."""
    return [Refuse(status=503)] * (2 if carrier == "telnyx" else 1)


def refused(said: Said) -> tuple[int, str]:
    return said.status, said.code


@asynccontextmanager
async def claiming(
    carrier: str, folder: Path, **options: Any
) -> AsyncIterator[tuple[House, Users, Carrier, str]]:
    async with (
        whole_api(carrier, folder, **ALLOWED, **options) as (house, users),
        second_carrier(carrier) as second,
    ):
        yield house, users, second, await added(users, second)


async def claim(users: Users, number: str = FIRST, **more: Any) -> Said:
    return await users.ask("POST", "/v1/phone-numbers/claim", json={"number": number, **more})


@both
def test_what_the_account_has_is_available_until_it_is_claimed(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with claiming(carrier, tmp_path) as (_, users, _, integration_id):
            path = "/v1/phone-numbers/available"
            found = (await users.ask("GET", path)).json
            assert [(each["number"], each["integration_id"]) for each in found["data"]] == [
                (FIRST, integration_id),
                (SECOND, integration_id),
            ]
            first = (await users.ask("GET", f"{path}?limit=1")).json
            second = (await users.ask("GET", path, params={"limit": 1, "after": first["next_cursor"]})).json
            assert [each["number"] for each in first["data"] + second["data"]] == [FIRST, SECOND]
            assert second["next_cursor"] is None
            said = await claim(users, label="Front desk")
            assert said.status == 201
            assert (said.json["label"], said.json["agent_id"], said.json["source"]) == (
                "Front desk",
                None,
                "stored",
            )
            number = f"/v1/phone-numbers/{said.json['number_id']}"
            assert said.headers["Location"] == number
            assert (await users.ask("GET", number)).json == said.json
            left = (await users.ask("GET", path, params={"integration_id": integration_id})).json["data"]
            assert [each["number"] for each in left] == [SECOND]
            assert refused(await users.ask("GET", path, params={"integration_id": "int_0"})) == (
                422,
                "carrier_not_configured",
            )
            assert refused(await users.ask("GET", f"{path}?after=x")) == (400, "invalid_cursor")

    real(scenario())


@both
def test_of_many_who_claim_a_number_at_once_one_has_it(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with claiming(carrier, tmp_path) as (_, users, _, _):
            said = await asyncio.gather(*[claim(users) for _ in range(5)])
            assert sorted(each.status for each in said) == [201, 409, 409, 409, 409]
            assert {each.code for each in said if each.status == 409} == {"number_claimed"}
            listed = (await users.ask("GET", "/v1/phone-numbers")).json["data"]
            assert [each["number"] for each in listed] == [FIRST]
            assert refused(await claim(users, "+1 (312) 555-0151")) == (409, "number_claimed")

    real(scenario())


@both
def test_what_the_carrier_says_is_the_answer(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with claiming(carrier, tmp_path) as (_, users, second, integration_id):
            assert refused(await claim(users, "+13125550199")) == (422, "number_not_available")
            body = b'{"errors":[{"code":"10015","detail":"No."}]}'
            if carrier == "twilio":
                body = b'{"code":21502,"message":"No.","status":400}'
            second.rest.script("number_update", Refuse(status=400, body=body))
            said = await claim(users)
            assert refused(said) == (422, "carrier_rejected")
            assert "No." in said.json["detail"]
            second.rest.script("numbers", *unavailable(carrier))
            assert refused(await claim(users, integration_id=integration_id)) == (502, "carrier_unavailable")
            second.rest.script("numbers", *unavailable(carrier))
            path = "/v1/phone-numbers/available"
            found = (await users.ask("GET", path)).json
            assert [each["integration_id"] for each in found["unanswered"]] == [integration_id]
            second.rest.script("numbers", *unavailable(carrier))
            one = await users.ask("GET", path, params={"integration_id": integration_id})
            assert refused(one) == (502, "carrier_unavailable")
            assert (await users.ask("GET", "/v1/phone-numbers")).json["data"] == []
            assert (await claim(users)).status == 201

    real(scenario())


@both
def test_a_number_is_given_to_an_agent_that_is_there_and_taken_from_it(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with claiming(carrier, tmp_path) as (_, users, _, _):
            assert refused(await claim(users, agent_id="agent_none")) == (422, "agent_not_found")
            path = f"/v1/phone-numbers/{(await claim(users, agent_id='default')).json['number_id']}"
            assert (await users.ask("GET", path)).json["agent_id"] == "agent_default"
            assert refused(await users.ask("POST", f"{path}/assign", json={"agent_id": "x"})) == (
                422,
                "agent_not_found",
            )
            assert (await users.ask("POST", f"{path}/unassign")).json["agent_id"] is None
            said = await users.ask("POST", f"{path}/assign", json={"agent_id": "agent_default"})
            assert said.json["agent_id"] == "agent_default"
            by_agent = await users.ask("GET", "/v1/phone-numbers?agent_id=agent_default")
            assert [each["number"] for each in by_agent.json["data"]] == [FIRST]
            assert refused(await users.ask("POST", f"{path}/assign", json={})) == (422, "invalid_body")

    real(scenario())


@both
def test_a_number_is_released_when_the_carrier_has_let_go_of_it_or_by_force(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with claiming(carrier, tmp_path) as (_, users, second, integration_id):
            path = f"/v1/phone-numbers/{(await claim(users)).json['number_id']}"
            second.rest.script("number", *unavailable(carrier))
            assert refused(await users.ask("POST", f"{path}/release")) == (502, "carrier_unavailable")
            assert (await users.ask("GET", path)).status == 200
            second.rest.script("number", *unavailable(carrier))
            assert (await users.ask("POST", f"{path}/release?force=true")).status == 200
            assert refused(await users.ask("POST", f"{path}/release")) == (404, "not_found")
            # What was left behind at the carrier is no obstacle.
            path = f"/v1/phone-numbers/{(await claim(users)).json['number_id']}"
            assert (await users.ask("POST", f"{path}/release")).json == {"success": True}
            assert (await users.ask("DELETE", f"/v1/integrations/{integration_id}")).status == 204

    real(scenario())


def test_a_number_that_the_carrier_has_no_more_can_be_released(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with claiming("twilio", tmp_path) as (_, users, second, _):
            path = f"/v1/phone-numbers/{(await claim(users)).json['number_id']}"
            gone = b'{"code":20404,"message":"not found","status":404}'
            second.rest.script("number", Refuse(status=404, body=gone))
            assert (await users.ask("POST", f"{path}/release")).status == 200

    real(scenario())


def test_numbers_of_the_settings_are_listed_last_and_read_only(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        numbers = {LISTED: {"agent": "default", "carrier": "telnyx"}}
        async with claiming("telnyx", tmp_path, numbers=numbers) as (house, users, _, integration_id):
            await claim(users)
            listed = (await users.ask("GET", "/v1/phone-numbers")).json["data"]
            assert [(each["number"], each["source"]) for each in listed] == [
                (FIRST, "stored"),
                (LISTED, "settings"),
            ]
            entry = listed[1]
            assert (entry["agent_id"], entry["integration_id"]) == ("agent_default", "default-telnyx")
            path = f"/v1/phone-numbers/{entry['number_id']}"
            assert (await users.ask("GET", path)).json == entry
            for asked, body in (("assign", {"agent_id": "default"}), ("unassign", None), ("release", None)):
                said = await users.ask("POST", f"{path}/{asked}", json=body)
                assert refused(said) == (409, "read_only_settings")
            assert refused(await claim(users, LISTED)) == (409, "number_claimed")
            only = await users.ask("GET", f"/v1/phone-numbers?integration_id={integration_id}")
            assert [each["number"] for each in only.json["data"]] == [FIRST]
            other = users.with_key((await made(house.gateway.house.store, Scope.FULL, "other")).secret)
            assert (await other.ask("GET", "/v1/phone-numbers")).json["data"] == []
            assert refused(await other.ask("GET", path)) == (404, "not_found")

    real(scenario())


@both
def test_the_account_of_the_settings_has_numbers_to_claim(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        options: dict[str, Any] = {"carrier_options": {"numbers": NUMBERS}}
        async with whole_api(carrier, tmp_path, **options) as (house, users):
            said = await claim(users, integration_id=f"default-{carrier}", agent_id="default")
            assert said.status == 201, said
            assert said.json["integration_id"] == f"default-{carrier}"
            house.ring(to=FIRST)
            record = await house.call(await house.the_call())
            assert (record.to_number, record.agent_id) == (FIRST, "agent_default")
            other = users.with_key((await made(house.gateway.house.store, Scope.FULL, "other")).secret)
            assert refused(await claim(other, SECOND)) == (422, "carrier_not_configured")
            assert (await other.ask("GET", "/v1/phone-numbers/available")).json["data"] == []

    real(scenario())


def test_another_tenants_number_is_not_there(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with claiming("telnyx", tmp_path) as (house, users, _, _):
            number_id = (await claim(users)).json["number_id"]
            other = users.with_key((await made(house.gateway.house.store, Scope.FULL, "other")).secret)
            path = f"/v1/phone-numbers/{number_id}"
            assert refused(await other.ask("GET", path)) == (404, "not_found")
            body = {"agent_id": "default"}
            assert refused(await other.ask("POST", f"{path}/assign", json=body)) == (404, "not_found")
            assert refused(await other.ask("POST", f"{path}/unassign")) == (404, "not_found")
            assert refused(await other.ask("POST", f"{path}/release?force=true")) == (404, "not_found")
            assert (await users.ask("GET", path)).status == 200

    real(scenario())

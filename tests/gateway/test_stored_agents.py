"""Whole calls with agents that users have stored: through HTTP and websockets alone, on both carriers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import insert

from control.stores.database import Database
from control.stores.keys import DEFAULT_TENANT, Scope
from control.stores.tables import numbers
from gateway.agent.scripted import ScriptedBehaviour
from gateway.call_house import database_of
from media.realtime.server_behaviour import Behaviour, Reply, ResponseRequest
from telephony.caller import AwaitAgent, Edge, HangUp, Wait
from telephony.simulated_switch import FarEnd
from tests.conftest import RunAsync
from tests.served_api import Said, Users, made, whole_api
from tests.whole_house import GREETS, OURS, THEIRS, House

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])

HEARD = AwaitAgent(Edge.END, quiet=0.2)
ACME = "acme"


class Told(ScriptedBehaviour):
    """A model that keeps what it was told to be."""

    def __init__(self, told: list[str]) -> None:
        super().__init__(GREETS)
        self._told = told

    def reply(self, request: ResponseRequest) -> Reply | None:
        self._told.append(request.session_instructions)
        return super().reply(request)


@dataclass(frozen=True, slots=True)
class Town:
    """A whole house with a second tenant in it."""

    house: House
    told: list[str]
    """The instructions that the model answered by, one for each answer."""
    default: Users
    acme: Users
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(100)))

    async def agent(self, user: Users, **fields: Any) -> str:
        said = await user.ask("POST", "/v1/agents", json={"name": "sales", **fields})
        assert said.status == 201, said.body
        return str(said.json["agent_id"])

    async def claim(self, number: str, agent_id: str, tenant: str = ACME) -> None:
        """Give a tenant a number, and the number an agent."""
        now = datetime.now(UTC)
        row = {
            "number_id": f"num_{next(self.numbers)}",
            "tenant_id": tenant,
            "number": number,
            "carrier": self.house.gateway.house.accounts.of_settings("default")[0].carrier,
            "integration_id": "default",
            "agent_id": agent_id,
            "created_at": now,
            "updated_at": now,
        }
        database = Database(database_of(self.house.gateway.settings))
        async with database.write() as connection:
            await connection.execute(insert(numbers).values(row))
        await database.close()

    async def answered_by(self, answers: int) -> list[str]:
        """What the model went by, once it has answered so often."""

        async def told() -> list[str]:
            return self.told

        found: list[str] = await self.house.until(told, lambda seen: len(seen) >= answers)
        return found

    async def call(self, user: Users, number: int = 1, status: str | None = None) -> dict[str, Any]:
        """The tenant's nth call, once there is one, with this status."""

        def enough(said: Said) -> bool:
            calls = said.json["data"]
            return len(calls) >= number and (status is None or calls[number - 1]["status"] == status)

        said = await self.house.until(lambda: user.ask("GET", "/v1/calls?order=asc"), enough)
        found: dict[str, Any] = said.json["data"][number - 1]
        return found


@asynccontextmanager
async def town(carrier: str, folder: Path, **options: Any) -> AsyncIterator[Town]:
    told: list[str] = []

    def behaviour() -> Behaviour:
        return Told(told)

    async with whole_api(carrier, folder, agent=behaviour, **options) as (house, users):
        key = await made(house.gateway.house.store, Scope.FULL, ACME)
        async with aiohttp.ClientSession() as session:
            yield Town(house, told, users, Users(session, users.port, key.secret))


@both
def test_a_stored_agent_answers_the_number_of_its_tenant(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with town(carrier, tmp_path) as here:
            agent_id = await here.agent(here.acme, instructions="You serve {{customer.number}} for Acme.")
            await here.claim(OURS, agent_id)
            leg = here.house.ring(HEARD, HangUp())
            call = await here.call(here.acme, status="completed")
            assert (call["agent_id"], call["agent_version"]) == (agent_id, 1)
            assert call["ended_reason"] == "caller-hangup"
            assert here.told == [f"You serve {leg.leg.from_number} for Acme."]
            theirs = await here.default.ask("GET", f"/v1/calls/{call['call_id']}")
            assert (theirs.status, theirs.code) == (404, "not_found")
            assert (await here.default.ask("GET", "/v1/calls")).json["data"] == []

    real(scenario())


@both
def test_a_stored_agent_is_dialled_with_by_its_tenant_alone(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with town(carrier, tmp_path, far_end=FarEnd(script=(HEARD, HangUp()))) as here:
            agent_id = await here.agent(
                here.acme, from_number=OURS, instructions="Sell {{product.name}}.", metadata={"team": "a"}
            )
            await here.claim(OURS, agent_id)
            dial = {"to": THEIRS, "agent_id": agent_id, "variables": {"product": {"name": "tea"}}}
            theirs = await here.default.ask("POST", "/v1/calls", json=dial)
            assert (theirs.status, theirs.code) == (422, "agent_not_found")
            lacking = await here.acme.ask("POST", "/v1/calls", json={**dial, "variables": {}})
            assert (lacking.status, lacking.code) == (422, "variables_missing")
            said = await here.acme.ask("POST", "/v1/calls", json=dial)
            assert said.status == 201, said.body
            assert (said.json["agent_id"], said.json["metadata"]) == (agent_id, {"team": "a"})
            call = await here.call(here.acme, status="completed")
            assert (call["call_id"], call["from_number"]) == (said.json["call_id"], OURS)
            assert here.told == ["Sell tea."]
            assert here.house.legs_to(THEIRS) == 1

    real(scenario())


@both
def test_a_live_call_keeps_its_version_and_its_agent(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with town(carrier, tmp_path) as here:
            agent_id = await here.agent(here.default, instructions="One.")
            await here.claim(OURS, agent_id, DEFAULT_TENANT)
            here.house.ring(HEARD, Wait(30))
            call_id = await here.house.the_call()
            await here.house.happened(call_id, "ai.speech.ended")
            path = f"/v1/agents/{agent_id}"
            changed = await here.default.ask("PATCH", path, json={"instructions": "Two."})
            assert changed.json["version"] == 2
            said = await here.default.ask(
                "POST",
                f"/v1/calls/{call_id}/inject",
                json={"role": "user", "text": "Go on.", "respond": True},
            )
            assert said.status == 200, said.body
            assert await here.answered_by(2) == ["One.", "One."]
            live = await here.default.ask("DELETE", path)
            assert (live.status, live.code) == (409, "agent_has_live_calls")
            assert (await here.default.ask("GET", f"/v1/calls/{call_id}")).json["agent_version"] == 1
            await here.house.ask(call_id, "end", after="now")
            assert (await here.house.ended(call_id)).agent_version == 1

            here.house.ring(HEARD, HangUp())
            second = await here.house.ended(await here.house.the_call(2))
            assert (second.agent_version, here.told[-1]) == (2, "Two.")
            assert (await here.default.ask("DELETE", path)).status == 204
            here.house.ring()
            third = await here.house.ended(await here.house.the_call(3))
            assert (third.status.value, third.agent_id) == ("rejected", None)

    real(scenario())

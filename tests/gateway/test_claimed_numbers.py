"""Whole calls of a tenant with a carrier account and a number of its own, on both carriers, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from control.call_record import CallRecord
from control.stores.call_filters import CallFilters
from control.stores.keys import Scope
from control.stores.keyset import Page
from gateway.agent.server import AgentServer
from telephony.caller import AwaitAgent, Caller, Edge, HangUp, Wait
from telephony.simulated_switch import Cause, FarEnd
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from telephony.twilio.rest_simulator import SimulatedTwilio
from tests.conftest import RunAsync
from tests.patience import PATIENCE
from tests.second_account import ALLOWED, NUMBERS, added, second_carrier
from tests.served_api import Users, made, whole_api
from tests.whole_house import GREETS, THEIRS, House

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])

TENANT = "acme"
FIRST, SECOND = NUMBERS
HEARD = AwaitAgent(Edge.END, quiet=0.2)


@dataclass
class Tenancy:
    """Two tenants: that of the settings, and one with a carrier of its own."""

    house: House
    default: Users
    acme: Users
    carrier: SimulatedTelnyx | SimulatedTwilio

    async def agent(self, **more: Any) -> str:
        body = {"name": "reception", "greeting": "Greet.", **more}
        said = await self.acme.ask("POST", "/v1/agents", json=body)
        assert said.status == 201, said
        return str(said.json["agent_id"])

    async def claimed(self, number: str = FIRST, **more: Any) -> dict[str, Any]:
        said = await self.acme.ask("POST", "/v1/phone-numbers/claim", json={"number": number, **more})
        assert said.status == 201, said
        return dict(said.json)

    async def calls(self, tenant_id: str = TENANT) -> list[CallRecord]:
        page = await self.house.gateway.house.store.calls(tenant_id, CallFilters(), Page(limit=100))
        return list(page.calls)

    async def call(self, after: str) -> CallRecord:
        """The tenant's one call, once this event has been told of it."""
        house = self.house.gateway.house
        async with asyncio.timeout(PATIENCE):
            while True:
                seen = house.news.count(TENANT)
                told = [stored.event for stored in await house.store.events(TENANT, limit=1_000)]
                for event in told:
                    if event.name == after:
                        record = await house.store.call(TENANT, event.call_id)
                        assert record is not None
                        return record
                await house.news.wait(TENANT, seen, timeout=0.5)

    async def over(self) -> CallRecord:
        """The tenant's one call, once it has ended."""
        return await self.call("call.ended")


@asynccontextmanager
async def tenancy(carrier: str, folder: Path, **options: Any) -> AsyncIterator[Tenancy]:
    async with (
        whole_api(carrier, folder, **ALLOWED, **options) as (house, users),
        second_carrier(carrier) as second,
    ):
        key = await made(house.gateway.house.store, Scope.FULL, TENANT)
        yield Tenancy(house, users, users.with_key(key.secret), second)


@both
def test_a_claimed_number_is_answered_by_the_agent_it_is_given(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with tenancy(carrier, tmp_path) as t:
            # Before it is claimed, the carrier has nowhere to send its calls.
            assert t.carrier.place_call(FIRST).leg.cause is Cause.NOT_FOUND
            integration_id = await added(t.acme, t.carrier)
            agent_id = await t.agent()
            held = await t.claimed()
            assert (held["carrier"], held["integration_id"]) == (carrier, integration_id)
            path = f"/v1/phone-numbers/{held['number_id']}"
            assert (await t.acme.ask("POST", f"{path}/assign", json={"agent_id": agent_id})).status == 200

            t.carrier.place_call(FIRST, caller=Caller((HEARD, HangUp())))
            record = await t.over()
            assert (record.tenant_id, record.agent_id) == (TENANT, agent_id)
            assert (record.status.value, record.integration_id) == ("completed", integration_id)
            assert [entry["content"] for entry in record.transcript] == ["Hello."]

            # Nothing of it is the other tenant's.
            assert await t.calls("default") == []
            for asked in (path, f"/v1/integrations/{integration_id}", f"/v1/calls/{record.call_id}"):
                assert (await t.default.ask("GET", asked)).status == 404
            assert (await t.default.ask("GET", "/v1/phone-numbers")).json["data"] == []

            # Released, it rings nowhere again.
            assert (await t.acme.ask("POST", f"{path}/release")).json == {"success": True}
            assert t.carrier.place_call(FIRST).leg.cause is Cause.NOT_FOUND

    real(scenario())


@both
def test_the_other_accounts_signature_opens_nothing(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with tenancy(carrier, tmp_path) as t:
            integration_id = await added(t.acme, t.carrier)
            await t.claimed(agent_id=await t.agent())
            # The carrier of the settings calls in the second account's name: rightly signed, by the wrong one.
            stranger = t.house.carrier
            urls = (await t.acme.ask("GET", f"/v1/integrations/{integration_id}")).json["webhook_urls"]
            match stranger:
                case SimulatedTelnyx():
                    stranger.numbers.webhook_url = urls["webhook"]
                case SimulatedTwilio():
                    stranger.voice_url, stranger.status_callback = urls["voice"], urls["status"]
            stranger.place_call(FIRST, caller=Caller((Wait(1),)))
            refused = await stranger.webhooks.wait_for(
                "call.initiated" if carrier == "telnyx" else "document"
            )
            assert refused.answer is not None
            assert refused.answer.status == 403
            assert await t.calls() == await t.calls("default") == []

    real(scenario())


@both
def test_a_number_that_nobody_was_given_is_turned_away_on_its_tenants_record(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with tenancy(carrier, tmp_path, inbound_default="default-agent") as t:
            await added(t.acme, t.carrier)
            await t.claimed()
            leg = t.carrier.place_call(FIRST, caller=Caller((Wait(30),)))
            record = await t.over()
            assert record.status.value == "rejected"
            assert leg.leg.answered_at is None
            assert await t.calls("default") == []

    real(scenario())


@both
def test_a_dial_goes_through_the_account_of_its_number(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with tenancy(carrier, tmp_path) as t:
            await added(t.acme, t.carrier)
            agent_id = await t.agent()
            t.carrier.far_ends.script(THEIRS, FarEnd(script=(HEARD, HangUp())))
            no_account = await t.default.ask(
                "POST", "/v1/calls", json={"to": THEIRS, "from": FIRST, "agent_id": agent_id}
            )
            assert no_account.code == "agent_not_found"
            await t.claimed()
            changed = await t.acme.ask("PATCH", f"/v1/agents/{agent_id}", json={"from_number": FIRST})
            assert changed.status == 200, changed
            said = await t.acme.ask("POST", "/v1/calls", json={"to": THEIRS, "agent_id": agent_id})
            assert said.status == 201, said
            assert (said.json["from_number"], said.json["carrier"]) == (FIRST, carrier)
            record = await t.over()
            assert (record.status.value, record.tenant_id) == ("completed", TENANT)
            assert t.house.legs_to(THEIRS) == 0  # nothing at the carrier of the settings

    real(scenario())


@both
def test_health_names_the_accounts_of_who_asks_alone(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with tenancy(carrier, tmp_path) as t:
            integration_id = await added(t.acme, t.carrier)
            theirs = (await t.acme.ask("GET", "/v1/health/detailed")).json["dependencies"]
            assert theirs[f"{carrier}/{integration_id}"]["ok"] is True
            assert f"{carrier}/default" not in theirs
            ours = (await t.default.ask("GET", "/v1/health/detailed")).json["dependencies"]
            assert f"{carrier}/default" in ours
            assert f"{carrier}/{integration_id}" not in ours
            carriers = (await t.acme.ask("GET", "/v1/carriers")).json["data"]
            assert [each["carrier"] for each in carriers if each["configured"]] == [carrier]

    real(scenario())


@both
def test_a_change_of_credentials_reaches_calls_in_progress(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with tenancy(carrier, tmp_path) as t:
            integration_id = await added(t.acme, t.carrier)
            await t.claimed(agent_id=await t.agent())
            t.carrier.place_call(FIRST, caller=Caller((HEARD, Wait(30))))
            call_id = (await t.call("call.started")).call_id
            name = {"telnyx": "api_key", "twilio": "auth_token"}[carrier]
            match t.carrier:
                case SimulatedTelnyx() as telnyx:
                    telnyx.api_key = "KEY_THIRD"
                    secret = telnyx.api_key
                case SimulatedTwilio() as twilio:
                    secret = twilio.auth_token  # signatures are the token's, too: the same one, given again
            change = {"credentials": {name: secret}}
            assert (
                await t.acme.ask("PATCH", f"/v1/integrations/{integration_id}", json=change)
            ).status == 200
            asked = {"after": "now"}
            assert (await t.acme.ask("POST", f"/v1/calls/{call_id}/end", json=asked)).status == 200
            record = await t.over()
            assert record.ended_reason is not None
            assert record.ended_reason.value == "api"

    real(scenario())


def test_an_agent_speaks_through_its_tenants_own_provider(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        # The provider of the settings is out of reach: who is heard is the tenant's own.
        settings = {"realtime_url": "ws://127.0.0.1:9/v1/realtime"}
        server = AgentServer(GREETS)
        port = await server.start()
        try:
            async with tenancy("telnyx", tmp_path, **settings) as t:
                own = {
                    "vendor": "realtime",
                    "name": "ours",
                    "settings": {"url": f"ws://127.0.0.1:{port}/v1/realtime", "model": "own-model"},
                }
                provider = (await t.acme.ask("POST", "/v1/integrations", json=own)).json["integration_id"]
                await added(t.acme, t.carrier)
                await t.claimed(agent_id=await t.agent(provider=provider))
                t.carrier.place_call(FIRST, caller=Caller((HEARD, HangUp())))
                record = await t.over()
                assert [entry["content"] for entry in record.transcript] == ["Hello."]
                # Another tenant's agent cannot use it.
                body = {"to": THEIRS, "from": "+13125550101", "agent": {"provider": provider}}
                said = await t.default.ask("POST", "/v1/calls", json=body)
                assert (said.status, said.code) == (422, "provider_not_found")
        finally:
            await server.close()

    real(scenario())


def test_an_agent_falls_back_on_its_tenants_own_account(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        # The provider of the settings is out of reach, and the first account too.
        settings = {"realtime_url": "ws://127.0.0.1:9/v1/realtime"}
        server = AgentServer(GREETS)
        port = await server.start()
        try:
            async with tenancy("telnyx", tmp_path, **settings) as t:
                accounts = []
                for where in (9, port):
                    own = {
                        "vendor": "realtime",
                        "name": f"at {where}",
                        "settings": {"url": f"ws://127.0.0.1:{where}/v1/realtime", "model": f"model-{where}"},
                    }
                    accounts.append((await t.acme.ask("POST", "/v1/integrations", json=own)).json)
                names = [each["integration_id"] for each in accounts]
                await added(t.acme, t.carrier)
                agent_id = await t.agent(fallback_providers=names)
                await t.claimed(agent_id=agent_id)
                t.carrier.place_call(FIRST, caller=Caller((HEARD, HangUp())))
                record = await t.over()
                assert [entry["content"] for entry in record.transcript] == ["Hello."]
                told = await t.house.gateway.house.store.events(TENANT, limit=1_000)
                moves = [
                    each.event.data["to_provider"] for each in told if each.event.name == "agent.failover"
                ]
                assert moves == names
                # What an agent needs is kept, until it needs it no more.
                path = f"/v1/integrations/{names[1]}"
                said = await t.acme.ask("DELETE", path)
                assert (said.status, said.code) == (409, "integration_in_use")
                assert (await t.acme.ask("GET", f"{path}/status")).json["agents"] == 1
                freed = await t.acme.ask("PATCH", f"/v1/agents/{agent_id}", json={"fallback_providers": []})
                assert freed.status == 200
                assert (await t.acme.ask("DELETE", path)).status == 204
                # The version that names it cannot be had back.
                restored = await t.acme.ask("POST", f"/v1/agents/{agent_id}/versions/1/restore")
                assert (restored.status, restored.code) == (422, "invalid_body")
                assert [each["pointer"] for each in restored.json["errors"]] == ["/fallback_providers/1"]
        finally:
            await server.close()

    real(scenario())

"""The operator's desk of a simulated carrier, asked over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientSession, web

from gateway.carrier_desk import CarrierDesk, CarrierLog
from gateway.links import connect
from gateway.loopback import plain_on_loopback
from gateway.server import serving
from telephony.caller import Wait
from telephony.party_lines import PartyLines
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from telephony.twilio.rest_simulator import SimulatedTwilio
from tests.conftest import RunAsync

pytestmark = pytest.mark.sockets

FIRST_WEBHOOK = {"telnyx": "call.initiated", "twilio": "document"}


@dataclass(frozen=True)
class Desk:
    """A running desk, and its carrier."""

    url: str
    carrier: SimulatedTelnyx | SimulatedTwilio
    session: ClientSession

    async def place(self) -> dict[str, Any]:
        async with self.session.post(f"{self.url}/calls", json={"to": "+13125550101"}) as answer:
            assert answer.status == 201
            return dict(await answer.json())

    async def get(self, path: str) -> tuple[int, bytes]:
        async with self.session.get(f"{self.url}{path}") as answer:
            return answer.status, await answer.read()


@asynccontextmanager
async def desk(name: str, document: str = "<Response><Pause length='60'/></Response>") -> AsyncIterator[Desk]:
    """A desk whose carrier asks a backend that always answers with `document`."""

    async def hear(_: web.Request) -> web.Response:
        return web.Response(text=document, content_type="text/xml")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hear)
    lines = PartyLines(plain_on_loopback(connect))
    async with serving(app, "127.0.0.1", 0) as backend, ClientSession() as session:
        url = f"http://127.0.0.1:{backend}"
        simulated = (
            SimulatedTelnyx(lines, url)
            if name == "telnyx"
            else SimulatedTwilio(lines, url, status_callback=url)
        )
        CarrierDesk(simulated, [Wait(60.0)])
        port = await simulated.start()
        try:
            yield Desk(f"http://127.0.0.1:{port}/simulator", simulated, session)
        finally:
            await simulated.stop()


@pytest.mark.parametrize("name", ["telnyx", "twilio"])
def test_somebody_rings_and_puts_the_phone_down(name: str, real: RunAsync) -> None:
    async def scenario() -> None:
        async with desk(name) as running:
            placed = await running.place()
            assert (placed["direction"], placed["to"]) == ("inbound", "+13125550101")
            await running.carrier.webhooks.wait_for(FIRST_WEBHOOK[name])
            async with running.session.post(f"{running.url}/calls/{placed['id']}/hang-up") as answer:
                assert (await answer.json())["ended_by"] == "party"
            assert b'"state": "ended"' in (await running.get("/calls"))[1]

    real(scenario())


def test_what_the_person_heard_can_be_had_once_the_call_is_over(real: RunAsync) -> None:
    async def scenario() -> bytes:
        async with desk("twilio", "<Response><Say>Hi.</Say><Hangup/></Response>") as running:
            heard = f"/calls/{(await running.place())['id']}/heard"
            assert (await running.get(heard))[0] == 409
            await running.carrier.webhooks.wait_for("completed")
            assert isinstance(running.carrier, SimulatedTwilio)
            (call,) = running.carrier.calls.values()
            await asyncio.gather(*call.tasks)
            return (await running.get(heard))[1]

    body = real(scenario())
    assert body.startswith(b"RIFF")
    assert len(set(body[44:])) > 2, "nothing but silence"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        "nonsense",
        '{"to": 1}',
        '{"to": "+1", "patience_s": -1}',
        '{"to": "+1", "patience_s": "x"}',
    ],
)
def test_a_request_that_makes_no_sense_is_told_what_to_send(body: str, real: RunAsync) -> None:
    async def scenario() -> None:
        async with (
            desk("telnyx") as running,
            running.session.post(f"{running.url}/calls", data=body) as answer,
        ):
            assert answer.status == 400
            error = (await answer.json())["error"]
            assert "send {" in error
            assert ("is a number of seconds" in error) == ("patience" in body)

    real(scenario())


def test_a_call_that_never_was_is_not_found(real: RunAsync) -> None:
    async def scenario() -> None:
        async with desk("telnyx") as running:
            assert (await running.get("/calls/none/heard"))[0] == 404
            async with running.session.post(f"{running.url}/calls/none/hang-up") as answer:
                assert answer.status == 404

    real(scenario())


def test_the_log_tells_each_webhook_once(real: RunAsync) -> None:
    async def scenario() -> None:
        async with desk("telnyx") as running:
            log = CarrierLog(running.carrier)
            await running.place()
            await running.carrier.webhooks.wait_for("call.initiated")
            assert log.news() == ["> call.initiated  200"]
            assert log.news() == []
            assert b'"status": 200' in (await running.get("/webhooks"))[1]

    real(scenario())

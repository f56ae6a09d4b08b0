"""A whole house over real sockets: a running gateway, a scripted agent, and a simulated carrier with its people.

The carrier is reached by its REST API, reaches the gateway by signed webhooks and media sockets, and nothing is told
behind their backs: tests place calls at the carrier, ask the gateway, and wait for what the gateway has kept.
"""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from control.call_record import CallRecord, EventRecord
from control.service import call_service, keeper, switchboard
from control.stores.call_filters import CallFilters
from control.stores.keyset import Page
from gateway import loop_lag
from gateway.agent.script import parse_script
from gateway.agent.scripted import Script
from gateway.agent.server import AgentServer, BehaviourFactory
from gateway.app import Gateway, running
from gateway.links import connect
from gateway.loopback import plain_on_loopback
from gateway.rest_house import FIRST_KEY_FILE
from gateway.settings import Settings
from telephony.caller import Caller, Step
from telephony.link import Connector
from telephony.party_lines import PartyLines
from telephony.simulated_switch import FarEnd
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from telephony.telnyx.simulated_leg import TelnyxLeg
from telephony.twilio.rest_simulator import SimulatedTwilio
from telephony.twilio.simulated_call import TwilioCall
from telephony.webhook_sender import Weather, fair
from tests.patience import PATIENCE

OURS, THEIRS, OTHER = "+13125550101", "+13125550177", "+13125550188"
TENANT = "default"

# A greeting that a person could not overhear, and nothing after it.
GREETS = parse_script(
    "greeting: {say: Hello., audio: {tone: {frequencies: [1900], ms: 300}}}\nafter: silent\n"
)

T = TypeVar("T")

# Below those that Linux gives to clients and to whoever binds port 0 (ip_local_port_range: 32768 and up).
_PORTS = iter(random.SystemRandom().sample(range(10_240, 32_768), 32_768 - 10_240))


@dataclass(frozen=True, slots=True)
class Said:
    """What the API answered."""

    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str | None:
        """Of a problem."""
        return self.json.get("code") if isinstance(self.json, dict) else None


class House:
    """Everybody, and what tests ask of them."""

    def __init__(
        self,
        gateway: Gateway,
        carrier: SimulatedTelnyx | SimulatedTwilio,
        agent: AgentServer,
        http: aiohttp.ClientSession,
    ) -> None:
        self.gateway = gateway
        self.carrier = carrier
        self.agent = agent
        self.http = http

    @property
    def telnyx(self) -> SimulatedTelnyx:
        assert isinstance(self.carrier, SimulatedTelnyx)
        return self.carrier

    @property
    def twilio(self) -> SimulatedTwilio:
        assert isinstance(self.carrier, SimulatedTwilio)
        return self.carrier

    # What people do

    def ring(self, *steps: Step, to: str = OURS, patience: float | None = None) -> TelnyxLeg | TwilioCall:
        """Somebody rings one of our numbers."""
        caller = Caller(steps) if steps else None
        return self.carrier.place_call(to, caller=caller, patience=patience)

    def put_down(self, leg: TelnyxLeg | TwilioCall) -> None:
        """The person on a leg hangs up."""
        match self.carrier, leg:
            case SimulatedTelnyx() as telnyx, TelnyxLeg():
                telnyx.hang_up(leg)
            case SimulatedTwilio() as twilio, TwilioCall():
                twilio.hang_up_by_person(leg)
            case _:
                raise AssertionError("another carrier's leg")

    def answers(self, number: str, *far_ends: FarEnd) -> None:
        """Who answers under a number, and how."""
        self.carrier.far_ends.script(number, *far_ends)

    def leg_to(self, number: str) -> TelnyxLeg | TwilioCall:
        """The latest leg that was dialled to a number."""
        match self.carrier:
            case SimulatedTelnyx() as telnyx:
                return telnyx.leg_to(number)
            case SimulatedTwilio() as twilio:
                return twilio.call_to(number)

    def legs_to(self, number: str) -> int:
        """How many legs were ever dialled to a number."""
        match self.carrier:
            case SimulatedTelnyx(legs=legs):
                found = {each.leg.leg_id for each in legs.values() if each.leg.to_number == number}
            case SimulatedTwilio(calls=calls):
                found = {each.leg.leg_id for each in calls.values() if each.leg.to_number == number}
        return len(found)

    # What users do

    async def api(self, method: str, path: str, body: Any = None, **headers: str) -> Said:
        """Ask the API something."""
        async with self.http.request(method, path, json=body, headers=headers) as answer:
            said = await answer.json(content_type=None) if answer.status != 204 else None
            return Said(answer.status, said, answer.headers)

    async def dial(self, to: str = THEIRS, **body: Any) -> Said:
        return await self.api("POST", "/v1/calls", {"to": to, "from": OURS, "agent_id": "default", **body})

    async def ask(self, call_id: str, what: str, **body: Any) -> Said:
        """Command a call: `end`, `transfer` and so on."""
        return await self.api("POST", f"/v1/calls/{call_id}/{what}", body)

    async def stop(self, call_id: str, what: str) -> Said:
        """Call off what was commanded."""
        return await self.api("DELETE", f"/v1/calls/{call_id}/{what}")

    # What is kept

    async def calls(self) -> list[CallRecord]:
        """Every call that the store knows, the oldest first."""
        page = await self.gateway.house.store.calls(TENANT, CallFilters(), Page(limit=100))
        return list(reversed(page.calls))

    async def call(self, call_id: str) -> CallRecord:
        record = await self.gateway.house.store.call(TENANT, call_id)
        assert record is not None, "no such call"
        return record

    async def events(self, call_id: str) -> list[EventRecord]:
        found = await self.gateway.house.store.events(TENANT, call_id, limit=10_000)
        return [stored.event for stored in found]

    async def published(self, call_id: str) -> list[str]:
        """What users are told of a call, in order."""
        return [event.name for event in await self.events(call_id) if event.sequence is not None]

    async def the_call(self, number: int = 1) -> str:
        """The id of the nth call, once there is one."""
        found: list[CallRecord] = await self.until(self.calls, lambda calls: len(calls) >= number)
        return found[number - 1].call_id

    async def happened(self, call_id: str, name: str, times: int = 1) -> EventRecord:
        """The nth event of this name, once it is there."""

        def named(events: Sequence[EventRecord]) -> list[EventRecord]:
            return [event for event in events if event.name == name]

        try:
            found = await self.until(lambda: self.events(call_id), lambda events: len(named(events)) >= times)
        except TimeoutError:
            told = [event.name for event in await self.events(call_id)]
            raise AssertionError(f"{name} has not happened; what has: {told}") from None
        return named(found)[times - 1]

    async def ended(self, call_id: str) -> CallRecord:
        """The record of a call, once it is over."""
        await self.happened(call_id, "call.ended")
        return await self.call(call_id)

    async def until(self, look: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
        """What `look` finds, once it is enough: looked for again whenever something was stored."""
        news = self.gateway.house.news
        async with asyncio.timeout(PATIENCE):
            while True:
                seen = news.count(TENANT)
                found = await look()
                if enough(found):
                    return found
                await news.wait(TENANT, seen, timeout=0.5)


# What turns callers away by the clock: a look-up, a new record, a save and the loop that are late.
_DEADLINES = (
    (switchboard, "PATIENCE"),
    (call_service, "STORE_PATIENCE"),
    (keeper, "STALLED"),
    (loop_lag, "LIMIT"),
)


@asynccontextmanager
async def whole_house(
    carrier: str,
    folder: Path,
    *,
    agent: Script | BehaviourFactory = GREETS,
    far_end: FarEnd = FarEnd(),  # noqa: B008  # a value
    weather: Weather = fair,
    carrier_options: dict[str, Any] | None = None,
    agent_up: bool = True,
    connector: Connector = connect,
    key: str | None = None,
    unhurried: bool = True,
    **settings: Any,
) -> AsyncIterator[House]:
    """Everybody is there in here; leaving drains the gateway, then stops the others.

    Args:
        agent_up: whether there is an agent to connect to.
        connector: by which the carrier opens media sockets.
        key: to ask the API with, where the database has one already.
        unhurried: whether a slow machine is no fault of the gateway's database and no overload; where such faults are
            what is tested, it is not.
        settings: of the gateway, beyond those it needs.
    """
    port = free_port()
    options = {"far_end": far_end, "weather": weather, **(carrier_options or {})}
    simulated = simulated_carrier(carrier, f"http://127.0.0.1:{port}", connector, options)
    await simulated.start()
    server = AgentServer(agent)
    agent_port = await server.start() if agent_up else free_port()
    given: dict[str, Any] = {
        "_env_file": None,
        "host": "127.0.0.1",
        "port": port,
        "public_url": f"http://127.0.0.1:{port}",
        "data_dir": folder / "data",
        "realtime_url": f"ws://127.0.0.1:{agent_port}/v1/realtime",
        "realtime_greeting": "Greet the caller.",
        "recording": False,
        "drain_s": 1.0,
        **account_of(simulated),
        **settings,
    }
    try:
        async with AsyncExitStack() as stack:
            if unhurried:
                rules = stack.enter_context(pytest.MonkeyPatch.context())
                for room, deadline in _DEADLINES:
                    rules.setattr(room, deadline, PATIENCE)
            gateway = await stack.enter_async_context(running(Settings(**given)))
            key = key or (folder / "data" / FIRST_KEY_FILE).read_text().strip()
            http = await stack.enter_async_context(
                aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"})
            )
            yield House(gateway, simulated, server, http)
    finally:
        await server.close()
        await simulated.stop()


def simulated_carrier(
    name: str, gateway: str, connector: Connector, options: dict[str, Any]
) -> SimulatedTelnyx | SimulatedTwilio:
    lines = PartyLines(plain_on_loopback(connector))
    webhooks = f"{gateway}/carriers/{name}/default"
    given = {"voice": lambda _: bytes(800), **options}
    if name == "telnyx":
        return SimulatedTelnyx(lines, f"{webhooks}/webhook", **given)
    return SimulatedTwilio(lines, f"{webhooks}/voice", **{"status_callback": f"{webhooks}/status", **given})


def account_of(carrier: SimulatedTelnyx | SimulatedTwilio) -> dict[str, str]:
    match carrier:
        case SimulatedTelnyx():
            return {
                "telnyx_api_key": carrier.api_key,
                "telnyx_public_key": carrier.public_key,
                "telnyx_connection_id": carrier.connection_id,
                "telnyx_base_url": carrier.base_url,
            }
        case SimulatedTwilio():
            return {
                "twilio_account_sid": carrier.account_sid,
                "twilio_auth_token": carrier.auth_token,
                "twilio_base_url": carrier.base_url,
            }


def free_port() -> int:
    """A port that nobody listens on: public URLs are told before the listener is there.

    Not one of those that the kernel gives away by itself, which another test's client may have before it is bound
    here; and in an order of this process's own, never the same twice.
    """
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("every port was given once")

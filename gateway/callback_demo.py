"""The demo's second call: the gateway dials, a number is gathered, one transfer fails and another succeeds.

Everything a user has takes part, over real sockets: the REST API and its events, a simulated carrier's REST API with
signed webhooks and media streams, a scripted agent. What the backend does next, it decides by the events it is told.
"""

import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from pydantic import SecretStr

from gateway.agent.script import load_script
from gateway.agent.server import AgentServer
from gateway.app import running
from gateway.demo_backend import Backend
from gateway.far_ends import FarEnds
from gateway.links import connect
from gateway.loopback import plain_on_loopback
from gateway.rest_house import FIRST_KEY_FILE
from gateway.settings import Settings
from telephony.party_lines import PartyLines
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from telephony.twilio.rest_simulator import SimulatedTwilio

OUR_NUMBER = "+13125550101"
CUSTOMER = "+13125550120"
BUSY_COLLEAGUE = "+13125550121"
FREE_COLLEAGUE = "+13125550122"

_PROMPT = "Please key in your account number, followed by the hash key."

Tell = Callable[[dict[str, Any]], None]
"""Told of each event of the call."""


@dataclass(slots=True)
class Callback:
    """The backend's part: what it does when it hears of what."""

    backend: Backend
    call_id: str
    account: str | None = None
    """What the customer keyed in."""
    failures: list[str] = field(default_factory=list)
    """Why transfers failed, in order."""
    transferred: bool = False
    _spoken: int = 0
    _apologised: bool = False

    async def hear(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "ai.speech.ended":
                self._spoken += 1
                await self._agent_has_spoken()
            case "call.gather.completed":
                self.account = event["data"].get("input")
                await self._ask("transfer", destination=BUSY_COLLEAGUE, ring_timeout_seconds=20)
            case "transfer.failed":
                self.failures.append(str(event["data"].get("cause")))
            case "transfer.completed":
                self.transferred = True
            case _:
                pass

    async def _agent_has_spoken(self) -> None:
        if self._spoken == 2:  # the greeting, and that it needs the number
            await self._ask("gather", prompt=_PROMPT, max_digits=8, mode="carrier")
        elif self.failures and not self._apologised:
            self._apologised = True
            await self._ask("say", text="Tell the caller that you connect them with another colleague now.")
            await self._ask("transfer", destination=FREE_COLLEAGUE, ring_timeout_seconds=20)

    async def _ask(self, command: str, **body: object) -> None:
        await self.backend.ask("POST", f"/v1/calls/{self.call_id}/{command}", body)


async def call_back(
    carrier: str, folder: Path, script: Path, people: FarEnds, tell: Tell
) -> tuple[Callback, dict[str, Any]]:
    """Run the call; return what the backend knows of it, and the call object.

    Raises:
        RequestRefused: the gateway did not do as it was asked.
    """
    async with _stage(carrier, folder, script, people) as backend:
        asked = {
            "to": CUSTOMER,
            "from": OUR_NUMBER,
            "carrier": carrier,
            "agent_id": "default",
            "machine_detection": "async",
            "metadata": {"parcel": "LS-4711"},
        }
        call_id = (await backend.ask("POST", "/v1/calls", asked))["call_id"]
        callback = Callback(backend, call_id)
        async for event in backend.events(call_id):
            tell(event)
            await callback.hear(event)
        return callback, await backend.ask("GET", f"/v1/calls/{call_id}")


@asynccontextmanager
async def _stage(carrier: str, folder: Path, script: Path, people: FarEnds) -> AsyncIterator[Backend]:
    """Agent, carrier, gateway and backend, in this process, on ports of their own."""
    shutil.rmtree(folder, ignore_errors=True)  # of the demo before: a new database makes a new key
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        agent = AgentServer(load_script(script))
        agent_port = await agent.start()
        stack.push_async_callback(agent.close)
        simulated = _carrier(carrier, url)
        for number, line in people.numbers.items():
            simulated.far_ends.script(number, *line)
        await simulated.start()
        stack.push_async_callback(simulated.stop)
        # By name, every one that matters: the demo is the same whatever this folder's settings are.
        settings = Settings.model_construct(
            host="127.0.0.1",
            port=port,
            public_url=url,
            data_dir=folder,
            recording=True,
            realtime_url=f"ws://127.0.0.1:{agent_port}/v1/realtime",
            realtime_greeting="Greet the customer.",
            realtime_transcription_model="gpt-transcribe",
            drain_s=5.0,
            **_account(simulated),
        )
        await stack.enter_async_context(running(settings))
        session = await stack.enter_async_context(ClientSession())
        yield Backend(session, url, (folder / FIRST_KEY_FILE).read_text(encoding="ascii").strip())


def _carrier(name: str, gateway: str) -> SimulatedTelnyx | SimulatedTwilio:
    webhooks = f"{gateway}/carriers/{name}/default"
    lines = PartyLines(plain_on_loopback(connect))
    if name == "telnyx":
        return SimulatedTelnyx(lines, f"{webhooks}/webhook")
    return SimulatedTwilio(lines, f"{webhooks}/voice", status_callback=f"{webhooks}/status")


def _account(simulated: SimulatedTelnyx | SimulatedTwilio) -> dict[str, Any]:
    """The gateway's account with it."""
    match simulated:
        case SimulatedTelnyx():
            return {
                "telnyx_api_key": SecretStr(simulated.api_key),
                "telnyx_public_key": simulated.public_key,
                "telnyx_connection_id": simulated.connection_id,
                "telnyx_base_url": simulated.base_url,
            }
        case SimulatedTwilio():
            return {
                "twilio_account_sid": simulated.account_sid,
                "twilio_auth_token": SecretStr(simulated.auth_token),
                "twilio_base_url": simulated.base_url,
            }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

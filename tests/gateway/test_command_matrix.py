"""Every live command in every state of a call, on both carriers: done, or refused as the document says it may be.

Never a 500, never an answer that is not documented, and never a call dropped by anything but `end`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from telephony.caller import AwaitAgent, Edge, Wait
from telephony.simulated_switch import FarEnd, Reaction
from tests.conftest import RunAsync
from tests.whole_house import House, Said, whole_house

pytestmark = pytest.mark.sockets

TALKS = FarEnd(script=(AwaitAgent(Edge.END, quiet=0.2), Wait(60)))
RINGS = FarEnd(reaction=Reaction.RINGS_OUT)
# Where transfers go: it answers in no state but the one that asks for it.
SILENT, TAKEN = "+13125550301", "+13125550302"

COMMANDS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "end": ("POST", "end", {"after": "now"}),
    "transfer": ("POST", "transfer", {"destination": SILENT, "after": "now"}),
    "cancel transfer": ("DELETE", "transfer", None),
    "gather by the carrier": ("POST", "gather", {"prompt": "PIN?", "mode": "carrier"}),
    "gather from the stream": ("POST", "gather", {"prompt": "PIN?", "mode": "stream"}),
    "stop the gather": ("DELETE", "gather", None),
    "dtmf": ("POST", "dtmf", {"digits": "1w2"}),
    "say": ("POST", "say", {"text": "One moment."}),
    "say verbatim": ("POST", "say", {"text": "One moment.", "verbatim": True}),
    "inject": ("POST", "inject", {"role": "system", "text": "Be brief."}),
    "stop playing": ("DELETE", "play", None),
    "hold": ("POST", "hold", {}),
    "resume": ("POST", "resume", None),
    "start recording": ("POST", "recording/start", None),
    "pause recording": ("POST", "recording/pause", None),
    "resume recording": ("POST", "recording/resume", None),
    "stop recording": ("POST", "recording/stop", None),
    "look at the transfer": ("GET", "transfer", None),
    "look at the gather": ("GET", "gather", None),
}


def number(index: int) -> str:
    return f"+1312555{1000 + index}"


async def ringing(house: House, index: int) -> str:
    house.answers(number(index), RINGS)
    return str((await house.dial(number(index))).json["call_id"])


async def talking(house: House, index: int) -> str:
    house.answers(number(index), TALKS)
    call_id = str((await house.dial(number(index))).json["call_id"])
    await house.happened(call_id, "call.started")
    return call_id


async def held(house: House, index: int) -> str:
    call_id = await talking(house, index)
    assert (await house.ask(call_id, "hold")).status == 200
    return call_id


async def gathering(house: House, index: int) -> str:
    call_id = await talking(house, index)
    assert (await house.ask(call_id, "gather", prompt="PIN?", mode="carrier")).status == 202
    return call_id


async def transferring(house: House, index: int) -> str:
    call_id = await talking(house, index)
    assert (await house.ask(call_id, "transfer", destination=SILENT, after="now")).status == 200
    return call_id


async def released(house: House, index: int) -> str:
    call_id = await talking(house, index)
    assert (await house.ask(call_id, "transfer", destination=TAKEN, after="now")).status == 200
    await house.happened(call_id, "transfer.completed")
    return call_id


async def over(house: House, index: int) -> str:
    call_id = await talking(house, index)
    house.put_down(house.leg_to(number(index)))
    await house.ended(call_id)
    return call_id


STATES: dict[str, Callable[[House, int], Awaitable[str]]] = {
    "ringing": ringing,
    "talking": talking,
    "on hold": held,
    "gathering": gathering,
    "transferring": transferring,
    "released": released,
    "over": over,
}


def documented(document: dict[str, Any], method: str, what: str) -> set[int]:
    """The statuses that the document has for an operation."""
    operation = document["paths"][f"/v1/calls/{{call_id}}/{what}"][method.lower()]
    return {int(status) for status in operation["responses"]}


async def try_it(house: House, state: str, command: str, index: int) -> str | None:
    """Ask it of a call of its own; return what was wrong with what came of it."""
    method, what, body = COMMANDS[command]
    call_id = await STATES[state](house, index)
    said: Said = await house.api(method, f"/v1/calls/{call_id}/{what}", body)
    allowed = documented((await house.api("GET", "/openapi.json")).json, method, what)
    if said.status == 500 or said.status not in allowed:
        return f"{command}: {said.status} {said.json}, documented are {sorted(allowed)}"
    if said.status >= 400 and not said.code:
        return f"{command}: {said.status} without a code"
    if command == "end" or state == "over":
        return None
    await house.api("GET", f"/v1/calls/{call_id}/status")
    await house.carrier.webhooks.drained()
    if not house.leg_to(number(index)).leg.alive or not (await house.call(call_id)).live:
        return f"{command}: the call is gone, {await house.published(call_id)}"
    return None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("carrier", ["telnyx", "twilio"])
def test_every_command_is_done_or_refused_as_documented(
    real: RunAsync, tmp_path: Path, carrier: str, state: str
) -> None:
    async def scenario() -> None:
        async with whole_house(carrier, tmp_path, drain_s=0.0) as house:
            house.answers(SILENT, RINGS)
            house.answers(TAKEN, FarEnd(script=(Wait(60),)))
            tried = [try_it(house, state, command, index) for index, command in enumerate(COMMANDS)]
            assert [wrong for wrong in await asyncio.gather(*tried) if wrong] == []

    real(scenario())

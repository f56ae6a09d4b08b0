"""Whole calls and what is left of them: recordings filed, told of, linked, downloaded and erased."""

import asyncio
import io
import wave
from pathlib import Path

import pytest

from tests.conftest import RunAsync
from tests.whole_house import House, whole_house
from telephony.caller import AwaitAgent, Edge, HangUp, Wait

pytestmark = pytest.mark.sockets

HEARD = AwaitAgent(Edge.END, quiet=0.2)


async def recorded(house: House) -> str:
    """A call that is over and whose recording can be had."""
    house.ring(HEARD, HangUp())
    call_id = await house.the_call()
    await house.happened(call_id, "call.recording_ready")
    return call_id


def test_a_call_leaves_a_recording(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_house("telnyx", tmp_path, recording=True) as house:
            call_id = await recorded(house)
            print(await house.published(call_id))
            print((await house.api("GET", f"/v1/recordings/{call_id}")).json)
            said = await house.api("GET", f"/v1/calls/{call_id}/recording")
            print(said.json)
            async with house.http.get(said.json["url"]) as a:
                print(a.status, a.headers, len(await a.read()))
            print((await house.api("GET", f"/v1/calls/{call_id}/recording/check")).json)
            print((await house.api("GET", f"/v1/calls/{call_id}")).json)
            print((await house.api("DELETE", f"/v1/recordings/{call_id}")))
            print((await house.api("GET", f"/v1/calls/{call_id}/recording/check")).json)
            print((await house.api("GET", f"/v1/calls/{call_id}/recording")).json)
            await asyncio.sleep(0.5)
            print(list((tmp_path / "data").rglob("*")))

    real(scenario())

"""Whole calls whose model cannot be had, or is lost: somebody else goes on, and the caller stays."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.agent.script import parse_script
from gateway.agent.server import AgentServer
from gateway.replay import replay
from telephony.caller import AwaitAgent, Edge, Wait
from telephony.simulated_switch import FarEnd
from tests.conftest import RunAsync
from tests.whole_house import House, whole_house

pytestmark = pytest.mark.sockets

PATIENT = FarEnd(script=(AwaitAgent(Edge.END, quiet=0.2), Wait(30)))
SPARE = parse_script(
    "greeting: {say: The spare., audio: {tone: {frequencies: [1300], ms: 300}}}\nafter: silent\n"
)


@asynccontextmanager
async def with_spare(folder: Path, **options: Any) -> AsyncIterator[House]:
    """Everybody, and another provider beside."""
    spare = AgentServer(SPARE)
    port = await spare.start()
    provider = {"url": f"ws://127.0.0.1:{port}/v1/realtime", "model": "spare-1"}
    try:
        async with whole_house(
            "telnyx", folder, far_end=PATIENT, providers={"spare": provider}, trace=True, **options
        ) as house:
            yield house
    finally:
        await spare.close()


async def dialled(house: House, **agent: Any) -> str:
    said = await house.dial(agent_id=None, agent={"fallback_providers": ["spare"], **agent})
    assert said.status == 201, said
    return str(said.json["call_id"])


def test_a_model_that_cannot_be_had_is_replaced_before_the_greeting(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with with_spare(tmp_path, agent_up=False) as house:
            call_id = await dialled(house)
            over = await house.happened(call_id, "agent.failover")
            assert (over.data["from_provider"], over.data["to_provider"]) == ("default", "spare")
            assert over.sequence is not None
            await house.happened(call_id, "ai.speech.ended")
            await house.ask(call_id, "end")
            record = await house.ended(call_id)
            assert [said["content"] for said in record.transcript] == ["The spare."]
            assert record.status.value == "completed"
        assert replay(tmp_path / "data" / "traces" / f"{call_id}.jsonl").same

    real(scenario())


def test_a_model_that_is_lost_in_mid_call_is_replaced_and_the_caller_stays(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with with_spare(tmp_path) as house:
            call_id = await dialled(house)
            await house.happened(call_id, "ai.speech.ended")
            await house.agent.close()
            await house.happened(call_id, "agent.failover")
            await house.happened(call_id, "call.resumed")
            said = await house.ask(call_id, "say", text="Are you still there?")
            assert said.status == 200
            await house.happened(call_id, "transcript.updated", 2)
            await house.ask(call_id, "end")
            record = await house.ended(call_id)
            assert record.status.value == "completed"
            assert record.ws_unavailable
        assert replay(tmp_path / "data" / "traces" / f"{call_id}.jsonl").same

    real(scenario())


def test_when_nobody_can_be_had_the_call_ends_with_an_error(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        nowhere = {"url": "ws://127.0.0.1:9/", "model": "none"}
        async with whole_house("telnyx", tmp_path, agent_up=False, providers={"spare": nowhere}) as house:
            call_id = await dialled(house)
            record = await house.ended(call_id)
            assert record.ended_reason is not None
            assert record.ended_reason.value == "error"
            assert [
                e.data["to_provider"] for e in await house.events(call_id) if e.name == "agent.failover"
            ] == ["spare"]

    real(scenario())

"""A gateway's process is killed in the middle of a call; what the call was, its record says once it is back."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.agent.script import parse_script
from media.dtmf import tone
from telephony.caller import AwaitAgent, Edge, HangUp, Speak, Wait
from telephony.simulated_switch import FarEnd
from tests.conftest import RunAsync
from tests.gateway.test_extractor import FITS, SCHEMA, says
from tests.killable_house import KillableHouse, killable_house
from tests.receiver import Receiver
from tests.whole_house import OTHER

pytestmark = pytest.mark.sockets

SPEECH = tone("5", 0.8)
ORDERS = parse_script(
    "greeting: {say: Hello., audio: {tone: {frequencies: [1900], ms: 300}}}\n"
    "turns:\n"
    "  - {caller: 'A seven.', say: 'A seven it is.', audio: {tone: {frequencies: [1900], ms: 400}}}\n"
    "  - {caller: 'Two of them.', say: 'Two it is.', audio: {tone: {frequencies: [1900], ms: 400}}}\n"
    "  - {caller: 'Look it up.', call: {name: look_up, arguments: {order: A7}}}\n"
    "after: silent\n"
)
WORDS = ["Hello.", "A seven.", "A seven it is.", "Two of them.", "Two it is."]
_TALK = (AwaitAgent(Edge.END), Speak(SPEECH), AwaitAgent(Edge.END), Speak(SPEECH), AwaitAgent(Edge.END))
STAYS = FarEnd(script=(*_TALK, Wait(60), HangUp()))
LEAVES = FarEnd(script=(*_TALK, Wait(0.5), HangUp()))
ASKS_ON = FarEnd(script=(*_TALK, Speak(SPEECH), Wait(60), HangUp()))


@asynccontextmanager
async def a_house(
    folder: Path, database: str | None, far_end: FarEnd
) -> AsyncIterator[tuple[KillableHouse, Receiver, Receiver]]:
    """A house whose agent orders; beside it who reads its calls afterwards, and whom its tool asks."""
    async with Receiver.running() as reader, Receiver.running() as shop:
        reader.answer = lambda _: says(FITS)
        tool = {"name": "look_up", "url": f"{shop.url}/orders", "timeout_seconds": 30}
        async with killable_house(
            folder,
            agent=ORDERS,
            far_end=far_end,
            config={"extraction_schema": SCHEMA, "tools": [tool]},
            database=database,
            realtime_transcription_model="gpt-realtime-whisper",
            extraction_url=f"{reader.url}/v1",
            extraction_api_key="k",
        ) as house:
            await house.gateway.start()
            yield house, reader, shop


async def said(house: KillableHouse, call_id: str, *words: str) -> None:
    """Wait until all of this was said, and heard."""

    async def all_said() -> bool:
        house.backend.told(call_id)
        events = list(house.backend.events[call_id].values())
        texts = [event["data"]["text"] for event in events if event["event"] == "transcript.updated"]
        ended = [event for event in events if event["event"] == "ai.speech.ended"]
        return set(words) <= set(texts) and len(ended) >= sum(word.endswith("is.") for word in words) + 1

    await house.until(all_said)


async def over(house: KillableHouse, call_id: str) -> dict[str, Any]:
    """Wait until the call is over, told of, filed and read; return it."""
    await house.backend.was_told(call_id, "call.ended")

    async def read() -> bool:
        call = await house.api("GET", f"/v1/calls/{call_id}")
        return call["extracted_data"] is not None and call["has_recording"]

    await house.until(read)

    async def everything_is_told() -> bool:
        house.backend.told(call_id)
        return set(house.backend.events[call_id]) == set(await house.published(call_id))

    await house.until(everything_is_told)
    found: dict[str, Any] = await house.api("GET", f"/v1/calls/{call_id}")
    return found


def is_whole(call: dict[str, Any]) -> None:
    """Whether the record says of the call's turns what it would, had its process lived."""
    assert [each["content"] for each in call["transcript"]] == WORDS
    assert [each["role"] for each in call["transcript"]] == ["assistant", *["user", "assistant"] * 2]
    times = [each["timestamp"] for each in call["transcript"]]
    assert times == sorted(times)
    turns = call["latency_data"]["turns"]
    assert [turn["turn"] for turn in turns] == [1, 2, 3]
    assert all(turn["llm_ttfb_ms"] <= turn["first_audio_sent_ms"] for turn in turns)
    assert call["turn_count"] == 5
    assert Decimal(call["llm_cost"]) > 0
    assert call["extracted_data"] == json.loads(FITS)


async def is_counted_once(house: KillableHouse, call_id: str) -> None:
    names = house.backend.told(call_id)
    assert [names.count(name) for name in ("call.ended", "call.recording_ready")] == [1, 1]
    assert (await house.api("GET", "/v1/stats/overview"))["total_calls"] == 1
    (file,) = house.recordings()
    assert file.suffix == ".wav"


def test_what_was_said_measured_and_used_outlives_the_process(
    real: RunAsync, tmp_path: Path, database: str | None
) -> None:
    async def scenario() -> None:
        async with a_house(tmp_path, database, STAYS) as (house, _, _):
            call_id = await house.dial()
            await said(house, call_id, *WORDS)
            await house.gateway.kill()
            await house.gateway.start()
            call = await over(house, call_id)
            is_whole(call)
            assert (call["status"], call["ended_reason"]) == ("completed", "error")
            assert call["disposition"] == "answered"
            await is_counted_once(house, call_id)
            latency = await house.api("GET", "/v1/stats/latency")
            assert latency["llm_ttfb_ms"]["count"] == 3
            await house.gateway.stop()

    real(scenario())


def test_a_call_is_read_although_its_process_died_while_it_was(
    real: RunAsync, tmp_path: Path, database: str | None
) -> None:
    async def scenario() -> None:
        async with a_house(tmp_path, database, LEAVES) as (house, reader, _):
            reader.hold()
            call_id = await house.dial()
            await reader.heard(1)
            await house.gateway.kill()
            reader.let_go()
            await house.gateway.start()
            call = await over(house, call_id)
            is_whole(call)
            assert call["ended_reason"] == "caller-hangup"
            await is_counted_once(house, call_id)
            await house.gateway.stop()

    real(scenario())


def test_a_tool_that_ran_when_its_process_died_is_in_the_log_as_interrupted(
    real: RunAsync, tmp_path: Path, database: str | None
) -> None:
    async def scenario() -> None:
        async with a_house(tmp_path, database, ASKS_ON) as (house, _, shop):
            shop.hold()
            call_id = await house.dial()
            await shop.heard(1)
            await house.backend.was_told(call_id, "tool.invoked")
            await house.gateway.kill()
            shop.let_go()
            await house.gateway.start()
            call = await over(house, call_id)
            assert call["tools_called"] == ["look_up"]
            assert call["tool_call_count"] == 1
            (log,) = (await house.api("GET", f"/v1/tool-logs?call_id={call_id}"))["data"]
            assert (log["outcome"], log["error"]) == ("abandoned", "interrupted by a restart")
            assert log["arguments"] == {"order": "A7"}
            assert log["tool_id"] is not None
            timeline = await house.api("GET", f"/v1/calls/{call_id}/events?limit=100")
            names = [event["event"] for event in timeline["data"]]
            assert names.count("tool.abandoned") == 1
            assert names.index("tool.abandoned") < names.index("call.ended")
            await house.gateway.stop()

    real(scenario())


RINGS = FarEnd(after=60.0)


@pytest.mark.parametrize(
    ("command", "body", "end", "facts"),
    [
        ("gather", {"prompt": "Your number, please."}, "call.gather.completed", {"status": "hangup"}),
        ("transfer", {"destination": OTHER}, "transfer.failed", {"cause": "error"}),
    ],
)
def test_what_was_asked_of_a_call_is_told_of_its_end_and_nobody_is_left_on_the_line(
    real: RunAsync, tmp_path: Path, command: str, body: dict[str, str], end: str, facts: dict[str, str]
) -> None:
    async def scenario() -> None:
        async with a_house(tmp_path, None, STAYS) as (house, _, _):
            house.carrier.far_ends.script(OTHER, RINGS)
            call_id = await house.dial()
            await said(house, call_id, *WORDS)
            await house.api("POST", f"/v1/calls/{call_id}/{command}", body)
            if command == "transfer":
                await house.until(partial(is_rung, house, OTHER))
            await house.gateway.kill()
            await house.gateway.start()
            is_whole(await over(house, call_id))
            told = [event for event in house.backend.events[call_id].values() if event["event"] == end]
            assert [{name: event["data"][name] for name in facts} for event in told] == [facts]
            await house.until(partial(nobody_is_up, house))
            await house.gateway.stop()

    real(scenario())


async def is_rung(house: KillableHouse, number: str) -> bool:
    return any(leg.leg.to_number == number for leg in house.carrier.legs.values())


async def nobody_is_up(house: KillableHouse) -> bool:
    return not any(leg.leg.alive for leg in house.carrier.legs.values())

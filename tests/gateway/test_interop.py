"""A carrier that is none of ours: the `websockets` library speaks Twilio's and Telnyx's frames to a running gateway."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
import websockets
from pydantic import SecretStr

from gateway.agent.script import parse_script
from gateway.agent.server import AgentServer
from gateway.app import Gateway, running
from gateway.settings import Settings
from media import g711
from media.audio import Encoding
from media.dtmf import tone
from tests.conftest import RunAsync

pytestmark = pytest.mark.sockets

AGENT = parse_script("greeting: {say: Hello., audio: {tone: {frequencies: [440], ms: 600}}}")
FRAME = base64.b64encode(g711.encode(tone("5", 0.02), Encoding.PCMU)).decode()


def settings(folder: Path, agent_port: int, **given: Any) -> Settings:
    return Settings.model_construct(
        port=0,
        media_auth=SecretStr("none"),
        data_dir=folder,
        realtime_url=f"ws://127.0.0.1:{agent_port}/v1/realtime",
        realtime_greeting="Greet the caller.",
        **given,
    )


def twilio() -> list[dict[str, Any]]:
    return [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": "MZ1",
            "start": {
                "accountSid": "AC1",
                "streamSid": "MZ1",
                "callSid": "CA1",
                "tracks": ["inbound"],
                "customParameters": {},
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            },
        },
    ]


def telnyx() -> list[dict[str, Any]]:
    return [
        {"event": "connected", "version": "1.0.0"},
        {
            "event": "start",
            "sequence_number": "1",
            "stream_id": "s1",
            "start": {
                "user_id": "u1",
                "call_control_id": "v3:1",
                "call_session_id": "c1",
                "from": "+13125550100",
                "to": "+13125550101",
                "client_state": None,
                "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
            },
        },
    ]


def media(carrier: str, number: int) -> dict[str, Any]:
    """One inbound frame, spelt as the library's user would: a fresh `json.dumps`, spaces and all."""
    payload = {"track": "inbound", "chunk": str(number), "timestamp": str(number * 20), "payload": FRAME}
    if carrier == "twilio":
        return {"event": "media", "sequenceNumber": str(number + 1), "streamSid": "MZ1", "media": payload}
    return {"event": "media", "sequence_number": str(number + 1), "stream_id": "s1", "media": payload}


async def speak_carrier(gateway: Gateway, carrier: str) -> dict[str, Any]:
    """Say hello, take in the greeting, echo its marks as played, hang up; return what was taken in."""
    opening = twilio() if carrier == "twilio" else telnyx()
    taken: dict[str, Any] = {"audio": 0, "marks": [], "ids": set()}
    async with websockets.connect(gateway.media_url(carrier, "interop")) as socket:
        for frame in opening:
            await socket.send(json.dumps(frame))
        for number in range(1, 26):
            await socket.send(json.dumps(media(carrier, number)))
        while taken["audio"] < 600 * 8 or len(taken["marks"]) < 4:
            event = json.loads(await socket.recv())
            taken["ids"].add(event.get("streamSid"))
            if event["event"] == "media":
                taken["audio"] += len(base64.b64decode(event["media"]["payload"], validate=True))
            else:
                assert event["event"] == "mark"
                taken["marks"].append(event["mark"]["name"])
                identity = {"streamSid": "MZ1"} if carrier == "twilio" else {"stream_id": "s1"}
                await socket.send(json.dumps({"event": "mark", **identity, "mark": event["mark"]}))
        stop = {"streamSid": "MZ1"} if carrier == "twilio" else {"stream_id": "s1"}
        await socket.send(json.dumps({"event": "stop", **stop, "stop": {}}))
        await socket.wait_closed()
    return taken


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_the_websockets_library_is_a_carrier(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        agent = AgentServer(AGENT)
        port = await agent.start()
        try:
            async with running(settings(tmp_path, port)) as gateway:
                taken = await speak_carrier(gateway, carrier)
                await gateway.calls.idle()
                record = gateway.calls.last_record
        finally:
            await agent.close()
        assert record is not None
        assert record["ended_reason"] == "caller-hangup"
        assert record["has_recording"]
        frames = record["media"]
        assert isinstance(frames, dict)
        assert frames["frames_received"] == 25
        assert len(set(taken["marks"])) == len(taken["marks"])
        assert taken["ids"] == ({"MZ1"} if carrier == "twilio" else {None})

    real(scenario())


def test_a_socket_without_authority_is_refused_before_the_upgrade(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        shared = settings(tmp_path, 1, drain_s=0.0)
        closed = shared.model_copy(update={"media_auth": SecretStr("tokens")})
        async with running(closed) as gateway:
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(gateway.media_url("twilio", "guess"))
            assert refused.value.response.status_code == 404

    real(scenario())


def test_a_token_of_a_call_that_is_not_there_opens_no_socket(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        given = settings(tmp_path, 1, drain_s=0.0).model_copy(update={"media_auth": SecretStr("tokens")})
        async with running(given) as gateway:
            token = gateway.tokens.mint("call_x", 1, asyncio.get_running_loop().time())
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(gateway.media_url("twilio", token))
            assert refused.value.response.status_code == 404

    real(scenario())

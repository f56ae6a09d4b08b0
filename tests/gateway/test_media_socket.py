"""The media socket before its call is known: it waits for `start`, and no longer than it may."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from gateway.media_socket import MediaSocket
from telephony.events import Started
from telephony.link import Link, LinkListener
from tests.conftest import RunAsync
from tests.memory_link import Ear, MemoryLink, memory_pair

START = json.dumps(
    {"event": "start", "streamSid": "MZ1", "start": {"streamSid": "MZ1", "callSid": "CA1"}}
).encode()


@dataclass
class Desk:
    """Stands in for the calls: notes who was claimed and who was given up."""

    claimed: list[tuple[str, list[bytes]]] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    ear: Ear = field(default_factory=Ear)

    def claim(self, started: Started, link: Link, backlog: list[bytes]) -> LinkListener:
        self.claimed.append((started.carrier_call_id, list(backlog)))
        return self.ear


def opened(carrier: str = "twilio") -> tuple[Desk, MemoryLink, Ear]:
    desk, peer = Desk(), Ear()
    client, server = memory_pair(peer)
    socket = MediaSocket(carrier, server, claim=desk.claim, abandoned=desk.abandoned.append, timeout=5.0)
    server.listener = socket
    return desk, client, peer


def test_the_call_is_handed_all_that_was_said_and_hears_the_rest(virtual: RunAsync) -> None:
    async def scenario() -> None:
        desk, client, _ = opened()
        for message in (b'{"event":"connected"}', START, b'{"event":"mark"}'):
            client.send(message)
        await asyncio.sleep(10.0)
        assert desk.claimed == [("CA1", [b'{"event":"connected"}', START])]
        assert desk.ear.messages == [b'{"event":"mark"}']
        client.close()
        await desk.ear.end()
        assert desk.abandoned == []

    virtual(scenario())


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        pytest.param([], 1008, id="says nothing"),
        pytest.param([b'{"event":"weather"}'] * 70, 1002, id="says much and never start"),
        pytest.param([b'{"event":"' + b"x" * 60_000 + b'"}'] * 5, 1002, id="says it at length"),
        pytest.param([b"{"] * 60, 1002, id="is broken"),
    ],
)
def test_a_peer_that_is_no_carrier_is_given_up_once(
    virtual: RunAsync, messages: list[bytes], code: int
) -> None:
    async def scenario() -> None:
        desk, client, peer = opened()
        for message in messages:
            client.send(message)
        assert (await peer.end())[0] == code
        await asyncio.sleep(10.0)
        assert len(desk.abandoned) == 1
        assert desk.claimed == []

    virtual(scenario())


def test_audio_we_cannot_decode_is_refused_at_once(virtual: RunAsync) -> None:
    async def scenario() -> None:
        desk, client, peer = opened("telnyx")
        media_format = {"encoding": "G729", "sample_rate": 8000, "channels": 1}
        start = {"call_control_id": "call", "media_format": media_format}
        client.send(json.dumps({"event": "start", "stream_id": "s", "start": start}).encode())
        assert (await peer.end())[0] == 1003
        assert asyncio.get_running_loop().time() < 1.0
        assert len(desk.abandoned) == 1

    virtual(scenario())


def test_a_socket_that_closes_first_is_given_up(virtual: RunAsync) -> None:
    async def scenario() -> None:
        desk, client, _ = opened()
        client.close(1001)
        await asyncio.sleep(10.0)
        assert desk.abandoned == ["closed before start (1001)"]

    virtual(scenario())

"""Gateways of a few lines that speak the carriers' JSON, and simulated calls to them over links in memory."""

import json
import math
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from media.audio import PCMU_8K, AudioFormat, Encoding
from media.g711 import encode
from telephony.caller import Caller, Step
from telephony.impairments import Impairments
from telephony.link import Connector, LinkListener
from telephony.outcome import CallOutcome
from telephony.simulation import SimulatedCall
from tests.conftest import RunAsync
from tests.memory_link import Dialled, MemoryLink, MemoryNetwork

URL = "wss://gateway/media/token"


def tone(seconds: float, hertz: float = 440) -> bytes:
    return array(
        "h",
        [int(8_000 * math.sin(2 * math.pi * hertz * n / 8_000)) for n in range(round(8_000 * seconds))],
    ).tobytes()


AGENT = encode(tone(2.0), Encoding.PCMU)
HELLO = tone(0.2, 300)


class Gateway:
    """The far end of the sockets: keeps every message, and answers as the test says."""

    def __init__(self, react: Callable[["Socket", dict[str, Any]], None] | None = None) -> None:
        self.sockets: list[Socket] = []
        self.react = react or (lambda socket, message: None)

    def accept(self, link: MemoryLink, dialled: Dialled) -> LinkListener:
        self.sockets.append(Socket(self, link, dialled))
        return self.sockets[-1]


class Socket:
    def __init__(self, gateway: Gateway, link: MemoryLink, dialled: Dialled) -> None:
        self.gateway, self.link, self.dialled = gateway, link, dialled
        self.messages: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.lost: tuple[int | None, str] | None = None

    def message_received(self, message: bytes) -> None:
        self.messages.append(json.loads(message))
        self.times.append(self.link._loop.time())
        self.gateway.react(self, self.messages[-1])

    def pressure(self, paused: bool) -> None:
        pass

    def link_lost(self, code: int | None, reason: str) -> None:
        self.lost = code, reason

    def say(self, event: str, **body: object) -> None:
        """Send a message of the gateway, with Twilio's address where the stream has one."""
        address = {"streamSid": self.stream_id} if "streamSid" in self.of("start")[0] else {}
        self.link.send(json.dumps({"event": event, **address, **body}).encode())

    def play(self, audio: bytes) -> None:
        self.say("media", media={"payload": b64encode(audio).decode()})

    def mark(self, name: str) -> None:
        self.say("mark", mark={"name": name})

    @property
    def stream_id(self) -> str:
        start = self.of("start")[0]
        return str(start.get("streamSid") or start["stream_id"])

    def of(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["event"] == event]

    def when(self, event: str) -> list[float]:
        return [
            at for at, message in zip(self.times, self.messages, strict=True) if message["event"] == event
        ]

    def chunks(self) -> list[int]:
        return [int(message["media"]["chunk"]) for message in self.of("media")]

    def heard(self) -> bytes:
        return b"".join(b64decode(message["media"]["payload"]) for message in self.of("media"))


def on_start(act: Callable[[Socket], None]) -> Callable[[Socket, dict[str, Any]], None]:
    return lambda socket, message: act(socket) if message["event"] == "start" else None


def echo(socket: Socket, message: dict[str, Any]) -> None:
    if message["event"] == "media":
        socket.say("media", media={"payload": message["media"]["payload"]})


def greet(socket: Socket) -> None:
    socket.play(AGENT)
    socket.mark("end")


def place(
    run: RunAsync,
    gateway: Gateway,
    script: Sequence[Step],
    *,
    carrier: str = "twilio",
    network_delay: float = 0.0,
    impairments: Impairments | None = None,
    inbound: AudioFormat = PCMU_8K,
    **options: Any,  # whatever SimulatedCall takes
) -> CallOutcome:
    async def call() -> CallOutcome:
        network = MemoryNetwork(delay=network_delay)
        network.serve("wss://gateway", gateway.accept)
        connector: Connector = network
        return await SimulatedCall(
            carrier,
            connector,
            URL,
            Caller(script, inbound),
            impairments=impairments,
            ids=Random(1),
            **options,
        ).run()

    return run(call())

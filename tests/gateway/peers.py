"""Peers for link tests: our listener behind aiohttp, and sockets that break the rules by hand."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from gateway.stall import WriteBounds
from gateway.upgrade import accept
from telephony.link import Link, LinkListener
from tests.memory_link import Ear

KEY = base64.b64encode(bytes(16)).decode()

OBJECTS = ("{}", '{"event":"media"}', '{"name":"Zoë"}', '{"a":"' + "x" * 1000 + '"}')
"""Messages as every wire of ours has them: objects, in plain ASCII mostly."""


@dataclass
class Accepted:
    """The server's side of one accepted link."""

    link: Link
    ear: Ear


@asynccontextmanager
async def our_server(
    *, bounds: WriteBounds | None = None, hear: Callable[[Link], LinkListener] | None = None
) -> AsyncIterator[tuple[str, asyncio.Queue[Accepted]]]:
    """Serve `accept` under /ws and a plain page under /page; the base URL, and what was accepted."""
    accepted: asyncio.Queue[Accepted] = asyncio.Queue()

    def listen(link: Link) -> LinkListener:
        if hear is not None:
            return hear(link)
        ear = Ear()
        accepted.put_nowait(Accepted(link, ear))
        return ear

    async def upgrade(request: web.Request) -> web.StreamResponse:
        return await accept(request, listen, bounds=bounds)

    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="page")

    app = web.Application()
    app.router.add_get("/ws", upgrade)
    app.router.add_get("/page", page)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}", accepted
    finally:
        await runner.cleanup()


class RawClient:
    """A websocket client that says exactly the bytes it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def open(
        cls, base: str, *, early: bytes = b"", receive_buffer: int | None = None
    ) -> AsyncIterator["RawClient"]:
        """Connected and upgraded; aborted in the end."""
        host, _, port = base.removeprefix("ws://").partition(":")
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
        try:
            writer.write(handshake("/ws", host) + early)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            yield cls(reader, writer)
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    def say(self, frame: bytes) -> None:
        self.writer.write(frame)

    async def frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload; of any length the tests need."""
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        return first & 0x0F, await self.reader.readexactly(length)

    async def close_code(self) -> int:
        opcode, payload = await self.frame()
        assert opcode == 8
        return int.from_bytes(payload[:2], "big")

    def stop_reading(self) -> None:
        cast(asyncio.Transport, self.writer.transport).pause_reading()

    def read_on(self) -> None:
        cast(asyncio.Transport, self.writer.transport).resume_reading()

    def gone(self) -> None:
        self.writer.transport.abort()


def handshake(path: str, host: str, *extra: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        *extra,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(opcode: int, payload: bytes, *, fin: bool = True, bits: int = 0, masked: bool = True) -> bytes:
    """One client's frame, masked with zeros."""
    first = (0x80 if fin else 0) | bits | opcode
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes([first, mask | len(payload)])
    elif len(payload) < 65536:
        head = bytes([first, mask | 126]) + len(payload).to_bytes(2, "big")
    else:
        head = bytes([first, mask | 127]) + len(payload).to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload

"""A web server of somebody else: keeps what it is sent, answers as it is told, on a loopback port of its own."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    """On the loop's clock."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answerer = Callable[[Received], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """Answers 204 unless told otherwise; every connection serves one request, so none is left open behind a test."""

    port: int = 0
    scheme: str = "http"
    received: list[Received] = field(default_factory=list)
    answer: Answerer = lambda _: web.Response(status=204)
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @classmethod
    @asynccontextmanager
    async def running(cls, *, tls: ssl.SSLContext | None = None) -> AsyncIterator["Receiver"]:
        receiver = cls(scheme="https" if tls else "http")
        receiver.let_go()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", receiver._receive)
        async with serving(app, tls=tls) as url:
            receiver.port = int(url.rpartition(":")[2])
            yield receiver

    def answer_with(self, *statuses: int) -> None:
        """Answer so, one after the other; the last for ever."""
        left = list(statuses)
        self.answer = lambda _: web.Response(status=left.pop(0) if len(left) > 1 else left[0])

    def hold(self) -> None:
        """Keep whoever asks waiting, until `let_go`."""
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    async def heard(self, times: int = 1) -> None:
        """Wait until so many requests have come."""
        async with self._heard:
            await self._heard.wait_for(lambda: len(self.received) >= times)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            request.method,
            request.path_qs,
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
            asyncio.get_running_loop().time(),
        )
        async with self._heard:
            self.received.append(received)
            self._heard.notify_all()
        await self._open.wait()
        answer = self.answer(received)
        return answer if isinstance(answer, web.StreamResponse) else await answer


@asynccontextmanager
async def serving(app: web.Application, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve an application on a loopback port, one request a connection; its URL."""

    async def close(_: web.Request, response: web.StreamResponse) -> None:
        response.force_close()

    app.on_response_prepare.append(close)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """A server that answers any connection with these bytes and hangs up; its URL."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

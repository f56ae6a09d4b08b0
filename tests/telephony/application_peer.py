"""The application that a simulated carrier calls: takes webhooks and media sockets, over real loopback sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


@dataclass
class Received:
    """One webhook as it came."""

    path: str
    url: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass
class Socket:
    """One media socket."""

    path: str
    headers: Mapping[str, str]
    connection: ServerConnection
    messages: list[dict[str, Any]] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def events(self) -> list[str]:
        """What was said on it, without the audio."""
        return [message["event"] for message in self.messages if message["event"] != "media"]

    async def send(self, **message: object) -> None:
        await self.connection.send(json.dumps(message))

    async def close(self) -> None:
        await self.connection.close()


Answerer = Callable[[Received], web.Response]


class Application:
    """Answers every webhook with 200 unless told otherwise, and every media socket."""

    def __init__(self) -> None:
        self.webhooks: list[Received] = []
        self.sockets: list[Socket] = []
        self.answers: dict[str, Answerer] = {}
        """By path."""
        self.url = ""
        self.media = ""
        self._news = asyncio.Condition()

    async def hears(self, matches: Callable[["Application"], Any]) -> Any:
        """Wait until `matches` finds something, and return it."""
        async with self._news:
            return await self._news.wait_for(lambda: matches(self))

    async def socket(self, number: int = 1) -> Socket:
        """The nth media socket, once it has started."""
        await self.hears(
            lambda app: len(app.sockets) >= number and "start" in app.sockets[number - 1].events()
        )
        return self.sockets[number - 1]

    async def _webhook(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            path=request.path,
            url=f"{self.url}{request.path_qs}",
            body=await request.read(),
            headers={name.lower(): value for name, value in request.headers.items()},
        )
        answer = self.answers.get(request.path, _accepted)
        response = answer(received)
        if request.method != "POST":
            return response
        async with self._news:
            self.webhooks.append(received)
            self._news.notify_all()
        return response

    async def _stream(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        socket = Socket(request.path, headers, connection)
        self.sockets.append(socket)
        try:
            async for message in connection:
                socket.messages.append(json.loads(message))
                async with self._news:
                    self._news.notify_all()
        except ConnectionClosed:
            pass
        socket.closed.set()

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["Application"]:
        application = cls()
        server = web.Application()
        server.router.add_route("*", "/{path:.*}", application._webhook)
        runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        application.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with serve(application._stream, "127.0.0.1", 0, close_timeout=0.1) as media:
                application.media = f"ws://127.0.0.1:{media.sockets[0].getsockname()[1]}"
                yield application
        finally:
            await runner.cleanup()


def _accepted(_: Received) -> web.Response:
    return web.Response(text="")

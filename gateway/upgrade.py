"""The hand-over of an upgraded request from aiohttp to picows.

aiohttp routes and authenticates; picows then costs half as much per message (benchmarks/README.md). The socket
changes hands between two turns of the loop: picows's protocol is put on the transport, is fed the handshake
once more (it answers the 101 itself) and whatever the client sent too early. aiohttp's request stays open
until the socket is gone, and is then told of the loss, as if it had been its own.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable

from aiohttp import web

from gateway.links import LinkProtocol, PicowsLink
from gateway.stall import WriteBounds
from telephony.link import Link, LinkListener


class NotAnUpgrade(Exception):
    """The request is not a websocket handshake (RFC 6455 section 4.2.1)."""


class _HandedOver(LinkProtocol):
    """Tells aiohttp's protocol when the socket it gave away is gone."""

    def __init__(self, link: PicowsLink, http: asyncio.Protocol) -> None:
        super().__init__(link, client=False)
        self._http = http

    def feed(self, data: bytes) -> None:
        while data:
            room = self.get_buffer(len(data))
            count = min(len(room), len(data))
            room[:count] = data[:count]
            room.release()
            self.buffer_updated(count)
            data = data[count:]

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._http.connection_lost(error)


async def accept(
    request: web.Request, listen: Callable[[Link], LinkListener], *, bounds: WriteBounds | None = None
) -> web.StreamResponse:
    """Upgrade `request`, run its link, and return when the socket is gone; the response is never sent.

    `listen` is asked for the link's listener before the upgrade is answered: what it raises is still an HTTP
    answer, and what it sends follows the 101.

    Raises:
        NotAnUpgrade: nothing was written, answer as HTTP does.
    """
    check_upgrade(request)
    transport, http = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError("the client is gone")
    link = PicowsLink(bounds)
    link.listen(listen(link))
    protocol = _HandedOver(link, http)
    early = http._message_tail  # sent before our 101, by an impatient client
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    protocol.feed(_handshake(request) + early)
    if not transport.is_reading():
        transport.resume_reading()
    try:
        await link.ended
    finally:
        transport.abort()  # of a cancelled request; else it is gone already
    return web.Response()


def check_upgrade(request: web.Request) -> None:
    """Refuse what picows would have to refuse after the hand-over."""
    headers = request.headers
    connection = {token.strip().lower() for token in headers.get("Connection", "").split(",")}
    if request.method != "GET" or "upgrade" not in connection or request.body_exists:
        raise NotAnUpgrade("a GET with Connection: Upgrade is wanted here")
    if headers.get("Upgrade", "").lower() != "websocket" or headers.get("Sec-WebSocket-Version") != "13":
        raise NotAnUpgrade("Upgrade: websocket, version 13, is wanted here")
    try:
        key = base64.b64decode(headers.get("Sec-WebSocket-Key", ""), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 16:
        raise NotAnUpgrade("Sec-WebSocket-Key is not 16 bytes in base64")


def _handshake(request: web.Request) -> bytes:
    """The handshake in the words picows wants: it takes no `Connection: keep-alive, Upgrade`."""
    return (
        f"GET {request.rel_url.raw_path_qs} HTTP/1.1\r\n"
        f"Host: {request.host}\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {request.headers['Sec-WebSocket-Key']}\r\n\r\n"
    ).encode()

"""Websocket links on picows: a client's `connect`, and the link object that both ends of the gateway use.

Theory of operation. `LinkProtocol` is picows's protocol with the hooks picows keeps to itself (end of file, water
marks, the real end of the connection); `PicowsLink` is its listener and our `Link`. Everything runs on the loop,
nothing blocks, and every way to the end is bounded:

    peer closes           link_lost(code, reason) at once; we answer, and abort if TCP has not ended in 0.5 s
    we close              link_lost(code, reason) on the answer; abort after 0.5 s without one
    end of file, reset    link_lost(None, ...) at once
    peer does not read    `gateway.stall`: link_lost(None, "stalled"), aborted
    peer is silent        nothing heard for a whole ping period after a ping: link_lost(None, "ping timeout")
    broken framing        closed with 1002, 1007 or 1009 (RFC 6455 section 7.4.1), then link_lost(None, ...)

`link_lost` never comes from within a call of ours into the link, and never waits for the closing of the socket
(a half-closed peer would hold the call's end back: lessons, row 7).
"""

import asyncio
import re
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

import aiofastnet
from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
)

# picows builds its servers and clients from this class and leaves it out of its stub.
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from gateway.inlet import Inlet
from gateway.outlet import Outlet
from gateway.stall import StallWatch, WriteBounds
from gateway.write_batch import write_batch
from telephony.link import Link, LinkListener, LinkRefused

# Seconds for resolving, connecting, TLS and the upgrade together.
CONNECT_TIMEOUT = 10.0

# A peer that has not answered a close by then is not waited for (lessons, row 7: +10 s on 19 % of calls).
CLOSING_TIMEOUT = 0.5

# Seconds between pings, and as long for any sign of life after one; what `websockets` and OpenAI's client use.
PING_PERIOD = 20.0

# Bytes of one message, fragments put together. A model's longest event is a few hundred kB.
MAX_MESSAGE = 1024 * 1024

# A peer that sends its messages a few bytes at a time costs more than it says.
MAX_FRAGMENTS = 1024

# The kernel hides a peer that stops reading behind its own send buffer: by default up to 4 MB, minutes of a call
# (pipecat#5796). It doubles this figure for its book-keeping; still 10 s of a call's audio.
SEND_BUFFER = 64 * 1024

# Grows by doubling when a message needs it; a media message is 300 bytes.
READ_BUFFER = 8 * 1024

# RFC 6455 section 7.1.5: the peer's close frame had no code.
NO_CODE = 1005

_TEXT = WSMsgType.TEXT


class PicowsLink(WSListener):
    """One websocket, either side.

    Driven by picows (frames, connection) and by its owner (`Link`). Decides nothing about calls. What every message
    passes, `on_ws_frame` and `send`, are methods of its inlet and its outlet (docs/adr/0012).
    """

    __slots__ = (
        "_batch",
        "_closing",
        "_deadline",
        "_early",
        "_fragmented_size",
        "_fragments",
        "_held",
        "_inlet",
        "_listener",
        "_loop",
        "_lost",
        "_outlet",
        "_ping_sent",
        "_pulse",
        "_reason",
        "_transport",
        "_watch",
        "bounds",
        "ended",
        "on_ws_frame",
        "rtt",
        "send",
        "upgraded",
    )

    _listener: LinkListener

    def __init__(self, bounds: WriteBounds | None = None) -> None:
        self.bounds = bounds or WriteBounds()
        self._loop = asyncio.get_running_loop()
        self._batch = write_batch()
        self._watch = StallWatch(self.bounds, self._stalled)
        self._inlet = Inlet(deliver=_ignore, rare=self._rare_frame)
        self.on_ws_frame = self._inlet.take  # type: ignore[method-assign]  # see the class
        self._outlet = Outlet(self._batch, unsent=self._send_later, grown=self._grown)
        self.send = self._outlet.send
        """Queue one text message (UTF-8)."""
        self._transport: asyncio.Transport | None = None
        self._early: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = []
        self._held: list[bytes] | None = None
        self._fragments: list[bytes] = []
        self._fragmented_size = 0
        self._closing = False
        self._lost: tuple[int | None, str] | None = None
        self._reason = "connection lost"
        self._deadline: asyncio.TimerHandle | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self._ping_sent: float | None = None
        self.rtt: float | None = None
        """Seconds a ping took to come back, last time; None before the first."""
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the socket itself is gone, which may be after `link_lost`."""
        self.upgraded = False
        """Whether there ever was a websocket."""

    def listen(self, listener: LinkListener) -> None:
        """From now on `listener` hears what arrives."""
        self._listener = listener
        if self._held is None:
            self._inlet.deliver = listener.message_received

    def hold(self) -> None:
        """Keep what comes until `begin`."""
        self._held = []
        self._inlet.deliver = self._held.append

    def begin(self) -> None:
        """Deliver what was held, now that the owner has its link."""
        held, loss, self._held = self._held or [], self._lost, None
        if not self._closing:
            self._inlet.deliver = self._listener.message_received
        try:
            for message in held:
                if self._closing and loss is None:
                    break  # the owner closed on an earlier one
                self._listener.message_received(message)
        except BaseException:
            self.fail(1011, "listener failed")
            raise
        if loss is not None:
            self._listener.link_lost(*loss)

    # The sending half, as `telephony.link.Link` has it.

    def pause_reading(self) -> None:
        """Leave what arrives in the kernel, so that the peer feels a reader that stalls."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self._outlet.wire is None:
            self._later(self.close, code, reason)
        elif not self._closing:
            self._send_close(code, reason)
            self._end_by(self._close_unanswered)

    def abort(self) -> None:
        if self._early is not None:
            self._later(self.abort)
        elif self._lost is None:
            self._break("aborted")

    @property
    def buffered(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def paused(self) -> bool:
        return self._watch.paused

    # What picows says.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.upgraded = True
        self._outlet.wire = transport
        self._transport = transport.underlying_transport
        self._pulse = self._loop.call_later(PING_PERIOD, self._ping)
        early, self._early = self._early or [], None
        for call, arguments in early:
            call(*arguments)

    def _rare_frame(self, frame: WSFrame) -> None:
        match kind := frame.msg_type:
            case WSMsgType.CLOSE:
                self._peer_closed(frame.get_payload_as_bytes())
            case WSMsgType.PONG:
                if self._ping_sent is not None:
                    self.rtt, self._ping_sent = self._loop.time() - self._ping_sent, None
            case WSMsgType.PING:
                pass  # picows has answered it
            case WSMsgType.TEXT | WSMsgType.BINARY | WSMsgType.CONTINUATION:
                if frame.rsv1 or frame.rsv2 or frame.rsv3:
                    self.fail(1002, "reserved bits without an extension")
                elif frame.fin and self._inlet.fragmented is None and kind is not WSMsgType.CONTINUATION:
                    self._whole(frame.get_payload_as_bytes(), kind)
                else:
                    self._fragment(frame, kind)

    def _whole(self, message: bytes, kind: WSMsgType) -> None:
        if kind is _TEXT and not _is_utf8(message):
            self.fail(1007, "text is not UTF-8")
        else:
            self._inlet.deliver(message)

    def _fragment(self, frame: WSFrame, kind: WSMsgType) -> None:
        """RFC 6455 section 5.4: a first frame, continuations, one of them final; control frames between."""
        if (kind is WSMsgType.CONTINUATION) is (self._inlet.fragmented is None):
            self.fail(1002, "a continuation of nothing, or a message within a message")
            return
        if self._inlet.fragmented is None:
            self._inlet.fragmented = kind
        self._fragments.append(frame.get_payload_as_bytes())
        self._fragmented_size += frame.payload_size
        if self._fragmented_size > MAX_MESSAGE or len(self._fragments) > MAX_FRAGMENTS:
            self.fail(1009, "message too big")
        elif frame.fin:
            message, kind = b"".join(self._fragments), self._inlet.fragmented
            self._fragments, self._inlet.fragmented, self._fragmented_size = [], None, 0
            self._whole(message, kind)

    def _peer_closed(self, payload: bytes) -> None:
        # picows has checked the code and that the reason is UTF-8.
        code = int.from_bytes(payload[:2], "big") if payload else NO_CODE
        if not self._closing:
            self._send_close(1000 if code == NO_CODE else code, "")
        self._end_by(self._drop)
        self._lose(code, payload[2:].decode())
        if self._transport is not None:  # last: TLS finds the end of file from within
            self._transport.close()

    # What `LinkProtocol` says.

    def pause_writing(self) -> None:
        self._outlet.paused = True
        self._watch.pause()
        if self._lost is None:
            self._listener.pressure(True)

    def resume_writing(self) -> None:
        self._outlet.paused = False
        self._watch.resume()
        if self._lost is None:
            self._listener.pressure(False)

    def end_of_file(self) -> None:
        """The peer will send no more, and has not said so in its own language; the transport closes itself."""
        self._end_by(self._drop)
        self._lose(None, "connection closed without a close frame")

    def disconnected(self, error: Exception | None) -> None:
        """The socket is gone."""
        for timer in (self._deadline, self._pulse):
            if timer is not None:
                timer.cancel()
        self._lose(None, self._reason if error is None else f"{self._reason}: {error}")
        self._transport = None
        if not self.ended.done():
            self.ended.set_result(None)

    # Ends.

    def _later(self, call: Callable[..., None], *arguments: object) -> None:
        """Before the upgrade is answered a call waits for it; after the end it does nothing."""
        if self._early is not None:
            self._early.append((call, arguments))

    def _send_later(self, message: bytes) -> None:
        self._later(self.send, message)

    def _grown(self) -> None:
        self._watch.grown(self.buffered)

    def _send_close(self, code: int, reason: str) -> None:
        self._closing = True
        self._inlet.deliver = _ignore
        self._batch.flush()  # what was sent before goes before
        wire = self._outlet.wire
        if wire is None:
            return
        if code == NO_CODE:
            # RFC 6455 section 7.1.5: 1005 is how a close without a code is told; it never travels itself.
            wire.send(WSMsgType.CLOSE, b"")
        else:
            # RFC 6455 section 5.5: a control frame's payload is 125 bytes at most, two of them the code.
            wire.send_close(WSCloseCode(code), reason.encode()[:123].decode(errors="ignore").encode())

    def fail(self, code: int, reason: str) -> None:
        """RFC 6455 section 7.1.7, Fail the WebSocket Connection."""
        if self._closing:
            return
        self._reason = reason
        self._send_close(code, reason)
        self._end_by(self._drop)
        self._lose(None, reason)
        if self._transport is not None:
            self._transport.close()

    def _stalled(self) -> None:
        self._break("stalled")

    def _close_unanswered(self) -> None:
        self._break("close not answered")

    def _ping(self) -> None:
        wire, transport = self._outlet.wire, self._transport
        if wire is None or transport is None:
            return
        if transport.is_closing():
            # It has ended, and waits for bytes to be taken that nobody takes.
            self._break("connection lost")
            return
        if self._ping_sent is not None and not self._inlet.heard:
            self._break("ping timeout")
            return
        self._inlet.heard = False
        self._ping_sent = self._loop.time()
        self._pulse = self._loop.call_later(PING_PERIOD, self._ping)
        wire.send_ping()

    def _break(self, reason: str) -> None:
        """Drop the connection; `disconnected` follows from the loop and tells the listener why."""
        self._reason = reason
        self._mute()
        self._drop()

    def _mute(self) -> None:
        self._closing = True
        self._inlet.deliver = _ignore
        self._outlet.wire = self._early = None

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end_by(self, last_resort: Callable[[], None]) -> None:
        if self._deadline is None:
            self._deadline = self._loop.call_later(CLOSING_TIMEOUT, last_resort)

    def _lose(self, code: int | None, reason: str) -> None:
        """Tell the listener, once."""
        if self._lost is not None:
            return
        self._lost = code, reason
        self._mute()
        self._watch.stop()
        if self._pulse is not None:
            self._pulse.cancel()
        if self._held is None:
            self._listener.link_lost(code, reason)


class _Faults:
    """What picows takes for its logger: it tells nobody else that it gives a connection up.

    By itself it would go on delivering for a moment, and then wait without a limit for its close to be taken.
    """

    def __init__(self, link: PicowsLink) -> None:
        self._link = link

    def isEnabledFor(self, level: int) -> bool:
        return False

    def debug(self, message: str, *arguments: object) -> None:
        """Sends after the end; they are allowed."""

    def info(self, message: str, *arguments: object) -> None:
        """The life of every socket; the call's own timeline says it better."""

    def error(self, message: str, fault: tuple[int, str]) -> None:
        """A fault of the peer's; `link_lost` says it."""
        self._link.fail(*fault)

    def warning(self, message: str, *arguments: object) -> None:
        """The listener raised: a fault of ours, as loud as any on the loop."""
        fault = {"message": "a link's listener failed", "exception": sys.exc_info()[1]}
        asyncio.get_running_loop().call_exception_handler(fault)
        self._link.fail(1011, "listener failed")

    exception = warning  # the same, of a server's link


class LinkProtocol(WSProtocol):  # type: ignore[misc]  # untyped in picows's stub, see the import
    """picows's protocol, telling its link what picows keeps to itself."""

    def __init__(
        self,
        link: PicowsLink,
        *,
        client: bool,
        host: str = "",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            host,
            path,
            client,
            (lambda _request, _response: link) if client else (lambda _request: link),
            _Faults(link),
            True,  # an exception out of a listener ends its link, never the others
            None,  # `connect` has the deadline; a server's handshake is fed whole
            False,  # the link pings by itself: no task per socket
            PING_PERIOD,
            PING_PERIOD,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # pings are answered
            MAX_MESSAGE,
            headers,
            READ_BUFFER,
        )
        self.link = link

    def connection_made(self, transport: asyncio.Transport) -> None:
        bounds = self.link.bounds
        transport.set_write_buffer_limits(high=bounds.high_water, low=bounds.low_water)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        self.link.pause_writing()

    def resume_writing(self) -> None:
        self.link.resume_writing()

    def eof_received(self) -> bool:
        self.link.end_of_file()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._retrieve_fault()
        self.link.disconnected(error)

    def _retrieve_fault(self) -> None:
        """A client's fault waits in a future for somebody to ask; `_Faults` has told it already."""
        with suppress(Exception):  # the fault, whatever it was; StopIteration without one
            self.transport.wait_disconnected().send(None)  # the future is done: this never suspends


async def connect(
    url: str,
    listener: LinkListener,
    *,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = CONNECT_TIMEOUT,
    bounds: WriteBounds | None = None,
) -> Link:
    """Connect and upgrade; a `telephony.link.Connector`. No message comes before the caller has the link.

    Redirects are refused as any other status: the headers carry a key that was meant for one host.

    Raises:
        LinkRefused: the peer answered the upgrade with another status than 101.
        OSError: no connection; TimeoutError: none in time.
        ValueError: not a websocket URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"not a websocket URL: {parts.scheme}://{parts.hostname}")
    secure = parts.scheme == "wss"
    link = PicowsLink(bounds)
    link.listen(listener)
    link.hold()
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{parts.query}" if parts.query else "")

    def protocol() -> LinkProtocol:
        return LinkProtocol(
            link, client=True, host=parts.netloc.rpartition("@")[2], path=path, headers=headers
        )

    async with asyncio.timeout(timeout):
        transport, upgrade = await aiofastnet.create_connection(
            asyncio.get_running_loop(),
            protocol,
            parts.hostname,
            parts.port or (443 if secure else 80),
            ssl=(tls or _default_tls()) if secure else None,
        )
        try:
            await upgrade.wait_until_handshake_complete()
        except WSHandshakeError as error:
            transport.abort()
            raise _refusal(error) from error
        except BaseException:
            transport.abort()
            raise
    if not link.upgraded:
        raise ConnectionResetError("connection closed before the upgrade was answered")
    asyncio.get_running_loop().call_soon(link.begin)
    return link


def _refusal(error: WSHandshakeError) -> Exception:
    """picows knows the registered statuses only; a CDN answers 520 and the like."""
    status = re.match(rb"HTTP/1\.[01] (\d{3})", error.raw_header or b"")
    if status is None or int(status[1]) == 101:
        return ConnectionError(f"not a websocket server: {error}")
    return LinkRefused(int(status[1]), (error.raw_body or b"")[:500].decode(errors="replace"))


@cache
def _default_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ignore(message: bytes) -> None:
    """Takes what arrives after the end."""

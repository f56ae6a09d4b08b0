"""Links in memory: the same messages as over a socket, on loop time, with a network that can be made bad.

`memory_pair` joins two listeners; `MemoryNetwork` is a `Connector` under whose URLs acceptors are served, so a
gateway, a carrier and an agent meet with no socket between them. What a real link does is done here: messages
arrive one delay later and in order, never from within `send`; a close is answered; a peer that stops reading
builds pressure and is given up by the same rule (`gateway.stall`); everyone hears `link_lost` exactly once.

Faults are methods of the end that suffers them: `not_reading`, `losing_messages`, `drop`, `vanish`, and `delay`
may be changed at any time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway.stall import StallWatch, WriteBounds
from telephony.link import Link, LinkListener, LinkRefused

# As the gateway's own links: a peer that has not answered a close by then is not waited for (lessons, row 7).
CLOSING_TIMEOUT = 0.5


@dataclass(frozen=True, slots=True)
class _Close:
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Cut:
    reason: str


_Item = bytes | _Close | _Cut


class MemoryLink:
    """One end of a link; made by `memory_pair` and `MemoryNetwork`."""

    def __init__(self, *, delay: float = 0.0, bounds: WriteBounds | None = None) -> None:
        self.delay = delay
        self.connected = True
        self._bounds = bounds or WriteBounds()
        self._loop = asyncio.get_running_loop()
        self._watch = StallWatch(self._bounds, self._stalled)
        self._listener: LinkListener | None = None
        self._peer: MemoryLink | None = None
        self._arriving: deque[tuple[float, _Item]] = deque()
        self._unread: deque[_Item] = deque()
        self._arrival: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._reading = True
        self._losing = False
        self._gone = False

    @property
    def listener(self) -> LinkListener | None:
        return self._listener

    @listener.setter
    def listener(self, listener: LinkListener) -> None:
        """What arrived before somebody listened is delivered now, from the loop."""
        self._listener = listener
        self._expect()

    # The sending half, as `telephony.link.Link` has it.

    def listen(self, listener: LinkListener) -> None:
        self.listener = listener

    def send(self, message: bytes) -> None:
        if self._open():
            self._travel(message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self._open():
            self._travel(_Close(code, reason))
            self._closing = self._loop.call_later(CLOSING_TIMEOUT, self._close_unanswered)

    def abort(self) -> None:
        self._break("aborted")

    @property
    def buffered(self) -> int:
        unread = self._peer._unread if self._peer is not None else ()
        return sum(len(item) for item in unread if isinstance(item, bytes))

    @property
    def paused(self) -> bool:
        return self._watch.paused

    # The faults.

    @contextmanager
    def not_reading(self) -> Iterator[None]:
        """This end stops taking what arrives; the other end's buffer grows."""
        self._reading = False
        try:
            yield
        finally:
            self._reading = True
            self._take_unread()

    @contextmanager
    def losing_messages(self) -> Iterator[None]:
        """What this end sends never arrives (a proxy that swallows messages; TCP itself loses none)."""
        self._losing = True
        try:
            yield
        finally:
            self._losing = False

    def drop(self, reason: str = "connection lost") -> None:
        """The connection breaks; both ends are told, the other one a delay later."""
        self._break(reason, reason)

    def vanish(self) -> None:
        """The cable is pulled: nothing arrives any more in either direction, and nobody is told."""
        for end in (self, self._peer):
            if end is not None:
                end._gone = True

    # How messages get from one end to the other.

    def _open(self) -> bool:
        return self.connected and self._closing is None

    def _travel(self, item: _Item) -> None:
        peer = self._peer
        if peer is None or not peer.connected or self._gone:
            return
        if self._losing and isinstance(item, bytes):
            return
        arrival = self._loop.time() + self.delay
        if peer._arriving:
            arrival = max(arrival, peer._arriving[-1][0])  # a shorter delay never overtakes
        peer._arriving.append((arrival, item))
        peer._expect()

    def _expect(self) -> None:
        if self._arrival is None and self._arriving and self._listener is not None:
            self._arrival = self._loop.call_at(self._arriving[0][0], self._arrived)

    def _arrived(self) -> None:
        self._arrival = None
        # The loop may run a timer early by its clock's resolution.
        now = self._loop.time() + 1e-9
        while self._arriving and self._arriving[0][0] <= now:
            if self._gone:
                self._arriving.clear()
                return
            self._unread.append(self._arriving.popleft()[1])
        if self._reading:
            self._take_unread()
        elif self._peer is not None:
            self._peer._backlog_changed()
        self._expect()

    def _take_unread(self) -> None:
        while self._unread and self.connected and self._reading:
            self._take(self._unread.popleft())
        if self._peer is not None:
            self._peer._backlog_changed()

    def _take(self, item: _Item) -> None:
        match item:
            case bytes():
                if self._closing is None and self._listener is not None:
                    self._listener.message_received(item)
            case _Close(code, reason):
                if self._closing is None:
                    self._travel(item)  # the answer
                self._lose(code, reason)
            case _Cut(reason):
                self._lose(None, reason)

    def _backlog_changed(self) -> None:
        if not self.connected:
            return
        buffered = self.buffered
        if not self.paused and buffered > self._bounds.high_water:
            self._watch.pause()
            self._tell_pressure()
        elif self.paused and buffered < self._bounds.low_water:
            self._watch.resume()
            self._tell_pressure()
        if self.paused:
            self._watch.grown(buffered)

    def _tell_pressure(self) -> None:
        if self._listener is not None:
            self._listener.pressure(self.paused)

    # Ends.

    def _stalled(self) -> None:
        self._break("stalled")

    def _close_unanswered(self) -> None:
        self._break("close not answered")

    def _break(self, reason: str, peers_reason: str = "connection lost") -> None:
        """Stop now; the listener hears of it from the loop, never from within its own call."""
        if not self.connected:
            return
        self._travel(_Cut(peers_reason))
        self._stop()
        self._loop.call_soon(self._tell_lost, None, reason)

    def _lose(self, code: int | None, reason: str) -> None:
        if self.connected:
            self._stop()
            self._tell_lost(code, reason)

    def _stop(self) -> None:
        self.connected = False
        self._watch.stop()
        for timer in (self._arrival, self._closing):
            if timer is not None:
                timer.cancel()
        self._arriving.clear()
        self._unread.clear()

    def _tell_lost(self, code: int | None, reason: str) -> None:
        if self._listener is not None:
            self._listener.link_lost(code, reason)


def memory_pair(
    left: LinkListener | None = None,
    right: LinkListener | None = None,
    *,
    delay: float = 0.0,
    bounds: WriteBounds | None = None,
) -> tuple[MemoryLink, MemoryLink]:
    """Two joined ends; a listener that needs its link first is set later (`link.listener = ...`)."""
    ends = MemoryLink(delay=delay, bounds=bounds), MemoryLink(delay=delay, bounds=bounds)
    ends[0]._peer, ends[1]._peer = ends[1], ends[0]
    for end, listener in zip(ends, (left, right), strict=True):
        if listener is not None:
            end.listener = listener
    return ends


@dataclass(frozen=True, slots=True)
class Dialled:
    """What a client asked for."""

    url: str
    headers: Mapping[str, str]


Acceptor = Callable[[MemoryLink, Dialled], LinkListener]
"""Takes a new link at its server's end; raises `LinkRefused` instead."""


@dataclass
class MemoryNetwork:
    """A `Connector` in memory: whoever is served under a URL answers its clients."""

    delay: float = 0.0
    """One-way delay of links made from now on."""
    links: list[tuple[MemoryLink, MemoryLink]] = field(default_factory=list)
    """Every (client's end, server's end) made so far, for faults in mid-call."""
    _served: dict[str, Acceptor] = field(default_factory=dict)

    def serve(self, prefix: str, acceptor: Acceptor) -> None:
        """Answer every URL that starts with `prefix`; the longest one that fits wins."""
        self._served[prefix] = acceptor

    def refuse(self, prefix: str) -> None:
        """Nobody listens there any more."""
        del self._served[prefix]

    async def __call__(
        self, url: str, listener: LinkListener, *, headers: Mapping[str, str] | None = None
    ) -> Link:
        await asyncio.sleep(2 * self.delay)  # the TCP handshake
        acceptor = self._acceptor(url)
        await asyncio.sleep(self.delay)  # the request
        client, server = memory_pair(delay=self.delay)
        try:
            server.listener = acceptor(server, Dialled(url, dict(headers or {})))
        except LinkRefused:
            await asyncio.sleep(self.delay)
            raise
        self.links.append((client, server))
        try:
            await asyncio.sleep(self.delay)  # its answer; what the server said at once comes right behind
        except asyncio.CancelledError:
            client.abort()
            raise
        client.listener = listener
        return client

    def _acceptor(self, url: str) -> Acceptor:
        fitting = [prefix for prefix in self._served if url.startswith(prefix)]
        if not fitting:
            raise ConnectionRefusedError(f"nobody listens at {url}")
        return self._served[max(fitting, key=len)]


class Ear:
    """A listener that keeps what it hears, for tests; works at the end of any link."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.pressures: list[bool] = []
        self.lost: tuple[int | None, str] | None = None
        self._heard = asyncio.Event()

    def message_received(self, message: bytes) -> None:
        assert self.lost is None, "a message after link_lost"
        self.messages.append(message)
        self._heard.set()

    def pressure(self, paused: bool) -> None:
        assert self.lost is None, "pressure after link_lost"
        self.pressures.append(paused)
        self._heard.set()

    def link_lost(self, code: int | None, reason: str) -> None:
        assert self.lost is None, "link_lost came twice"
        self.lost = code, reason
        self._heard.set()

    async def until(self, true: Callable[["Ear"], bool]) -> None:
        """Wait until `true(self)`; it is asked whenever something was heard."""
        while not true(self):
            self._heard.clear()
            await self._heard.wait()

    async def hear(self, count: int) -> list[bytes]:
        """Wait for `count` messages in all."""
        await self.until(lambda ear: len(ear.messages) >= count)
        return self.messages

    async def end(self) -> tuple[int | None, str]:
        """Wait for the loss of the link."""
        await self.until(lambda ear: ear.lost is not None)
        assert self.lost is not None
        return self.lost

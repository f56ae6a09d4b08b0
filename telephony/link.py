"""One message socket as both of its ends see it: bytes of text messages, a close, and pressure.

The gateway's picows sockets, the simulators' sockets and the tests' in-memory links all have this face.
Nothing blocks: `send` queues into the transport; `LinkListener.pressure` says when the peer stops reading.
"""

from collections.abc import Mapping
from typing import Protocol


class Link(Protocol):
    """The sending half. Every method may be called after the link was lost; it then does nothing."""

    def listen(self, listener: "LinkListener") -> None:
        """From now on `listener` hears what arrives."""
        ...

    def send(self, message: bytes) -> None:
        """Queue one text message (UTF-8)."""
        ...

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake; aborted if the peer has not answered within the closing timeout."""
        ...

    def abort(self) -> None:
        """Drop the connection now."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes written but not yet taken by the peer's side of the network."""
        ...

    @property
    def paused(self) -> bool:
        """Whether the buffer stands above its high-water mark (64 kB): audio must not be queued now."""
        ...


class LinkListener(Protocol):
    """The receiving half; called by the link's owner on the loop, never after `link_lost`."""

    def message_received(self, message: bytes) -> None:
        """One whole text or binary message."""
        ...

    def pressure(self, paused: bool) -> None:
        """The buffer passed its high-water mark, or fell below its low-water mark again."""
        ...

    def link_lost(self, code: int | None, reason: str) -> None:
        """The last call: the peer closed with `code`, or the connection broke (None)."""
        ...


class Connector(Protocol):
    """Opens links; a real one over TCP, a test's one in memory."""

    async def __call__(
        self, url: str, listener: LinkListener, *, headers: Mapping[str, str] | None = None
    ) -> Link:
        """Connect and upgrade.

        Raises:
            LinkRefused: the peer answered the upgrade with another status than 101.
            OSError: no connection; TimeoutError: none in time.
        """
        ...


class LinkRefused(Exception):
    """The peer refused the websocket upgrade."""

    def __init__(self, status: int, body: str = "") -> None:
        super().__init__(f"websocket upgrade refused with HTTP {status}{': ' + body if body else ''}")
        self.status = status
        self.body = body

"""The way of a message onto one websocket: into the loop's batch, and from there to picows.

Apart from `gateway.links`, whose class picows calls and which therefore cannot be compiled (docs/adr/0012): every
message that a call sends passes here twice.
"""

from collections.abc import Callable
from typing import Final

from picows import WSMsgType, WSTransport

from gateway.write_batch import WriteBatch

_TEXT: Final = WSMsgType.TEXT


class Outlet:
    """Sends for one link while it has a `wire`.

    Driven by the link's owner (`send`), by the batch (`write`) and by the link, which says when there is a wire and
    whether the peer takes what is written. Without a wire a message is `unsent`'s; after a write to a peer that does
    not take it, `grown` is called.
    """

    __slots__ = ("_batch", "_grown", "_unsent", "paused", "wire")

    def __init__(
        self, batch: WriteBatch, *, unsent: Callable[[bytes], None], grown: Callable[[], None]
    ) -> None:
        self.wire: WSTransport | None = None
        self.paused = False
        """Whether the buffer stands above its high-water mark."""
        self._batch = batch
        self._unsent = unsent
        self._grown = grown

    def send(self, message: bytes) -> None:
        """Queue one text message (UTF-8)."""
        if self.wire is None:
            self._unsent(message)
            return
        self._batch.add(self, message)

    def write(self, message: bytes) -> None:
        """What was sent, at the end of the loop's turn (`gateway.write_batch`)."""
        wire = self.wire
        if wire is None:
            return
        wire.send(_TEXT, message)
        if self.paused:
            self._grown()

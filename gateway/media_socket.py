"""An accepted media socket before its call is known: it waits for the carrier's `start`.

The agent is already being connected meanwhile. A `start` that names a live call of this carrier is that call's
stream coming back: the call takes the socket over and the new call is let go.
"""

import asyncio
from collections.abc import Callable

import structlog

from telephony.carrier import WIRES
from telephony.events import CarrierFault, Flooded, Started
from telephony.link import Link, LinkListener
from telephony.stream import UNSUPPORTED_FORMAT, CarrierStream

log = structlog.get_logger()

# Messages before `start`: a greeting, at most a few strays. A peer that sends more is no carrier.
_MAX_BACKLOG = 64
_MAX_BACKLOG_SIZE = 256 * 1024

Claim = Callable[[Started, Link, list[bytes]], LinkListener]
"""Finds the socket's call, hands over the link and what it has said, returns who listens from now on."""


class MediaSocket:
    """Listens until `start`, then steps aside. Never speaks to the carrier."""

    def __init__(
        self, carrier: str, link: Link, *, claim: Claim, abandoned: Callable[[str], None], timeout: float
    ) -> None:
        self._link = link
        self._claim = claim
        self._abandoned = abandoned
        self._sniffer = CarrierStream(WIRES[carrier])
        self._backlog: list[bytes] = []
        self._backlog_size = 0
        self._listener: LinkListener | None = None
        self._given_up = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(timeout, self._expired)

    def message_received(self, message: bytes) -> None:
        if self._listener is not None:
            self._listener.message_received(message)
            return
        self._backlog.append(message)
        self._backlog_size += len(message)
        for event in self._sniffer.receive(message, self._loop.time()):
            match event:
                case Started():
                    self._timer.cancel()
                    self._listener = self._claim(event, self._link, self._backlog)
                    self._link.listen(self._listener)
                case Flooded():
                    self._give_up("malformed", 1002)
                case CarrierFault(code, detail) if code == UNSUPPORTED_FORMAT:
                    self._give_up(detail, 1003)
                case _:
                    pass
        if self._listener is None and (
            len(self._backlog) > _MAX_BACKLOG or self._backlog_size > _MAX_BACKLOG_SIZE
        ):
            self._give_up("no start", 1002)

    def pressure(self, paused: bool) -> None:
        if self._listener is not None:
            self._listener.pressure(paused)

    def link_lost(self, code: int | None, reason: str) -> None:
        if self._listener is not None:
            self._listener.link_lost(code, reason)
            return
        self._give_up(f"closed before start ({code})", 1000)

    def _expired(self) -> None:
        self._give_up("start timeout", 1008)

    def _give_up(self, reason: str, code: int) -> None:
        """Once: the loss of the link we close here comes back to us."""
        if self._given_up:
            return
        self._given_up = True
        self._timer.cancel()
        self._backlog.clear()
        self._link.close(code, reason)
        self._abandoned(reason)

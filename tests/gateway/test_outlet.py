"""What becomes of a message that is sent, by whether there is a wire and who takes what is written on it."""

import asyncio
from typing import cast

from picows import WSMsgType, WSTransport

from gateway.outlet import Outlet
from gateway.write_batch import WriteBatch
from tests.conftest import RunAsync


class Wire:
    """Notes what picows would write."""

    def __init__(self) -> None:
        self.written: list[tuple[WSMsgType, bytes]] = []

    def send(self, kind: WSMsgType, message: bytes) -> None:
        self.written.append((kind, message))


class Sender:
    """An outlet, its wire, and what it said about either."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.unsent: list[bytes] = []
        self.grown = 0
        self.outlet = Outlet(WriteBatch(), unsent=self.unsent.append, grown=self._grow)

    def _grow(self) -> None:
        self.grown += 1

    def connect(self) -> None:
        self.outlet.wire = cast(WSTransport, self.wire)


def test_a_message_leaves_as_text_at_the_end_of_the_turn(virtual: RunAsync) -> None:
    async def scenario() -> None:
        sender = Sender()
        sender.connect()
        sender.outlet.send(b"{}")
        assert sender.wire.written == []
        await asyncio.sleep(0)
        assert sender.wire.written == [(WSMsgType.TEXT, b"{}")]
        assert (sender.unsent, sender.grown) == ([], 0)

    virtual(scenario())


def test_without_a_wire_it_is_given_back_and_behind_its_loss_it_goes_nowhere(virtual: RunAsync) -> None:
    async def scenario() -> None:
        sender = Sender()
        sender.outlet.send(b"early")
        assert sender.unsent == [b"early"]
        sender.connect()
        sender.outlet.send(b"on its way")
        sender.outlet.wire = None
        await asyncio.sleep(0)
        assert (sender.wire.written, sender.unsent) == ([], [b"early"])

    virtual(scenario())


def test_writing_to_a_peer_that_takes_nothing_is_told(virtual: RunAsync) -> None:
    async def scenario() -> None:
        sender = Sender()
        sender.connect()
        sender.outlet.paused = True
        sender.outlet.send(b"1")
        sender.outlet.send(b"2")
        await asyncio.sleep(0)
        assert (len(sender.wire.written), sender.grown) == (2, 2)

    virtual(scenario())

"""A stream of a simulated call: what its socket can do beyond a link."""

import asyncio

import pytest

from telephony.caller import Caller, HangUp, Wait
from telephony.impairments import Direction, Impairments, Stall
from telephony.link import Link, LinkListener
from telephony.outcome import CallOutcome
from telephony.simulation import SimulatedCall
from tests.conftest import RunAsync
from tests.telephony.simulated_gateway import URL


def test_a_link_that_can_leave_bytes_unread_is_paused_through_an_outbound_stall(virtual: RunAsync) -> None:
    reading: list[tuple[str, float]] = []

    class Pausable:
        buffered = 0
        paused = False

        def __init__(self, listener: LinkListener) -> None:
            self.listener = listener

        def listen(self, listener: LinkListener) -> None: ...
        def send(self, message: bytes) -> None: ...
        def abort(self) -> None: ...
        def close(self, code: int = 1000, reason: str = "") -> None:
            self.listener.link_lost(code, reason)

        def pause_reading(self) -> None:
            reading.append(("paused", asyncio.get_running_loop().time()))

        def resume_reading(self) -> None:
            reading.append(("resumed", asyncio.get_running_loop().time()))

    async def call() -> CallOutcome:
        async def connect(url: str, listener: LinkListener, *, headers: object = None) -> Link:
            return Pausable(listener)

        plan = Impairments(stalls=(Stall(direction=Direction.OUTBOUND, at=0.25, duration=0.5),))
        return await SimulatedCall(
            "twilio", connect, URL, Caller([Wait(1.0), HangUp()]), impairments=plan
        ).run()

    virtual(call())
    assert [what for what, _ in reading] == ["paused", "resumed"]
    assert [at for _, at in reading] == pytest.approx([0.25, 0.75])

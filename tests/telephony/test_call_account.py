"""The account of a simulated call: what was sent, came back, was complained of and heard, and that it adds up."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.audio import PCMU_8K
from telephony.caller import AwaitAgent, Caller, Echo, Edge, HangUp, Press, Speak, Step, Wait
from telephony.impairments import Direction, Drop, Impairments, Stall
from telephony.link import Link, LinkListener
from telephony.outcome import CallOutcome
from telephony.simulation import SimulatedCall
from tests.conftest import RunAsync
from tests.telephony.simulated_gateway import HELLO, URL, Gateway, Socket, echo, greet, on_start, place


def test_echoed_frames_are_timed(virtual: RunAsync) -> None:
    outcome = place(virtual, Gateway(echo), [Echo(2.0), Wait(1.0), HangUp()], network_delay=0.03)
    assert outcome.latency is not None
    assert (outcome.latency.sent, outcome.latency.returned) == (100, 100)
    assert outcome.latency.p50 == pytest.approx(0.06)
    assert outcome.latency.maximum == pytest.approx(0.06)


def test_simulated_delay_is_not_counted_as_the_gateways(virtual: RunAsync) -> None:
    plan = Impairments.symmetric(0.05, 0.02, seed=3)
    outcome = place(virtual, Gateway(echo), [Echo(2.0), Wait(1.0), HangUp()], impairments=plan)
    assert outcome.latency is not None
    assert outcome.latency.returned == 100
    assert outcome.latency.maximum == pytest.approx(0.0, abs=1e-9)


def test_a_congested_gateway_loses_frames_and_is_told(virtual: RunAsync) -> None:
    class Congested:
        buffered = 1 << 17
        paused = True

        def __init__(self, listener: LinkListener) -> None:
            self.listener = listener

        def listen(self, listener: LinkListener) -> None: ...
        def send(self, message: bytes) -> None: ...
        def abort(self) -> None: ...
        def close(self, code: int = 1000, reason: str = "") -> None:
            self.listener.link_lost(code, reason)

    async def call() -> CallOutcome:
        async def connect(url: str, listener: LinkListener, *, headers: object = None) -> Link:
            return Congested(listener)

        return await SimulatedCall("twilio", connect, URL, Caller([Wait(1.0), HangUp()])).run()

    outcome = virtual(call())
    assert (outcome.frames_sent, outcome.frames_unsent) == (0, 50)
    assert outcome.complaints == {"31930": 50}


def test_twilio_counts_what_it_could_not_use(virtual: RunAsync) -> None:
    gateway = Gateway(on_start(lambda socket: socket.link.send(b'{"event":"clear","streamSid":"other"}')))
    outcome = place(virtual, gateway, [Wait(0.1), HangUp()])
    assert outcome.complaints == {"31951": 1}
    assert outcome.complaint_details[0].startswith("31951: ")


def test_without_a_history_the_numbers_are_the_same(virtual: RunAsync) -> None:
    script: list[Step] = [AwaitAgent(Edge.END), HangUp()]
    kept = place(virtual, Gateway(on_start(greet)), script)
    counted = place(virtual, Gateway(on_start(greet)), script, history=False)
    assert counted == replace(kept, heard=b"", marks=(), playouts=(), gaps=())


def test_audio_beyond_what_twilio_holds_is_discarded_and_said(virtual: RunAsync) -> None:
    def dump(socket: Socket) -> None:
        for _ in range(11):
            socket.play(PCMU_8K.silence(60 * 8_000))

    outcome = place(virtual, Gateway(on_start(dump)), [Wait(1.0), HangUp()])
    assert outcome.discarded == 60 * 8_000
    assert outcome.complaints == {"31931": 1}


plans = st.builds(
    Impairments,
    inbound_delay=st.floats(0, 0.2),
    outbound_delay=st.floats(0, 0.2),
    inbound_jitter=st.floats(0, 0.1),
    outbound_jitter=st.floats(0, 0.1),
    loss=st.floats(0, 0.2),
    reorder=st.floats(0, 0.2),
    stalls=st.lists(
        st.builds(Stall, direction=st.sampled_from(Direction), at=st.floats(0, 2), duration=st.floats(0, 1)),
        max_size=2,
    ).map(tuple),
    drops=st.lists(
        st.builds(
            Drop, at=st.floats(0, 2), reconnect_after=st.none() | st.floats(0, 1), graceful=st.booleans()
        ),
        max_size=2,
    ).map(tuple),
    seed=st.integers(0, 99),
)


# Two whole calls per example: fewer of them, and no limit on how long a busy machine takes for one.
@settings(max_examples=40, deadline=None)
@given(plans, st.sampled_from(["twilio", "telnyx"]))
def test_whatever_goes_wrong_every_call_ends_and_its_account_adds_up(
    virtual: RunAsync, plan: Impairments, carrier: str
) -> None:
    def chatter(socket: Socket, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            greet(socket)
        elif message["event"] == "dtmf":
            socket.say("clear")
            greet(socket)

    gateway = Gateway(chatter)
    script: list[Step] = [Wait(0.5), Press("1"), Speak(HELLO), Wait(2.0), HangUp()]
    outcome = place(virtual, gateway, script, carrier=carrier, impairments=plan)
    assert outcome.played + outcome.dropped + outcome.discarded == outcome.received
    assert sum(playout.played for playout in outcome.playouts) == outcome.played
    assert outcome.frames_sent + outcome.frames_lost + outcome.frames_unsent <= outcome.frames_said
    received = sum(len(socket.of("media")) for socket in gateway.sockets)
    assert received <= outcome.frames_sent
    assert outcome.marks_played + outcome.marks_flushed <= outcome.marks_received
    assert len(outcome.heard) == 2 * round((outcome.ended_at - (outcome.started_at or 0)) * 8_000)
    again = place(virtual, Gateway(chatter), script, carrier=carrier, impairments=plan)
    assert again == outcome

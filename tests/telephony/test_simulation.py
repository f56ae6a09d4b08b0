"""Whole simulated calls over links in memory, against gateways of a few lines that speak the carriers' JSON."""

from base64 import b64decode
from typing import Any

import pytest

from media.audio import PCMA_8K, PCMU_8K, Encoding
from media.g711 import decode, encode
from telephony.caller import (
    AwaitAgent,
    BargeIn,
    Caller,
    CallerAction,
    Edge,
    HangUp,
    Press,
    Speak,
    Step,
    Wait,
)
from telephony.impairments import Direction, Drop, Impairments, Stall
from telephony.link import Link, LinkListener, LinkRefused
from telephony.outcome import CallOutcome, EndedBy
from telephony.simulation import SimulatedCall
from tests.conftest import RunAsync
from tests.memory_link import Dialled, MemoryLink, MemoryNetwork
from tests.telephony.simulated_gateway import AGENT, HELLO, URL, Gateway, Socket, greet, on_start, place


@pytest.mark.parametrize("carrier", ["twilio", "telnyx", "signalwire"])
def test_a_call_is_greeted_answered_and_hung_up(virtual: RunAsync, carrier: str) -> None:
    gateway = Gateway(on_start(greet))
    script: list[Step] = [AwaitAgent(Edge.END), Speak(HELLO), Press("5"), HangUp()]
    outcome = place(virtual, gateway, script, carrier=carrier)
    (socket,) = gateway.sockets
    assert [message["event"] for message in socket.messages if message["event"] != "media"] == [
        "connected",
        "start",
        "mark",
        "dtmf",
        "stop",
    ]
    assert encode(HELLO, Encoding.PCMU) in socket.heard()
    assert outcome.ended_by is EndedBy.CALLER
    assert outcome.close_code == (1005 if carrier == "telnyx" else 1000)
    assert (outcome.played, outcome.dropped, outcome.digits) == (16_000, 0, "5")
    assert outcome.heard.startswith(decode(AGENT, Encoding.PCMU))
    assert outcome.setup_time == 0.0
    assert outcome.complaints == {}


def test_frames_come_every_20_ms_with_numbers_as_strings(virtual: RunAsync) -> None:
    gateway = Gateway()
    outcome = place(virtual, gateway, [Wait(1.0), HangUp()])
    (socket,) = gateway.sockets
    media = socket.of("media")
    assert [message["media"]["chunk"] for message in media] == [str(n) for n in range(1, 51)]
    assert [message["media"]["timestamp"] for message in media] == [str(20 * n) for n in range(50)]
    assert [message["sequenceNumber"] for message in media] == [str(n + 2) for n in range(50)]
    assert socket.when("media") == pytest.approx([0.02 * (n + 1) for n in range(50)])
    assert outcome.frames_said == outcome.frames_sent == 50


def test_a_mark_returns_when_the_audio_was_heard(virtual: RunAsync) -> None:
    gateway = Gateway(on_start(greet))
    outcome = place(virtual, gateway, [Wait(3.0), HangUp()], impairments=Impairments.symmetric(0.04))
    # start arrives after 40 ms, the audio 40 ms later, plays 2 s; the mark is back 40 ms later
    assert gateway.sockets[0].when("mark") == pytest.approx([0.04 + 0.04 + 2.0 + 0.04])
    assert outcome.marks_played == 1
    assert outcome.mark_lateness == pytest.approx(0.0, abs=1e-6)
    assert outcome.agent_heard_at == pytest.approx(0.08)


@pytest.mark.parametrize("delay", [0.0, 0.04, 0.15])
def test_barge_in_is_silence_one_round_trip_after_the_caller_spoke(virtual: RunAsync, delay: float) -> None:
    def clear_at_speech(socket: Socket, message: dict[str, Any]) -> None:
        if message["event"] == "start":
            greet(socket)
        loud = message["event"] == "media" and b64decode(message["media"]["payload"]) != b"\xff" * 160
        if loud and not cleared:
            cleared.append(socket.times[-1])
            socket.say("clear")

    cleared: list[float] = []
    gateway = Gateway(clear_at_speech)
    script: list[Step] = [BargeIn(0.5, HELLO), Wait(1.0), HangUp()]
    outcome = place(virtual, gateway, script, impairments=Impairments.symmetric(delay))
    (cut,), (barge,) = outcome.clears, outcome.barge_ins
    assert cut.at == pytest.approx(cleared[0] + delay)
    assert barge.clear_at == cut.at
    assert barge.silent_at == pytest.approx(cut.at)
    assert cut.at - barge.at == pytest.approx(2 * delay + 0.02)
    assert cut.played == pytest.approx((cut.at - 2 * delay) * 8_000, abs=1)
    assert cut.marks == ("end",)
    assert [message["mark"]["name"] for message in gateway.sockets[0].of("mark")] == ["end"]
    assert outcome.played == cut.played
    assert outcome.played + outcome.dropped == outcome.received


def test_lost_and_overtaken_frames_keep_their_numbers(virtual: RunAsync) -> None:
    gateway = Gateway()
    plan = Impairments(loss=0.05, reorder=0.1, displacement=2, seed=7)
    outcome = place(virtual, gateway, [Wait(10.0), HangUp()], carrier="telnyx", impairments=plan)
    chunks = gateway.sockets[0].chunks()
    assert chunks != sorted(chunks)
    assert outcome.frames_lost > 0
    assert outcome.frames_reordered > 0
    assert len(set(chunks)) == len(chunks) == 500 - outcome.frames_lost == outcome.frames_sent


def test_jitter_delays_and_never_reorders(virtual: RunAsync) -> None:
    gateway = Gateway()
    plan = Impairments.symmetric(0.04, 0.1, seed=2)
    place(virtual, gateway, [Wait(2.0), HangUp()], impairments=plan)
    (socket,) = gateway.sockets
    assert socket.chunks() == list(range(1, 101))
    for n, at in enumerate(socket.when("media")):
        assert 0.04 <= at - 0.02 * (n + 1) <= 0.14 + 1e-9


def test_an_inbound_stall_ends_in_a_burst(virtual: RunAsync) -> None:
    gateway = Gateway()
    plan = Impairments(stalls=(Stall(direction=Direction.INBOUND, at=1.0, duration=0.5),))
    place(virtual, gateway, [Wait(2.0), HangUp()], impairments=plan)
    times = gateway.sockets[0].when("media")
    assert [at for at in times if 1.0 < at < 1.5 - 1e-6] == []
    assert sum(at == pytest.approx(1.5) for at in times) >= 25


def test_an_outbound_stall_holds_what_the_gateway_says(virtual: RunAsync) -> None:
    gateway = Gateway(on_start(greet))
    plan = Impairments(stalls=(Stall(direction=Direction.OUTBOUND, at=0.0, duration=0.5),))
    outcome = place(virtual, gateway, [Wait(3.0), HangUp()], impairments=plan)
    assert outcome.agent_heard_at == pytest.approx(0.5)


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
@pytest.mark.parametrize("graceful", [False, True])
def test_a_dropped_stream_comes_back_as_a_new_stream_of_the_same_call(
    virtual: RunAsync, carrier: str, graceful: bool
) -> None:
    gateway = Gateway(on_start(greet))
    plan = Impairments(drops=(Drop(at=1.0, reconnect_after=0.5, graceful=graceful),))
    urls = iter(["wss://gateway/media/second"])
    outcome = place(
        virtual,
        gateway,
        [Wait(5.0), HangUp()],
        carrier=carrier,
        impairments=plan,
        next_stream=lambda: next(urls),
    )
    first, second = gateway.sockets
    assert second.dialled.url == "wss://gateway/media/second"
    assert first.stream_id != second.stream_id
    key = "callSid" if carrier == "twilio" else "call_control_id"
    assert first.of("start")[0]["start"][key] == second.of("start")[0]["start"][key] == outcome.call_id
    assert bool(first.of("stop")) is graceful
    assert first.lost is not None
    assert second.of("media")[0]["media"] == {
        "track": "inbound",
        "chunk": "1",
        "timestamp": "0",
        "payload": second.of("media")[0]["media"]["payload"],
    }
    assert outcome.played == 8_000 + 16_000
    assert outcome.dropped == 8_000
    assert [cut.played for cut in outcome.breaks][:1] == [8_000]
    assert [stream.position for stream in outcome.streams] == [0, 16_000]
    assert outcome.frames_unsent == pytest.approx(25, abs=1)
    assert outcome.ended_by is EndedBy.CALLER


def test_a_stream_dropped_for_good_ends_the_call(virtual: RunAsync) -> None:
    outcome = place(virtual, Gateway(), [Wait(5.0)], impairments=Impairments(drops=(Drop(at=1.0),)))
    assert outcome.ended_by is EndedBy.DROPPED
    assert outcome.ended_at == pytest.approx(1.0)


def test_the_gateways_close_ends_the_call_after_what_it_said_before(virtual: RunAsync) -> None:
    def greet_and_leave(socket: Socket) -> None:
        greet(socket)
        socket.link.close(1000, "bye")

    outcome = place(
        virtual, Gateway(on_start(greet_and_leave)), [Wait(9.0)], impairments=Impairments.symmetric(0.1)
    )
    assert (outcome.ended_by, outcome.close_code) == (EndedBy.GATEWAY, 1000)
    assert (outcome.received, outcome.played) == (16_000, 0)


def test_the_carriers_document_may_attach_again_after_the_gateways_close(virtual: RunAsync) -> None:
    urls = iter([URL, URL])
    gateway = Gateway(on_start(lambda socket: socket.link.close(1000)))
    outcome = place(virtual, gateway, [Wait(9.0)], next_stream=lambda: next(urls, None), reattach_delay=0.73)
    assert len(outcome.streams) == 3
    assert outcome.ended_by is EndedBy.GATEWAY
    assert outcome.streams[1].opened_at == pytest.approx(0.73, abs=0.01)


def test_a_refused_stream_is_an_outcome(virtual: RunAsync) -> None:
    def refuse(link: MemoryLink, dialled: Dialled) -> LinkListener:
        raise LinkRefused(403)

    gateway = Gateway()
    gateway.accept = refuse  # type: ignore[method-assign]  # a gateway that refuses everybody
    outcome = place(virtual, gateway, [Wait(1.0)])
    assert (outcome.ended_by, outcome.refusal, outcome.accepted) == (EndedBy.REFUSED, "HTTP 403", False)


def test_nobody_listening_is_an_outcome(virtual: RunAsync) -> None:
    async def call() -> CallOutcome:
        return await SimulatedCall("twilio", MemoryNetwork(), URL, Caller([])).run()

    assert virtual(call()).ended_by is EndedBy.REFUSED


def test_a_gateway_that_answers_no_close_is_cut_off(virtual: RunAsync) -> None:
    class Deaf:
        """A link whose peer never says anything, not even goodbye."""

        buffered = 0
        paused = False
        aborted = False

        def listen(self, listener: LinkListener) -> None: ...
        def send(self, message: bytes) -> None: ...
        def close(self, code: int = 1000, reason: str = "") -> None: ...
        def abort(self) -> None:
            self.aborted = True

    async def call() -> CallOutcome:
        deaf = Deaf()

        async def connect(url: str, listener: LinkListener, *, headers: object = None) -> Link:
            return deaf

        outcome = await SimulatedCall("twilio", connect, URL, Caller([HangUp()])).run()
        assert deaf.aborted
        return outcome

    outcome = virtual(call())
    assert (outcome.ended_by, outcome.close_code) == (EndedBy.CALLER, None)
    assert outcome.ended_at == pytest.approx(2.02)


def test_a_call_that_never_ends_is_ended_at_its_limit(virtual: RunAsync) -> None:
    outcome = place(virtual, Gateway(), [], limit=3.0)
    assert outcome.ended_by is EndedBy.LIMIT
    assert outcome.ended_at == pytest.approx(3.0)


def test_telnyx_tells_the_gateway_what_it_could_not_use(virtual: RunAsync) -> None:
    gateway = Gateway(on_start(lambda socket: socket.link.send(b'{"event":"media","media":{"payload":"%"}}')))
    outcome = place(virtual, gateway, [Wait(0.1), HangUp()], carrier="telnyx")
    (error,) = gateway.sockets[0].of("error")
    assert error["payload"]["code"] == 100004
    assert outcome.complaints == {"100004": 1}


def test_telnyx_may_start_long_after_it_connected(virtual: RunAsync) -> None:
    gateway = Gateway()
    outcome = place(virtual, gateway, [Wait(0.1), HangUp()], carrier="telnyx", start_delay=7.0)
    assert gateway.sockets[0].when("start") == pytest.approx([7.0])
    assert outcome.accepted_at == 0.0
    assert outcome.started_at == pytest.approx(7.0)


def test_each_direction_may_have_its_own_law(virtual: RunAsync) -> None:
    gateway = Gateway(on_start(greet))
    outcome = place(
        virtual,
        gateway,
        [Speak(HELLO), Wait(3.0), HangUp()],
        carrier="telnyx",
        inbound=PCMA_8K,
        outbound=PCMU_8K,
    )
    assert gateway.sockets[0].of("start")[0]["start"]["media_format"]["encoding"] == "PCMA"
    assert gateway.sockets[0].heard().startswith(encode(HELLO, Encoding.PCMA))
    assert outcome.heard.startswith(decode(AGENT, Encoding.PCMU))


def test_digits_on_telnyx_say_when_they_were_pressed(virtual: RunAsync) -> None:
    gateway = Gateway()
    place(virtual, gateway, [Wait(1.0), Press("1"), HangUp()], carrier="telnyx")
    assert gateway.sockets[0].of("dtmf")[0]["occurred_at"] == "2026-01-01T00:00:01.000000Z"


def test_the_upgrade_carries_the_carriers_credentials(virtual: RunAsync) -> None:
    gateway = Gateway()
    place(virtual, gateway, [HangUp()], carrier="telnyx", auth_token="t", headers={"x-mine": "1"})
    (socket,) = gateway.sockets
    assert socket.dialled.headers == {"x-telnyx-streaming-auth-token": "t", "x-mine": "1"}
    assert socket.messages[0]["connected"] == {"x-telnyx-streaming-auth-token": "t"}


def test_a_message_that_arrives_before_the_connect_returned_is_not_lost(virtual: RunAsync) -> None:
    class Hasty:
        buffered = 0
        paused = False

        def __init__(self, listener: LinkListener) -> None:
            self.listener = listener

        def listen(self, listener: LinkListener) -> None: ...
        def send(self, message: bytes) -> None: ...
        def abort(self) -> None: ...
        def close(self, code: int = 1000, reason: str = "") -> None:
            self.listener.link_lost(code, reason)

    async def call() -> CallOutcome:
        async def connect(url: str, listener: LinkListener, *, headers: object = None) -> Link:
            listener.message_received(b'{"event":"mark","mark":{"name":"early"}}')
            return Hasty(listener)

        return await SimulatedCall("telnyx", connect, URL, Caller([Wait(0.1), HangUp()])).run()

    assert virtual(call()).marks_played == 1


def test_a_bug_in_a_connector_is_not_an_outcome(virtual: RunAsync) -> None:
    async def connect(url: str, listener: LinkListener, *, headers: object = None) -> Link:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        virtual(SimulatedCall("twilio", connect, URL, Caller([])).run())


def test_a_bug_in_the_callers_ear_reaches_whoever_awaits_the_call(virtual: RunAsync) -> None:
    class Broken(Caller):
        def poll(self, now: float) -> list[CallerAction]:
            raise ZeroDivisionError

    async def call() -> CallOutcome:
        network = MemoryNetwork()
        network.serve("wss://gateway", Gateway().accept)
        return await SimulatedCall("twilio", network, URL, Broken([])).run()

    with pytest.raises(ZeroDivisionError):
        virtual(call())


def test_a_caller_who_hangs_up_between_two_streams_ends_the_call(virtual: RunAsync) -> None:
    plan = Impairments(drops=(Drop(at=0.5, reconnect_after=5.0),))
    outcome = place(virtual, Gateway(), [Wait(1.0), HangUp()], impairments=plan)
    assert outcome.ended_by is EndedBy.CALLER
    assert outcome.ended_at == pytest.approx(1.02)
    assert len(outcome.streams) == 1


def test_a_second_stream_that_is_refused_ends_the_call(virtual: RunAsync) -> None:
    gateway = Gateway()
    outcome = place(
        virtual,
        gateway,
        [Wait(9.0)],
        impairments=Impairments(drops=(Drop(at=0.5, reconnect_after=0.5),)),
        next_stream=lambda: "wss://elsewhere",
    )
    assert (outcome.ended_by, outcome.accepted) == (EndedBy.REFUSED, True)
    assert outcome.ended_at == pytest.approx(1.0)


def test_a_document_without_a_next_stream_ends_a_dropped_call(virtual: RunAsync) -> None:
    plan = Impairments(drops=(Drop(at=0.5, reconnect_after=0.5),))
    outcome = place(virtual, Gateway(), [Wait(9.0)], impairments=plan, next_stream=lambda: None)
    assert outcome.ended_by is EndedBy.DROPPED

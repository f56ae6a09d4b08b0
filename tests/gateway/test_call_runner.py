"""The call runner's own: what reaches its links, what is left when something fails; whole calls are elsewhere."""

import asyncio
import json
import shutil
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path

from gateway.call_runner import CallRunner
from media.audio import PCMU_8K
from telephony.caller import HangUp, Wait
from telephony.link import Link, LinkListener
from tests.conftest import RunAsync
from tests.memory_link import memory_pair
from tests.whole_call import House

START = json.dumps(
    {"event": "start", "streamSid": "MZ1", "start": {"streamSid": "MZ1", "callSid": "CA1"}}
).encode()


class EagerLink:
    """A link as a real transport is one: passing the high-water mark is told from within `send`."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.listener: LinkListener | None = None
        self.closed: int | None = None
        self.paused = False
        self.buffered = 0

    def listen(self, listener: LinkListener) -> None:
        self.listener = listener

    def send(self, message: bytes) -> None:
        self.sent.append(message)
        if not self.paused and self.listener is not None:
            self.paused = True
            self.listener.pressure(True)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = code

    def abort(self) -> None:
        self.closed = 1006


def test_pressure_told_from_within_a_send_repeats_nothing(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> list[bytes]:
        house = House(tmp_path)
        link = EagerLink()
        listener = house.calls.accept_stream("twilio", link)
        await asyncio.sleep(0.1)
        listener.message_received(START)
        call = house.runner()
        call.bridge.carrier.playout.write("item", PCMU_8K.silence(8_000))
        link.sent.clear()
        call._driver._wake(asyncio.get_running_loop().time())
        call.end("api", after_playout=False)
        await house.calls.idle()
        house.close()
        return link.sent

    sent = virtual(scenario())
    assert len(sent) > 1
    marks = [message for message in sent if b'"mark"' in message]
    assert len(marks) == len(set(marks))
    audio = [json.loads(message)["media"]["payload"] for message in sent if b'"media"' in message]
    assert sum(len(b64decode(payload)) for payload in audio) == 1_600  # the lead, once


def test_a_stream_that_starts_after_its_call_has_ended_is_turned_away(
    virtual: RunAsync, tmp_path: Path
) -> None:
    """The agent cannot be reached and the call ends; only then does the carrier say `start`."""

    async def scenario() -> None:
        house = House(tmp_path)
        house.network.refuse("wss://agent.test/v1/realtime")
        outcome = await house.call([Wait(30.0), HangUp()], start_delay=4.0)
        assert outcome.ended_at - outcome.began_at < 5.0
        assert len(house.calls) == 0
        assert house.calls._by_carrier_call == {}
        assert house.record["ended_reason"] == "error"
        house.close()

    virtual(scenario())


def test_a_stream_that_comes_back_while_the_record_is_written_is_a_call_of_its_own(
    virtual: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        house = House(tmp_path)
        first = EagerLink()
        house.calls.accept_stream("twilio", first).message_received(START)
        ended = house.runner()
        ended.end("api", after_playout=False)
        second = EagerLink()
        house.calls.accept_stream("twilio", second).message_received(START)
        (live,) = [call for call in house.calls.live() if call is not ended]
        await asyncio.sleep(1.0)
        assert house.calls.live() == [live]
        assert (first.closed, second.closed) == (1000, None)
        live.end("api", after_playout=False)
        await house.calls.idle()
        assert house.calls._by_carrier_call == {}
        assert len(list((tmp_path / "calls").iterdir())) == 2
        house.close()

    virtual(scenario())


def test_a_recording_that_cannot_be_finished_does_not_cost_the_record(
    virtual: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        house = House(tmp_path)
        loop = asyncio.get_running_loop()
        loop.call_later(5.0, shutil.rmtree, tmp_path / "recordings")
        await house.call([Wait(6.0), HangUp()])
        assert house.record["ended_reason"] == "caller-hangup"
        assert house.record["recording"] is None
        assert house.calls.counts.failed == 0
        house.close()

    virtual(scenario())


def test_a_traced_call_may_be_told_to_end_while_its_record_is_written(
    virtual: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        house = House(tmp_path, trace=True)
        house.calls.accept_stream("twilio", EagerLink()).message_received(START)
        call = house.runner()
        call.end("api", after_playout=False)
        while house.calls.live() and call.record is None:
            call.end("error")
            await asyncio.sleep(0)
        await house.calls.idle()
        assert house.calls.counts.failed == 0
        house.close()

    virtual(scenario())


def test_a_fault_of_ours_ends_its_call_and_is_told(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path)
        near, far = memory_pair()
        listener = house.calls.accept_stream("twilio", far)
        listener.message_received(START)
        call = house.runner()
        assert isinstance(call, CallRunner)
        call._fail(RuntimeError("a fault of ours"))
        await house.calls.idle()
        assert house.calls.counts.failed == 1
        assert house.record["ended_reason"] == "error"
        assert house.agent.live == 0
        near.close()
        await asyncio.sleep(1.0)
        assert not near.connected
        house.close()

    virtual(scenario())


def test_an_agent_that_answers_too_late_is_let_go(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path)
        network, reached = house.network, asyncio.Event()

        class Slow:
            async def __call__(
                self, url: str, listener: LinkListener, *, headers: Mapping[str, str] | None = None
            ) -> Link:
                link = await network(url, listener, headers=headers)
                reached.set()
                return link

        call = CallRunner(
            "call_x",
            "twilio",
            policy=house.calls._defaults.policy,
            provider=house.calls._defaults.provider,
            services=house.calls._services,
        )
        object.__setattr__(call._services, "connect", Slow())
        task = asyncio.create_task(call.run())
        await reached.wait()
        call.discard()
        await task
        await asyncio.sleep(1.0)
        assert house.agent.live == 0
        assert not (tmp_path / "calls").exists()
        house.close()

    virtual(scenario())

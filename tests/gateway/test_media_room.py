"""Sockets join their calls by token: once, in order, and only while the call lives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from control.agents import AgentConfig
from control.api.problem import Problem
from control.media_orders import EndMedia, Report, StreamUp
from control.service.reception import Reception
from control.timeline import TimelineEvent
from gateway.agent.echo import EchoBehaviour
from gateway.agent.server import AgentServer
from gateway.call_runner import AgentProvider, CallServices
from gateway.calls import CallDefaults, Calls
from gateway.media_auth import StreamTokens
from gateway.media_room import MediaRoom
from gateway.ticker import Ticker
from media.realtime.dialects import DIALECTS
from telephony.causes import EndedReason
from telephony.link import LinkListener
from tests.conftest import RunAsync
from tests.control.service_scene import BEGUN, an_agent, house
from tests.memory_link import Dialled, MemoryLink, MemoryNetwork

AGENT = "wss://agent.test/v1/realtime"
START = (
    b'{"event":"start","sequenceNumber":"1","streamSid":"MZ%d","start":{"accountSid":"AC1","streamSid":"MZ%d",'
    b'"callSid":"CA1","tracks":["inbound"],"customParameters":{},'
    b'"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}'
)


class Ear:
    """The carrier's end of a socket."""

    def __init__(self) -> None:
        self.lost: tuple[int | None, str] | None = None

    def message_received(self, message: bytes) -> None: ...

    def pressure(self, paused: bool) -> None: ...

    def link_lost(self, code: int | None, reason: str) -> None:
        self.lost = code, reason


class Scene:
    def __init__(self, folder: Path) -> None:
        self.network = MemoryNetwork()
        self.agent = AgentServer(EchoBehaviour)
        self.network.serve(AGENT, self._accept_agent)
        effective = Reception(house()).effective(
            an_agent(AgentConfig()), {}, customer=None, headers={}, now=BEGUN
        )
        self.effective = effective
        provider = AgentProvider(url=AGENT, api_key="k", config=effective.session, dialect=DIALECTS["openai"])
        services = CallServices(
            ticker=Ticker(), connect=self.network, recordings=None, records=folder, traces=None
        )
        self.calls = Calls(CallDefaults(policy=effective.policy, provider=provider, max_calls=2), services)
        self.tokens = StreamTokens()
        self.room = MediaRoom(
            self.calls,
            services,
            self.tokens,
            providers=lambda _: (provider,),
            media_url="wss://gateway.test/offhook/",
        )
        self.reports: list[Report] = []
        self.followed: list[TimelineEvent] = []
        self.network.serve("wss://gateway.test/offhook/media/twilio/", self._accept_media)

    def _accept_agent(self, link: MemoryLink, _: Dialled) -> LinkListener:
        return self.agent.attach(link, pause_reading=lambda _: None)

    def _accept_media(self, link: MemoryLink, dialled: Dialled) -> LinkListener:
        token = dialled.url.rpartition("/")[2]
        granted = self.tokens.redeem(token, asyncio.get_running_loop().time())
        if granted is None:
            raise Problem(404, "unknown_stream_token", "no stream is expected here")
        return self.room.accept_stream("twilio", granted, link)

    def begin(self, call_id: str = "call_1") -> None:
        self.call = self.room.begin(
            call_id, "twilio", self.effective, report=self.reports.append, follow=self.followed.append
        )

    async def socket(self, url: str, number: int = 1) -> Ear:
        ear = Ear()
        link = await self.network(url, ear)
        link.send(START % (number, number))
        await asyncio.sleep(0.1)
        return ear

    def streams(self) -> list[int]:
        return [each.generation for each in self.reports if isinstance(each, StreamUp)]


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    s = Scene(folder)
    yield s
    for call in s.calls.live():
        call.order(EndMedia(EndedReason.API))
    await s.calls.idle()


def test_a_socket_with_a_calls_token_is_the_calls_stream(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            s.begin()
            stream = s.room.mint("call_1", "twilio", 1, 60.0)
            assert stream.url.startswith("wss://gateway.test/offhook/media/twilio/")
            await s.socket(stream.url)
            assert s.streams() == [1]
            assert s.room.free() == 1

    virtual(scenario())


def test_of_two_streams_the_later_one_stays(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            s.begin()
            first, second = (s.room.mint("call_1", "twilio", number, 60.0) for number in (1, 2))
            late = await s.socket(second.url, 2)
            early: list[Ear] = []
            with pytest.raises(Problem):
                early.append(await s.socket(first.url))
            assert s.streams() == [1]
            assert late.lost is None
            assert early == []

    virtual(scenario())


def test_an_older_stream_is_closed_and_not_the_call(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            s.begin()
            old = await s.socket(s.room.mint("call_1", "twilio", 1, 60.0).url)
            new = await s.socket(s.room.mint("call_1", "twilio", 2, 60.0).url, 2)
            assert s.streams() == [1, 2]
            assert old.lost is not None
            assert new.lost is None
            assert not s.call.finished.is_set()

    virtual(scenario())


def test_a_token_is_good_once_and_not_for_ever(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            s.begin()
            stream = s.room.mint("call_1", "twilio", 1, 60.0)
            await s.socket(stream.url)
            with pytest.raises(Problem):
                await s.socket(stream.url)
            late = s.room.mint("call_1", "twilio", 2, 60.0)
            await asyncio.sleep(61)
            with pytest.raises(Problem):
                await s.socket(late.url)

    virtual(scenario())


def test_a_call_that_is_over_takes_no_socket(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            s.begin()
            revoked = s.room.mint("call_1", "twilio", 1, 60.0)
            s.room.revoke("call_1")
            with pytest.raises(Problem):
                await s.socket(revoked.url)
            ended = s.room.mint("call_1", "twilio", 2, 60.0)
            s.call.order(EndMedia(EndedReason.API))
            await s.calls.idle()
            with pytest.raises(Problem):
                await s.socket(ended.url)

    virtual(scenario())


def test_a_token_of_another_carriers_call_opens_nothing(virtual: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            s.begin()
            s.room.mint("call_1", "twilio", 1, 60.0)
            granted = s.tokens.redeem(
                s.tokens.mint("call_1", 1, asyncio.get_running_loop().time()),
                asyncio.get_running_loop().time(),
            )
            assert granted is not None
            with pytest.raises(Problem) as refused:
                s.room.accept_stream("telnyx", granted, None)  # type: ignore[arg-type]  # never touched
            assert refused.value.code == "unknown_stream_token"

    virtual(scenario())

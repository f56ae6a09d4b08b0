"""The agent's server: over links in memory on virtual time, and over real sockets with clients that are not ours."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import websockets
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from gateway.agent.echo import EchoBehaviour
from gateway.agent.script import load_script, parse_script
from gateway.agent.scripted import ScriptedBehaviour
from gateway.agent.server import AgentServer, Answers
from gateway.stall import WriteBounds
from media import g711
from media.audio import Encoding
from media.realtime.server_behaviour import (
    CallerTurn,
    Reply,
    ResponseRequest,
    SessionFaults,
    Sound,
    Speech,
    Transcription,
)
from tests.conftest import RunAsync
from tests.memory_link import Ear, MemoryLink, memory_pair

ORACLE: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"
PCMU = {
    "type": "realtime",
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "gpt-transcribe"}},
        "output": {"format": {"type": "audio/pcmu"}},
    },
}
Event = dict[str, Any]


def message(kind: str, **fields: object) -> bytes:
    return json.dumps({"type": kind, **fields}, separators=(",", ":")).encode()


def append(audio: bytes) -> bytes:
    return message("input_audio_buffer.append", audio=base64.b64encode(audio).decode())


def events(ear: Ear) -> list[Event]:
    return [json.loads(each) for each in ear.messages]


def kinds(ear: Ear) -> list[str]:
    return [event["type"] for event in events(ear)]


def heard(kind: str, count: int = 1) -> Callable[[Ear], bool]:
    return lambda ear: kinds(ear).count(kind) >= count


def caller_voice(seconds: float) -> bytes:
    """A buzz with a voice's harmonics, mu-law."""
    time = np.arange(int(seconds * 8000)) / 8000
    wave = sum((np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20)), np.zeros_like(time))
    wave = wave * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    return g711.encode((wave / 3 * 12000).astype("<i2").tobytes(), Encoding.PCMU)


def joined(
    server: AgentServer,
    *,
    model: str | None = None,
    beta: bool = False,
    pause_reading: Callable[[bool], None] | None = None,
) -> tuple[MemoryLink, Ear]:
    ear = Ear()
    ours, theirs = memory_pair(ear)
    theirs.listener = server.attach(theirs, model=model, beta=beta, pause_reading=pause_reading)
    return ours, ear


# On virtual time


def test_a_session_in_memory_begins_with_session_created(virtual: RunAsync) -> None:
    async def scenario() -> None:
        server = AgentServer(parse_script("greeting: hi"), wall_clock=lambda: 1_000.0)
        _, ear = joined(server, model="gpt-realtime-2.1")
        await ear.hear(1)
        session = events(ear)[0]["session"]
        assert (session["model"], session["expires_at"]) == ("gpt-realtime-2.1", 4600)
        assert session["offhook"]["behaviour"] == "scripted"
        await server.close()
        assert (await ear.end())[0] == 1001

    virtual(scenario())


def test_a_scripted_call_goes_by_the_script(virtual: RunAsync) -> None:
    async def scenario() -> None:
        server = AgentServer(load_script(EXAMPLES / "receptionist.yaml"))
        link, ear = joined(server)
        link.send(message("session.update", session=PCMU))
        link.send(message("response.create"))
        await ear.until(heard("response.done"))
        done = 1
        for turn in ("opening hours", "order", "goodbye"):
            await speak(link, caller_voice(1.0) + b"\xff" * 8000)
            done += 1
            await ear.until(heard("response.done", done))
            if turn == "order":
                call = next(each for each in events(ear) if "function_call_arguments.done" in each["type"])
                output = {
                    "type": "function_call_output",
                    "call_id": call["call_id"],
                    "output": "a red bicycle",
                }
                link.send(message("conversation.item.create", item=output))
                link.send(message("response.create"))
                done += 1
                await ear.until(heard("response.done", done))
        said = [
            each["transcript"]
            for each in events(ear)
            if each["type"] == "response.output_audio_transcript.done"
        ]
        assert said == [
            "Good morning, this is Offhook. How can I help you?",
            "We are open from nine to five, Monday to Friday. Is there anything else?",
            "Let me look that up.",
            "Here is what I found: a red bicycle.",
            "Thank you for calling. Goodbye.",
        ]
        told = [
            each["transcript"]
            for each in events(ear)
            if each["type"] == "conversation.item.input_audio_transcription.completed"
        ]
        assert told[:2] == ["I would like to know when you open.", "Where is my order?"]
        (behaviour,) = server.behaviours
        assert isinstance(behaviour, ScriptedBehaviour)
        assert behaviour.failures == []
        await server.close()

    virtual(scenario())


async def speak(link: MemoryLink, audio: bytes) -> None:
    for start in range(0, len(audio), 160):
        link.send(append(audio[start : start + 160]))
        await asyncio.sleep(0.020)


def test_deltas_leave_when_they_are_due(virtual: RunAsync) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        server = AgentServer(
            parse_script("greeting: {say: x, audio: {silence_ms: 1000}, delay_ms: 500, pace: realtime}")
        )
        link, ear = joined(server)
        begun = loop.time()
        link.send(message("response.create"))
        times = []
        for count in range(1, 6):
            await ear.until(heard("response.output_audio.delta", count))
            times.append(round(loop.time() - begun, 3))
        assert times == [0.5, 0.7, 0.9, 1.1, 1.3]
        await server.close()

    virtual(scenario())


def test_a_burst_waits_for_a_client_that_does_not_read(virtual: RunAsync) -> None:
    async def scenario() -> None:
        server = AgentServer(parse_script("greeting: {say: x, audio: {silence_ms: 60000}, delay_ms: 0}"))
        ear = Ear()
        bounds = WriteBounds(ceiling=256 * 1024, patience=30.0)
        ours, theirs = memory_pair(ear, bounds=bounds)
        theirs.listener = server.attach(theirs)
        await ear.hear(1)
        with ours.not_reading():
            ours.send(message("response.create"))
            await asyncio.sleep(5.0)
            assert theirs.paused
            assert theirs.buffered < bounds.ceiling
        await ear.until(heard("response.done"))
        assert kinds(ear).count("response.output_audio.delta") == 300
        await server.close()

    virtual(scenario())


def test_a_planned_close_closes_the_link_with_its_code(virtual: RunAsync) -> None:
    async def scenario() -> None:
        server = AgentServer(
            parse_script(
                "session: {faults: [{at_ms: 700, close: {code: 4000, reason: enough}}]}\ngreeting: hi"
            )
        )
        _, ear = joined(server)
        assert await ear.end() == (4000, "enough")
        assert asyncio.get_running_loop().time() == pytest.approx(0.7)
        assert server.live == 0

    virtual(scenario())


def test_a_stall_stops_the_socket_from_being_read_and_then_goes_on(virtual: RunAsync) -> None:
    async def scenario() -> None:
        server = AgentServer(
            parse_script("session: {faults: [{at_ms: 100, stall: {ms: 900}}]}\ngreeting: hi")
        )
        reading: list[tuple[float, bool]] = []
        loop = asyncio.get_running_loop()
        link, ear = joined(
            server, pause_reading=lambda paused: reading.append((round(loop.time(), 3), paused))
        )
        await asyncio.sleep(0.5)
        link.send(message("response.create"))
        await asyncio.sleep(0.4)
        assert kinds(ear) == ["session.created"]
        await ear.until(heard("response.done"))
        assert reading == [(0.1, True), (1.0, False)]
        await server.close()

    virtual(scenario())


def test_the_beta_header_ends_the_session_with_4000(virtual: RunAsync) -> None:
    async def scenario() -> None:
        _, ear = joined(AgentServer(), beta=True)
        code, _ = await ear.end()
        assert code == 4000
        assert events(ear)[0]["error"]["code"] == "beta_api_shape_disabled"

    virtual(scenario())


def test_echo_answers_every_frame_in_the_same_instant(virtual: RunAsync) -> None:
    async def scenario() -> None:
        server = AgentServer(EchoBehaviour)
        link, ear = joined(server)
        link.send(message("session.update", session=PCMU))
        frames = [bytes([n]) * 160 for n in range(100)]
        for count, frame in enumerate(frames, 1):
            link.send(append(frame))
            await ear.until(heard("response.output_audio.delta", count))
            assert asyncio.get_running_loop().time() == 0.0
        deltas = [each for each in events(ear) if each["type"] == "response.output_audio.delta"]
        assert [base64.b64decode(each["delta"]) for each in deltas] == frames
        await server.close()

    virtual(scenario())


class Late:
    """A behaviour that answers a second later, by the loop's clock."""

    name = "late"
    note = "for tests"
    echo = False
    keeps_audio = True
    faults = SessionFaults()

    def __init__(self) -> None:
        self.left = False
        self.audio = b""
        self._answers: Answers | None = None

    def join(self, answers: Answers) -> None:
        self._answers = answers

    def leave(self) -> None:
        self.left = True

    def heard(self, turn: CallerTurn) -> Transcription | None:
        self.audio = turn.audio
        self._later(lambda to: to.transcribed(turn.item_id, Transcription(text="late words")))
        return None

    def reply(self, request: ResponseRequest) -> Reply | None:
        reply = Reply(items=(Speech("late reply", Sound(bytes(4800))),))
        self._later(lambda to: to.replied(request.response_id, reply))
        return None

    def cancelled(self, response_id: str) -> None:
        """It is dropped when it comes."""

    def _later(self, tell: Callable[[Answers], None]) -> None:
        answers = self._answers
        assert answers is not None
        asyncio.get_running_loop().call_later(1.0, tell, answers)


def test_a_behaviour_may_take_its_time(virtual: RunAsync) -> None:
    async def scenario() -> None:
        behaviour = Late()
        server = AgentServer(lambda: behaviour)
        link, ear = joined(server)
        link.send(message("session.update", session=PCMU))
        voice = caller_voice(1.0)
        await speak(link, b"\xff" * 8000 + voice + b"\xff" * 8000)
        await ear.until(heard("response.done"))
        assert "late words" in str(events(ear))
        assert "late reply" in str(events(ear))
        # The turn's audio is what was said, with its padding and the silence that ended it.
        assert voice[800:-800] in behaviour.audio
        assert 1.4 < len(behaviour.audio) / 8000 < 2.0
        link.close()
        await ear.end()
        assert behaviour.left

    virtual(scenario())


# Over real sockets


@asynccontextmanager
async def serving(server: AgentServer) -> AsyncIterator[int]:
    port = await server.start("127.0.0.1", 0)
    try:
        yield port
    finally:
        await server.close()


@pytest.mark.sockets
def test_the_openai_sdk_holds_a_conversation(real: RunAsync) -> None:
    """The SDK is the oracle: its client, its event types, every event of ours checked against them."""

    async def scenario() -> None:
        script = parse_script(
            "defaults: {delay_ms: 20, transcript_delay_ms: 10}\n"
            "greeting: Welcome.\n"
            "turns:\n"
            "- {caller: 'What is the weather?', call: {name: weather, arguments: {city: Oslo}, expect: rain}, "
            "then: {say: 'It says {output}.'}}\n"
            "- {caller: Thanks., say: 'A long goodbye, longer than you will listen to.', pace: realtime}\n"
        )
        async with serving(AgentServer(script)) as port:
            client = AsyncOpenAI(api_key="any key", base_url=f"http://127.0.0.1:{port}/v1")
            async with client, client.realtime.connect(model="gpt-realtime-2.1") as connection:
                await connection.session.update(session=PCMU)  # type: ignore[arg-type]
                seen = await until(connection, "session.updated")
                await connection.response.create()
                seen += await until(connection, "response.done")
                assert seen[-1].response.status == "completed"
                assert seen[-1].response.output[0].content[0].transcript == "Welcome."

                seen += await said_by_caller(connection)
                call = next(each for each in seen if each.type == "response.function_call_arguments.done")
                assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})
                await connection.conversation.item.create(
                    item={"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
                )
                await connection.response.create()
                seen += await until(connection, "response.done")
                assert seen[-1].response.output[0].content[0].transcript == "It says rain."

                await append_voice(connection)
                seen += await until(connection, "response.output_audio.delta")
                await connection.response.cancel()
                seen += await until(connection, "response.done")
                assert seen[-1].response.status == "cancelled"
                item = seen[-1].response.output[0].id
                await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=100)
                seen += await until(connection, "conversation.item.truncated")
                await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=101)
                seen += await until(connection, "error")
                assert seen[-1].error.message == "Audio content of 100ms is already shorter than 101ms"
        texts = [each.transcript for each in seen if each.type.endswith("transcription.completed")]
        assert texts == ["What is the weather?", "Thanks."]
        for event in seen:
            assert type(ORACLE.validate_python(event.to_dict())) is type(event)

    real(scenario())


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    seen: list[Any] = []
    while not seen or seen[-1].type != kind:
        seen.append(await connection.recv())
    return seen


async def append_voice(connection: AsyncRealtimeConnection) -> None:
    """Speech faster than real time: the server's voice detection goes by the audio written."""
    audio = b"\xff" * 4000 + caller_voice(1.0) + b"\xff" * 8000
    for start in range(0, len(audio), 800):
        text = base64.b64encode(audio[start : start + 800]).decode()
        await connection.input_audio_buffer.append(audio=text)


async def said_by_caller(connection: AsyncRealtimeConnection) -> list[Any]:
    await append_voice(connection)
    return await until(connection, "response.done")


@pytest.mark.sockets
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer right"}, 101),
        ({"api-key": "right"}, 101),
    ],
)
def test_a_required_key_is_checked_before_the_upgrade(
    real: RunAsync, headers: dict[str, str], status: int
) -> None:
    async def scenario() -> None:
        async with serving(AgentServer(api_key="right")) as port, aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{port}/v1/realtime"
            try:
                async with http.ws_connect(url, headers=headers) as socket:
                    assert json.loads(await socket.receive_str())["type"] == "session.created"
                    got = 101
            except aiohttp.WSServerHandshakeError as refused:
                got = refused.status
            assert got == status

    real(scenario())


@pytest.mark.sockets
def test_any_key_or_none_is_let_in_by_default(real: RunAsync) -> None:
    async def scenario() -> None:
        async with serving(AgentServer()) as port:
            url = f"ws://127.0.0.1:{port}/v1/realtime?model=some-model"
            async with websockets.connect(url) as socket:
                created = json.loads(await socket.recv())
                assert created["session"]["model"] == "some-model"

    real(scenario())


@pytest.mark.sockets
def test_a_beta_client_is_told_and_closed_with_4000(real: RunAsync) -> None:
    async def scenario() -> None:
        async with serving(AgentServer()) as port:
            url = f"ws://127.0.0.1:{port}/v1/realtime"
            async with websockets.connect(url, additional_headers={"OpenAI-Beta": "realtime=v1"}) as socket:
                assert json.loads(await socket.recv())["error"]["code"] == "beta_api_shape_disabled"
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4000

    real(scenario())


@pytest.mark.sockets
def test_health_and_plain_requests_are_answered(real: RunAsync) -> None:
    async def scenario() -> None:
        async with serving(AgentServer()) as port, aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/health") as answer:
                assert (answer.status, await answer.json()) == (200, {"status": "ok", "sessions": 0})
            async with http.get(f"http://127.0.0.1:{port}/v1/realtime") as answer:
                assert answer.status == 426

    real(scenario())

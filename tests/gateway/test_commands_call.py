"""`offhook call`: what it refuses at once, what it prints, and its exit code; against a gateway on real sockets."""

import asyncio
import json
import socket
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import uvloop
from typer.testing import CliRunner, Result

from gateway.__main__ import app
from gateway.agent.script import parse_script
from gateway.agent.server import AgentServer
from gateway.app import running
from gateway.commands.call_options import impairments_of, script_of
from gateway.commands.examples import CALLER_SCRIPT
from gateway.settings import Settings
from media.dtmf import tone
from media.wav import WavHeader
from telephony.caller import AwaitAgent, Speak
from telephony.impairments import Drop

NOBODY = "ws://127.0.0.1:9/media/twilio/x"


def offhook(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def question(tmp_path: Path) -> Path:
    path = tmp_path / "question.wav"
    audio = tone("5", 0.3)
    path.write_bytes(WavHeader(8000, 1).bytes(len(audio)) + audio)
    return path


# What is refused at once


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://gateway.test/media"], "is not a websocket URL"),
        (["gateway.test/media"], "is not a websocket URL"),
        (["ws://gateway.test:port/media"], "is not a websocket URL"),
        ([NOBODY, "--audio", "nowhere.wav"], "nowhere.wav is not there"),
        ([NOBODY, "--script", "nowhere.yaml"], "cannot read nowhere.yaml"),
        ([NOBODY, "--audio", "a.wav", "--script", "b.yaml"], "give one of them"),
        ([NOBODY, "--codec", "pcma"], "--carrier telnyx"),
        ([NOBODY, "--reconnect-after-ms", "100"], "--drop-at-ms"),
        ([NOBODY, "--loss", "1.5"], "Invalid value"),
        ([NOBODY, "--carrier", "pigeon"], "Invalid value"),
        ([NOBODY, "--heard", "no/such/folder/heard.wav"], "there is no folder"),
    ],
)
def test_a_mistake_is_told_in_a_line_with_exit_code_2(words: list[str], said: str) -> None:
    result = offhook("call", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_a_script_that_is_none_is_told_with_where(tmp_path: Path) -> None:
    script = tmp_path / "caller.yaml"
    script.write_text("steps:\n  - sing: loudly\n")
    result = offhook("call", NOBODY, "--script", script)
    assert result.exit_code == 2
    assert "caller.yaml" in result.stderr
    script.write_bytes(b"\xff\xfe\x00")
    assert offhook("call", NOBODY, "--script", script).exit_code == 2


def test_a_caller_who_is_not_greeted_speaks_first(question: Path) -> None:
    greeted = script_of([question], None, default=CALLER_SCRIPT)
    first = script_of([question], None, default=CALLER_SCRIPT, greeted=False)
    assert isinstance(greeted[0], AwaitAgent)
    assert isinstance(first[0], Speak)
    assert isinstance(script_of(None, None, default=CALLER_SCRIPT, greeted=False)[0], Speak)


def test_milliseconds_on_the_command_line_are_seconds_in_the_plan() -> None:
    plan = impairments_of(
        delay_ms=40, jitter_ms=5, loss=0.1, reorder=0.2, drop_at_ms=3000, reconnect_after_ms=700
    )
    assert (plan.inbound_delay, plan.outbound_delay, plan.inbound_jitter, plan.outbound_jitter) == (
        0.04,
        0.04,
        0.005,
        0.005,
    )
    assert (plan.loss, plan.reorder) == (0.1, 0.2)
    assert plan.drops == (Drop(at=3.0, reconnect_after=0.7),)


# Calls


class Served:
    """A gateway and its agent in a thread of their own: the command brings its own loop."""

    def __init__(self, folder: Path, agent: AgentServer) -> None:
        self.url = ""
        self._folder = folder
        self._agent = agent
        self._up = threading.Event()
        self._loop = uvloop.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        options: dict[str, Any] = {
            "_env_file": None,
            "host": "127.0.0.1",
            "port": 0,
            "media_auth": "none",
            "data_dir": self._folder,
            "realtime_url": f"ws://127.0.0.1:{await self._agent.start()}/v1/realtime",
            "realtime_greeting": "Greet the caller.",
            "drain_s": 1.0,
        }
        try:
            async with running(Settings(**options)) as gateway:
                self.url = gateway.media_url("twilio", "test")
                self._up.set()
                await self._stop.wait()
        finally:
            await self._agent.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    script = parse_script(
        "greeting: {say: Hello., audio: {tone: {frequencies: [1900], ms: 300}}}\nafter: silent\n"
    )
    with Served(tmp_path / "data", AgentServer(script)) as served:
        yield served


GREETED = "steps:\n  - await_agent: {edge: end, quiet_ms: 200}\n  - hang_up\n"


@pytest.mark.sockets
def test_a_call_is_told_as_it_happens_and_summed_up(served: Served, tmp_path: Path) -> None:
    script, heard = tmp_path / "caller.yaml", tmp_path / "heard.wav"
    script.write_text(GREETED)
    result = offhook("call", served.url, "--script", script, "--heard", heard)
    assert result.exit_code == 0, result.output
    for told in ("stream opened", "agent heard", "caller hangs up", "ok  the call lasted", "0.30 s heard"):
        assert told in result.stdout
    with wave.open(str(heard)) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (8000, 1)
        assert sound.getnframes() > 2400


@pytest.mark.sockets
def test_with_json_nothing_else_is_printed(served: Served, tmp_path: Path) -> None:
    script = tmp_path / "caller.yaml"
    script.write_text("steps:\n  - wait_ms: 100\n  - hang_up\n")
    result = offhook("call", served.url, "--script", script, "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"], report["ended_by"]) == (0, True, "caller")
    assert report["frames"]["sent"] == 5


@pytest.mark.sockets
def test_a_refused_call_says_with_what(served: Served, tmp_path: Path) -> None:
    result = offhook("call", served.url.replace("twilio", "pigeon"))
    assert result.exit_code == 1
    assert "refused with HTTP 404" in result.stderr


@pytest.mark.sockets
def test_nobody_there_is_said_plainly() -> None:
    with socket.socket() as taken:  # bound, not listening: nobody answers and nobody else takes the port
        taken.bind(("127.0.0.1", 0))
        result = offhook("call", f"ws://127.0.0.1:{taken.getsockname()[1]}/media/twilio/x", "--json")
    assert result.exit_code == 1
    assert "could not be opened" in json.loads(result.stdout)["failure"]

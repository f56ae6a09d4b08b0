"""The local pipeline: a session with small engines on virtual time, and with the packaged ones where installed."""

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.agent.dialogue import WELCOME
from gateway.agent.local import LocalPipeline, MissingExtra, PackagedEngines, repeats
from gateway.agent.mel import samples_of
from gateway.agent.server import AgentServer
from gateway.agent.sound import stand_in
from media.realtime.server_behaviour import Sound
from media.resample import resample_whole
from tests.conftest import RunAsync
from tests.memory_link import Ear, MemoryLink, memory_pair

Event = dict[str, Any]
PCM = {"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}


class Loudness:
    """Engines that hear how long and how loud something is, and speak in tones."""

    def recognise(self, samples: NDArray[np.float32]) -> str:
        seconds = len(samples) / 16_000
        return f"about {round(seconds)} seconds" if np.abs(samples).max() > 0.1 else ""

    def speak(self, text: str) -> Sound:
        return stand_in(text)


def voice(seconds: float) -> bytes:
    """A buzz with a voice's harmonics, PCM16 at 24 kHz."""
    time = np.arange(int(seconds * 24000)) / 24000
    wave = sum((np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20)), np.zeros_like(time))
    return (wave * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time)) / 3 * 12000).astype("<i2").tobytes()


def message(kind: str, **fields: object) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


def speak(link: MemoryLink, pcm: bytes) -> None:
    for start in range(0, len(pcm), 9600):
        text = base64.b64encode(pcm[start : start + 9600]).decode()
        link.send(message("input_audio_buffer.append", audio=text))


def events(ear: Ear) -> list[Event]:
    return [json.loads(each) for each in ear.messages]


def said(ear: Ear) -> list[str]:
    return [each["transcript"] for each in events(ear) if each["type"].endswith("audio_transcript.done")]


def told(ear: Ear) -> list[str]:
    return [each["transcript"] for each in events(ear) if each["type"].endswith("transcription.completed")]


def done(count: int) -> Callable[[Ear], bool]:
    return lambda ear: sum(b'"response.done"' in each for each in ear.messages) >= count


async def call(pipeline: LocalPipeline, *turns: bytes) -> Ear:
    server = AgentServer(pipeline.behaviour)
    ear = Ear()
    ours, theirs = memory_pair(ear)
    theirs.listener = server.attach(theirs)
    ours.send(message("session.update", session=PCM))
    ours.send(message("response.create"))
    await ear.until(done(1))
    for count, turn in enumerate(turns, 2):
        speak(ours, turn + bytes(48_000))
        await ear.until(done(count))
    await server.close()
    pipeline.close()
    return ear


def test_a_call_is_greeted_heard_and_answered(virtual: RunAsync) -> None:
    ear = virtual(call(LocalPipeline(Loudness()), voice(1.0), voice(3.0)))
    assert events(ear)[0]["session"]["offhook"]["note"].endswith("not a speech-to-speech model.")
    assert said(ear) == [WELCOME, "You said: about 2 seconds", "You said: about 4 seconds"]
    assert told(ear) == ["about 2 seconds", "about 4 seconds"]


def test_a_reply_that_is_cut_while_it_is_made_is_not_heard(virtual: RunAsync) -> None:
    async def scenario() -> Ear:
        pipeline = LocalPipeline(Loudness())
        server = AgentServer(pipeline.behaviour)
        ear = Ear()
        ours, theirs = memory_pair(ear)
        theirs.listener = server.attach(theirs)
        ours.send(message("response.create"))
        ours.send(message("response.cancel"))
        await ear.until(done(1))
        await asyncio.sleep(5.0)
        await server.close()
        pipeline.close()
        return ear

    ear = virtual(scenario())
    assert [each["type"] for each in events(ear) if "delta" in each["type"]] == []


class Broken(Loudness):
    def speak(self, text: str) -> Sound:
        raise RuntimeError("no voice")


def test_an_engine_that_fails_ends_the_response_as_failed(virtual: RunAsync) -> None:
    ear = virtual(call(LocalPipeline(Broken())))
    done_events = [each for each in events(ear) if each["type"] == "response.done"]
    assert [each["response"]["status"] for each in done_events] == ["failed"]


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'offhook\[local\]'"):
        PackagedEngines()


def test_a_recogniser_that_runs_in_a_circle_is_not_believed() -> None:
    assert repeats("thank you so much, thank you so much, thank you so much")
    assert not repeats("the number is one two three one two three")


@pytest.mark.sockets  # real models, real time
def test_the_packaged_engines_understand_each_other() -> None:
    pytest.importorskip("ctranslate2", reason="the extra `local` is not installed")
    engines = PackagedEngines()
    sound = engines.speak("What time do you close on Saturday?")
    pcm = resample_whole(sound.pcm, sound.rate, 16_000)
    text = engines.recognise(samples_of(pcm))
    assert "what time do you close on saturday" in text.lower()

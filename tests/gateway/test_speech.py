"""The speech port: its memory, its choice of a voice, and the two voices against their real peers."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.speech import LONGEST, Speech, SpeechFailed, SpeechPort, read_speech
from gateway.speech_endpoint import SpeechEndpoint
from gateway.speech_espeak import EspeakVoice, espeak_names
from media.level import dbfs
from media.wav import UNKNOWN, WavHeader
from tests.conftest import RunAsync

SPOKEN = bytes(range(256)) * 10


class CountingVoice:
    """Says the text's own bytes, and remembers what it was asked."""

    available = True

    def __init__(self, *, takes: float = 0.0) -> None:
        self.asked: list[str] = []
        self.closed = False
        self._takes = takes

    async def say(self, text: str, voice: str | None, language: str | None) -> Speech:
        self.asked.append(text)
        await asyncio.sleep(self._takes)
        if text == "unspeakable":
            raise SpeechFailed("no")
        return Speech(text.encode() * 2, 8_000)

    async def close(self) -> None:
        self.closed = True


def test_what_was_said_once_is_not_rendered_again(virtual: RunAsync) -> None:
    async def scenario() -> None:
        voice = CountingVoice()
        port = SpeechPort([voice])
        assert await port.say("Hello.") == await port.say("Hello.") == Speech(b"Hello." * 2, 8_000)
        await port.say("Hello.", "male")
        await port.say("Hello.", "male", "de")
        assert voice.asked == ["Hello."] * 3

    virtual(scenario())


def test_a_text_asked_for_twice_at_once_is_rendered_once(virtual: RunAsync) -> None:
    async def scenario() -> None:
        voice = CountingVoice(takes=1.0)
        port = SpeechPort([voice])
        await asyncio.gather(*(port.say("Hello.") for _ in range(5)))
        assert voice.asked == ["Hello."]
        assert port._rendering == {}

    virtual(scenario())


def test_a_failure_is_everybodys_and_is_not_kept(virtual: RunAsync) -> None:
    async def scenario() -> None:
        voice = CountingVoice(takes=1.0)
        port = SpeechPort([voice])
        said = await asyncio.gather(*(port.say("unspeakable") for _ in range(2)), return_exceptions=True)
        assert [type(each) for each in said] == [SpeechFailed, SpeechFailed]
        assert len(voice.asked) == 1
        with pytest.raises(SpeechFailed):
            await port.say("unspeakable")
        assert len(voice.asked) == 2
        assert port._rendering == {}

    virtual(scenario())


def test_a_call_that_ends_does_not_cost_another_its_prompt(virtual: RunAsync) -> None:
    async def scenario() -> None:
        voice = CountingVoice(takes=1.0)
        port = SpeechPort([voice])
        first, second = (asyncio.create_task(port.say("Hello.")) for _ in range(2))
        await asyncio.sleep(0.5)
        first.cancel()
        assert (await second).audio == b"Hello." * 2
        assert voice.asked == ["Hello.", "Hello."]
        assert port._rendering == {}

    virtual(scenario())


def test_the_memory_is_bounded_and_forgets_what_was_not_asked_for_longest(virtual: RunAsync) -> None:
    async def scenario() -> None:
        voice = CountingVoice()
        port = SpeechPort([voice], cache_bytes=8)
        for text in ("aa", "bb", "aa", "cc", "aa", "bb", "longer than all"):
            await port.say(text)
        assert voice.asked == ["aa", "bb", "cc", "bb", "longer than all"]

    virtual(scenario())


def test_the_first_voice_that_is_there_speaks(virtual: RunAsync) -> None:
    async def scenario() -> None:
        absent, present = CountingVoice(), CountingVoice()
        absent.available = False
        port = SpeechPort([absent, present])
        assert port.available
        await port.say("Hello.")
        assert (absent.asked, present.asked) == ([], ["Hello."])
        await port.close()
        assert absent.closed
        assert present.closed

    virtual(scenario())


def test_without_a_voice_nothing_is_said(virtual: RunAsync) -> None:
    async def scenario() -> None:
        port = SpeechPort([])
        assert not port.available
        with pytest.raises(SpeechFailed, match="no voice"):
            await port.say("Hello.")
        with pytest.raises(SpeechFailed, match="characters"):
            await SpeechPort([CountingVoice()]).say("a" * (LONGEST + 1))

    virtual(scenario())


# --- WAV


@pytest.mark.parametrize("length", [len(SPOKEN), None, 0x7FFF_FFFF], ids=["told", "unknown", "a guess"])
def test_a_wav_whose_length_was_not_known_is_read_to_its_end(length: int | None) -> None:
    header = WavHeader(24_000, 1).bytes(length)
    assert read_speech(header + SPOKEN) == Speech(SPOKEN, 24_000)
    assert UNKNOWN == 0xFFFF_FFFF


def test_of_two_channels_the_first_is_taken() -> None:
    assert read_speech(WavHeader(16_000, 2).bytes(8) + b"aaBBccDD") == Speech(b"aacc", 16_000)


@pytest.mark.parametrize(
    "wav", [b"", b"no wav", WavHeader(8_000, 1).bytes(0)], ids=["nothing", "text", "empty"]
)
def test_what_is_no_speech_is_refused(wav: bytes) -> None:
    with pytest.raises(SpeechFailed):
        read_speech(wav)


# --- an OpenAI-compatible endpoint

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def endpoint(answer: Answer, **options: Any) -> AsyncIterator[SpeechEndpoint]:
    """A server of that wire on a port of its own, and a voice that knows it."""
    app = web.Application()
    app.router.add_post("/v1/audio/speech", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    url = f"http://127.0.0.1:{address[1]}/v1"
    voice = SpeechEndpoint(url, api_key="sk-test", model="tts-1", voice="marin", **options)
    try:
        yield voice
    finally:
        await voice.close()
        await runner.cleanup()


@pytest.mark.sockets
def test_an_endpoint_is_asked_for_wav_by_the_key_and_voice_it_was_given(real: RunAsync) -> None:
    asked: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer sk-test"
        asked.append(json.loads(await request.text()))
        return web.Response(body=WavHeader(24_000, 1).bytes() + SPOKEN, content_type="audio/wav")

    async def scenario() -> None:
        async with endpoint(answer) as voice:
            for name in (None, "female", "cedar"):
                assert await voice.say("Hello.", name, "en-US") == Speech(SPOKEN, 24_000)

    real(scenario())
    assert [each["voice"] for each in asked] == ["marin", "marin", "cedar"]
    assert asked[0] == {"model": "tts-1", "voice": "marin", "input": "Hello.", "response_format": "wav"}


@pytest.mark.sockets
@pytest.mark.parametrize("status", [401, 429, 500])
def test_an_endpoint_that_refuses_is_a_failure_that_says_so(real: RunAsync, status: int) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "Hello. is refused"}}, status=status)

    async def scenario() -> None:
        async with endpoint(answer) as voice:
            with pytest.raises(SpeechFailed, match=str(status)) as failed:
                await voice.say("Hello.", None, None)
            assert "Hello" not in str(failed.value)

    real(scenario())


@pytest.mark.sockets
def test_an_endpoint_that_does_not_answer_is_given_up(real: RunAsync) -> None:
    done = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await done.wait()
        return web.Response()

    async def scenario() -> None:
        async with endpoint(answer, timeout=0.2) as voice:
            with pytest.raises(SpeechFailed, match="in time"):
                await voice.say("Hello.", None, None)
            done.set()

    real(scenario())


@pytest.mark.sockets
def test_an_endpoint_that_is_not_there_is_a_failure(real: RunAsync) -> None:
    async def scenario() -> None:
        voice = SpeechEndpoint("http://127.0.0.1:9/v1", api_key="", model="m", voice="v")
        with pytest.raises(SpeechFailed, match="not reached"):
            await voice.say("Hello.", None, None)
        await voice.close()

    real(scenario())


# --- espeak-ng

espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng gives texts a voice (apt-get install espeak-ng)"
)


@espeak
@pytest.mark.sockets
def test_espeak_speaks_the_language_it_is_asked_for(real: RunAsync) -> None:
    async def scenario() -> dict[str, Speech]:
        voice = EspeakVoice()
        assert voice.available
        languages = ("en-US", "en-GB", "fr-CA", "zh-CN", "pt-BR")
        return {each: await voice.say("Please enter 123.", "male", each) for each in languages}

    said = real(scenario())
    assert len({speech.audio for speech in said.values()}) == len(said)
    for speech in said.values():
        assert 1.0 < len(speech.audio) / 2 / speech.rate < 5.0
        assert dbfs(speech.audio) > -35


@espeak
@pytest.mark.sockets
@pytest.mark.parametrize("language", ["xx-YY", "../../etc/passwd", "--compile=x", "en us"])
def test_espeak_refuses_what_it_does_not_speak_and_what_is_no_language(real: RunAsync, language: str) -> None:
    async def scenario() -> None:
        with pytest.raises(SpeechFailed, match=r"language|speak"):
            await EspeakVoice().say("Hello.", None, language)

    real(scenario())


@espeak
@pytest.mark.sockets
def test_a_text_is_never_taken_for_an_option(real: RunAsync) -> None:
    async def scenario() -> None:
        speech = await EspeakVoice().say("--version; $(id) <break/>", "female", "en-US")
        assert len(speech.audio) / 2 / speech.rate > 1.0

    real(scenario())


@pytest.mark.sockets
def test_a_program_that_hangs_is_killed(real: RunAsync, tmp_path: Any) -> None:
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)

    async def scenario() -> None:
        voice = EspeakVoice(program=str(program), timeout=0.2)
        with pytest.raises(SpeechFailed, match="in time"):
            await voice.say("Hello.", None, None)

    real(scenario())


def test_espeak_names_languages_its_own_way() -> None:
    assert espeak_names("en-US") == ["en-us", "en"]
    assert espeak_names("zh-Hans-CN") == ["zh-hans-cn", "cmn"]
    assert espeak_names("de") == ["de"]


def test_without_espeak_there_is_no_voice(virtual: RunAsync) -> None:
    async def scenario() -> None:
        voice = EspeakVoice(program="no-such-program")
        assert not voice.available
        with pytest.raises(SpeechFailed, match="not installed"):
            await voice.say("Hello.", None, None)

    virtual(scenario())

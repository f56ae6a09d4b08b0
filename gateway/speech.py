"""The speech port: gives a fixed text a voice, by whatever is there.

An OpenAI-compatible speech endpoint where one is configured, else espeak-ng where it is installed, else nothing. What
was said once is kept: greetings, prompts and announcements are few and come again on every call.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Protocol

from media import g711
from media.wav import BadWav, read

# Fixed texts are seconds long; these are some hundred of them at 24 kHz.
CACHE_BYTES = 32_000_000
# What OpenAI's endpoint takes; five minutes of speech.
LONGEST = 4_096
NO_NAMES = frozenset({"female", "male"})
"""Voices that name nobody: the carriers' two."""


Key = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Speech:
    """What a text sounds like."""

    audio: bytes = field(repr=False)
    """PCM16, mono."""
    rate: int


class SpeechFailed(Exception):
    """The text was not rendered; the message says why, and never the text."""


class Voice(Protocol):
    """One way to render a text."""

    @property
    def available(self) -> bool:
        """Whether it can render anything."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...

    async def say(self, text: str, voice: str | None, language: str | None) -> Speech:
        """Render `text`; `voice` is `female`, `male` or the renderer's own name of one, `language` BCP-47.

        Raises:
            SpeechFailed: it cannot.
        """
        ...


class SpeechPort:
    """The first voice that is available, with a memory. Asked twice for the same text at once, it renders it once."""

    def __init__(self, voices: Sequence[Voice], *, cache_bytes: int = CACHE_BYTES) -> None:
        self._voices = voices
        self._voice = next((voice for voice in voices if voice.available), None)
        self._limit = cache_bytes
        self._kept: OrderedDict[Key, Speech] = OrderedDict()
        self._size = 0
        self._rendering: dict[Key, asyncio.Future[Speech]] = {}

    @property
    def available(self) -> bool:
        return self._voice is not None

    async def close(self) -> None:
        for voice in self._voices:
            await voice.close()

    async def say(self, text: str, voice: str | None = None, language: str | None = None) -> Speech:
        """Return what `text` sounds like.

        Raises:
            SpeechFailed: there is no voice, or it failed.
        """
        if len(text) > LONGEST:
            raise SpeechFailed(f"a text of more than {LONGEST} characters")
        key = (text, voice, language)
        while True:
            if (speech := self._kept_speech(key)) is not None:
                return speech
            rendering = self._rendering.get(key)
            if rendering is None:
                return await self._render_for_all(key)
            await asyncio.wait([rendering])
            if not rendering.cancelled():  # else whoever rendered it was called off: try again
                return rendering.result()

    async def _render_for_all(self, key: Key) -> Speech:
        """Render for whoever asks meanwhile, too; a failure is everybody's: an endpoint that is down is not asked
        in turn for each of a hundred calls.
        """
        rendering: asyncio.Future[Speech] = asyncio.get_running_loop().create_future()
        self._rendering[key] = rendering
        try:
            rendering.set_result(await self._render(key))
        except SpeechFailed as fault:
            rendering.set_exception(fault)
            rendering.exception()  # there may be nobody else to hear of it
        finally:
            rendering.cancel()
            del self._rendering[key]
        return rendering.result()

    def _kept_speech(self, key: Key) -> Speech | None:
        speech = self._kept.get(key)
        if speech is not None:
            self._kept.move_to_end(key)
        return speech

    async def _render(self, key: Key) -> Speech:
        if self._voice is None:
            raise SpeechFailed("no voice is configured and espeak-ng is not installed")
        speech = await self._voice.say(*key)
        if len(speech.audio) <= self._limit:
            self._kept[key] = speech
            self._size += len(speech.audio)
        while self._size > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest.audio)
        return speech


def read_speech(wav: bytes) -> Speech:
    """Return the audio of a WAV file, of several channels the first.

    Raises:
        SpeechFailed: it is none, or there is nothing in it.
    """
    try:
        header, audio = read(BytesIO(wav))
    except BadWav as fault:
        raise SpeechFailed(f"what was rendered is no WAV we read: {fault}") from fault
    pcm = g711.decode(audio, header.encoding)
    if header.channels > 1:
        width = 2 * header.channels
        pcm = b"".join(pcm[at : at + 2] for at in range(0, len(pcm), width))
    if not pcm:
        raise SpeechFailed("what was rendered is empty")
    return Speech(pcm, header.rate)

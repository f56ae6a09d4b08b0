"""The speech port: gives a fixed text a voice, by whatever is there.

An OpenAI-compatible speech endpoint where one is configured, else espeak-ng where it is installed, else nothing. What
was said once is kept: greetings, prompts and announcements are few and come again on every call.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

# Fixed texts are seconds long; these are some hundred of them at 24 kHz.
CACHE_BYTES = 32_000_000


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

    async def say(self, text: str, voice: str | None, language: str | None) -> Speech:
        """Render `text`; `voice` is the renderer's own name of one, `language` BCP-47.

        Raises:
            SpeechFailed: it cannot.
        """
        ...


class SpeechPort:
    """The first voice that is available, with a memory. Asked twice for the same text at once, it renders it once."""

    def __init__(self, voices: Sequence[Voice], *, cache_bytes: int = CACHE_BYTES) -> None:
        self._voice = next((voice for voice in voices if voice.available), None)
        self._limit = cache_bytes
        self._kept: OrderedDict[tuple[str, str | None, str | None], Speech] = OrderedDict()
        self._size = 0
        self._locks: dict[tuple[str, str | None, str | None], _Turn] = {}

    @property
    def available(self) -> bool:
        return self._voice is not None

    async def say(self, text: str, voice: str | None = None, language: str | None = None) -> Speech:
        """Return what `text` sounds like.

        Raises:
            SpeechFailed: there is no voice, or it failed.
        """
        key = (text, voice, language)
        turn = self._locks.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                return self._kept_speech(key) or await self._render(key)
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._locks[key]

    def _kept_speech(self, key: tuple[str, str | None, str | None]) -> Speech | None:
        speech = self._kept.get(key)
        if speech is not None:
            self._kept.move_to_end(key)
        return speech

    async def _render(self, key: tuple[str, str | None, str | None]) -> Speech:
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


class _Turn:
    """Who renders a text, and how many want it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0

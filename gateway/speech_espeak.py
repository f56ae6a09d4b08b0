"""The voice of espeak-ng, where it is installed: plain, and there without an account."""

import asyncio
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE

from gateway.speech import Speech, SpeechFailed, read_speech

# It renders a sentence in some 20 ms.
TIMEOUT = 10.0
# What is not a language tag could be an option or a path.
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
# Languages whose name in espeak-ng is not their BCP-47 primary tag.
_NAMES = {"zh": "cmn", "no": "nb", "iw": "he", "in": "id", "tl": "fil"}
# Its variants of a voice; the third of each is the least strained on a telephone.
_VARIANTS = {"male": "m3", "female": "f3"}


class EspeakVoice:
    """Runs one process per text; the text goes by standard input."""

    def __init__(self, *, program: str = "espeak-ng", timeout: float = TIMEOUT) -> None:
        self._program = shutil.which(program)
        self._timeout = timeout

    @property
    def available(self) -> bool:
        return self._program is not None

    async def close(self) -> None:
        """Nothing is kept open."""

    async def say(self, text: str, voice: str | None, language: str | None) -> Speech:
        """Render by the voice of the language, else of its primary tag.

        Raises:
            SpeechFailed: it has neither, or is not done in time.
        """
        variant = _VARIANTS.get(voice or "", _VARIANTS["female"])
        for name in espeak_names(language or "en-US"):
            wav = await self._run(f"{name}+{variant}", text)
            if wav:
                return read_speech(wav)
        raise SpeechFailed(f"espeak-ng does not speak {language}")

    async def _run(self, voice: str, text: str) -> bytes:
        """Return the WAV; nothing if there is no such voice."""
        if self._program is None:
            raise SpeechFailed("espeak-ng is not installed")
        process = await asyncio.create_subprocess_exec(
            self._program,
            "-v",
            voice,
            "-b",
            "1",
            "--stdin",
            "--stdout",
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
        )
        try:
            async with asyncio.timeout(self._timeout):
                wav, _ = await process.communicate(text.encode("utf-8", "replace"))
        except TimeoutError as late:
            raise SpeechFailed("espeak-ng was not done in time") from late
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return wav if process.returncode == 0 else b""


def espeak_names(language: str) -> list[str]:
    """Return what espeak-ng may call a BCP-47 language, best first.

    Raises:
        SpeechFailed: it is no language tag.
    """
    if not _TAG.fullmatch(language):
        raise SpeechFailed("that is no language tag")
    tag = language.lower()
    primary = tag.partition("-")[0]
    return list(dict.fromkeys([tag, _NAMES.get(primary, primary)]))

"""Audio from a URL that a user gave, as the telephone would carry it: for play and hold.

It is hostile until proven otherwise. What it is we tell by its first bytes, and ffmpeg is told so: left to guess, it
would take a playlist for audio, and open whatever files and addresses stand in it. Size, length, time and the number
of decoders at a time are bounded, for they share a machine with live calls.
"""

import asyncio
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from io import BytesIO

import numpy as np

from control.api.ports import AudioUnavailable, FetchedAudio
from control.egress import EgressFailed, Fetch, OutgoingRequest
from media.audio import Encoding
from media.g711 import decode
from media.resample import resample_whole
from media.wav import BadWav, WavHeader, read

RATE = 8_000
"""What a phone call carries, in Hz; whatever is fetched is brought there."""

MAX_BYTES = 20_000_000
MAX_SECONDS = 600
FETCH_TIMEOUT = 20.0
DECODE_TIMEOUT = 20.0
REDIRECTS = 3
DECODERS = 2

# ffmpeg's names of what we hand it, by first bytes. None of these formats leads to other files or addresses.
_FORMATS = {
    "wav": re.compile(rb"RIFF....WAVE", re.DOTALL),
    "flac": re.compile(rb"fLaC"),
    "ogg": re.compile(rb"OggS"),
    "mp3": re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"),
    "aac": re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"),
    "mov": re.compile(rb"....ftyp", re.DOTALL),
    "matroska": re.compile(rb"\x1a\x45\xdf\xa3"),
}


class AudioFetch:
    """Fetches and decodes, a few at a time. Driven by the API, once per request that names audio."""

    def __init__(
        self, fetch: Fetch, *, ffmpeg: str | None = None, decode_timeout: float = DECODE_TIMEOUT
    ) -> None:
        """
        Args:
            ffmpeg: its path; None looks for it. Without it only WAV can be read.
            decode_timeout: seconds that ffmpeg may take.
        """
        self._fetch = fetch
        self._ffmpeg = ffmpeg or shutil.which("ffmpeg")
        self._decode_timeout = decode_timeout
        self._decoders = asyncio.Semaphore(DECODERS)

    async def __call__(self, url: str) -> FetchedAudio:
        """Return the audio at a URL.

        Raises:
            AudioUnavailable: it cannot be fetched, is too large or too long, or is no audio that we read.
        """
        return await self.decoded(await self._content(url))

    async def decoded(self, content: bytes) -> FetchedAudio:
        """Return what is in an audio file.

        Raises:
            AudioUnavailable: it is too long, or no audio that we read.
        """
        kind = next((name for name, begins in _FORMATS.items() if begins.match(content)), None)
        if kind is None:
            raise AudioUnavailable("it is no audio file of a kind that is read")
        async with self._decoders:
            pcm = await self._decode(kind, content)
        if not pcm:
            raise AudioUnavailable("there is no sound in it")
        if len(pcm) > MAX_SECONDS * RATE * 2:
            raise AudioUnavailable(f"it is longer than {MAX_SECONDS} seconds")
        return FetchedAudio(pcm, RATE)

    async def _content(self, url: str) -> bytes:
        request = OutgoingRequest(
            url=url,
            headers={"Accept": "audio/*"},
            timeout=FETCH_TIMEOUT,
            max_bytes=MAX_BYTES,
            redirects=REDIRECTS,
        )
        try:
            answer = await self._fetch(request)
        except EgressFailed as failed:
            raise AudioUnavailable(failed.detail) from failed
        if not answer.ok:
            raise AudioUnavailable(f"its server answers HTTP {answer.status}")
        if answer.truncated:
            raise AudioUnavailable(f"it is larger than {MAX_BYTES // 1_000_000} MB")
        return answer.body

    async def _decode(self, kind: str, content: bytes) -> bytes:
        if kind == "wav":
            try:
                return await asyncio.to_thread(_telephone_wav, content)
            except BadWav as bad:
                if self._ffmpeg is None:
                    raise AudioUnavailable(f"its WAV is not read: {bad}") from bad
        if self._ffmpeg is None:
            raise AudioUnavailable("without ffmpeg only WAV can be read")
        return await self._by_ffmpeg(self._ffmpeg, kind, content)

    async def _by_ffmpeg(self, ffmpeg: str, kind: str, content: bytes) -> bytes:
        process = await asyncio.create_subprocess_exec(
            ffmpeg, *_arguments(kind), stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        try:
            async with asyncio.timeout(self._decode_timeout):
                pcm, _ = await process.communicate(content)
        except TimeoutError as error:
            raise AudioUnavailable("it takes too long to decode") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise AudioUnavailable("it cannot be decoded")
        return pcm


def _arguments(kind: str) -> list[str]:
    # `cache` lets ffmpeg seek in what comes through a pipe: an MP4 has its index at the end.
    reading = ["-protocol_whitelist", "cache,pipe", "-f", kind, "-i", "cache:pipe:0"]
    # One second beyond the limit, so that what is too long shows itself.
    writing = [
        "-map",
        "0:a:0",
        "-t",
        str(MAX_SECONDS + 1),
        "-ac",
        "1",
        "-ar",
        str(RATE),
        "-f",
        "s16le",
        "pipe:1",
    ]
    return ["-nostdin", "-loglevel", "quiet", *reading, *writing]


def _telephone_wav(content: bytes) -> bytes:
    header, audio = read(BytesIO(content))
    pcm = audio if header.encoding is Encoding.PCM16 else decode(audio, header.encoding)
    _check_length(header, pcm)
    samples = np.frombuffer(pcm, np.dtype("<i2")).reshape(-1, header.channels)
    mono = samples.mean(axis=1).astype("<i2") if header.channels > 1 else samples
    return resample_whole(mono.tobytes(), header.rate, RATE)


def _check_length(header: WavHeader, pcm: bytes) -> None:
    """Before it is resampled: a header of 1 Hz would make gigabytes of a few kilobytes."""
    if not 4_000 <= header.rate <= 192_000:
        raise AudioUnavailable(f"its rate of {header.rate} Hz is not one of sound")
    if len(pcm) / 2 / header.channels / header.rate > MAX_SECONDS:
        raise AudioUnavailable(f"it is longer than {MAX_SECONDS} seconds")

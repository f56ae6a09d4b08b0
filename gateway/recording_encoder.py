"""Makes recordings smaller: FLAC, MP3 or Opus by ffmpeg, where the settings ask for one.

ffmpeg because it is where these encoders are kept up and what is packaged everywhere (ADR 0010); it runs as a process
of its own, after the call and at the lowest priority, so no live call waits for it. Where it is missing or fails the
recording is kept as the WAV it is: a file that is too large is better than none.
"""

import asyncio
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import structlog

from control.recordings import RecordingFormat

log = structlog.get_logger()

# Seconds: an hour of stereo takes some ten of them.
PATIENCE = 600.0

# Telephone speech in two channels: 8 kHz has nothing that more bits would keep.
_ENCODERS = {
    RecordingFormat.FLAC: ["-c:a", "flac", "-f", "flac"],
    RecordingFormat.MP3: ["-c:a", "libmp3lame", "-b:a", "32k", "-f", "mp3"],
    RecordingFormat.OPUS: ["-c:a", "libopus", "-b:a", "24k", "-application", "voip", "-f", "ogg"],
}
# Not with live calls for the processor: the lowest of all priorities.
_NICE = ["nice", "-n", "19"]


class EncodingFailed(Exception):
    """There is no smaller file; the message says why."""


class RecordingEncoder:
    """Encodes one file at a time. Driven by the desk."""

    def __init__(self, wanted: RecordingFormat, *, ffmpeg: str | None = None) -> None:
        """
        Args:
            ffmpeg: its path; None looks for it.
        """
        self.wanted = wanted
        self._ffmpeg = ffmpeg or shutil.which("ffmpeg")
        if wanted is not RecordingFormat.WAV and self._ffmpeg is None:
            log.warning("recordings stay WAV: there is no ffmpeg", wanted=wanted.value)

    async def encode(self, wav: Path, call_id: str) -> tuple[Path, RecordingFormat]:
        """Return the file to be kept, and its format: another one beside the WAV, or the WAV itself."""
        if self.wanted is RecordingFormat.WAV or self._ffmpeg is None:
            return wav, RecordingFormat.WAV
        encoded = wav.with_name(f".{call_id}.{self.wanted.ending}")
        try:
            await _convert(self._ffmpeg, wav, _ENCODERS[self.wanted], encoded)
        except EncodingFailed as failed:
            log.error("a recording stays WAV", call_id=call_id, wanted=self.wanted.value, why=str(failed))
            encoded.unlink(missing_ok=True)
            return wav, RecordingFormat.WAV
        return encoded, self.wanted


async def decoded_wav(file: Path, kind: RecordingFormat, target: Path) -> Path:
    """Return a recording as WAV: the file itself if it is one, else another.

    Raises:
        EncodingFailed: it cannot be read, or there is no ffmpeg.
    """
    if kind is RecordingFormat.WAV:
        return file
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise EncodingFailed("there is no ffmpeg")
    # The plainest header, which every reader of ours knows.
    await _convert(ffmpeg, file, ["-ar", "8000", "-c:a", "pcm_s16le", "-bitexact", "-f", "wav"], target)
    return target


async def _convert(ffmpeg: str, source: Path, how: list[str], target: Path) -> None:
    # A recording is ours, but it lay in a store: ffmpeg is to open that file and nothing that it may lead to.
    reading = ["-nostdin", "-loglevel", "error", "-y", "-protocol_whitelist", "file", "-i", str(source)]
    nice = _NICE if shutil.which("nice") else []
    try:
        process = await asyncio.create_subprocess_exec(
            *nice, ffmpeg, *reading, *how, str(target), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
        )
    except OSError as error:
        raise EncodingFailed(f"ffmpeg cannot be started: {error}") from error
    try:
        async with asyncio.timeout(PATIENCE):
            _, said = await process.communicate()
    except TimeoutError as error:
        raise EncodingFailed(f"it took more than {PATIENCE:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise EncodingFailed(lines[-1][:300] if lines else f"ffmpeg exits with {process.returncode}")

"""Audio from URLs: every usual kind is read, and nothing that only pretends to be one."""

import math
import shutil
import struct
import subprocess
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest

from control.api.ports import AudioUnavailable, FetchedAudio
from control.egress import EgressFailed, EgressRefused, OutgoingAnswer, OutgoingRequest
from gateway.audio_fetch import MAX_BYTES, AudioFetch
from tests.conftest import RunAsync

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")


class Server:
    """Answers one body, or fails."""

    def __init__(self, outcome: OutgoingAnswer | EgressFailed) -> None:
        self.outcome = outcome
        self.asked: list[OutgoingRequest] = []

    async def __call__(self, request: OutgoingRequest) -> OutgoingAnswer:
        self.asked.append(request)
        if isinstance(self.outcome, EgressFailed):
            raise self.outcome
        return self.outcome


def tone(rate: int, channels: int = 1, seconds: float = 1.0, width: int = 2) -> bytes:
    """A WAV of 440 Hz at half of full scale, on every channel."""
    file = BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, width, rate, 0, "NONE", ""))
        for n in range(round(rate * seconds)):
            sample = round(0.5 * (2 ** (8 * width - 1) - 1) * math.sin(2 * math.pi * 440 * n / rate))
            out.writeframes(sample.to_bytes(width, "little", signed=True) * channels)
    return file.getvalue()


def fetched(run: RunAsync, content: bytes) -> FetchedAudio:
    async def scenario() -> FetchedAudio:
        server = Server(OutgoingAnswer(status=200, body=content))
        return await AudioFetch(server)("https://h/a")

    return run(scenario())


def refused(run: RunAsync, outcome: OutgoingAnswer | EgressFailed | bytes) -> str:
    async def scenario() -> str:
        answer = OutgoingAnswer(status=200, body=outcome) if isinstance(outcome, bytes) else outcome
        with pytest.raises(AudioUnavailable) as failed:
            await AudioFetch(Server(answer))("https://h/a")
        return str(failed.value)

    return run(scenario())


def seconds(audio: FetchedAudio) -> float:
    return len(audio.audio) / 2 / audio.rate


def is_the_tone(audio: FetchedAudio) -> bool:
    """Whether it is 440 Hz and as loud as it was."""
    samples = np.frombuffer(audio.audio, "<i2")[800:-800] / 32768
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    peak = spectrum.argmax() * audio.rate / samples.size
    return bool(abs(peak - 440) < 5 and abs(np.sqrt(np.mean(samples**2)) - 0.5 / math.sqrt(2)) < 0.05)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_wav_becomes_telephone_speech(virtual: RunAsync, rate: int, channels: int) -> None:
    audio = fetched(virtual, tone(rate, channels))
    assert audio.rate == 8_000
    assert seconds(audio) == pytest.approx(1.0, abs=0.01)
    assert is_the_tone(audio)


def converted(folder: Path, *arguments: str, suffix: str) -> bytes:
    """The tone as ffmpeg writes it."""
    source, target = folder / "source.wav", folder / f"tone{suffix}"
    source.write_bytes(tone(44_100, 2))
    assert FFMPEG is not None
    subprocess.run([FFMPEG, "-loglevel", "error", "-i", source, *arguments, target], check=True)
    return target.read_bytes()


def test_g711_in_a_wav_needs_no_ffmpeg(virtual: RunAsync) -> None:
    silence = b"\xff" * 8_000
    head = struct.pack("<HHIIHHH", 7, 1, 8_000, 8_000, 1, 8, 0)
    body = (
        b"WAVEfmt "
        + struct.pack("<I", len(head))
        + head
        + b"data"
        + struct.pack("<I", len(silence))
        + silence
    )
    audio = fetched(virtual, b"RIFF" + struct.pack("<I", len(body)) + body)
    assert audio.audio == bytes(16_000)


@needs_ffmpeg
@pytest.mark.sockets
@pytest.mark.parametrize(
    ("suffix", "arguments"),
    [
        (".mp3", ()),
        (".mp3", ("-id3v2_version", "0", "-write_xing", "0")),
        (".ogg", ("-c:a", "libopus")),
        (".flac", ()),
        (".m4a", ()),
        (".aac", ()),
        (".webm", ("-c:a", "libopus")),
        (".wav", ("-c:a", "pcm_s24le")),
        (".wav", ("-c:a", "pcm_f32le")),
    ],
)
def test_every_usual_kind_is_read(
    real: RunAsync, tmp_path: Path, suffix: str, arguments: tuple[str, ...]
) -> None:
    audio = fetched(real, converted(tmp_path, *arguments, suffix=suffix))
    assert seconds(audio) == pytest.approx(1.0, abs=0.1)
    assert is_the_tone(audio)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
    ],
)
def test_what_is_no_audio_never_reaches_a_decoder(virtual: RunAsync, content: bytes) -> None:
    assert refused(virtual, content) == "it is no audio file of a kind that is read"


@needs_ffmpeg
@pytest.mark.sockets
@pytest.mark.parametrize(
    "content",
    [
        b"ID3\x03\x00\x00\x00\x00\x00\x00#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n" * 50,
        b"OggS" + bytes(1_000),
        b"\x00\x00\x00\x18ftypM4A " + bytes(1_000),
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"\xff\xfb" + bytes(3),
    ],
)
def test_what_only_begins_like_audio_is_refused(real: RunAsync, content: bytes) -> None:
    assert refused(real, content) in ("it cannot be decoded", "there is no sound in it")


@needs_ffmpeg
@pytest.mark.sockets
def test_what_is_too_long_is_refused_however_small_it_is(real: RunAsync, tmp_path: Path) -> None:
    assert FFMPEG is not None
    long = tmp_path / "long.ogg"
    silence = ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "700", "-c:a", "libopus", "-b:a", "6k"]
    subprocess.run([FFMPEG, "-loglevel", "error", *silence, long], check=True)
    assert refused(real, long.read_bytes()) == "it is longer than 600 seconds"


@pytest.mark.parametrize(
    ("rate", "why"), [(1, "1 Hz"), (1_000_000, "1000000 Hz"), (4_000, "longer than 600")]
)
def test_a_wav_that_would_blow_up_is_refused(virtual: RunAsync, rate: int, why: str) -> None:
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    body = head + b"data" + struct.pack("<I", 5_000_000) + bytes(5_000_000)
    assert why in refused(virtual, b"RIFF" + struct.pack("<I", len(body)) + body)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (
            EgressRefused("h is at an address that is not public (private)"),
            "h is at an address that is not public",
        ),
        (OutgoingAnswer(status=404), "its server answers HTTP 404"),
        (OutgoingAnswer(status=200, body=b"RIFF", truncated=True), "it is larger than 20 MB"),
    ],
)
def test_what_cannot_be_fetched_says_why(
    virtual: RunAsync, outcome: OutgoingAnswer | EgressFailed, why: str
) -> None:
    assert refused(virtual, outcome).startswith(why)


def test_it_is_asked_for_within_bounds(virtual: RunAsync) -> None:
    async def scenario() -> None:
        server = Server(OutgoingAnswer(status=200, body=tone(8_000)))
        await AudioFetch(server)("https://h/a")
        (request,) = server.asked
        assert (request.method, request.max_bytes, request.redirects) == ("GET", MAX_BYTES, 3)

    virtual(scenario())


@pytest.mark.sockets
def test_a_decoder_that_hangs_is_killed(real: RunAsync, tmp_path: Path) -> None:
    hanging = tmp_path / "ffmpeg"
    hanging.write_text("#!/bin/sh\nexec sleep 1000\n")
    hanging.chmod(0o755)

    async def scenario() -> None:
        server = Server(OutgoingAnswer(status=200, body=b"fLaC" + bytes(1_000_000)))
        audio = AudioFetch(server, ffmpeg=str(hanging), decode_timeout=0.1)
        with pytest.raises(AudioUnavailable, match="too long to decode"):
            await audio("https://h/a")
        assert not [child for child in psutil.Process().children() if "1000" in child.cmdline()]

    real(scenario())

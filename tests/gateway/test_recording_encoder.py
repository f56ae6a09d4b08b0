"""Recordings are made smaller where they can be, and are never lost over it."""

import shutil
from pathlib import Path

import pytest

from control.recordings import RecordingFormat
from gateway.recording_encoder import EncodingFailed, RecordingEncoder, decoded_wav
from gateway.recording_files import measure
from tests.conftest import RunAsync
from tests.kept_calls import SECONDS, WAV

pytestmark = pytest.mark.sockets

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "call_1.wav"
    path.write_bytes(WAV)
    return path


@needs_ffmpeg
@pytest.mark.parametrize("kind", [RecordingFormat.FLAC, RecordingFormat.MP3, RecordingFormat.OPUS])
def test_what_is_encoded_is_as_long_when_it_is_decoded(
    real: RunAsync, wav: Path, kind: RecordingFormat
) -> None:
    async def scenario() -> None:
        encoded, made = await RecordingEncoder(kind).encode(wav, "call_1")
        assert (made, encoded.name) == (kind, f".call_1.{kind.ending}")
        back = await decoded_wav(encoded, kind, wav.with_name("back.wav"))
        measured = measure(back)
        assert (measured.header.channels, measured.header.rate) == (2, 8_000)
        assert measured.milliseconds / 1000 == pytest.approx(SECONDS, abs=0.2)
        if kind is RecordingFormat.FLAC:
            assert back.read_bytes() == WAV

    real(scenario())


@pytest.mark.parametrize("ffmpeg", ["/bin/false", "/nowhere/ffmpeg"])
def test_an_encoder_that_fails_leaves_the_wav(real: RunAsync, wav: Path, ffmpeg: str) -> None:
    encoder = RecordingEncoder(RecordingFormat.OPUS, ffmpeg=ffmpeg)
    assert real(encoder.encode(wav, "call_1")) == (wav, RecordingFormat.WAV)
    assert [path.name for path in wav.parent.iterdir()] == ["call_1.wav"]


def test_without_ffmpeg_recordings_stay_wav(
    real: RunAsync, wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(wav.parent))
    assert real(RecordingEncoder(RecordingFormat.FLAC).encode(wav, "call_1")) == (wav, RecordingFormat.WAV)
    with pytest.raises(EncodingFailed, match="no ffmpeg"):
        real(decoded_wav(wav, RecordingFormat.FLAC, wav.with_name("back.wav")))


def test_a_wav_is_read_as_it_is(real: RunAsync, wav: Path) -> None:
    assert real(decoded_wav(wav, RecordingFormat.WAV, wav.with_name("back.wav"))) == wav


@needs_ffmpeg
def test_what_is_no_audio_says_so(real: RunAsync, wav: Path) -> None:
    wav.write_bytes(b"no audio")
    with pytest.raises(EncodingFailed):
        real(decoded_wav(wav, RecordingFormat.OPUS, wav.with_name("back.wav")))

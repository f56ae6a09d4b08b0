"""Recordings are transcribed by a server that speaks the transcription wire: each track, in order, and once."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from openai.types.audio import TranscriptionVerbose

from control.recordings import Recording, Transcription, TranscriptionState
from control.stores.errors import StoreUnavailable
from control.stores.store import Store
from gateway import transcriber
from gateway.recording_files import RecordingFiles
from gateway.recording_store import RecordingStore
from gateway.transcriber import Transcriber, TranscriptionEndpoint
from media.wav import WavHeader
from tests.conftest import RunAsync
from tests.contracts.test_recordings import filed, over
from tests.receiver import Received, Receiver

pytestmark = pytest.mark.sockets

RATE = 8_000
NOON = datetime(2026, 3, 2, 13, tzinfo=UTC)


def talk(
    caller: Sequence[tuple[float, float]], agent: Sequence[tuple[float, float]], seconds: float = 3
) -> bytes:
    """A recording on which either speaks at these times."""
    time = np.arange(round(seconds * RATE)) / RATE
    stereo = np.zeros((time.size, 2), "<i2")
    for channel, (hertz, stretches) in enumerate(((700, caller), (1_900, agent))):
        for begin, end in stretches:
            speaks = (time >= begin) & (time < end)
            stereo[speaks, channel] = (8_000 * np.sin(2 * np.pi * hertz * time[speaks])).astype("<i2")
    audio = stereo.tobytes()
    return WavHeader(rate=RATE, channels=2).bytes(len(audio)) + audio


def form(received: Received) -> dict[str, bytes]:
    """The fields of a multipart form, by the standard library."""
    head = f"Content-Type: {received.headers['content-type']}\r\n\r\n".encode()
    found: dict[str, bytes] = {}
    for part in message_from_bytes(head + received.body).walk():
        if part.is_multipart():
            continue
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found[str(name)] = content
    return found


def heard_in(content: bytes) -> tuple[str, float]:
    """Whose voice is in a file, and how long it is, by the standard library's reader."""
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, RATE)
        track = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(track))
    hertz = np.argmax(spectrum) * RATE / track.size
    return ("caller" if abs(hertz - 700) < 20 else "agent"), track.size / RATE


def verbose(*segments: tuple[float, str]) -> web.Response:
    """An answer as OpenAI gives it."""
    answer = {
        "task": "transcribe",
        "language": "english",
        "duration": 3.0,
        "text": " ".join(text for _, text in segments),
        "segments": [
            {
                "id": number, "seek": 0, "start": start, "end": start + 1, "text": f" {text}", "tokens": [1],
                "temperature": 0.0, "avg_logprob": -0.2, "compression_ratio": 1.0, "no_speech_prob": 0.01,
            }
            for number, (start, text) in enumerate(segments)
        ],
    }  # fmt: skip
    TranscriptionVerbose.model_validate(answer)
    return web.json_response(answer)


def refuses(status: int) -> web.Response:
    return web.json_response({"error": {"message": "no", "type": "error", "code": None}}, status=status)


@dataclass
class Scene:
    """A recording that somebody wants transcribed, and who does it."""

    store: Store
    server: Receiver
    transcriber: Transcriber
    keep: RecordingStore
    recording: Recording
    now: datetime

    async def said(self) -> tuple[Mapping[str, object], ...]:
        """What was heard, if all went well."""
        done = await self.transcription()
        assert done.problem is None
        return done.utterances

    async def transcription(self) -> Transcription:
        kept = await self.store.recordings.of_call(self.recording.call_id)
        assert kept is not None
        assert kept.transcription is not None
        return kept.transcription


@asynccontextmanager
async def scene(
    folder: Path, answer: Callable[[dict[str, bytes]], web.Response], content: bytes, **changes: Any
) -> AsyncIterator[Scene]:
    store = await Store.open(f"sqlite:///{folder / 'offhook.db'}", migrate=True)
    files = RecordingFiles(folder)
    keep = RecordingStore.open(None, files.folder)
    async with Receiver.running() as server:
        server.answer = lambda received: answer(form(received))
        record = await over(store)
        recording = await filed(store, record, **changes)
        (files.folder / recording.path).write_bytes(content)
        endpoint = TranscriptionEndpoint(f"{server.url}/v1", "k", "whisper-1")
        transcriber = Transcriber(endpoint, store.recordings, files, keep, wall=lambda: made.now, piece=10)
        made = Scene(store, server, transcriber, keep, recording, NOON)
        await store.recordings.ask_transcription(record.tenant_id, record.call_id, NOON)
        try:
            yield made
        finally:
            await transcriber.close()
            await store.close()
            assert [path.name for path in files.folder.iterdir()] in ([recording.path], [])


def by_voice(form: dict[str, bytes]) -> web.Response:
    assert form["model"] == b"whisper-1"
    assert form["response_format"] == b"verbose_json"
    voice, _ = heard_in(form["file"])
    return verbose((0.5, "Hello."), (1.5, "Bye.")) if voice == "caller" else verbose((0.0, "Welcome."))


def test_each_speaker_is_heard_by_himself_and_in_order(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, by_voice, talk([(1, 2.5)], [(0, 0.5)])) as on:
            assert await on.transcriber.one()
            done = await on.transcription()
            assert (done.state, done.problem, done.finished_at) == (TranscriptionState.DONE, None, NOON)
            assert [dict(each) for each in done.utterances] == [
                {"role": "assistant", "content": "Welcome.", "timestamp": 0.0},
                {
                    "role": "user",
                    "content": "Hello.",
                    "timestamp": 1.0,
                },  # the track begins half a second before
                {"role": "user", "content": "Bye.", "timestamp": 2.0},
            ]
            assert not await on.transcriber.one()

    real(scenario())


def test_a_silent_recording_asks_nobody(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, by_voice, talk([], [])) as on:
            await on.transcriber.one()
            assert (await on.transcription()).utterances == ()
            assert on.server.received == []

    real(scenario())


def test_a_long_recording_goes_in_pieces(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        content = talk([(1, 2), (12, 13)], [], seconds=20)
        async with scene(tmp_path, lambda form: verbose((0.5, "Yes.")), content) as on:
            await on.transcriber.one()
            said = await on.said()
            assert [each["timestamp"] for each in said] == [1.0, 12.0]
            lengths = [heard_in(form(each)["file"])[1] for each in on.server.received]
            assert lengths == pytest.approx([9.5, 8.5], abs=0.001)

    real(scenario())


def test_a_model_that_tells_no_times_is_asked_without(real: RunAsync, tmp_path: Path) -> None:
    def answer(form: dict[str, bytes]) -> web.Response:
        if form["response_format"] != b"json":
            return refuses(400)
        return web.json_response({"text": f"I am the {heard_in(form['file'])[0]}."})

    async def scenario() -> None:
        async with scene(tmp_path, answer, talk([(1, 2)], [(2, 3)])) as on:
            await on.transcriber.one()
            said = await on.said()
            assert [(each["content"], each["timestamp"]) for each in said] == [
                ("I am the caller.", 0.5),
                ("I am the agent.", 1.5),
            ]
            assert len(on.server.received) == 3  # and not a fourth in vain

    real(scenario())


def test_an_endpoint_that_fails_is_asked_again_within_the_hour(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, lambda form: refuses(503), talk([(0, 1)], [])) as on:
            assert await on.transcriber.one()
            waiting = await on.transcription()
            assert (waiting.state, waiting.problem) == (
                TranscriptionState.PENDING,
                "the endpoint answered 503",
            )
            assert not await on.transcriber.one()
            on.now = NOON + timedelta(seconds=30)
            on.server.answer = lambda received: by_voice(form(received))
            assert await on.transcriber.one()
            assert (await on.transcription()).state is TranscriptionState.DONE

    real(scenario())


def test_after_an_hour_it_is_given_up(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, lambda form: refuses(503), talk([(0, 1)], [])) as on:
            on.now = NOON + timedelta(hours=1)
            await on.transcriber.one()
            given_up = await on.transcription()
            assert (given_up.state, given_up.problem) == (
                TranscriptionState.FAILED,
                "the endpoint answered 503",
            )

    real(scenario())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda: refuses(401), "the endpoint answered 401"),
        (lambda: web.json_response({"words": 7}), "there is no text"),
    ],
)
def test_what_cannot_get_better_is_not_tried_again(
    real: RunAsync, tmp_path: Path, answer: Callable[[], web.Response], problem: str
) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, lambda form: answer(), talk([(0, 1)], [])) as on:
            await on.transcriber.one()
            failed = await on.transcription()
            assert failed.state is TranscriptionState.FAILED
            assert problem in (failed.problem or "")

    real(scenario())


def test_a_file_that_is_gone_or_no_audio_is_told(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, by_voice, b"no audio at all") as on:
            await on.transcriber.one()
            assert "cannot be read" in ((await on.transcription()).problem or "")
            await on.keep.delete(on.recording.path)
            await on.store.recordings.ask_transcription(on.recording.tenant_id, on.recording.call_id, NOON)
            await on.transcriber.one()
            assert (await on.transcription()).problem == "the recording's file is not in the store"

    real(scenario())


def test_what_was_heard_is_kept_when_the_database_is_back_and_not_asked_for_again(
    real: RunAsync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcriber, "_SETTLE_PAUSE", 0.01)

    async def scenario() -> None:
        async with scene(tmp_path, by_voice, talk([(0.5, 1.0)], [(1.5, 2.5)])) as on:
            settle, refusals = on.store.recordings.settle_transcription, iter([True, True])

            async def away(recording_id: str, done: Transcription, retry_at: datetime | None = None) -> None:
                if next(refusals, False):
                    raise StoreUnavailable("away")
                await settle(recording_id, done, retry_at)

            monkeypatch.setattr(on.store.recordings, "settle_transcription", away)
            assert await on.transcriber.one()
            assert await on.said() != ()
            assert len(on.server.received) == 2
            assert not await on.transcriber.one()

    real(scenario())


def test_a_transcription_whose_process_died_is_begun_again_within_the_hour(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, by_voice, talk([(0.5, 1.0)], [(1.5, 2.5)])) as on:
            on.server.hold()
            dying = asyncio.ensure_future(on.transcriber.one())
            await on.server.heard()
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
            on.server.let_go()
            on.now = NOON + timedelta(minutes=14)
            assert not await on.transcriber.one()
            on.now = NOON + timedelta(minutes=16)
            assert await on.transcriber.one()
            assert (await on.transcription()).state is TranscriptionState.DONE

    real(scenario())

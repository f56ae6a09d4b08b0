"""Has recordings transcribed after the call: an OpenAI-compatible endpoint, one track and one piece at a time.

Theory of operation. What is to be transcribed is said in the database, so a restart forgets nothing; a recording is
claimed for as long as one piece may take, and again with every piece. What the endpoint fails at for now is tried again
within the hour; what it refuses is told (`problem`), as its status alone: its text may hold anything.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import structlog
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI

from control.api.ports import RecordingStoreAway
from control.recordings import Recording, Transcription, TranscriptionState
from control.stores.errors import StoreUnavailable
from control.stores.recordings import Recordings
from control.transcription import PIECE, Heard, Piece, heard_of, pieces, utterances
from gateway.recording_encoder import EncodingFailed, decoded_wav
from gateway.recording_files import RecordingFiles, measure
from gateway.recording_store import RecordingStore
from media.wav import BadWav, WavHeader, stretch

log = structlog.get_logger()

# Seconds for one piece of ten minutes.
TIMEOUT = 300.0
# For one piece, and what comes before and after; then whoever had it has died over it. Shorter than `_GIVE_UP`.
_LEASE = timedelta(minutes=15)
# Attempts that the SDK makes beyond the first: of an endpoint that closed a connection we were about to use, say.
_AT_ONCE = 1
# Between attempts, and until they are given up.
_AGAIN = timedelta(seconds=30)
_GIVE_UP = timedelta(hours=1)
# Seconds until the database is offered a result again.
_SETTLE_PAUSE = 2.0
# Seconds between looks where nobody tells.
_PERIOD = 30.0

_PASSING = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same question may fare better."""
_FORMAT_UNKNOWN = frozenset({400, 404, 422})
"""How endpoints and models refuse a `response_format` that they do not know."""


class _Unheard(Exception):
    """There is no transcription."""

    def __init__(self, why: str, *, again: bool = False, format_unknown: bool = False) -> None:
        super().__init__(why)
        self.again = again
        self.format_unknown = format_unknown


@dataclass(frozen=True, slots=True)
class TranscriptionEndpoint:
    """Who transcribes."""

    base_url: str
    api_key: str
    model: str


class Transcriber:
    """Driven by news (`notify`) and by its own task (`run`). Owns its connections, until `close`."""

    def __init__(
        self,
        endpoint: TranscriptionEndpoint,
        rows: Recordings,
        files: RecordingFiles,
        keep: RecordingStore,
        *,
        wall: Callable[[], datetime],
        piece: int = PIECE,
    ) -> None:
        """
        Args:
            piece: seconds of a track that are sent at once.
        """
        self._model = endpoint.model
        self._rows = rows
        self._files = files
        self._keep = keep
        self._wall = wall
        self._piece = piece
        self._news = asyncio.Event()
        self._segments = True
        """Whether the model is asked for the time of every sentence."""
        self._client = AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key or "none",
            timeout=TIMEOUT,
            max_retries=_AT_ONCE,
        )

    async def close(self) -> None:
        await self._client.close()

    def notify(self) -> None:
        """Something is to be transcribed."""
        self._news.set()

    async def run(self) -> None:
        """Transcribe, until cancelled."""
        while True:
            self._news.clear()
            try:
                while await self.one():
                    pass
            except StoreUnavailable as fault:
                log.warning("transcriptions wait for the database", why=str(fault))
            try:
                async with asyncio.timeout(_PERIOD):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def one(self) -> bool:
        """Transcribe what has waited longest; whether there was anything."""
        recording = await self._rows.claim_transcription(self._wall(), _LEASE)
        if recording is None or recording.transcription is None:
            return False
        asked = recording.transcription
        try:
            said = await self._transcribed(recording)
        except _Unheard as unheard:
            await self._fail(recording, asked, unheard)
        else:
            await self._settle(recording, asked, utterances=tuple(said))
        return True

    async def _fail(self, recording: Recording, asked: Transcription, unheard: _Unheard) -> None:
        now = self._wall()
        log.warning("a recording was not transcribed", call_id=recording.call_id, why=str(unheard))
        if unheard.again and now - asked.requested_at < _GIVE_UP:
            waiting = Transcription(
                state=TranscriptionState.PENDING, requested_at=asked.requested_at, problem=str(unheard)
            )
            await self._rows.settle_transcription(recording.recording_id, waiting, now + _AGAIN)
        else:
            await self._settle(recording, asked, problem=str(unheard))

    async def _settle(
        self,
        recording: Recording,
        asked: Transcription,
        *,
        utterances: tuple[dict[str, object], ...] = (),
        problem: str | None = None,
    ) -> None:
        done = Transcription(
            state=TranscriptionState.DONE if problem is None else TranscriptionState.FAILED,
            requested_at=asked.requested_at,
            finished_at=self._wall(),
            utterances=utterances,
            problem=problem,
        )
        while True:
            try:
                await self._rows.settle_transcription(recording.recording_id, done)
                break
            except StoreUnavailable as fault:  # what was said is paid for: it is not asked twice
                log.warning("a transcription is not kept yet", call_id=recording.call_id, why=str(fault))
                await asyncio.sleep(_SETTLE_PAUSE)
        log.info(
            "recording transcribed", call_id=recording.call_id, sentences=len(utterances), problem=problem
        )

    async def _hold(self, recording: Recording) -> None:
        try:
            await self._rows.hold_transcription(recording.recording_id, self._wall() + _LEASE)
        except StoreUnavailable as fault:
            log.warning("a transcription's claim is not renewed", call_id=recording.call_id, why=str(fault))

    # The audio

    async def _transcribed(self, recording: Recording) -> list[dict[str, object]]:
        heard: list[tuple[Piece, list[Heard]]] = []
        async with self._wav(recording) as wav:
            measured = await asyncio.to_thread(measure, wav)
            rate = measured.header.rate
            for begin in range(0, measured.samples, self._piece * rate):
                audio = await asyncio.to_thread(_stretch, wav, begin, self._piece * rate)
                for piece in pieces(audio, rate, begin / rate):
                    await self._hold(recording)
                    heard.append((piece, await self._ask(piece, rate)))
        return utterances(heard)

    @asynccontextmanager
    async def _wav(self, recording: Recording) -> AsyncIterator[Path]:
        """The recording as a stereo WAV of our own, which goes afterwards."""
        fetched = self._files.borrowed(recording.call_id, "transcribed")
        wav = fetched.with_suffix(".transcribed.wav")
        try:
            await self._keep.fetch(recording.path, fetched)
            yield await decoded_wav(fetched, recording.format, wav)
        except FileNotFoundError as missing:
            raise _Unheard("the recording's file is not in the store") from missing
        except RecordingStoreAway as away:
            raise _Unheard(f"the store of the recordings does not answer: {away}", again=True) from away
        except (BadWav, EncodingFailed) as bad:
            raise _Unheard(f"the recording cannot be read: {bad}") from bad
        finally:
            for path in (fetched, wav):
                path.unlink(missing_ok=True)

    # The question

    async def _ask(self, piece: Piece, rate: int) -> list[Heard]:
        try:
            return await self._asked(piece, rate, segments=self._segments)
        except _Unheard as unheard:
            if not unheard.format_unknown or not self._segments:
                raise
        heard = await self._asked(piece, rate, segments=False)
        self._segments = False  # not all models tell when something was said
        return heard

    async def _asked(self, piece: Piece, rate: int, *, segments: bool) -> list[Heard]:
        wav = WavHeader(rate=rate, channels=1).bytes(len(piece.audio)) + piece.audio
        more: dict[str, Any] = {"response_format": "json"}
        if segments:
            more = {"response_format": "verbose_json", "timestamp_granularities": ["segment"]}
        try:
            # Raw: the SDK would read some servers' answers as what they are not.
            answer = await self._client.audio.transcriptions.with_raw_response.create(
                model=self._model, file=(f"{piece.role}.wav", wav, "audio/wav"), **more
            )
        except APIStatusError as error:
            status = error.status_code
            raise _Unheard(
                f"the endpoint answered {status}",
                again=status in _PASSING,
                format_unknown=status in _FORMAT_UNKNOWN,
            ) from error
        except APIConnectionError as error:  # a timeout is one
            raise _Unheard("the endpoint was not reached in time", again=True) from error
        except APIError as error:
            raise _Unheard("the endpoint answered something else", again=True) from error
        return _read(answer.http_response.content)


def _read(answer: bytes) -> list[Heard]:
    try:
        value = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _Unheard("the endpoint answered what is not JSON", again=True) from error
    try:
        return heard_of(value if isinstance(value, dict) else {})
    except ValueError as error:
        raise _Unheard(f"the endpoint's answer is none: {error}") from error


def _stretch(wav: Path, begin: int, samples: int) -> bytes:
    with wav.open("rb") as file:
        return stretch(file, begin, samples)

"""Recordings, put together: the files, the store, what files them, what erases them, and the room that shows them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from secrets import token_hex

import structlog

from control.api.ports import FetchedAudio
from control.costs import recorded_cost
from control.download_links import PURPOSE, DownloadLinks
from control.recordings import RecordingFormat
from control.stores.recordings import Recordings
from gateway.call_house import CallHouse, node_of
from gateway.configured_agents import tariff
from gateway.recording_desk import RecordingDesk
from gateway.recording_encoder import RecordingEncoder
from gateway.recording_eraser import RecordingEraser
from gateway.recording_files import RecordingFiles
from gateway.recording_repair import RecordingRepair
from gateway.recording_room import RecordingRoom
from gateway.recording_store import RecordingStore, S3Account
from gateway.secret_keys import secret_keys
from gateway.settings import Settings
from gateway.task_set import TaskSet, keep_running

log = structlog.get_logger()

# Seconds in which the recordings of the last calls are filed when the gateway goes; the next start files the others.
_PARTING = 5.0


def recording_store(settings: Settings) -> RecordingStore:
    """Where recordings are kept.

    Raises:
        ValueError: the URL is none of a store that we know, or what belongs to it is missing.
        OSError: the folder cannot be made.
    """
    url, secret = settings.recording_store, settings.recording_store_secret
    account = S3Account(
        key_id=settings.recording_store_key_id,
        secret=secret.get_secret_value() if secret is not None else None,
        region=settings.recording_store_region,
        endpoint=settings.recording_store_endpoint,
    )
    return RecordingStore.open(url, RecordingFiles(settings.data_dir).folder, account)


@asynccontextmanager
async def recording_house(
    settings: Settings, house: CallHouse, *, decode: Callable[[bytes], Awaitable[FetchedAudio]]
) -> AsyncIterator[RecordingRoom]:
    """File and erase recordings in here.

    Args:
        decode: makes audio that a caller can be played of a file.

    Raises:
        OSError, ValueError: the store's folder or its settings, or the keys in the data folder.
    """
    rows, keep = house.store.recordings, recording_store(settings)
    files, prices = RecordingFiles(settings.data_dir), tariff(settings)

    def told(tenant_id: str) -> None:
        house.news.tell(tenant_id)
        for hear in house.hears_of_events:
            hear()

    def cost(seconds: Decimal) -> Decimal:
        return recorded_cost(seconds, prices)

    days = settings.recording_retention_days
    desk = RecordingDesk(
        rows,
        files,
        keep,
        RecordingEncoder(RecordingFormat(settings.recording_format)),
        cost=cost,
        retention=None if days is None else timedelta(days=days),
        now=asyncio.get_running_loop().time,
        wall=_utcnow,
        new_id=_new_id,
        told=told,
    )
    eraser = RecordingEraser(rows, files, keep, node=node_of(settings.data_dir), wall=_utcnow)
    repair = RecordingRepair(
        rows,
        files,
        keep,
        desk,
        node=house.node,
        is_live=lambda call_id: house.calls.find(call_id) is not None,
        new_id=_new_id,
    )
    await asyncio.to_thread(files.sweep)
    house.hears_of_events.append(desk.notify)
    tasks = TaskSet()
    tasks.spawn(keep_running(desk.run), "recordings desk")
    tasks.spawn(keep_running(eraser.run), "recordings eraser")
    links = _links(settings)
    try:
        async with _transcribing(settings, rows, files, keep, tasks) as transcribe:
            yield RecordingRoom(
                keep, links, repair, eraser, transcribe=transcribe, decode=decode, wall=_utcnow
            )
    finally:
        await tasks.close()
        await _part(desk)


async def _part(desk: RecordingDesk) -> None:
    """The calls have ended: file what they left."""
    try:
        async with asyncio.timeout(_PARTING):
            await desk.round()
    except TimeoutError:
        log.warning("recordings are left to be filed at the next start")


@asynccontextmanager
async def _transcribing(
    settings: Settings, rows: Recordings, files: RecordingFiles, keep: RecordingStore, tasks: TaskSet
) -> AsyncIterator[Callable[[], None] | None]:
    """Have recordings transcribed in here, where there is an endpoint for that."""
    if settings.transcription_url is None:
        yield None
        return
    # Here: the openai SDK takes most of a second to import, which every command would wait for.
    from gateway.transcriber import Transcriber, TranscriptionEndpoint

    key = settings.transcription_api_key
    endpoint = TranscriptionEndpoint(
        base_url=settings.transcription_url,
        api_key=key.get_secret_value() if key is not None else "",
        model=settings.transcription_model,
    )
    transcriber = Transcriber(endpoint, rows, files, keep, wall=_utcnow)
    tasks.spawn(keep_running(transcriber.run), "transcriber")
    try:
        yield transcriber.notify
    finally:
        await tasks.close()  # before its connections
        await transcriber.close()


def _links(settings: Settings) -> DownloadLinks:
    origin = settings.public_url or f"http://{settings.host}:{settings.port}"
    return DownloadLinks(secret_keys(settings).derived(PURPOSE), origin)


def _utcnow() -> datetime:
    return datetime.now(UTC)


def _new_id(prefix: str) -> str:
    return f"{prefix}_{token_hex(12)}"

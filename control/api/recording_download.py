"""A recording's bytes over HTTP: whole, or the range that was asked for (RFC 9110, 14), as fast as they are taken."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web

from control.api.ports import RecordingRoom, RecordingStoreAway
from control.api.problem import Problem
from control.recordings import Recording

log = structlog.get_logger()

# Seconds for which a reader may take nothing.
_PATIENCE = 60.0
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class _Part:
    """The bytes from `begin` to before `end`."""

    begin: int
    end: int
    partial: bool


class Download:
    """Answers requests for one recording's file. Driven by the endpoints."""

    def __init__(self, room: RecordingRoom) -> None:
        self._room = room

    async def respond(self, request: web.Request, recording: Recording) -> web.StreamResponse:
        """Answer a GET or a HEAD.

        Raises:
            Problem: the file is not there, or has no such range.
        """
        try:
            size = await self._room.size(recording)
        except RecordingStoreAway as away:
            raise store_away(away) from away
        if size is None:
            raise not_available("its file is not in the store")
        tag = f'"{recording.recording_id}-{size}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        part = _wanted(request.headers, size, tag)
        response = web.StreamResponse(status=206 if part.partial else 200, headers=_headers(recording, tag))
        response.content_length = part.end - part.begin
        if part.partial:
            response.headers["Content-Range"] = f"bytes {part.begin}-{part.end - 1}/{size}"
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        await self._send(request, response, recording, part)
        return response

    async def _send(
        self, request: web.Request, response: web.StreamResponse, recording: Recording, part: _Part
    ) -> None:
        """Once the first byte is on its way, a fault can only be told by breaking off."""
        blocks = self._room.read(recording, part.begin, part.end)
        try:
            async for block in blocks:
                if not response.prepared:
                    await response.prepare(request)
                async with asyncio.timeout(_PATIENCE):
                    await response.write(block)
        except (RecordingStoreAway, FileNotFoundError, TimeoutError) as fault:
            if not response.prepared:
                raise self._unread(fault) from fault
            log.warning("a download broke off", call_id=recording.call_id, why=str(fault))
            if request.transport is not None:
                request.transport.abort()
            return
        if not response.prepared:  # an empty file
            await response.prepare(request)
        await response.write_eof()

    @staticmethod
    def _unread(fault: Exception) -> Problem:
        if isinstance(fault, RecordingStoreAway):
            return store_away(fault)
        return not_available("its file is not in the store")


def store_away(away: RecordingStoreAway) -> Problem:
    return Problem(503, "recording_store_unavailable", str(away), headers={"Retry-After": "5"})


def not_available(detail: str) -> Problem:
    return Problem(404, "recording_not_available", detail)


def _headers(recording: Recording, tag: str) -> Mapping[str, str]:
    return {
        "Content-Type": recording.format.media_type,
        "Content-Disposition": f'attachment; filename="{recording.file_name}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "ETag": tag,
    }


def _wanted(headers: Mapping[str, str], size: int, tag: str) -> _Part:
    """Return what is to be sent. Several ranges at once, and what is no range, get the whole (14.2)."""
    whole = _Part(0, size, partial=False)
    given = _RANGE.fullmatch(headers.get("Range", "").replace(" ", ""))
    if given is None or headers.get("If-Range", tag) != tag:
        return whole
    first, last = given.groups()
    if not first and not last:
        return whole
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return whole
    if begin >= end:
        raise Problem(
            416,
            "range_not_satisfiable",
            f"the recording has {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return _Part(begin, end, partial=True)

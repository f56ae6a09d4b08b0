"""Recordings as users have them: listed, linked, downloaded, transcribed, checked and erased."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from aiohttp import web
from pydantic import AfterValidator, Field

from control.api.call_endpoints import no_such_call, zone
from control.api.endpoint import Access, Answer, Asked, Endpoint, NoBody, NoQuery, Query, Reply, endpoint
from control.api.page_queries import PageQuery
from control.api.ports import RecordingLink, RecordingRoom, RecordingStoreAway
from control.api.problem import Problem, store_unavailable
from control.api.recording_download import Download, not_available, store_away
from control.api.recording_shapes import (
    RecordingCheck,
    RecordingFix,
    RecordingLinkShape,
    RecordingList,
    RecordingShape,
    TranscriptionShape,
    check_shape,
    link_shape,
    recording_shape,
    transcription_shape,
)
from control.call_record import CallRecord
from control.download_links import LinkInvalid
from control.recording_check import Found, Remedy, diagnose
from control.recordings import Recording, RecordingState
from control.stores.errors import StoreUnavailable
from control.stores.recordings import RecordingFilters
from control.stores.store import Store

TAG = "Recordings"
_CHECK_LINK = 3600
_NOT_THERE = ("not_found", "recording_not_available", "recording_store_unavailable")


class LinkQuery(Query):
    """How long the link is wanted for."""

    expires_in: int = Field(default=3600, ge=60, le=86_400, description="Seconds.")


class RecordingListQuery(PageQuery):
    """Which recordings, and a page of them; all filters that are given hold."""

    agent_id: str | None = None
    status: Literal["processing", "ready", "failed"] | None = None
    from_date: date | None = Field(default=None, description="Of the call: YYYY-MM-DD, inclusive.")
    to_date: date | None = Field(default=None, description="YYYY-MM-DD, inclusive.")
    timezone: Annotated[str, AfterValidator(zone)] = Field(default="UTC", description="Of the dates.")

    def filters(self) -> RecordingFilters:
        return RecordingFilters(
            agent_id=self.agent_id,
            state=None if self.status is None else RecordingState(self.status),
            from_date=self.from_date,
            to_date=self.to_date,
            timezone=ZoneInfo(self.timezone),
        )


class RecordingEndpoints:
    """Driven by the routes."""

    def __init__(self, store: Store, room: RecordingRoom) -> None:
        self._store = store
        self._room = room
        self._download = Download(room)

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        return [
            endpoint(
                "GET", "/v1/calls/{call_id}/recording", self.link,
                summary="A link to the recording", tag=TAG, query=LinkQuery, body=NoBody,
                answers={200: RecordingLinkShape},
                problems=(*_NOT_THERE, "recording_not_enabled"),
            ),
            endpoint(
                "GET", "/v1/calls/{call_id}/recording/check", self.check,
                summary="Whether database and store agree", tag=TAG, query=NoQuery, body=NoBody,
                answers={200: RecordingCheck}, problems=("not_found", "recording_store_unavailable"),
            ),
            endpoint(
                "POST", "/v1/calls/{call_id}/recording/fix", self.fix,
                summary="Make database and store agree", tag=TAG, query=NoQuery, body=NoBody,
                answers={200: RecordingFix},
                problems=("not_found", "call_live", "recording_store_unavailable"), once=True,
                description="A file that waits is filed, one that was cut off is repaired, one that is found is "
                "linked; a recording whose file is nowhere is marked as failed.",
            ),
            endpoint(
                "GET", "/v1/recordings", self.list,
                summary="List recordings", tag=TAG, query=RecordingListQuery, body=NoBody,
                answers={200: RecordingList}, problems=("invalid_cursor", "invalid_sort"),
            ),
            endpoint(
                "GET", "/v1/recordings/{call_id}", self.get,
                summary="A recording", tag=TAG, query=NoQuery, body=NoBody, answers={200: RecordingShape},
                problems=("not_found",),
            ),
            *(
                endpoint(
                    method, "/v1/recordings/{call_id}/download", self.download,
                    summary=summary, tag=TAG, query=NoQuery, body=NoBody, access=Access.READ,
                    answers={200: "audio/*", 206: "audio/*"},
                    problems=(*_NOT_THERE, "range_not_satisfiable"),
                    description="`Range` gets a part of it, 206.",
                )
                for method, summary in (("GET", "The recording's audio"), ("HEAD", "How much audio there is"))
            ),
            endpoint(
                "DELETE", "/v1/recordings/{call_id}", self.erase,
                summary="Erase a recording", tag=TAG, query=NoQuery, body=NoBody, answers={204: None},
                problems=("not_found",),
                description="The call stays. Its trace, which holds all audio, goes as well.",
            ),
            endpoint(
                "POST", "/v1/recordings/{call_id}/transcribe", self.transcribe,
                summary="Have a recording transcribed", tag=TAG, query=NoQuery, body=NoBody,
                answers={202: TranscriptionShape}, once=True,
                problems=("not_found", "recording_not_available", "transcription_not_configured"),
                description="What comes of it is the recording's `transcription`.",
            ),
        ]  # fmt: skip

    def add_to(self, app: web.Application) -> None:
        """Signed links need no key, so they pass no gate."""
        app.router.add_get("/recordings/{call_id}", self.linked)  # and HEAD

    async def link(self, asked: Asked[LinkQuery, NoBody]) -> Answer:
        record = await self._record(asked)
        recording = await self._store.recordings.get(asked.tenant_id, record.call_id)
        if recording is None:
            raise _not_yet(record)
        if recording.state is not RecordingState.READY:
            raise _unready(recording)
        return Reply(link_shape(recording, await self._linked_for(recording, asked.query.expires_in)))

    async def linked(self, request: web.Request) -> web.StreamResponse:
        call_id, query = request.match_info["call_id"], request.query
        try:
            self._room.check_link(call_id, query.get("expires", ""), query.get("signature", ""))
        except LinkInvalid as invalid:
            raise Problem(403, "invalid_link", str(invalid)) from invalid
        try:
            recording = await self._store.recordings.of_call(call_id)
        except StoreUnavailable as error:
            raise store_unavailable() from error
        if recording is None or recording.state is not RecordingState.READY:
            raise not_available("there is no such recording any more")
        return await self._download.respond(request, recording)

    async def list(self, asked: Asked[RecordingListQuery, NoBody]) -> Answer:
        query = asked.query
        page = await self._store.recordings.page(asked.tenant_id, query.filters(), query.page("started_at"))
        shapes = [recording_shape(each) for each in page.recordings]
        return Reply(RecordingList(data=shapes, next_cursor=page.next_cursor))

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        return Reply(recording_shape(await self._recording(asked)))

    async def download(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        recording = await self._recording(asked)
        if recording.state is not RecordingState.READY:
            raise _unready(recording)
        return await self._download.respond(asked.http, recording)

    async def erase(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        erased = await self._store.recordings.erase(asked.tenant_id, asked.path["call_id"], datetime.now(UTC))
        if not erased:
            raise _no_such_recording()
        self._room.erase_soon()
        return web.Response(status=204)

    async def transcribe(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        recording = await self._recording(asked)
        if not self._room.transcribes:
            raise Problem(501, "transcription_not_configured", "there is no provider of transcriptions")
        asked_for = await self._store.recordings.ask_transcription(
            asked.tenant_id, recording.call_id, datetime.now(UTC)
        )
        if not asked_for:
            raise _unready(recording)
        self._room.transcribe_soon()
        waiting = (await self._recording(asked)).transcription
        if waiting is None:  # erased in this moment
            raise _no_such_recording()
        return Reply(transcription_shape(waiting), 202)

    async def check(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        record = await self._record(asked)
        recording, found = await self._looked_for(record)
        url = None
        if recording is not None and recording.state is RecordingState.READY and found.named(recording.path):
            url = (await self._linked_for(recording, _CHECK_LINK)).url
        return Reply(check_shape(record, recording, found, diagnose(record, recording, found), url))

    async def fix(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        record = await self._record(asked)
        if record.live:
            raise Problem(409, "call_live", "the call has not ended")
        recording, found = await self._looked_for(record)
        remedy = diagnose(record, recording, found).remedy
        changed: list[str] = []
        if remedy is not Remedy.NOTHING:
            try:
                changed = await self._room.put_right(record, recording, found, remedy)
            except RecordingStoreAway as away:
                raise store_away(away) from away
            record = await self._record(asked)
            recording, found = await self._looked_for(record)
        return Reply(
            RecordingFix(
                call_id=record.call_id,
                changed=changed,
                issues=[] if recording is None else [*diagnose(record, recording, found).issues],
                recording=None if recording is None else recording_shape(recording),
            )
        )

    async def _linked_for(self, recording: Recording, seconds: int) -> RecordingLink:
        try:
            return await self._room.link(recording, seconds)
        except RecordingStoreAway as away:
            raise store_away(away) from away

    async def _looked_for(self, record: CallRecord) -> tuple[Recording | None, Found]:
        recording = await self._store.recordings.get(record.tenant_id, record.call_id)
        try:
            return recording, await self._room.find(record, recording)
        except RecordingStoreAway as away:
            raise store_away(away) from away

    async def _record(self, asked: Asked[Any, NoBody]) -> CallRecord:
        record = await self._store.call(asked.tenant_id, asked.path["call_id"])
        if record is None:
            raise no_such_call()
        return record

    async def _recording(self, asked: Asked[NoQuery, NoBody]) -> Recording:
        recording = await self._store.recordings.get(asked.tenant_id, asked.path["call_id"])
        if recording is None or recording.state is RecordingState.ERASED:
            raise _no_such_recording()
        return recording


def _not_yet(record: CallRecord) -> Problem:
    """No recording is kept: not yet, or never."""
    if not record.recording_enabled:
        return Problem(404, "recording_not_enabled", "recording was not enabled for this call")
    if record.live:
        return not_available("the call has not ended")
    if record.recording_consent is False:
        return not_available("nothing was recorded: the caller did not hear the consent prompt out")
    return not_available("the recording is still being processed, or nothing was recorded")


def _unready(recording: Recording) -> Problem:
    match recording.state:
        case RecordingState.ERASED:
            return not_available("the recording was erased")
        case RecordingState.FAILED:
            return not_available(f"there is no audio: {recording.problem}")
        case _:
            return not_available("the recording is still being processed")


def _no_such_recording() -> Problem:
    return Problem(404, "not_found", "there is no such recording")

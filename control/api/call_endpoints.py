"""Calls: dialled, listed, read, noted, erased."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiohttp import web
from pydantic import AfterValidator, Field, model_validator

from control.agents import AgentConfig
from control.api.endpoint import Answer, Asked, Body, Endpoint, NoBody, NoQuery, Query, Reply, Text, endpoint
from control.api.outgoing_urls import check_url
from control.api.page_queries import PageQuery
from control.api.ports import CallControl, RecordingRoom
from control.api.problem import Problem
from control.api.repetition import repeated
from control.api.shapes import (
    CallList,
    CallObject,
    CallStatusShape,
    TranscriptShape,
    call_object,
    call_status,
    call_summary,
)
from control.api.transcripts import as_text, as_vtt
from control.call_record import CallRecord
from control.dialling import DialFailed, Dialled, DialRequest
from control.egress_policy import EgressPolicy
from control.requests import Refused
from control.stores.call_filters import CallFilters
from control.stores.calls import Deletion
from control.stores.idempotency import Answered, Claim, Conflict, InProgress
from control.stores.store import Store
from telephony.causes import CallStatus, Direction, Disposition
from telephony.commands import MachineDetection
from telephony.numbers import InvalidNumber, parse

TAG = "Calls"


def number(text: str) -> str:
    """Return a number in its canonical form."""
    try:
        return parse(text)
    except InvalidNumber:
        raise ValueError("must be a phone number in E.164 form, such as +13125550100") from None


def destination(text: str) -> str:
    """Return a number in canonical form, or a SIP address as it is."""
    if text.lower().startswith(("sip:", "sips:")) and len(text) > 5 and not any(c.isspace() for c in text):
        return text
    try:
        return parse(text)
    except InvalidNumber:
        raise ValueError("must be a phone number in E.164 form, or a SIP address") from None


Number = Annotated[str, Field(max_length=64), AfterValidator(number)]
Destination = Annotated[str, Field(max_length=256), AfterValidator(destination)]
HeaderName = Annotated[str, Field(pattern=r"^[Xx]-[A-Za-z0-9-]{1,64}$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,256}$")]
Variable = str | int | float | bool | None
Variables = dict[
    Annotated[str, Field(max_length=64)], Variable | dict[Annotated[str, Field(max_length=64)], Variable]
]
"""For the texts of an agent; `control.variables` has the rest of what they may be."""


class DialBody(Body):
    """Whom to call, and with which agent."""

    to: Destination
    from_: Number | None = Field(
        default=None, alias="from", description="One of your numbers; left out: the agent's."
    )
    carrier: Literal["telnyx", "twilio"] | None = Field(
        default=None, description="Left out: the one that `from` is with."
    )
    agent_id: str | None = Field(default=None, min_length=1, max_length=128, description="Or `agent`.")
    agent: AgentConfig | None = Field(default=None, description="A configuration for this call alone.")
    variables: Variables = Field(
        default_factory=dict, max_length=100, description="For the texts of the agent."
    )
    metadata: dict[str, Any] = Field(default_factory=dict, max_length=100)
    custom_headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, max_length=20)
    machine_detection: MachineDetection = MachineDetection.OFF
    ring_timeout_seconds: int = Field(default=60, ge=5, le=600)
    max_duration_seconds: int | None = Field(default=None, ge=10, le=14_400)
    record: bool | None = None
    webhook_url: str | None = Field(default=None, pattern=r"^https?://", max_length=2048)

    @model_validator(mode="after")
    def _one_agent(self) -> Self:
        if (self.agent_id is None) == (self.agent is None):
            raise ValueError("give either agent_id or agent")
        return self


def dial_request(body: DialBody, claim: Claim | None) -> DialRequest:
    return DialRequest(
        to=body.to,
        from_number=body.from_,
        carrier=body.carrier,
        agent_id=body.agent_id,
        agent=body.agent,
        variables=body.variables,
        metadata=body.metadata,
        custom_headers=body.custom_headers,
        machine_detection=body.machine_detection,
        ring_timeout=body.ring_timeout_seconds,
        max_duration=body.max_duration_seconds,
        record=body.record,
        webhook_url=body.webhook_url,
        claim=claim,
    )


def zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone of the IANA database, such as Europe/Berlin") from None
    return name


class CallFilter(Query):
    """Which calls; all filters that are given hold."""

    agent_id: str | None = None
    status: CallStatus | None = None
    disposition: Disposition | None = None
    direction: Direction | None = None
    carrier: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    number: str | None = Field(default=None, description="Either of the two numbers.")
    from_date: date | None = Field(default=None, description="YYYY-MM-DD, inclusive.")
    to_date: date | None = Field(default=None, description="YYYY-MM-DD, inclusive.")
    timezone: Annotated[str, AfterValidator(zone)] = Field(default="UTC", description="Of the dates.")
    search: str | None = Field(
        default=None, min_length=1, max_length=200, description="Words of the transcript and the notes."
    )

    def filters(self) -> CallFilters:
        return CallFilters(
            agent_id=self.agent_id,
            status=self.status,
            disposition=self.disposition,
            direction=self.direction,
            carrier=self.carrier,
            from_number=self.from_number,
            to_number=self.to_number,
            number=self.number,
            from_date=self.from_date,
            to_date=self.to_date,
            timezone=ZoneInfo(self.timezone),
            search=self.search,
        )


class CallListQuery(CallFilter, PageQuery):
    """A page of a list of calls."""


class TranscriptQuery(Query):
    """How the transcript is wanted."""

    format: Literal["json", "text", "vtt"] = "json"
    download: Literal["0", "1"] = "0"


class NotesBody(Body):
    """What people note of a call."""

    notes: str | None = Field(max_length=20_000)


class CallEndpoints:
    """Calls as users see them. Driven by the routes."""

    def __init__(
        self, calls: CallControl, store: Store, policy: EgressPolicy, recordings: RecordingRoom
    ) -> None:
        """
        Args:
            policy: where users may have us send something.
        """
        self._calls = calls
        self._store = store
        self._policy = policy
        self._recordings = recordings

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        return [
            endpoint(
                "POST", "/v1/calls", self.dial,
                summary="Call somebody", tag=TAG, query=NoQuery, body=DialBody,
                answers={201: CallObject, 202: CallObject}, once=True, claims=True,
                description="201: the carrier has taken the call. 202: it exists, and what the carrier makes of it is "
                "not known yet; events tell. At most one call comes of one request.",
                problems=(
                    "invalid_destination", "agent_not_found", "from_number_missing", "carrier_not_configured",
                    "variables_missing", "provider_not_found", "carrier_rejected", "concurrent_call_limit",
                    "not_supported_by_carrier", "carrier_unavailable", "draining", "overloaded", "secrets_unreadable",
                ),
            ),
            endpoint(
                "GET", "/v1/calls", self.list,
                summary="List calls", tag=TAG, query=CallListQuery, body=NoBody, answers={200: CallList},
                problems=("invalid_cursor", "invalid_sort"),
            ),
            endpoint(
                "GET", "/v1/calls/{call_id}", self.get,
                summary="A call", tag=TAG, query=NoQuery, body=NoBody, answers={200: CallObject},
                problems=("not_found",),
            ),
            endpoint(
                "GET", "/v1/calls/{call_id}/status", self.status,
                summary="A call's status, cheap to poll", tag=TAG, query=NoQuery, body=NoBody,
                answers={200: CallStatusShape}, problems=("not_found",),
            ),
            endpoint(
                "GET", "/v1/calls/{call_id}/transcript", self.transcript,
                summary="What was said", tag=TAG, query=TranscriptQuery, body=NoBody,
                answers={200: TranscriptShape}, also=("text/plain", "text/vtt"), problems=("not_found",),
                description="`format=text` and `format=vtt` answer text/plain and text/vtt.",
            ),
            endpoint(
                "PUT", "/v1/calls/{call_id}/notes", self.note,
                summary="Note something", tag=TAG, query=NoQuery, body=NotesBody, answers={200: CallObject},
                problems=("not_found",),
            ),
            endpoint(
                "DELETE", "/v1/calls/{call_id}", self.erase,
                summary="Erase an ended call", tag=TAG, query=NoQuery, body=NoBody, answers={204: None},
                problems=("not_found", "call_live"),
            ),
        ]  # fmt: skip

    async def dial(self, asked: Asked[NoQuery, DialBody]) -> Answer:
        key = asked.idempotency_key
        claim = None if key is None else Claim(key=key, fingerprint=asked.fingerprint)
        if asked.body.webhook_url is not None:
            check_url(self._policy, "webhook_url", asked.body.webhook_url)
        outcome = await self._calls.dial(asked.tenant_id, dial_request(asked.body, claim))
        match outcome:
            case Dialled(record=record, certain=certain):
                location = {"Location": f"/v1/calls/{record.call_id}"}
                return Reply(call_object(record), 201 if certain else 202, location)
            case DialFailed(refused=refused):
                return refusal(refused)
            case Refused():
                raise refusal(outcome)
            case Answered() | Conflict() | InProgress():
                return repeated(outcome)

    async def list(self, asked: Asked[CallListQuery, NoBody]) -> Answer:
        page = await self._store.calls(asked.tenant_id, asked.query.filters(), asked.query.page("started_at"))
        return Reply(
            CallList(data=[call_summary(record) for record in page.calls], next_cursor=page.next_cursor)
        )

    async def get(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        return Reply(call_object(await self._record(asked.tenant_id, asked.path["call_id"])))

    async def status(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        call_id = asked.path["call_id"]
        live = self._calls.live_record(asked.tenant_id, call_id)
        state = live if live is not None and live.live else await self._store.status(asked.tenant_id, call_id)
        if state is None:
            raise no_such_call()
        return Reply(call_status(state))

    async def transcript(self, asked: Asked[TranscriptQuery, NoBody]) -> Answer:
        record = await self._record(asked.tenant_id, asked.path["call_id"])
        wanted = asked.query.format
        headers = {}
        if asked.query.download == "1":
            ending = {"json": "json", "text": "txt", "vtt": "vtt"}[wanted]
            headers["Content-Disposition"] = f'attachment; filename="{record.call_id}.{ending}"'
        match wanted:
            case "json":
                spoken = call_object(record).transcript
                return Reply(TranscriptShape(call_id=record.call_id, transcript=spoken), headers=headers)
            case "text":
                return Text(as_text(record.transcript), "text/plain", headers)
            case "vtt":
                return Text(as_vtt(record.transcript), "text/vtt", headers)

    async def note(self, asked: Asked[NoQuery, NotesBody]) -> Answer:
        call_id = asked.path["call_id"]
        if not await self._store.set_notes(asked.tenant_id, call_id, asked.body.notes):
            raise no_such_call()
        record = await self._store.call(asked.tenant_id, call_id)
        if record is None:
            raise no_such_call()
        return Reply(call_object(record))

    async def erase(self, asked: Asked[NoQuery, NoBody]) -> Answer:
        call_id = asked.path["call_id"]
        known = self._calls.live_record(asked.tenant_id, call_id)
        if known is not None and known.live:
            raise _is_live()
        match await self._store.delete_call(asked.tenant_id, call_id, datetime.now(UTC)):
            case Deletion.ERASED:
                self._recordings.erase_soon()
                return web.Response(status=204)
            case Deletion.LIVE:
                raise _is_live()
            case Deletion.MISSING:
                raise no_such_call()

    async def _record(self, tenant_id: str, call_id: str) -> CallRecord:
        """A call's process knows most of it; the store, whether it was erased, and what others add."""
        kept = await self._store.call(tenant_id, call_id)
        known = self._calls.live_record(tenant_id, call_id)
        if known is None or (kept is None and not known.live):
            known = kept
        if known is None:
            raise no_such_call()
        if kept is None:
            return known
        return replace(
            known,
            notes=kept.notes,
            extracted_data=kept.extracted_data,
            has_recording=kept.has_recording,
            recording_cost=kept.recording_cost,
        )


def refusal(refused: Refused) -> Problem:
    """Return a refusal as HTTP says it."""
    headers = {"Retry-After": "5"} if refused.status == 503 else {}
    return Problem(refused.status, refused.code, refused.detail, headers=headers)


def no_such_call() -> Problem:
    return Problem(404, "not_found", "there is no such call")


def _is_live() -> Problem:
    return Problem(409, "call_live", "the call has not ended")

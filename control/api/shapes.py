"""What answers are made of: the models that are published, and how our values become them, in one place."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from control.call_gather import GatherView
from control.call_record import CallRecord, EventRecord
from control.call_transfer import TransferView
from control.stores.calls import CallState
from control.stores.keys import ApiKey
from telephony.capabilities import Capabilities, Means


def rfc3339(moment: datetime) -> str:
    """Return a moment as RFC 3339 has it, in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]
Money = Annotated[
    Decimal, PlainSerializer(float, return_type=float), Field(description="Decimal, in `currency`.")
]
Seconds = Annotated[Decimal, PlainSerializer(float, return_type=float)]


class Shape(BaseModel):
    """A part of an answer; more fields may come within `/v1`."""

    model_config = ConfigDict(frozen=True)


Status = Literal["ringing", "in-progress", "completed", "failed", "busy", "no-answer", "canceled", "rejected"]


class CallSummary(Shape):
    """A call as lists have it: without its transcript and its latencies."""

    call_id: str
    agent_id: str | None
    agent_version: int | None
    direction: Literal["inbound", "outbound", "web"]
    carrier: str
    carrier_call_id: str | None
    from_number: str | None
    to_number: str | None
    status: Status
    disposition: (
        Literal["answered", "no-answer", "transferred", "busy", "failed", "voicemail", "rejected"] | None
    )
    ended_reason: (
        Literal[
            "agent-hangup",
            "caller-hangup",
            "api",
            "timeout",
            "transfer",
            "silence-timeout",
            "error",
            "max-duration",
        ]
        | None
    )
    hangup_cause: str | None
    duration_seconds: Seconds = Field(description="From the answer to the end; 0 if never answered.")
    minutes_used: Seconds
    rate_per_minute: Money
    currency: str
    call_cost: Money
    llm_cost: Money
    llm_discount: Money
    recording_cost: Money
    transfer_cost: Money
    total_cost: Money
    has_recording: bool
    recording_enabled: bool
    turn_count: int
    barge_in_count: int
    tool_call_count: int
    tools_called: list[str]
    transferred_to: str | None
    transfer_duration_seconds: int
    metadata: dict[str, Any]
    extracted_data: dict[str, Any] | None
    notes: str | None
    ws_unavailable: bool
    drain_forced: bool
    started_at: Moment
    answered_at: Moment | None
    ended_at: Moment | None


class Utterance(Shape):
    """Something that was said."""

    role: str = Field(description="user, assistant, system or tool.")
    content: str
    timestamp: float = Field(description="Seconds since the answer.")
    interrupted: bool = False
    heard_ms: int | None = Field(default=None, description="Of one that was cut short: what was heard of it.")


class TurnLatency(Shape):
    """Offsets in milliseconds from the end of the caller's speech; null for what did not happen."""

    turn: int
    ts: float = Field(description="Seconds since the answer.")
    user_speech_ms: float | None = Field(default=None, description="How long the caller spoke.")
    llm_ttfb_ms: float | None = None
    tts_start_ms: float | None = None
    tts_ttfb_ms: float | None = None
    first_audio_sent_ms: float | None = None
    first_audio_heard_ms: float | None = None


class TranscriptShape(Shape):
    """What was said on a call, in conversation order."""

    call_id: str
    transcript: list[Utterance]


class LatencyData(Shape):
    """How long each answer took."""

    turns: list[TurnLatency]


class CallObject(CallSummary):
    """A call."""

    transcript: list[Utterance]
    latency_data: LatencyData


def _fields(record: CallRecord) -> dict[str, object]:
    """Return every field of a summary, by its name: each is an attribute of the record."""
    return {name: getattr(record, name) for name in CallSummary.model_fields}


def call_summary(record: CallRecord) -> CallSummary:
    return CallSummary.model_validate(_plain(_fields(record)))


def call_object(record: CallRecord) -> CallObject:
    return CallObject.model_validate(
        {
            **_plain(_fields(record)),
            "transcript": [dict(said) for said in record.transcript],
            "latency_data": {"turns": [dict(turn) for turn in record.latency_turns]},
        }
    )


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


class CallList(Shape):
    """A page of calls, newest first."""

    data: list[CallSummary]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


class CallStatusShape(Shape):
    """What pollers ask for."""

    call_id: str
    status: Status
    duration_seconds: Seconds
    started_at: Moment
    ended_at: Moment | None


def call_status(state: CallState | CallRecord) -> CallStatusShape:
    return CallStatusShape(
        call_id=state.call_id,
        status=state.status.value,
        duration_seconds=state.duration_seconds,
        started_at=state.started_at,
        ended_at=state.ended_at,
    )


class EventShape(Shape):
    """Something that happened."""

    id: str
    event: str
    call_id: str | None = Field(description="Null: it is of no call, but of an endpoint.")
    agent_id: str | None
    sequence: int | None = Field(
        description="Of those that webhooks tell of a call; null for what only the timeline has."
    )
    timestamp: Moment
    at: float = Field(description="Seconds since the call began.")
    data: dict[str, Any]


def event_shape(record: EventRecord) -> EventShape:
    return EventShape(
        id=record.event_id,
        event=record.name,
        call_id=record.call_id or None,
        agent_id=record.agent_id,
        sequence=record.sequence,
        timestamp=record.occurred_at,
        at=record.at,
        data=dict(record.data),
    )


class EventList(Shape):
    """Events in order."""

    data: list[EventShape]
    next_cursor: str | None = Field(description="For `after`: resumes without loss; null: none came after.")


class Done(Shape):
    """It was taken; what comes of it, events tell."""

    success: Literal[True] = True


class TransferAccepted(Done):
    """The transfer is under way."""

    destination: str
    transfer_id: str


class TransferShape(Shape):
    """A call's latest transfer."""

    transfer_id: str
    destination: str
    state: str
    requested_at: Moment
    dialled_at: Moment | None
    ringing_at: Moment | None
    answered_at: Moment | None
    ended_at: Moment | None
    cause: str | None


def transfer_shape(view: TransferView) -> TransferShape:
    return TransferShape(
        transfer_id=view.transfer_id,
        destination=view.destination,
        state=view.state.value,
        requested_at=view.requested_at,
        dialled_at=view.dialled_at,
        ringing_at=view.ringing_at,
        answered_at=view.answered_at,
        ended_at=view.ended_at,
        cause=view.cause,
    )


class GatherAccepted(Shape):
    """The caller is being asked."""

    message: Literal["Gather initiated"] = "Gather initiated"
    call_id: str
    gather_id: str


class GatherShape(Shape):
    """A call's latest gather."""

    gather_id: str
    state: str
    mode: str
    started_at: Moment
    ended_at: Moment | None
    status: Literal["completed", "timeout", "cancelled", "hangup"] | None
    input: str | None = Field(description="Never the digits of a sensitive gather.")
    detail: str


def gather_shape(view: GatherView) -> GatherShape:
    return GatherShape(
        gather_id=view.gather_id,
        state=view.state,
        mode=view.mode.value,
        started_at=view.started_at,
        ended_at=view.ended_at,
        status=None if view.status is None else view.status.value,
        input=view.input,
        detail=view.detail,
    )


class SayAccepted(Done):
    """It will be said."""

    mode: Literal["verbatim", "instructed"]


class CommandMeans(Shape):
    """How something is done on a carrier."""

    supported: bool
    means: Literal["native", "stream-break", "gateway", "none"]
    stream_break: bool = Field(description="Whether the media stream is broken for it, and opened again.")


class CarrierShape(Shape):
    """What can be done to a live call on a carrier."""

    carrier: str
    controllable: bool
    configured: bool = Field(description="Whether there is an account with it.")
    commands: dict[str, CommandMeans]
    machine_detection: bool
    sip_destinations: bool
    sip_refer: bool
    measured_gap_ms: float | None = Field(
        description="Of a stream that is broken: how long the caller was not heard, at the median here; null: none yet."
    )


class CarrierList(Shape):
    """Every carrier that we know."""

    data: list[CarrierShape]


COMMANDS = ("transfer", "carrier_gather", "stream_gather", "send_digits", "hold", "play", "say", "record")


def carrier_shape(row: Capabilities, *, configured: bool, gap: float | None) -> CarrierShape:
    """`gap`: seconds."""
    means = {name: getattr(row, name) for name in COMMANDS}
    return CarrierShape(
        carrier=row.carrier,
        controllable=row.controllable,
        configured=configured,
        commands={
            name: CommandMeans(
                supported=each is not Means.NONE,
                means=each.value,
                stream_break=each is Means.STREAM_BREAK,
            )
            for name, each in means.items()
        },
        machine_detection=row.machine_detection,
        sip_destinations=row.sip_destinations,
        sip_refer=row.sip_refer,
        measured_gap_ms=None if gap is None else round(gap * 1000, 1),
    )


class KeyShape(Shape):
    """An API key, without its secret."""

    key_id: str
    name: str
    scope: Literal["read", "full", "admin"]
    hint: str = Field(description="The secret's last four characters.")
    created_at: Moment
    last_used_at: Moment | None
    revoked_at: Moment | None


class NewKeyShape(KeyShape):
    """A key with its secret, which is shown this once."""

    secret: str


class KeyList(Shape):
    """The tenant's keys, newest first."""

    data: list[KeyShape]


def key_fields(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scope": key.scope.value,
        "hint": key.hint,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


class DrainShape(Shape):
    """Whether new calls are taken."""

    draining: bool


class HealthShape(Shape):
    """How a dependency is."""

    ok: bool
    latency_ms: float | None
    detail: str


class DetailedHealth(Shape):
    """How everything is that the gateway depends on."""

    status: Literal["ok", "degraded"]
    version: str
    dependencies: dict[str, HealthShape]


class FaultShape(Shape):
    """One thing that is wrong with a body or a query."""

    pointer: str = Field(description="Where, as a JSON Pointer (RFC 6901).")
    detail: str


class ProblemShape(Shape):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; see the list of codes.")
    trace_id: str
    errors: list[FaultShape] | None = None

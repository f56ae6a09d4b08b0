"""A call as it is kept: the fields of the REST API's call object, and what only we need to know of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from control.call_draft import DraftPiece
from control.tool_log import ToolLog
from telephony.causes import CallStatus, Direction, Disposition, EndedReason, HangupCause

LIVE = frozenset({CallStatus.RINGING, CallStatus.IN_PROGRESS})
"""The statuses of calls that have not ended."""

_CENT = Decimal("0.01")
_MICRO = Decimal("0.000001")
_MINUTE = Decimal(60)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call. Money is decimal, times are aware; what can be computed is a property and kept nowhere else."""

    call_id: str
    tenant_id: str = "default"
    agent_id: str | None = None
    agent_version: int | None = None
    direction: Direction
    carrier: str
    integration_id: str = "default"
    """The carrier account; `default` is the one of the settings."""
    carrier_call_id: str | None = None
    leg_id: str | None = None
    session_id: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    status: CallStatus = CallStatus.RINGING
    disposition: Disposition | None = None
    ended_reason: EndedReason | None = None
    intent: EndedReason | None = None
    """Why we are ending it, if we are: kept before the command goes out (sheet E, rule 0)."""
    hangup_cause: HangupCause | None = None
    node: str = ""
    """The process that owns the call while it lives."""
    started_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    currency: str = "USD"
    rate_per_minute: Decimal = Decimal(0)
    llm_cost: Decimal = Decimal(0)
    llm_discount: Decimal = Decimal(0)
    recording_cost: Decimal = Decimal(0)
    transfer_cost: Decimal = Decimal(0)
    recording_enabled: bool = False
    has_recording: bool = False
    recording_consent: bool | None = None
    """Whether the caller heard the agent's consent prompt and stayed; None: the agent has none."""
    turn_count: int = 0
    barge_in_count: int = 0
    tool_call_count: int = 0
    tools_called: tuple[str, ...] = ()
    transferred_to: str | None = None
    transfer_duration_seconds: int = 0
    metadata: Mapping[str, object] = field(default_factory=dict)
    extracted_data: Mapping[str, object] | None = None
    notes: str | None = None
    ws_unavailable: bool = False
    drain_forced: bool = False
    webhook_url: str | None = None
    """Of this call alone, beside the tenant's endpoints."""
    transcript: tuple[Mapping[str, object], ...] = ()
    """In conversation order: role, content, timestamp, interrupted, heard_ms."""
    latency_turns: tuple[Mapping[str, object], ...] = ()
    usage: Mapping[str, int] = field(default_factory=dict)
    """What the model says it consumed."""
    revision: int = 0
    """Grows when the record changes: a save that comes late, with a lower one, is not written."""

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def duration_seconds(self) -> Decimal:
        """From the answer to the end, to the millisecond; 0 if it was never answered or has not ended."""
        if self.answered_at is None or self.ended_at is None:
            return Decimal(0)
        seconds = Decimal(str(max(0.0, (self.ended_at - self.answered_at).total_seconds())))
        return seconds.quantize(Decimal("0.001"), ROUND_HALF_UP)

    @property
    def minutes_used(self) -> Decimal:
        return (self.duration_seconds / _MINUTE).quantize(_CENT, ROUND_HALF_UP)

    @property
    def call_cost(self) -> Decimal:
        return (self.minutes_used * self.rate_per_minute).quantize(_MICRO, ROUND_HALF_UP)

    @property
    def total_cost(self) -> Decimal:
        return self.call_cost + self.llm_cost + self.recording_cost + self.transfer_cost - self.llm_discount


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One entry of a call's timeline; those that users are told of have a `sequence`."""

    event_id: str
    """`evt_...`: the same on every delivery."""
    tenant_id: str
    call_id: str
    agent_id: str | None
    name: str
    sequence: int | None
    """The place among the call's published events, from 1; None for what is in the timeline only."""
    occurred_at: datetime
    at: float
    """Seconds since the call began."""
    data: Mapping[str, object] = field(default_factory=dict)
    secret: Mapping[str, object] = field(default_factory=dict, repr=False)
    """More of `data`, for the event's webhooks and for nobody else (the digits of a sensitive gather)."""
    tool_log: ToolLog | None = field(default=None, repr=False)
    """The run of a tool that this is the end of: kept with it, apart."""
    extraction_schema: Mapping[str, object] | None = field(default=None, repr=False)
    """Of the call's last event: what is to be extracted from the call from now on."""
    draft: tuple[DraftPiece, ...] = field(default=(), repr=False)
    """What is on record of the call's turns and runs from now on: kept with it, apart, until the call has ended."""


PUBLISHED = frozenset(
    {
        "call.ringing",
        "call.started",
        "call.answered",
        "call.ended",
        "call.failed",
        "call.recording_ready",
        "call.dtmf.received",
        "call.gather.completed",
        "call.machine_detected",
        "transcript.updated",
        "speech.started",
        "speech.ended",
        "ai.speech.started",
        "ai.speech.ended",
        "barge_in",
        "tool.invoked",
        "tool.completed",
        "tool.timeout",
        "transfer.initiated",
        "transfer.completed",
        "transfer.failed",
        "agent.failover",
    }
)
"""The events of a call that users are told of (`docs/webhooks.md`)."""

"""What webhooks and event streams tell: a model of the `data` of each event. More fields may come within `/v1`."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from control.api.shapes import CallObject, Moment


class Data(BaseModel):
    """The data of an event."""

    model_config = ConfigDict(extra="allow")


class Plain(Data):
    """Nothing beyond what the envelope says."""


class CallAnswered(Data):
    """The call was answered."""

    answered_at: Moment | None = None


class Outcome(Data):
    """How the call ended, in the call object's words."""

    status: str
    disposition: str | None = None
    ended_reason: str | None = None
    hangup_cause: str | None = None


class CallEnded(Outcome):
    """The call is over."""

    call: CallObject | None = Field(default=None, description="The whole call object.")


class CallFailed(Outcome):
    """The call did not come to anything; `call.ended` follows."""

    code: str | None = Field(default=None, description="What was wrong, where more is known.")
    detail: str | None = None


class RecordingReady(Data):
    """The recording can be had: it comes after `call.ended`."""

    recording_id: str
    duration_seconds: float
    channels: int
    format: str = Field(description="wav, flac, mp3 or opus.")
    bytes: int


class DigitReceived(Data):
    """The caller pressed a key."""

    digit: str


class GatherCompleted(Data):
    """Digits were asked for, and this came of it."""

    gather_id: str | None = None
    status: Literal["completed", "timeout", "cancelled", "hangup"]
    input: str | None = Field(
        default=None,
        description="What was keyed in, without the terminator; of a sensitive gather in webhooks alone.",
    )


class MachineDetectedData(Data):
    """Who or what answered."""

    answered_by: str
    seconds: float | None = None


class TranscriptUpdated(Data):
    """Something was said, and these are its final words."""

    role: str
    text: str


class BargeInData(Data):
    """The caller cut the agent off."""

    position_ms: int | None = Field(
        default=None, description="Of all that was sent on the call: how much was heard."
    )
    heard_ms: int | None = Field(default=None, description="Of the utterance that was cut off.")
    discarded_ms: int | None = Field(default=None, description="What was sent and not heard.")
    items: int | None = Field(default=None, description="How many utterances were cut off or dropped.")


class ToolInvoked(Data):
    """The model called a tool."""

    tool_call_id: str
    name: str


class ToolFinished(Data):
    """The tool has answered, or was given up."""

    tool_call_id: str
    name: str | None = None
    status: str


class FailedOver(Data):
    """The agent's session could not be had any more, and is opened with the next provider."""

    from_provider: str | None = None
    to_provider: str | None = None
    reason: str | None = None


class TransferData(Data):
    """The caller is being connected with somebody else."""

    transfer_id: str
    destination: str
    cause: str | None = Field(default=None, description="Of a failure.")


class WebhookTest(Data):
    """Somebody has asked for it; it is of no call."""

    webhook_id: str


_MODELS: Mapping[str, type[Data]] = {
    "call.ringing": Plain,
    "call.started": Plain,
    "call.answered": CallAnswered,
    "call.ended": CallEnded,
    "call.failed": CallFailed,
    "call.recording_ready": RecordingReady,
    "call.dtmf.received": DigitReceived,
    "call.gather.completed": GatherCompleted,
    "call.machine_detected": MachineDetectedData,
    "transcript.updated": TranscriptUpdated,
    "speech.started": Plain,
    "speech.ended": Plain,
    "ai.speech.started": Plain,
    "ai.speech.ended": Plain,
    "barge_in": BargeInData,
    "tool.invoked": ToolInvoked,
    "tool.completed": ToolFinished,
    "tool.timeout": ToolFinished,
    "transfer.initiated": TransferData,
    "transfer.completed": TransferData,
    "transfer.failed": TransferData,
    "agent.failover": FailedOver,
}


def published_models() -> Mapping[str, type[BaseModel]]:
    """Return the model of each event's data that is told of calls, by the event's name."""
    return _MODELS


def webhook_models() -> Mapping[str, type[BaseModel]]:
    """Return the model of the data of everything that endpoints are sent, by the event's name."""
    return {**_MODELS, "webhook.test": WebhookTest}


class Told(BaseModel):
    """What every webhook says of its event."""

    id: str = Field(description="The same on every delivery of the event.")
    event: str
    sequence: int | None = Field(description="Among the events of the call, from 1; null: it is of no call.")
    timestamp: Moment
    api_version: str
    tenant_id: str
    agent_id: str | None
    call_id: str | None


class Envelope(Told):
    """A webhook, its data apart; with the payload `flat` the data's fields stand beside the others."""

    data: dict[str, Any]

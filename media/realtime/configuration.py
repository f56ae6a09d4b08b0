"""What a realtime session is asked to be, free of any vendor's names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from media.audio import AudioFormat
from media.realtime.events import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDetection:
    """How the server finds the caller's turns; `kind` None leaves turns to us.

    `server_vad` by default: on phone legs `semantic_vad` has been seen never to report speech.
    """

    kind: Literal["server_vad", "semantic_vad"] | None = "server_vad"
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A function the model may call; `parameters` is its JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """Everything `session.update` says; the formats are the carrier's, asked for first."""

    model: str
    voice: str
    instructions: str
    input_format: AudioFormat
    output_format: AudioFormat
    turn_detection: TurnDetection = TurnDetection()
    transcription_model: str | None = None
    language: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    noise_reduction: Literal["near_field", "far_field"] | None = None
    speed: float | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """What was said before this session, replayed to it as text."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class ItemCut:
    """How much of one agent item the caller heard before the rest was dropped."""

    item_id: str
    heard_ms: int

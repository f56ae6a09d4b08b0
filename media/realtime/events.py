"""What a speech session says, free of any vendor's names.

Audio itself does not pass here on the hot path: `RealtimeSession.scan` hands it over as bytes.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from media.audio import AudioFormat


class Role(StrEnum):
    """Who an item of the conversation belongs to."""

    CALLER = "user"
    AGENT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class Severity(StrEnum):
    """What a fault means for the session (see `media.realtime.faults`)."""

    BENIGN = "benign"
    """A known race; nothing was lost."""
    RECOVERABLE = "recoverable"
    """Something failed, the session goes on."""
    FATAL = "fatal"
    """This session is over; another may serve the call."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The server confirmed the configuration; audio may flow in the formats given."""

    session_id: str
    input_format: AudioFormat
    output_format: AudioFormat
    expires_at: float | None
    """Unix seconds at which the server ends the session, where it says so."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The model's voice activity detection heard the caller begin."""

    item_id: str
    audio_ms: int
    """On the clock of the audio written to the session, padding included."""


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    item_id: str
    audio_ms: int


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An item took its place in the conversation; transcripts that arrive later are filed under it."""

    item_id: str
    previous_item_id: str | None
    role: Role


@dataclass(frozen=True, slots=True)
class Transcript:
    """Text of an item; `text` is the whole text so far, not the part that is new."""

    item_id: str
    role: Role
    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class TranscriptFailed:
    item_id: str
    code: str | None
    message: str


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    response_id: str


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """Agent audio that did not take the hot path (an unusual spelling of the same message)."""

    item_id: str
    audio: bytes


@dataclass(frozen=True, slots=True)
class AudioEnded:
    """The model finished generating an item's audio; it may be long before the caller has heard it."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete function call: its item was `completed`, `arguments` parsed as a JSON object."""

    call_id: str
    name: str
    arguments: dict[str, object]


@dataclass(frozen=True, slots=True)
class Usage:
    """What one response or transcription consumed, in tokens (`seconds` where billed by time)."""

    text_in: int = 0
    audio_in: int = 0
    cached_text_in: int = 0
    cached_audio_in: int = 0
    text_out: int = 0
    audio_out: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.text_in + other.text_in,
            self.audio_in + other.audio_in,
            self.cached_text_in + other.cached_text_in,
            self.cached_audio_in + other.cached_audio_in,
            self.text_out + other.text_out,
            self.audio_out + other.audio_out,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class ResponseDone:
    response_id: str
    status: str
    """completed, cancelled, failed or incomplete."""
    reason: str | None
    """turn_detected, client_cancelled, max_output_tokens, content_filter, or an error's code."""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class TranscriptionUsage:
    item_id: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Truncated:
    """The server cut an item to what the caller heard."""

    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class ExpiringSoon:
    seconds_left: float


@dataclass(frozen=True, slots=True)
class AgentFault:
    code: str
    message: str
    severity: Severity
    event_id: str | None = None
    """The client event it answers, where the server says so."""
    retry: bool = True
    """Of a fatal fault: whether another session, opened the same way, may fare better."""


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A message type this wire does not know: counted, never fatal."""

    name: str


AgentEvent = (
    Ready
    | SpeechStarted
    | SpeechStopped
    | ItemAdded
    | Transcript
    | TranscriptFailed
    | ResponseStarted
    | AudioReceived
    | AudioEnded
    | ToolCall
    | ResponseDone
    | TranscriptionUsage
    | Truncated
    | ExpiringSoon
    | AgentFault
    | Unrecognised
)

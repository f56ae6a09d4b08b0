"""A call's recording as it is kept: what its file is, where, and what has become of it. Pure.

    the call is over --> processing --stored--> ready --erased, expired--> erased
                             |                    |
                             +--no audio--> failed <--its file is lost

What was erased stays as a row without a file, so that nothing that comes late brings it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

CHANNELS = 2
"""The caller left, the agent as heard right."""


class RecordingState(StrEnum):
    """What has become of a recording."""

    PROCESSING = "processing"
    """The call is over; the file is on its way into the store."""
    READY = "ready"
    FAILED = "failed"
    """There is no audio, and `problem` says why."""
    ERASED = "erased"
    """Somebody wanted it gone, or its time was over."""


class RecordingFormat(StrEnum):
    """What recordings are kept as."""

    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"
    OPUS = "opus"

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[self]

    @property
    def ending(self) -> str:
        """Of file names: Opus comes in Ogg, which players know better by that name."""
        return "ogg" if self is RecordingFormat.OPUS else self.value


_MEDIA_TYPES = {
    RecordingFormat.WAV: "audio/wav",
    RecordingFormat.FLAC: "audio/flac",
    RecordingFormat.MP3: "audio/mpeg",
    RecordingFormat.OPUS: "audio/ogg",
}


class TranscriptionState(StrEnum):
    """What has become of the wish to have a recording transcribed."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcription:
    """What was said according to the recording."""

    state: TranscriptionState
    requested_at: datetime
    finished_at: datetime | None = None
    utterances: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    """In the order in which they were said: role, content, timestamp (seconds of the recording)."""
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One call's recording."""

    recording_id: str
    """`rec_...`"""
    tenant_id: str
    call_id: str
    agent_id: str | None = None
    state: RecordingState = RecordingState.PROCESSING
    path: str
    """Its name in the store."""
    format: RecordingFormat = RecordingFormat.WAV
    channels: int = CHANNELS
    sample_rate: int
    bytes: int | None = None
    duration_ms: int | None = None
    consent: bool | None = None
    """Whether the caller heard the consent prompt and stayed; None: the agent has none."""
    problem: str | None = None
    started_at: datetime
    """When the call began."""
    ready_at: datetime | None = None
    expires_at: datetime | None = None
    """When it will be erased; None: never by itself."""
    erased_at: datetime | None = None
    transcription: Transcription | None = None

    @property
    def duration_seconds(self) -> Decimal:
        return Decimal(self.duration_ms or 0) / 1000

    @property
    def file_name(self) -> str:
        """What it is called where people save it."""
        return f"{self.call_id}.{self.format.ending}"


def names_of(call_id: str) -> dict[str, RecordingFormat]:
    """Return every name that a call's recording may have in the store, with its format."""
    return {name_of(call_id, each): each for each in RecordingFormat}


def name_of(call_id: str, kind: RecordingFormat) -> str:
    return f"{call_id}.{kind.ending}"

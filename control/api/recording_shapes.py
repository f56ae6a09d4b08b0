"""What answers about recordings are made of."""

from typing import Literal

from pydantic import Field

from control.api.ports import RecordingLink
from control.api.shapes import Moment, Seconds, Shape
from control.call_record import CallRecord
from control.recording_check import Diagnosis, Found
from control.recordings import Recording, Transcription

Format = Literal["wav", "flac", "mp3", "opus"]


class RecordingLinkShape(Shape):
    """Where the recording can be had."""

    url: str = Field(description="Whoever knows it gets the recording, without a key, until it expires.")
    expires_at: Moment
    duration_seconds: Seconds
    channels: int = Field(description="2: the caller left, the agent as heard right.")
    format: Format


def link_shape(recording: Recording, link: RecordingLink) -> RecordingLinkShape:
    return RecordingLinkShape(
        url=link.url,
        expires_at=link.expires_at,
        duration_seconds=recording.duration_seconds,
        channels=recording.channels,
        format=recording.format.value,
    )


class RecordedUtterance(Shape):
    """Something that was said, by the recording."""

    role: Literal["user", "assistant"]
    content: str
    timestamp: float = Field(description="Seconds of the recording.")


class TranscriptionShape(Shape):
    """What a transcription of the recording came to."""

    status: Literal["pending", "done", "failed"]
    requested_at: Moment
    finished_at: Moment | None
    transcript: list[RecordedUtterance]
    problem: str | None


class RecordingShape(Shape):
    """A recording, without its audio."""

    recording_id: str
    call_id: str
    agent_id: str | None
    status: Literal["processing", "ready", "failed", "erased"]
    format: Format
    channels: int
    sample_rate: int
    duration_seconds: Seconds
    bytes: int | None = Field(description="Of the file; null while there is none.")
    consent: bool | None = Field(
        description="Whether the caller heard the consent prompt and stayed; null: the agent has none."
    )
    problem: str | None = Field(description="Why there is no file, or not yet.")
    started_at: Moment = Field(description="When the call began.")
    ready_at: Moment | None
    expires_at: Moment | None = Field(description="When it will be erased; null: never by itself.")
    transcription: TranscriptionShape | None


def recording_shape(recording: Recording) -> RecordingShape:
    return RecordingShape(
        recording_id=recording.recording_id,
        call_id=recording.call_id,
        agent_id=recording.agent_id,
        status=recording.state.value,
        format=recording.format.value,
        channels=recording.channels,
        sample_rate=recording.sample_rate,
        duration_seconds=recording.duration_seconds,
        bytes=recording.bytes,
        consent=recording.consent,
        problem=recording.problem,
        started_at=recording.started_at,
        ready_at=recording.ready_at,
        expires_at=recording.expires_at,
        transcription=None
        if recording.transcription is None
        else transcription_shape(recording.transcription),
    )


def transcription_shape(transcription: Transcription) -> TranscriptionShape:
    return TranscriptionShape(
        status=transcription.state.value,
        requested_at=transcription.requested_at,
        finished_at=transcription.finished_at,
        transcript=[RecordedUtterance.model_validate(dict(each)) for each in transcription.utterances],
        problem=transcription.problem,
    )


class RecordingList(Shape):
    """A page of recordings, those of the newest calls first."""

    data: list[RecordingShape]
    next_cursor: str | None = Field(description="For `after`; null: this was the last page.")


class PossibleRecording(Shape):
    """A file that may be the call's recording."""

    name: str
    path: str
    created_at: Moment
    size: int


class RecordingCheck(Shape):
    """Whether the database and the store agree."""

    call_id: str
    recording_started: bool = Field(description="Whether anything was ever recorded.")
    recording_consent: bool | None = Field(
        description="Whether the caller heard the consent prompt and stayed; null: the agent has none."
    )
    recording_url: str | None = Field(description="For an hour; null where there is no file.")
    issues: list[str]
    suggestions: list[str]
    possible_recordings: list[PossibleRecording]


def check_shape(
    record: CallRecord, recording: Recording | None, found: Found, diagnosis: Diagnosis, url: str | None
) -> RecordingCheck:
    return RecordingCheck(
        call_id=record.call_id,
        recording_started=recording is not None or bool(found.candidates),
        recording_consent=record.recording_consent,
        recording_url=url,
        issues=list(diagnosis.issues),
        suggestions=list(diagnosis.suggestions),
        possible_recordings=[
            PossibleRecording(name=each.name, path=each.path, created_at=each.created_at, size=each.size)
            for each in found.candidates
        ],
    )


class RecordingFix(Shape):
    """What was put right."""

    call_id: str
    changed: list[str] = Field(description="Empty: there was nothing to put right.")
    issues: list[str] = Field(description="What is still wrong.")
    recording: RecordingShape | None

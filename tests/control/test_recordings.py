"""A recording's values: names, formats and lengths."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from control.recordings import Recording, RecordingFormat, name_of, names_of


@pytest.mark.parametrize(
    ("kind", "name", "media_type"),
    [
        (RecordingFormat.WAV, "call_1.wav", "audio/wav"),
        (RecordingFormat.FLAC, "call_1.flac", "audio/flac"),
        (RecordingFormat.MP3, "call_1.mp3", "audio/mpeg"),
        (RecordingFormat.OPUS, "call_1.ogg", "audio/ogg"),
    ],
)
def test_a_format_has_a_name_and_a_media_type(kind: RecordingFormat, name: str, media_type: str) -> None:
    assert name_of("call_1", kind) == name
    assert kind.media_type == media_type
    assert names_of("call_1")[name] is kind


def test_a_recording_knows_how_long_it_is() -> None:
    recording = Recording(
        recording_id="rec_1",
        tenant_id="default",
        call_id="call_1",
        path="prefix/anything.ogg",
        format=RecordingFormat.OPUS,
        sample_rate=8_000,
        duration_ms=61_500,
        started_at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    assert recording.duration_seconds == Decimal("61.5")
    assert recording.file_name == "call_1.ogg"

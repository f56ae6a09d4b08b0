"""What will surprise in the settings of recordings is said beforehand, with its remedy."""

from pathlib import Path

import pytest

from gateway.recording_findings import recording_findings
from gateway.settings import Settings

S3 = {"recording_store": "s3://calls", "recording_store_region": "eu-central-1"}
PROMPT = {"agents": {"sales": {"recording_consent_prompt": "This is recorded."}}}


def found(**changes: object) -> dict[str, str]:
    settings = Settings.model_validate({"_env_file": None, **changes})
    return {each.setting: f"{each.level}: {each.problem}" for each in recording_findings(settings)}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without programs."""
    monkeypatch.setenv("PATH", str(tmp_path))


def test_what_is_sound_is_passed_over() -> None:
    assert found() == {}
    assert found(**S3, recording_store_key_id="key", recording_store_secret="secret") == {}
    assert found(recording_store="file:///var/recordings", recording_retention_days=30) == {}


def test_half_a_key_is_none() -> None:
    assert found(**S3, recording_store_key_id="key") == {
        "OFFHOOK_RECORDING_STORE_SECRET": "error: is not set, but the other half of the key is"
    }
    assert list(found(**S3, recording_store_secret="secret")) == ["OFFHOOK_RECORDING_STORE_KEY_ID"]


def test_a_store_that_cannot_be_opened_says_why() -> None:
    (problem,) = found(recording_store="az://container").values()
    assert problem.startswith("error: is not understood")


def test_recordings_in_the_clear_are_told() -> None:
    assert list(found(**S3, recording_store_endpoint="http://minio.internal:9000")) == [
        "OFFHOOK_RECORDING_STORE_ENDPOINT"
    ]
    assert found(**S3, recording_store_endpoint="http://127.0.0.1:9000") == {}


@pytest.mark.usefixtures("bare")
def test_a_format_wants_its_encoder() -> None:
    assert found(recording_format="opus") == {
        "OFFHOOK_RECORDING_FORMAT": "warning: is opus, and there is no ffmpeg: recordings stay WAV"
    }
    assert found(recording_format="wav") == {}


@pytest.mark.usefixtures("bare")
def test_a_consent_prompt_wants_a_voice() -> None:
    (setting, problem), *_ = found(**PROMPT).items()
    assert "sales.recording_consent_prompt" in setting
    assert problem == "error: has no voice to be said in: calls of this agent are not recorded"
    assert found(**PROMPT, speech_url="https://speech.example/v1") == {}


def test_a_key_without_its_endpoint_is_told() -> None:
    assert list(found(transcription_api_key="key")) == ["OFFHOOK_TRANSCRIPTION_API_KEY"]


@pytest.mark.parametrize(
    "url",
    [
        "/folder",
        "ftp://host/x",
        "s3://",
        "s3://key:secret@bucket",
        "s3://bucket?region=x",
        "file://host/x",
        "file:x",
    ],
)
def test_what_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="recording_store"):
        Settings.model_validate({"recording_store": url})

"""Settings: where they come from, who wins, what is never printed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import PREFIX, ConfigUnreadable, Settings
from media.realtime.dialects import DIALECTS


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory and an environment with nothing of ours in them."""
    import os

    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_starts_with_no_settings_at_all() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.metrics_port) == ("127.0.0.1", 8080, None)
    assert settings.media_auth.get_secret_value() == "tokens"


def test_every_setting_says_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        unit = {"_ms": "illisecond", "_s": "econds"}
        for suffix, word in unit.items():
            if name.endswith(suffix):
                assert word in field.description, name


def test_environment_beats_dotenv_beats_toml(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    (nowhere / "offhook.toml").write_text(
        'port = 1\nlead_ms = 100\n[realtime]\nurl = "ws://toml/"\nvoice = "v"\n[barge_in]\nmin_speech_ms = 9\n'
    )
    (nowhere / ".env").write_text("OFFHOOK_PORT=2\nOFFHOOK_REALTIME_URL=ws://dotenv/\n")
    monkeypatch.setenv("OFFHOOK_PORT", "3")
    settings = Settings()
    assert (settings.port, settings.realtime_url) == (3, "ws://dotenv/")
    assert (settings.lead_ms, settings.realtime_voice, settings.barge_in_min_speech_ms) == (100, "v", 9)


def test_the_config_file_may_be_elsewhere(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    (nowhere / "other.toml").write_text("port = 4\n")
    monkeypatch.setenv("OFFHOOK_CONFIG", "other.toml")
    assert Settings().port == 4


def test_a_config_file_that_cannot_be_read_says_where(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    (nowhere / "offhook.toml").write_text("port = 1\nhost = \n")
    with pytest.raises(ConfigUnreadable, match=r"offhook\.toml is not TOML: .*line 2"):
        Settings()
    monkeypatch.setenv("OFFHOOK_CONFIG", "missing.toml")
    with pytest.raises(ConfigUnreadable, match=r"missing\.toml, named by OFFHOOK_CONFIG"):
        Settings()


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFHOOK_PUBLIC_URL", "")
    assert Settings().public_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "example.com"),
        ("PUBLIC_URL", "ftp://example.com"),
        ("REALTIME_URL", "https://api.openai.com/v1/realtime"),
        ("MEDIA_AUTH", "open"),
        ("MEDIA_AUTH", "shared:short"),
        ("PORT", "99999"),
        ("UPLINK_MS", "30"),
        ("REALTIME_INPUT_FORMAT", "opus"),
        ("TELNYX_PUBLIC_KEY", "dG9vIHNob3J0"),
        ("TELNYX_BASE_URL", "api.telnyx.com"),
        ("ANSWER_WAIT_S", "11"),
        ("EGRESS_ALLOW", "10.0.0.1/8"),
        ("SECRET_KEYS", "short"),
        ("WEBHOOK_SECRET", "whsec_c2hvcnQ="),
    ],
)
def test_what_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"OFFHOOK_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_numbers_and_switches_are_read_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"UPLINK_MS": "40", "RECORDING": "off", "TRACE": "on", "CLOSE_GRACE_S": "0.5"}.items():
        monkeypatch.setenv(f"OFFHOOK_{name}", value)
    settings = Settings()
    assert (settings.uplink_ms, settings.recording, settings.trace, settings.close_grace_s) == (
        40,
        False,
        True,
        0.5,
    )


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "do-not-print-me-anywhere"
    for name in ("REALTIME_API_KEY", "TWILIO_AUTH_TOKEN", "TWILIO_API_KEY_SECRET", "TELNYX_API_KEY"):
        monkeypatch.setenv(f"OFFHOOK_{name}", secret)
    monkeypatch.setenv("OFFHOOK_MEDIA_AUTH", f"shared:{secret}")
    settings = Settings()
    assert secret not in repr(settings)
    assert secret not in str(settings)
    assert secret not in settings.model_dump_json()


def test_every_dialect_has_its_name_here() -> None:
    assert set(Settings.model_fields["realtime_dialect"].annotation.__args__) == set(DIALECTS)  # type: ignore[union-attr]

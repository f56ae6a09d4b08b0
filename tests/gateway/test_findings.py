"""`offhook check`: every fault is found, named and has a remedy."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.finding import Finding
from gateway.findings import check, explain
from gateway.settings import Settings
from tests.gateway.test_settings import nowhere

__all__ = ["nowhere"]  # the fixture, for every test here


def faults(findings: list[Finding]) -> dict[str, str]:
    """Setting and problem of everything that is no mere note."""
    return {found.setting: found.problem for found in findings if found.level != "note"}


def test_the_defaults_have_no_fault() -> None:
    settings, findings = check()
    assert settings is not None
    assert faults(findings) == {}


@pytest.mark.parametrize(
    ("changes", "setting", "problem"),
    [
        ({"public_url": "http://example.com"}, "PUBLIC_URL", "not https"),
        ({"media_auth": "none", "host": "0.0.0.0"}, "MEDIA_AUTH", "nobody will be let in"),
        ({"media_auth": "none", "public_url": "https://example.com"}, "MEDIA_AUTH", "is public"),
        ({"media_auth": "none"}, "MEDIA_AUTH", "any program on this machine"),
        ({"media_auth": "shared:long-enough-secret"}, "MEDIA_AUTH", "whoever knows it"),
        ({"realtime_url": "wss://api.openai.com/v1/realtime"}, "REALTIME_API_KEY", "will want one"),
        ({"realtime_url": "ws://example.com/", "realtime_api_key": "k"}, "REALTIME_URL", "in the clear"),
        (
            {"realtime_url": "wss://api.openai.com/", "realtime_api_key": "k", "realtime_dialect": "beta"},
            "REALTIME_DIALECT",
            "4000",
        ),
        ({"barge_in": False, "barge_in_protect_greeting": True}, "BARGE_IN", "do nothing"),
        ({"metrics_port": 8080}, "METRICS_PORT", "public port"),
        ({"data_dir": "/dev/null"}, "DATA_DIR", "not a folder"),
        ({"tls_cert": "/dev/null"}, "TLS_KEY", "does not speak TLS"),
        ({"tls_cert": "/nowhere/cert.pem", "tls_key": "/dev/null"}, "TLS_CERT", "no file"),
        ({"egress_allow_http": True}, "EGRESS_ALLOW_HTTP", "in the clear"),
        ({"egress_allow": "127.0.0.1,0.0.0.0/0"}, "EGRESS_ALLOW", "0.0.0.0/0"),
        ({"egress_allow": "169.254.0.0/16"}, "EGRESS_ALLOW", "credentials"),
    ],
)
def test_each_surprise_is_explained(changes: dict[str, object], setting: str, problem: str) -> None:
    found = explain(Settings.model_validate(changes))
    assert problem in faults(found)[f"OFFHOOK_{setting}"]
    assert all(finding.remedy for finding in found)
    assert "long-enough-secret" not in repr(found)


def test_a_sound_public_setup_has_no_fault() -> None:
    settings = Settings(
        host="0.0.0.0",
        public_url="https://example.com",
        realtime_url="wss://api.openai.com/v1/realtime",
        realtime_api_key=SecretStr("k"),
        twilio_auth_token=SecretStr("t"),
    )
    assert faults(explain(settings)) == {}


def test_a_misspelt_setting_is_found_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, nowhere: Path
) -> None:
    monkeypatch.setenv("OFFHOOK_REALTIME_APIKEY", "x")
    (nowhere / ".env").write_text("OFFHOOK_PUBLIC_URI=x\n")
    (nowhere / "offhook.toml").write_text("zzzzzz = 1\n")
    _, findings = check()
    remedies = {finding.setting: finding.remedy for finding in findings if finding.level == "error"}
    assert remedies == {
        "OFFHOOK_REALTIME_APIKEY": "did you mean OFFHOOK_REALTIME_API_KEY?",
        "OFFHOOK_PUBLIC_URI": "did you mean OFFHOOK_PUBLIC_URL?",
        "OFFHOOK_ZZZZZZ": "remove it",
    }


def test_an_unreadable_file_is_one_finding(nowhere: Path) -> None:
    (nowhere / "offhook.toml").write_text("= nonsense")
    settings, findings = check()
    assert settings is None
    assert "line 1" in faults(findings)["OFFHOOK_CONFIG"]


def test_invalid_values_are_explained_without_being_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFHOOK_MEDIA_AUTH", "shared:tiny")
    monkeypatch.setenv("OFFHOOK_PORT", "high")
    settings, findings = check()
    assert settings is None
    assert "at least 16" in faults(findings)["OFFHOOK_MEDIA_AUTH"]
    assert "integer" in faults(findings)["OFFHOOK_PORT"]
    assert "tiny" not in repr(findings)

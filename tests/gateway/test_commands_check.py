"""`offhook check`: the settings, explained."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.__main__ import app

cli = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_usable_settings_are_called_usable() -> None:
    result = cli.invoke(app, ["check"], env={"OFFHOOK_PORT": "8123"})
    assert result.exit_code == 0
    assert "usable" in result.output
    assert "127.0.0.1:8123" in result.output


def test_a_wrong_value_is_an_error_that_names_its_setting() -> None:
    result = cli.invoke(app, ["check"], env={"OFFHOOK_PORT": "many"})
    assert result.exit_code == 1
    assert "OFFHOOK_PORT" in result.output


def test_a_mistyped_name_is_met_with_the_right_one() -> None:
    result = cli.invoke(app, ["check"], env={"OFFHOOK_REALTIME_UR": "ws://x/"})
    assert "OFFHOOK_REALTIME_URL" in result.output


def test_a_secret_is_never_shown() -> None:
    result = cli.invoke(app, ["check"], env={"OFFHOOK_REALTIME_API_KEY": "sk-very-secret"})
    assert "very-secret" not in result.output

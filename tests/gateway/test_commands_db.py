"""`offhook db`: tables are looked at and brought to this release, and a fault is a line, not a traceback."""

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from control.stores.migrating import head
from gateway.__main__ import app

cli = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_new_database_is_made_and_then_up_to_date() -> None:
    made = cli.invoke(app, ["db", "upgrade"])
    assert (made.exit_code, "applied   0001" in made.stdout) == (0, True)
    state = cli.invoke(app, ["db", "status"])
    assert state.exit_code == 0
    assert f"revision  {head()}" in state.stdout
    assert "up to date" in state.stdout
    again = cli.invoke(app, ["db", "upgrade"])
    assert (again.exit_code, "applied" in again.stdout) == (0, False)


def test_looking_at_a_database_does_not_make_it(tmp_path: Path) -> None:
    state = cli.invoke(app, ["db", "status"])
    assert state.exit_code == 1
    assert "there is no database" in state.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_behind_says_by_what_and_one_ahead_too(tmp_path: Path) -> None:
    cli.invoke(app, ["db", "upgrade"])
    kept = sqlite3.connect(tmp_path / "offhook-data" / "offhook.db")
    for revision, said in (("0001", "behind"), ("9999", "install a later one")):
        kept.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        kept.commit()
        state = cli.invoke(app, ["db", "status"])
        assert (state.exit_code, said in state.stdout) == (1, True)
    kept.close()
    refused = cli.invoke(app, ["db", "upgrade"])
    assert refused.exit_code == 1
    assert "9999" in refused.stderr


def test_a_server_that_is_not_there_is_said_in_a_line_without_its_password() -> None:
    url = "postgresql://somebody:very-secret@127.0.0.1:1/offhook"
    result = cli.invoke(app, ["db", "status"], env={"OFFHOOK_DATABASE_URL": url})
    assert result.exit_code == 1
    assert "the database cannot be used" in result.stderr
    assert "very-secret" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_settings_that_cannot_be_read_are_explained() -> None:
    result = cli.invoke(app, ["db", "status"], env={"OFFHOOK_PORT": "many"})
    assert result.exit_code == 2
    assert "OFFHOOK_PORT" in result.stderr

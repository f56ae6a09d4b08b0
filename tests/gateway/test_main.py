"""The command line as a whole."""

from typer.testing import CliRunner

from gateway.__main__ import app
from gateway.server import our_version

cli = CliRunner()


def test_every_command_is_told_by_help() -> None:
    told = cli.invoke(app, ["--help"]).output
    for command in ("serve", "demo", "agent", "call", "load", "replay", "check", "version"):
        assert command in told
        assert cli.invoke(app, [command, "--help"]).exit_code == 0


def test_the_version_is_printed() -> None:
    assert cli.invoke(app, ["version"]).output.strip() == our_version()

"""`offhook load`: what it refuses at once, its report, and its exit code."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.__main__ import app
from gateway.agent.server import AgentServer
from gateway.caller_script import load_caller
from gateway.commands.load import LOAD_SCRIPT
from telephony.caller import BargeIn
from tests.gateway.test_commands_call import NOBODY, Served


def offhook(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://gateway.test", "--calls", "1"], "is not a websocket URL"),
        ([NOBODY], "--calls"),
        ([NOBODY, "--calls", "0"], "at least one"),
        ([NOBODY, "--calls", "1", "--ramp", "0"], "--ramp 0: more than nothing"),
        ([NOBODY, "--calls", "1", "--echo", "-1"], "--echo -1: more than nothing"),
        ([NOBODY, "--calls", "1", "--echo", "1", "--loss", "0.1"], "--echo is a script of its own"),
        ([NOBODY, "--calls", "1", "--audio", "nowhere.wav"], "nowhere.wav is not there"),
        ([NOBODY, "--calls", "1", "--script", "nowhere.yaml"], "cannot read nowhere.yaml"),
        ([NOBODY, "--calls", "1", "--pid", str(2**22 + 1)], "there is no such process"),
        ([NOBODY, "--calls", "1", "--report", "no/such/folder/report.json"], "there is no folder"),
        ([NOBODY, "--calls", "1000000000"], "open files"),
    ],
)
def test_a_mistake_is_told_in_a_line_with_exit_code_2(words: list[str], said: str) -> None:
    result = offhook("load", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_the_caller_of_a_load_barges_in() -> None:
    assert any(isinstance(step, BargeIn) for step in load_caller(LOAD_SCRIPT))


@pytest.mark.sockets
def test_a_load_ends_in_a_table_and_a_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with Served(tmp_path / "data", AgentServer()) as served:
        result = offhook("load", served.url, "--calls", 2, "--ramp", 50, "--echo", 0.2, "--report", path)
    assert result.exit_code == 0, result.output
    assert "2 of 2 calls ok" in result.stdout
    assert "20 of 20 frames came back" in result.stdout
    assert json.loads(path.read_text())["echo"]["lost"] == 0


@pytest.mark.sockets
def test_failed_calls_fail_the_load(tmp_path: Path) -> None:
    with Served(tmp_path / "data", AgentServer()) as served:
        refused = served.url.replace("twilio", "pigeon")
        result = offhook("load", refused, "--calls", 3, "--ramp", 100, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["calls"]["failed_by_reason"] == {
        "the stream was refused with HTTP 404": 3
    }

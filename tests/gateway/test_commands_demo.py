"""`offhook demo`, the command itself: one short call over real sockets. The long one is tests/gateway/test_demo.py."""

import json
from inspect import signature
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.__main__ import app
from gateway.commands.demo import demo
from media.dtmf import tone
from media.wav import WavHeader

cli = CliRunner()


def test_a_recording_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = cli.invoke(app, ["demo", "--caller", str(tmp_path / "none.wav")])
    assert result.exit_code == 2
    assert "is not there" in result.output


def test_what_it_leaves_lies_where_nothing_is_committed_from() -> None:
    folder = signature(demo).parameters["data_dir"].default
    assert (Path(__file__).parents[2] / ".gitignore").read_text().splitlines().count(
        f"{folder.parts[0]}/"
    ) == 1


@pytest.mark.sockets
def test_any_recording_may_be_the_caller(tmp_path: Path) -> None:
    """Nobody answers a caller whose recording is silence; the demo still greets, records and tells."""
    speech = tone("5", 0.5)
    recording = tmp_path / "caller.wav"
    recording.write_bytes(WavHeader(rate=8000, channels=1).bytes(len(speech)) + speech)
    folder = tmp_path / "data"
    result = cli.invoke(
        app, ["demo", "--caller", str(recording), "--carrier", "telnyx", "--data-dir", str(folder)]
    )
    assert result.exit_code == 0, result.output
    assert "Meadow Parcels" in result.output
    (record,) = (folder / "calls").iterdir()
    assert json.loads(record.read_text())["ended_reason"] == "caller-hangup"
    assert len(list((folder / "recordings").glob("*.wav"))) == 1
    (trace,) = (folder / "traces").iterdir()
    assert cli.invoke(app, ["replay", str(trace)]).exit_code == 0

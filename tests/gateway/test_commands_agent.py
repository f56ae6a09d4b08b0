"""`offhook agent`: what it serves, and what it says when it cannot."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import websockets
from typer.testing import CliRunner

from gateway.__main__ import app
from tests.conftest import RunAsync

cli = CliRunner()


def test_a_script_goes_with_scripted_only() -> None:
    result = cli.invoke(app, ["agent", "echo", "--script", "x.yaml"])
    assert result.exit_code == 2
    assert "--script goes with `scripted`" in result.output


def test_a_faulty_script_is_told_by_line(tmp_path: Path) -> None:
    script = tmp_path / "bad.yaml"
    script.write_text("turns:\n  - {sya: Hello.}\n")
    result = cli.invoke(app, ["agent", "scripted", "--script", str(script)])
    assert result.exit_code == 2
    assert "bad.yaml:2" in result.output


def test_a_missing_script_is_told(tmp_path: Path) -> None:
    result = cli.invoke(app, ["agent", "scripted", "--script", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert "cannot read" in result.output


@pytest.mark.sockets
def test_it_serves_the_wire_until_it_is_told_to_stop(real: RunAsync) -> None:
    async def scenario() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "agent", "echo", "--port", "0",
            stderr=asyncio.subprocess.PIPE, env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip
        assert process.stderr is not None
        url = (await process.stderr.readline()).decode().split("agent at ")[1].strip()
        async with websockets.connect(url) as socket:
            assert '"session.created"' in str(await socket.recv())
        process.send_signal(signal.SIGTERM)
        return await process.wait()

    assert real(scenario()) == 0

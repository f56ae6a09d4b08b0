"""`offhook serve`: it listens, answers, and drains when told to stop."""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

from gateway.__main__ import app
from tests.conftest import RunAsync


def test_settings_that_cannot_be_used_end_it_with_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["serve"], env={"OFFHOOK_PORT": "-1"})
    assert result.exit_code == 2
    assert "OFFHOOK_PORT" in result.output


@pytest.mark.sockets
def test_an_address_in_use_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(app, ["serve"], env={"OFFHOOK_PORT": str(taken.getsockname()[1])})
    assert result.exit_code == 1
    assert "cannot listen" in result.output


@pytest.mark.sockets
def test_a_database_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["serve"], env={"OFFHOOK_MIGRATE": "false", "OFFHOOK_PORT": "0"})
    assert result.exit_code == 1
    assert "the database cannot be used" in result.output


@pytest.mark.sockets
def test_it_is_ready_then_drains_and_stops(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "serve", "--demo-agent",
            stderr=asyncio.subprocess.PIPE, cwd=tmp_path,
            env=os.environ
            | {
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "OFFHOOK_PORT": "0",
                "OFFHOOK_METRICS_PORT": "0",
                "OFFHOOK_LOG_FORMAT": "json",
            },
        )  # fmt: skip
        assert process.stderr is not None
        ready: dict[str, int] = {}
        while "port" not in ready:
            line = (await process.stderr.readline()).decode()
            assert line, "it ended before it was ready"
            if line.startswith("{"):
                ready = json.loads(line)
        async with aiohttp.ClientSession() as http:
            for path in ("health", "liveness", "readiness", "version"):
                async with http.get(f"http://127.0.0.1:{ready['port']}/{path}") as answer:
                    assert answer.status == 200
            async with http.get(f"http://127.0.0.1:{ready['metrics_port']}/metrics") as answer:
                assert "offhook_calls_live" in await answer.text()
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        return process.returncode or 0

    assert real(scenario()) == 0

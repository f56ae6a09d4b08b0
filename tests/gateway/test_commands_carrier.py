"""`offhook carrier`: what it serves, and what it says when it cannot."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, encode_basic_auth
from telnyx import AsyncTelnyx
from typer.testing import CliRunner

from gateway.__main__ import app
from tests.conftest import RunAsync

cli = CliRunner()
EXAMPLE = Path(__file__).parents[2] / "examples" / "carriers" / "people.yaml"


def test_a_faulty_file_of_people_is_told_by_line(tmp_path: Path) -> None:
    people = tmp_path / "people.yaml"
    people.write_text("default:\n  reaction: sleeps\n")
    result = cli.invoke(app, ["carrier", "telnyx", "--people", str(people)])
    assert result.exit_code == 2
    assert "people.yaml:2: default.reaction" in result.output


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    result = cli.invoke(app, ["carrier", "twilio", "--people", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert "cannot read" in result.output


@asynccontextmanager
async def running(name: str) -> AsyncIterator[dict[str, str]]:
    """Runs a simulator in here; yields the settings that it names for the gateway."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "carrier", name, "--port", "0", "--people", str(EXAMPLE), "--hostile",
        stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        settings = {}
        while (line := (await process.stderr.readline()).decode().strip()) and not line.startswith("curl"):
            setting, equals, value = line.partition("=")
            if equals:
                settings[setting] = value
        yield settings
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.sockets
def test_the_telnyx_sdk_dials_there(real: RunAsync) -> None:
    async def scenario() -> None:
        async with running("telnyx") as settings, AsyncTelnyx(
            api_key=settings["OFFHOOK_TELNYX_API_KEY"], base_url=settings["OFFHOOK_TELNYX_BASE_URL"]
        ) as client:  # fmt: skip
            answer = await client.calls.dial(
                connection_id=settings["OFFHOOK_TELNYX_CONNECTION_ID"],
                to="+13125550111",
                from_="+13125550100",
            )
            assert answer.data is not None
            assert answer.data.call_control_id.startswith("v3:")

    real(scenario())


@pytest.mark.sockets
def test_twilios_account_answers_there(real: RunAsync) -> None:
    async def scenario() -> None:
        async with running("twilio") as settings, ClientSession() as session:
            account = settings["OFFHOOK_TWILIO_ACCOUNT_SID"]
            url = f"{settings['OFFHOOK_TWILIO_BASE_URL']}/2010-04-01/Accounts/{account}/Calls.json"
            key = encode_basic_auth(account, settings["OFFHOOK_TWILIO_AUTH_TOKEN"])
            async with session.get(url, headers={"Authorization": key}) as answer:
                assert (await answer.json())["calls"] == []

    real(scenario())

"""A gateway's process is killed and does not come back; two others share its database and see to its calls."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from control.service import reconciliation
from gateway import call_house
from gateway.app import running
from gateway.settings import Settings
from tests.conftest import RunAsync
from tests.gateway.test_left_calls import (
    STAYS,
    WORDS,
    a_house,
    is_whole,
    nobody_is_up,
    said,
)
from tests.killable_house import KillableHouse
from tests.whole_house import free_port

pytestmark = pytest.mark.sockets


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes of silence are seconds."""
    monkeypatch.setattr(call_house, "BEAT", 0.2)
    monkeypatch.setattr(call_house, "PERIOD", 0.2)
    monkeypatch.setattr(reconciliation, "SILENT", 2.0)
    monkeypatch.setattr(reconciliation, "GONE", 4.0)


@asynccontextmanager
async def another(house: KillableHouse, folder: Path) -> AsyncIterator[None]:
    """Another gateway with the same settings and database, in here."""
    port = free_port()
    given: dict[str, Any] = {
        **house.gateway.settings,
        "_env_file": None,
        "host": "127.0.0.1",
        "port": port,
        "public_url": f"http://127.0.0.1:{port}",
        "data_dir": folder,
        "database_url": house.database,
        "agents": json.loads(house.gateway.settings["agents"]),
    }
    async with running(Settings(**given)):
        yield


def test_what_a_process_that_does_not_come_back_had_in_hand_is_seen_to_once(
    real: RunAsync, tmp_path: Path, database: str | None
) -> None:
    async def scenario() -> None:
        async with a_house(tmp_path, database, STAYS) as (house, _, _), AsyncExitStack() as others:
            call_id = await house.dial()
            await said(house, call_id, *WORDS)
            await house.api("POST", f"/v1/calls/{call_id}/gather", {"prompt": "Your number, please."})
            await house.gateway.kill()
            for name in ("second", "third"):
                await others.enter_async_context(another(house, tmp_path / name))
            await house.backend.was_told(call_id, "call.ended")
            await house.until(partial(nobody_is_up, house))

            async def everything_is_told() -> bool:
                house.backend.told(call_id)
                return set(house.backend.events[call_id]) == set(await house.published(call_id))

            await house.until(everything_is_told)
            # It comes back after all, with its folder: there is nothing left to say but of the recording in it.
            await house.gateway.start()
            await house.backend.was_told(call_id, "call.recording_ready")
            is_whole(await house.api("GET", f"/v1/calls/{call_id}"))
            names = house.backend.told(call_id)
            once = ("call.gather.completed", "call.ended", "call.recording_ready")
            assert [names.count(name) for name in once] == [1, 1, 1]
            await house.gateway.stop()

    real(scenario())

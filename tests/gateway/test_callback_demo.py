"""The demo's second call, whole, over real sockets: on both carriers at the same time, for it takes a while."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.callback_demo import FREE_COLLEAGUE, Callback, call_back
from gateway.commands.examples import CALLBACK_PEOPLE, CALLBACK_SCRIPT
from gateway.far_ends import load_far_ends
from tests.conftest import RunAsync

DECISIVE = ("call.machine_detected", "transfer.failed", "transfer.completed", "call.ended")


async def called_back(carrier: str, folder: Path) -> tuple[Callback, dict[str, Any], list[str]]:
    told: list[str] = []
    people = load_far_ends(CALLBACK_PEOPLE)
    callback, call = await call_back(
        carrier, folder / carrier, CALLBACK_SCRIPT, people, lambda event: told.append(event["event"])
    )
    return callback, call, told


@pytest.mark.sockets
def test_a_number_is_gathered_one_transfer_fails_and_one_succeeds(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> list[tuple[Callback, dict[str, Any], list[str]]]:
        return await asyncio.gather(*(called_back(carrier, tmp_path) for carrier in ("telnyx", "twilio")))

    for callback, call, told in real(scenario()):
        assert (callback.account, callback.failures, callback.transferred) == ("4711", ["busy"], True)
        ended = call["status"], call["disposition"], call["ended_reason"], call["transferred_to"]
        assert ended == ("completed", "transferred", "transfer", FREE_COLLEAGUE)
        assert [name for name in told if name in DECISIVE] == list(DECISIVE)
        said = [line["content"] for line in call["transcript"] if line["role"] == "assistant"]
        assert [words[:9] for words in said[-2:]] == ["I am sorr", "One momen"]

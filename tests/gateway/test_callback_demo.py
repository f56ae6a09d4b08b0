"""The demo's second call, whole, over real sockets, on both carriers."""

from pathlib import Path

import pytest

from gateway.callback_demo import FREE_COLLEAGUE, call_back
from gateway.commands.examples import CALLBACK_PEOPLE, CALLBACK_SCRIPT
from gateway.far_ends import load_far_ends
from tests.conftest import RunAsync


@pytest.mark.sockets
@pytest.mark.parametrize("carrier", ["telnyx", "twilio"])
def test_a_number_is_gathered_one_transfer_fails_and_one_succeeds(
    carrier: str, real: RunAsync, tmp_path: Path
) -> None:
    told: list[str] = []
    callback, call = real(
        call_back(
            carrier,
            tmp_path / "demo",
            CALLBACK_SCRIPT,
            load_far_ends(CALLBACK_PEOPLE),
            lambda event: told.append(event["event"]),
        )
    )
    assert (callback.account, callback.failures, callback.transferred) == ("4711", ["busy"], True)
    assert (call["status"], call["disposition"], call["ended_reason"]) == (
        "completed",
        "transferred",
        "transfer",
    )
    assert call["transferred_to"] == FREE_COLLEAGUE
    published = [
        name
        for name in told
        if name in ("call.machine_detected", "transfer.failed", "transfer.completed", "call.ended")
    ]
    assert published == ["call.machine_detected", "transfer.failed", "transfer.completed", "call.ended"]
    assert [line["content"][:9] for line in call["transcript"] if line["role"] == "assistant"][-2:] == [
        "I am sorr",
        "One momen",
    ]

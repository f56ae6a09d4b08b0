"""Replay: what is no trace is refused; that a trace replays to the same outputs is shown by every call in chaos."""

import json
from pathlib import Path

import pytest

from gateway.agent.echo import EchoBehaviour
from gateway.replay import TraceError, replay
from telephony.caller import HangUp, Wait
from tests.conftest import RunAsync
from tests.whole_call import House


@pytest.fixture(name="trace")
def _trace(virtual: RunAsync, tmp_path: Path) -> Path:
    async def scenario() -> Path:
        house = House(tmp_path, EchoBehaviour, trace=True)
        await house.call([Wait(0.5), HangUp()])
        house.close()
        assert house.traces is not None
        return next(house.traces.iterdir())

    return virtual(scenario())


def test_a_trace_cut_short_by_a_kill_replays_as_far_as_it_goes(trace: Path) -> None:
    whole = replay(trace)
    assert whole.same
    text = trace.read_text()
    trace.write_text(text[: len(text) // 2].rpartition('{"t"')[0] + '{"t": 0.1, "le')
    half = replay(trace)
    assert half.inputs < whole.inputs


@pytest.mark.parametrize(
    "text",
    ["", "\n", "{}\n", '{"trace": 99}\n', "no JSON\n", "[]\n"],
    ids=["empty", "blank", "{}", "99", "text", "[]"],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(TraceError):
        replay(path)


def test_an_input_this_version_does_not_know_is_refused(trace: Path) -> None:
    with trace.open("a") as file:
        file.write(json.dumps({"t": 9.0, "event": "teleported"}) + "\n")
    with pytest.raises(TraceError, match="teleported"):
        replay(trace)


def test_many_differences_are_counted_and_the_first_ones_told(trace: Path) -> None:
    text = trace.read_text().replace('"leg": "agent", "out": "{', '"leg": "agent", "out": "[')
    trace.write_text(text)
    changed = replay(trace)
    assert not changed.same
    assert len(changed.differences) == 10
    assert changed.more > 0

"""Golden calls: traces kept in this folder, replayed to the byte. `python -m tests.calls.record` makes them anew."""

from pathlib import Path

import pytest

from gateway.replay import replay
from tests.calls.record import CALLS

FOLDER = Path(__file__).parent
TRACES = sorted(FOLDER.glob("*.jsonl"))


def test_every_golden_call_is_here() -> None:
    assert [trace.stem for trace in TRACES] == sorted(golden.name for golden in CALLS)


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.stem)
def test_a_golden_call_replays_to_the_same_outputs(trace: Path) -> None:
    replayed = replay(trace)
    assert replayed.differences == []
    assert replayed.bridge.ended_reason == "caller-hangup"


def test_the_account_of_a_golden_barge_in_is_what_it_was() -> None:
    bridge = replay(FOLDER / "twilio-barge-in.jsonl").bridge
    (cut,) = [event for event in bridge.timeline.events if event.name == "barge_in"]
    assert (cut.fields["heard_ms"], cut.fields["items"]) == (940, 1)
    assert bridge.turns.barge_ins == 1

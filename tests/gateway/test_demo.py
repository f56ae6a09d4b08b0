"""The demo's call, to the letter, on virtual time: what `make demo` shows is what this asserts."""

from pathlib import Path

import pytest

from control.policy import CallPolicy
from gateway.agent.script import load_script
from gateway.caller_script import load_caller
from gateway.commands.examples import AGENT_SCRIPT, CALLER_SCRIPT
from telephony.impairments import Impairments
from telephony.outcome import CallOutcome, EndedBy
from tests.conftest import RunAsync
from tests.whole_call import House


@pytest.mark.parametrize("carrier", ["twilio", "telnyx", "signalwire"])
def test_the_demo_call_goes_as_its_scripts_say(virtual: RunAsync, tmp_path: Path, carrier: str) -> None:
    house: House

    async def scenario() -> CallOutcome:
        nonlocal house
        house = House(tmp_path, load_script(AGENT_SCRIPT), policy=CallPolicy(greeting="Greet the caller."))
        try:
            return await house.call(
                load_caller(CALLER_SCRIPT), carrier=carrier, impairments=Impairments.symmetric(0.040)
            )
        finally:
            house.close()

    outcome = virtual(scenario())
    assert outcome.ended_by is EndedBy.CALLER
    assert outcome.timeouts == 0
    record = house.record
    said = [(line["role"], line["content"][:24], line["interrupted"]) for line in record["transcript"]]
    assert said == [
        ("assistant", "Hello, this is Meadow Pa", False),
        ("user", "Hello, I would like to k", False),
        ("assistant", "Your parcel left our dep", True),
        ("user", "No wait, I also have a q", False),
        ("assistant", "Of course. The invoice w", False),
        ("user", "My customer number is on", False),
        ("assistant", "Please key in your custo", False),
        ("user", "[The caller pressed thes", False),
        ("assistant", "Thank you. I have found ", False),
        ("user", "Thank you, that is all. ", False),
        ("assistant", "Thank you for calling Me", False),
    ]
    assert record["barge_in_count"] == 1
    assert [event["digit"] for event in house.events("call.dtmf.received")] == list("4711#")
    (cut,) = house.events("barge_in")
    (clear,) = outcome.clears
    assert abs(cut["position_ms"] - clear.position / 8) <= 20
    answers = [turn for turn in record["latency_data"]["turns"] if turn["first_audio_heard_ms"] is not None]
    assert len(answers) == 6
    assert house.events("agent.error") == []

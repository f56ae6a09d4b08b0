"""Traces: whatever came in can be read back as the bytes it was."""

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from control.outputs import Finish, Outputs
from control.policy import BargeIn, CallPolicy
from gateway.trace import POLICY, SESSION, VERSION, Trace, configuration
from media.audio import PCM16_24K, PCMU_8K
from media.realtime.configuration import SessionConfig, TurnDetection


@given(message=st.binary(max_size=200))
def test_a_message_of_any_bytes_survives(message: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces" / "call.jsonl"
        trace = Trace(path, {"call_id": "call"})
        trace.message("carrier", message, 1.5)
        trace.close()
        header, line = [json.loads(text) for text in path.read_text("ascii").splitlines()]
    assert header == {"trace": VERSION, "call_id": "call"}
    assert line["in"].encode("utf-8", "surrogateescape") == message
    assert (line["t"], line["leg"]) == (1.5, "carrier")


def test_outputs_are_written_carrier_first(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "call.jsonl", {})
    trace.outputs(Outputs(carrier=[b'{"a":1}'], agent=[b'{"b":2}'], actions=[Finish("api")]), 2.0)
    trace.event("poll", 3.0)
    trace.close()
    lines = [json.loads(text) for text in (tmp_path / "call.jsonl").read_text().splitlines()][1:]
    assert lines == [
        {"t": 2.0, "leg": "carrier", "out": '{"a":1}'},
        {"t": 2.0, "leg": "agent", "out": '{"b":2}'},
        {"t": 2.0, "action": "Finish(ended_reason='api')"},
        {"t": 3.0, "event": "poll"},
    ]


def test_a_configuration_comes_back_as_it_was() -> None:
    policy = CallPolicy(greeting="Hi.", barge_in=BargeIn(min_speech=0.3), lead=0.1)
    session = SessionConfig(
        model="m",
        voice="v",
        instructions="",
        input_format=PCMU_8K,
        output_format=PCM16_24K,
        turn_detection=TurnDetection(create_response=False),
    )
    written = json.loads(json.dumps(configuration(policy, session)))
    assert POLICY.validate_python(written["policy"]) == policy
    assert SESSION.validate_python(written["session"]) == session

"""A call's record: whole for a call that never was, and JSON that any reader takes."""

import json
from typing import Any

from control.bridge import Bridge
from control.policy import CallPolicy
from control.records import CallFacts, call_record, media_progress, media_summary
from media.realtime.events import Role
from telephony.carrier import WIRES
from telephony.stream import CarrierStream

FACTS = CallFacts(call_id="call_1", carrier="twilio", started_at="2026-01-01T00:00:00.000Z")
START = b'{"event":"start","streamSid":"MZ1","start":{"streamSid":"MZ1","callSid":"CA1"}}'


def strict(record: dict[str, object]) -> dict[str, Any]:
    """Read the record as a parser does that knows no NaN and no infinity."""
    loaded: dict[str, Any] = json.loads(json.dumps(record, allow_nan=False))
    return loaded


def test_a_call_that_never_started_has_a_record_too() -> None:
    bridge = Bridge(CallPolicy(), 5.0)
    bridge.end("error", 6.0)
    record = strict(call_record(FACTS, bridge))
    assert (record["status"], record["ended_reason"]) == ("failed", "error")
    assert (record["duration_seconds"], record["carrier_call_id"]) == (0.0, None)


def test_the_record_of_a_short_call() -> None:
    bridge = Bridge(CallPolicy(), 5.0)
    bridge.carrier_attached(CarrierStream(WIRES["twilio"]), 5.0)
    bridge.carrier_received(START, 5.5)
    bridge.carrier_received(b'{"event":"stop","streamSid":"MZ1"}', 7.0)
    record = strict(call_record(FACTS, bridge))
    assert (record["status"], record["ended_reason"]) == ("completed", "caller-hangup")
    assert (record["duration_seconds"], record["carrier_call_id"]) == (1.5, "CA1")
    assert record["timeline"][-1] == {"at": 2.0, "event": "call.ended", "ended_reason": "caller-hangup"}
    assert record["media"]["stream_generations"] == 1
    assert record["has_recording"] is False


def test_what_a_long_call_has_come_to_so_far_is_told_by_its_latest() -> None:
    bridge = Bridge(CallPolicy(), 5.0)
    for number in range(20):
        bridge.transcript.text(f"item_{number}", Role.CALLER, f"{number}.", final=True, at=float(number))
        bridge.latency.caller_stopped(5.0 + number, 0.0)
    progress = media_progress(bridge)
    summary = media_summary(bridge, None)
    assert summary.transcript[progress.first_utterance :] == progress.transcript
    assert summary.latency_turns[progress.first_turn :] == progress.latency_turns
    assert (progress.first_utterance, progress.first_turn) == (4, 16)
    assert progress.usage == summary.usage

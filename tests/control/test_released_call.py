"""Calls that an earlier process left: those that talk on elsewhere, and those that ended with it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from control.call_draft import CallDraft, DraftKind, DraftPiece
from control.call_record import CallRecord, EventRecord
from control.released_call import abandoned, ended, is_released
from telephony.calls import HungUp, Origin
from telephony.causes import CallStatus, Direction, Disposition, EndedReason, HangupCause
from tests.control.service_scene import BEGUN, OTHER

LATER = BEGUN + timedelta(minutes=5)
RINGING = CallRecord(call_id="call_1", direction=Direction.INBOUND, carrier="telnyx", started_at=BEGUN)
TALKING = replace(RINGING, status=CallStatus.IN_PROGRESS, answered_at=BEGUN + timedelta(seconds=4))
RELEASED = replace(TALKING, transferred_to=OTHER)


def test_only_a_live_call_with_somebody_else_is_released() -> None:
    assert is_released(RELEASED)
    assert not is_released(TALKING)
    assert not is_released(replace(RELEASED, status=CallStatus.COMPLETED))


def test_a_released_call_ends_as_transferred_when_the_carrier_says_so() -> None:
    word = HungUp(
        origin=Origin(carrier="telnyx", event_id="e", occurred_at=LATER - timedelta(seconds=9)),
        cause=HangupCause.NORMAL_CLEARING,
    )
    record = ended(RELEASED, LATER, word)
    assert (record.status, record.disposition, record.ended_reason) == (
        CallStatus.COMPLETED,
        Disposition.TRANSFERRED,
        EndedReason.TRANSFER,
    )
    assert record.ended_at == LATER - timedelta(seconds=9)
    assert record.hangup_cause is HangupCause.NORMAL_CLEARING
    assert ended(RELEASED, LATER).ended_at == LATER


def test_what_was_said_in_a_call_whose_process_died_is_not_lost() -> None:
    said = EventRecord(
        event_id="evt_1",
        tenant_id="default",
        call_id="call_1",
        agent_id=None,
        at=6.5,
        name="transcript.updated",
        sequence=3,
        occurred_at=BEGUN + timedelta(seconds=6.5),
        data={"role": "user", "text": "Hello?"},
    )
    expected = {
        "role": "user",
        "content": "Hello?",
        "timestamp": 2.5,
        "interrupted": False,
        "heard_ms": None,
    }
    assert abandoned(TALKING, LATER, [said]).transcript == (expected,)
    summed_up = replace(TALKING, transcript=({"role": "user", "content": "Hi."},))
    assert abandoned(summed_up, LATER, [said]).transcript == summed_up.transcript


def test_a_call_whose_process_died_is_an_error_of_ours() -> None:
    record = abandoned(TALKING, LATER)
    assert (record.status, record.ended_reason, record.ended_at) == (
        CallStatus.COMPLETED,
        EndedReason.ERROR,
        LATER,
    )
    assert abandoned(RINGING, LATER).status is CallStatus.FAILED


def test_no_call_ends_before_it_was_answered() -> None:
    assert abandoned(TALKING, BEGUN).ended_at == TALKING.answered_at


def test_what_was_on_record_of_its_turns_is_in_the_record() -> None:
    hello = {"role": "assistant", "content": "Hello.", "timestamp": 1.0, "interrupted": True, "heard_ms": 90}
    sums = {
        "turn_count": 3,
        "barge_in_count": 1,
        "tools_called": ["look_up"],
        "ws_unavailable": True,
        "usage": {"audio_out": 7, "seconds": 1.5},
        "currency": "EUR",
        "llm_cost": "0.25",
        "llm_discount": "0.05",
    }
    draft = CallDraft(
        (
            DraftPiece(DraftKind.UTTERANCE, "000000", hello),
            DraftPiece(DraftKind.TURN, "000000", {"turn": 1}),
            DraftPiece(DraftKind.SUMS, "", sums),
        )
    )
    record = abandoned(TALKING, LATER, (), draft)
    assert (record.transcript, record.latency_turns) == ((hello,), ({"turn": 1},))
    assert (record.turn_count, record.barge_in_count) == (3, 1)
    assert (record.tools_called, record.tool_call_count) == (("look_up",), 1)
    assert (record.usage, record.ws_unavailable) == ({"audio_out": 7}, True)
    assert (record.currency, record.llm_cost, record.llm_discount) == (
        "EUR",
        Decimal("0.25"),
        Decimal("0.05"),
    )
    # One that was summed up in time is told by that.
    summed_up = replace(RELEASED, turn_count=9)
    assert ended(summed_up, LATER, draft=draft).turn_count == 9
    assert ended(RELEASED, LATER, draft=draft).turn_count == 3

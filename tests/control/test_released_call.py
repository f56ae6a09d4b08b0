"""Calls that an earlier process left: those that talk on elsewhere, and those that ended with it."""

from dataclasses import replace
from datetime import timedelta

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

"""What a call runs with, and the brief its machine is given."""

from dataclasses import replace

import pytest

from control.agents import AgentConfig
from control.brief import VoicemailAction
from control.call_record import CallRecord
from control.dialling import DialRequest
from control.service.reception import Reception
from control.templates import TextsUnfilled
from telephony.capabilities import CAPABILITIES
from telephony.causes import Direction
from telephony.commands import MachineDetection, RejectReason
from tests.control.service_scene import BEGUN, OURS, THEIRS, an_agent, house

SALES = AgentConfig.model_validate(
    {
        "name": "sales",
        "instructions": "Greet {{ customer.number }} about {{ headers.x_order }}.",
        "silence_timeout_seconds": 8,
        "silence_prompts": ["Still there?"],
        "max_duration_seconds": 600,
        "voicemail": {"action": "leave_message", "message": "Call us back."},
    }
)
RECORD = CallRecord(
    call_id="call_1",
    direction=Direction.OUTBOUND,
    carrier="telnyx",
    from_number=OURS,
    to_number=THEIRS,
    started_at=BEGUN,
)
TELNYX = CAPABILITIES["telnyx"]


def test_texts_are_filled_in_for_the_call() -> None:
    reception = Reception(house())
    agent = reception.effective(an_agent(SALES), {}, customer=THEIRS, headers={"X-Order": "A7"}, now=BEGUN)
    assert agent.session.instructions == f"Greet {THEIRS} about A7."
    assert agent.policy.controlled
    with pytest.raises(TextsUnfilled):
        reception.effective(an_agent(SALES), {}, customer=THEIRS, headers={}, now=BEGUN)


def test_an_outbound_brief_says_what_the_agent_and_the_request_say() -> None:
    reception = Reception(replace(house(), speech=True))
    agent = reception.effective(an_agent(SALES), {}, customer=None, headers={"X-Order": "1"}, now=BEGUN)
    request = DialRequest(
        to=THEIRS,
        ring_timeout=20,
        machine_detection=MachineDetection.SYNC,
        custom_headers={"X-Order": "1"},
    )
    brief = reception.outbound(RECORD, agent, TELNYX, request)
    assert (brief.ring_timeout, brief.machine_detection) == (20, MachineDetection.SYNC)
    assert (brief.max_duration, brief.silence, brief.silence_prompts) == (600.0, 8.0, ("Still there?",))
    assert (brief.voicemail, brief.voicemail_message) == (VoicemailAction.LEAVE_MESSAGE, "Call us back.")
    assert (brief.speech, brief.headers) == (True, {"X-Order": "1"})


def test_an_inbound_brief_waits_for_the_agent_or_refuses() -> None:
    reception = Reception(house())
    record = replace(RECORD, direction=Direction.INBOUND)
    agent = reception.effective(an_agent(AgentConfig()), {}, customer=None, headers={}, now=BEGUN)
    assert reception.inbound(record, agent, TELNYX, None).answer_wait == 1.0
    assert reception.inbound(record, None, TELNYX, RejectReason.BUSY).refusal is RejectReason.BUSY

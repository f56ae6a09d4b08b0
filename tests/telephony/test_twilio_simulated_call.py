"""Which words a call of the simulated Twilio has for its end; what it does is in test_twilio_rest_simulator."""

import pytest

from media.audio import PCMU_8K
from telephony.caller import Caller
from telephony.simulated_switch import Cause, Direction, FarEnd, Leg, LegState
from telephony.twilio.simulated_call import TwilioCall
from tests.conftest import RunAsync


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_final_status(virtual: RunAsync, cause: Cause) -> None:
    async def scenario() -> None:
        leg = Leg(
            leg_id="CA1",
            direction=Direction.INBOUND,
            from_number="+13125550100",
            to_number="+13125550101",
            far_end=FarEnd(),
            placed_at=0.0,
        )
        call = TwilioCall(
            leg,
            account_sid="AC1",
            auth_token="t",
            direction="inbound",
            desk=None,  # type: ignore[arg-type]  # nothing is asked of it
            lines=None,  # type: ignore[arg-type]
            voice=lambda _: b"",
            caller=Caller([], PCMU_8K),
        )
        assert call.status == "queued"
        assert call.parameters()["CallStatus"] == "initiated"
        leg.state, leg.cause = LegState.ENDED, cause
        assert call.status in {"completed", "busy", "no-answer", "canceled", "failed"}
        assert call.tasks == []

    virtual(scenario())

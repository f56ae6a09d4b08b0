"""Every event that users are told of has a published model, and what calls tell fits it."""

from pathlib import Path

import pytest

from control.api.published_events import Envelope, published_models
from control.call_record import PUBLISHED
from telephony.simulated_switch import FarEnd, Reaction
from tests.conftest import RunAsync
from tests.served_api import whole_api
from tests.whole_house import OTHER


def test_every_published_event_has_a_model_and_no_other_has() -> None:
    assert set(published_models()) == PUBLISHED


def test_an_envelope_is_the_contracts() -> None:
    named = "id event sequence timestamp api_version tenant_id agent_id call_id data"
    assert list(Envelope.model_fields) == named.split()


@pytest.mark.sockets
@pytest.mark.parametrize("carrier", ["telnyx", "twilio"])
def test_what_a_call_tells_fits_its_models(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_api(carrier, tmp_path) as (house, users):
            house.ring()
            call_id = await house.the_call()
            path = f"/v1/calls/{call_id}"
            await house.happened(call_id, "transcript.updated")
            house.answers(OTHER, FarEnd(reaction=Reaction.BUSY))
            await users.ask("POST", f"{path}/transfer", json={"destination": OTHER})
            await house.happened(call_id, "transfer.failed")
            await users.ask("POST", f"{path}/gather", json={"prompt": "PIN?"})
            await users.ask("DELETE", f"{path}/gather")
            await house.happened(call_id, "call.gather.completed")
            await users.ask("POST", f"{path}/end", json={"after": "now"})
            await house.ended(call_id)
            told = [event for event in await house.events(call_id) if event.sequence is not None]
            assert {"transfer.initiated", "transfer.failed", "call.ended"} <= {event.name for event in told}
            for event in told:
                model = published_models()[event.name].model_validate(dict(event.data))
                undeclared = set(model.model_extra or {})
                assert undeclared == set(), (event.name, undeclared)

    real(scenario())

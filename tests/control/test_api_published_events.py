"""Every event that users are told of has a published model, and what calls tell fits it."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from control.api.published_events import Envelope, Told, published_models, webhook_models
from control.call_record import PUBLISHED
from gateway.agent.script import parse_script
from telephony.caller import BargeIn, Press, Wait
from telephony.simulated_switch import FarEnd, Reaction
from tests.conftest import RunAsync
from tests.receiver import Receiver
from tests.served_api import whole_api
from tests.whole_house import OTHER


def test_every_published_event_has_a_model_and_no_other_has() -> None:
    assert set(published_models()) == PUBLISHED


def test_an_envelope_is_the_contracts() -> None:
    named = "id event sequence timestamp api_version tenant_id agent_id call_id data"
    assert list(Envelope.model_fields) == named.split()


TALKATIVE = parse_script(
    """
greeting: {say: A long story., audio: {tone: {frequencies: [1900], ms: 3000}}}
turns:
  - caller: Look it up.
    items:
      - say: One moment.
        audio: {tone: {frequencies: [1900], ms: 300}}
      - call: {name: look_up, arguments: {key: value}}
    then: {say: There., audio: {tone: {frequencies: [1900], ms: 300}}}
after: silent
"""
)
# Loud enough for anybody to hear speech in it.
SPEECH = (b"\x00\x40" * 40 + b"\x00\xc0" * 40) * 80


def checked(body: dict[str, Any], document: dict[str, Any], form: str) -> None:
    """What was sent is what the document says of its event, in that form."""
    request = document["webhooks"][body["event"]]["post"]["requestBody"]
    (schema,) = [
        each for each in request["content"]["application/json"]["schema"]["anyOf"] if each["title"] == form
    ]
    validator = Draft202012Validator({"components": document["components"], **schema})
    assert [error.message for error in validator.iter_errors(body)] == [], body
    data = (
        body["data"] if form == "envelope" else {k: v for k, v in body.items() if k not in Told.model_fields}
    )
    model = webhook_models()[body["event"]].model_validate(data)
    assert set(model.model_extra or {}) == set(), body["event"]


@pytest.mark.sockets
@pytest.mark.parametrize("carrier", ["telnyx", "twilio"])
def test_what_endpoints_are_sent_of_a_call_is_what_the_document_says(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        settings: dict[str, Any] = {"egress_allow": "127.0.0.1", "egress_allow_http": True, "recording": True}
        async with (
            Receiver.running() as receiver,
            whole_api(carrier, tmp_path, agent=TALKATIVE, **settings) as (house, users),
        ):
            document = (await users.ask("GET", "/openapi.json")).json
            for form in ("envelope", "flat"):
                body = {"url": f"{receiver.url}/{form}", "payload": form}
                hook = (await users.ask("POST", "/v1/webhooks", json=body)).json
                await users.ask("POST", f"/v1/webhooks/{hook['webhook_id']}/test")
            house.ring(BargeIn(0.5, SPEECH), Wait(1.0), Press("7"), Wait(30))
            call_id = await house.the_call()
            path = f"/v1/calls/{call_id}"
            await house.happened(call_id, "barge_in")
            await house.happened(call_id, "tool.completed")
            await house.happened(call_id, "call.dtmf.received")
            await house.happened(call_id, "ai.speech.ended")
            house.answers(OTHER, FarEnd(reaction=Reaction.BUSY))
            await users.ask("POST", f"{path}/transfer", json={"destination": OTHER, "after": "now"})
            await house.happened(call_id, "transfer.failed")
            await users.ask("POST", f"{path}/gather", json={"prompt": "PIN?"})
            await users.ask("DELETE", f"{path}/gather")
            await house.happened(call_id, "call.gather.completed")
            await users.ask("POST", f"{path}/end", json={"after": "now"})
            await house.ended(call_id)
            await house.happened(call_id, "call.recording_ready")
            published = await house.published(call_id)
            await receiver.heard(2 * (len(published) + 1))
            assert {
                "call.ringing", "call.answered", "call.started", "call.ended", "barge_in", "transcript.updated",
                "speech.started", "speech.ended", "ai.speech.started", "ai.speech.ended", "call.dtmf.received",
                "transfer.initiated", "transfer.failed", "call.gather.completed", "call.recording_ready",
                "tool.invoked", "tool.completed",
            } <= set(published)  # fmt: skip
            for each in receiver.received:
                checked(each.json, document, each.path.removeprefix("/"))

    real(scenario())

"""Every row of the sheet's status mapping (section E), through signed webhooks, for calls that were dialled or came in.

The carrier's own simulator brings a call to where the row begins; the word that ends it is written here, as the row has
it, and signed as the carrier signs.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time as unix_time
from urllib.parse import urlencode

import pytest
from nacl.signing import SigningKey
from twilio.request_validator import RequestValidator

from telephony.caller import Wait
from telephony.simulated_switch import FarEnd, Reaction
from tests.conftest import RunAsync
from tests.whole_house import House, whole_house

pytestmark = pytest.mark.sockets

# The simulators' own: what their webhooks are signed with unless told otherwise.
TELNYX_KEY = SigningKey(bytes(range(32)))
TWILIO_TOKEN = "simulated-token"

TALKS, RINGS = FarEnd(script=(Wait(60),)), FarEnd(reaction=Reaction.RINGS_OUT)

Outcome = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How a leg ends, and what that means."""

    word: str
    sip: str = "unspecified"
    source: str = "unknown"
    answered: bool = False
    outbound: bool = True
    expected: Outcome


def telnyx_rows() -> list[Row]:
    def row(word: str, expected: Outcome, **options: object) -> Row:
        return Row(word=word, expected=expected, **options)  # type: ignore[arg-type]  # a row's own fields

    answered, inbound = {"answered": True}, {"outbound": False}
    by_sip = {
        "486": ("busy", "busy", "error"),
        "600": ("busy", "busy", "error"),
        "603": ("rejected", "rejected", "error"),
        "403": ("rejected", "rejected", "error"),
        "607": ("rejected", "rejected", "error"),
        "480": ("no-answer", "no-answer", "error"),
        "408": ("no-answer", "no-answer", "error"),
        "487": ("no-answer", "no-answer", "error"),
        "503": ("failed", "failed", "error"),
    }
    return [
        row("normal_clearing", ("completed", "answered", "caller-hangup"), source="callee", **answered),
        row("normal_clearing", ("completed", "answered", "api"), source="caller", **answered),
        row("normal_clearing", ("completed", "answered", "caller-hangup"), source="unknown", **answered),
        row(
            "normal_clearing",
            ("completed", "answered", "caller-hangup"),
            source="caller",
            **answered,
            **inbound,
        ),
        row("normal_clearing", ("completed", "answered", "api"), source="callee", **answered, **inbound),
        row("normal_clearing", ("no-answer", "no-answer", "timeout")),
        row("normal_clearing", ("canceled", "no-answer", "caller-hangup"), **inbound),
        row("originator_cancel", ("canceled", "no-answer", "api"), sip="487"),
        row("originator_cancel", ("canceled", "no-answer", "caller-hangup"), sip="487", **inbound),
        row("timeout", ("no-answer", "no-answer", "timeout"), sip="408"),
        row("no_answer", ("no-answer", "no-answer", "timeout"), sip="480"),
        row("user_busy", ("busy", "busy", None), sip="486"),
        row("call_rejected", ("rejected", "rejected", None), sip="603"),
        row("not_found", ("failed", "failed", "error"), sip="404"),
        row("time_limit", ("completed", "answered", "max-duration"), **answered),
        *(row("unspecified", expected, sip=sip) for sip, expected in by_sip.items()),
        row("destination_out_of_order", ("failed", "failed", "error")),
        row("unspecified", ("completed", "answered", "error"), **answered),
        row("destination_out_of_order", ("completed", "answered", "error"), **answered),
    ]


def twilio_rows() -> list[Row]:
    def row(word: str, expected: Outcome, **options: object) -> Row:
        return Row(word=word, expected=expected, **options)  # type: ignore[arg-type]  # as above

    return [
        row("completed", ("completed", "answered", "caller-hangup"), answered=True),
        row("completed", ("completed", "answered", "caller-hangup"), answered=True, outbound=False),
        row("busy", ("busy", "busy", None), sip="486"),
        row("busy", ("rejected", "rejected", None), sip="603"),
        row("no-answer", ("no-answer", "no-answer", "timeout"), sip="487"),
        row("canceled", ("canceled", "no-answer", "api"), sip="487"),
        row("canceled", ("canceled", "no-answer", "caller-hangup"), sip="487", outbound=False),
        row("failed", ("failed", "failed", "error"), sip="503"),
        row("failed", ("failed", "failed", "error"), sip="404"),
        row("failed", ("failed", "failed", "error"), sip="484"),
        row("failed", ("rejected", "rejected", "error"), sip="403"),
        row("failed", ("rejected", "rejected", "error"), sip="603"),
        row("failed", ("rejected", "rejected", "error"), sip="607"),
    ]


async def say_telnyx(house: House, leg_id: str, row: Row) -> None:
    payload = {
        "call_control_id": f"v3:{leg_id}",
        "call_leg_id": leg_id,
        "hangup_cause": row.word,
        "hangup_source": row.source,
        "sip_hangup_cause": row.sip,
    }
    data = {
        "record_type": "event",
        "event_type": "call.hangup",
        "id": f"mapping-{leg_id}",
        "payload": payload,
    }
    body = json.dumps({"data": data}).encode()
    stamp = str(int(unix_time()))
    signature = b64encode(TELNYX_KEY.sign(f"{stamp}|".encode() + body).signature).decode()
    headers = {"telnyx-signature-ed25519": signature, "telnyx-timestamp": stamp}
    async with house.http.post("/carriers/telnyx/default/webhook", data=body, headers=headers) as answer:
        assert answer.status == 200


async def say_twilio(house: House, leg_id: str, row: Row) -> None:
    form = {
        "CallSid": leg_id,
        "AccountSid": house.twilio.account_sid,
        "CallStatus": row.word,
        "Direction": "outbound-api" if row.outbound else "inbound",
        "SequenceNumber": "99",
    }
    if row.sip != "unspecified":
        form["SipResponseCode"] = row.sip
    path = "/carriers/twilio/default/status"
    url = f"{house.gateway.settings.public_url}{path}"
    headers = {
        "x-twilio-signature": RequestValidator(TWILIO_TOKEN).compute_signature(url, form),
        "content-type": "application/x-www-form-urlencoded",
    }
    async with house.http.post(path, data=urlencode(form), headers=headers) as answer:
        assert answer.status == 204


async def comes_to(house: House, carrier: str, row: Row, index: int) -> Outcome:
    """Bring a call to where the row begins, say the word, and return what the call came to."""
    number = f"+1312555{2000 + index}"
    if row.outbound:
        house.answers(number, TALKS if row.answered else RINGS)
        call_id = str((await house.dial(number)).json["call_id"])
        leg_id = house.leg_to(number).leg.leg_id
    else:
        leg = house.ring(Wait(60), to=number)
        leg_id = leg.leg.leg_id
        found = await house.until(house.calls, lambda calls: any(each.to_number == number for each in calls))
        call_id = next(each.call_id for each in found if each.to_number == number)
    await house.happened(call_id, "call.started" if row.answered else "call.ringing")
    await (say_telnyx if carrier == "telnyx" else say_twilio)(house, leg_id, row)
    record = await house.ended(call_id)
    return (
        record.status.value,
        record.disposition and record.disposition.value,
        record.ended_reason and record.ended_reason.value,
    )


@pytest.mark.parametrize(
    ("carrier", "rows"), [("telnyx", telnyx_rows()), ("twilio", twilio_rows())], ids=["telnyx", "twilio"]
)
def test_every_row_of_the_mapping_holds_end_to_end(
    real: RunAsync, tmp_path: Path, carrier: str, rows: Sequence[Row]
) -> None:
    async def scenario() -> None:
        # Calls that come in ring for as long as may be: an answer would be another row.
        async with whole_house(carrier, tmp_path, drain_s=0.0, answer_wait_s=10.0) as house:
            answered = [(index, row) for index, row in enumerate(rows) if row.answered or row.outbound]
            found = await asyncio.gather(*(comes_to(house, carrier, row, index) for index, row in answered))
            assert list(found) == [row.expected for _, row in answered]

    real(scenario())


@pytest.mark.parametrize("carrier", ["telnyx", "twilio"])
def test_callers_who_give_up_while_it_rings_end_as_the_mapping_says(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        rows = [
            row
            for row in (telnyx_rows() if carrier == "telnyx" else twilio_rows())
            if not row.outbound and not row.answered
        ]
        # An agent that cannot be had for a while: the call rings meanwhile.
        async with whole_house(carrier, tmp_path, agent_up=False, drain_s=0.0, answer_wait_s=10.0) as house:
            found = await asyncio.gather(
                *(comes_to(house, carrier, row, 100 + index) for index, row in enumerate(rows))
            )
            assert list(found) == [row.expected for row in rows]

    real(scenario())

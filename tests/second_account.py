"""A second account with a carrier: a simulated carrier of its own, with other secrets than the one of the settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.links import connect
from gateway.loopback import plain_on_loopback
from telephony.party_lines import PartyLines
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from telephony.twilio.rest_simulator import SimulatedTwilio
from tests.served_api import Users

NUMBERS = {"+13125550151": False, "+13125550152": False}
"""Of the account; neither rings the gateway yet."""

ALLOWED: dict[str, Any] = {"egress_allow": "127.0.0.1", "egress_allow_http": True}
"""Settings of a gateway whose tenants may have carriers on this machine."""

SOMEWHERE = "http://127.0.0.1:9/nowhere"
"""Where the carrier's webhooks go until it is told otherwise."""


@asynccontextmanager
async def second_carrier(
    carrier: str, *, numbers: dict[str, bool] | None = None
) -> AsyncIterator[SimulatedTelnyx | SimulatedTwilio]:
    lines = PartyLines(plain_on_loopback(connect))
    options: dict[str, Any] = {
        "voice": lambda _: bytes(800),
        "numbers": NUMBERS if numbers is None else numbers,
    }
    simulated: SimulatedTelnyx | SimulatedTwilio
    if carrier == "telnyx":
        simulated = SimulatedTelnyx(
            lines,
            SOMEWHERE,
            api_key="KEY_SECOND",
            connection_id="2000000000000000002",
            signing_seed=bytes(range(1, 33)),
            **options,
        )
    else:
        simulated = SimulatedTwilio(
            lines, SOMEWHERE, account_sid="AC" + "6" * 32, auth_token="second-token", **options
        )
    await simulated.start()
    try:
        yield simulated
    finally:
        await simulated.stop()


def as_given(carrier: SimulatedTelnyx | SimulatedTwilio, **changes: Any) -> dict[str, Any]:
    """The account as a tenant gives it to the API."""
    match carrier:
        case SimulatedTelnyx():
            given: dict[str, Any] = {
                "vendor": "telnyx",
                "credentials": {"api_key": carrier.api_key},
                "settings": {
                    "public_key": carrier.public_key,
                    "connection_id": carrier.connection_id,
                    "base_url": carrier.base_url,
                },
            }
        case SimulatedTwilio():
            given = {
                "vendor": "twilio",
                "credentials": {"auth_token": carrier.auth_token},
                "settings": {"account_sid": carrier.account_sid, "base_url": carrier.base_url},
            }
    return {"name": "second", **given, **changes}


async def added(users: Users, carrier: SimulatedTelnyx | SimulatedTwilio) -> str:
    """The id of the account, once it is stored."""
    said = await users.ask("POST", "/v1/integrations", json=as_given(carrier))
    assert said.status == 201, said
    return str(said.json["integration_id"])

"""The operator's desk of a simulated carrier: HTTP that places calls into a gateway and tells what became of them.

    POST /simulator/calls                {"to": "+1...", "from": "+1...", "patience_s": 30}: somebody rings
    GET  /simulator/calls                every leg there was
    POST /simulator/calls/{id}/hang-up   the person puts the phone down
    GET  /simulator/calls/{id}/heard     what the person heard, as WAV, once the call is over
    GET  /simulator/webhooks             every webhook sent, and what was answered

The desk has no authentication: it is for the machine it runs on, as the simulator is.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Protocol

from aiohttp import web

from media.wav import WavHeader
from telephony.caller import Caller, Step
from telephony.simulated_exchange import RestServer, Telephone
from telephony.simulated_switch import Leg
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from telephony.twilio.rest_simulator import SimulatedTwilio
from telephony.webhook_sender import Delivery

# Nobody lets a phone ring for longer.
_LONGEST_PATIENCE = 600.0


class SimulatedLeg(Protocol):
    """A leg as either carrier keeps it."""

    @property
    def leg(self) -> Leg: ...
    @property
    def phone(self) -> Telephone | None: ...
    @property
    def keys(self) -> str: ...


class CarrierDesk:
    """Driven by HTTP requests to the simulated carrier's own server."""

    def __init__(self, carrier: SimulatedTelnyx | SimulatedTwilio, caller: Sequence[Step]) -> None:
        """
        Args:
            caller: what everybody does who rings a number of ours.
        """
        self._carrier = carrier
        self._caller = caller
        rest: RestServer = carrier.rest
        rest.add("POST", "/simulator/calls", "simulator", self._place)
        rest.add("GET", "/simulator/calls", "simulator", self._list)
        rest.add("POST", "/simulator/calls/{id}/hang-up", "simulator", self._hang_up)
        rest.add("GET", "/simulator/calls/{id}/heard", "simulator", self._heard)
        rest.add("GET", "/simulator/webhooks", "simulator", self._webhooks)

    def legs(self) -> dict[str, SimulatedLeg]:
        """Every leg there was, by its id, in the order in which they came."""
        match self._carrier:
            case SimulatedTwilio(calls=calls):
                return dict(calls)
            case SimulatedTelnyx(legs=legs):
                return {leg.leg.leg_id: leg for leg in legs.values()}

    async def _place(self, request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.read() or b"{}")
            to, patience = asked["to"], asked.get("patience_s")
            number = asked.get("from", "+13125550100")
            if not (isinstance(to, str) and isinstance(number, str)):
                raise TypeError("numbers are text")
            if patience is not None and not _is_patience(patience):
                raise ValueError("patience_s is a number of seconds up to 600")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _refused(400, f'send {{"to": "+1..."}}: {error}')
        placed = self._carrier.place_call(to, number, caller=Caller(self._caller), patience=patience)
        return web.json_response(_described(placed, asyncio.get_running_loop().time()), status=201)

    async def _list(self, _: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        return web.json_response({"data": [_described(leg, now) for leg in self.legs().values()]})

    async def _hang_up(self, request: web.Request) -> web.Response:
        leg = self.legs().get(request.match_info["id"])
        if leg is None:
            return _refused(404, "no such call")
        match self._carrier:
            case SimulatedTwilio() as twilio:
                twilio.hang_up_by_person(twilio.calls[leg.leg.leg_id])
            case SimulatedTelnyx() as telnyx:
                telnyx.hang_up(next(each for each in telnyx.legs.values() if each.leg is leg.leg))
        return web.json_response(_described(leg, asyncio.get_running_loop().time()))

    async def _heard(self, request: web.Request) -> web.Response:
        leg = self.legs().get(request.match_info["id"])
        if leg is None:
            return _refused(404, "no such call")
        if leg.phone is None or (outcome := leg.phone.outcome) is None:
            return _refused(409, "the call is not over, or was never answered")
        body = WavHeader(outcome.heard_rate, 1).bytes(len(outcome.heard)) + outcome.heard
        return web.Response(body=body, content_type="audio/wav")

    async def _webhooks(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [told(each) for each in self._carrier.webhooks.deliveries]})


def told(delivery: Delivery) -> dict[str, object]:
    """Return what is told of one attempt to deliver a webhook."""
    return {
        "event": delivery.name,
        "call": delivery.key,
        "attempt": delivery.attempt,
        "status": None if delivery.answer is None else delivery.answer.status,
        "fault": delivery.fault,
    }


def _described(placed: SimulatedLeg, now: float) -> dict[str, object]:
    leg, phone = placed.leg, placed.phone
    return {
        "id": leg.leg_id,
        "direction": leg.direction.value,
        "from": leg.from_number,
        "to": leg.to_number,
        "state": leg.state.value,
        "cause": None if leg.cause is None else leg.cause.value,
        "ended_by": None if leg.ended_by is None else leg.ended_by.value,
        "duration_seconds": round(leg.duration(now), 3),
        "digits_pressed": placed.keys,
        "prompts_heard": [] if phone is None else [prompt.what for prompt in phone.prompts],
    }


def _is_patience(seconds: object) -> bool:
    return isinstance(seconds, int | float) and 0 < seconds <= _LONGEST_PATIENCE


def _refused(status: int, detail: str) -> web.Response:
    return web.json_response({"error": detail}, status=status)


class CarrierLog:
    """What the carrier was asked and what it told, line by line, for a person who watches.

    Driven by whoever shows it; `news` returns what is new since the last time.
    """

    def __init__(self, carrier: SimulatedTelnyx | SimulatedTwilio) -> None:
        self._carrier = carrier
        self._requests = 0
        self._deliveries = 0

    def news(self) -> list[str]:
        requests = self._carrier.rest.requests[self._requests :]
        deliveries = self._carrier.webhooks.deliveries[self._deliveries :]
        self._requests += len(requests)
        self._deliveries += len(deliveries)
        lines = [f"< {each.operation}  {each.path}" for each in requests if each.operation != "simulator"]
        return lines + [_line(delivery) for delivery in deliveries]


def _line(delivery: Delivery) -> str:
    answer = delivery.fault or "no answer" if delivery.answer is None else str(delivery.answer.status)
    again = f"  attempt {delivery.attempt}" if delivery.attempt > 1 else ""
    return f"> {delivery.name}  {answer}{again}"

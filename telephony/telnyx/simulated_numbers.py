"""What a simulated Telnyx keeps of numbers: which the account has, and which connection each one rings.

Source of the shapes: the SDK's types of the phone numbers and call control applications resources.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import msgspec

from telephony.telnyx.rest_requests import Parameters, RequestRefused

_BOUGHT = "2025-01-15T09:00:00Z"
_PAGE = 20
_LONGEST_PAGE = 250


@dataclass(slots=True)
class SimulatedNumber:
    """A number of the account."""

    number_id: str
    number: str
    connection_id: str | None
    customer_reference: str = ""

    def resource(self, connection_id: str, connection_name: str) -> dict[str, object]:
        return {
            "id": self.number_id,
            "record_type": "phone_number",
            "phone_number": self.number,
            "country_iso_alpha2": "US",
            "phone_number_type": "local",
            "status": "active",
            "tags": [],
            "customer_reference": self.customer_reference,
            "connection_id": self.connection_id,
            "connection_name": connection_name if self.connection_id == connection_id else None,
            "deletion_lock_enabled": False,
            "created_at": _BOUGHT,
            "purchased_at": _BOUGHT,
        }


class SimulatedNumbers:
    """The account's numbers and its one Call Control application. Driven by the simulator's routes."""

    def __init__(self, numbers: Mapping[str, bool], *, connection_id: str, webhook_url: str) -> None:
        """
        Args:
            numbers: E.164, each with whether it is connected to the application from the start.
            webhook_url: the application's.
        """
        self.webhook_url = webhook_url
        self.application_name = "simulated application"
        self._connection_id = connection_id
        self._numbers = {
            f"{place:019d}": SimulatedNumber(f"{place:019d}", number, connection_id if connected else None)
            for place, (number, connected) in enumerate(numbers.items(), 1_293_384_261_075_731_499)
        }

    def rings(self, number: str) -> bool:
        """Whether a call to this number comes to the application; one that is not of the account does."""
        held = next((each for each in self._numbers.values() if each.number == number), None)
        return held is None or held.connection_id == self._connection_id

    # Numbers

    def page(self, query: Mapping[str, str]) -> bytes:
        digits = query.get("filter[phone_number]", "")
        connection = query.get("filter[connection_id]")
        found = [
            each
            for each in self._numbers.values()
            # Digits are looked for anywhere; anything else finds nothing.
            if (not digits or (digits.isdigit() and digits in each.number))
            and connection in (None, each.connection_id)
        ]
        page, size = _count(query, "page[number]", 1), min(_count(query, "page[size]", _PAGE), _LONGEST_PAGE)
        shown = found[(page - 1) * size : page * size]
        meta = {
            "page_number": page,
            "page_size": size,
            "total_pages": ceil(len(found) / size),
            "total_results": len(found),
        }
        return msgspec.json.encode({"data": [self._resource(each) for each in shown], "meta": meta})

    def show(self, number_id: str) -> bytes:
        return msgspec.json.encode({"data": self._resource(self._number(number_id))})

    def change(self, number_id: str, body: bytes) -> bytes:
        held, asked = self._number(number_id), Parameters(body)
        if asked.names("connection_id"):
            wanted = asked.text("connection_id") or None
            if wanted not in (None, self._connection_id):
                raise RequestRefused(422, "10015", "The connection_id is not valid.", "/connection_id")
            held.connection_id = wanted
        if asked.names("customer_reference"):
            held.customer_reference = asked.text("customer_reference")
        return msgspec.json.encode({"data": self._resource(held)})

    # The application

    def show_application(self, application_id: str) -> bytes:
        self._check_application(application_id)
        return msgspec.json.encode({"data": self._application()})

    def change_application(self, application_id: str, body: bytes) -> bytes:
        self._check_application(application_id)
        asked = Parameters(body)
        for name in ("application_name", "webhook_event_url"):
            if name not in asked:
                raise RequestRefused(422, "10004", f"The '{name}' parameter is required.", f"/{name}")
        self.application_name = asked.text("application_name")
        self.webhook_url = asked.text("webhook_event_url")
        return msgspec.json.encode({"data": self._application()})

    def _application(self) -> dict[str, object]:
        return {
            "id": self._connection_id,
            "record_type": "call_control_application",
            "application_name": self.application_name,
            "active": True,
            "webhook_api_version": "2",
            "webhook_event_url": self.webhook_url,
            "webhook_event_failover_url": "",
            "webhook_timeout_secs": None,
            "first_command_timeout": False,
            "created_at": _BOUGHT,
            "updated_at": _BOUGHT,
        }

    def _resource(self, each: SimulatedNumber) -> dict[str, object]:
        return each.resource(self._connection_id, self.application_name)

    def _number(self, number_id: str) -> SimulatedNumber:
        held = self._numbers.get(number_id)
        if held is None:
            raise _no_such_thing()
        return held

    def _check_application(self, application_id: str) -> None:
        if application_id != self._connection_id:
            raise _no_such_thing()


def _no_such_thing() -> RequestRefused:
    return RequestRefused(404, "10005", "The requested resource or URL could not be found.")


def _count(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    return max(1, int(text)) if text.isdigit() else default

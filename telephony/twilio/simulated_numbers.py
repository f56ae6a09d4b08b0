"""What a simulated Twilio keeps of numbers: which the account has, and what each one's calls are asked of.

Source of the shapes: the SDK's type of the incoming phone numbers resource; Twilio, "IncomingPhoneNumber resource".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

_BOUGHT = "Wed, 15 Jan 2025 09:00:00 +0000"
_PAGE = 50
_LONGEST_PAGE = 1_000

# What a request may change, by its name there.
_CHANGEABLE: Mapping[str, str] = {
    "FriendlyName": "friendly_name",
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceApplicationSid": "voice_application_sid",
    "TrunkSid": "trunk_sid",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
}


@dataclass(slots=True)
class SimulatedNumber:
    """A number of the account."""

    sid: str
    number: str
    settings: dict[str, str] = field(default_factory=dict)
    """What can be changed of it, by the name in the resource."""

    def setting(self, name: str) -> str:
        return self.settings.get(name, "")

    @property
    def rings(self) -> str:
        """Whom a call to it asks for a document; empty: nobody. A trunk or an application goes before the URL."""
        elsewhere = self.setting("trunk_sid") or self.setting("voice_application_sid")
        return "" if elsewhere else self.setting("voice_url")

    def resource(self, account_sid: str) -> dict[str, object]:
        return {
            "sid": self.sid,
            "account_sid": account_sid,
            "phone_number": self.number,
            "friendly_name": self.setting("friendly_name") or self.number,
            "voice_url": self.setting("voice_url"),
            "voice_method": self.setting("voice_method") or "POST",
            "voice_fallback_url": self.setting("voice_fallback_url"),
            "voice_fallback_method": "POST",
            "voice_application_sid": self.setting("voice_application_sid") or None,
            "trunk_sid": self.setting("trunk_sid") or None,
            "status_callback": self.setting("status_callback"),
            "status_callback_method": self.setting("status_callback_method") or "POST",
            "voice_caller_id_lookup": False,
            "voice_receive_mode": "voice",
            "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
            "address_requirements": "none",
            "api_version": "2010-04-01",
            "beta": False,
            "origin": "twilio",
            "status": "in-use",
            "date_created": _BOUGHT,
            "date_updated": _BOUGHT,
            "uri": f"/2010-04-01/Accounts/{account_sid}/IncomingPhoneNumbers/{self.sid}.json",
        }


class SimulatedNumbers:
    """The account's numbers. Driven by the simulator's routes."""

    def __init__(self, numbers: Mapping[str, bool], *, voice_url: str, status_callback: str) -> None:
        """
        Args:
            numbers: E.164, each with whether it asks the account's voice URL from the start.
        """
        known = {"voice_url": voice_url, "status_callback": status_callback}
        self._numbers = {
            f"PN{place:032x}": SimulatedNumber(f"PN{place:032x}", number, dict(known) if pointed else {})
            for place, (number, pointed) in enumerate(numbers.items(), 1)
        }

    def called(self, number: str) -> SimulatedNumber | None:
        """Return the account's number; None: it is not of the account, and asks the account's voice URL."""
        return next((each for each in self._numbers.values() if each.number == number), None)

    def page(self, account_sid: str, path: str, query: Mapping[str, str]) -> dict[str, object]:
        wanted = query.get("PhoneNumber", "")
        found = [each for each in self._numbers.values() if wanted in ("", each.number)]
        page = int(query["Page"]) if query.get("Page", "").isdigit() else 0
        asked = int(query["PageSize"]) if query.get("PageSize", "").isdigit() else _PAGE
        size = min(max(1, asked), _LONGEST_PAGE)
        following = f"{path}?PageSize={size}&Page={page + 1}" if len(found) > (page + 1) * size else None
        return {
            "incoming_phone_numbers": [
                each.resource(account_sid) for each in found[page * size : (page + 1) * size]
            ],
            "page": page,
            "page_size": size,
            "next_page_uri": following,
            "uri": path,
        }

    def get(self, sid: str) -> SimulatedNumber | None:
        return self._numbers.get(sid)

    def change(self, held: SimulatedNumber, form: Mapping[str, list[str]]) -> None:
        """Change what the request names. A trunk and an application of one number put each other out."""
        for name, values in form.items():
            if name in _CHANGEABLE:
                held.settings[_CHANGEABLE[name]] = values[0]
        for one, other in (("trunk_sid", "VoiceApplicationSid"), ("voice_application_sid", "TrunkSid")):
            if form.get(other, [""])[0]:
                held.settings[one] = ""

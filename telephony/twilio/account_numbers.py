"""Twilio's numbers of one account, through its SDK: a number rings at its voice URL, unless it has a trunk."""

from typing import Any

from telephony.account_numbers import AccountNumber
from telephony.client_errors import CommandFailed, Verdict
from telephony.twilio.client import CARRIER, TwilioClient

# What Twilio gives of one page at most.
_PAGE = 1_000
# More than any account that one gateway serves.
_MOST = 10_000


class TwilioNumbers:
    """Driven by whoever claims and releases numbers. Keeps nothing."""

    def __init__(self, client: TwilioClient, *, voice_url: str, status_url: str) -> None:
        """
        Args:
            voice_url: is asked what a call is to do.
            status_url: is told of its end.
        """
        self._client = client
        self._numbers = client.sdk.incoming_phone_numbers
        self._account = client.sdk.api.accounts(client.account_sid)
        self._voice_url, self._status_url = voice_url, status_url

    async def all(self, number: str | None = None) -> list[AccountNumber]:
        wanted = {} if number is None else {"phone_number": number}
        with self._client.asking("list numbers"):
            found = await self._numbers.list_async(limit=_MOST, page_size=_PAGE, **wanted)
        # The filter is a pattern; the number itself is what was asked for.
        return [self._described(each) for each in found if number in (None, each.phone_number)]

    async def point_here(self, number: AccountNumber) -> None:
        with self._client.asking("point number"):
            held = await self._numbers(number.carrier_number_id).fetch_async()
            changed = await self._numbers(number.carrier_number_id).update_async(
                voice_url=self._voice_url,
                voice_method="POST",
                status_callback=self._status_url,
                status_callback_method="POST",
                **_in_the_way(held),
            )
        if not self._points_here(changed):
            raise _not_done("Twilio took the change, and the number's voice URL is another all the same")

    async def point_away(self, number: AccountNumber) -> None:
        with self._client.asking("point number"):
            held = await self._numbers(number.carrier_number_id).fetch_async()
            changes = {}
            if held.voice_url == self._voice_url:
                changes["voice_url"] = ""
            if held.status_callback == self._status_url:
                changes["status_callback"] = ""
            if changes:
                await self._numbers(number.carrier_number_id).update_async(**changes)

    async def trouble(self) -> str | None:
        with self._client.asking("show account"):
            account = await self._account.fetch_async()
        status = str(account.status)
        return None if status == "active" else f"the account is {status}"

    def _described(self, each: Any) -> AccountNumber:  # noqa: ANN401  # the SDK has no types
        return AccountNumber(
            carrier_number_id=each.sid,
            number=each.phone_number,
            label=each.friendly_name or None,
            points_here=self._points_here(each),
        )

    def _points_here(self, each: Any) -> bool:  # noqa: ANN401
        return each.voice_url == self._voice_url and not _in_the_way(each)


def _in_the_way(each: Any) -> dict[str, str]:  # noqa: ANN401
    """What goes before the voice URL, to be emptied: a trunk or an application of the number."""
    return {name: "" for name in ("trunk_sid", "voice_application_sid") if getattr(each, name)}


def _not_done(detail: str) -> CommandFailed:
    return CommandFailed(CARRIER, "point number", Verdict.REJECTED, detail)

"""Telnyx's numbers of one account, through its SDK: a number rings where its connection, our application, tells.

Theory of operation. A number has a `connection_id`; ours is a Call Control application, whose webhook URL is one for
all its numbers. So a number points here when its connection is the application *and* the application tells us.
"""

from telnyx.types import CallControlApplication
from telnyx.types.numbers_phone_number_detailed import NumbersPhoneNumberDetailed

from telephony.account_numbers import AccountNumber
from telephony.client_errors import CommandFailed, Verdict
from telephony.telnyx.client import CARRIER, TelnyxClient

# What Telnyx gives of one page at most.
_PAGE = 250
# More than any account that one gateway serves; a list that never ends is no list.
_MOST = 10_000


class TelnyxNumbers:
    """Driven by whoever claims and releases numbers. Keeps nothing."""

    def __init__(self, client: TelnyxClient, webhook_url: str) -> None:
        """
        Args:
            webhook_url: where this account's webhooks are to come.
        """
        self._client = client
        self._numbers = client.sdk.phone_numbers
        self._applications = client.sdk.call_control_applications
        self._connection_id = client.connection_id
        self._webhook_url = webhook_url

    async def all(self, number: str | None = None) -> list[AccountNumber]:
        found: dict[str, AccountNumber] = {}
        with self._client.asking("list numbers"):
            application = await self._application()
            # The filter takes digits alone, three at least, and finds them anywhere in a number.
            wanted = self._numbers.list(page_size=_PAGE)
            if number is not None:
                wanted = self._numbers.list(page_size=_PAGE, filter={"phone_number": number.lstrip("+")})
            async for each in wanted:
                if each.id in found or len(found) >= _MOST:
                    break  # an API that knows no page numbers answers its first page to each
                if number in (None, each.phone_number):
                    found[each.id] = self._described(each, application)
        return list(found.values())

    async def point_here(self, number: AccountNumber) -> None:
        with self._client.asking("point number"):
            application = await self._application()
            if application.webhook_event_url != self._webhook_url:
                await self._applications.update(
                    self._connection_id,
                    # Both are asked for, whatever is changed.
                    application_name=application.application_name or "Offhook",
                    webhook_event_url=self._webhook_url,
                    webhook_api_version="2",
                )
            answer = await self._numbers.update(number.carrier_number_id, connection_id=self._connection_id)
        if answer.data is None or answer.data.connection_id != self._connection_id:
            raise _not_done("Telnyx took the change, and the number has another connection all the same")

    async def point_away(self, number: AccountNumber) -> None:
        with self._client.asking("point number"):
            held = (await self._numbers.retrieve(number.carrier_number_id)).data
            if held is None or held.connection_id != self._connection_id:
                return  # it rings elsewhere already: that is its owner's business
            # The SDK's type has no null; the API takes one for none.
            answer = await self._numbers.update(number.carrier_number_id, extra_body={"connection_id": None})
        if answer.data is not None and answer.data.connection_id == self._connection_id:
            raise _not_done("Telnyx took the change, and the number has our connection all the same")

    async def trouble(self) -> str | None:
        with self._client.asking("show application"):
            application = await self._application()
        if application.active is False:
            return "the application is not active"
        if application.webhook_api_version == "1":
            return "the application's webhooks are of API version 1; set it to 2"
        if application.webhook_event_url != self._webhook_url:
            return f"the application's webhook URL is not {self._webhook_url}; claiming a number sets it"
        return None

    async def _application(self) -> CallControlApplication:
        answer = await self._applications.retrieve(self._connection_id)
        return answer.data if answer.data is not None else CallControlApplication()

    def _described(
        self, each: NumbersPhoneNumberDetailed, application: CallControlApplication
    ) -> AccountNumber:
        here = (
            each.connection_id == self._connection_id and application.webhook_event_url == self._webhook_url
        )
        return AccountNumber(
            carrier_number_id=each.id,
            number=each.phone_number,
            label=each.customer_reference or None,
            points_here=here,
        )


def _not_done(detail: str) -> CommandFailed:
    return CommandFailed(CARRIER, "point number", Verdict.REJECTED, detail)

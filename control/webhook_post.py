"""Posts one event to one endpoint, signed, and returns what came back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from control.egress import EgressFailed, EgressRefused, Fetch, OutgoingAnswer, OutgoingRequest
from control.secrets import Cipher, SecretUnreadable
from control.stores.deliveries import Due
from control.stores.webhooks import Payload
from control.webhook_message import check_webhook_secret, message_body, message_headers

# Of an answer nothing is kept but its status; this much is read so that the connection can be used again.
ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPost:
    """Knows how to write, sign and send what is due."""

    fetch: Fetch
    cipher: Cipher
    """Opens the endpoints' secrets."""
    call_secret: Callable[[str], Awaitable[str]]
    """The secret that signs what goes to the URLs of calls, by tenant."""

    async def send(self, due: Due, now: datetime) -> OutgoingAnswer | EgressFailed:
        """Post it once; what came back, or why nothing did."""
        try:
            keys = [check_webhook_secret(key) for key in await self._keys(due, now)]
        except SecretUnreadable:
            return EgressRefused("the endpoint's secret cannot be decrypted: no key of ours opens it")
        except ValueError:
            return EgressRefused("the endpoint's secret is not one of Standard Webhooks")
        body = message_body(due.event, flat=due.webhook is not None and due.webhook.payload is Payload.FLAT)
        request = OutgoingRequest(
            url=due.url,
            method="POST",
            headers=message_headers(due.event.event_id, body, keys, now),
            body=body,
            max_bytes=ANSWER_BYTES,
        )
        try:
            return await self.fetch(request)
        except EgressFailed as failed:
            return failed

    async def _keys(self, due: Due, now: datetime) -> list[str]:
        """What signs it; both secrets while one replaces the other."""
        if due.webhook is None:
            return [await self.call_secret(due.event.tenant_id)]
        kept = [due.webhook.secret]
        if due.webhook.previous_secret is not None and _is_before(now, due.webhook.previous_until):
            kept.append(due.webhook.previous_secret)
        return [self.cipher.decrypt(each) for each in kept]


def _is_before(now: datetime, end: datetime | None) -> bool:
    return end is not None and now < end

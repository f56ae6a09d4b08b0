"""Where carriers tell and ask: each request is proved, read, and answered at once; the work comes afterwards.

Theory of operation. The path names the account whose secret must have signed the request, over the bytes as they came
and over our configured public URL. Nothing is read before that. What has been told already is dropped; the rest goes
to the calls, whose own queues work on it after the answer. Only a request for a document waits, since its answer is
what happens next.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time as unix_time
from typing import Protocol

import structlog
from aiohttp import web

from control.api.problem import Problem, store_unavailable
from control.effects import Instruction, PutDown
from control.stores.errors import StoreUnavailable
from gateway.account_book import Accounts
from gateway.accounts import TwilioAccount
from telephony.calls import CallEvent, LegToken, Reported, TwimlRequested
from telephony.dedupe import SeenEvents
from telephony.errors import CarrierProtocolError
from telephony.events import Unrecognised
from telephony.signatures import SignatureRefused
from telephony.twilio.webhooks import Endpoint

log = structlog.get_logger()

# The largest webhook known is a Telnyx one with its SIP headers, some kilobytes.
LARGEST_BODY = 256 * 1024
# A peer that signs nothing must not hold a connection by sending slowly.
BODY_TIMEOUT = 5.0
# Twilio waits 15 s for a document, then plays an error to the caller.
DOCUMENT_TIMEOUT = 14.0


class CallDesk(Protocol):
    """Who works on what carriers say (`control.service`)."""

    def carrier_event(self, carrier: str, integration_id: str, event: CallEvent) -> None:
        """Take note of something that happened; never waits."""
        ...

    async def document(
        self, carrier: str, integration_id: str, requested: TwimlRequested
    ) -> tuple[Instruction, LegToken]:
        """Decide what a leg is to do now, and under which name; never raises."""
        ...


class WebhookEndpoint:
    """The routes of carriers. Driven by aiohttp, once per request."""

    def __init__(self, accounts: Accounts, desk: CallDesk) -> None:
        self._accounts = accounts
        self._desk = desk
        self._seen = SeenEvents()

    def add_to(self, app: web.Application) -> None:
        app.router.add_post("/carriers/telnyx/{integration_id}/webhook", self._telnyx)
        app.router.add_post("/carriers/twilio/{integration_id}/{endpoint}", self._twilio)
        app.router.add_post("/carriers/twilio/{integration_id}/{endpoint}/{token}", self._twilio)

    async def _telnyx(self, request: web.Request) -> web.Response:
        integration_id = request.match_info["integration_id"]
        with _lookup():
            account = await self._accounts.telnyx(integration_id)
        if account is None:
            raise _unknown_integration()
        body = await _body(request)
        with _refusals():
            reported = account.reported(body, _headers(request), now=unix_time())
        for event in self._news(reported, integration_id):
            self._desk.carrier_event(account.carrier, integration_id, event)
        return web.Response(status=200)

    async def _twilio(self, request: web.Request) -> web.Response:
        integration_id = request.match_info["integration_id"]
        with _lookup():
            account = await self._accounts.twilio(integration_id)
        if account is None:
            raise _unknown_integration()
        try:
            endpoint = Endpoint(request.match_info["endpoint"])
        except ValueError:
            raise Problem(404, "unknown_callback", "Twilio is told of no such URL") from None
        body = await _body(request)
        with _refusals():
            reported = account.reported(
                endpoint, request.raw_path, body, _headers(request), request.match_info.get("token")
            )
        document: str | None = None
        for event in self._news(reported, integration_id):
            if isinstance(event, TwimlRequested):
                document = await self._document(account, event)
            else:
                self._desk.carrier_event(account.carrier, integration_id, event)
        if document is None:
            return web.Response(status=204)
        return web.Response(text=document, content_type="text/xml")

    async def _document(self, account: TwilioAccount, requested: TwimlRequested) -> str:
        try:
            async with asyncio.timeout(DOCUMENT_TIMEOUT):
                instruction, leg = await self._desk.document(
                    account.carrier, account.integration_id, requested
                )
        except TimeoutError:
            log.error("no document in time", purpose=requested.purpose.value)
            instruction, leg = PutDown(), LegToken("none")
        return account.document(instruction, leg)

    def _news(self, reported: Sequence[Reported], integration_id: str) -> list[CallEvent]:
        news: list[CallEvent] = []
        for event in reported:
            if isinstance(event, Unrecognised):
                log.debug("carrier event not known", name=event.name)
            elif self._seen.is_new(event, integration_id):
                news.append(event)
        return news


async def _body(request: web.Request) -> bytes:
    """The body exactly as it came, bounded in size and time."""
    declared = request.content_length
    if declared is not None and declared > LARGEST_BODY:
        raise Problem(413, "content_too_large", f"a webhook has at most {LARGEST_BODY} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for block in request.content.iter_any():
                body += block
                if len(body) > LARGEST_BODY:
                    raise Problem(413, "content_too_large", f"a webhook has at most {LARGEST_BODY} bytes")
    except TimeoutError:
        raise Problem(408, "request_timeout", "the body did not come in time") from None
    return bytes(body)


def _headers(request: web.Request) -> Mapping[str, str]:
    """The first of each: a second signature is nobody's."""
    return {name.lower(): value for name, value in reversed(list(request.headers.items()))}


def _unknown_integration() -> Problem:
    return Problem(404, "unknown_integration", "no such carrier account")


@contextmanager
def _lookup() -> Iterator[None]:
    """An account that cannot be looked up now may be there: carriers repeat what is answered 503."""
    try:
        yield
    except StoreUnavailable as error:
        raise store_unavailable() from error


@contextmanager
def _refusals() -> Iterator[None]:
    """What may be wrong with a carrier's request, as its answer, and once in the log."""
    try:
        yield
    except SignatureRefused as error:
        log.warning("webhook refused", carrier=error.carrier, code=error.code, reason=error.detail)
        raise Problem(403, error.code, error.detail) from error
    except CarrierProtocolError as error:
        log.warning("webhook not understood", carrier=error.carrier, reason=error.reason)
        raise Problem(400, "invalid_webhook", "this is not an event of a call") from error

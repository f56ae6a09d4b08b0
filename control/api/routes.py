"""Makes routes of endpoints: lets requests in, reads them, has them answered, and sees to repetitions.

Theory of operation. A request with an `Idempotency-Key` claims it before it is carried out, and its answer is kept
under the key; a failure of ours gives the key back. Where the handler claims the key itself (`claims`: a dial, in the
transaction that adds the call), whatever it *raises* was not carried out and concerns no claim, since the key may be
an earlier request's; what it *returns* is the answer to keep. Nothing gives such a key back when a request is cut off:
the call may be made all the same, and a repetition is told which it is. What is harmless to repeat in any case (a
hang-up) is carried out without its key while the database does not answer.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from aiohttp import web

from control.api.client_address import TrustedProxies
from control.api.endpoint import Answer, Asked, Body, Endpoint, Query, Reply, Text
from control.api.gate import Gate, unix_time
from control.api.problem import TRACE_ID, Problem, store_unavailable
from control.api.reading import read_body, read_query
from control.api.repetition import fingerprint, idempotency_key, repeated
from control.secrets import SecretUnreadable
from control.stores.errors import InvalidCursor, InvalidSort, RangeTooLong, StoreUnavailable
from control.stores.idempotency import Claim, Claimed, Idempotency
from control.stores.keys import ApiKey
from control.stores.patience import BRIEFLY, within

log = structlog.get_logger()

# What our ids and all other parts of paths are made of; nothing of ours has another name.
_NAME = re.compile(r"[\x21-\x7e]{1,128}")
_ALLOWANCE = web.RequestKey("allowance", dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What every endpoint's requests pass through."""

    gate: Gate
    proxies: TrustedProxies
    idempotency: Idempotency

    def add_to(self, app: web.Application, endpoints: Iterable[Endpoint[Any, Any]]) -> None:
        for endpoint in endpoints:
            app.router.add_route(endpoint.method, endpoint.path, _Route(self, endpoint).respond)
        app.on_response_prepare.append(_tell_allowance)


async def _tell_allowance(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer to somebody with a key says what is left to them: a stream's and a fault's, too."""
    response.headers.update(request.get(_ALLOWANCE, {}))


class _Route:
    """One endpoint's requests."""

    def __init__(self, reception: Reception, endpoint: Endpoint[Query, Body]) -> None:
        self._reception = reception
        self._endpoint = endpoint

    async def respond(self, request: web.Request) -> web.StreamResponse:
        # A proxy may append by a line of its own.
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        client = self._reception.proxies.client(request.remote, forwarded)
        try:
            known = await self._reception.gate.identify(request.headers, client)
            request[_ALLOWANCE] = known.headers(unix_time())
            known.admit(self._endpoint.access)
            return await self._answered(await self._read(request, known.key))
        except StoreUnavailable as error:
            raise store_unavailable() from error
        except SecretUnreadable as error:
            log.exception("what is stored cannot be read", path=request.path)
            raise Problem(
                503,
                "secrets_unreadable",
                "what is stored was encrypted with a key that the gateway does not have",
            ) from error

    async def _read(self, request: web.Request, key: ApiKey) -> Asked[Query, Body]:
        endpoint = self._endpoint
        if not all(map(_NAME.fullmatch, request.match_info.values())):
            raise Problem(404, "not_found", "there is no such thing")
        query = read_query(endpoint.query, request.query)
        body, raw = await read_body(endpoint.body, request)
        return Asked(
            key=key,
            path=dict(request.match_info),
            query=query,
            body=body,
            idempotency_key=idempotency_key(request.headers) if endpoint.once else None,
            fingerprint=fingerprint(request.method, request.path, raw),
            http=request,
        )

    async def _answered(self, asked: Asked[Query, Body]) -> web.StreamResponse:
        if asked.idempotency_key is None:
            return _response(await self._handled(asked), asked)
        claim = Claim(key=asked.idempotency_key, fingerprint=asked.fingerprint)
        if self._endpoint.claims:
            return await self._claiming(asked, claim)
        return await self._once(asked, claim)

    async def _handled(self, asked: Asked[Query, Body]) -> Answer:
        try:
            return await self._endpoint.handler(asked)
        except InvalidCursor as error:
            raise Problem(400, "invalid_cursor", str(error)) from error
        except InvalidSort as error:
            raise Problem(400, "invalid_sort", str(error)) from error
        except RangeTooLong as error:
            raise Problem(400, "range_too_long", str(error)) from error

    async def _once(self, asked: Asked[Query, Body], claim: Claim) -> web.StreamResponse:
        """Carry the request out unless it was before, and keep its answer."""
        harmless = self._endpoint.harmless
        claiming = self._reception.idempotency.claim(asked.tenant_id, claim, _utcnow())
        try:
            claimed = await (within(BRIEFLY, claiming) if harmless else claiming)
        except StoreUnavailable:
            if not harmless:
                raise
            return _response(await self._handled(asked), asked)
        if not isinstance(claimed, Claimed):
            return repeated(claimed)
        try:
            response = _response(await self._handled(asked), asked)
        except Problem as problem:
            response = problem.response(asked.http[TRACE_ID])
        except BaseException:
            await asyncio.shield(self._settled(asked.tenant_id, claim.key, None))
            raise
        await asyncio.shield(self._settled(asked.tenant_id, claim.key, response))
        return response

    async def _claiming(self, asked: Asked[Query, Body], claim: Claim) -> web.StreamResponse:
        """Have the handler claim the key, and keep its answer.

        Whoever repeats a request is told of its outcome, not of what would come of it now.
        """
        first = await self._reception.idempotency.look(asked.tenant_id, claim, _utcnow())
        if first is not None:
            return repeated(first)
        answer = await self._handled(asked)
        response = _response(answer, asked)
        if not isinstance(answer, web.StreamResponse):  # which would be the first one's
            await asyncio.shield(self._settled(asked.tenant_id, claim.key, response))
        return response

    async def _settled(self, tenant_id: str, key: str, response: web.StreamResponse | None) -> None:
        """A failure of ours may be tried again under the same key; everything else is the answer for good.

        What was carried out was: that its answer cannot be kept is no reason to withhold it.
        """
        keys = self._reception.idempotency
        try:
            if isinstance(response, web.Response) and response.status < 500:
                location = response.headers.get("Location")
                await keys.finish(tenant_id, key, response.status, _bytes(response), location)
            else:
                await keys.abandon(tenant_id, key)
        except StoreUnavailable:
            log.warning("the answer to a request with an idempotency key was not kept")


def _response(answer: Answer, asked: Asked[Query, Body]) -> web.StreamResponse:
    match answer:
        case Reply(body=None, status=status, headers=headers):
            return web.Response(status=status, headers=headers)
        case Reply(body, status, headers):
            text = "" if body is None else body.model_dump_json()
            return web.Response(status=status, text=text, content_type="application/json", headers=headers)
        case Text(text, content_type, headers):
            return web.Response(text=text, content_type=content_type, headers=headers)
        case Problem():
            return answer.response(asked.http[TRACE_ID])
        case web.StreamResponse():
            return answer


def _bytes(response: web.Response) -> bytes:
    body = response.body
    return bytes(body) if isinstance(body, bytes | bytearray) else b""


def _utcnow() -> datetime:
    return datetime.now(UTC)

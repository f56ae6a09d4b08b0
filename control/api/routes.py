"""Makes routes of endpoints: lets requests in, reads them, has them answered, and sees to repetitions."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from control.api.client_address import TrustedProxies
from control.api.endpoint import Answer, Asked, Body, Endpoint, Query, Reply, Text
from control.api.gate import Admitted, Gate, unix_time
from control.api.ports import CallControl
from control.api.problem import TRACE_ID, Problem
from control.api.reading import read_body, read_query
from control.api.repetition import fingerprint, idempotency_key, repeated
from control.stores.errors import InvalidCursor, InvalidSort, StoreUnavailable
from control.stores.idempotency import Claim, Claimed, Idempotency


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What every endpoint's requests pass through."""

    gate: Gate
    proxies: TrustedProxies
    idempotency: Idempotency
    calls: CallControl

    def add_to(self, app: web.Application, endpoints: Iterable[Endpoint[Any, Any]]) -> None:
        for endpoint in endpoints:
            app.router.add_route(endpoint.method, endpoint.path, _Route(self, endpoint).__call__)


class _Route:
    """One endpoint's requests."""

    def __init__(self, reception: Reception, endpoint: Endpoint[Query, Body]) -> None:
        self._reception = reception
        self._endpoint = endpoint

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        now = asyncio.get_running_loop().time()
        client = self._reception.proxies.client(request.remote, request.headers.get("X-Forwarded-For"))
        try:
            admitted = await self._reception.gate.admit(request.headers, client, self._endpoint.access, now)
            return await self._admitted(request, admitted)
        except StoreUnavailable as error:
            raise Problem(
                503, "store_unavailable", "the database does not answer", headers={"Retry-After": "1"}
            ) from error

    async def _admitted(self, request: web.Request, admitted: Admitted) -> web.StreamResponse:
        limit = self._reception.calls.concurrent_limit(admitted.key.tenant_id)
        headers = admitted.headers(unix_time(), limit)
        try:
            response = await self._answered(request, admitted)
        except Problem as problem:
            problem.headers.update(headers)
            raise
        if not response.prepared:
            response.headers.update(headers)
        return response

    async def _answered(self, request: web.Request, admitted: Admitted) -> web.StreamResponse:
        endpoint = self._endpoint
        query = read_query(endpoint.query, request.query)
        body, raw = await read_body(endpoint.body, request)
        asked = Asked(
            key=admitted.key,
            path=dict(request.match_info),
            query=query,
            body=body,
            idempotency_key=idempotency_key(request.headers) if endpoint.once else None,
            fingerprint=fingerprint(request.method, request.path, raw),
            http=request,
        )
        if asked.idempotency_key is None:
            return _response(await self._handled(asked))
        return await self._once(asked, asked.idempotency_key)

    async def _handled(self, asked: Asked[Query, Body]) -> Answer:
        try:
            return await self._endpoint.handler(asked)
        except InvalidCursor as error:
            raise Problem(400, "invalid_cursor", str(error)) from error
        except InvalidSort as error:
            raise Problem(400, "invalid_sort", str(error)) from error

    async def _once(self, asked: Asked[Query, Body], key: str) -> web.StreamResponse:
        """Carry the request out unless it was before, and keep its answer."""
        keys, tenant_id = self._reception.idempotency, asked.tenant_id
        if not self._endpoint.claims:
            claimed = await keys.claim(tenant_id, Claim(key=key, fingerprint=asked.fingerprint), _utcnow())
            if not isinstance(claimed, Claimed):
                return repeated(claimed)
        try:
            response = _response(await self._handled(asked))
        except Problem as problem:
            response = problem.response(asked.http[TRACE_ID])
            if problem.code in ("idempotency_conflict", "idempotency_in_progress"):
                return response  # the claim is somebody else's
        except BaseException:
            await asyncio.shield(keys.abandon(tenant_id, key))
            raise
        await asyncio.shield(self._settle(tenant_id, key, response))
        return response

    async def _settle(self, tenant_id: str, key: str, response: web.StreamResponse) -> None:
        """A failure of ours may be tried again under the same key; everything else is the answer for good."""
        keys = self._reception.idempotency
        if response.status >= 500 or not isinstance(response, web.Response):
            await keys.abandon(tenant_id, key)
        else:
            await keys.finish(tenant_id, key, response.status, _bytes(response))


def _response(answer: Answer) -> web.StreamResponse:
    match answer:
        case Reply(body=None, status=status, headers=headers):
            return web.Response(status=status, headers=headers)
        case Reply(body, status, headers):
            text = "" if body is None else body.model_dump_json()
            return web.Response(status=status, text=text, content_type="application/json", headers=headers)
        case Text(text, content_type, headers):
            return web.Response(text=text, content_type=content_type, headers=headers)
        case web.StreamResponse():
            return answer


def _bytes(response: web.Response) -> bytes:
    body = response.body
    return bytes(body) if isinstance(body, bytes | bytearray) else b""


def _utcnow() -> datetime:
    return datetime.now(UTC)

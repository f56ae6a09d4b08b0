"""Errors as HTTP says them: RFC 9457 problem details with a stable `code` and the request's `trace_id`."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from secrets import token_hex

import structlog
from aiohttp import web

log = structlog.get_logger()

# W3C Trace Context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

TRACE_ID = web.RequestKey("trace_id", str)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request's body."""

    pointer: str
    """Where, as a JSON Pointer (RFC 6901)."""
    detail: str


class Problem(Exception):
    """What a request is answered that cannot be done."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Fault] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)

    def response(self, trace_id: str) -> web.Response:
        body: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "trace_id": trace_id,
        }
        if self.errors:
            body["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in self.errors]
        return web.Response(
            status=self.status,
            text=json.dumps(body),
            content_type="application/problem+json",
            headers=self.headers,
        )


def store_unavailable() -> Problem:
    """Whoever asks again soon may be answered."""
    return Problem(503, "store_unavailable", "the database does not answer", headers={"Retry-After": "1"})


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every error of every route as a problem; the caller's trace goes on where it sent one."""
    given = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    trace_id = given[1] if given is not None else token_hex(16)
    request[TRACE_ID] = trace_id
    with structlog.contextvars.bound_contextvars(trace_id=trace_id):
        try:
            return await handler(request)
        except Problem as problem:
            return problem.response(trace_id)
        except web.HTTPException as error:
            return _from_http(error).response(trace_id)
        except Exception:  # the last place to say anything: the fault is ours, the answer is a 500
            log.exception("request failed", method=request.method, route=_route(request))
            return Problem(500, "internal_error", "the fault is ours; the trace_id finds it").response(
                trace_id
            )


def _from_http(error: web.HTTPException) -> Problem:
    code = HTTPStatus(error.status).phrase.lower().replace(" ", "_").replace("-", "_")
    problem = Problem(error.status, code, error.reason)
    if isinstance(error, web.HTTPMethodNotAllowed):
        problem.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    return problem


def _route(request: web.Request) -> str:
    """The route's pattern: a path may hold a token."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"

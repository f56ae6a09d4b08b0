"""A request's query and body, read into their models, with every fault told by its place."""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from control.api.endpoint import Body, NoBody, Query
from control.api.interchange import read_json
from control.api.problem import Fault, Problem

# The largest body that makes sense: an agent with its tools and their schemas.
LARGEST_BODY = 1024 * 1024
# Seconds for all of it, on the slowest line that is worth serving. A body whose chunks are malformed half way has no
# end, as far as aiohttp tells.
PATIENCE = 20.0

Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound=Body)


def read_query(model: type[Q], given: MultiMapping[str]) -> Q:
    """Return the parameters.

    Raises:
        Problem: 400; a typo must not silently widen a filter.
    """
    if any("\0" in value for value in given.values()):
        raise Problem(400, "invalid_query", "a parameter holds U+0000")
    repeated = sorted({name for name in given if len(given.getall(name)) > 1})
    if repeated:
        raise Problem(400, "invalid_query", f"{repeated[0]} is given more than once")
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        faults = _faults(error)
        raise Problem(400, "invalid_query", _first(faults), errors=faults) from None


async def read_body(model: type[B], request: web.Request) -> tuple[B, bytes]:
    """Return the body, read and as it came.

    Raises:
        Problem: 400, 408, 413, 415 or 422.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            raw = await _bytes(request)
    except TimeoutError:
        raise Problem(408, "request_timeout", f"the body did not come within {PATIENCE:.0f} s") from None
    except (ConnectionError, web.RequestPayloadError, PayloadEncodingError):
        # Nobody may be there to be told.
        raise Problem(400, "incomplete_body", "the body broke off") from None
    if model is NoBody and not raw:
        return model(), raw
    if request.content_type != "application/json" and (
        raw or request.content_type != "application/octet-stream"
    ):
        raise Problem(415, "unsupported_media_type", "send JSON, as application/json")
    try:
        value = read_json(raw or b"{}")
    except ValueError as error:
        raise Problem(400, "invalid_json", f"the body is not JSON: {error}") from None
    return validated(model, value), raw


M = TypeVar("M", bound=BaseModel)

# What pydantic says in words of Python, by its name for the fault.
_PLAIN = {"extra_forbidden": "unknown field", "model_type": "must be a JSON object"}


def validated(model: type[M], value: object) -> M:
    """Return a JSON value as the model has it.

    Raises:
        Problem: 422, with the place of each fault.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = _faults(error)
        raise Problem(422, "invalid_body", _first(faults), errors=faults) from None


async def _bytes(request: web.Request) -> bytes:
    declared = request.content_length
    if declared is not None and declared > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    async for block in request.content.iter_any():
        body += block
        if len(body) > LARGEST_BODY:
            raise _too_large()
    return bytes(body)


def _too_large() -> Problem:
    return Problem(413, "content_too_large", f"a body has at most {LARGEST_BODY} bytes")


def _faults(error: ValidationError) -> list[Fault]:
    # Without the input: it may be a secret.
    return [
        _fault(each) for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _fault(error: ErrorDetails) -> Fault:
    pointer = "".join(f"/{_escaped(part)}" for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    return Fault(pointer, _PLAIN.get(error["type"], message))


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _first(faults: Sequence[Fault]) -> str:
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    first = faults[0]
    return f"{first.pointer.removeprefix('/') or 'the body'}: {first.detail}{more}"

"""What an `Idempotency-Key` does: the first answer to a request is the answer to every repetition of it."""

import hashlib
import re
from collections.abc import Mapping

from aiohttp import web

from control.api.problem import Problem
from control.stores.idempotency import Answered, Conflict, InProgress

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
# Printable ASCII, as such keys are written; long enough for two UUIDs and a prefix.
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
# While the first is being carried out, a repetition is asked to come back after this many seconds.
_COME_BACK = 1


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Return the key of a request.

    Raises:
        Problem: 400, it is none.
    """
    key = headers.get(HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise Problem(
            400, "invalid_header", f"{HEADER} is 1 to 255 printable ASCII characters without spaces"
        )
    return key


def fingerprint(method: str, path: str, body: bytes) -> str:
    """Return what makes another request with the same key another one."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()


def repeated(outcome: Answered | Conflict | InProgress) -> web.Response:
    """Answer a request whose key has been used.

    Raises:
        Problem: 409, it was used for another request, or the first one has no answer yet.
    """
    match outcome:
        case Answered(status, body, location):
            where = {} if location is None else {"Location": location}
            return web.Response(
                status=status,
                body=body,
                content_type="application/json" if status < 400 else "application/problem+json",
                headers={REPLAYED: "true", **where},
            )
        case Conflict():
            raise Problem(409, "idempotency_conflict", "the idempotency key was used for another request")
        case InProgress(call_id=call_id):
            made = f"; it has made the call {call_id}" if call_id is not None else ""
            raise Problem(
                409,
                "idempotency_in_progress",
                f"the first request with this idempotency key is still being carried out{made}",
                headers={"Retry-After": str(_COME_BACK)},
            )

"""Who is let in, and how often: keys, failed attempts, requests per minute.

Theory of operation. A key is looked up by its secret, and found ones are remembered for a few seconds, so that a
revoked key is worthless that soon. While the database does not answer, nobody can revoke a key either: one that was
found lately stands, at once, so that calls can be hung up all the same. An address that fails too often is told to
wait before its key is looked at. What is left of a tenant's minute stands in the headers of every answer to it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, inf
from typing import Any, Protocol

import structlog

from control.api.client_address import neighbourhood
from control.api.endpoint import Access
from control.api.problem import Problem
from control.live.ports import RequestWindows
from control.live.windows import Allowance
from control.stores.errors import StoreUnavailable
from control.stores.keys import ApiKey, Scope
from control.stores.patience import BRIEFLY, within
from control.tenancy import Tenancy, Terms

log = structlog.get_logger()

# A revoked key lets nobody in after this many seconds.
_REMEMBERED = 5.0
# For so many seconds a key that was found stands without the database.
_STANDS = 600.0
_MOST_REMEMBERED = 1_024
# More failed attempts than this from one address within 15 minutes are guesses.
FAILED_ATTEMPTS = 100
FAILED_WITHIN = 900.0
MINUTE = 60.0

_SCOPES: Mapping[Access, frozenset[Scope]] = {
    Access.READ: frozenset(Scope),
    Access.FULL: frozenset({Scope.FULL, Scope.ADMIN}),
    Access.ADMIN: frozenset({Scope.ADMIN}),
}


class KeyRing(Protocol):
    """Where keys are kept (`control.stores.keys`)."""

    def find(self, secret: str) -> Coroutine[Any, Any, ApiKey | None]: ...

    def used(self, key: ApiKey, now: datetime) -> Coroutine[Any, Any, None]: ...


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody whose key is good."""

    key: ApiKey
    terms: Terms
    """What its tenant may."""
    allowance: Allowance

    def admit(self, access: Access) -> None:
        """
        Raises:
            Problem: 403 or 429, they may not have this, or not now.
        """
        if self.terms.disabled:
            raise Problem(403, "tenant_disabled", "the tenant is disabled")
        if not self.allowance.allowed:
            raise _too_often(
                "rate_limited", "the tenant's requests of this minute are used up", self.allowance
            )
        if self.key.scope not in _SCOPES[access]:
            raise _beyond(access)

    def headers(self, wall: float) -> dict[str, str]:
        """Return what every answer to them says; `wall` is unix time."""
        return {
            "X-RateLimit-Limit": str(self.allowance.limit),
            "X-RateLimit-Remaining": str(self.allowance.remaining),
            "X-RateLimit-Reset": str(ceil(wall + self.allowance.reset_after)),
            "X-Concurrent-Call-Limit": str(self.terms.max_calls),
        }


class Gate:
    """Driven once per request."""

    def __init__(
        self,
        keys: KeyRing,
        tenancy: Tenancy,
        *,
        requests: RequestWindows,
        failures: RequestWindows,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            requests: of a `MINUTE`, by tenant; always answer.
            failures: of `FAILED_WITHIN` seconds, by address; always answer.
            clock: any clock that does not jump, in seconds.
        """
        self._keys = keys
        self._tenancy = tenancy
        self._requests = requests
        self._failures = failures
        self._clock = clock
        self._remembered: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()
        self._away_until = -inf
        """The database has not answered: until then it is not asked about keys that stand."""

    async def identify(self, headers: Mapping[str, str], client: str) -> Known:
        """Find out whose request it is, and count it.

        Raises:
            Problem: 401 or 429.
            StoreUnavailable: nobody can be found now.
        """
        address = neighbourhood(client)
        failures = await self._failures.look(address, FAILED_ATTEMPTS)
        if not failures.allowed:
            raise _too_often("auth_rate_limited", "too many failed attempts from this address", failures)
        secret = _secret(headers)
        if secret is None:
            raise await self._failed(
                address, "missing_api_key", "send the API key as a bearer token or X-API-Key"
            )
        key = await self._find(secret)
        if key is None:
            raise await self._failed(address, "invalid_api_key", "the API key is unknown or was revoked")
        terms = await self._tenancy.terms(key.tenant_id)
        return Known(key, terms, await self._requests.use(key.tenant_id, terms.requests_per_minute))

    async def _find(self, secret: str) -> ApiKey | None:
        now = self._clock()
        found_at, known = self._remembered.get(secret, (-inf, None))
        if now - found_at < _REMEMBERED:
            return known
        if now - found_at < _STANDS:
            if now < self._away_until:
                return known
            try:
                key = await within(BRIEFLY, self._keys.find(secret))
            except StoreUnavailable:
                self._away_until = now + _REMEMBERED
                return known
        else:
            key = await self._keys.find(secret)
        self._remembered.pop(secret, None)
        if key is not None:
            self._remember(secret, key, now)
            await self._note_use(key)
        return key

    def _remember(self, secret: str, key: ApiKey, now: float) -> None:
        self._remembered[secret] = now, key
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _note_use(self, key: ApiKey) -> None:
        try:
            await within(BRIEFLY, self._keys.used(key, datetime.now(UTC)))
        except StoreUnavailable:
            log.warning("the use of a key was not noted", key_id=key.key_id)

    def forget(self, key_id: str) -> None:
        """The key was revoked or rotated here: its old secret is worthless at once."""
        for secret in [secret for secret, (_, key) in self._remembered.items() if key.key_id == key_id]:
            del self._remembered[secret]

    def forget_tenant(self, tenant_id: str) -> None:
        """The tenant was deleted here, and its keys with it."""
        for secret in [secret for secret, (_, key) in self._remembered.items() if key.tenant_id == tenant_id]:
            del self._remembered[secret]

    async def _failed(self, address: str, code: str, detail: str) -> Problem:
        await self._failures.use(address, FAILED_ATTEMPTS)
        return Problem(401, code, detail, headers={"WWW-Authenticate": 'Bearer realm="offhook"'})


def unix_time() -> float:
    """The time of day, in seconds since 1970."""
    return time.time()


def _secret(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("X-API-Key") or None


def _beyond(access: Access) -> Problem:
    if access is Access.ADMIN:
        return Problem(403, "admin_key_required", "this needs a key that may administer the platform")
    return Problem(403, "read_only_key", "this key may only read")


def _too_often(code: str, detail: str, allowance: Allowance) -> Problem:
    return Problem(429, code, detail, headers={"Retry-After": str(max(1, ceil(allowance.reset_after)))})

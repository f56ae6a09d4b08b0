"""What each tenant may, as everybody who lets something in asks it: remembered for a few seconds.

What an admin changes holds everywhere that soon, and in the process that is asked at once. While the database does not
answer, nobody can change it either: what was known lately stands, at once.
"""

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from control.stores.errors import StoreUnavailable
from control.stores.patience import BRIEFLY, within
from control.stores.tenants import Tenant

# Seconds until it is looked at again, and for which it stands without the database; as keys do.
REMEMBERED = 5.0
STANDS = 600.0
_MOST_REMEMBERED = 4_096


class TenantStore(Protocol):
    """Where tenants are kept (`control.stores.tenants`)."""

    def get(self, tenant_id: str) -> Coroutine[Any, Any, Tenant | None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a tenant may."""

    requests_per_minute: int
    max_calls: int
    """At a time."""
    disabled: bool = False


class Tenancy:
    """Driven by whoever lets somebody in."""

    def __init__(
        self,
        tenants: TenantStore,
        *,
        usual: Terms,
        bound: int | None = None,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            usual: of a tenant that has no limits of its own.
            bound: calls at a time that no tenant has more of, whatever its own limit; None: several processes share
                them.
            clock: any clock that does not jump, in seconds.
        """
        self.usual = usual
        self._tenants = tenants
        self._bound = bound
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Terms]] = OrderedDict()
        self._away_until = -inf
        """The database has not answered: until then it is not asked about terms that stand."""

    async def terms(self, tenant_id: str) -> Terms:
        """Return what a tenant may.

        Raises:
            StoreUnavailable: it is not known, and cannot be found out.
        """
        now = self._clock()
        found_at, known = self._known.get(tenant_id, (-inf, self.usual))
        if now - found_at < REMEMBERED:
            return known
        if now - found_at < STANDS:
            if now < self._away_until:
                return known
            try:
                tenant = await within(BRIEFLY, self._tenants.get(tenant_id))
            except StoreUnavailable:
                self._away_until = now + REMEMBERED
                return known
        else:
            tenant = await self._tenants.get(tenant_id)
        terms = self._of(tenant)
        self._known.pop(tenant_id, None)
        self._known[tenant_id] = now, terms
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return terms

    def forget(self, tenant_id: str) -> None:
        """Its terms were changed here: they hold at once."""
        self._known.pop(tenant_id, None)

    def _of(self, tenant: Tenant | None) -> Terms:
        if tenant is None:
            return self.usual
        max_calls = self.usual.max_calls if tenant.max_calls is None else tenant.max_calls
        return Terms(
            requests_per_minute=tenant.requests_per_minute or self.usual.requests_per_minute,
            max_calls=max_calls if self._bound is None else min(max_calls, self._bound),
            disabled=tenant.disabled_at is not None,
        )

"""Whether a tenant may have one more call: a slot is taken before it begins, and given back when it is over.

A slot is held by a lease that is renewed while the call lives, so that what a dead process held is free again soon. A
caller who was transferred talks on without us: the slot is free from then.
"""

from control.live.ports import CallSlots
from control.live.stand_in import UNLIMITED
from control.requests import Refused
from control.tenancy import Tenancy

# Seconds. A process that is renewed every third of it may miss two turns.
LEASE = 60.0
RENEWED = 20.0


class Admission:
    """Driven by the service, once per call, and by the gateway, which renews."""

    def __init__(self, tenancy: Tenancy, slots: CallSlots) -> None:
        """
        Args:
            slots: such as always answer.
        """
        self._tenancy = tenancy
        self._slots = slots
        self._held: dict[str, str] = {}

    async def enter(self, tenant_id: str, call_id: str) -> Refused | None:
        """Take a slot for a call; why it may not have one, else None.

        Raises:
            StoreUnavailable: it is not known what the tenant may.
        """
        terms = await self._tenancy.terms(tenant_id)
        if terms.disabled:
            return Refused(status=403, code="tenant_disabled", detail="The tenant is disabled")
        if not await self._slots.take(tenant_id, call_id, terms.max_calls):
            return Refused(
                status=429,
                code="concurrent_call_limit",
                detail=f"{terms.max_calls} calls at a time are allowed",
            )
        self._held[call_id] = tenant_id
        return None

    def holds(self, call_id: str) -> bool:
        """Whether the call has a slot."""
        return call_id in self._held

    async def leave(self, call_id: str) -> None:
        """Give the call's slot back, if it has one."""
        tenant_id = self._held.pop(call_id, None)
        if tenant_id is not None:
            await self._slots.leave(tenant_id, call_id)

    async def renew(self) -> None:
        """Keep every slot that is held for another lease."""
        for call_id, tenant_id in list(self._held.items()):
            if call_id not in self._held:
                continue
            await self._slots.take(tenant_id, call_id, UNLIMITED)
            if call_id not in self._held:  # given back meanwhile
                await self._slots.leave(tenant_id, call_id)

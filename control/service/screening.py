"""Whether a call that comes in is taken: whom it is for, what it runs with, or why nobody answers it."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import structlog

from control.agent_run import EffectiveAgent
from control.call_record import CallRecord
from control.secrets import SecretUnreadable
from control.service.arrivals import Arrival
from control.service.parts import Parts
from control.service.provider_accounts import ProviderMissing
from control.service.switchboard import Destination, in_time
from control.stores.errors import StoreUnavailable
from control.templates import TextsUnfilled
from telephony.commands import RejectReason

log = structlog.get_logger()


class Screening:
    """Asks whoever knows, each for as long as a caller may be left ringing."""

    def __init__(self, parts: Parts, unready: Callable[[], list[str]]) -> None:
        """
        Args:
            unready: why no new call can be taken now; empty when one can.
        """
        self.faults = 0
        """How many callers were turned away for a fault of ours."""
        self._parts = parts
        self._world = parts.world
        self._unready = unready

    async def screened(
        self, arrival: Arrival
    ) -> tuple[Destination | None, EffectiveAgent | None, RejectReason | None]:
        """What becomes of a call; a fault of ours leaves no caller ringing."""
        try:
            return await self._receive(arrival)
        except SecretUnreadable as fault:
            log.error("call refused: its agent cannot be read", call_id=arrival.call_id, reason=str(fault))
            return None, None, RejectReason.UNAVAILABLE
        except Exception:
            self.faults += 1
            log.exception("call refused: a fault of ours", call_id=arrival.call_id)
            return None, None, RejectReason.UNAVAILABLE

    async def _receive(
        self, arrival: Arrival
    ) -> tuple[Destination | None, EffectiveAgent | None, RejectReason | None]:
        """Whom the call is for and what it runs with; or why nobody takes it."""
        event = arrival.event
        destination = await self._destination(arrival.record)
        if destination is None:
            return None, None, RejectReason.BUSY
        if destination.agent is None:
            log.info("call refused: its number has no agent", carrier=event.origin.carrier)
            return destination, None, RejectReason.NOT_FOUND
        if not await self._entered(arrival.record.call_id, destination.agent.tenant_id):
            return destination, None, RejectReason.BUSY
        try:
            effective = self._parts.reception.effective(
                destination.agent,
                {},
                customer=event.from_number or None,
                headers=event.headers,
                now=self._world.wall(),
            )
            effective = await self._parts.providers.placed(
                destination.tenant_id, effective, destination.agent.config.model
            )
        except TextsUnfilled as fault:
            log.error("call refused: its agent's texts cannot be filled in", reason=str(fault))
            return destination, None, RejectReason.UNAVAILABLE
        except ProviderMissing as fault:
            log.error("call refused: its agent's provider cannot be used", reason=str(fault))
            return destination, None, RejectReason.UNAVAILABLE
        except StoreUnavailable as fault:
            log.warning("call refused: its agent's provider cannot be looked up", reason=str(fault))
            return destination, None, RejectReason.BUSY
        # Last: nothing is awaited from here until it is admitted, so no two take one place.
        if reasons := self._unready():
            log.warning("call refused", reasons=reasons)
            return destination, None, RejectReason.BUSY
        return destination, effective, None

    async def _entered(self, call_id: str, tenant_id: str) -> bool:
        """Whether the tenant may have one more call; it may not where that is not known in time."""
        try:
            async with in_time():
                refused = await self._parts.admission.enter(tenant_id, call_id)
        except StoreUnavailable as fault:
            log.warning("call refused: what its tenant may is not known", reason=str(fault))
            return False
        if refused is not None:
            log.warning("call refused", tenant_id=tenant_id, reason=refused.code)
        return refused is None

    async def _destination(self, record: CallRecord) -> Destination | None:
        """Where the call leads; None: the database cannot tell now.

        Raises:
            SecretUnreadable: its agent was encrypted with a key that is not ours.
        """
        if self._parts.keeper.is_failing():  # and would be waited for while it rings
            log.warning("call refused: the database does not answer")
            return None
        try:
            return await self._parts.switchboard.answering(
                record.to_number,
                carrier=record.carrier,
                integration_id=record.integration_id,
                tenant_id=record.tenant_id,
            )
        except StoreUnavailable as fault:
            log.warning("call refused: its agent cannot be looked up", reason=str(fault))
        return None


def with_agent(
    record: CallRecord, destination: Destination | None, effective: EffectiveAgent | None
) -> CallRecord:
    """The record of a call that came in, as far as it is known whom it is for."""
    if destination is None:
        return record
    agent = destination.agent
    return replace(
        record,
        tenant_id=destination.tenant_id,
        agent_id=agent.agent_id if agent is not None else None,
        agent_version=agent.version if agent is not None else None,
        rate_per_minute=effective.rate_per_minute if effective is not None else Decimal(0),
        recording_enabled=effective is not None and bool(effective.config.recording),
        metadata=dict(agent.config.metadata or {}) if agent is not None else {},
        webhook_url=agent.config.webhook_url if agent is not None else None,
    )

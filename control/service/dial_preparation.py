"""What a call that is asked for is made of: its agent, its number, its carrier account, and its brief."""

from dataclasses import replace

from control.agent_run import EffectiveAgent, recorded
from control.agents import Agent, ad_hoc_agent
from control.brief import CallBrief
from control.call_record import CallRecord
from control.dialling import DialRequest
from control.integrations import DEFAULT
from control.requests import Refused
from control.service.parts import Parts
from control.service.ports import CarrierAccount
from control.service.provider_accounts import ProviderMissing
from control.templates import TextsUnfilled
from telephony.causes import Direction


class DialPreparation:
    """Looks everything up that a request names; takes nothing and asks no carrier."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._world = parts.world

    async def prepared(
        self, tenant_id: str, request: DialRequest
    ) -> tuple[CallBrief, EffectiveAgent, CarrierAccount] | Refused:
        """What the call is made of, and through which account; or why it cannot be.

        Raises:
            SecretUnreadable: its agent was encrypted with a key that is not ours.
            StoreUnavailable: the database cannot tell now.
        """
        now = self._world.wall()
        if request.agent is not None:  # nobody has looked at it yet, as at one that is stored
            missing = next(self._parts.reception.unknown_providers(request.agent), None)
            if missing is not None:
                return _unprocessable("provider_not_found", f"agent{missing[0]}: there is no such provider")
        agent = await self._agent(tenant_id, request)
        if agent is None:
            return _unprocessable("agent_not_found", "There is no such agent")
        from_number = request.from_number or agent.config.from_number
        if from_number is None:
            return _unprocessable("from_number_missing", "Neither the request nor the agent has a number")
        account = await self._account(tenant_id, request.carrier, from_number)
        if account is None:
            return _unprocessable("carrier_not_configured", "No carrier account can make this call")
        try:
            effective = self._parts.reception.effective(
                agent,
                request.variables,
                customer=request.to,
                headers=request.custom_headers,
                now=now,
            )
            effective = await self._parts.providers.placed(tenant_id, effective, agent.config.model)
        except TextsUnfilled as fault:
            return _unprocessable("variables_missing", str(fault))
        except ProviderMissing as fault:
            return _unprocessable("provider_not_found", str(fault))
        effective = _as_wished(effective, request)
        record = CallRecord(
            call_id=self._world.new_id("call"),
            tenant_id=tenant_id,
            agent_id=agent.agent_id,
            agent_version=agent.version,
            direction=Direction.OUTBOUND,
            carrier=account.carrier,
            integration_id=account.integration_id,
            from_number=from_number,
            to_number=request.to,
            node=self._parts.node,
            started_at=now,
            rate_per_minute=effective.rate_per_minute,
            recording_enabled=bool(effective.config.recording),
            metadata={**(agent.config.metadata or {}), **request.metadata},
            webhook_url=request.webhook_url or agent.config.webhook_url,
        )
        brief = self._parts.reception.outbound(record, effective, account.capabilities, request)
        return brief, effective, account

    async def _agent(self, tenant_id: str, request: DialRequest) -> Agent | None:
        """The agent that is to talk."""
        if request.agent is not None:
            brought = ad_hoc_agent(request.agent, self._world.wall(), tenant_id=tenant_id)
            return replace(brought, signing=await self._parts.switchboard.signing(tenant_id))
        if request.agent_id is None:
            return self._parts.switchboard.default
        return await self._parts.switchboard.agent(tenant_id, request.agent_id)

    async def _account(self, tenant_id: str, carrier: str | None, from_number: str) -> CarrierAccount | None:
        """The account that a call from this number goes through: the number's, else the only one of the tenant's."""
        named = await self._parts.switchboard.account_of(tenant_id, from_number)
        if named is not None and carrier in (None, named[0]):
            return await self._parts.accounts.fetch(*named)
        theirs = await self._parts.accounts.of_tenant(tenant_id)
        possible = [each for each in theirs if carrier in (None, each.carrier)]
        if carrier is not None and len(possible) > 1:
            possible = [each for each in possible if each.integration_id == DEFAULT]
        return possible[0] if len(possible) == 1 else None


def _as_wished(agent: EffectiveAgent, request: DialRequest) -> EffectiveAgent:
    """The agent, as this one call wants it."""
    if request.record is not None:
        agent = recorded(agent, request.record)
    policy = agent.policy
    if request.max_duration is not None:
        longest = min(float(request.max_duration), policy.deadlines.max_duration)
        policy = replace(policy, deadlines=replace(policy.deadlines, max_duration=longest))
    return replace(agent, policy=policy)


def _unprocessable(code: str, detail: str) -> Refused:
    return Refused(status=422, code=code, detail=detail)

"""Who takes a call and what it runs with: agents found, texts filled in, and the machine's brief written. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from control.agent_run import AgentDefaults, EffectiveAgent, effective
from control.agents import Agent, AgentConfig, ad_hoc_agent
from control.brief import CallBrief, VoicemailAction
from control.call_record import CallRecord
from control.dialling import DialRequest
from control.directory import Directory
from control.variables import CallContext, variables
from telephony.calls import Initiated
from telephony.capabilities import Capabilities
from telephony.commands import RejectReason


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What holds for every call."""

    directory: Directory
    defaults: AgentDefaults
    timezone: str = "UTC"
    speech: bool = False
    """Whether fixed text has a voice of its own."""
    answer_wait: float = 2.0


class Reception:
    """Driven by the service, once per call that comes in or is to be made."""

    def __init__(self, house: House) -> None:
        self._house = house

    def answering(self, event: Initiated, integration_id: str) -> Agent | None:
        """Return the agent for an inbound call; None: nobody answers that number."""
        return self._house.directory.answering(
            event.to_number, carrier=event.origin.carrier, integration_id=integration_id
        )

    def dialling(self, request: DialRequest, tenant_id: str, now: datetime) -> Agent | None:
        """Return the agent that is to talk; None: there is no such agent."""
        if request.agent is not None:
            return ad_hoc_agent(request.agent, now, tenant_id=tenant_id)
        if request.agent_id is None:
            return self._house.directory.default
        agent = self._house.directory.agent(request.agent_id)
        return agent if agent is not None and agent.tenant_id == tenant_id else None

    def account_of(self, number: str) -> tuple[str, str] | None:
        """Return the carrier account that one of our numbers is with, if that is said."""
        entry = self._house.directory.number(number)
        if entry is None or entry.carrier is None:
            return None
        return entry.carrier, entry.integration_id

    def effective(
        self,
        config: AgentConfig,
        given: Mapping[str, object],
        *,
        customer: str | None,
        headers: Mapping[str, str],
        now: datetime,
    ) -> EffectiveAgent:
        """Return what one call runs with.

        Raises:
            TextsUnfilled: a text of the agent names a variable that is not there.
        """
        context = CallContext(
            now=now, timezone=self._house.timezone, customer_number=customer, headers=headers
        )
        agent = effective(config, self._house.defaults, variables(given, context))
        return replace(agent, policy=replace(agent.policy, controlled=True))

    def inbound(
        self,
        record: CallRecord,
        agent: EffectiveAgent | None,
        capabilities: Capabilities,
        refusal: RejectReason | None,
    ) -> CallBrief:
        """Write the brief of a call that came in; without an agent it is refused."""
        if agent is None:
            return CallBrief(record=record, capabilities=capabilities, refusal=refusal)
        brief = self._brief(record, agent, capabilities)
        return replace(brief, refusal=refusal, answer_wait=self._house.answer_wait)

    def outbound(
        self, record: CallRecord, agent: EffectiveAgent, capabilities: Capabilities, request: DialRequest
    ) -> CallBrief:
        """Write the brief of a call that is to be made."""
        return replace(
            self._brief(record, agent, capabilities),
            ring_timeout=request.ring_timeout,
            machine_detection=request.machine_detection,
            headers=request.custom_headers,
        )

    def _brief(self, record: CallRecord, agent: EffectiveAgent, capabilities: Capabilities) -> CallBrief:
        config, deadlines = agent.config, agent.policy.deadlines
        return CallBrief(
            record=record,
            capabilities=capabilities,
            speech=self._house.speech,
            max_duration=deadlines.max_duration,
            goodbye=deadlines.goodbye,
            silence=deadlines.silence,
            silence_prompts=config.silence_prompts,
            voicemail=VoicemailAction(config.voicemail.action.value),
            voicemail_message=config.voicemail.message,
        )

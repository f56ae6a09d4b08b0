"""What a call runs with: its agent's texts filled in, and its machine's brief written. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from control.agent_run import AgentDefaults, EffectiveAgent, effective
from control.agents import Agent, AgentConfig
from control.brief import CallBrief, VoicemailAction
from control.call_record import CallRecord
from control.dialling import DialRequest
from control.variables import CallContext, variables
from telephony.capabilities import Capabilities
from telephony.commands import RejectReason


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What holds for every call."""

    defaults: AgentDefaults
    timezone: str = "UTC"
    speech: bool = False
    """Whether fixed text has a voice of its own."""
    answer_wait: float = 2.0


class Reception:
    """Driven by the service, once per call that comes in or is to be made."""

    def __init__(self, house: House) -> None:
        self._house = house

    def effective(
        self,
        agent: Agent,
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
        complete = effective(agent.config, self._house.defaults, variables(given, context))
        policy = replace(complete.policy, controlled=True)
        return replace(complete, policy=policy, signing=agent.signing)

    def to_extract(self, config: AgentConfig) -> Mapping[str, object] | None:
        """Return what an agent wants extracted from its calls; None: nothing."""
        return config.extraction_schema or self._house.defaults.config.extraction_schema

    def unknown_providers(self, config: AgentConfig) -> Iterator[tuple[str, str]]:
        """See `control.agent_run.AgentDefaults.unknown_providers`."""
        return self._house.defaults.unknown_providers(config)

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
            asks_server=config.server_url is not None,
            speech=self._house.speech,
            max_duration=deadlines.max_duration,
            goodbye=deadlines.goodbye,
            silence=deadlines.silence,
            silence_prompts=config.silence_prompts,
            recording_consent=config.recording_consent_prompt,
            voicemail=VoicemailAction(config.voicemail.action.value),
            voicemail_message=config.voicemail.message,
        )

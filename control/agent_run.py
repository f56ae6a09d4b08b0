"""What a call runs with: an agent's configuration, completed by the default agent's, its texts filled in for the call.

Theory of operation. The gateway's settings describe the default agent in three parts: what the bridge obeys
(`CallPolicy`), what the model is asked for (`SessionConfig`), and whatever else an agent may say (`AgentConfig`, which
is `[agents.default]` of the settings file). One mapping serves every call: the default agent's own calls run with an
empty configuration.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from control.agents import AgentConfig, BargeInConfig, DtmfConfig, TurnDetectionConfig
from control.integrations import ProviderAddress, is_account_id
from control.policy import BargeIn, CallPolicy
from control.server_answer import CallChanges
from control.templates import Filling
from control.tool_definition import ToolDefinition
from control.tools import built_in
from control.variables import Variables
from media.realtime.configuration import SessionConfig, ToolSpec

DEFAULT_PROVIDER = "default"
"""The provider that the settings describe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDefaults:
    """The default agent: what every other one takes from it."""

    policy: CallPolicy
    session: SessionConfig
    providers: Mapping[str, SessionConfig] = field(default_factory=dict)
    """What the model of each other provider is asked for, where an agent does not say."""
    config: AgentConfig = AgentConfig(name="default")  # frozen, so it may be shared  # noqa: RUF009
    rate_per_minute: Decimal = Decimal(0)

    def session_of(self, provider: str) -> SessionConfig:
        """What a provider's model is asked for; of one that nobody knows, the default one's."""
        return self.providers.get(provider, self.session)

    def knows(self, provider: str) -> bool:
        return provider == DEFAULT_PROVIDER or provider in self.providers

    def unknown_providers(self, config: AgentConfig) -> Iterator[tuple[str, str]]:
        """Every provider that an agent names and nobody knows, with its JSON pointer.

        Whether there is an account of an id, the store says (`control.stores.agents`).
        """
        for pointer, name in config.provider_names():
            if not self.knows(name) and not is_account_id(name):
                yield pointer, name


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveAgent:
    """An agent as one call gets it."""

    config: AgentConfig
    """Nothing left out that the default agent says, every text filled in."""
    policy: CallPolicy
    session: SessionConfig
    provider: str
    fallbacks: Mapping[str, SessionConfig] = field(default_factory=dict)
    """Who is asked when the provider fails, in this order, for what."""
    rate_per_minute: Decimal
    addresses: Mapping[str, ProviderAddress] = field(default_factory=dict)
    """Where sessions with its tenant's own accounts are opened; with the others it is where the settings say."""
    signing: tuple[str, ...] = field(default=(), repr=False)
    """What proves requests to its servers; none: the gateway's own secret does."""

    def preview(self) -> dict[str, object]:
        """The effective configuration as the API shows it: secrets masked, every tool that the model is told of."""
        return {
            **self.config.model_dump(mode="json"),
            "rate_per_minute": float(self.rate_per_minute),
            "tools_offered": [tool.name for tool in self.session.tools],
        }


def effective(config: AgentConfig, defaults: AgentDefaults, variables: Variables) -> EffectiveAgent:
    """Return what a call of this agent runs with.

    Args:
        variables: everything that its texts may name (`control.variables`).

    Raises:
        TextsUnfilled: a text names a variable that is not there.
    """
    complete = _filled(_completed(config, defaults), variables)
    policy = _policy(complete, defaults.policy)
    rate = complete.rate_per_minute
    provider = complete.provider or DEFAULT_PROVIDER
    return EffectiveAgent(
        config=complete,
        policy=policy,
        session=_session(complete, defaults.session_of(provider), policy),
        provider=provider,
        fallbacks=_fallbacks(complete, provider, defaults, policy),
        rate_per_minute=defaults.rate_per_minute if rate is None else rate,
    )


def changed(agent: EffectiveAgent, changes: CallChanges) -> EffectiveAgent:
    """Return the agent as one call wants it that is different in these respects.

    Raises:
        ValueError: the changed agent does not hold together: a tool that nobody runs, two of one name.
    """
    taken = {name: getattr(changes, name) for name in changes.named() if name != "metadata"}
    config = agent.config.model_copy(update=taken)
    try:
        AgentConfig(
            tools=config.tools, server_url=config.server_url, transfer_targets=config.transfer_targets
        )
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    tools = tool_specs(config)

    def asked(session: SessionConfig) -> SessionConfig:
        return replace(session, instructions=config.instructions or session.instructions, tools=tools)

    return replace(
        agent,
        config=config,
        session=asked(agent.session),
        fallbacks={name: asked(session) for name, session in agent.fallbacks.items()},
        policy=replace(agent.policy, greeting=config.greeting or None),
    )


# What is left out


def _completed(config: AgentConfig, defaults: AgentDefaults) -> AgentConfig:
    """Every field as the agent has it, else as `[agents.default]` has it, else as the settings have it."""
    common_provider = defaults.config.provider or DEFAULT_PROVIDER
    provider = config.provider or common_provider
    by_settings = _of_settings(defaults, provider)
    complete: dict[str, Any] = {}
    for name in AgentConfig.model_fields:
        own, common = getattr(config, name), getattr(defaults.config, name)
        if isinstance(own, BargeInConfig | TurnDetectionConfig | DtmfConfig):
            complete[name] = _merged(_merged(own, common), by_settings[name])
        elif own is not None and name in config.model_fields_set:
            complete[name] = own
        elif name in _OF_THE_PROVIDER and provider != common_provider:
            complete[name] = by_settings[name]  # what the default agent calls it is another provider's word
        elif common is not None and name in defaults.config.model_fields_set:
            complete[name] = common
        else:
            complete[name] = by_settings.get(name, own)
    return config.model_copy(update={**complete, "name": config.name})


_OF_THE_PROVIDER = ("model", "voice")
"""Names that only the agent's own provider knows."""


def _merged(own: Any, common: Any) -> Any:  # noqa: ANN401  # one of the parts, twice the same
    taken = {name: getattr(common, name) for name in type(own).model_fields if getattr(own, name) is None}
    return own.model_copy(update=taken)


def _of_settings(defaults: AgentDefaults, provider: str) -> dict[str, Any]:
    """The settings' own values, in the agent's terms."""
    policy, session = defaults.policy, defaults.session_of(provider)
    turns = session.turn_detection
    return {
        "provider": DEFAULT_PROVIDER,
        "model": session.model,
        "voice": session.voice,
        "language": session.language,
        "instructions": session.instructions,
        "greeting": policy.greeting or "",
        "turn_detection": TurnDetectionConfig.model_construct(
            type=turns.kind,
            threshold=turns.threshold,
            prefix_padding_ms=turns.prefix_padding_ms,
            silence_duration_ms=turns.silence_duration_ms,
            eagerness=turns.eagerness,
        ),
        "recording": policy.record,
        "max_duration_seconds": policy.deadlines.max_duration,
        "silence_timeout_seconds": policy.deadlines.silence,
        "barge_in": BargeInConfig.model_construct(
            enabled=policy.barge_in.enabled,
            min_speech_ms=round(policy.barge_in.min_speech * 1000),
            protect_greeting=policy.barge_in.protect_greeting,
        ),
        "dtmf": DtmfConfig.model_construct(
            to_model=policy.digits.to_model, interrupts=policy.digits.interrupts
        ),
    }


# Texts


def _filled(config: AgentConfig, variables: Variables) -> AgentConfig:
    filling = Filling(variables)
    texts = {pointer: filling.text(pointer, text) for pointer, text in config.texts()}
    filling.finish()
    voicemail = config.voicemail
    if voicemail.message is not None:
        voicemail = voicemail.model_copy(update={"message": texts["/voicemail/message"]})
    return config.model_copy(
        update={
            **{name: texts[f"/{name}"] for name in _PLAIN_TEXTS if f"/{name}" in texts},
            "silence_prompts": tuple(
                texts[f"/silence_prompts/{index}"] for index in range(len(config.silence_prompts))
            ),
            "voicemail": voicemail,
            "tools": tuple(_tool(index, tool, texts) for index, tool in enumerate(config.tools)),
        }
    )


_PLAIN_TEXTS = ("instructions", "greeting", "recording_consent_prompt")


def _tool(index: int, tool: ToolDefinition, texts: Mapping[str, str]) -> ToolDefinition:
    phrase = texts.get(f"/tools/{index}/filler/phrase")
    if phrase is None or tool.filler is None:
        return tool
    return tool.model_copy(update={"filler": tool.filler.model_copy(update={"phrase": phrase})})


# What the bridge obeys, and what the model is asked for


def _policy(config: AgentConfig, common: CallPolicy) -> CallPolicy:
    """The configuration is complete; nothing of it is None that has a place here, except the silence."""
    barge_in, digits, turns = config.barge_in, config.dtmf, config.turn_detection
    return replace(
        common,
        greeting=config.greeting or None,
        barge_in=BargeIn(
            enabled=bool(barge_in.enabled),
            min_speech=(barge_in.min_speech_ms or 0) / 1000,
            protect_greeting=bool(barge_in.protect_greeting),
        ),
        digits=replace(common.digits, to_model=bool(digits.to_model), interrupts=bool(digits.interrupts)),
        deadlines=replace(
            common.deadlines,
            silence=config.silence_timeout_seconds,
            max_duration=config.max_duration_seconds or common.deadlines.max_duration,
        ),
        vad_silence=(turns.silence_duration_ms or 0) / 1000,
        record=_records_at_once(config),
    )


def _records_at_once(config: AgentConfig) -> bool:
    """Whether the media records from its beginning: where there is a prompt to be said first, it is told to later."""
    return bool(config.recording) and config.recording_consent_prompt is None


def recorded(agent: EffectiveAgent, wanted: bool) -> EffectiveAgent:
    """Return the agent as a call runs with it that is to be recorded, or not, whatever the agent says."""
    config = agent.config.model_copy(update={"recording": wanted})
    return replace(agent, config=config, policy=replace(agent.policy, record=_records_at_once(config)))


def _fallbacks(
    config: AgentConfig, provider: str, defaults: AgentDefaults, policy: CallPolicy
) -> dict[str, SessionConfig]:
    """Those that there are, with models and voices of their own: the agent's are its provider's words."""
    plain = config.model_copy(update=dict.fromkeys(_OF_THE_PROVIDER))
    return {
        name: _session(plain, defaults.session_of(name), policy)
        for name in config.fallback_providers
        if name != provider and (defaults.knows(name) or is_account_id(name))
    }


def _session(config: AgentConfig, common: SessionConfig, policy: CallPolicy) -> SessionConfig:
    # Where the gateway decides a barge-in, the model must neither interrupt nor answer by itself.
    ours = policy.barge_in.ours
    turns = config.turn_detection
    given = {
        "kind": turns.type,
        "threshold": turns.threshold,
        "prefix_padding_ms": turns.prefix_padding_ms,
        "silence_duration_ms": turns.silence_duration_ms,
        "eagerness": turns.eagerness,
    }
    detection: Any = {name: value for name, value in given.items() if value is not None}
    return replace(
        common,
        model=config.model or common.model,
        voice=config.voice or common.voice,
        instructions=config.instructions or common.instructions,
        turn_detection=replace(
            common.turn_detection,
            create_response=not ours,
            interrupt_response=not ours,
            **detection,
        ),
        # Transcription models take the language alone: ISO 639-1.
        language=config.language.partition("-")[0] if config.language is not None else None,
        tools=tool_specs(config),
    )


def tool_specs(config: AgentConfig) -> tuple[ToolSpec, ...]:
    """Every tool that the model is told of."""
    own = [
        ToolSpec(tool.name, tool.description, tool.parameters) for tool in config.tools if not tool.built_in
    ]
    return (*own, *built_in.specs(config))

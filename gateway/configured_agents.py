"""The settings as agents: the default one, those of the file, what a call of each runs with and what it costs."""

from dataclasses import replace
from datetime import datetime

from control.agent_run import AgentDefaults, EffectiveAgent, effective
from control.agents import AgentConfig, settings_agent
from control.costs import Tariff
from control.directory import Directory, Unlisted, number_entry
from control.integrations import ProviderAddress
from control.policy import BargeIn, CallPolicy, Deadlines, DigitPolicy
from control.variables import CallContext, variables
from gateway.call_runner import AgentProvider
from gateway.provider_config import Format, ProviderConfig
from gateway.settings import Settings
from media.audio import PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from media.realtime.configuration import SessionConfig, TurnDetection
from media.realtime.dialects import DIALECTS

DEFAULT = "default"

# `auto` asks for PCMU: what most calls bring, and what is not transcoded then. An A-law leg costs a table look-up.
FORMATS: dict[Format, AudioFormat] = {
    "auto": PCMU_8K,
    "pcmu": PCMU_8K,
    "pcma": PCMA_8K,
    "pcm16": PCM16_24K,
}


def agent_defaults(settings: Settings) -> AgentDefaults:
    """The default agent, as the settings describe it."""
    return AgentDefaults(
        policy=_policy(settings),
        session=_session(settings),
        providers={name: _session_of(settings, each) for name, each in settings.providers.items()},
        config=settings.agents.get(DEFAULT, AgentConfig(name=DEFAULT)),
        rate_per_minute=settings.rate_per_minute,
    )


def tariff(settings: Settings) -> Tariff:
    """What everything beside the carrier's minutes costs."""
    return Tariff(
        currency=settings.currency,
        models={model: price.price() for model, price in settings.prices.items()},
        llm_discount_percent=settings.llm_discount_percent,
        recording_per_minute=settings.recording_rate_per_minute,
        transfer_per_minute=settings.transfer_rate_per_minute,
    )


def directory(settings: Settings, now: datetime) -> Directory:
    """The agents and numbers of the settings file.

    Raises:
        ValueError: a number is given an agent that is not there (`offhook check` says which).
    """
    agents = {DEFAULT: AgentConfig(name=DEFAULT), **settings.agents}
    return Directory(
        default=settings_agent(DEFAULT, agents.pop(DEFAULT), now),
        agents=[settings_agent(key, config, now) for key, config in agents.items()],
        numbers=[number_entry(number, entry) for number, entry in settings.numbers.items()],
        unlisted=Unlisted(settings.inbound_default),
    )


def default_agent(settings: Settings, now: datetime) -> EffectiveAgent:
    """What a call runs with of which nothing is known: a media socket that came without a call of ours.

    Raises:
        TextsUnfilled: a text of the default agent names a variable that such a call does not bring.
    """
    known = variables({}, CallContext(now=now, timezone=settings.timezone))
    return effective(AgentConfig(name=DEFAULT), agent_defaults(settings), known)


def agent_providers(settings: Settings, agent: EffectiveAgent) -> tuple[AgentProvider, ...]:
    """Where this agent's sessions are opened and how they are configured; first its own provider, then those that are
    asked when that one fails."""
    sessions = {agent.provider: agent.session, **agent.fallbacks}
    return tuple(
        _provider(settings, name, session)
        if (address := agent.addresses.get(name)) is None
        else _stored(name, address, session)
        for name, session in sessions.items()
    )


def _stored(name: str, address: ProviderAddress, session: SessionConfig) -> AgentProvider:
    """An account of the agent's tenant."""
    return AgentProvider(
        name=name,
        url=address.url,
        api_key=address.api_key,
        config=session,
        dialect=DIALECTS[address.dialect],
    )


def _provider(settings: Settings, name: str, session: SessionConfig) -> AgentProvider:
    """The provider of that name; one that is not there is the default one."""
    named = settings.providers.get(name)
    key = settings.realtime_api_key if named is None else named.api_key
    return AgentProvider(
        name=name,
        url=settings.realtime_url if named is None else named.url,
        api_key=key.get_secret_value() if key is not None else "",
        config=session,
        dialect=DIALECTS[settings.realtime_dialect if named is None else named.dialect],
    )


def _policy(settings: Settings) -> CallPolicy:
    return CallPolicy(
        greeting=settings.realtime_greeting,
        barge_in=BargeIn(
            enabled=settings.barge_in,
            min_speech=settings.barge_in_min_speech_ms / 1000,
            protect_greeting=settings.barge_in_protect_greeting,
        ),
        digits=DigitPolicy(
            to_model=settings.dtmf_to_model,
            interrupts=settings.dtmf_interrupts,
            in_band=settings.dtmf_in_band,
        ),
        deadlines=Deadlines(
            close_grace=settings.close_grace_s,
            media_watchdog=settings.media_watchdog_s,
            silence=settings.silence_timeout_s,
            max_duration=settings.max_duration_s,
            goodbye=settings.goodbye_s,
        ),
        lead=settings.lead_ms / 1000,
        heard_offset=settings.heard_offset_ms / 1000,
        uplink_frames=settings.uplink_ms // 20,
        vad_silence=settings.vad_silence_ms / 1000,
        record=settings.recording,
    )


def _session_of(settings: Settings, provider: ProviderConfig) -> SessionConfig:
    """What the model of another provider is asked for."""
    common = _session(settings)
    heard, said = provider.input_format, provider.output_format
    return replace(
        common,
        model=provider.model,
        voice=provider.voice or common.voice,
        input_format=common.input_format if heard is None else FORMATS[heard],
        output_format=common.output_format if said is None else FORMATS[said],
        transcription_model=provider.transcription_model or common.transcription_model,
    )


def _session(settings: Settings) -> SessionConfig:
    return SessionConfig(
        model=settings.realtime_model,
        voice=settings.realtime_voice,
        instructions=settings.realtime_instructions,
        input_format=FORMATS[settings.realtime_input_format],
        output_format=FORMATS[settings.realtime_output_format],
        turn_detection=TurnDetection(
            kind=settings.turn_detection,
            threshold=settings.vad_threshold,
            prefix_padding_ms=settings.vad_prefix_ms,
            silence_duration_ms=settings.vad_silence_ms,
            eagerness=settings.vad_eagerness,
        ),
        transcription_model=settings.realtime_transcription_model,
        language=settings.realtime_language,
    )

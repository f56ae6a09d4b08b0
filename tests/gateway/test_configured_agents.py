"""The settings as agents."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from control.agent_run import effective
from control.agents import AgentConfig
from control.templates import TextsUnfilled
from gateway.configured_agents import agent_defaults, agent_providers, default_agent, directory, tariff
from gateway.settings import Settings
from media.realtime.dialects import DIALECTS
from media.realtime.usage import Price
from tests.gateway.test_settings import nowhere

__all__ = ["nowhere"]  # the fixture, for every test here

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
NUMBER = "+13125550100"


def settings(**values: object) -> Settings:
    return Settings.model_validate(values)


def test_the_default_agent_is_what_the_settings_say() -> None:
    agent = default_agent(
        settings(
            realtime_model="m",
            realtime_voice="v",
            realtime_greeting="It is {{time}}.",
            timezone="Europe/Vienna",
            vad_silence_ms=300,
            barge_in_min_speech_ms=250,
            dtmf_interrupts=True,
            silence_timeout_s=9,
            lead_ms=100,
            recording=False,
        ),
        NOW,
    )
    assert (agent.session.model, agent.session.voice) == ("m", "v")
    assert agent.policy.greeting == "It is 13:00."
    assert (agent.policy.vad_silence, agent.policy.barge_in.min_speech, agent.policy.lead) == (0.3, 0.25, 0.1)
    assert (agent.policy.digits.interrupts, agent.policy.record) == (True, False)
    assert agent.policy.deadlines.silence == 9


def test_a_barge_in_that_the_gateway_decides_is_taken_from_the_model() -> None:
    ours = default_agent(settings(barge_in_min_speech_ms=300), NOW).session.turn_detection
    theirs = default_agent(settings(), NOW).session.turn_detection
    assert (ours.create_response, ours.interrupt_response) == (False, False)
    assert (theirs.create_response, theirs.interrupt_response) == (True, True)


def test_the_default_agents_table_adds_to_the_settings() -> None:
    given = settings(realtime_voice="v", agents={"default": {"end_call_enabled": True, "language": "en"}})
    agent = default_agent(given, NOW)
    assert [tool.name for tool in agent.session.tools] == ["end_call"]
    assert (agent.session.voice, agent.session.language) == ("v", "en")
    assert [each.agent_id for each in directory(given, NOW).agents()] == ["agent_default"]


def test_a_variable_that_no_call_brings_is_told() -> None:
    with pytest.raises(TextsUnfilled, match="unknown variable company"):
        default_agent(settings(realtime_instructions="You work for {{company}}."), NOW)


def test_an_agents_session_is_opened_where_the_settings_say() -> None:
    given = settings(realtime_url="wss://example.com/", realtime_dialect="xai", realtime_api_key="k")
    agent = effective(AgentConfig(voice="eve"), agent_defaults(given), {})
    (provider,) = agent_providers(given, agent)
    assert (provider.url, provider.api_key, provider.dialect) == ("wss://example.com/", "k", DIALECTS["xai"])
    assert provider.config.voice == "eve"


def test_other_providers_have_addresses_keys_and_models_of_their_own() -> None:
    spare = {
        "url": "wss://spare.example.com/",
        "api_key": "s",
        "dialect": "xai",
        "model": "grok",
        "voice": "eve",
    }
    given = settings(realtime_api_key="k", realtime_model="gpt", providers={"spare": spare})
    config = AgentConfig(
        model="gpt-mini", voice="marin", instructions="Help.", fallback_providers=("none", "spare")
    )
    first, second = agent_providers(given, effective(config, agent_defaults(given), {}))
    assert (first.name, first.config.model, first.config.voice) == ("default", "gpt-mini", "marin")
    assert (second.name, second.url, second.api_key) == ("spare", "wss://spare.example.com/", "s")
    assert second.dialect == DIALECTS["xai"]
    assert (second.config.model, second.config.voice) == ("grok", "eve")
    assert second.config.instructions == "Help."


def test_an_agent_may_run_on_another_provider_and_fall_back_on_the_default_one() -> None:
    spare = {"url": "wss://spare.example.com/", "model": "grok", "input_format": "pcm16"}
    given = settings(
        realtime_api_key="k",
        realtime_model="gpt",
        providers={"spare": spare},
        agents={"default": {"model": "gpt-mini"}},
    )
    config = AgentConfig(provider="spare", fallback_providers=("spare", "default"))
    first, second = agent_providers(given, effective(config, agent_defaults(given), {}))
    # The default agent's model is a name of the default provider's.
    assert (first.name, first.config.model, first.api_key) == ("spare", "grok", "")
    assert str(first.config.input_format) == "L16/24000"
    assert (second.name, second.config.model, second.api_key) == ("default", "gpt", "k")


@pytest.mark.parametrize(
    ("values", "called", "answered_by"),
    [
        ({}, NUMBER, "default"),
        ({"numbers": {NUMBER: "sales"}}, NUMBER, "sales"),
        ({"numbers": {NUMBER: {"agent": "sales", "carrier": "twilio"}}}, NUMBER, None),
        ({"numbers": {NUMBER: "sales"}}, "+13125559999", None),
        ({"numbers": {NUMBER: "sales"}, "inbound_default": "default-agent"}, "+13125559999", "default"),
        ({"inbound_default": "reject"}, NUMBER, None),
        ({"numbers": {NUMBER: "default"}}, NUMBER, "default"),
    ],
)
def test_who_answers_a_call_over_telnyx(
    values: dict[str, object], called: str, answered_by: str | None
) -> None:
    book = directory(settings(agents={"sales": {}}, **values), NOW)
    found = book.answering(called, carrier="telnyx") or book.otherwise(any_stored=False)
    assert (found.config.name if found is not None else None) == answered_by


def test_what_calls_cost_is_the_settings() -> None:
    given = settings(
        currency="EUR",
        rate_per_minute=0.0125,
        recording_rate_per_minute="0.002",
        llm_discount_percent=20,
        prices={"my-model": {"audio_in": 10, "audio_out": "20.5"}},
    )
    assert default_agent(given, NOW).rate_per_minute == Decimal("0.0125")
    prices = tariff(given)
    assert (prices.currency, prices.recording_per_minute, prices.llm_discount_percent) == (
        "EUR",
        Decimal("0.002"),
        Decimal(20),
    )
    assert prices.price("my-model") == Price(audio_in=Decimal(10), audio_out=Decimal("20.5"))

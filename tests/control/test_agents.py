"""An agent as its user writes it down."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from control.agents import AgentConfig, Source, ad_hoc_agent, settings_agent

NOW = datetime(2026, 11, 25, tzinfo=UTC)
# The fields of the agent in the API's contract, in its order; `agent_id` and `version` are not configured.
CONTRACT = [
    "name",
    "from_number",
    "provider",
    "model",
    "voice",
    "language",
    "instructions",
    "greeting",
    "tools",
    "turn_detection",
    "recording",
    "recording_consent_prompt",
    "max_duration_seconds",
    "silence_timeout_seconds",
    "silence_prompts",
    "barge_in",
    "voicemail",
    "dtmf",
    "end_call_enabled",
    "transfer_targets",
    "server_url",
    "webhook_url",
    "extraction_schema",
    "fallback_providers",
    "rate_per_minute",
    "metadata",
]

RECEPTION: dict[str, object] = {
    "name": "reception",
    "from_number": "+1 312 555 0100",
    "instructions": "You work for {{company}}.",
    "greeting": "Greet {{customer.number}}.",
    "silence_prompts": ["Are you there, {{company}}?"],
    "voicemail": {"action": "leave_message", "message": "Call {{company}} back."},
    "transfer_targets": [{"name": "billing", "destination": "sip:billing@pbx.example"}],
    "tools": [
        {
            "name": "look_up",
            "url": "https://example.com/look-up",
            "headers": {"X-Key": "very-secret"},
            "filler": {"phrase": "One moment, {{first_name}}."},
        }
    ],
    "rate_per_minute": "0.0125",
    "metadata": {"team": {"id": 7}},
}


def agent(**changes: object) -> AgentConfig:
    return AgentConfig.model_validate({**RECEPTION, **changes})


def test_the_fields_are_those_of_the_contract_and_each_says_what_it_is() -> None:
    assert list(AgentConfig.model_fields) == CONTRACT
    assert [name for name, field in AgentConfig.model_fields.items() if not field.description] == []


def test_an_empty_agent_is_one() -> None:
    assert AgentConfig().wanted() == set()


def test_values_are_canonical() -> None:
    assert agent().from_number == "+13125550100"
    assert agent().rate_per_minute == Decimal("0.0125")


def test_the_variables_of_every_text_are_known() -> None:
    assert agent().wanted() == {"company", "customer.number", "first_name"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"greting": "x"}, "greting"),
        ({"from_number": "3125550100"}, r"E\.164"),
        ({"instructions": "{{"}, "line 1"),
        ({"greeting": "{% for x in y %}{% endfor %}"}, "not allowed"),
        ({"instructions": "x" * 40_000}, "32000"),
        ({"max_duration_seconds": 86_400}, "14400"),
        ({"silence_timeout_seconds": 0}, "silence_timeout_seconds"),
        ({"voicemail": {"action": "leave_message"}}, "needs a message"),
        ({"transfer_targets": [{"name": "police", "destination": "911"}]}, r"E\.164"),
        ({"transfer_targets": [{"name": "a", "destination": "+13125550100"}] * 2}, "more than once"),
        ({"tools": [{"name": "a", "url": "https://example.com"}] * 2}, "more than once"),
        ({"tools": [{"name": "a"}]}, "no server_url"),
        ({"tools": [{"name": "transfer_call"}], "transfer_targets": []}, "needs transfer_targets"),
        ({"extraction_schema": {"type": "string"}}, "object"),
        ({"webhook_url": "example.com"}, "http or https"),
        ({"rate_per_minute": -1}, "rate_per_minute"),
        ({"metadata": {"a": "x" * 20_000}}, "16000"),
        ({"barge_in": {"min_speech_ms": 9_000}}, "5000"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_repeated(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why) as refused:
        agent(**changes)
    assert "very-secret" not in str(refused.value)


def test_a_tool_without_a_url_is_asked_of_the_server() -> None:
    assert agent(tools=[{"name": "a"}], server_url="https://example.com/hook").tools[0].url is None


def test_the_store_gets_the_whole_and_nobody_else_the_secrets() -> None:
    config = agent()
    assert AgentConfig.model_validate(config.with_secrets()) == config
    assert "very-secret" not in repr(config)
    assert "very-secret" not in config.model_dump_json()


def test_an_agent_of_the_settings_has_the_same_ids_after_a_restart() -> None:
    first, again = (settings_agent("reception", agent(), NOW) for _ in range(2))
    assert first == again
    assert (first.agent_id, first.source) == ("agent_reception", Source.SETTINGS)
    ids = [tool.tool_id for tool in first.config.tools]
    assert len(set(ids)) == len(agent().tools)
    assert all(each is not None and each.startswith("tool_") for each in ids)
    other = settings_agent("sales", agent(), NOW)
    assert other.config.tools[0].tool_id != ids[0]


def test_what_is_left_out_or_null_is_told_apart_from_what_is_empty() -> None:
    said = AgentConfig.model_validate({"name": "a", "voice": None, "silence_prompts": []}).said()
    assert (said["name"], said["silence_prompts"]) == ("a", ())
    assert [said[name] for name in ("voice", "tools", "end_call_enabled", "metadata")] == [None] * 4


def test_the_same_ad_hoc_agent_has_the_same_id_whatever_its_secrets() -> None:
    first, again = ad_hoc_agent(agent(), NOW), ad_hoc_agent(agent(), NOW)
    other = ad_hoc_agent(agent(voice="cedar"), NOW)
    assert first.agent_id == again.agent_id != other.agent_id
    assert first.source is Source.AD_HOC


def test_its_schema_is_documentation() -> None:
    schema = AgentConfig.model_json_schema()
    assert schema["additionalProperties"] is False
    assert schema["properties"]["greeting"]["description"].startswith("What the model is asked to say first")

"""What a call runs with: the agent's own, else the default agent's, its texts filled in."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.agent_run import AgentDefaults, EffectiveAgent, effective
from control.agents import AgentConfig
from control.policy import BargeIn, CallPolicy, Deadlines, DigitPolicy
from control.templates import TextsUnfilled
from media.audio import PCMU_8K
from media.realtime.configuration import SessionConfig, TurnDetection

DEFAULTS = AgentDefaults(
    policy=CallPolicy(
        greeting="Say hello to {{customer.number}}.",
        barge_in=BargeIn(min_speech=0.25),
        digits=DigitPolicy(in_band=True),
        deadlines=Deadlines(silence=20.0, max_duration=900.0, goodbye=7.0),
        lead=0.3,
        vad_silence=0.4,
    ),
    session=SessionConfig(
        model="gpt-realtime-2.1",
        voice="marin",
        instructions="Be brief.",
        input_format=PCMU_8K,
        output_format=PCMU_8K,
        turn_detection=TurnDetection(threshold=0.6, silence_duration_ms=400),
        transcription_model="gpt-transcribe",
        language="en",
    ),
    rate_per_minute=Decimal("0.01"),
)
VARIABLES = {"customer": {"number": "+13125550100"}, "company": "Acme"}


def run(defaults: AgentDefaults = DEFAULTS, **config: object) -> EffectiveAgent:
    return effective(AgentConfig.model_validate(config), defaults, VARIABLES)


def test_an_empty_agent_runs_as_the_settings_say() -> None:
    agent = run()
    assert agent.policy == replace(DEFAULTS.policy, greeting="Say hello to +13125550100.")
    ours = replace(DEFAULTS.session.turn_detection, create_response=False, interrupt_response=False)
    assert agent.session == replace(DEFAULTS.session, turn_detection=ours)
    assert (agent.provider, agent.rate_per_minute) == ("default", Decimal("0.01"))


def test_what_an_agent_says_counts_and_the_rest_is_the_settings() -> None:
    agent = run(
        voice="cedar",
        language="de-AT",
        instructions="You work for {{company}}.",
        turn_detection={"threshold": 0.9},
        barge_in={"min_speech_ms": 0},
        dtmf={"interrupts": True},
        max_duration_seconds=60,
        recording=False,
        rate_per_minute=0.02,
    )
    assert (agent.session.voice, agent.session.language) == ("cedar", "de")
    assert agent.session.instructions == "You work for Acme."
    assert agent.session.turn_detection == TurnDetection(threshold=0.9, silence_duration_ms=400)
    assert agent.policy.barge_in == BargeIn()
    assert agent.policy.digits == DigitPolicy(interrupts=True, in_band=True)
    assert agent.policy.deadlines == Deadlines(silence=20.0, max_duration=60.0, goodbye=7.0)
    assert agent.policy.record is False
    assert agent.rate_per_minute == Decimal("0.02")


def test_an_empty_greeting_lets_the_caller_speak_first() -> None:
    assert run(greeting="").policy.greeting is None


@pytest.mark.parametrize(
    ("barge_in", "model_decides"),
    [
        ({"min_speech_ms": 0}, True),
        ({"min_speech_ms": 300}, False),
        ({"min_speech_ms": 0, "protect_greeting": True}, False),
        ({"min_speech_ms": 0, "enabled": False}, False),
    ],
)
def test_a_barge_in_that_the_gateway_decides_is_taken_from_the_model(
    barge_in: dict[str, object], model_decides: bool
) -> None:
    turns = run(barge_in=barge_in).session.turn_detection
    assert (turns.create_response, turns.interrupt_response) == (model_decides, model_decides)


def test_the_default_agents_table_stands_between_an_agent_and_the_settings() -> None:
    table = AgentConfig.model_validate(
        {
            "voice": "ash",
            "barge_in": {"protect_greeting": True},
            "silence_prompts": ["Still there?"],
            "end_call_enabled": True,
        }
    )
    defaults = replace(DEFAULTS, config=table)
    taken = run(defaults)
    assert (taken.session.voice, taken.policy.barge_in.protect_greeting) == ("ash", True)
    assert taken.config.silence_prompts == ("Still there?",)
    own = run(defaults, voice="cedar", silence_prompts=[], end_call_enabled=False)
    assert (own.session.voice, own.config.silence_prompts, own.session.tools) == ("cedar", (), ())


def test_every_text_is_filled_in() -> None:
    config = run(
        greeting="Hello from {{company}}.",
        recording_consent_prompt="{{company}} records this.",
        silence_prompts=["One", "{{company}}?"],
        voicemail={"action": "leave_message", "message": "{{company}} called."},
        tools=[{"name": "a", "url": "https://example.com", "filler": {"phrase": "{{company}} looks."}}],
    ).config
    assert "{{" not in config.model_dump_json()
    assert config.silence_prompts == ("One", "Acme?")
    assert config.voicemail.message == "Acme called."


def test_nothing_is_recorded_where_consent_is_to_be_asked_for_first() -> None:
    assert run(recording=True).policy.record is True
    assert run(recording=True, recording_consent_prompt="This is recorded.").policy.record is False


def test_an_unknown_variable_is_told_by_its_name_and_place() -> None:
    with pytest.raises(TextsUnfilled) as refused:
        run(greeting="Hello {{first_name}}", silence_prompts=["{{city}}?"])
    assert [(fault.pointer, fault.detail) for fault in refused.value.faults] == [
        ("/greeting", "unknown variable first_name"),
        ("/silence_prompts/0", "unknown variable city"),
    ]


def test_the_model_is_told_of_the_agents_own_tools_and_of_those_that_are_on() -> None:
    agent = run(
        tools=[
            {"name": "look_up", "description": "Looks up.", "url": "https://example.com"},
            {"name": "send_dtmf"},
        ],
        end_call_enabled=True,
        transfer_targets=[{"name": "billing", "destination": "+13125550100"}],
    )
    assert [tool.name for tool in agent.session.tools] == [
        "look_up",
        "end_call",
        "transfer_call",
        "send_dtmf",
    ]


def test_a_preview_says_what_counts_and_no_secret() -> None:
    shown = run(
        tools=[{"name": "a", "url": "https://example.com", "headers": {"X": "very-secret"}}],
        end_call_enabled=True,
    ).preview()
    assert (shown["voice"], shown["max_duration_seconds"], shown["rate_per_minute"]) == ("marin", 900.0, 0.01)
    assert shown["tools_offered"] == ["a", "end_call"]
    assert "very-secret" not in repr(shown)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "voice": st.sampled_from(["cedar", "ash"]),
            "greeting": st.sampled_from(["", "Hello."]),
            "silence_timeout_seconds": st.integers(2, 60),
            "barge_in": st.fixed_dictionaries({}, optional={"enabled": st.booleans()}),
            "end_call_enabled": st.booleans(),
        },
    )
)
def test_what_a_call_runs_with_leaves_nothing_to_take_from_the_default(config: dict[str, object]) -> None:
    once = effective(AgentConfig.model_validate(config), DEFAULTS, VARIABLES)
    again = effective(once.config, replace(DEFAULTS, config=AgentConfig(voice="other")), VARIABLES)
    assert (again.policy, again.session) == (once.policy, once.session)

"""What agents' servers are told, and what they may change: nothing that does not hold together."""

import pytest
from pydantic import ValidationError

from control.agent_run import EffectiveAgent, changed
from control.agents import AgentConfig
from control.server_answer import CallChanges, call_started, transcript_updated
from control.service.reception import Reception
from tests.contracts.records import call
from tests.control.service_scene import BEGUN, an_agent, house


def agent(**config: object) -> EffectiveAgent:
    configured = AgentConfig.model_validate(
        {"name": "sales", "server_url": "https://example.com/hook", **config}
    )
    return Reception(house()).effective(an_agent(configured), {}, customer=None, headers={}, now=BEGUN)


def test_what_is_named_is_different_and_everything_else_as_it_was() -> None:
    before = agent(instructions="Sell.", greeting="Say hello.", end_call_enabled=True)
    after = changed(
        before,
        CallChanges.model_validate({"instructions": "Help.", "tools": [{"name": "look_up"}]}),
    )
    assert (after.session.instructions, after.policy.greeting) == ("Help.", "Say hello.")
    assert [tool.name for tool in after.session.tools] == ["look_up", "end_call"]
    assert after.policy == before.policy
    assert changed(before, CallChanges()) == before


def test_an_empty_greeting_lets_the_caller_speak_first() -> None:
    assert changed(agent(greeting="Say hello."), CallChanges(greeting="")).policy.greeting is None


def test_texts_are_taken_as_they_are() -> None:
    assert changed(agent(), CallChanges(greeting="Say {{name}}.")).policy.greeting == "Say {{name}}."


def test_tools_that_do_not_fit_the_agent_are_refused_with_why() -> None:
    twice = CallChanges.model_validate({"tools": [{"name": "a"}, {"name": "a"}]})
    with pytest.raises(ValueError, match=r"^a is there more than once$"):
        changed(agent(), twice)
    nobody = CallChanges.model_validate({"tools": [{"name": "transfer_call"}]})
    with pytest.raises(ValueError, match=r"^transfer_call needs transfer_targets$"):
        changed(agent(), nobody)


@pytest.mark.parametrize(
    "wrong",
    [
        {"instructions": ""},
        {"greeting": 7},
        {"tools": "look_up"},
        {"tools": [{"name": "look up"}]},
        {"metadata": {"all": "x" * 20_000}},
        {"extraction_schema": {"type": "odd"}},
        {"voice": "marin"},
    ],
)
def test_what_is_no_change_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CallChanges.model_validate(wrong)


def test_a_server_is_told_which_call_it_is() -> None:
    record = call(agent_id="agent_1", metadata={"order": 7})
    told = call_started(record)
    assert told["event"] == "call.started"
    assert (told["call_id"], told["agent_id"], told["metadata"]) == (record.call_id, "agent_1", {"order": 7})
    assert (told["direction"], told["from_number"]) == ("inbound", record.from_number)
    said = transcript_updated(record, 3, "user", "Hello?")
    assert (said["event"], said["number"], said["role"], said["text"]) == (
        "transcript.updated",
        3,
        "user",
        "Hello?",
    )

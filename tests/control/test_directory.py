"""Who answers a call to which number."""

from datetime import UTC, datetime

import pytest

from control.agents import Agent, AgentConfig, settings_agent
from control.directory import Directory, NumberConfig, NumberEntry, Unlisted, number_entry

NOW = datetime(2026, 11, 25, tzinfo=UTC)
RECEPTION = "+13125550100"
SALES = "+13125550101"
SPARE = "+13125550102"


def named(key: str) -> Agent:
    return settings_agent(key, AgentConfig(name=key), NOW)


def directory(unlisted: Unlisted = Unlisted.REJECT) -> Directory:
    return Directory(
        default=named("default"),
        agents=[named("reception"), named("sales")],
        numbers=[
            NumberEntry(number=RECEPTION, agent="reception"),
            NumberEntry(number=SALES, agent="sales", carrier="telnyx"),
            NumberEntry(number=SPARE, carrier="twilio"),
        ],
        unlisted=unlisted,
    )


def answering(called: str | None, carrier: str = "telnyx") -> str | None:
    agent = directory().answering(called, carrier=carrier)
    return None if agent is None else agent.config.name


@pytest.mark.parametrize("called", [RECEPTION, "+1 (312) 555-0100"])
@pytest.mark.parametrize("carrier", ["telnyx", "twilio"])
def test_a_number_is_answered_by_its_agent(called: str, carrier: str) -> None:
    assert answering(called, carrier) == "reception"


@pytest.mark.parametrize(
    ("called", "carrier"),
    [
        ("+13125559999", "telnyx"),  # not listed
        (SALES, "twilio"),  # another carrier's: its signature does not speak for this number
        (SPARE, "twilio"),  # listed, for calls out of it
        ("sip:sales@pbx.example", "telnyx"),
        ("anonymous", "telnyx"),
        (None, "telnyx"),
    ],
)
def test_a_number_that_is_not_listed_for_its_account_is_answered_by_nobody(
    called: str | None, carrier: str
) -> None:
    assert answering(called, carrier) is None


@pytest.mark.parametrize(
    ("unlisted", "any_listed", "any_stored", "expected"),
    [
        (Unlisted.DEFAULT_AGENT, True, True, "default"),
        (Unlisted.REJECT, False, False, None),
        (Unlisted.AUTO, False, False, "default"),
        (Unlisted.AUTO, True, False, None),
        (Unlisted.AUTO, False, True, None),
    ],
)
def test_other_numbers_are_the_default_agents_or_nobodys(
    unlisted: Unlisted, any_listed: bool, any_stored: bool, expected: str | None
) -> None:
    listed = [NumberEntry(number=SPARE)] if any_listed else []
    found = Directory(default=named("default"), numbers=listed, unlisted=unlisted)
    agent = found.otherwise(any_stored=any_stored)
    assert (agent.config.name if agent is not None else None) == expected


def test_another_account_of_the_same_carrier_does_not_speak_for_the_number() -> None:
    assert directory().answering(SALES, carrier="telnyx", integration_id="other") is None


def test_agents_are_found_by_id_and_by_name() -> None:
    found = directory()
    assert found.agent("agent_sales") is found.agent("sales") is not None
    assert found.agent("default") is found.default
    assert found.agent("nobody") is None
    assert [agent.agent_id for agent in found.agents()] == ["agent_default", "agent_reception", "agent_sales"]


def test_a_number_tells_through_which_carrier_it_calls() -> None:
    found = directory().number("+1 312 555 0101")
    assert found is not None
    assert (found.carrier, found.integration_id) == ("telnyx", "default")
    assert directory().number("+13125559999") is None
    assert len(directory().numbers()) == 3


def test_a_number_without_its_agent_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="not there"):
        Directory(default=named("default"), numbers=[NumberEntry(number=SALES, agent="sales")])
    with pytest.raises(ValueError, match="two agents"):
        Directory(default=named("default"), agents=[named("sales"), named("sales")])


def test_an_entry_of_the_settings_file_becomes_a_number() -> None:
    config = NumberConfig(agent="sales", carrier="twilio", integration="second")
    assert number_entry(SALES, config) == NumberEntry(
        number=SALES, agent="sales", carrier="twilio", integration_id="second"
    )

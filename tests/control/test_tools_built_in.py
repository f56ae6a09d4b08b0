"""The gateway's own tools: who has them, and what a call of one asks."""

import pytest
from openai.types.realtime import RealtimeFunctionTool

from control.agents import AgentConfig
from control.json_schema import check_schema
from control.requests import EndCall, Gather, SendDigits, TransferCall
from control.tool_definition import BUILT_IN
from control.tools.built_in import is_enabled, parameters, request_of, specs
from control.tools.request import ArgumentsRefused

EVERYTHING = AgentConfig.model_validate(
    {
        "language": "de-AT",
        "end_call_enabled": True,
        "transfer_targets": [
            {"name": "billing", "destination": "+13125550100", "description": "Invoices."},
            {"name": "sales", "destination": "sip:sales@pbx.example"},
        ],
        "tools": [{"name": "send_dtmf"}, {"name": "gather_digits", "description": "For account numbers."}],
    }
)


def request(name: str, **arguments: object) -> object:
    return request_of(name, arguments, EVERYTHING, lambda kind: f"{kind}_1")


def test_nothing_is_on_unless_the_agent_says_so() -> None:
    assert specs(AgentConfig()) == []
    assert [tool.name for tool in specs(EVERYTHING)] == list(BUILT_IN)
    assert not is_enabled("look_up", EVERYTHING)


def test_each_is_a_function_as_the_realtime_api_takes_it() -> None:
    for tool in specs(EVERYTHING):
        check_schema(tool.parameters)
        RealtimeFunctionTool.model_validate(
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            }
        )
        assert tool.description


def test_an_agents_own_words_for_a_built_in_tool_count() -> None:
    assert specs(EVERYTHING)[-1].description == "For account numbers."


def test_the_model_sees_names_and_no_numbers() -> None:
    told = str(parameters("transfer_call", EVERYTHING))
    assert "billing: Invoices.; sales" in told
    assert "555" not in told


@pytest.mark.parametrize(
    ("name", "arguments", "asked"),
    [
        ("end_call", {}, EndCall()),
        (
            "transfer_call",
            {"target": "billing"},
            TransferCall(transfer_id="transfer_1", destination="+13125550100"),
        ),
        ("send_dtmf", {"digits": "1w#"}, SendDigits(digits="1w#")),
        (
            "gather_digits",
            {"prompt": "Your number?", "max_digits": 6, "timeout_seconds": 20},
            Gather(gather_id="gather_1", prompt="Your number?", max_digits=6, timeout=20, language="de-AT"),
        ),
    ],
)
def test_a_call_of_one_is_a_request_to_the_call(
    name: str, arguments: dict[str, object], asked: object
) -> None:
    assert request(name, **arguments) == asked


@pytest.mark.parametrize(
    ("name", "arguments", "pointer"),
    [
        ("end_call", {"why": "bored"}, "/"),
        ("transfer_call", {"target": "+19005550100"}, "/target"),
        ("transfer_call", {}, "/"),
        ("send_dtmf", {"digits": "12x"}, "/digits"),
        ("send_dtmf", {"digits": "1" * 65}, "/digits"),
        ("gather_digits", {"prompt": "Number?", "max_digits": 99}, "/max_digits"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(name: str, arguments: dict[str, object], pointer: str) -> None:
    with pytest.raises(ArgumentsRefused) as refused:
        request(name, **arguments)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]

"""What came of a tool, as the model is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.egress import EgressFailed, EgressFault, EgressRefused, OutgoingAnswer
from control.inputs import ToolStatus
from control.json_schema import SchemaFault
from control.tools.result import LONGEST_OUTPUT, ToolOutcome, answered, refused_arguments, unanswered


def told(outcome: ToolOutcome) -> Any:
    return json.loads(outcome.output)


@pytest.mark.parametrize(
    ("body", "output"),
    [
        (b'{"status": "shipped", "days": 2}', {"status": "shipped", "days": 2}),
        (b"[1, 2]", [1, 2]),
        (b"shipped", {"result": "shipped"}),
        ("größer".encode(), {"result": "größer"}),
        (b"", {"result": "done"}),
    ],
)
def test_an_answer_is_handed_on(body: bytes, output: object) -> None:
    outcome = answered(OutgoingAnswer(status=200, body=body))
    assert (outcome.status, told(outcome)) == (ToolStatus.COMPLETED, output)


def test_an_error_of_the_server_is_told_with_what_it_says() -> None:
    outcome = answered(OutgoingAnswer(status=404, body=b"no such order"))
    assert outcome.status is ToolStatus.FAILED
    assert told(outcome) == {
        "error": "the tool answered with an error",
        "status": 404,
        "detail": "no such order",
    }


def test_a_long_answer_is_cut_and_says_so() -> None:
    outcome = answered(OutgoingAnswer(status=200, body=b"x" * 50_000))
    assert told(outcome)["truncated"] is True
    half_a_letter = OutgoingAnswer(status=200, body=("ö" * 9).encode()[:-1], truncated=True)
    assert told(answered(half_a_letter)) == {"truncated": True, "result": "ö" * 8}


def test_what_is_no_text_is_not_handed_on() -> None:
    assert answered(OutgoingAnswer(status=200, body=b"\xff\xfe")).status is ToolStatus.FAILED


@given(st.binary(max_size=200), st.integers(100, 599), st.booleans())
def test_any_answer_becomes_json_of_bounded_length(body: bytes, status: int, truncated: bool) -> None:
    outcome = answered(OutgoingAnswer(status=status, body=body * 200, truncated=truncated))
    told(outcome)
    assert len(outcome.output) <= LONGEST_OUTPUT * 3


@pytest.mark.parametrize("fault", list(EgressFault))
def test_the_model_is_told_that_there_was_no_answer_and_not_where_we_asked(fault: EgressFault) -> None:
    outcome = unanswered(EgressFailed(fault, "10.1.2.3 takes no connection"), 5.0)
    assert outcome.status is (ToolStatus.TIMEOUT if fault is EgressFault.TIMEOUT else ToolStatus.FAILED)
    assert "error" in told(outcome)
    assert "10.1.2.3" not in outcome.output


def test_a_refused_address_is_known_to_whoever_runs_the_tool() -> None:
    assert unanswered(EgressRefused("169.254.169.254 is link-local"), 5.0).detail.startswith("169.254")


def test_the_model_learns_what_was_wrong_with_its_arguments_and_the_log_only_where() -> None:
    outcome = refused_arguments([SchemaFault("/order", "'+13125550100' is too long")])
    assert told(outcome)["problems"] == [{"at": "/order", "problem": "'+13125550100' is too long"}]
    assert outcome.detail == "arguments refused at /order"

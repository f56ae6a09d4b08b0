"""The OpenAPI document says what the endpoints do: of a small table, against the rules of OpenAPI 3.1."""

from typing import Any

import pytest
from openapi_spec_validator import validate
from pydantic import Field

from control.api.document import Document, codes_of
from control.api.endpoint import Answer, Asked, Body, Endpoint, NoBody, NoQuery, Query, Reply, endpoint
from control.api.problem_codes import PROBLEM_CODES
from control.api.shapes import Done


class Wish(Body):
    """A wish."""

    words: str = Field(max_length=5)


class Which(Query):
    """Which wishes."""

    after: str | None = None


async def answered(_: Asked[Any, Any]) -> Answer:
    return Reply(Done())


POST: Endpoint[Any, Any] = endpoint(
    "POST", "/v1/wishes/{wish_id}", answered, summary="Wish", tag="W", query=NoQuery, body=Wish,
    answers={200: Done}, problems=("carrier_rejected",), once=True,
)  # fmt: skip
GET: Endpoint[Any, Any] = endpoint(
    "GET", "/v1/wishes", answered, summary="Wishes", tag="W", query=Which, body=NoBody, answers={200: Done}
)
DOCUMENT = Document("1.2.3", [POST, GET]).as_dict()


def test_it_is_valid() -> None:
    validate(DOCUMENT)


def test_a_body_a_path_and_an_idempotency_key_are_in_it() -> None:
    operation = DOCUMENT["paths"]["/v1/wishes/{wish_id}"]["post"]
    assert [each["name"] for each in operation["parameters"]] == ["wish_id", "Idempotency-Key"]
    assert operation["requestBody"]["required"]
    wish = DOCUMENT["components"]["schemas"]["Wish"]
    assert (wish["additionalProperties"], wish["required"]) == (False, ["words"])


def test_every_code_stands_under_its_status() -> None:
    responses = DOCUMENT["paths"]["/v1/wishes/{wish_id}"]["post"]["responses"]
    for code in codes_of(POST):
        assert f"`{code}`" in responses[str(PROBLEM_CODES[code].status)]["description"]
    assert "`carrier_rejected`" not in str(DOCUMENT["paths"]["/v1/wishes"])


def test_a_parameter_that_may_be_left_out_is_not_null() -> None:
    (parameter,) = DOCUMENT["paths"]["/v1/wishes"]["get"]["parameters"]
    assert (parameter["name"], parameter["required"], parameter["schema"]) == (
        "after",
        False,
        {"type": "string"},
    )


@pytest.mark.parametrize("code", sorted(PROBLEM_CODES))
def test_every_code_is_an_error_and_says_what_it_means(code: str) -> None:
    assert 400 <= PROBLEM_CODES[code].status < 600
    assert PROBLEM_CODES[code].meaning.endswith(".")

"""`offhook openapi`: a document that is valid, and the same as the gateway serves."""

import json
from pathlib import Path

import pytest
from openapi_spec_validator import validate
from typer.testing import CliRunner

from gateway.__main__ import app
from tests.conftest import RunAsync
from tests.whole_house import whole_house


def test_it_prints_a_valid_document_of_openapi_3_1() -> None:
    result = CliRunner().invoke(app, ["openapi"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["openapi"] == "3.1.0"
    validate(document)
    assert {"/v1/calls", "/v1/calls/{call_id}/transfer", "/v1/events", "/v1/keys"} <= set(document["paths"])
    assert "call.ended" in document["webhooks"]


@pytest.mark.sockets
def test_it_is_the_document_that_a_gateway_serves(real: RunAsync, tmp_path: Path) -> None:
    async def served() -> object:
        async with whole_house("telnyx", tmp_path) as house:
            return (await house.api("GET", "/openapi.json")).json

    assert json.loads(CliRunner().invoke(app, ["openapi"]).stdout) == real(served())

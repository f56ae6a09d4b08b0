"""Whatever is sent to the API: no fault of ours, and no answer that its document does not have (schemathesis)."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.patience import PATIENCE
from tests.served_api import whole_api

pytestmark = pytest.mark.sockets

CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]

# Of each endpoint.
EXAMPLES = 10

# What aiohttp's parser refuses (a line that is too long, a header that HTTP does not have so), before anybody of ours
# sees it, it answers in this version; everything else in the request's own.
PARSERS_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Live:
    """A gateway that runs elsewhere in this process, with a call in progress."""

    url: str
    secret: str
    call_id: str


@contextmanager
def live(folder: Path) -> Iterator[Live]:
    """Its own loop, in a thread of its own: schemathesis asks as a blocking client does."""
    told: list[Live] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def main() -> None:
        async with whole_api("telnyx", folder, max_calls=5, api_requests_per_minute=1_000_000) as (
            house,
            users,
        ):
            house.ring()
            call_id = await house.the_call()
            await house.happened(call_id, "call.started")
            told.append(Live(f"http://127.0.0.1:{users.port}", users.secret, call_id))
            ready.set()
            await done.wait()

    def run() -> None:
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(60)
        assert told, "the gateway did not start"
        yield told[0]
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)
        thread.join(60)


def in_order(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Every endpoint; those last after which the others would find little left."""
    lines = [(path, method) for path, methods in document["paths"].items() for method in methods]
    return sorted(lines, key=lambda line: line[0].endswith(("/end", "/drain")))


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_documented_and_none_is_a_fault_of_ours(tmp_path: Path, mode: GenerationMode) -> None:
    with live(tmp_path) as gateway:
        document = requests.get(f"{gateway.url}/openapi.json", timeout=PATIENCE).json()
        validate(document)
        schema = schemathesis.openapi.from_dict(document)
        seen: set[int] = set()
        for path, method in in_order(document):
            answered(schema[path][method.upper()], mode, gateway, seen)
        assert {404, 422} <= seen


def answered(operation: Any, mode: GenerationMode, gateway: Live, seen: set[int]) -> None:
    """Send an endpoint what its document allows, and what it does not."""

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
        database=None,
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        of_the_call=st.sampled_from([True, True, True, False]),
    )
    def sent(case: Any, of_the_call: bool) -> None:
        if of_the_call and "call_id" in case.path_parameters:
            case.path_parameters["call_id"] = gateway.call_id
        if "follow" in (case.query or {}):
            case.query["follow"] = "0"  # a stream has no end
        response = case.call(
            base_url=gateway.url, headers={"Authorization": f"Bearer {gateway.secret}"}, timeout=PATIENCE
        )
        seen.add(response.status_code)
        assert response.status_code != 500, response.text
        if response.status_code == 400 and response.http_version == PARSERS_VERSION:
            return
        case.validate_response(response, checks=CONFORMANCE)

    sent()

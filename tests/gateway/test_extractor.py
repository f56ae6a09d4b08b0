"""Extraction against a server that speaks the chat completion wire."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from openai.types.chat import ChatCompletion
from structlog.testing import capture_logs

from gateway.extractor import AT_ONCE, Extraction, Extractor
from tests.conftest import RunAsync
from tests.receiver import Receiver

pytestmark = pytest.mark.sockets

SCHEMA = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
TALK = [{"role": "user", "content": "Order A seven, please."}]
FITS = '{"order": "A7"}'

Reply = Callable[[dict[str, Any]], web.Response]


def says(content: str | None) -> web.Response:
    """An answer as OpenAI gives it."""
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-5.2-mini",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content, "refusal": None},
            }
        ],
    }
    ChatCompletion.model_validate(completion)
    return web.json_response(completion)


def refuses(status: int) -> web.Response:
    return web.json_response({"error": {"message": "no", "type": "error", "code": None}}, status=status)


@asynccontextmanager
async def endpoint(
    *replies: web.Response | Reply, timeout: float = 20.0
) -> AsyncIterator[tuple[Receiver, Extractor]]:
    """A chat endpoint that gives these answers one after the other, the last for ever."""
    left = list(replies)

    def answer(received: Any) -> web.Response:
        reply = left.pop(0) if len(left) > 1 else left[0]
        return reply if isinstance(reply, web.Response) else reply(received.json)

    async with Receiver.running() as server:
        server.answer = answer
        extractor = Extractor(
            f"{server.url}/v1", api_key="k", model="gpt-5.2-mini", timeout=timeout, pauses=(0.0, 0.0)
        )
        try:
            yield server, extractor
        finally:
            await extractor.close()


def extract(real: RunAsync, *replies: web.Response | Reply) -> tuple[Extraction, list[dict[str, Any]]]:
    """What came of it, and what the endpoint was asked."""

    async def scenario() -> tuple[Extraction, list[dict[str, Any]]]:
        async with endpoint(*replies) as (server, extractor):
            extraction = await extractor.extract("call_1", TALK, SCHEMA)
            return extraction, [received.json for received in server.received]

    return real(scenario())


def test_a_call_is_read_and_the_schema_filled_in(real: RunAsync) -> None:
    extraction, (asked,) = extract(real, says(FITS))
    assert extraction == Extraction({"order": "A7"})
    assert asked["model"] == "gpt-5.2-mini"
    assert asked["messages"][1] == {"role": "user", "content": "Caller: Order A seven, please."}
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA
    assert asked["max_completion_tokens"] > 0


def test_an_answer_that_does_not_fit_is_asked_for_again_with_why(real: RunAsync) -> None:
    extraction, asked = extract(real, says('{"order": 7}'), says(FITS))
    assert (extraction.data, extraction.attempts) == ({"order": "A7"}, 2)
    assert "/order" in asked[1]["messages"][-1]["content"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_asked_again(real: RunAsync, status: int) -> None:
    extraction, asked = extract(real, refuses(status), says(FITS))
    assert extraction.data == {"order": "A7"}
    assert asked[0] == asked[1]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_final(real: RunAsync, status: int) -> None:
    extraction, asked = extract(real, refuses(status))
    assert extraction == Extraction(None, f"the endpoint answered {status}", 1)
    assert len(asked) == 1


def test_a_server_that_knows_no_schemas_is_asked_without_one(real: RunAsync) -> None:
    def old(asked: dict[str, Any]) -> web.Response:
        return refuses(400) if "response_format" in asked else says(FITS)

    extraction, asked = extract(real, old)
    assert extraction.data == {"order": "A7"}
    assert ["response_format" in each for each in asked] == [True, False]


@pytest.mark.parametrize(
    "strange",
    [
        says(None),
        web.json_response({"choices": []}),
        web.json_response({"choices": [{}]}),
        web.json_response([]),
        web.Response(text="<html>", content_type="text/html"),
        web.Response(text="{", content_type="application/json"),
    ],
    ids=["refused", "no choices", "no message", "a list", "html", "half"],
)
def test_whatever_a_server_answers_is_an_extraction_that_failed(
    real: RunAsync, strange: web.Response
) -> None:
    # A response of aiohttp's can be sent once: each attempt is answered with its like.
    body, kind = strange.body, strange.content_type
    extraction, asked = extract(real, lambda _: web.Response(body=body, content_type=kind))
    assert extraction.data is None
    assert extraction.error
    assert len(asked) == 3


def test_a_server_that_hangs_is_given_up(real: RunAsync) -> None:
    async def scenario() -> Extraction:
        async with endpoint(says(FITS), timeout=0.2) as (server, extractor):
            never = asyncio.Event()

            async def hang(_: Any) -> web.Response:
                await never.wait()
                return says(FITS)

            server.answer = hang
            return await extractor.extract("call_1", TALK, SCHEMA)

    assert real(scenario()) == Extraction(None, "the endpoint was not reached in time", 3, passing=True)


def test_calls_that_end_together_wait_for_each_other(real: RunAsync) -> None:
    async def scenario() -> int:
        async with endpoint(says(FITS)) as (server, extractor):
            now, most = 0, 0

            async def answer(_: Any) -> web.Response:
                nonlocal now, most
                now, most = now + 1, max(most, now + 1)
                await asyncio.sleep(0)
                now -= 1
                return says(FITS)

            server.answer = answer
            extractions = await asyncio.gather(
                *(extractor.extract(f"call_{n}", TALK, SCHEMA) for n in range(20))
            )
            assert all(extraction.data for extraction in extractions)
            return most

    assert real(scenario()) <= AT_ONCE


def test_nothing_that_was_said_is_logged(real: RunAsync) -> None:
    with capture_logs() as logs:
        extract(real, says('{"order": 7}'))
    assert "seven" not in json.dumps(logs)
    assert "7" not in json.dumps([each["error"] for each in logs])

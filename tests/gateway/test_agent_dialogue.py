"""What the local agent answers."""

import asyncio
from collections.abc import Sequence

import pytest
from aiohttp import web

from gateway.agent.dialogue import NO_ANSWER, NOT_HEARD, WELCOME, Chat, Rules, Said
from tests.conftest import RunAsync


@pytest.mark.parametrize(
    ("said", "instructions", "answer"),
    [
        ([], "", WELCOME),
        ([], 'Greet the caller, say exactly: "Welcome to Offhook."', "Welcome to Offhook."),
        ([Said("user", "When are you open?")], "", "We are open from nine to five, Monday to Friday."),
        ([Said("user", "")], "", NOT_HEARD),
        ([Said("user", "My cat is blue.")], "", "You said: My cat is blue."),
        ([Said("assistant", "Hello.")], "", WELCOME),
    ],
)
def test_rules_answer_by_keyword(said: Sequence[Said], instructions: str, answer: str) -> None:
    assert asyncio.run(Rules().answer(said, instructions)) == answer


@pytest.mark.sockets
def test_a_chat_url_is_asked_with_the_conversation_and_may_fail(real: RunAsync) -> None:
    asked: list[dict[str, object]] = []

    async def complete(request: web.Request) -> web.Response:
        asked.append(await request.json())
        if len(asked) > 1:
            return web.Response(status=500)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": " Blue. "}}
        return web.json_response(
            {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        )

    async def scenario() -> list[str]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        chat = Chat(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", "some-model")
        said = [Said("user", "What colour?")]
        answers = [await chat.answer(said, "Be brief."), await chat.answer(said, "Be brief.")]
        await chat.close()
        await runner.cleanup()
        return answers

    assert real(scenario()) == ["Blue.", NO_ANSWER]
    assert asked[0]["model"] == "some-model"
    assert asked[0]["messages"][-1] == {"role": "user", "content": "What colour?"}  # type: ignore[index]  # JSON

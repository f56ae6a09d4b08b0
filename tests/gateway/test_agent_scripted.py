"""A script's turns follow each other whatever the caller does."""

from dataclasses import replace

import pytest

from gateway.agent.script import parse_script
from gateway.agent.scripted import ScriptedBehaviour
from media.audio import PCMU_8K
from media.realtime.server_behaviour import (
    CallerTurn,
    FunctionCall,
    Origin,
    Reply,
    ResponseRequest,
    SendError,
    Speech,
    ToolOutput,
)

ASKED = ResponseRequest(
    response_id="resp_1",
    origin=Origin.CLIENT,
    instructions=None,
    session_instructions="",
    caller_spoke=False,
    out_of_band=False,
    tool_outputs=(),
    last_text=None,
)
SPOKEN = replace(ASKED, origin=Origin.SPEECH, caller_spoke=True)
TURN = CallerTurn(item_id="item_1", duration=1.0, audio=b"", audio_format=PCMU_8K)


def words(reply: Reply | None) -> str:
    assert reply is not None
    return " ".join(item.text for item in reply.items if isinstance(item, Speech))


def playing(text: str) -> ScriptedBehaviour:
    return ScriptedBehaviour(parse_script(text))


def test_the_greeting_answers_the_first_request_and_only_that() -> None:
    behaviour = playing("greeting: Welcome.\nturns: [{say: One.}, {say: Two.}]")
    assert [words(behaviour.reply(ASKED)) for _ in range(3)] == ["Welcome.", "One.", "Two."]


def test_a_caller_who_speaks_first_is_answered_not_greeted() -> None:
    behaviour = playing("greeting: Welcome.\nturns: [{say: One.}, {say: Two.}]")
    assert [words(behaviour.reply(SPOKEN)), words(behaviour.reply(ASKED))] == ["One.", "Two."]


@pytest.mark.parametrize(
    ("after", "said"),
    [("last", ["a", "b", "b", "b"]), ("loop", ["a", "b", "a", "b"]), ("silent", ["a", "b", "", ""])],
)
def test_after_the_last_turn(after: str, said: list[str]) -> None:
    behaviour = playing(f"turns: [{{say: a}}, {{say: b}}]\nafter: {after}")
    assert [words(behaviour.reply(SPOKEN)) for _ in range(4)] == said


def test_the_transcript_is_of_the_turn_that_comes_next() -> None:
    behaviour = playing("turns: [{caller: first, say: a}, {caller: second, say: b}]\nafter: silent")
    texts = []
    for _ in range(3):
        heard = behaviour.heard(TURN)
        assert heard is not None
        texts.append(heard.text)
        behaviour.reply(SPOKEN)
    assert texts == ["first", "second", ""]


TOOLS = """
turns:
- say: Wait.
  call: {name: look, arguments: {}, expect: "^found"}
  then: {say: "It is {output}!", call: {name: again}, then: {say: Done.}}
- say: Next.
"""


def outputs(*texts: str, name: str = "look") -> ResponseRequest:
    given = tuple(ToolOutput(f"call_{index}", name, text) for index, text in enumerate(texts))
    return replace(ASKED, caller_spoke=True, tool_outputs=given)


def test_tool_outputs_are_answered_by_what_follows_the_call() -> None:
    behaviour = playing(TOOLS)
    first = behaviour.reply(SPOKEN)
    assert first is not None
    assert first.items[1] == FunctionCall("look", "{}")
    assert words(behaviour.reply(outputs("found it"))) == "It is found it!"
    assert words(behaviour.reply(outputs("", name="again"))) == "Done."
    assert words(behaviour.reply(SPOKEN)) == "Next."
    assert behaviour.failures == []


def test_an_output_that_is_not_as_expected_is_an_error_event() -> None:
    behaviour = playing(TOOLS)
    behaviour.reply(SPOKEN)
    reply = behaviour.reply(outputs("nothing"))
    assert reply is not None
    (fault,) = reply.faults
    assert isinstance(fault, SendError)
    assert fault.code == "script_expectation_failed"
    assert behaviour.failures == ["the output of look does not match '^found': 'nothing'"]


def test_a_caller_who_speaks_over_the_tool_goes_on_to_the_next_turn() -> None:
    behaviour = playing(TOOLS)
    behaviour.reply(SPOKEN)
    assert words(behaviour.reply(SPOKEN)) == "Next."


def test_a_question_aside_does_not_move_the_script() -> None:
    behaviour = playing("out_of_band: A summary.\nturns: [{say: One.}]")
    assert words(behaviour.reply(replace(ASKED, out_of_band=True))) == "A summary."
    assert words(behaviour.reply(SPOKEN)) == "One."

"""Agent scripts say what they mean, and say where they are wrong."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agent.script import load_script, parse_script
from gateway.yaml_document import ScriptError
from media.audio import PCMU_8K
from media.realtime.server_behaviour import (
    CloseSocket,
    FunctionCall,
    LateDeltas,
    SendError,
    SendRaw,
    Speech,
    Stall,
    TruncateRefusal,
)

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "agents").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_script(path: Path) -> None:
    script = load_script(path)
    assert script.turns or script.greeting


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def test_words_alone_are_a_script() -> None:
    script = parse_script("greeting: Hello.\nturns:\n- caller: Hi\n  say: Goodbye now.\n")
    assert script.greeting is not None
    (turn,) = script.turns
    (speech,) = turn.reply.items
    assert turn.caller is not None
    assert (turn.caller.text, turn.caller.delay) == ("Hi", 0.3)
    assert isinstance(speech, Speech)
    assert speech.text == "Goodbye now."
    assert 0.5 < speech.sound.duration < 1.5


def test_a_turn_says_how_fast_it_comes() -> None:
    script = parse_script(
        "defaults: {delay_ms: 100, pace: realtime}\n"
        "turns:\n- {say: a}\n- {say: b, pace: burst, delay_ms: 0, delta_ms: 20}\n- {say: c, pace: 0.5}\n"
    )
    first, second, third = (turn.reply for turn in script.turns)
    assert (first.delay, first.pace, first.delta) == (0.1, 1.0, 0.2)
    assert (second.delay, second.pace, second.delta) == (0.0, None, 0.02)
    assert third.pace == 0.5


def test_a_turn_calls_functions_and_goes_on_with_their_outputs() -> None:
    script = parse_script(
        "turns:\n"
        "- call: {name: weather, arguments: {city: Oslo, days: 2}, expect: rain|sun}\n"
        "  then: {say: 'It says {output}.', then_never: 1}\n".replace(", then_never: 1", "")
    )
    (turn,) = script.turns
    assert turn.reply.items == (FunctionCall("weather", '{"city": "Oslo", "days": 2}'),)
    assert turn.expect == (("weather", "rain|sun"),)
    assert turn.then is not None


def test_a_turn_may_hold_several_items() -> None:
    script = parse_script("turns:\n- items: [{say: one}, {say: two}, {call: {name: f}}]\n")
    kinds = [type(item) for item in script.turns[0].reply.items]
    assert kinds == [Speech, Speech, FunctionCall]


def test_faults_are_read() -> None:
    script = parse_script(
        """
session:
  refuse_formats: [audio/pcmu]
  force_format: audio/pcmu
  session_updated: false
  faults: [{at_ms: 5000, close: {code: 1001, reason: bye}}]
turns:
- say: hello
  late_deltas: {count: 3, spacing_ms: 100, after_done: true}
  refuse_truncate: {code: item_already_truncated}
  faults:
  - {at_ms: 10, error: {code: boom, message: oops}}
  - {at_ms: 20, stall: {ms: 500}}
  - {at_ms: 30, malformed: '{"type":'}
"""
    )
    faults, reply = script.faults, script.turns[0].reply
    assert faults.refused_formats == {"audio/pcmu"}
    assert faults.forced_format == PCMU_8K
    assert faults.silent_update
    assert faults.timed == (CloseSocket(at=5.0, code=1001, reason="bye"),)
    assert reply.late == LateDeltas(count=3, spacing=0.1, after_done=True)
    assert reply.truncate_refusal == TruncateRefusal(
        code="item_already_truncated", message="The item cannot be truncated."
    )
    assert reply.faults == (
        SendError(at=0.01, code="boom", message="oops"),
        Stall(at=0.02, duration=0.5),
        SendRaw(at=0.03, message=b'{"type":'),
    )


@pytest.mark.parametrize(
    ("text", "line", "field", "problem"),
    [
        ("", 1, "", "the script is empty"),
        ("turns: [", 1, "", "not YAML"),
        ("name: x\n", 1, "", "needs turns, a greeting, or both"),
        ("turns: 5\n", 1, "turns", "expected a list"),
        ("greeting: hi\nturnz: []\n", 2, "turnz", "unknown field; known here: name, defaults"),
        ("turns:\n- say: a\n- say: b\n  pace: fast\n", 4, "turns[1].pace", "expected burst, realtime or"),
        ("turns:\n- say: a\n  delay_ms: soon\n", 3, "turns[0].delay_ms", "expected a number from 0"),
        ("turns:\n- caller: hi\n", 2, "turns[0]", "says nothing"),
        (
            "turns:\n- say: a\n  audio: {file: nowhere.wav}\n",
            3,
            "turns[0].audio.file",
            "cannot read nowhere.wav",
        ),
        ("turns:\n- say: a\n  audio: {}\n", 3, "turns[0].audio", "needs exactly one of file, tone"),
        (
            "turns:\n- say: a\n  audio: {tone: {ms: 5}}\n",
            3,
            "turns[0].audio.tone",
            "needs the field frequencies",
        ),
        ("turns:\n- call: {arguments: {}}\n", 2, "turns[0].call", "needs the field name"),
        ("turns:\n- call: {name: f, expect: '('}\n", 2, "turns[0].call.expect", "not a regular expression"),
        ("turns:\n- say: a\n  then: {say: b}\n", 3, "turns[0].then", "follows tool outputs"),
        (
            "turns:\n- say: a\n  faults: [{close: {code: 7}}]\n",
            3,
            "turns[0].faults[0].close.code",
            "from 1000",
        ),
        ("turns:\n- say: a\n  faults:\n  - {}\n", 4, "turns[0].faults[0]", "needs exactly one of error"),
        (
            "session: {force_format: g711_ulaw}\ngreeting: hi",
            1,
            "session.force_format",
            "expected audio/pcm,",
        ),
        ("turns:\n- say: a\n  say: b\n", 3, "turns[0].say", "given twice"),
        ("turns:\n- items: [{say: a}]\n  say: b\n", 3, "turns[0].say", "not both"),
        ("after: never\ngreeting: hi\n", 1, "after", "expected last, loop or silent"),
    ],
)
def test_a_mistake_is_named_by_line_and_field(text: str, line: int, field: str, problem: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(text, source="agent.yaml")
    assert (caught.value.line, caught.value.field) == (line, field)
    assert problem in caught.value.problem
    assert str(caught.value).startswith(f"agent.yaml:{line}: ")


@given(st.text(max_size=200))
def test_any_text_is_a_script_or_a_script_error(text: str) -> None:
    with contextlib.suppress(ScriptError):
        parse_script(text)

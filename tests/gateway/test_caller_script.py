"""Caller scripts: YAML to steps, mistakes by line."""

import wave
from pathlib import Path

import pytest

from gateway.caller_script import load_caller, parse_caller, simple_caller
from gateway.yaml_document import ScriptError
from telephony.caller import AwaitAgent, BargeIn, Echo, Edge, HangUp, Press, Repeat, Speak, Wait

EXAMPLES = Path(__file__).parents[2] / "examples" / "callers"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_can_be_played(path: Path) -> None:
    assert load_caller(path)


def test_every_kind_of_step(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "hi.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(3200))
    steps = parse_caller(
        "steps:\n"
        "  - speak: hi.wav\n"
        "  - wait_ms: 250\n"
        "  - await_agent: start\n"
        "  - barge_in: {after_ms: 500, audio: hi.wav}\n"
        "  - press: '12#'\n"
        "  - repeat: {times: 2, steps: [{echo_ms: 40}]}\n"
        "  - hang_up\n",
        folder=tmp_path,
    )
    speak, wait, listen, barge_in, press, repeat, end = steps
    assert (speak, wait, press, end) == (Speak(bytes(3200)), Wait(0.25), Press("12#"), HangUp())
    assert isinstance(listen, AwaitAgent)
    assert listen.edge is Edge.START
    assert isinstance(barge_in, BargeIn)
    assert (barge_in.after, barge_in.audio) == (0.5, bytes(3200))
    assert repeat == Repeat((Echo(0.04),), 2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("steps: []", "needs at least one step"),
        ("steps:\n - speak: none.wav", "none.wav"),
        ("steps:\n - {wait_ms: 1, press: '1'}", "one thing to do"),
        ("steps:\n - press: hello", "expected keys"),
        ("steps:\n - dance", "expected hang_up"),
        ("steps:\n - wait_ms: -1", "expected a number"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ScriptError, match=complaint):
        parse_caller(text, folder=tmp_path)


def test_a_caller_from_recordings_alone() -> None:
    steps = simple_caller([b"a", b"b"])
    assert [type(step) for step in steps] == [AwaitAgent, Speak, AwaitAgent, Speak, AwaitAgent, HangUp]
    assert [type(step) for step in simple_caller([b"a"], greeted=False)] == [Speak, AwaitAgent, HangUp]

"""Caller scripts: YAML that tells a simulated caller what to do; `examples/callers/reference.yaml` shows every step.

steps:
  - await_agent: end
  - speak: question.wav
  - barge_in: {after_ms: 3000, audio: another.wav}
  - press: "4711#"
  - hang_up
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.audio_file import AudioUnreadable, read_speech
from gateway.yaml_document import Field, parse_document, read, required
from telephony.caller import AwaitAgent, BargeIn, Echo, Edge, HangUp, Press, Repeat, Speak, Step, Wait

# What nobody's script needs; a mistyped number is told instead of waited for.
LONGEST_MS = 3_600_000.0
# Without a script the caller says its recording once the agent has spoken, then listens to the answer.
LISTEN = 30.0


def load_caller(path: Path) -> list[Step]:
    """Read a caller's script; its audio files are relative to it.

    Raises:
        ScriptError: what is wrong, and where.
        OSError: the file cannot be read.
    """
    return parse_caller(path.read_text("utf-8"), source=path.name, folder=path.parent)


def parse_caller(text: str, *, source: str = "script", folder: Path = Path()) -> list[Step]:
    """Read a caller's script from text."""
    root = parse_document(text, source=source, folder=folder)
    fields = root.fields("steps")
    steps = _steps(required(root, fields, "steps"))
    if not steps:
        raise fields["steps"].wrong("needs at least one step")
    return steps


def simple_caller(recordings: list[bytes], *, greeted: bool = True) -> list[Step]:
    """Return the script of a caller who says each recording in turn, hears the answer out, and hangs up."""
    steps: list[Step] = [AwaitAgent(Edge.END, timeout=LISTEN)] if greeted else []
    for recording in recordings:
        steps += [Speak(recording), AwaitAgent(Edge.END, timeout=LISTEN)]
    return [*steps, HangUp()]


def _steps(field: Field) -> list[Step]:
    return [_step(each) for each in field.items()]


def _step(field: Field) -> Step:
    if field.scalar:
        field.choice("hang_up")
        return HangUp()
    fields = field.fields(*_STEPS, "hang_up")
    if len(fields) != 1:
        raise field.wrong("a step is one thing to do")
    ((name, argument),) = fields.items()
    if name == "hang_up":
        return HangUp()
    return _STEPS[name](argument)


def _await_agent(field: Field) -> Step:
    if field.scalar:
        return AwaitAgent(_edge(field))
    fields = field.fields("edge", "timeout_ms", "quiet_ms")
    return AwaitAgent(
        read(fields, "edge", _edge, Edge.END),
        timeout=read(fields, "timeout_ms", _seconds, LISTEN),
        quiet=read(fields, "quiet_ms", _seconds, 0.6),
    )


def _edge(field: Field) -> Edge:
    return Edge(field.choice("start", "end"))


def _barge_in(field: Field) -> Step:
    fields = field.fields("after_ms", "audio", "timeout_ms")
    return BargeIn(
        _seconds(required(field, fields, "after_ms")),
        _audio(required(field, fields, "audio")),
        timeout=read(fields, "timeout_ms", _seconds, LISTEN),
    )


def _press(field: Field) -> Step:
    if field.scalar:
        return Press(_digits(field))
    fields = field.fields("digits", "on_ms", "gap_ms", "in_band")
    return Press(
        _digits(required(field, fields, "digits")),
        on=read(fields, "on_ms", _seconds, 0.1),
        gap=read(fields, "gap_ms", _seconds, 0.1),
        in_band=read(fields, "in_band", Field.flag, False),
    )


def _digits(field: Field) -> str:
    digits = field.text()
    if not digits or set(digits) - set("0123456789*#ABCD"):
        raise field.wrong(f"expected keys 0-9 * # A-D in quotes, got {digits!r:.40}")
    return digits


def _repeat(field: Field) -> Step:
    fields = field.fields("steps", "times")
    return Repeat(
        tuple(_steps(required(field, fields, "steps"))),
        read(fields, "times", lambda each: each.integer(1, 1_000_000), None),
    )


def _audio(field: Field) -> bytes:
    try:
        return read_speech(field.folder / field.text())
    except AudioUnreadable as error:
        raise field.wrong(str(error)) from error


def _seconds(field: Field) -> float:
    return field.number(0, LONGEST_MS) / 1000


_STEPS: Mapping[str, Callable[[Field], Step]] = {
    "speak": lambda field: Speak(_audio(field)),
    "wait_ms": lambda field: Wait(_seconds(field)),
    "await_agent": _await_agent,
    "barge_in": _barge_in,
    "press": _press,
    "echo_ms": lambda field: Echo(_seconds(field)),
    "repeat": _repeat,
}

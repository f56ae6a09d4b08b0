"""The scripted behaviour: says the turns of a script in order, whatever the caller does."""

import re
from dataclasses import dataclass, field, replace

from media.realtime.server_behaviour import (
    CallerTurn,
    Origin,
    Reply,
    ResponseRequest,
    SendError,
    SessionFaults,
    Sound,
    Speech,
    ToolOutput,
    Transcription,
)

OUTPUT = "{output}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One exchange: what the caller is said to have said, and the reply."""

    reply: Reply
    caller: Transcription | None = None
    expect: tuple[tuple[str, str], ...] = ()
    """(function name, regular expression its output must match)."""
    then: "Turn | None" = None
    """The turn that follows when the tool outputs have come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A whole conversation; shared by all sessions that play it."""

    name: str = "scripted"
    greeting: Turn | None = None
    turns: tuple[Turn, ...] = ()
    after: str = "last"
    """What follows the last turn: `last` again, `loop` from the first, or `silent`."""
    out_of_band: str = "{}"
    """The text answered to responses outside the conversation."""
    faults: SessionFaults = field(default_factory=SessionFaults)


_NOTHING = Turn(reply=Reply(items=()), caller=Transcription(text=""))


class ScriptedBehaviour:
    """One session's place in a script. Driven by the session; `failures` says what did not go by the script."""

    note = "Plays a script; no model is involved."
    echo = False
    keeps_audio = False

    def __init__(self, script: Script) -> None:
        self.failures: list[str] = []
        self._script = script
        self._next = 0
        self._greeted = False
        self._then: Turn | None = None
        self._expected: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return self._script.name

    @property
    def faults(self) -> SessionFaults:
        return self._script.faults

    def heard(self, turn: CallerTurn) -> Transcription | None:
        return self._turn(self._next).caller or Transcription(text="")

    def reply(self, request: ResponseRequest) -> Reply | None:
        if request.out_of_band:
            return Reply(items=(Speech(self._script.out_of_band, Sound(b"")),))
        if self._then is not None and request.tool_outputs:
            return self._after_tools(self._then, request.tool_outputs)
        greeting = self._script.greeting
        first = not self._greeted and not request.caller_spoke and request.origin is Origin.CLIENT
        self._greeted = True
        if first and greeting is not None:
            return self._play(greeting)
        turn = self._turn(self._next)
        self._next += 1
        return self._play(turn)

    def _turn(self, index: int) -> Turn:
        turns = self._script.turns
        if index < len(turns):
            return turns[index]
        if not turns or self._script.after == "silent":
            return _NOTHING
        return turns[-1] if self._script.after == "last" else turns[index % len(turns)]

    def _play(self, turn: Turn) -> Reply:
        self._then, self._expected = turn.then, turn.expect
        return turn.reply

    def _after_tools(self, turn: Turn, outputs: tuple[ToolOutput, ...]) -> Reply:
        missed = _missed(self._expected, outputs)
        self.failures += missed
        reply = _with_output(self._play(turn), outputs[-1].output)
        errors = tuple(
            SendError(at=0.0, code="script_expectation_failed", message=text, kind="invalid_request_error")
            for text in missed
        )
        return replace(reply, faults=reply.faults + errors)

    def cancelled(self, response_id: str) -> None:
        """Nothing is owed: a script answers at once."""


def _missed(expected: tuple[tuple[str, str], ...], outputs: tuple[ToolOutput, ...]) -> list[str]:
    given = {output.name: output.output for output in outputs}
    missed = []
    for name, pattern in expected:
        if name not in given:
            missed.append(f"no output of {name} came")
        elif re.search(pattern, given[name]) is None:
            missed.append(f"the output of {name} does not match {pattern!r}: {given[name][:200]!r}")
    return missed


def _with_output(reply: Reply, output: str) -> Reply:
    """Put the tool's output where the reply's words ask for it."""
    items = tuple(
        Speech(item.text.replace(OUTPUT, output), item.sound) if isinstance(item, Speech) else item
        for item in reply.items
    )
    return replace(reply, items=items)

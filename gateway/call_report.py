"""What a simulated call came to: whether it ended as its script wanted, how soon it was answered, what was heard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from media.audio import PCM16_8K, PTIME, Encoding
from telephony.caller import AwaitAgent, BargeIn, HangUp, Note, Repeat, Speak, Step, is_loud
from telephony.outcome import CallOutcome, EndedBy

# The timeline's words that begin something of the caller's (telephony.caller).
SPEAKS = "caller speaks"
BARGES_IN = "caller barges in"
AGENT_HEARD = "agent heard"
_GAVE_UP_BARGING = "caller gives up waiting: agent to barge into"


# How the call ended


def hangs_up(script: Sequence[Step]) -> bool:
    """Whether a script ends its call itself; one that does not waits for the gateway or the limit."""
    return any(
        isinstance(step, HangUp) or (isinstance(step, Repeat) and hangs_up(step.steps)) for step in script
    )


def listens(script: Sequence[Step]) -> bool:
    """Whether a script expects to hear the agent."""
    return any(
        isinstance(step, AwaitAgent | BargeIn) or (isinstance(step, Repeat) and listens(step.steps))
        for step in script
    )


def failure(outcome: CallOutcome, script: Sequence[Step]) -> str | None:
    """Return why the call did not go as its script wanted; None if it did."""
    match outcome.ended_by:
        case EndedBy.REFUSED:
            return _refusal(outcome)
        case EndedBy.GATEWAY if hangs_up(script):
            code = "no close frame" if outcome.close_code is None else f"code {outcome.close_code}"
            reason = f", {outcome.close_reason}" if outcome.close_reason else ""
            return f"the gateway hung up early ({code}{reason})"
        case EndedBy.LIMIT if hangs_up(script):
            return "the script was not over when the call had lasted as long as it may"
        case EndedBy.CALLER | EndedBy.GATEWAY | EndedBy.LIMIT | EndedBy.DROPPED:
            pass
    if outcome.agent_heard_at is None and listens(script):
        return "the agent was never heard"
    return None


def _refusal(outcome: CallOutcome) -> str:
    what = "stream" if not outcome.accepted else "next stream, after the drop,"
    if outcome.refusal.startswith("HTTP "):
        return f"the {what} was refused with {outcome.refusal}"
    return f"the {what} could not be opened: {outcome.refusal}"


# How soon the agent answered


def spoken(script: Sequence[Step]) -> Iterator[bytes]:
    """Yield what the caller says, in order: as many as the timeline has notes of speech."""
    for step in script:
        match step:
            case Speak(audio) | BargeIn(_, audio):
                yield audio
            case Repeat(steps, times) if next(spoken(steps), None) is not None:
                for _ in count() if times is None else range(times):
                    yield from spoken(steps)
            case _:
                pass


def voiced_seconds(audio: bytes) -> float:
    """Return where in PCM16 of 8 kHz the voice ends; recordings often end in silence."""
    size = PCM16_8K.frame_bytes
    for at in reversed(range(0, len(audio), size)):
        if is_loud(audio[at : at + size], Encoding.PCM16):
            return PCM16_8K.duration(audio[: at + size])
    return 0.0


class Answers:
    """Times each answer: from the end of the caller's voice to the agent's first audible frame, as the caller hears.

    Driven by the call's notes, in order. An agent that spoke before the caller had ended gave no answer.
    """

    def __init__(self, script: Sequence[Step]) -> None:
        self.seconds: list[float] = []
        self.spoken = 0
        self._lines = spoken(script)
        self._ended_at: float | None = None

    def feed(self, note: Note) -> float | None:
        """Return the answer's delay if this note is one."""
        if note.what in (SPEAKS, BARGES_IN):
            self.spoken += 1
            self._ended_at = note.at + voiced_seconds(next(self._lines, b""))
        elif note.what == AGENT_HEARD and self._ended_at is not None:
            delay = note.at - PTIME - self._ended_at  # noted when the frame it began in was over
            self._ended_at = None
            if delay >= 0:
                self.seconds.append(delay)
                return delay
        return None


# How soon the agent fell silent


@dataclass(frozen=True, slots=True)
class Silenced:
    """A barge-in's effect on what the caller heard, in seconds from its first frame."""

    clear: float | None
    """Until the gateway's clear reached the line; None: it never came."""
    silence: float | None
    """Until the agent was silent; None without a clear, or if it had fallen silent by itself and nobody listened."""


def silenced(outcome: CallOutcome) -> list[Silenced]:
    """Return what became of every barge-in that met an agent speaking."""
    vain = {note.at for note in outcome.timeline if note.what == _GAVE_UP_BARGING}
    found = []
    for index, barge_in in enumerate(outcome.barge_ins):
        if barge_in.at in vain:
            continue
        following = outcome.barge_ins[index + 1 :]
        clear_at = barge_in.clear_at
        if clear_at is None or (following and clear_at >= following[0].at):
            found.append(Silenced(None, None))
            continue
        silent_at = barge_in.silent_at
        if silent_at is None:
            cut = next(clear for clear in outcome.clears if clear.at == clear_at)
            silent_at = clear_at if cut.dropped else None
        silence = None if silent_at is None else max(0.0, silent_at - barge_in.at)
        found.append(Silenced(clear_at - barge_in.at, silence))
    return found


# The whole account


def milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def call_report(outcome: CallOutcome, script: Sequence[Step]) -> dict[str, Any]:
    """Return the account of one call as JSON has it: times in milliseconds from the dialling, audio left out."""
    began = outcome.began_at
    answers = Answers(script)
    for note in outcome.timeline:
        answers.feed(note)
    reason = failure(outcome, script)
    echo = outcome.latency
    return {
        "ok": reason is None,
        "failure": reason,
        "carrier": outcome.carrier,
        "call_id": outcome.call_id,
        "ended_by": outcome.ended_by.value,
        "close_code": outcome.close_code,
        "close_reason": outcome.close_reason,
        "duration_ms": milliseconds(outcome.ended_at - began),
        "accepted_ms": _since(began, outcome.accepted_at),
        "agent_heard_ms": _since(began, outcome.agent_heard_at),
        "streams": len(outcome.streams),
        "answers_ms": [milliseconds(each) for each in answers.seconds],
        "caller_turns": answers.spoken,
        "awaited_in_vain": outcome.timeouts,
        "barge_ins": [
            {"clear_ms": milliseconds(each.clear), "silence_ms": milliseconds(each.silence)}
            for each in silenced(outcome)
        ],
        "frames": {
            "said": outcome.frames_said,
            "sent": outcome.frames_sent,
            "lost": outcome.frames_lost,
            "reordered": outcome.frames_reordered,
            "unsent": outcome.frames_unsent,
        },
        "agent_audio": {
            "messages": outcome.media_received,
            "received_ms": _samples_ms(outcome, outcome.received),
            "played_ms": _samples_ms(outcome, outcome.played),
            "dropped_ms": _samples_ms(outcome, outcome.dropped),
            "underruns": outcome.underruns,
        },
        "marks": {
            "received": outcome.marks_received,
            "played": outcome.marks_played,
            "flushed": outcome.marks_flushed,
        },
        "clears": len(outcome.clears),
        "digits_pressed": len(outcome.digits),
        "echo": None
        if echo is None
        else {
            "sent": echo.sent,
            "returned": echo.returned,
            "p50_ms": milliseconds(echo.p50),
            "p95_ms": milliseconds(echo.p95),
            "p99_ms": milliseconds(echo.p99),
            "max_ms": milliseconds(echo.maximum),
        },
        "complaints": dict(outcome.complaints),
        "complaint_details": list(outcome.complaint_details),
        "timeline": [{"at_ms": _since(began, note.at), "what": note.what} for note in outcome.timeline],
    }


def _since(began: float, at: float | None) -> float | None:
    return None if at is None else milliseconds(at - began)


def _samples_ms(outcome: CallOutcome, samples: int) -> float | None:
    return milliseconds(samples / outcome.heard_rate)

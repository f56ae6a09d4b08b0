"""What a carrier that asks is to do next: the same answer to the same question, as long as the call stays as it is.

Theory of operation. The question is asked again by who has not heard the answer, so nothing here happens once: a
repeated question gets a fresh stream for the same call, and the older stream is superseded. Nothing raises, whatever
is asked when: a carrier without an answer drops the call.
"""

from dataclasses import dataclass

from control.call_docket import Docket
from control.call_ending import CallEnding
from control.call_streams import CallStreams
from control.deadlines import Due
from control.effects import Effect, Instruction, PutDown, Refuse
from control.ownership import Ownership
from telephony.calls import TwimlPurpose, TwimlRequested
from telephony.causes import Direction
from telephony.commands import RejectReason


@dataclass(frozen=True, slots=True)
class Document:
    """The answer, and what is to be done besides."""

    instruction: Instruction
    effects: list[Effect]


@dataclass(frozen=True, slots=True)
class Wait:
    """There is no answer yet: ask again after each input of the call, at the latest at this time (it is one of the
    call's own deadlines)."""

    until: float
    effects: list[Effect]


class CallDocuments:
    """One call's answers. Driven by the carrier's questions."""

    def __init__(self, docket: Docket, ending: CallEnding, streams: CallStreams) -> None:
        self._docket = docket
        self._ending = ending
        self._streams = streams

    def answer(self, asked: TwimlRequested, now: float) -> Instruction | None:
        """Return what the carrier is to do; None if that is not decided yet."""
        if self._ending.refusal is not None and not self._docket.answered:
            return Refuse(self._ending.refusal)
        if not asked.alive or not self._ending.is_live or self._docket.ownership is Ownership.RELEASED:
            return self._no_stream(asked)
        match asked.purpose:
            case TwimlPurpose.VOICE:
                return self._voice(now)
            case TwimlPurpose.AFTER_STREAM:
                return self._after_stream(now)
            case TwimlPurpose.GATHER | TwimlPurpose.DIAL:
                return self._streams.attach(now)

    def _no_stream(self, asked: TwimlRequested) -> Instruction:
        """A call that still rings is refused, so that its caller pays nothing."""
        record = self._docket.record
        unanswered = record.direction is Direction.INBOUND and not self._docket.answered
        if unanswered and asked.purpose is TwimlPurpose.VOICE:
            return Refuse(RejectReason.REJECTED)
        return PutDown()

    def _voice(self, now: float) -> Instruction | None:
        inbound = self._docket.record.direction is Direction.INBOUND
        if inbound and not self._docket.answered:
            if Due.ANSWER in self._docket.deadlines:
                return None
            self._ending.answering = True
        return self._streams.attach(now)

    def _after_stream(self, now: float) -> Instruction:
        """Its stream ended; where a command of ours runs meanwhile, it replaces this answer."""
        if self._streams.may_attach():
            return self._streams.attach(now)
        self._ending.lost(now)
        return PutDown()

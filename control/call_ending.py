"""How a call ends: our own wish and what it waits for, the hang-up, the carrier's word, and the last events.

Theory of operation. There are many enders (the far end, the carrier, losses, deadlines, users, the model) and one
end. The first one decides why; whatever comes later adds facts at most. Our own intent is in the record before the
carrier is told, since no carrier knows why *we* hung up (sheet E, rule 0). After a hang-up the call ends even if the
carrier never says so; a leg that then shows signs of life is hung up again.

    LIVE -> GOODBYE -> HANGING_UP -> SETTLING -> CLOSED

GOODBYE waits for what is being said to be heard, SETTLING for the media to write its files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, auto
from functools import partial

from control import states
from control.call_docket import Docket
from control.deadlines import CLOSE_WAIT, HANGUP_LIMIT, HANGUP_WAIT, Due
from control.effects import Close, CommandDone, CommandOutcome, CommandRefused, RevokeTokens, StartMedia
from control.media_orders import EndMedia
from control.ownership import Handover, Ownership
from control.requests import After, Refused
from telephony.calls import HungUp
from telephony.causes import (
    AnsweredBy,
    CallStatus,
    Direction,
    EndedReason,
    Ending,
    HangupCause,
    HangupSource,
    Outcome,
    outcome,
)
from telephony.client_errors import Verdict
from telephony.commands import LONGEST_CALL, Hangup, Reject, RejectReason

NOT_IN_PROGRESS = Refused(status=409, code="call_not_in_progress", detail="Call is not in progress")

# What the carrier is asked to let an outbound call last at most, beyond what we keep ourselves: it must not be what
# ends a call.
_LIMIT_SLACK = 60


class EndPhase(IntEnum):
    """How far the end has come."""

    LIVE = auto()
    GOODBYE = auto()
    HANGING_UP = auto()
    SETTLING = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFacts:
    """What is known of an end that has happened."""

    cause: HangupCause | None = None
    """None: nobody has said."""
    source: HangupSource = HangupSource.UNKNOWN
    sip_code: int | None = None
    duration: float | None = None
    at: datetime | None = None
    by_carrier: bool = True
    """Whether it was the carrier who said that the leg is over."""


class CallEnding:
    """One call's end. Driven by the other parts and by the carrier's word; gives the last effects of the call."""

    def __init__(self, docket: Docket) -> None:
        self.phase = EndPhase.LIVE
        self.before: list[Callable[[float], None]] = []
        """What must be settled before the call is over."""
        self.last: list[Callable[[], None]] = []
        """What is still to be told before the last word."""
        self.refusal: RejectReason | None = None
        """What an inbound call was refused with."""
        self.answering = False
        """Whether the carrier was told to answer an inbound call."""
        self.answered_by: AnsweredBy | None = None
        self.stream_failed = False
        """Whether the carrier has said that its stream is broken, and none was up since."""
        self._docket = docket
        self._media = False
        self._lost = False
        self._over_at_carrier = False
        self._asked = False
        self._put_down: set[str] = set()
        self._failure: dict[str, object] = {}

    @property
    def is_live(self) -> bool:
        """Whether nothing has begun to end the call yet."""
        return self.phase is EndPhase.LIVE

    @property
    def decided(self) -> bool:
        """Whether the record says how the call ended."""
        return self.phase >= EndPhase.SETTLING

    @property
    def closed(self) -> bool:
        """Whether the last event was published."""
        return self.phase is EndPhase.CLOSED

    @property
    def time_limit(self) -> int:
        """Seconds after the answer at which the carrier ends an outbound call.

        It knows of one limit for the leg, and a transferred caller stays on it.
        """
        brief = self._docket.brief
        return min(LONGEST_CALL, int(brief.max_duration) + _LIMIT_SLACK + brief.transfer_time_limit)

    # Our own doing

    def start_media(self) -> None:
        """Begin the call's media; from here on its end waits for theirs."""
        if not self._media:
            self._media = True
            self._docket.add(StartMedia())

    def end(self, reason: EndedReason, now: float, *, after: After = After.NOW) -> None:
        """End the call for this reason, unless it is ending already; a goodbye under way can be cut short."""
        docket = self._docket
        if self.phase is EndPhase.GOODBYE and after is After.NOW:
            self._hang_up(now)
        if not self.is_live:
            return
        heard = docket.answered and self._media and docket.ownership is Ownership.OWNED
        self._intend(reason)
        self.phase = EndPhase.GOODBYE
        self._settle_before(now)
        if after is After.PLAYOUT and heard:
            docket.await_playout(self._said, now)
        else:
            self._hang_up(now)

    def refuse(self, refusal: RejectReason, reason: EndedReason, now: float) -> None:
        """Do not take an inbound call."""
        if self.phase is not EndPhase.LIVE:
            return
        self.refusal = refusal
        self._intend(reason)
        self._hang_up(now)

    def lost(self, now: float) -> None:
        """The caller cannot be reached any more. Should the call turn out to be over already, nobody erred."""
        if self.phase is EndPhase.LIVE:
            self._lost = True
            self.end(EndedReason.ERROR, now)
        else:
            self.end(EndedReason.ERROR, now, after=After.NOW)

    def fail(self, now: float, **failure: object) -> None:
        """There is no call, for this reason."""
        self._failure = failure
        if self._docket.record.intent is None:
            self._intend(EndedReason.ERROR)
        self.over(EndFacts(cause=HangupCause.FAILED, by_carrier=False), now)

    def _intend(self, reason: EndedReason) -> None:
        self._docket.change(intent=reason)
        self._docket.publish("call.ending", reason=reason.value)

    def _settle_before(self, now: float) -> None:
        for settle in self.before:
            settle(now)

    def _said(self, in_time: bool, now: float) -> None:
        if self.phase is EndPhase.GOODBYE:
            self._hang_up(now)

    def _hang_up(self, now: float) -> None:
        docket = self._docket
        self.phase = EndPhase.HANGING_UP
        docket.forget_speech()
        docket.deadlines.clear_all()
        docket.deadlines.set(Due.HANGUP, now + HANGUP_LIMIT)
        if self._media and docket.ownership is not Ownership.RELEASED:
            docket.order(EndMedia(docket.record.intent or EndedReason.ERROR))
        docket.add(RevokeTokens())
        if docket.capabilities.controllable:
            self.named(now)
        else:
            # Closing the socket is all that can be done; the carrier's document says what follows.
            docket.deadlines.set(Due.HANGUP, now + HANGUP_WAIT)

    def named(self, now: float) -> None:
        """The leg has a name, or another one: if it is to be hung up and was not, this is the time."""
        docket = self._docket
        call_id = docket.record.carrier_call_id
        if self.phase is not EndPhase.HANGING_UP or call_id is None or self._asked:
            return
        outbound = docket.record.direction is Direction.OUTBOUND
        if docket.answered or outbound or self.answering:
            self._asked = True
            self.put_down(call_id, ringing=outbound and not docket.answered)
        elif docket.capabilities.answers_by_document:
            # The document that it waits for refuses it; nothing more is certain to come.
            docket.deadlines.set(Due.HANGUP, now + HANGUP_WAIT)
        else:
            self._asked = True
            reason = self.refusal or RejectReason.REJECTED
            command = Reject(command_id=docket.command_id(), carrier_call_id=call_id, reason=reason)
            docket.perform(command, partial(self._told, call_id))

    def unnamed(self, now: float) -> None:
        """Nobody knows whether there is a leg to hang up."""
        if self.phase is EndPhase.HANGING_UP and not self._asked:
            self._docket.deadlines.set(Due.HANGUP, now + HANGUP_WAIT)

    def _told(self, call_id: str, result: CommandOutcome, now: float) -> None:
        """The carrier took the hang-up, or will not: then whatever comes of the leg later is a reason to try again."""
        if isinstance(result, CommandRefused) and result.verdict is not Verdict.ALREADY_ENDED:
            self._asked = False
            self._put_down.discard(call_id)
        if self.phase is not EndPhase.HANGING_UP:
            return
        match result:
            case CommandDone(performed=performed) if performed.already:
                self.gone(now)
            case CommandDone():
                self._docket.deadlines.set(Due.HANGUP, now + HANGUP_WAIT)
            case CommandRefused(verdict=Verdict.ALREADY_ENDED):
                self.gone(now)
            case CommandRefused(verdict=verdict, detail=detail):
                self._docket.publish("call.hangup_refused", verdict=verdict.value, detail=detail)
                self._docket.deadlines.set(Due.HANGUP, now + HANGUP_WAIT)

    def not_confirmed(self, now: float) -> None:
        """The carrier has not said that the call is over; for us it is."""
        self.over(EndFacts(by_carrier=False), now)

    # The end

    def hung_up(self, event: HungUp, now: float) -> None:
        """The carrier says that the leg is over."""
        if event.answered and self._docket.happened(states.Happening.ANSWERED):
            self._note_lost_answer(event, now)
        facts = EndFacts(
            cause=event.cause,
            source=event.source,
            sip_code=event.sip_code,
            duration=event.duration,
            at=event.origin.occurred_at,
        )
        self.over(facts, now)

    def _note_lost_answer(self, event: HungUp, now: float) -> None:
        """The end is the first that we hear of the answer."""
        docket = self._docket
        ended = docket.when(event.origin.occurred_at, now)
        answered = docket.record.started_at
        if event.duration is not None:
            answered = max(answered, ended - timedelta(seconds=event.duration))
        docket.change(answered_at=answered)
        docket.publish("call.answered", answered_at=answered.isoformat())

    def gone(self, now: float) -> None:
        """Asked, the carrier says that the call is over already."""
        self.over(EndFacts(), now)

    def over(self, facts: EndFacts, now: float) -> None:
        """The leg is over, for good."""
        self._over_at_carrier |= facts.by_carrier
        docket = self._docket
        if self.decided:
            if docket.record.hangup_cause is None and facts.cause is not None and facts.by_carrier:
                docket.change(hangup_cause=facts.cause)
            return
        before, self.phase = self.phase, EndPhase.SETTLING
        self._settle_before(now)
        meant = self._meaning(facts, self._intent(facts, before))
        docket.happened(states.ENDS[meant.status])
        docket.change(
            disposition=meant.disposition,
            ended_reason=meant.ended_reason,
            hangup_cause=facts.cause if facts.by_carrier else None,
            ended_at=docket.when(facts.at, now),
            transfer_duration_seconds=self._transferred_for(now),
        )
        told = before is EndPhase.HANGING_UP
        self._wind_up(meant.ended_reason or EndedReason.CALLER_HANGUP, now, media_told=told)

    def _intent(self, facts: EndFacts, phase: EndPhase) -> EndedReason | None:
        """Why we have ended it; nothing of ours, if it was over before we missed the caller."""
        unasked = facts.by_carrier and facts.cause is None
        if self._lost and unasked and phase is EndPhase.HANGING_UP:
            return None
        return self._docket.record.intent

    def _meaning(self, facts: EndFacts, intent: EndedReason | None) -> Outcome:
        docket = self._docket
        record, answered = docket.record, docket.answered
        return outcome(
            Ending(
                cause=self._cause(facts, intent, answered),
                direction=record.direction,
                answered=answered,
                sip_code=facts.sip_code,
                source=facts.source,
                intent=intent,
                rejected=self._refused(intent),
                transferred=docket.ownership is Ownership.RELEASED,
                answered_by=self.answered_by,
                duration=facts.duration,
                time_limit=self.time_limit if record.direction is Direction.OUTBOUND else None,
                stream_failed=self.stream_failed,
            )
        )

    def _refused(self, intent: EndedReason | None) -> bool:
        return self.refusal is not None and intent is not EndedReason.ERROR

    def _cause(self, facts: EndFacts, intent: EndedReason | None, answered: bool) -> HangupCause:
        """What to judge the end by."""
        if answered:
            return facts.cause or HangupCause.NORMAL_CLEARING
        inbound = self._docket.record.direction is Direction.INBOUND
        if facts.cause is None or (inbound and intent is EndedReason.ERROR):
            # Nobody said; or the carrier repeats as its cause how we have turned the caller away.
            return HangupCause.ORIGINATOR_CANCEL
        return facts.cause

    def _transferred_for(self, now: float) -> int:
        since = self._docket.released_since
        return 0 if since is None else max(0, round(now - since))

    def _wind_up(self, reason: EndedReason, now: float, *, media_told: bool) -> None:
        """Nothing is waited for any more, but for the media."""
        docket = self._docket
        released = docket.ownership is Ownership.RELEASED
        docket.moved(Handover.CALL_ENDED)
        docket.deadlines.clear_all()
        docket.forget_speech()
        docket.refuse_open(NOT_IN_PROGRESS)
        if not media_told:
            if self._media and not released:
                docket.order(EndMedia(reason))
            docket.add(RevokeTokens())
        if self._media:
            docket.deadlines.set(Due.CLOSE, now + CLOSE_WAIT)
        else:
            self.close()

    def media_ended(self, now: float) -> None:
        """The files are written."""
        self._media = False
        if self.phase is EndPhase.SETTLING:
            self.close()
        elif self._docket.ownership is not Ownership.RELEASED:
            self.end(EndedReason.ERROR, now)

    def close(self) -> None:
        """The record is final: say so."""
        docket = self._docket
        record = docket.record
        self.phase = EndPhase.CLOSED
        docket.deadlines.clear_all()
        for tell in self.last:
            tell()
        facts: dict[str, object] = {
            "status": record.status.value,
            "disposition": record.disposition and record.disposition.value,
            "ended_reason": record.ended_reason and record.ended_reason.value,
            "hangup_cause": record.hangup_cause and record.hangup_cause.value,
        }
        if record.status is not CallStatus.COMPLETED:
            docket.publish("call.failed", **facts, **self._failure)
        docket.publish("call.ended", **facts)
        docket.add(Close())

    # A leg that should not be there

    def alive(self, now: float) -> None:
        """The leg shows signs of life. If we have ended the call without the carrier's word, it goes on without us."""
        call_id = self._docket.record.carrier_call_id
        if self.decided and not self._over_at_carrier and call_id is not None:
            self.put_down(call_id)

    def put_down(self, call_id: str, *, ringing: bool = False) -> None:
        """Hang up a leg, once."""
        if call_id in self._put_down:
            return
        self._put_down.add(call_id)
        command = Hangup(command_id=self._docket.command_id(), carrier_call_id=call_id, ringing=ringing)
        self._docket.perform(command, partial(self._told, call_id))

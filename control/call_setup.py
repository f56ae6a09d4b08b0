"""How a call begins: dialled or come in, ringing, answered, joined with its agent.

Theory of operation. The agent connects while the call rings, and its server is asked what the call is to be. An
inbound call is answered when both are ready or have been waited for long enough: by a command (Telnyx), or by the
answer to the carrier's question (Twilio). An outbound call is dialled at most once: a dial of unknown outcome is
settled by the first webhook with our token, by asking the carrier, or by the ring deadline; a call that turns up after
that is hung up.
"""

from datetime import datetime

from control.call_docket import Docket
from control.call_ending import CallEnding, EndFacts
from control.call_streams import CallStreams
from control.deadlines import DETECTED_STREAM_WAIT, RING_SLACK, STREAM_WAIT, Due
from control.effects import CommandDone, CommandOutcome, CommandRefused
from control.inputs import Found
from control.ownership import Ownership
from control.states import Happening
from telephony.calls import Initiated, Origin
from telephony.causes import CallStatus, Direction, EndedReason
from telephony.client_errors import Performed, Verdict
from telephony.commands import Answer, Dial, MachineDetection, RejectReason


class CallSetup:
    """Driven by the carrier's news of the leg and the media's of the agent."""

    def __init__(self, docket: Docket, ending: CallEnding, streams: CallStreams) -> None:
        self._docket = docket
        self._ending = ending
        self._streams = streams
        self._rang = False
        self._joined = False
        self._started = False
        self._dialling = False
        self._agent_lost = False
        self._agent_ready = False
        self._server_asked = docket.brief.asks_server

    @property
    def agent_lost(self) -> bool:
        """Whether there is no agent to return a caller to."""
        return self._agent_lost

    def begin(self, now: float) -> None:
        brief = self._docket.brief
        if brief.refusal is not None:
            self._ending.refuse(brief.refusal, EndedReason.API, now)
            return
        self._ending.start_media()
        if brief.record.direction is Direction.OUTBOUND:
            self._dial(now)
        else:
            self._docket.deadlines.set(Due.ANSWER, now + brief.answer_wait)

    # Outbound

    def _dial(self, now: float) -> None:
        docket = self._docket
        brief, record = docket.brief, docket.record
        self._dialling = True
        docket.deadlines.set(Due.RING, now + brief.ring_timeout + RING_SLACK)
        command = Dial(
            command_id=docket.command_id(),
            token=docket.token(),
            to=record.to_number or "",
            from_number=record.from_number or "",
            stream=docket.next_stream(),
            ring_timeout=brief.ring_timeout,
            max_duration=self._ending.time_limit,
            machine_detection=brief.machine_detection,
            caller_name=brief.caller_name,
            headers=brief.headers,
        )
        docket.perform(command, self._dialled)

    def _dialled(self, result: CommandOutcome, now: float) -> None:
        self._dialling = False
        match result:
            case CommandDone(performed=performed):
                self._named(performed, now)
            case CommandRefused(verdict=Verdict.UNKNOWN, detail=detail):
                self._docket.publish("call.dial_outcome_unknown", detail=detail)
                self._ending.unnamed(now)
            case CommandRefused(verdict=verdict, detail=detail, code=code):
                if self._docket.record.carrier_call_id is None and not self._ending.decided:
                    self._ending.fail(now, code=code or verdict.value, detail=detail)

    def _named(self, performed: Performed, now: float) -> None:
        """The dial was answered; what a webhook has said before is newer (trap 17)."""
        record = self._docket.record
        self._docket.change(
            carrier_call_id=record.carrier_call_id or performed.carrier_call_id,
            leg_id=record.leg_id or performed.leg_id,
            session_id=record.session_id or performed.session_id,
        )
        self._ending.named(now)
        self._ending.alive(now)

    def found(self, found: Found, now: float) -> None:
        """Asked, the carrier says that the call is up."""
        self._named(
            Performed(
                carrier_call_id=found.carrier_call_id, leg_id=found.leg_id, session_id=found.session_id
            ),
            now,
        )

    def not_found(self, now: float) -> None:
        """Asked, the carrier knows no such live call."""
        docket = self._docket
        if self._dialling or self._ending.decided:
            return
        if docket.record.carrier_call_id is None:
            self._outcome_unknown(now)
        else:
            self._ending.over(EndFacts(), now)

    def ring_overdue(self, now: float) -> None:
        if self._docket.record.carrier_call_id is None:
            self._outcome_unknown(now)
        else:
            self._ending.end(EndedReason.TIMEOUT, now)

    def _outcome_unknown(self, now: float) -> None:
        self._ending.fail(now, code="dial_outcome_unknown", detail="The carrier never said what became of it")

    # Ringing

    def initiated(self, event: Initiated, now: float) -> None:
        record = self._docket.record
        self._docket.change(
            from_number=record.from_number or event.from_number, to_number=record.to_number or event.to_number
        )
        self.rang(event.origin, now)

    def rang(self, origin: Origin, now: float) -> None:
        """The leg exists. Telnyx has no word of its own for ringing."""
        if not self._rang and self._docket.happened(Happening.RANG):
            self._rang = True
            self._docket.publish("call.ringing")

    # Answered

    def agent_up(self, joined: bool, now: float) -> None:
        """The agent is ready."""
        self._agent_lost = False
        self._agent_ready = True
        self._answer_if_ready(now)
        self._joined |= joined
        self._start()

    def server_heard(self, now: float) -> None:
        """The agent's server has answered, or will not in time."""
        self._server_asked = False
        self._answer_if_ready(now)

    def _answer_if_ready(self, now: float) -> None:
        """Answer an inbound call once nothing is waited for; the greeting is what it is to be by then."""
        if self._agent_ready and not self._server_asked and Due.ANSWER in self._docket.deadlines:
            self._docket.deadlines.clear(Due.ANSWER)
            self.answer(now)

    def _start(self) -> None:
        """Media and agent are joined and the call is answered, in whatever order."""
        if self._joined and not self._started and self._docket.record.status is CallStatus.IN_PROGRESS:
            self._started = True
            self._docket.publish("call.started")

    def agent_gone(self, reason: str, now: float) -> None:
        """There is no agent, and none can be had."""
        self._agent_lost = True
        docket = self._docket
        docket.publish("agent.lost", reason=reason)
        if docket.ownership is not Ownership.OWNED:
            return  # the caller may be connected to somebody yet
        docket.change(ws_unavailable=True)
        unanswered = docket.record.direction is Direction.INBOUND and not docket.answered
        if unanswered and not self._ending.answering:
            self._ending.refuse(RejectReason.UNAVAILABLE, EndedReason.ERROR, now)
        else:
            self._ending.end(EndedReason.ERROR, now)

    def answer(self, now: float) -> None:
        """Take the inbound call; where the carrier asks, the next answer does, if it still asks."""
        docket = self._docket
        call_id = docket.record.carrier_call_id
        if docket.answered or not self._ending.is_live:
            return
        if not docket.capabilities.controllable or docket.capabilities.answers_by_document or call_id is None:
            docket.deadlines.set(Due.STREAM, now + STREAM_WAIT)
            return
        self._ending.answering = True
        command = Answer(
            command_id=docket.command_id(),
            carrier_call_id=call_id,
            token=docket.token(),
            stream=self._streams.next(now),
        )
        docket.perform(command, self._answer_told)

    def _answer_told(self, result: CommandOutcome, now: float) -> None:
        match result:
            case CommandDone():
                pass
            case CommandRefused(verdict=Verdict.ALREADY_ENDED):
                self._ending.gone(now)
            case CommandRefused(detail=detail):
                if not self._docket.answered:
                    self._docket.publish("call.answer_refused", detail=detail)
                    self._ending.end(EndedReason.ERROR, now)

    def answered(self, occurred_at: datetime | None, now: float) -> bool:
        """The call is answered, by the carrier's word or because its stream started; False if it was before."""
        docket = self._docket
        if not docket.happened(Happening.ANSWERED):
            return False
        at = docket.when(occurred_at, now)
        docket.change(answered_at=at)
        docket.answered_since = now - max(0.0, (docket.wall(now) - at).total_seconds())
        docket.publish("call.answered", answered_at=at.isoformat())
        if self._ending.is_live:
            docket.deadlines.clear(Due.RING, Due.ANSWER)
            self.watch_duration()
            self._expect_stream(now)
            self._start()
        return True

    def _expect_stream(self, now: float) -> None:
        detects = self._docket.brief.machine_detection is MachineDetection.SYNC
        wait = DETECTED_STREAM_WAIT if detects else STREAM_WAIT
        if not self._streams.is_up:
            self._docket.deadlines.set(Due.STREAM, now + wait)

    def watch_duration(self) -> None:
        """Keep the longest a call may last; it does not run on while somebody else is being dialled."""
        since = self._docket.answered_since
        if since is not None:
            self._docket.deadlines.set(Due.MAX_DURATION, since + self._docket.brief.max_duration)

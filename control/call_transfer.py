"""A transfer in a call: the goodbye, the dialling, and the way out of it or back to the agent.

Theory of operation. Before the carrier dials, what is being said and an announcement are heard; then the agent is held
until the outcome is known. `completed` is when the two hear each other: the agent is let go and the leg is nobody's
business of ours any more. On failure the agent has the caller back and is told why: Telnyx leaves the caller's leg
alone, on Twilio the document after `<Dial>` opens the next stream. Leg B is told by its token, or by its leg id where
the carrier has lost that.
"""

from dataclasses import dataclass
from datetime import datetime

from control.call_docket import Asker, Docket
from control.call_ending import NOT_IN_PROGRESS, CallEnding
from control.call_gather import NO_VOICE
from control.call_setup import CallSetup
from control.call_streams import CallStreams
from control.deadlines import Due
from control.effects import CommandDone, CommandOutcome, CommandRefused, RevokeTokens
from control.media_orders import HoldAgent, Release, ReleaseAgent, Unheard
from control.ownership import Handover
from control.refusals import carrier_refused, not_supported
from control.requests import After, OnFailure, Refused, TransferCall
from control.transfers import Transferring, TransferState, TransferStep
from telephony.calls import (
    Origin,
    ReferCompleted,
    ReferFailed,
    TransferEnded,
    TransferLegAnswered,
    TransferLegBridged,
    TransferLegHungUp,
    TransferLegInitiated,
    TransferLegRinging,
)
from telephony.capabilities import Means
from telephony.causes import Direction, EndedReason, HangupCause
from telephony.client_errors import Verdict
from telephony.commands import CancelTransfer, Refer, Transfer

_HOLD = "transfer"
# Beyond its ring timeout, for the carrier to dial and to tell.
_DIAL_SLACK = 15.0
# For leg B's end, or the document after it, once it was told to hang up.
_CANCEL_WAIT = 10.0
# Twilio tells of leg B's end and asks what to do next at about the same time.
_ACTION_WAIT = 5.0
# An announcement: see control.gathering.
_READS = 8.0
_RENDERED = 10.0
# Of those that came before, leg B of one may still ring.
_REMEMBERED = 8

IN_PROGRESS = Refused(
    status=409, code="transfer_in_progress", detail="A transfer is already in progress for this call"
)
NONE_RUNS = Refused(status=409, code="no_transfer_in_progress", detail="No transfer is in progress")

LegEvent = (
    TransferLegInitiated | TransferLegRinging | TransferLegAnswered | TransferLegBridged | TransferLegHungUp
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferView:
    """The latest transfer, as the API shows it."""

    transfer_id: str
    destination: str
    state: TransferState
    requested_at: datetime
    dialled_at: datetime | None
    ringing_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    """When it came out as it did."""
    cause: str | None
    """Why it failed."""


class CallTransfer:
    """One call's transfers, one at a time. Driven by requests, what is heard, the carrier's word, and time."""

    def __init__(self, docket: Docket, ending: CallEnding, streams: CallStreams, setup: CallSetup) -> None:
        self._docket = docket
        self._ending = ending
        self._streams = streams
        self._setup = setup
        self._latest: Transferring | None = None
        self._asker = Asker()
        self._held = False
        self._await: str | None = None
        self._leg_cause: str | None = None
        self._earlier: list[Transferring] = []
        ending.before.append(self.call_ended)

    @property
    def runs(self) -> bool:
        return self._latest is not None and not self._latest.over

    @property
    def was_dialled(self) -> bool:
        """Whether the call may have a second leg."""
        return bool(self._earlier) or (self._latest is not None and self._latest.dialled)

    @property
    def view(self) -> TransferView | None:
        transfer = self._latest
        if transfer is None:
            return None
        moments = transfer.moments
        return TransferView(
            transfer_id=transfer.asked.transfer_id,
            destination=transfer.asked.destination,
            state=transfer.state,
            requested_at=self._docket.wall(moments.asked),
            dialled_at=self._wall(moments.dialled),
            ringing_at=self._wall(moments.ringing),
            answered_at=self._wall(moments.answered),
            ended_at=self._wall(moments.over),
            cause=transfer.cause,
        )

    def _wall(self, moment: float | None) -> datetime | None:
        return None if moment is None else self._docket.wall(moment)

    # Asked for

    def start(self, asked: TransferCall, asker: Asker, now: float) -> None:
        refused = self._refusal(asked)
        if refused is not None:
            self._docket.answer(asker, refused)
            return
        if self._latest is not None:
            self._earlier = [*self._earlier, self._latest][-_REMEMBERED:]
        transfer = self._latest = Transferring(asked, now)
        self._asker, self._leg_cause = asker, None
        self._docket.publish("transfer.initiated", **_names(asked))
        if asked.after is After.PLAYOUT:
            self._docket.accept(asker, destination=asked.destination, transfer_id=asked.transfer_id)
            self._await = self._docket.await_playout(lambda _, later: self._said(transfer, later), now)
        else:
            self._said(transfer, now)

    def _refusal(self, asked: TransferCall) -> Refused | None:
        able = self._docket.capabilities
        sip = asked.destination.lower().startswith(("sip:", "sips:"))
        if able.transfer is Means.NONE:
            return not_supported(able.carrier, "transfer")
        if asked.refer and not able.sip_refer:
            return not_supported(able.carrier, "transfer by SIP REFER")
        if asked.refer and not sip:
            return Refused(
                status=400,
                code="invalid_destination",
                detail="a SIP REFER needs a SIP URI as its destination",
            )
        if sip and not able.sip_destinations:
            return not_supported(able.carrier, "transfer to a SIP URI")
        if asked.announce is not None and not self._docket.brief.speech:
            return NO_VOICE
        return None

    def cancel(self, asker: Asker, now: float) -> None:
        transfer = self._latest
        if transfer is None or transfer.over:
            self._docket.answer(asker, NONE_RUNS)
        elif transfer.asked.refer and transfer.dialled:
            self._docket.answer(
                asker, not_supported(self._docket.capabilities.carrier, "take back a SIP REFER")
            )
        else:
            self._docket.accept(asker)
            self._cancel(transfer, now)

    def _cancel(self, transfer: Transferring, now: float) -> None:
        if not transfer.step(TransferStep.CANCEL, now):
            return
        if transfer.over:
            self._failed(transfer, now)
        else:
            self._docket.deadlines.set(Due.TRANSFER, now + _CANCEL_WAIT)
            self._put_down_leg(transfer)

    # What is said first

    def _said(self, transfer: Transferring, now: float) -> None:
        """What was being said was heard, or waited for long enough."""
        if transfer.state is not TransferState.SAYING:
            return
        self._await = None
        asked, docket = transfer.asked, self._docket
        if asked.announce is None:
            self._streams.when_touchable(lambda later: self._dial(transfer, later), now)
            return
        docket.accept(self._asker, destination=asked.destination, transfer_id=asked.transfer_id)
        self._hold()
        docket.speak(asked.announce, lambda ok, later: self._announced(transfer, ok, later))
        docket.deadlines.set(Due.TRANSFER, now + _RENDERED + len(asked.announce) / _READS)

    def _announced(self, transfer: Transferring, ok: bool, now: float) -> None:
        if transfer.state is not TransferState.SAYING:
            return
        if ok:
            self._streams.when_touchable(lambda later: self._dial(transfer, later), now)
        elif transfer.step(TransferStep.LEG_ENDED, now, "the announcement could not be said"):
            self._failed(transfer, now)

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._docket.order(HoldAgent(_HOLD))

    # Dialling

    def _dial(self, transfer: Transferring, now: float) -> None:
        docket = self._docket
        call_id = docket.record.carrier_call_id
        if call_id is None or not self._ending.is_live or not transfer.step(TransferStep.SAID, now):
            return
        docket.moved(Handover.DIALLED)
        self._hold()
        self._streams.expect_break(Unheard.CUT)
        docket.deadlines.clear(Due.SILENCE, Due.MAX_DURATION)
        docket.deadlines.set(Due.TRANSFER, now + transfer.asked.ring_timeout + _DIAL_SLACK)
        command = self._command(transfer.asked, call_id)
        docket.perform(command, lambda result, later: self._told(transfer, result, later))

    def _command(self, asked: TransferCall, call_id: str) -> Transfer | Refer:
        docket = self._docket
        token = docket.token(transfer_id=asked.transfer_id)
        if asked.refer:
            return Refer(
                command_id=docket.command_id(),
                carrier_call_id=call_id,
                token=docket.token(operation=asked.transfer_id),
                sip_address=asked.destination,
            )
        record = docket.record
        ours = record.to_number if record.direction is Direction.INBOUND else record.from_number
        return Transfer(
            command_id=docket.command_id(),
            carrier_call_id=call_id,
            token=token,
            destination=asked.destination,
            caller_id=asked.caller_id or ours or "",
            ring_timeout=asked.ring_timeout,
            time_limit=docket.brief.transfer_time_limit,
        )

    def _told(self, transfer: Transferring, result: CommandOutcome, now: float) -> None:
        """The carrier dials, or will not. If nobody knows whether it does, its events or the deadline tell."""
        docket, asked = self._docket, transfer.asked
        match result:
            case CommandRefused(verdict=Verdict.ALREADY_ENDED):
                docket.answer(self._asker, NOT_IN_PROGRESS)
                self._ending.gone(now)
            case CommandRefused(verdict=verdict) if verdict is not Verdict.UNKNOWN:
                if transfer is self._latest:
                    docket.answer_user(self._asker, carrier_refused(result, "Transfer failed"))
                if transfer.step(TransferStep.LEG_ENDED, now, result.detail):
                    transfer.leg_is_gone()
                    self._failed(transfer, now, unbroken=True)
            case CommandDone() | CommandRefused():
                if transfer is self._latest:
                    docket.accept(self._asker, destination=asked.destination, transfer_id=asked.transfer_id)

    # What becomes of leg B

    def leg(self, event: LegEvent, now: float) -> None:
        """The carrier says something of a leg that one of our transfers dialled."""
        transfer = self._transfer_of(event.origin)
        if transfer is None:
            return
        transfer.name_leg(event.origin.carrier_call_id, event.origin.leg_id)
        match event:
            case TransferLegInitiated():
                pass
            case TransferLegRinging():
                transfer.step(TransferStep.RANG, now)
            case TransferLegAnswered():
                transfer.step(TransferStep.ANSWERED, now)
            case TransferLegBridged():
                self._connected(transfer, now)
            case TransferLegHungUp():
                self._leg_ended(transfer, event, now)
        alive = isinstance(event, TransferLegAnswered | TransferLegBridged)
        self._put_down_leg(transfer, again=alive and transfer.over)

    def _transfer_of(self, origin: Origin) -> Transferring | None:
        """By our token; else by its leg's names; else it is the one there is."""
        named = origin.token.transfer_id if origin.token else None
        everyone = [*self._earlier, *([self._latest] if self._latest else [])]
        for transfer in reversed(everyone):
            if named is not None and transfer.asked.transfer_id == named:
                return transfer
            if named is None and {origin.leg_id, origin.carrier_call_id} & transfer.leg_ids:
                return transfer
        return self._latest if named is None else None

    def bridged(self, now: float) -> None:
        """The caller's leg hears another one."""
        if self._latest is not None:
            self._connected(self._latest, now)

    def dial_ended(self, event: TransferEnded, now: float) -> None:
        """Twilio's `<Dial>` is over: it came to nothing, or the conversation that came of it has ended."""
        transfer = self._transfer_of(event.origin)
        if transfer is None:
            return
        transfer.name_leg(event.transfer_call_id, None)
        transfer.leg_is_gone()
        if event.connected:
            self._connected(transfer, now)
        elif transfer.step(TransferStep.LEG_ENDED, now, self._leg_cause or _failure(event.cause)):
            self._failed(transfer, now)

    def referred(self, event: ReferCompleted | ReferFailed, now: float) -> None:
        transfer = self._latest
        if transfer is None or not transfer.asked.refer:
            return
        match event:
            case ReferCompleted():
                self._connected(transfer, now)
            case ReferFailed(sip_code=sip_code):
                cause = "refer refused" if sip_code is None else f"refer refused: SIP {sip_code}"
                if transfer.step(TransferStep.LEG_ENDED, now, cause):
                    self._failed(transfer, now)

    def _connected(self, transfer: Transferring, now: float) -> None:
        """The two hear each other: the caller is theirs."""
        if transfer is not self._latest or not transfer.step(TransferStep.CONNECTED, now):
            return
        docket, asked = self._docket, transfer.asked
        docket.moved(Handover.CONNECTED)
        docket.released_since = now
        docket.deadlines.clear_all()
        docket.change(transferred_to=asked.destination)
        docket.order(Release())
        docket.accept(self._asker, destination=asked.destination, transfer_id=asked.transfer_id)
        docket.publish("transfer.completed", **_names(asked))
        docket.end_tool(self._asker, status="completed")
        docket.add(RevokeTokens())

    def _leg_ended(self, transfer: Transferring, event: TransferLegHungUp, now: float) -> None:
        transfer.leg_is_gone()
        cause = _failure(event.cause)
        if self._docket.capabilities.answers_by_document:
            # Twilio's `<Dial>` knows whether the two have talked, and says so with its question.
            if not transfer.over:
                self._leg_cause = cause
                self._docket.deadlines.set(Due.TRANSFER, now + _ACTION_WAIT)
        elif transfer.step(TransferStep.LEG_ENDED, now, cause):
            self._failed(transfer, now)

    def _put_down_leg(self, transfer: Transferring, *, again: bool = False) -> None:
        """Stop dialling the destination, as soon as it is to be and can be done."""
        call_id = self._docket.record.carrier_call_id
        leg = transfer.take_cancel(again=again)
        if leg is not None and call_id is not None:
            command = CancelTransfer(
                command_id=self._docket.command_id(), carrier_call_id=call_id, transfer_call_id=leg
            )
            self._docket.perform(command)

    # Back to the agent

    def overdue(self, now: float) -> None:
        transfer = self._latest
        if transfer is None or transfer.over:
            return
        if transfer.state is TransferState.SAYING:
            self._announced(transfer, True, now)
        elif transfer.step(TransferStep.TOO_LATE, now, self._leg_cause or "timeout"):
            self._put_down_leg(transfer)
            if self._docket.capabilities.answers_by_document and self._ending.is_live:
                self._streams.retake(now)
            self._failed(transfer, now)

    def call_ended(self, now: float) -> None:
        transfer = self._latest
        if transfer is not None and transfer.step(TransferStep.CALL_ENDED, now, "the call ended"):
            self._put_down_leg(transfer)
            self._failed(transfer, now)

    def _failed(self, transfer: Transferring, now: float, *, unbroken: bool = False) -> None:
        """It came to nothing: whoever asked for it and the agent are told."""
        docket, asked = self._docket, transfer.asked
        docket.deadlines.clear(Due.TRANSFER)
        if self._await is not None:
            docket.cancel_await(self._await)
            self._await = None
        docket.accept(self._asker, destination=asked.destination, transfer_id=asked.transfer_id)
        docket.publish("transfer.failed", **_names(asked), cause=transfer.cause)
        if not self._ending.is_live:
            return
        if transfer.dialled:
            docket.moved(Handover.FAILED)
            self._setup.watch_duration()
        hang_up = asked.on_failure is OnFailure.HANGUP and transfer.state is TransferState.FAILED
        if hang_up or self._setup.agent_lost:
            self._ending.end(self._asker.intent if hang_up else EndedReason.ERROR, now)
        elif transfer.dialled and not unbroken:
            means = docket.capabilities.transfer
            self._streams.resume(means, lambda later: self._return(transfer), now)
        else:
            if transfer.dialled:
                self._streams.unbroken()
            self._return(transfer)

    def _return(self, transfer: Transferring) -> None:
        """The agent has the caller back and is told why."""
        asker = self._asker
        if self._held:
            self._held = False
            told = None if asker.tool_call_id else _told_agent(transfer)
            self._docket.order(ReleaseAgent(_HOLD, tell=told, respond=told is not None))
        self._docket.tell_tool(asker, status=transfer.state.value, cause=transfer.cause)


def _names(asked: TransferCall) -> dict[str, object]:
    return {"transfer_id": asked.transfer_id, "destination": asked.destination}


_WORDS = {
    HangupCause.USER_BUSY: "busy",
    HangupCause.CALL_REJECTED: "rejected",
    HangupCause.NO_ANSWER: "no-answer",
    HangupCause.NO_USER_RESPONSE: "no-answer",
    HangupCause.RING_TIMEOUT: "no-answer",
}


def _failure(cause: HangupCause) -> str:
    """The cause in the words of a call's disposition, where there is one."""
    return _WORDS.get(cause, cause.value)


def _told_agent(transfer: Transferring) -> str:
    if transfer.state is TransferState.CANCELLED:
        return "The transfer was called off. The caller is back with you."
    return (
        f"The transfer failed ({transfer.cause}). The caller is back with you: say so and offer another way."
    )

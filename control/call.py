"""One call, from the dial or the first ring to its last event: what happened goes in, what is to be done comes out.

Theory of operation. `Call` is pure: it is told what carriers, media, users and time bring, and answers with effects
in the order in which they are to happen. It owns the record while the call lives. Inputs may come in any order, twice
and late, and after the end; none of them raises, and after `Close` they are noted at most, or a leg that should not be
there is hung up. Its parts (`call_*`) share a `Docket` and are put together here; the tables they move by are in
`states`, `ownership`, `gathering`, `transfers` and `deadlines`.

Its owner feeds inputs one at a time, performs what comes of each, and calls `poll` at `next_deadline`. A carrier's
question (`TwimlRequested`) is put to `document`, after the events that came with it.
"""

from collections.abc import Callable
from datetime import datetime

from control.brief import CallBrief, CallPorts
from control.call_docket import Asker, Docket, event_name
from control.call_documents import CallDocuments, Document, Wait
from control.call_ending import CallEnding
from control.call_gather import CallGather, GatherView
from control.call_machine import CallMachine
from control.call_record import CallRecord
from control.call_recording import CallRecording
from control.call_requests import CallRequests
from control.call_setup import CallSetup
from control.call_silence import CallSilence
from control.call_streams import CallStreams
from control.call_tools import CallTools
from control.call_transfer import CallTransfer, TransferView
from control.deadlines import Due
from control.effects import CommandDone, CommandRefused, Effect
from control.inputs import Asked, CallInput, DrainAsked, Found, NotFound, ServerHeard, ToolFinished
from control.media_orders import (
    AgentGone,
    AgentUp,
    DigitReported,
    MediaDead,
    MediaEnded,
    PlayedOut,
    PromptPlayed,
    Report,
    SilenceLasted,
    Spoken,
    StreamDown,
    StreamMissing,
    StreamUp,
    ToolAsked,
)
from control.ownership import Ownership
from control.requests import After
from telephony.calls import (
    Answered,
    Bridged,
    CallEvent,
    CostReported,
    GatherEnded,
    GreetingEnded,
    HungUp,
    Initiated,
    KeyPressed,
    MachineDetected,
    Noted,
    PlaybackEnded,
    RecordingFailed,
    RecordingSaved,
    ReferCompleted,
    ReferFailed,
    Ringing,
    SpeakEnded,
    StreamingFailed,
    StreamingStarted,
    StreamingStopped,
    TransferEnded,
    TransferLegAnswered,
    TransferLegBridged,
    TransferLegHungUp,
    TransferLegInitiated,
    TransferLegRinging,
    TwimlRequested,
    as_transfer_leg,
)
from telephony.causes import Direction, EndedReason

_ALIVE = (Initiated, Ringing, Answered, StreamingStarted)


class Call:
    """One call's machine."""

    def __init__(self, brief: CallBrief, ports: CallPorts, now: float) -> None:
        docket = self._docket = Docket(brief, ports, now)
        ending = self._ending = CallEnding(docket)
        streams = self._streams = CallStreams(docket, ending)
        self._setup = CallSetup(docket, ending, streams)
        self._machine = CallMachine(docket, ending, streams)
        self._silence = CallSilence(docket, ending)
        self._gather = CallGather(docket, ending, streams)
        self._transfer = CallTransfer(docket, ending, streams, self._setup)
        self._recording = CallRecording(docket, ending, streams, self._machine)
        self._requests = CallRequests(docket, ending, streams, self._gather, self._transfer, self._recording)
        self._tools = CallTools(docket, ending, self._requests, ports)
        self._documents = CallDocuments(docket, ending, streams)

    # What it is

    @property
    def record(self) -> CallRecord:
        """The call as it is to be kept."""
        return self._docket.record

    @property
    def ownership(self) -> Ownership:
        return self._docket.ownership

    @property
    def ended(self) -> bool:
        """Whether the record says how the call ended; `call.ended` may still wait for the media."""
        return self._ending.decided

    @property
    def gather(self) -> GatherView | None:
        """The latest gather."""
        return self._gather.view

    @property
    def transfer(self) -> TransferView | None:
        """The latest transfer."""
        return self._transfer.view

    def amend(self, change: Callable[[CallRecord], CallRecord]) -> None:
        """Let the owner fill in what only the media or the books know: turns, transcript, costs, notes."""
        self._docket.record = change(self._docket.record)

    # What drives it

    def begin(self, now: float) -> list[Effect]:
        """Dial, or take what has come in."""
        self._setup.begin(now)
        self._machine.begin()
        self._recording.begin()
        return self._docket.take_effects()

    def handle(self, happened: CallInput, now: float) -> list[Effect]:
        """Take what happened and return what is to be done."""
        match happened:
            case Asked(ticket=ticket, request=request):
                self._requests.ask(request, Asker(ticket=ticket), now)
            case CommandDone() | CommandRefused():
                if isinstance(happened, CommandRefused):
                    self._docket.publish(
                        "command.refused",
                        command_id=happened.command_id,
                        verdict=happened.verdict.value,
                        code=happened.code,
                        detail=happened.detail,
                    )
                self._docket.performed(happened, now)
            case ToolFinished():
                self._tools.finished(happened)
            case Found():
                self._setup.found(happened, now)
            case NotFound():
                self._setup.not_found(now)
            case ServerHeard():
                self._setup.server_heard(now)
            case DrainAsked(within=within):
                self._drain(within, now)
            case (
                StreamUp()
                | StreamDown()
                | StreamMissing()
                | MediaDead()
                | AgentUp()
                | AgentGone()
                | PlayedOut()
                | PromptPlayed()
                | DigitReported()
                | SilenceLasted()
                | Spoken()
                | ToolAsked()
                | MediaEnded()
            ):
                self._reported(happened, now)
            case _:
                self._carrier(happened, now)
        self._recording.seek(now)
        return self._docket.take_effects()

    def document(self, asked: TwimlRequested, now: float) -> Document | Wait:
        """Return what the carrier that asks is to do. Never raises; the same question may come any number of times."""
        instruction = self._documents.answer(asked, now)
        until = self._docket.deadlines.at(Due.ANSWER)
        if instruction is None and until is not None:
            return Wait(until, self._docket.take_effects())
        assert instruction is not None, "what has no deadline is not waited for"
        return Document(instruction, self._docket.take_effects())

    def next_deadline(self) -> float | None:
        """When `poll` has something to say; None: only inputs move this call."""
        return self._docket.deadlines.next()

    def poll(self, now: float) -> list[Effect]:
        """Go on where something was waited for too long."""
        while (due := self._docket.deadlines.take_expired(now)) is not None:
            self._overdue(due, now)
        self._recording.seek(now)
        return self._docket.take_effects()

    # Time

    def _overdue(self, due: Due, now: float) -> None:
        match due:
            case Due.RING:
                self._setup.ring_overdue(now)
            case Due.ANSWER:
                self._setup.answer(now)
            case Due.STREAM:
                self._streams.overdue(now)
            case Due.MACHINE:
                self._machine.speak_anyway(now)
            case Due.MESSAGE:
                self._machine.message_overdue(now)
            case Due.SAID:
                self._docket.said_too_late(now)
            case Due.SILENCE:
                self._silence_lasted(now)
            case Due.GATHER:
                self._gather.overdue(now)
            case Due.TRANSFER:
                self._transfer.overdue(now)
            case Due.FILLER:
                self._tools.fill(now)
            case Due.MAX_DURATION:
                self._ending.end(EndedReason.MAX_DURATION, now)
            case Due.DRAIN:
                self._drain_now(now)
            case Due.HANGUP:
                self._ending.not_confirmed(now)
            case Due.CLOSE:
                self._ending.close()

    def _drain(self, within: float, now: float) -> None:
        """A leg that was transferred is not ours to end, and nobody waits for it."""
        if self._ending.decided or self.ownership is Ownership.RELEASED:
            return
        self._docket.deadlines.set(Due.DRAIN, now + within)

    def _drain_now(self, now: float) -> None:
        if self._ending.is_live:
            self._docket.change(drain_forced=True)
        self._ending.end(EndedReason.API, now, after=After.PLAYOUT)

    # The media

    def _reported(self, report: Report, now: float) -> None:
        match report:
            case StreamUp(generation=generation):
                if not self._ending.decided:
                    self._answered(None, now)
                    self._streams.up(generation, now)
            case StreamDown(generation=generation):
                self._streams.down(generation, now)
            case StreamMissing():
                self._streams.missing(now)
            case MediaDead():
                self._media_dead(now)
            case AgentUp(joined=joined):
                self._setup.agent_up(joined, now)
            case AgentGone(reason=reason):
                self._setup.agent_gone(reason, now)
            case PlayedOut(ticket=ticket, in_time=in_time):
                self._docket.played_out(ticket, in_time, now)
            case PromptPlayed(ticket=ticket, ok=ok):
                self._docket.prompt_played(ticket, ok, now)
            case DigitReported(digit=digit):
                self._gather.digit(digit, now)
            case SilenceLasted():
                self._silence_lasted(now)
            case Spoken():
                self._silence.spoken()
            case ToolAsked():
                self._tools.asked(report, now)
            case MediaEnded():
                self._ending.media_ended(now)

    def _media_dead(self, now: float) -> None:
        """Nothing comes from the caller's side any more, whatever its socket says."""
        if self.ownership is Ownership.OWNED and self._streams.is_up:
            self._docket.change(ws_unavailable=True)
            self._ending.end(EndedReason.ERROR, now)

    def _silence_lasted(self, now: float) -> None:
        """Somebody who is asked for digits, dialled for, on hold or kept waiting by a tool may be silent."""
        busy = self._requests.busy or self._tools.running
        if self.ownership is Ownership.OWNED and self._ending.is_live and not busy:
            self._silence.lasted(now)

    # The carrier

    def _carrier(self, event: CallEvent, now: float) -> None:
        mine = self._whose(event)
        if mine is None:
            return
        self._docket.publish(f"carrier.{event_name(type(mine))}")
        if not isinstance(mine, _SECOND_LEG):
            self._docket.name_leg(mine.origin)
            if not isinstance(mine, HungUp):  # a leg that is over needs no end of ours
                self._ending.named(now)
            if isinstance(mine, _ALIVE):
                self._ending.alive(now)
        self._happened(mine, now)

    def _whose(self, event: CallEvent) -> CallEvent | None:
        """Return the event as one of the caller's leg or of a transfer's; None: of a leg that should not be there.

        All legs of a transfer share Telnyx's session, and leg B may have lost its token (trap 18).
        """
        if isinstance(event, _SECOND_LEG):
            return event
        ours, leg_id = self.record.leg_id, event.origin.leg_id
        if ours is None or leg_id is None or leg_id == ours:
            return event
        if self._transfer.was_dialled:
            second = as_transfer_leg(event)
            return second if isinstance(second, _SECOND_LEG) else None
        outbound = self.record.direction is Direction.OUTBOUND
        if outbound and isinstance(event, _ALIVE) and event.origin.carrier_call_id is not None:
            # The dial went out twice: one call is the call, the other one is hung up.
            self._ending.put_down(event.origin.carrier_call_id)
        return None

    def _happened(self, event: CallEvent, now: float) -> None:
        match event:
            case Initiated():
                self._setup.initiated(event, now)
            case Ringing():
                self._setup.rang(event.origin, now)
            case Answered(origin=origin):
                self._answered(origin.occurred_at, now)
            case Bridged():
                self._transfer.bridged(now)
            case HungUp():
                self._ending.hung_up(event, now)
            case MachineDetected():
                self._machine.detected(event, now)
            case GreetingEnded():
                self._machine.greeting_ended(now)
            case GatherEnded():
                self._gather.carrier_ended(event, now)
            case StreamingFailed(url=url):
                self._streams.failed(url, now)
            case (
                TransferLegInitiated()
                | TransferLegRinging()
                | TransferLegAnswered()
                | TransferLegBridged()
                | TransferLegHungUp()
            ):
                self._transfer.leg(event, now)
            case TransferEnded():
                self._transfer.dial_ended(event, now)
            case ReferCompleted() | ReferFailed():
                self._transfer.referred(event, now)
            case (
                KeyPressed()  # the media socket says the same, and in order
                | SpeakEnded()
                | PlaybackEnded()
                | StreamingStarted()  # the socket's own `start` counts
                | StreamingStopped()
                | RecordingSaved()
                | RecordingFailed()
                | CostReported()
                | TwimlRequested()  # `document` answers
                | Noted()
            ):
                pass

    def _answered(self, occurred_at: datetime | None, now: float) -> None:
        """The first news of the answer counts, and none after the end."""
        if not self._ending.decided and self._setup.answered(occurred_at, now):
            self._machine.answered(now)


_SECOND_LEG = (
    TransferLegInitiated,
    TransferLegRinging,
    TransferLegAnswered,
    TransferLegBridged,
    TransferLegHungUp,
)

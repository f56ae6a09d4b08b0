"""What users (and the model's built-in tools) ask of a call, and what they are answered: one table of who may when.

Theory of operation. A request is refused for the state of the call first, then for what the carrier can do, and is
else turned into orders to the media or commands to the carrier. One that only the carrier can grant is answered when
the carrier has; the others at once. Asking for what is so already is granted.
"""

from control.call_docket import Asker, Docket
from control.call_ending import NOT_IN_PROGRESS, CallEnding
from control.call_gather import IN_PROGRESS as GATHER_IN_PROGRESS
from control.call_gather import NO_VOICE, CallGather
from control.call_recording import CallRecording
from control.call_streams import CallStreams
from control.call_transfer import IN_PROGRESS as TRANSFER_IN_PROGRESS
from control.call_transfer import CallTransfer
from control.deadlines import STREAM_WAIT, Due
from control.effects import CommandDone, CommandOutcome, CommandRefused
from control.media_orders import (
    HoldAgent,
    InstructAgent,
    PlayFile,
    ReleaseAgent,
    SpeakText,
    StopFile,
    TellAgent,
    Unheard,
)
from control.ownership import Ownership
from control.refusals import carrier_refused, not_supported
from control.requests import (
    After,
    CallRequest,
    CancelGather,
    CancelTransfer,
    ControlRecording,
    EndCall,
    Gather,
    Hold,
    Inject,
    PlayAudio,
    Refused,
    Resume,
    Say,
    SendDigits,
    StopPlaying,
    TransferCall,
)
from telephony.capabilities import Means
from telephony.causes import CallStatus
from telephony.client_errors import Verdict
from telephony.commands import SendDigits as PressDigits

_HOLD = "hold"

RELEASED = Refused(
    status=409, code="call_released", detail="The caller was transferred: the call is not ours any more"
)
NO_CONTROL = Refused(
    status=409, code="no_control_channel", detail="There is no way to command this call at its carrier"
)
ON_HOLD = Refused(status=409, code="call_on_hold", detail="The agent is mute while the call is on hold")

# Done by the carrier, or perhaps by it.
_BY_CARRIER = TransferCall | CancelTransfer | Gather | CancelGather | SendDigits
# What has no place while somebody else is being dialled, or digits are.
_NEEDS_THE_CALLER = TransferCall | Gather | SendDigits | Say | PlayAudio | Hold | Resume

# How long pressing a key takes at most, the pause after it included (`W` waits 1 s).
_KEY = 1.0


class CallRequests:
    """One call's answers to requests. Driven by `ask`."""

    def __init__(
        self,
        docket: Docket,
        ending: CallEnding,
        streams: CallStreams,
        gather: CallGather,
        transfer: CallTransfer,
        recording: CallRecording,
    ) -> None:
        self._docket = docket
        self._ending = ending
        self._streams = streams
        self._gather = gather
        self._transfer = transfer
        self._recording = recording
        self.on_hold = False

    @property
    def busy(self) -> bool:
        """Whether the caller is asked for digits, is dialled for, or on hold."""
        return self._gather.runs or self._transfer.runs or self.on_hold

    def ask(self, request: CallRequest, asker: Asker, now: float) -> None:
        """Answer, now or later, exactly once."""
        self._docket.ask(asker)
        if isinstance(request, EndCall):
            self._end(request, asker, now)
            return
        refused = self._refusal(request)
        if refused is not None:
            self._docket.answer(asker, refused)
        else:
            self._grant(request, asker, now)

    # Who may when

    def _refusal(self, request: CallRequest) -> Refused | None:
        docket = self._docket
        if docket.ownership is Ownership.RELEASED:
            return RELEASED
        if docket.record.status is not CallStatus.IN_PROGRESS or not self._ending.is_live:
            return NOT_IN_PROGRESS
        if isinstance(request, _BY_CARRIER) and not self._has_control(request):
            return NO_CONTROL
        if isinstance(request, _NEEDS_THE_CALLER):
            if self._transfer.runs:
                return TRANSFER_IN_PROGRESS
            if self._gather.runs:
                return GATHER_IN_PROGRESS
        return None

    def _has_control(self, request: CallRequest) -> bool:
        """Whether the carrier can be told; a gather need not be the carrier's."""
        docket = self._docket
        if isinstance(request, Gather | CancelGather):
            return True
        return docket.capabilities.controllable and docket.record.carrier_call_id is not None

    def _end(self, request: EndCall, asker: Asker, now: float) -> None:
        docket = self._docket
        if docket.ownership is Ownership.RELEASED and not request.released:
            docket.answer(asker, RELEASED)
            return
        docket.accept(asker)
        docket.end_tool(asker, status="accepted")
        self._ending.end(asker.intent, now, after=request.after)

    def _grant(self, request: CallRequest, asker: Asker, now: float) -> None:
        match request:
            case EndCall():
                self._end(request, asker, now)
            case TransferCall():
                self._transfer.start(request, asker, now)
            case CancelTransfer():
                self._transfer.cancel(asker, now)
            case Gather():
                self._gather.start(request, asker, now)
            case CancelGather():
                self._gather.cancel(asker, now)
            case SendDigits():
                self._send_digits(request, asker, now)
            case Say():
                self._say(request, asker)
            case PlayAudio():
                self._play(request, asker, now)
            case Inject():
                self._docket.order(TellAgent(request.role, request.text, request.respond))
                self._docket.accept(asker)
            case StopPlaying():
                self._docket.order(StopFile())
                self._docket.accept(asker)
            case Hold() | Resume():
                self._put_on_hold(request, asker)
            case ControlRecording():
                self._recording.control(request.action, asker, now)

    # What the media does

    def _say(self, request: Say, asker: Asker) -> None:
        docket = self._docket
        if request.verbatim and not docket.brief.speech:
            docket.answer(asker, NO_VOICE)
        elif request.verbatim:
            docket.order(
                SpeakText(docket.new_id("say"), request.text, interruptible=request.interruptible),
            )
            docket.accept(asker, mode="verbatim")
        elif self.on_hold:
            docket.answer(asker, ON_HOLD)
        else:
            docket.order(InstructAgent(request.text))
            docket.accept(asker, mode="instructed")

    def _play(self, request: PlayAudio, asker: Asker, now: float) -> None:
        docket = self._docket
        file = PlayFile(docket.new_id("play"), request.audio, request.rate, request.loop)
        docket.accept(asker)
        docket.publish("play.asked", source=request.source, loop=request.loop)
        if request.after is After.PLAYOUT:
            docket.await_playout(lambda _in_time, _later: docket.order(file), now)
        else:
            docket.order(file)

    def _put_on_hold(self, request: Hold | Resume, asker: Asker) -> None:
        docket = self._docket
        docket.accept(asker)
        match request:
            case Hold(audio=audio, rate=rate):
                if self.on_hold and audio is None:
                    return
                self.on_hold = True
                docket.order(HoldAgent(_HOLD, tone=audio is None, audio=audio, rate=rate))
            case Resume():
                if not self.on_hold:
                    return
                self.on_hold = False
                docket.order(ReleaseAgent(_HOLD, tell="The caller was on hold and is back."))
        docket.publish("call.hold" if self.on_hold else "call.resume")

    # What the carrier does

    def _send_digits(self, request: SendDigits, asker: Asker, now: float) -> None:
        able = self._docket.capabilities
        if able.send_digits is Means.NONE:
            self._docket.answer(asker, not_supported(able.carrier, "send digits"))
        else:
            self._streams.when_touchable(lambda later: self._press(request, asker, later), now)

    def _press(self, request: SendDigits, asker: Asker, now: float) -> None:
        docket = self._docket
        call_id = docket.record.carrier_call_id
        if call_id is None:
            docket.answer(asker, NO_CONTROL)
            return
        breaks = docket.capabilities.send_digits is Means.STREAM_BREAK
        if breaks:
            self._streams.expect_break(Unheard.KEEP)
        command = PressDigits(
            command_id=docket.command_id(),
            carrier_call_id=call_id,
            token=docket.token(),
            digits=request.digits,
            reattach=self._streams.next(now) if breaks else None,
        )
        if breaks:
            # The next stream comes when the keys are pressed.
            docket.deadlines.set(Due.STREAM, now + STREAM_WAIT + _KEY * len(request.digits))
        docket.perform(command, lambda result, later: self._pressed(breaks, asker, result, later))

    def _pressed(self, breaks: bool, asker: Asker, result: CommandOutcome, now: float) -> None:
        match result:
            case CommandDone():
                self._docket.accept(asker)
                self._docket.tell_tool(asker, status="sent")
            case CommandRefused(verdict=Verdict.ALREADY_ENDED):
                self._docket.answer(asker, NOT_IN_PROGRESS)
                self._ending.gone(now)
            case CommandRefused():
                if breaks and self._ending.is_live and self._docket.ownership is Ownership.OWNED:
                    self._docket.deadlines.clear(Due.STREAM)
                    self._streams.unbroken()
                self._docket.answer(asker, carrier_refused(result))

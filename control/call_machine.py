"""Who answered an outbound call, and what is done about a machine.

Theory of operation. With `sync` detection the agent is held from the beginning and speaks with the result; Twilio
waits by itself, Telnyx only reports, so waiting is ours, and bounded. A machine is hung up on, talked to, or left a
message once its greeting is over. The first result counts.
"""

from control.brief import VoicemailAction
from control.call_docket import Docket
from control.call_ending import CallEnding
from control.call_streams import CallStreams
from control.deadlines import MACHINE_WAIT, MESSAGE_WAIT, Due
from control.media_orders import HoldAgent, InstructAgent, ReleaseAgent
from control.ownership import Ownership
from control.requests import After
from telephony.calls import MachineDetected
from telephony.causes import AnsweredBy, Direction, EndedReason
from telephony.commands import MachineDetection

_HOLD = "machine"
# How slowly a voice reads, and what rendering it takes (see control.gathering).
_READS = 8.0
_RENDERED = 10.0

_MACHINES = frozenset({AnsweredBy.MACHINE, AnsweredBy.FAX})


class CallMachine:
    """Driven by the carrier's detection and by the answer."""

    def __init__(self, docket: Docket, ending: CallEnding, streams: CallStreams) -> None:
        self._docket = docket
        self._ending = ending
        self._streams = streams
        self._held = False
        self._greeting_over = False
        self._to_leave = False

    @property
    def holds(self) -> bool:
        """Whether the agent is quiet for its sake: it is a machine, or nobody knows yet."""
        return self._held

    def begin(self) -> None:
        """Keep the agent quiet until it is known who listens."""
        outbound = self._docket.record.direction is Direction.OUTBOUND
        if outbound and self._docket.brief.machine_detection is MachineDetection.SYNC:
            self._hold()

    def answered(self, now: float) -> None:
        if self._held and self._ending.answered_by is None:
            self._docket.deadlines.set(Due.MACHINE, now + MACHINE_WAIT)

    def detected(self, event: MachineDetected, now: float) -> None:
        if self._ending.answered_by is not None or self._ending.decided:
            return
        self._ending.answered_by = event.answered_by
        self._docket.publish(
            "call.machine_detected", answered_by=event.answered_by.value, seconds=event.after
        )
        self._docket.deadlines.clear(Due.MACHINE)
        if self._ending.is_live and self._docket.ownership is Ownership.OWNED:
            self._act(event.answered_by, now)

    def _act(self, answered_by: AnsweredBy, now: float) -> None:
        action = self._docket.brief.voicemail
        if answered_by not in _MACHINES or (
            answered_by is AnsweredBy.MACHINE and action is VoicemailAction.CONTINUE
        ):
            self.speak_anyway(now)
        elif answered_by is AnsweredBy.FAX or action is VoicemailAction.HANGUP:
            self._ending.end(EndedReason.AGENT_HANGUP, now)
        else:
            self._hold()
            self._to_leave = True
            self._docket.deadlines.set(Due.MESSAGE, now + MESSAGE_WAIT)
            if self._greeting_over:
                self.leave_message(now)

    def greeting_ended(self, now: float) -> None:
        """The tone was heard, or the greeting is over without one."""
        self._greeting_over = True
        self.leave_message(now)

    def speak_anyway(self, now: float) -> None:
        """It is a person, or nobody can tell: the agent speaks."""
        if self._held:
            self._held = False
            self._docket.order(ReleaseAgent(_HOLD, respond=False))

    def leave_message(self, now: float) -> None:
        if self._to_leave and self._ending.is_live:
            self._to_leave = False
            self._docket.deadlines.clear(Due.MESSAGE)
            self._streams.when_up(self._say_message, now)

    def message_overdue(self, now: float) -> None:
        """Nobody says that the greeting is over, or that the message was heard."""
        if self._to_leave:
            self.leave_message(now)
        else:
            self._ending.end(EndedReason.AGENT_HANGUP, now)

    def _say_message(self, now: float) -> None:
        message = self._docket.brief.voicemail_message or ""
        self._docket.deadlines.set(Due.MESSAGE, now + _RENDERED + len(message) / _READS)
        if self._docket.brief.speech:
            self._docket.speak(message, self._said)
        else:
            self._held = False
            self._docket.order(
                ReleaseAgent(_HOLD),
                InstructAgent(
                    f"You have reached a voicemail box. Say exactly this and nothing else: {message}"
                ),
            )
            self._ending.end(EndedReason.AGENT_HANGUP, now, after=After.PLAYOUT)

    def _said(self, ok: bool, now: float) -> None:
        self._ending.end(EndedReason.AGENT_HANGUP, now)

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._docket.order(HoldAgent(_HOLD))

"""Whether a call is recorded, as its users want it and as its caller has consented.

    off --start--> on <--resume-- paused        a pause is silence, a stop is the end until the next start
     |              |----pause---->
     '--start--> asking --heard--> on           where the agent has a consent prompt

Theory of operation. An agent with a consent prompt says it to every caller who is to be recorded, word for word and
before anything is: the agent is held meanwhile, so its greeting comes after it. Consent is that the caller has heard
the prompt to its end and is still there. A prompt that cannot be said, or is cut off, is no consent: the call goes on
and is not recorded. Where a machine answers nobody is asked.
"""

from control.call_docket import Asker, Docket
from control.call_ending import CallEnding
from control.call_gather import NO_VOICE
from control.call_machine import CallMachine
from control.call_streams import CallStreams
from control.media_orders import HoldAgent, Record, ReleaseAgent
from control.ownership import Ownership
from control.requests import RecordingAction

_HOLD = "consent"


class CallRecording:
    """Driven by users (`control`), and after whatever happens to the call (`seek`)."""

    def __init__(
        self, docket: Docket, ending: CallEnding, streams: CallStreams, machine: CallMachine
    ) -> None:
        self._docket = docket
        self._ending = ending
        self._streams = streams
        self._machine = machine
        self._prompt = docket.brief.recording_consent
        self._consented = False
        self._held = self._asked = False
        self._state = "off"

    def begin(self) -> None:
        """The media begins: it records at once, or waits for the consent."""
        if not self._docket.record.recording_enabled or self._docket.brief.refusal is not None:
            return
        if self._prompt is None:
            self._state = "on"
            return
        self._docket.change(recording_consent=False)
        if self._docket.brief.speech:
            self._await_consent()
        else:
            self._docket.publish("recording.consent", given=False, detail="there is no voice to ask in")

    def control(self, action: RecordingAction, asker: Asker, now: float) -> None:
        """Do what a user wants; what is so already is granted."""
        docket = self._docket
        asks = action is RecordingAction.START and self._state == "off" and self._must_ask
        if asks and not docket.brief.speech:
            docket.answer(asker, NO_VOICE)
            return
        if action is RecordingAction.START:
            docket.change(recording_enabled=True)
        if asks:
            docket.change(recording_consent=False)
            self._await_consent()
            self.seek(now)
        elif (after := _AFTER.get((self._state, action))) is not None:
            self._move(action, after)
        docket.accept(asker, recording=self._state)

    @property
    def _must_ask(self) -> bool:
        return self._prompt is not None and not self._consented

    def _move(self, action: RecordingAction, after: str) -> None:
        """While the caller is asked there is nothing yet to stop or to pause."""
        if self._state != "asking" and not (self._state == "paused" and self._must_ask):
            self._docket.order(Record(action))
        if after == "on" and self._must_ask:
            after = "asking"
        self._state = after
        self._docket.publish("recording", state=after)

    # The consent

    def _await_consent(self) -> None:
        """The agent is quiet until the caller was asked."""
        self._state = "asking"
        if not self._held:
            self._held = True
            self._docket.order(HoldAgent(_HOLD))

    def seek(self, now: float) -> None:
        """Ask the caller, as soon as there is one to be asked; of one who was asked already, nothing more."""
        if not self._held or self._asked or self._prompt is None:
            return
        docket = self._docket
        there = docket.answered and self._streams.is_up and self._ending.is_live and not self._machine.holds
        if there and docket.ownership is Ownership.OWNED:
            self._asked = True
            docket.speak(self._prompt, self._heard)

    def _heard(self, ok: bool, now: float) -> None:
        docket = self._docket
        self._held = self._asked = False
        ok = ok and not self._machine.holds  # which has found out meanwhile whom it talks to
        if not self._ending.is_live:
            return
        if ok:
            self._consented = True
            docket.change(recording_consent=True)
        detail = "" if ok else "the prompt was not heard to its end"
        docket.publish("recording.consent", given=ok, detail=detail)
        if ok:
            self._begin_as_wanted()
        else:
            self._state = "off"
        docket.order(ReleaseAgent(_HOLD))

    def _begin_as_wanted(self) -> None:
        """What was wanted when the caller was asked may have changed meanwhile."""
        if self._state == "off":
            return
        self._docket.order(Record(RecordingAction.START))
        if self._state == "paused":
            self._docket.order(Record(RecordingAction.PAUSE))
        else:
            self._state = "on"
            self._docket.publish("recording", state="on")


_AFTER = {
    ("off", RecordingAction.START): "on",
    ("on", RecordingAction.STOP): "off",
    ("on", RecordingAction.PAUSE): "paused",
    ("paused", RecordingAction.RESUME): "on",
    ("paused", RecordingAction.START): "on",
    ("paused", RecordingAction.STOP): "off",
    ("asking", RecordingAction.PAUSE): "paused",
    ("asking", RecordingAction.STOP): "off",
}
"""What a recording can be asked for; whatever is not listed is so already, or has nothing to act on."""

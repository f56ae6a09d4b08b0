"""Nobody speaks: one prompt after the other, then the call ends. Whoever speaks begins the ladder anew."""

from control.call_docket import Docket
from control.call_ending import CallEnding
from control.deadlines import Due
from control.media_orders import InstructAgent, SpeakText
from telephony.causes import EndedReason

# The media reports the next silence after the prompt; a prompt that made no sound must not stop the ladder.
_PROMPT_FACTOR = 3.0


class CallSilence:
    """Driven by what the media reports; its owner asks it only while the caller is the agent's."""

    def __init__(self, docket: Docket, ending: CallEnding) -> None:
        self._docket = docket
        self._ending = ending
        self._step = 0

    def lasted(self, now: float) -> None:
        """The silence timeout has passed."""
        prompts = self._docket.brief.silence_prompts
        self._docket.deadlines.clear(Due.SILENCE)
        if self._step >= len(prompts):
            self._ending.end(EndedReason.SILENCE_TIMEOUT, now)
            return
        prompt = prompts[self._step]
        self._step += 1
        self._docket.publish("silence.prompt", step=self._step)
        if self._docket.brief.speech:
            self._docket.order(SpeakText(self._docket.new_id("say"), prompt))
        else:
            self._docket.order(InstructAgent(f"The caller has been silent. Say: {prompt}"))
        if (timeout := self._docket.brief.silence) is not None:
            self._docket.deadlines.set(Due.SILENCE, now + _PROMPT_FACTOR * timeout)

    def spoken(self) -> None:
        self._step = 0
        self._docket.deadlines.clear(Due.SILENCE)

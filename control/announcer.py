"""Says fixed texts and plays files to the caller, and tells everybody what became of them.

The prompt is in the transcript as the agent's words; the model, whose session never said it, is told as much as was
heard: all of it as words of its own, a part of it as what it is.
"""

from collections.abc import Callable, Collection

from control.agent_leg import AgentLeg
from control.carrier_leg import CarrierLeg
from control.media_orders import PlayFile, PromptPlayed, Report, SpeakText
from control.outputs import Outputs, Synthesise
from control.prompts import Prompt, Prompts
from control.timeline import Timeline
from control.transcript import Transcript
from media.playout import MAX_QUEUED, ItemHeard
from media.realtime.events import Role

# A file to be played once is queued whole, and playout holds no more than this.
_LONGEST = 0.9 * MAX_QUEUED

INTERRUPTED, STOPPED, DROPPED = "interrupted", "stopped", "not wanted any more"
"""Why a prompt was not heard to its end."""


class Announcer:
    """Driven by the bridge: orders, audio, playout's word. Never cuts, never waits."""

    def __init__(
        self,
        *,
        carrier: CarrierLeg,
        outputs: Outputs,
        timeline: Timeline,
        transcript: Transcript,
        report: Callable[[Report], None],
    ) -> None:
        self._carrier = carrier
        self._outputs = outputs
        self._timeline = timeline
        self._transcript = transcript
        self._report = report
        self._prompts = Prompts()
        self.active = False
        """Whether a prompt is waited for or heard."""

    @property
    def pending(self) -> bool:
        """Whether a prompt is still to be heard that playout does not know of."""
        return self._prompts.waiting

    @property
    def locked(self) -> bool:
        """Whether a prompt must not be interrupted."""
        return self.active and self._prompts.locked

    @property
    def playing(self) -> bool:
        return self._prompts.playing

    @property
    def due(self) -> bool:
        """Whether a prompt's audio is there and its turn has come."""
        return self._prompts.due

    @property
    def patient(self) -> bool:
        """Whether the prompt whose turn it is waits until nothing else is being said."""
        return self._prompts.patient

    # --- what is asked

    def speak(self, order: SpeakText, now: float) -> None:
        prompt = self._ask(
            order.ticket, order.text, now, interruptible=order.interruptible, patient=order.patient
        )
        if prompt is not None:
            self._outputs.actions.append(Synthesise(order.ticket, order.text, order.voice, order.language))

    def play(self, order: PlayFile, now: float) -> None:
        prompt = self._ask(order.ticket, None, now)
        if prompt is None:
            return
        if len(order.audio) / 2 / order.rate > _LONGEST:
            self._failed(prompt, f"longer than {_LONGEST:.0f} s", now)
            return
        prompt.audio, prompt.rate = order.audio, order.rate

    def drop(self, ticket: str, now: float) -> None:
        """Nobody wants to hear it any more; one that has begun is heard to its end."""
        if (prompt := self._prompts.not_begun(ticket)) is not None:
            self._failed(prompt, DROPPED, now)

    def _ask(
        self,
        ticket: str,
        text: str | None,
        now: float,
        *,
        interruptible: bool = True,
        patient: bool = False,
    ) -> Prompt | None:
        prompt = self._prompts.ask(ticket, text, interruptible=interruptible, patient=patient)
        self.active = True
        if prompt is None:
            self._tell(ticket, now, "too many prompts wait")
        return prompt

    def ready(self, ticket: str, audio: bytes, rate: int) -> None:
        """The audio of a text is there; of one that nobody waits for any more it is dropped."""
        if (prompt := self._prompts.awaited(ticket)) is not None:
            prompt.audio, prompt.rate = audio, rate

    def failed(self, ticket: str, why: str, now: float) -> None:
        """A text has no audio and will have none."""
        if (prompt := self._prompts.awaited(ticket)) is not None:
            self._failed(prompt, why, now)

    def _failed(self, prompt: Prompt, why: str, now: float) -> None:
        self._prompts.fail(prompt)
        self._tell(prompt.ticket, now, why)

    # --- what becomes of it

    def begin_due(self, at: float, now: float) -> None:
        """Hand the prompts whose turn it is to playout; `at` is the time since the answer."""
        for prompt in self._prompts.write_due(self._carrier.playout):
            if prompt.text is not None:
                self._transcript.text(prompt.item, Role.AGENT, prompt.text, final=True, at=at)
                self._timeline.add(now, "transcript.updated", role=Role.AGENT.value, text=prompt.text)

    def note_heard(self, agent: AgentLeg | None, now: float) -> None:
        """See which prompts the caller has heard to their end."""
        for prompt in self._prompts.heard(self._carrier.playout):
            if prompt.text is not None and agent is not None:
                agent.session.inject(Role.AGENT, prompt.text, now, item_id=prompt.item)
            self._tell(prompt.ticket, now, STOPPED if prompt.stopped else "")

    def stop_file(self, now: float) -> None:
        for prompt in self._prompts.stop_file(self._carrier.playout):
            self._tell(prompt.ticket, now, STOPPED)

    def cut(self, items: Collection[ItemHeard], agent: AgentLeg | None, now: float) -> None:
        """Playout was cleared, and with it these items."""
        for cut in self._prompts.cut(items):
            if cut.prompt.text is not None and cut.heard and agent is not None:
                seconds = self._carrier.playout.format.rate
                words = (
                    f'[The caller was told "{cut.prompt.text}" and interrupted it '
                    f"{cut.heard / seconds:.1f} s into {cut.length / seconds:.1f} s.]"
                )
                agent.session.inject(Role.SYSTEM, words, now)
            self._tell(cut.prompt.ticket, now, INTERRUPTED)

    def end(self, now: float) -> None:
        """The call is over: what was not heard will not be."""
        for prompt in self._prompts.end():
            self._tell(prompt.ticket, now, "the call ended")

    def _tell(self, ticket: str, now: float, why: str) -> None:
        """A prompt is done with; `why` it was not heard to its end, if it was not."""
        self.active = self._prompts.active
        self._timeline.add(now, "prompt.ended", ticket=ticket, ok=not why, detail=why)
        self._report(PromptPlayed(ticket, ok=not why, detail=why))

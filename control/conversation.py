"""Who speaks, who is cut short, and what the transcript, the timeline and the model are told of it."""

from collections.abc import Callable, Sequence

from control.agent_leg import AgentLeg
from control.announcer import Announcer
from control.carrier_leg import CarrierLeg
from control.last_words import LastWords
from control.media_deadline import Deadline
from control.media_orders import Report, SilenceLasted, Spoken
from control.outputs import Outputs
from control.policy import CallPolicy
from control.timeline import Timeline
from control.transcript import Transcript
from media.latency import LatencyTracker
from media.playout import Cut
from media.realtime.configuration import ItemCut
from media.turns import Floor, Speech, TurnTracker
from media.voiced import VoicedTime

# Silence the model is sent beyond what ends a turn for it, in seconds.
_MARGIN = 0.3
# Where the caller may not interrupt, this much of speech is still something to answer afterwards, in seconds.
_UTTERANCE = 0.4


class Conversation:
    """The turns of one call.

    Driven by the bridge: by what the model hears of the caller, by audio that leaves and by marks that come back. It
    cuts the agent off, at the carrier first, and tells the model what was heard. Never begins a turn of the agent's.
    """

    __slots__ = (
        "_carrier",
        "_deadlines",
        "_fell_silent",
        "_policy",
        "_report",
        "_resting",
        "_timeline",
        "_voiced",
        "agent",
        "announcer",
        "greeting_protected",
        "in_question",
        "last_words",
        "latency",
        "transcript",
        "turns",
    )

    def __init__(
        self,
        policy: CallPolicy,
        *,
        carrier: CarrierLeg,
        timeline: Timeline,
        deadlines: dict[Deadline, float],
        outputs: Outputs,
        report: Callable[[Report], None],
        now: float,
    ) -> None:
        self._policy = policy
        self._carrier = carrier
        self._timeline = timeline
        self._deadlines = deadlines
        self.agent: AgentLeg | None = None
        self.transcript = Transcript()
        self.turns = TurnTracker()
        self.latency = LatencyTracker(now)
        self.last_words = LastWords(policy.deadlines.goodbye)
        self.announcer = Announcer(
            carrier=carrier,
            outputs=outputs,
            timeline=timeline,
            transcript=self.transcript,
            report=report,
        )
        self.greeting_protected = False
        self.in_question = False
        """Whether the caller speaks and has not said enough yet to interrupt."""
        self._voiced = VoicedTime()
        self._report = report
        self._resting = False
        self._fell_silent = False

    def saying(self) -> bool:
        """Whether the caller hears the agent or a prompt, or will without anybody's asking."""
        responding = self.agent is not None and self.agent.session.responding
        return self._carrier.playout.speaking() or responding or self.announcer.pending

    # --- the caller

    def caller_started(self, now: float) -> None:
        self._timeline.add(now, "speech.started")
        self.somebody_spoke()
        self._deadlines.pop(Deadline.SILENCE, None)
        self.latency.caller_started(now)
        self.turns.handle(Speech.CALLER_STARTED, now)
        if not self._policy.barge_in.ours:
            self._accept_barge_in(now)
            return
        self.in_question = True
        self._voiced.reset()
        self.weigh((), now)

    def caller_stopped(self, now: float) -> bool:
        """The model heard the caller end; True if that was something to answer."""
        self._timeline.add(now, "speech.ended")
        self.await_speech(now)
        contested = self.turns.floor is Floor.CONTESTED
        self.turns.handle(Speech.CALLER_STOPPED, now)
        self.in_question = False
        if contested and self.turns.floor is Floor.AGENT and self._voiced.seconds < _UTTERANCE:
            return False  # a cough: the agent keeps the floor, and owes nothing
        self.latency.caller_stopped(now, self._policy.vad_silence)
        return True

    def weigh(self, frames: Sequence[bytes], now: float) -> bool:
        """Has the caller said enough since the model heard speech begin? Then the agent is cut."""
        for frame in frames:
            self._voiced.feed(frame, self._carrier.inbound.encoding)
        barge_in = self._policy.barge_in
        if not barge_in.enabled or self.greeting_protected or self._voiced.seconds < barge_in.min_speech:
            return False
        self._accept_barge_in(now)
        return True

    def _accept_barge_in(self, now: float) -> None:
        """Silence the agent, whatever of it is under way; each part only where it is."""
        self.in_question = False
        if self.last_words.locked or self.announcer.locked:
            return
        if self._carrier.playout.speaking():
            self.cut(now)
        elif self.agent is not None and self.agent.session.responding:
            self.agent.session.interrupt([], now)
        if self.announcer.pending:
            self.announcer.cut((), self.agent, now)

    # --- the agent

    def agent_audio_left(self, now: float) -> bool:
        """Audio of the agent left for the caller; True if an utterance began with it."""
        if self.turns.floor is Floor.AGENT or not self.turns.handle(Speech.AGENT_STARTED, now):
            return False
        self.latency.audio_sent(now, self._carrier.playout.round_trip / 2)
        self._timeline.add(now, "ai.speech.started")
        self._deadlines.pop(Deadline.SILENCE, None)
        return True

    def agent_may_have_finished(self, now: float) -> None:
        if self._carrier.playout.speaking():
            return  # nearly always, where this is asked
        if not self.greeting_protected and self.turns.floor not in (Floor.AGENT, Floor.CONTESTED):
            return
        if self.saying():
            return
        self.greeting_protected = False  # heard, or never to be
        if self.turns.handle(Speech.AGENT_FINISHED, now):
            self._timeline.add(now, "ai.speech.ended")
            self.await_speech(now)

    def cut(self, now: float, *, by_caller: bool = True) -> None:
        """Drop all that is unheard, at the carrier first, and tell the model how far it was heard."""
        rate = self._carrier.playout.format.rate
        cut = self._carrier.cut(now)
        cuts = self.agent.interrupt(cut, rate, now) if self.agent is not None else []
        self.tell_transcript(cut, cuts)
        if self.announcer.active:
            self.announcer.cut(cut.items, self.agent, now)
        self.turns.handle(Speech.AGENT_CUT, now)
        self.greeting_protected = False
        self._timeline.add(
            now,
            "barge_in" if by_caller else "agent.cut",
            position_ms=round(cut.heard * 1000 / rate),
            heard_ms=cuts[0].heard_ms if cuts else None,
            discarded_ms=round(cut.discarded * 1000 / rate),
            items=len(cuts),
        )

    def tell_transcript(self, cut: Cut, told: Sequence[ItemCut] = ()) -> None:
        """Note what was heard of each item; those of a session that is gone, or at the call's end, are told nobody."""
        rate = self._carrier.playout.format.rate
        for item in cut.items:
            self.transcript.cut(item.item, item.heard * 1000 // rate)
        for each in told:
            self.transcript.cut(each.item_id, each.heard_ms)

    def hold(self, now: float) -> None:
        """The agent is to be deaf and mute from here on: what it says is cut, what the caller says is not awaited."""
        if self._carrier.playout.speaking():
            self.cut(now, by_caller=False)
        elif self.agent is not None:
            self.agent.session.interrupt([], now)
        self.deafen(now)

    def deafen(self, now: float) -> None:
        """The model is to hear nothing from here on: a turn of the caller's that has begun is over."""
        if self.turns.floor in (Floor.CALLER, Floor.CONTESTED):
            self.hush()
            self._timeline.add(now, "speech.ended")
            self.turns.handle(Speech.CALLER_STOPPED, now)
            self.in_question = False

    def hush(self) -> None:
        """The model must not hang in mid-speech while it hears nothing."""
        if self.agent is not None:
            self.agent.hush(self._policy.vad_silence + _MARGIN)

    # --- silence

    def await_speech(self, now: float) -> None:
        """It is quiet: somebody should speak before long (lesson 15: counted from the end of playout)."""
        silence = self._policy.deadlines.silence
        if silence is None or self._resting:
            return
        if self.turns.floor in (Floor.NOBODY, Floor.WAITING):
            self._deadlines[Deadline.SILENCE] = now + silence

    def rest(self, resting: bool, now: float) -> None:
        """While a call rests nobody is expected to speak: on hold, between two streams."""
        if resting == self._resting:
            return
        self._resting = resting
        if resting:
            self._deadlines.pop(Deadline.SILENCE, None)
        else:
            self.await_speech(now)

    def silence_lasted(self, now: float) -> None:
        """Report it, and again if it lasts as long again."""
        del self._deadlines[Deadline.SILENCE]
        self._fell_silent = True
        self._report(SilenceLasted())
        self.await_speech(now)

    def somebody_spoke(self) -> None:
        if self._fell_silent:
            self._fell_silent = False
            self._report(Spoken())

"""One call: the carrier leg and the agent leg, joined.

What either side says comes in with the time it came; what is to be done leaves through `outputs`. The bridge owns no
socket, no clock and no task. On the way of a 20 ms frame it makes no objects beyond the bytes themselves.

Three things may end a call, and the first wins: the carrier (its stop, or a lost socket nobody replaced), a deadline,
or us. A lost socket alone ends nothing: the carrier's may be replaced within the grace time, the agent's is.
"""

from collections.abc import Sequence
from enum import Enum, auto
from math import inf

from control.agent_leg import AgentLeg
from control.carrier_leg import CarrierLeg
from control.outputs import CloseAgent, CloseCarrier, ConnectAgent, Finish, Outputs
from control.policy import CallPolicy
from control.timeline import Timeline
from control.transcript import Transcript
from media import g711
from media.digits import DigitCollector, DigitEvent, KeyPressed, KeysEntered
from media.dtmf import DtmfDetector
from media.latency import LatencyTracker
from media.playout import Cut
from media.realtime import events as agent
from media.realtime.configuration import ItemCut
from media.realtime.events import Role, Severity
from media.realtime.session import RealtimeSession, SessionState
from media.turns import Floor, Speech, TurnTracker
from media.voiced import VoicedTime
from telephony import events as carrier
from telephony.stream import UNSUPPORTED_FORMAT, CarrierStream

# The new session is told this much of why it has a past; models greet again otherwise (realtime sheet, A8).
_RESUMED = (
    "The conversation above is already in progress on this phone call. Go on with it; do not greet again."
)


# Where the caller may not interrupt, this much of speech is still something to answer afterwards, in seconds.
_UTTERANCE = 0.4
# An agent session that lived this long was sound: its loss is a new trouble, not the old one again. Counted from
# `ready`, or a server that accepts and closes would be dialled without pause for as long as the caller stays.
_STEADY = 10.0


# Tool calls answered before the caller or the agent is heard again; a model that makes more talks to itself.
_TOOL_ROUNDS = 20

# Python 3.11 looks a member up by a call, and this one is asked for with every frame of the agent's.
_AGENT = Floor.AGENT


class Deadline(Enum):
    """What the bridge waits for, beyond what its machines wait for."""

    MEDIA = auto()
    GRACE = auto()
    DURATION = auto()
    SILENCE = auto()
    GOODBYE = auto()


class Bridge:
    """Events in, outputs out; `next_deadline` and `poll` for everything that time does.

    `wake_changed` says that the deadline may have come nearer since the owner last looked.
    """

    # What every frame asks for. The rest has a dict, which finds its names at once as long as they are few: thirty.
    __slots__ = (
        "__dict__",
        "_goodbye",
        "_in_question",
        "_last_media",
        "_tones",
        "agent",
        "armed",
        "carrier",
        "ended_reason",
        "latency",
        "outputs",
        "turns",
        "wake_changed",
    )

    def __init__(self, policy: CallPolicy, now: float) -> None:
        self.policy = policy
        self.outputs = Outputs()
        self.timeline = Timeline(now)
        self.transcript = Transcript()
        self.turns = TurnTracker()
        self.latency = LatencyTracker(now)
        self.carrier = CarrierLeg(
            self.outputs, lead=policy.lead, heard_offset=policy.heard_offset, record=policy.record
        )
        self.agent: AgentLeg | None = None
        self.usage = agent.Usage()
        self.digits = DigitCollector()
        self._tones = DtmfDetector() if policy.digits.in_band else None
        self.started: carrier.Started | None = None
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.ended_reason: str | None = None
        self.tools_called: list[str] = []
        self.ws_unavailable = False
        self.wake_changed = True
        self.armed = inf
        """When the owner will poll next, as it last said: what is due later need not be told now."""

        self._deadlines: dict[Deadline, float] = {}
        self._greeted = False
        self._greeting_protected = False
        self._in_question = False
        self._voiced = VoicedTime()
        self._resuming = False
        self._answer_owed = False
        self._agent_losses = 0
        self._ready_at: float | None = None
        self._uplink_dropped = 0
        self._keys_entered = 0
        self._tool_rounds = 0
        self._rotate = False
        self._goodbye: str | None = None
        self._last_media = now

    # --- the carrier's side

    def carrier_attached(self, stream: CarrierStream, now: float) -> None:
        """A media socket stands for this call: the first, or one that replaces another."""
        if self.over():
            return
        if self.carrier.stream is not None:
            self.outputs.actions.append(CloseCarrier())
            self.carrier.lose(now)
            self.timeline.add(now, "stream.superseded", generation=self.carrier.generation)
        self.carrier.attach(stream)
        self._last_media = now
        self._deadlines.pop(Deadline.GRACE, None)
        self.wake_changed = True

    def carrier_received(self, message: bytes, now: float) -> None:
        stream = self.carrier.stream
        if stream is None or self.ended_reason is not None:
            return
        scanned = stream.scan(message)
        if scanned is not None:
            self._caller_audio(self.carrier.reorder.push(scanned[0], scanned[1], now), now)
            return
        for event in stream.receive(message, now):
            if isinstance(event, carrier.MarkReached):
                self._mark_reached(event.name, now)
            else:
                self._carrier_event(event, stream, now)
                self._settle(now)

    def carrier_lost(self, code: int | None, reason: str, now: float) -> None:
        """The media socket is gone, without a `stop`."""
        if self.over() or self.carrier.stream is None:
            return
        self.timeline.add(now, "stream.lost", code=code, reason=reason, generation=self.carrier.generation)
        self.ws_unavailable = True
        self.carrier.lose(now)
        self._deadlines[Deadline.GRACE] = now + self.policy.deadlines.close_grace
        self.wake_changed = True

    def carrier_pressure(self, paused: bool, now: float) -> None:
        self.carrier.playout.paused = paused
        self._send_due(now)
        self.wake_changed = True  # a paused playout has no deadline; from here on it has one again

    def _caller_audio(self, frames: Sequence[bytes], now: float) -> None:
        self._last_media = now
        if not frames:
            self.wake_changed = True  # a gap: the reorder window has a deadline now
            return
        self.carrier.take(frames, now)
        if self.agent is not None and self._goodbye is None:  # a call that is ending takes no new turn
            self.agent.caller_audio(frames)
        if self._in_question:
            self._weigh_barge_in(frames, now)
        if self._tones is not None:
            self._listen_for_tones(self._tones, frames, now)

    def _carrier_event(self, event: carrier.StreamEvent, stream: CarrierStream, now: float) -> None:
        match event:
            case carrier.Connected():
                pass
            case carrier.Started():
                self._stream_started(event, now)
            case carrier.MediaReceived(chunk, payload):
                self._caller_audio(self.carrier.reorder.push(chunk, payload, now), now)
            case carrier.DigitReceived(digit, occurred_at, sequence):
                self._digit_events(self.digits.push(digit, occurred_at, sequence, now), now)
            case carrier.MarkReached(name):
                self._mark_reached(name, now)
            case carrier.Stopped():
                self.timeline.add(now, "stream.stopped", generation=self.carrier.generation)
                self._end("caller-hangup", now)
            case carrier.CarrierFault(code, detail):
                self.timeline.add(now, "carrier.error", code=code, detail=detail)
                if code == UNSUPPORTED_FORMAT:
                    self._end("error", now)
            case carrier.Malformed(reason):
                if stream.malformed == 1:
                    self.timeline.add(now, "carrier.malformed", reason=reason)
            case carrier.Flooded(malformed):
                self.timeline.add(now, "carrier.flooded", malformed=malformed)
                self.outputs.actions.append(CloseCarrier(1002))
                self.carrier_lost(1002, "flood of malformed frames", now)
            case carrier.Unrecognised(name):
                if stream.unrecognised.get(name) == 1:
                    self.timeline.add(now, "carrier.unrecognised", message=name)

    def _mark_reached(self, name: str, now: float) -> None:
        """Five a second while the agent speaks: only what may follow from it is looked at."""
        self.carrier.mark_reached(name, now)
        self._agent_may_have_finished(now)
        if self._goodbye is not None or self._rotate:
            self._settle(now)
        self._playout_moved()

    def _stream_started(self, event: carrier.Started, now: float) -> None:
        first = self.started is None
        self.started = event
        self._last_media = now
        self.carrier.start(now)
        self.timeline.add(
            now,
            "stream.started",
            generation=self.carrier.generation,
            stream_id=event.stream_id,
            inbound=str(event.inbound),
            outbound=str(self.carrier.playout.format),
        )
        self._deadlines[Deadline.MEDIA] = now + self.policy.deadlines.media_watchdog
        if first:
            self.answered_at = now
            self.latency = LatencyTracker(now)
            self._deadlines[Deadline.DURATION] = now + self.policy.deadlines.max_duration
            self.timeline.add(now, "call.answered")
        self._join(now)
        self._send_due(now)

    # --- the agent's side

    def agent_opened(self, session: RealtimeSession, now: float, wall: float) -> None:
        """A socket to the model is up; `wall` is unix time, which the session's expiry is told in."""
        if self.over():
            return
        self.agent = AgentLeg(session, self.outputs, uplink_frames=self.policy.uplink_frames)
        self._resuming = self._greeted
        history = self.transcript.history() if self._resuming else []
        session.opened(now, history=history, wall=wall)
        if self._resuming:
            session.inject(Role.SYSTEM, _RESUMED, now)
        self._settle(now)

    def agent_received(self, message: bytes, now: float) -> None:
        leg = self.agent
        if leg is None or self.ended_reason is not None:
            return
        scanned = leg.session.scan(message)
        if scanned is not None:
            self._agent_audio(leg, scanned[0], scanned[1], now)
            return
        for event in leg.session.receive(message, now):
            if self.agent is leg:  # else an event before this one has ended the session
                self._agent_event(event, leg, now)
        self._settle(now)

    def agent_lost(self, code: int | None, reason: str, now: float, *, retry: bool = True) -> None:
        """The model's socket is gone or could not be opened; another is tried while the call lives."""
        if self.over():
            return
        if self.agent is not None:
            for event in self.agent.session.closed(code, reason, now):
                if isinstance(event, agent.AgentFault):
                    self._note_fault(event, now)
                    retry = retry and event.retry
        self._replace_agent(code, reason, now, retry=retry)

    def _replace_agent(self, code: int | None, reason: str, now: float, *, retry: bool) -> None:
        self.timeline.add(now, "agent.lost", code=code, reason=reason)
        self.ws_unavailable = True
        # Whoever was waiting for an answer still is.
        self._answer_owed = self._answer_owed or self.turns.floor is Floor.WAITING
        self._rotate = False
        if self.policy.greeting is not None and not (
            self.turns.turns or self.transcript.utterances or self.carrier.playout.speaking()
        ):
            self._greeted = False  # it was asked for and never heard
        if self._ready_at is not None and now - self._ready_at >= _STEADY:
            self._agent_losses = 0
        self._ready_at = None
        self._drop_agent()
        if self._goodbye is not None and not self._saying():
            self._end(self._goodbye, now)
            return
        retries = self.policy.deadlines.agent_retries
        if not retry or self._agent_losses >= len(retries):
            self._end("error", now)
            return
        self.outputs.actions.append(ConnectAgent(retries[self._agent_losses], reason))
        self._agent_losses += 1

    def agent_pressure(self, paused: bool) -> None:
        if self.agent is not None:
            self.agent.paused = paused

    def _agent_audio(self, leg: AgentLeg, item: str, audio: bytes, now: float) -> None:
        if not audio or (self._goodbye is not None and not self._saying()):
            return  # while a call ends, only the response under way is heard
        if self.turns.floor is not _AGENT:
            self.latency.audio_received(now)
        playout = self.carrier.playout
        leg.agent_audio(item, audio, playout)
        self._send_due(now)
        if not playout.settled_until(self.armed):
            self._playout_moved()

    def _playout_moved(self) -> None:
        deadline = self.carrier.playout.next_deadline()
        if deadline is not None and deadline < self.armed:
            self.wake_changed = True

    def _agent_event(self, event: agent.AgentEvent, leg: AgentLeg, now: float) -> None:
        match event:
            case agent.Ready():
                self._agent_ready(event, now)
            case agent.SpeechStarted():
                self._caller_started(now)
            case agent.SpeechStopped():
                self._caller_stopped(leg, now)
            case agent.ItemAdded(item_id, previous, role):
                self.transcript.added(item_id, previous, role, self._since_answer(now))
            case agent.Transcript(item_id, role, text, final):
                self.transcript.text(item_id, role, text, final=final, at=self._since_answer(now))
                if role is Role.AGENT:
                    self.latency.output_started(now)
                if final:
                    self.timeline.add(now, "transcript.updated", role=role.value, text=text)
            case agent.TranscriptFailed(_, code, message):
                self.timeline.add(now, "transcript.failed", code=code, message=message)
            case agent.ResponseStarted():
                if self._goodbye is not None:
                    leg.session.interrupt([], now)  # begun too late to be heard
                self.latency.response_started(now)
            case agent.AudioReceived(item_id, audio):
                self._agent_audio(leg, item_id, audio, now)
            case agent.AudioEnded(item_id):
                leg.audio_ended(item_id, self.carrier.playout)
                self._send_due(now)
            case agent.ToolCall(call_id, name, _):
                self._tool_call(leg, call_id, name, now)
            case agent.ResponseDone(_, status, reason, usage):
                self.usage += usage
                if status not in ("completed", "cancelled"):
                    self.timeline.add(now, "agent.response", status=status, reason=reason)
                self._agent_may_have_finished(now)
            case agent.TranscriptionUsage(_, usage):
                self.usage += usage
            case agent.Truncated(_, audio_end_ms):
                self.timeline.add(now, "agent.truncated", audio_end_ms=audio_end_ms)
            case agent.ExpiringSoon(seconds_left):
                self.timeline.add(now, "agent.expiring", seconds_left=seconds_left)
                # A session that is short from its beginning is used to its end: the next would be no longer.
                self._rotate = self._ready_at is not None and now - self._ready_at >= _STEADY
            case agent.AgentFault():
                self._fault(event, now)
            case agent.Unrecognised():
                pass

    def _agent_ready(self, event: agent.Ready, now: float) -> None:
        self._ready_at = now
        self.timeline.add(
            now,
            "agent.ready",
            session_id=event.session_id,
            input=str(event.input_format),
            output=str(event.output_format),
        )
        self._join(now)

    def _join(self, now: float) -> None:
        """Both legs are up: audio flows. The greeting leaves with the first join."""
        leg = self.agent
        if leg is None or not self.carrier.started or leg.session.state is not SessionState.READY:
            return
        if not leg.joined:
            leg.join(self.carrier.inbound, self.carrier.playout.format)
            self.timeline.add(now, "call.resumed" if self._greeted else "call.started")
        elif leg.inbound != self.carrier.inbound:
            leg.join(self.carrier.inbound, self.carrier.playout.format)
        self._await_speech(now)
        if not self._greeted:
            self._greeted = True
            self._greet(leg, now)
        elif self._resuming and self._answer_owed:
            self._answer_owed = False
            leg.session.request_response(now)

    def _greet(self, leg: AgentLeg, now: float) -> None:
        if self.policy.greeting is None:
            return
        self.latency.greeting(now)
        self._greeting_protected = self.policy.barge_in.protect_greeting
        leg.session.request_response(now, instructions=self.policy.greeting)

    def _tool_call(self, leg: AgentLeg, call_id: str, name: str, now: float) -> None:
        # The model waits for ever for an output that does not come, so an unknown tool is answered too.
        self.tools_called.append(name)
        self.timeline.add(now, "tool.invoked", tool=name, tool_call_id=call_id)
        self._tool_rounds += 1
        if self._tool_rounds > _TOOL_ROUNDS:
            return  # a loop: nobody hears anything of it
        leg.session.tool_result(call_id, f'{{"error": "no tool named {name} is configured"}}', now)

    def _fault(self, event: agent.AgentFault, now: float) -> None:
        self._note_fault(event, now)
        if event.severity is Severity.FATAL:
            self.outputs.actions.append(CloseAgent())
            self._replace_agent(None, event.code, now, retry=event.retry)

    def _note_fault(self, event: agent.AgentFault, now: float) -> None:
        self.timeline.add(
            now, "agent.error", code=event.code, message=event.message, severity=event.severity.value
        )

    # --- turns and barge-in

    def _caller_started(self, now: float) -> None:
        self.timeline.add(now, "speech.started")
        self._tool_rounds = 0
        self._deadlines.pop(Deadline.SILENCE, None)
        self.latency.caller_started(now)
        self.turns.handle(Speech.CALLER_STARTED, now)
        if not self.policy.barge_in.ours:
            self._accept_barge_in(now)
            return
        self._in_question = True
        self._voiced.reset()
        self._weigh_barge_in((), now)

    def _caller_stopped(self, leg: AgentLeg, now: float) -> None:
        self.timeline.add(now, "speech.ended")
        self._await_speech(now)
        contested = self.turns.floor is Floor.CONTESTED
        self.turns.handle(Speech.CALLER_STOPPED, now)
        self._in_question = False
        if contested and self.turns.floor is Floor.AGENT and self._voiced.seconds < _UTTERANCE:
            return  # a cough: the agent keeps the floor, and owes nothing
        self.latency.caller_stopped(now, self.policy.vad_silence)
        if self.policy.barge_in.ours and self._goodbye is None:
            leg.session.request_response(now)

    def _weigh_barge_in(self, frames: Sequence[bytes], now: float) -> None:
        """Has the caller said enough since the model heard speech begin?"""
        for frame in frames:
            self._voiced.feed(frame, self.carrier.inbound.encoding)
        barge_in = self.policy.barge_in
        if not barge_in.enabled or self._greeting_protected:
            return
        if self._voiced.seconds >= barge_in.min_speech:
            self._accept_barge_in(now)
            self._settle(now)

    def _accept_barge_in(self, now: float) -> None:
        """Silence the agent, whatever of it is under way; each part only where it is."""
        self._in_question = False
        if self._goodbye is not None:
            return
        if self.carrier.playout.speaking():
            self._cut(now)
        elif self.agent is not None and self.agent.session.responding:
            self.agent.session.interrupt([], now)

    def _cut(self, now: float) -> None:
        rate = self.carrier.playout.format.rate
        cut = self.carrier.cut(now)
        cuts = self.agent.interrupt(cut, rate, now) if self.agent is not None else []
        self._tell_transcript(cut, cuts)
        self.turns.handle(Speech.AGENT_CUT, now)
        self._greeting_protected = False
        self.timeline.add(
            now,
            "barge_in",
            position_ms=round(cut.heard * 1000 / rate),
            heard_ms=cuts[0].heard_ms if cuts else None,
            discarded_ms=round(cut.discarded * 1000 / rate),
            items=len(cuts),
        )

    def _tell_transcript(self, cut: Cut, told: Sequence[ItemCut] = ()) -> None:
        """Note what was heard of each item; those of a session that is gone, or at the call's end, are told nobody."""
        rate = self.carrier.playout.format.rate
        for item in cut.items:
            self.transcript.cut(item.item, item.heard * 1000 // rate)
        for each in told:
            self.transcript.cut(each.item_id, each.heard_ms)

    def _agent_may_have_finished(self, now: float) -> None:
        if not self._greeting_protected and self.turns.floor not in (Floor.AGENT, Floor.CONTESTED):
            return
        if self._saying():
            return
        self._greeting_protected = False  # heard, or never to be
        if self.turns.handle(Speech.AGENT_FINISHED, now):
            self.timeline.add(now, "ai.speech.ended")
            self._await_speech(now)

    def _await_speech(self, now: float) -> None:
        """It is quiet: somebody should speak before long (lesson 15: counted from the end of playout)."""
        silence = self.policy.deadlines.silence
        if silence is not None and self.turns.floor in (Floor.NOBODY, Floor.WAITING):
            self._deadlines[Deadline.SILENCE] = now + silence

    def _send_due(self, now: float) -> None:
        if not self.carrier.send_due(now) or self.turns.floor is _AGENT:
            return
        if self.turns.handle(Speech.AGENT_STARTED, now):
            self.latency.audio_sent(now, self.carrier.playout.round_trip / 2)
            self.timeline.add(now, "ai.speech.started")
            self._tool_rounds = 0
            self._deadlines.pop(Deadline.SILENCE, None)

    # --- digits

    def _listen_for_tones(self, tones: DtmfDetector, frames: Sequence[bytes], now: float) -> None:
        for frame in frames:
            for tone in tones.feed(g711.decode(frame, self.carrier.inbound.encoding)):
                self._digit_events(self.digits.push(tone.digit, None, None, now), now)
                self._settle(now)

    def _digit_events(self, pressed: Sequence[DigitEvent], now: float) -> None:
        for event in pressed:
            match event:
                case KeyPressed(digit):
                    self._await_speech(now)
                    self.timeline.add(now, "call.dtmf.received", digit=digit)
                case KeysEntered(digits):
                    self._digits_to_model(digits, now)
        self.wake_changed = True

    def _digits_to_model(self, digits: str, now: float) -> None:
        policy = self.policy.digits
        if self._goodbye is not None or not policy.to_model:
            return
        if policy.interrupts and self.carrier.playout.speaking():
            self._cut(now)
        words = f"[The caller pressed these keys: {digits}]"
        self._keys_entered += 1
        item_id = f"keys_{self._keys_entered}"
        self.transcript.text(item_id, Role.CALLER, words, final=True, at=self._since_answer(now))
        if self.agent is None:
            self._answer_owed = True  # the next session is told of them with the rest
            return
        self.agent.session.inject(Role.CALLER, words, now, item_id=item_id)
        if not self.carrier.playout.speaking() and not self.agent.session.responding:
            self.latency.caller_stopped(now, 0.0)
            self.agent.session.request_response(now)

    # --- the end

    def over(self) -> bool:
        """Whether the call has ended; nothing changes it any more."""
        return self.ended_reason is not None

    def end(self, reason: str, now: float, *, after_playout: bool = True) -> None:
        """End the call for our own `reason`, once what is being said was heard."""
        if self.over():
            return
        if not after_playout or not self._saying():
            self._end(reason, now)
            return
        if self._goodbye is not None:
            return
        self._goodbye = reason
        self._deadlines[Deadline.GOODBYE] = now + self.policy.deadlines.goodbye
        self.wake_changed = True

    def _saying(self) -> bool:
        responding = self.agent is not None and self.agent.session.responding
        return self.carrier.playout.speaking() or responding

    def _end(self, reason: str, now: float) -> None:
        """End now; a reason of ours that a goodbye was heard for stands, unless the carrier was first after all."""
        if self.over():
            return
        if self._goodbye is not None and reason != "caller-hangup":
            reason = self._goodbye
        self.ended_reason = reason
        self.ended_at = now
        self._tell_transcript(self.carrier.finish(now))
        self._deadlines.clear()
        self.timeline.add(now, "call.ended", ended_reason=reason)
        self.outputs.actions += [CloseCarrier(), CloseAgent(), Finish(reason)]

    # --- time passing

    def next_deadline(self) -> float | None:
        """Return when `poll` next has something to do; None once the call has ended."""
        if self.over():
            return None
        candidates = [*self._deadlines.values(), *self._machine_deadlines()]
        return min(candidates, default=None)

    def _machine_deadlines(self) -> list[float]:
        session = self.agent.session.next_deadline() if self.agent is not None else None
        machines = (
            self.carrier.playout.next_deadline() if self.carrier.started else None,
            self.carrier.reorder.next_deadline(),
            self.digits.next_deadline(),
            session,
        )
        return [deadline for deadline in machines if deadline is not None]

    def poll(self, now: float) -> None:
        if self.over():
            return
        for deadline in [deadline for deadline, at in self._deadlines.items() if at <= now]:
            self._deadline_passed(deadline, now)
        if self.over():
            return
        if frames := self.carrier.reorder.poll(now):
            self._caller_audio(frames, now)
        self._digit_events(self.digits.poll(now), now)
        if self.agent is not None:
            leg = self.agent
            for event in leg.session.poll(now):
                if self.agent is leg:
                    self._agent_event(event, leg, now)
        self._settle(now)

    def _deadline_passed(self, deadline: Deadline, now: float) -> None:
        match deadline:
            case Deadline.MEDIA:
                self._media_deadline(now)
            case Deadline.GRACE:
                self._end("error", now)
            case Deadline.DURATION:
                self._deadlines.pop(deadline, None)  # gone if another, as late, has ended the call
                self.end("max-duration", now)
            case Deadline.SILENCE:
                self._end("silence-timeout", now)
            case Deadline.GOODBYE:
                self._end("error", now)

    def _media_deadline(self, now: float) -> None:
        """The watchdog is moved here, not by every frame."""
        silent_until = self._last_media + self.policy.deadlines.media_watchdog
        if silent_until > now or self.carrier.stream is None:
            self._deadlines[Deadline.MEDIA] = max(silent_until, now + 1.0)
            return
        self.timeline.add(now, "media.timeout")
        self._end("error", now)

    def _settle(self, now: float) -> None:
        """After anything but a plain frame: send what is due and owed, see whether something is over."""
        if self.over():
            return
        self._send_due(now)
        self._agent_may_have_finished(now)  # by the clock, where a carrier returns no marks
        if self.agent is not None:
            self.agent.flush()
        if self._goodbye is not None and not self._saying():
            self._end(self._goodbye, now)
            return
        if self._rotate and self.turns.quiet and not self._saying():
            self._rotate = False
            self._drop_agent()
            self.outputs.actions += [CloseAgent(), ConnectAgent(0.0, "expiring")]
        self.wake_changed = True

    @property
    def uplink_dropped(self) -> int:
        """Caller frames the model never got: it was not there, or did not read."""
        return self._uplink_dropped + (self.agent.frames_dropped if self.agent is not None else 0)

    def _drop_agent(self) -> None:
        self._uplink_dropped = self.uplink_dropped
        if self.agent is not None:
            self.agent.finish(self.carrier.playout)
        self.agent = None

    def _since_answer(self, now: float) -> float:
        return now - (self.answered_at if self.answered_at is not None else self.timeline.origin)

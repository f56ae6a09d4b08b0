"""One call: the carrier leg and the agent leg, joined.

What either side says comes in with the time it came; what is to be done leaves through `outputs`. The bridge owns no
socket, no clock and no task. On the way of a 20 ms frame it makes no objects beyond the bytes themselves.

Of a bare stream three things may end the call, and the first wins: the carrier (its stop, or a lost socket nobody
replaced), a deadline, or us. A lost socket alone ends nothing: the carrier's may be replaced within the grace time, the
agent's is.

A *controlled* call (`CallPolicy.controlled`) has a machine of its own beside the bridge (`control.call`), which knows
what the bridge cannot: whether the call lives without its stream, and what it is for. The bridge then takes orders
(`order`), reports (`outputs.news`) what would have ended a bare call, and ends only as it is told.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import inf

from control.agent_leg import AgentLeg
from control.announcer import STOPPED
from control.background import Background, Loop
from control.carrier_leg import CarrierLeg
from control.conversation import Conversation
from control.holds import Holds
from control.keypad import Keypad
from control.media_deadline import Deadline
from control.media_orders import (
    AgentGone,
    AgentUp,
    AwaitPlayout,
    CancelAwait,
    CollectDigits,
    DigitReported,
    DropText,
    EndMedia,
    ExpectBreak,
    ExpectStream,
    HoldAgent,
    InstructAgent,
    MediaDead,
    MediaOrder,
    PlayedOut,
    PlayFile,
    PlayFiller,
    PromptPlayed,
    Reconfigure,
    Record,
    Release,
    ReleaseAgent,
    Report,
    SpeakText,
    StopCollecting,
    StopFile,
    StopFiller,
    StreamDown,
    StreamMissing,
    StreamUp,
    TellAgent,
    ToolAsked,
    ToolResult,
    Unheard,
)
from control.outputs import CloseAgent, CloseCarrier, ConnectAgent, Finish, Outputs, UseProvider
from control.policy import CallPolicy
from control.redial import Redial
from control.timeline import Timeline, TimelineEvent
from control.tool_calls import ToolCalls
from media.digits import DigitEvent, KeyPressed, KeysEntered
from media.hold_tone import hold_tone
from media.latency import LatencyTracker
from media.realtime import events as agent
from media.realtime.events import Role, Severity
from media.realtime.session import RealtimeSession, SessionState
from media.turns import Floor
from telephony import events as carrier
from telephony.stream import UNSUPPORTED_FORMAT, CarrierStream

# The new session is told this much of why it has a past; models greet again otherwise (realtime sheet, A8).
_RESUMED = (
    "The conversation above is already in progress on this phone call. Go on with it; do not greet again."
)


# The hold that a break of the stream is by itself, beside those ordered.
_BREAK = "break"
# What a model makes of the words after this is its own; it speaks the caller's language.
_SAY = "Say this to the caller now, in your own words: "
# Python 3.11 looks a member up by a call, and this one is asked for with every frame of the agent's.
_AGENT = Floor.AGENT


class Bridge:
    """Events in, outputs out; `next_deadline` and `poll` for everything that time does.

    `wake_changed` says that the deadline may have come nearer since the owner last looked.
    """

    __slots__ = (
        "_answer_owed",
        "_background",
        "_break_expected",
        "_change_owed",
        "_changes",
        "_deadlines",
        "_deaf",
        "_file",
        "_filler",
        "_greeted",
        "_guarded",
        "_holds",
        "_instruction_owed",
        "_keypad",
        "_last_media",
        "_last_words",
        "_redial",
        "_rotate",
        "_told",
        "_uplink_dropped",
        "agent",
        "answered_at",
        "armed",
        "carrier",
        "conversation",
        "ended_at",
        "ended_reason",
        "outputs",
        "policy",
        "started",
        "timeline",
        "tools",
        "transcript",
        "turns",
        "usages",
        "wake_changed",
        "ws_unavailable",
    )

    def __init__(self, policy: CallPolicy, now: float) -> None:
        self.policy = policy
        self.outputs = Outputs()
        self.timeline = Timeline(now, self._follow if policy.controlled else None)
        self.carrier = CarrierLeg(
            self.outputs, lead=policy.lead, heard_offset=policy.heard_offset, record=policy.record
        )
        self.agent: AgentLeg | None = None
        self._deadlines: dict[Deadline, float] = {}
        self.conversation = Conversation(
            policy,
            carrier=self.carrier,
            timeline=self.timeline,
            deadlines=self._deadlines,
            outputs=self.outputs,
            report=self._report,
            now=now,
        )
        self.transcript = self.conversation.transcript
        self.turns = self.conversation.turns
        self.usages = [agent.Usage()] * len(policy.providers)
        """What each provider's model has consumed."""
        self._last_words = self.conversation.last_words
        self._keypad = Keypad(in_band=policy.digits.in_band)
        self.started: carrier.Started | None = None
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.ended_reason: str | None = None
        self.tools = ToolCalls()
        self.ws_unavailable = False
        self.wake_changed = True
        self.armed = inf
        """When the owner will poll next, as it last said: what is due later need not be told now."""

        self._redial = Redial(policy.deadlines.agent_retries, len(policy.providers))
        self._greeted = False
        self._answer_owed = False
        self._uplink_dropped = 0
        self._instruction_owed: str | None = None
        self._changes: Reconfigure | None = None
        """What is different from the configuration that sessions are opened with."""
        self._change_owed = False
        self._told = 0
        self._rotate = False
        self._holds = Holds()
        self._background = Background(self.carrier)
        self._file: tuple[str, Loop] | None = None
        self._filler: tuple[str, Loop] | None = None
        self._break_expected = False
        self._deaf = False
        """Whether the model is not to hear the caller."""
        self._guarded = False
        """Whether the agent may not simply be heard."""
        self._last_media = now

    def _report(self, report: Report) -> None:
        if self.policy.controlled:
            self.outputs.news.append(report)

    def _follow(self, event: TimelineEvent) -> None:
        self.outputs.news.append(event)

    @property
    def secret(self) -> bool:
        """Whether what the caller presses and says must leave no trace."""
        return self._keypad.secret

    @property
    def latency(self) -> LatencyTracker:
        return self.conversation.latency

    # --- the carrier's side

    def carrier_attached(self, stream: CarrierStream, now: float) -> None:
        """A media socket stands for this call: the first, or one that replaces another."""
        if self.over():
            return
        if self.carrier.stream is not None:
            self.outputs.actions.append(CloseCarrier())
            self._lose_stream(now)
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
        self.ws_unavailable = self.ws_unavailable or not self._break_expected
        self._stream_gone(now, stopped=False)

    def _stream_gone(self, now: float, *, stopped: bool) -> None:
        self._report(StreamDown(self.carrier.generation, stopped))
        self._lose_stream(now)
        if not self._break_expected:
            self._deadlines[Deadline.GRACE] = now + self.policy.deadlines.close_grace
        self.wake_changed = True

    def _lose_stream(self, now: float) -> None:
        if self.secret:
            self._release_secretly(now)
        self.carrier.lose(now)

    def carrier_pressure(self, paused: bool, now: float) -> None:
        self.carrier.playout.paused = paused
        self._send_due(now)
        self.wake_changed = True  # a paused playout has no deadline; from here on it has one again

    def _caller_audio(self, frames: Sequence[bytes], now: float) -> None:
        self._last_media = now
        if not frames:
            self.wake_changed = True  # a gap: the reorder window has a deadline now
            return
        if self._deaf:
            frames = self._kept_from_the_model(frames, now)
        elif self.agent is not None:
            self.agent.caller_audio(frames)
        self.carrier.take(frames, now)
        if self.conversation.in_question and self.conversation.weigh(frames, now):
            self._settle(now)
        if self._keypad.in_band and not self.secret:
            self._listen_for_tones(frames, now)

    def _kept_from_the_model(self, frames: Sequence[bytes], now: float) -> Sequence[bytes]:
        """Return what may be recorded of it: of a caller who enters a secret, silence as long."""
        if not self.secret:
            return frames
        if self._keypad.in_band:
            self._listen_for_tones(frames, now)
        return [self.carrier.inbound.silence(len(frame)) for frame in frames]

    def _release_secretly(self, now: float) -> None:
        """What waits for its place in the order came while a secret was entered: it must not outlast it."""
        self.carrier.take(self._kept_from_the_model(self.carrier.reorder.poll(inf), now), now)

    def _listen_for_tones(self, frames: Sequence[bytes], now: float) -> None:
        if pressed := self._keypad.hear(frames, self.carrier.inbound.encoding, now):
            self._digit_events(pressed, now)
            self._settle(now)

    def _carrier_event(self, event: carrier.StreamEvent, stream: CarrierStream, now: float) -> None:
        match event:
            case carrier.Connected():
                pass
            case carrier.Started():
                self._stream_started(event, now)
            case carrier.MediaReceived(chunk, payload):
                self._caller_audio(self.carrier.reorder.push(chunk, payload, now), now)
            case carrier.DigitReceived(digit, occurred_at, sequence):
                self._digit_events(self._keypad.push(digit, occurred_at, sequence, now), now)
            case carrier.MarkReached(name):
                self._mark_reached(name, now)
            case carrier.Stopped():
                self.timeline.add(now, "stream.stopped", generation=self.carrier.generation)
                self._stream_stopped(now)
            case carrier.CarrierFault(code, detail):
                self.timeline.add(now, "carrier.error", code=code, detail=detail)
                if code == UNSUPPORTED_FORMAT:
                    self._undecodable(now)
            case carrier.Malformed(reason):
                if stream.malformed == 1 and not self.secret:  # the reason may quote what was pressed
                    self.timeline.add(now, "carrier.malformed", reason=reason)
            case carrier.Flooded(malformed):
                self.timeline.add(now, "carrier.flooded", malformed=malformed)
                self.outputs.actions.append(CloseCarrier(1002))
                self.carrier_lost(1002, "flood of malformed frames", now)
            case carrier.Unrecognised(name):
                if stream.unrecognised.get(name) == 1:
                    self.timeline.add(now, "carrier.unrecognised", message=name)

    def _stream_stopped(self, now: float) -> None:
        """Nobody but a call's machine knows whether the call lives on."""
        if not self.policy.controlled:
            self._end("caller-hangup", now)
            return
        self.outputs.actions.append(CloseCarrier())
        self._stream_gone(now, stopped=True)

    def _undecodable(self, now: float) -> None:
        if not self.policy.controlled:
            self._end("error", now)
            return
        self.outputs.actions.append(CloseCarrier(1003))
        self._stream_gone(now, stopped=False)

    def _mark_reached(self, name: str, now: float) -> None:
        """Five a second while the agent speaks: only what may follow from it is looked at."""
        self.carrier.mark_reached(name, now)
        self.conversation.agent_may_have_finished(now)
        if self._guarded or self._rotate:
            self._settle(now)
        if not self.carrier.playout.settled_until(self.armed):
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
        self._report(StreamUp(self.carrier.generation, event.stream_id))
        if first:
            self._answered(now)
        self._break_over(now)
        self._join(now)
        self._send_due(now)

    def _answered(self, now: float) -> None:
        self.answered_at = now
        self.conversation.latency = LatencyTracker(now)
        if not self.policy.controlled:
            self._deadlines[Deadline.DURATION] = now + self.policy.deadlines.max_duration
            self.timeline.add(now, "call.answered")

    # --- the agent's side

    def agent_opened(self, session: RealtimeSession, now: float, wall: float) -> None:
        """A socket to the model is up; `wall` is unix time, which the session's expiry is told in."""
        if self.over():
            return
        self.agent = self.conversation.agent = AgentLeg(
            session, self.outputs, uplink_frames=self.policy.uplink_frames
        )
        self._change_owed = False
        if self._changes is not None:
            session.reconfigure(instructions=self._changes.instructions, tools=self._changes.tools)
        session.opened(now, history=self.transcript.history(), wall=wall)
        if self._greeted:
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
        before = self._redial.provider
        attempt = self._redial.lost(now, retry=retry)
        self._drop_agent()
        self._last_words_heard(now)
        if self.over():
            return
        if attempt is None:
            self._agent_gone(reason, now)
            return
        if attempt.provider != before:
            self._fail_over(before, attempt.provider, reason, now)
        self.outputs.actions.append(ConnectAgent(attempt.wait, reason))

    def _fail_over(self, before: int, after: int, reason: str, now: float) -> None:
        providers = self.policy.providers
        self.timeline.add(
            now,
            "agent.failover",
            from_provider=providers[before],
            to_provider=providers[after],
            reason=reason,
        )
        self.outputs.actions.append(UseProvider(after))

    def _agent_gone(self, reason: str, now: float) -> None:
        if self.policy.controlled:
            self._report(AgentGone(reason))
        else:
            self._end("error", now)

    def agent_pressure(self, paused: bool) -> None:
        if self.agent is not None:
            self.agent.paused = paused

    def _agent_audio(self, leg: AgentLeg, item: str, audio: bytes, now: float) -> None:
        if not audio or (self._guarded and not self._may_be_heard(now)):
            return
        if self.turns.floor is not _AGENT:
            self.latency.audio_received(now)
        playout = self.carrier.playout
        leg.agent_audio(item, audio, playout)
        self._send_due(now)
        if not playout.settled_until(self.armed):
            self._playout_moved()

    def _may_be_heard(self, now: float) -> bool:
        """Nothing of an agent on hold; of one whose last words are awaited, only the response under way."""
        if self._holds.any or (self._last_words.locked and not self.conversation.saying()):
            return False
        self._background.give_way(now)
        return True

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
                self._response_started(leg, now)
            case agent.AudioReceived(item_id, audio):
                self._agent_audio(leg, item_id, audio, now)
            case agent.AudioEnded(item_id):
                leg.audio_ended(item_id, self.carrier.playout)
                self._send_due(now)
            case agent.ToolCall():
                self._tool_call(leg, event, now)
            case agent.ResponseDone(_, status, reason, usage):
                self.usages[self._redial.provider] += usage
                if status not in ("completed", "cancelled"):
                    self.timeline.add(now, "agent.response", status=status, reason=reason)
                self.conversation.agent_may_have_finished(now)
            case agent.TranscriptionUsage(_, usage):
                self.usages[self._redial.provider] += usage
            case agent.Truncated(_, audio_end_ms):
                self.timeline.add(now, "agent.truncated", audio_end_ms=audio_end_ms)
            case agent.ExpiringSoon(seconds_left):
                self.timeline.add(now, "agent.expiring", seconds_left=seconds_left)
                # A session that is short from its beginning is used to its end: the next would be no longer.
                self._rotate = self._redial.steady(now)
            case agent.AgentFault():
                self._fault(event, now)
            case agent.Unrecognised():
                pass

    def _agent_ready(self, event: agent.Ready, now: float) -> None:
        self._redial.ready(now)
        self.timeline.add(
            now,
            "agent.ready",
            session_id=event.session_id,
            input=str(event.input_format),
            output=str(event.output_format),
        )
        if not self.carrier.started:
            self._report(AgentUp(joined=False))
        self._join(now)

    def _response_started(self, leg: AgentLeg, now: float) -> None:
        words = self._last_words
        if self._holds.any or (words.locked and not words.response_due):
            leg.session.interrupt([], now)  # nobody is to hear it, or it began too late to be heard
        words.response_due = False
        self.latency.response_started(now)

    def _join(self, now: float) -> None:
        """Both legs are up: audio flows. The greeting leaves with the first join."""
        leg = self.agent
        if leg is None or not self.carrier.started or leg.session.state is not SessionState.READY:
            return
        if not leg.joined:
            leg.join(self.carrier.inbound, self.carrier.playout.format)
            self._joined(now)
        elif leg.inbound != self.carrier.inbound:
            leg.join(self.carrier.inbound, self.carrier.playout.format)
        self.conversation.await_speech(now)
        self._pay_debt(now)

    def _joined(self, now: float) -> None:
        self._report(AgentUp(joined=True))
        if self._greeted:
            self.timeline.add(now, "call.resumed")
        elif not self.policy.controlled:
            self.timeline.add(now, "call.started")

    def _pay_debt(self, now: float) -> None:
        """Ask for what the agent is to say, where it may speak: the greeting first of all."""
        leg = self.agent
        if leg is None or not leg.joined or not self.carrier.started or self._muzzled:
            return
        if not self._greeted:
            self._greeted = True
            if self._greet(leg, now):
                self._answer_owed = False
        if self._instruction_owed is not None or self._answer_owed:
            leg.session.request_response(now, instructions=self._instruction_owed)
            self._instruction_owed, self._answer_owed = None, False

    @property
    def _muzzled(self) -> bool:
        """Whether the agent is to begin nothing."""
        return self._holds.any or self._last_words.locked

    def _greet(self, leg: AgentLeg, now: float) -> bool:
        if self.policy.greeting is None:
            return False
        self.latency.greeting(now)
        self.conversation.greeting_protected = self.policy.barge_in.protect_greeting
        leg.session.request_response(now, instructions=self.policy.greeting)
        return True

    def _tool_call(self, leg: AgentLeg, call: agent.ToolCall, now: float) -> None:
        self.timeline.add(now, "tool.invoked", tool=call.name, tool_call_id=call.call_id)
        if not self.tools.called(call.call_id, call.name, leg.session):
            return  # a loop: nobody hears anything of it
        if self.policy.controlled:
            self._report(ToolAsked(call.call_id, call.name, json.dumps(call.arguments)))
            return
        # The model waits for ever for an output that does not come, so an unknown tool is answered too.
        refusal = f'{{"error": "no tool named {call.name} is configured"}}'
        leg.session.tool_result(call.call_id, refusal, now)

    def _fault(self, event: agent.AgentFault, now: float) -> None:
        self._note_fault(event, now)
        if event.severity is Severity.FATAL:
            self.outputs.actions.append(CloseAgent())
            self._replace_agent(None, event.code, now, retry=event.retry)

    def _note_fault(self, event: agent.AgentFault, now: float) -> None:
        self.timeline.add(
            now, "agent.error", code=event.code, message=event.message, severity=event.severity.value
        )

    def _send_due(self, now: float) -> None:
        if not self.carrier.send_due(now) or self.turns.floor is _AGENT:
            return
        if self.carrier.playout.speaking() and self.conversation.agent_audio_left(now):
            self.tools.somebody_spoke()

    # --- turns

    def _caller_started(self, now: float) -> None:
        if self._unheard:
            self.conversation.hush()  # it was on its way when the model went deaf
            return
        self.tools.somebody_spoke()
        self.conversation.caller_started(now)

    def _caller_stopped(self, leg: AgentLeg, now: float) -> None:
        if self._unheard:
            return
        owed = self.conversation.caller_stopped(now)
        if owed and self.policy.barge_in.ours and not self._last_words.locked:
            leg.session.request_response(now)

    @property
    def _unheard(self) -> bool:
        """Whether the model was made to forget what it heard of the caller."""
        return self._holds.any or self.secret

    # --- digits

    def _digit_events(self, pressed: Sequence[DigitEvent], now: float) -> None:
        for event in pressed:
            match event:
                case KeyPressed(digit):
                    self._key_pressed(digit, now)
                case KeysEntered(digits):
                    self._digits_to_model(digits, now)
        self.wake_changed = True

    def _key_pressed(self, digit: str, now: float) -> None:
        self.conversation.somebody_spoke()
        self.conversation.await_speech(now)
        if not self.secret:
            self.timeline.add(now, "call.dtmf.received", digit=digit)
        if not self._keypad.collecting:
            return
        self._report(DigitReported(digit))
        announcer = self.conversation.announcer
        if announcer.playing and not announcer.locked:
            self.conversation.cut(now)  # whoever knows the answer need not hear the question out

    def _digits_to_model(self, digits: str, now: float) -> None:
        policy = self.policy.digits
        if not policy.to_model or self._muzzled or self._keypad.collecting or self.secret:
            return
        if policy.interrupts and self.carrier.playout.speaking():
            self.conversation.cut(now)
        words = f"[The caller pressed these keys: {digits}]"
        item_id = self._next_item("keys")
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
        if not after_playout or not self.conversation.saying():
            self._end(reason, now)
            return
        self._expect_response()
        self._last_words.end_with(reason, now)
        self._review(now)

    def _expect_response(self) -> None:
        if self.agent is not None and self.agent.session.asked:
            self._last_words.response_due = True

    def _last_words_heard(self, now: float) -> None:
        """See whether what somebody waits for was said and heard."""
        if not self._last_words.locked or self.conversation.saying():
            return
        if self._last_words.reason is not None:
            self._end(self._last_words.reason, now)
            return
        for ticket in self._last_words.heard():
            self._report(PlayedOut(ticket))
        self._review(now)

    def _end(self, reason: str, now: float) -> None:
        """End now; a reason of ours that a goodbye was heard for stands, unless the carrier was first after all."""
        if self.over():
            return
        if self._last_words.reason is not None and reason != "caller-hangup":
            reason = self._last_words.reason
        self.ended_reason = reason
        self.ended_at = now
        if self.secret:
            self._release_secretly(now)
        self.conversation.tell_transcript(self.carrier.finish(now))
        self.conversation.announcer.end(now)
        self._deadlines.clear()
        if not self.policy.controlled:
            self.timeline.add(now, "call.ended", ended_reason=reason)
        self.outputs.actions += [CloseCarrier(), CloseAgent(), Finish(reason)]

    # --- orders of the call's machine

    def order(self, order: MediaOrder, now: float) -> None:
        """Do what the call's machine wants; a call that is over takes no orders."""
        if self.over():
            return
        self._carry_out(order, now)
        self._settle(now)

    def _carry_out(self, order: MediaOrder, now: float) -> None:
        match order:
            case ExpectBreak(unheard):
                self._expect_break(unheard, now)
            case ExpectStream():
                self._expect_stream(now)
            case HoldAgent():
                self._hold(order.reason, _loop(order), now)
            case ReleaseAgent(reason, tell, respond):
                if tell is not None:
                    self._tell(Role.SYSTEM, tell, now)
                self._answer_owed = self._answer_owed or respond
                self._release(reason, now)
            case AwaitPlayout(ticket):
                self._expect_response()
                self._last_words.wait_for(ticket, now)
                self._review(now)
            case CancelAwait(ticket):
                self._last_words.cancel(ticket)
                self._review(now)
            case SpeakText():
                self.conversation.announcer.speak(order, now)
                self._review(now)
            case DropText(ticket):
                self.conversation.announcer.drop(ticket, now)
                self._review(now)
            case InstructAgent(text):
                self._instruction_owed = f"{_SAY}{text}"
                self._review(now)
            case PlayFile():
                self._play(order, now)
            case StopFile():
                self._stop_loop(self._file)
                self._file = None
                self.conversation.announcer.stop_file(now)
                self._sound(now)
            case PlayFiller(ticket, audio, rate):
                self._stop_loop(self._filler)
                self._filler = (ticket, Loop(audio, rate))
                self._sound(now)
            case StopFiller():
                self._stop_loop(self._filler)
                self._filler = None
                self._sound(now)
            case TellAgent(role, text, respond):
                self._tell(role, text, now)
                self._answer_owed = self._answer_owed or respond
                self._review(now)
            case Reconfigure():
                self._reconfigure(order, now)
            case ToolResult(tool_call_id, output):
                self._tool_result(tool_call_id, output, now)
            case CollectDigits(secret):
                self._collect(now, secret=secret)
            case StopCollecting():
                self._keypad.stop(now)
                self._review(now)
            case Record(action):
                self.carrier.record(action, now)
                self.timeline.add(now, "recording.changed", action=action.value)
            case Release():
                self._end("transfer", now)
            case EndMedia(reason):
                self._end(reason.value, now)

    def prompt_ready(self, ticket: str, audio: bytes, rate: int, now: float) -> None:
        """The audio of a `Synthesise`: PCM16, mono."""
        if not self.over():
            self.conversation.announcer.ready(ticket, audio, rate)
            self._settle(now)

    def prompt_failed(self, ticket: str, why: str, now: float) -> None:
        """There will be no audio of a `Synthesise`."""
        if not self.over():
            self.conversation.announcer.failed(ticket, why, now)
            self._settle(now)

    def _expect_break(self, unheard: Unheard, now: float) -> None:
        self._break_expected = True
        self._deadlines.pop(Deadline.GRACE, None)
        if unheard is Unheard.CUT:
            if self._holds.any and self.carrier.playout.speaking():
                self.conversation.cut(now, by_caller=False)  # a prompt, in the middle of a hold
            self._hold(_BREAK, None, now)
        self._review(now)

    def _expect_stream(self, now: float) -> None:
        self._break_over(now)
        if self.carrier.stream is None:
            self._deadlines[Deadline.GRACE] = now + self.policy.deadlines.close_grace

    def _break_over(self, now: float) -> None:
        if self._break_expected:
            self._break_expected = False
            self._last_media = now
            self._release(_BREAK, now)

    def _hold(self, reason: str, loop: Loop | None, now: float) -> None:
        first = not self._holds.any
        self._holds.hold(reason, loop)
        if first:
            self.conversation.hold(now)
        self._sound(now)

    def _release(self, reason: str, now: float) -> None:
        self._holds.release(reason)
        self._sound(now)

    def _play(self, order: PlayFile, now: float) -> None:
        if not order.loop or not order.audio:
            self.conversation.announcer.play(order, now)
            self._review(now)
            return
        self._stop_loop(self._file)
        self._file = (order.ticket, Loop(order.audio, order.rate))
        self._sound(now)

    def _stop_loop(self, playing: tuple[str, Loop] | None) -> None:
        if playing is not None:
            self._report(PromptPlayed(playing[0], ok=False, detail=STOPPED))

    def _sound(self, now: float) -> None:
        """What is heard while nothing is said: on hold what belongs to the hold, silence if that is it; else what users
        have played goes before what keeps a caller company."""
        wanted = self._file or self._filler
        loop = wanted[1] if wanted is not None else None
        self._background.play(self._holds.sound if self._holds.any else loop, now)
        self._review(now)

    def _collect(self, now: float, *, secret: bool) -> None:
        if secret and not self._unheard:
            self.conversation.deafen(now)
        self._keypad.collect(secret=secret)
        self._review(now)

    def _tool_result(self, call_id: str, output: str, now: float) -> None:
        call = self.tools.answered(call_id)
        if call is None:
            return
        if self.agent is not None and self.agent.session is call.session:
            call.session.tool_result(call_id, output, now)
            self._answer_owed = self._answer_owed or self._muzzled
            return
        self._tell(Role.SYSTEM, f"[The tool {call.name}, called before, answered: {output}]", now)
        self._answer_owed = True
        self._review(now)

    def _tell(self, role: Role, words: str, now: float) -> None:
        """Put something nobody said into the conversation, of this session and of those after it."""
        item_id = self._next_item("note")
        self.transcript.note(item_id, role, words, self._since_answer(now))
        if self.agent is not None:
            self.agent.session.inject(role, words, now, item_id=item_id)

    def _reconfigure(self, order: Reconfigure, now: float) -> None:
        """Take over what the order names; what an earlier one has named stays."""
        before = self._changes or Reconfigure()
        self._changes = Reconfigure(
            instructions=before.instructions if order.instructions is None else order.instructions,
            tools=before.tools if order.tools is None else order.tools,
        )
        if order.greeting is not None and not self._greeted:
            self.policy = replace(self.policy, greeting=order.greeting or None)
        self._change_owed |= order.instructions is not None or order.tools is not None
        self._pay_change()
        self.timeline.add(now, "agent.reconfigured", at_once=not self._change_owed)

    def _pay_change(self) -> None:
        """Tell the model what has changed, between two of its turns."""
        if self._change_owed and self._changes is not None and self.agent is not None:
            if self.agent.session.responding:
                return
            self._change_owed = False
            self.agent.session.reconfigure(instructions=self._changes.instructions, tools=self._changes.tools)

    def _next_item(self, kind: str) -> str:
        self._told += 1
        return f"{kind}_{self._told}"

    def _review(self, now: float) -> None:
        """After anything that decides who may hear and speak: the agent's ears, its mouth, and what it still owes."""
        self._deaf = self._muzzled or self.secret
        self._guarded = self._deaf or self._background.active or self.conversation.announcer.active
        self.conversation.rest(self._holds.any or self._break_expected or self._keypad.collecting, now)
        self._pay_debt(now)
        self.wake_changed = True

    def _attend(self, now: float) -> None:
        """See to what is heard beside the model's own speech, and to whoever waits for the end of it."""
        announcer = self.conversation.announcer
        if announcer.active:
            announcer.note_heard(self.agent, now)
            if announcer.due and self._prompt_may_begin():
                self._background.give_way(now)
                announcer.begin_due(self._since_answer(now), now)
            self._review(now)
        self._last_words_heard(now)
        if self.over():
            return
        if self._background.active:
            self._background.fill(now)
        self._send_due(now)

    def _prompt_may_begin(self) -> bool:
        """A prompt comes after what the model is saying, never into it."""
        responding = self.agent is not None and self.agent.session.responding
        waits = self.conversation.announcer.patient and self.carrier.playout.speaking()
        return self.carrier.formats_known and not responding and not waits

    # --- time passing

    def next_deadline(self) -> float | None:
        """Return when `poll` next has something to do; None once the call has ended."""
        if self.over():
            return None
        nearest = min(self._deadlines.values(), default=inf)
        for deadline in (
            self.carrier.playout.next_deadline() if self.carrier.started else None,
            self.carrier.reorder.next_deadline(),
            self._keypad.next_deadline(),
            self._last_words.next_deadline(),
            self._background.next_deadline(),
            self.agent.session.next_deadline() if self.agent is not None else None,
        ):
            if deadline is not None and deadline < nearest:
                nearest = deadline
        return nearest if nearest < inf else None

    def poll(self, now: float) -> None:
        if self.over():
            return
        for deadline in [deadline for deadline, at in self._deadlines.items() if at <= now]:
            self._deadline_passed(deadline, now)
        if self._last_words.locked:
            self._last_words_overdue(now)
        if self.over():
            return
        if self._keypad.secret_over(now):
            self._release_secretly(now)
            self._keypad.uncover()
            self._review(now)
        if frames := self.carrier.reorder.poll(now):
            self._caller_audio(frames, now)
        self._digit_events(self._keypad.poll(now), now)
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
                self._stream_missing(now)
            case Deadline.DURATION:
                self._deadlines.pop(deadline, None)  # gone if another, as late, has ended the call
                self.end("max-duration", now)
            case Deadline.SILENCE:
                self._silence_lasted(now)

    def _stream_missing(self, now: float) -> None:
        del self._deadlines[Deadline.GRACE]
        if self.policy.controlled:
            self._report(StreamMissing())
        else:
            self._end("error", now)

    def _silence_lasted(self, now: float) -> None:
        if self.policy.controlled:
            self.conversation.silence_lasted(now)
        else:
            self._end("silence-timeout", now)

    def _last_words_overdue(self, now: float) -> None:
        if self._last_words.end_overdue(now):
            self._end("error", now)
            return
        for ticket in self._last_words.overdue(now):
            self._report(PlayedOut(ticket, in_time=False))
        self._review(now)

    def _media_deadline(self, now: float) -> None:
        """The watchdog is moved here, not by every frame."""
        silent_until = self._last_media + self.policy.deadlines.media_watchdog
        if silent_until > now or self.carrier.stream is None or self._break_expected:
            self._deadlines[Deadline.MEDIA] = max(silent_until, now + 1.0)
            return
        self.timeline.add(now, "media.timeout")
        if self.policy.controlled:
            self._deadlines[Deadline.MEDIA] = now + self.policy.deadlines.media_watchdog
            self._report(MediaDead())
        else:
            self._end("error", now)

    def _settle(self, now: float) -> None:
        """After anything but a plain frame: send what is due and owed, see whether something is over."""
        if self.over():
            return
        self._send_due(now)
        self.conversation.agent_may_have_finished(now)  # by the clock, where a carrier returns no marks
        if self._guarded:
            self._attend(now)
            if self.over():
                return
        if self._change_owed:
            self._pay_change()
        if self.agent is not None:
            self.agent.flush()
        if self._rotate and self.turns.quiet and not self.conversation.saying():
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
        self.agent = self.conversation.agent = None

    def _since_answer(self, now: float) -> float:
        return now - (self.answered_at if self.answered_at is not None else self.timeline.origin)


def _loop(order: HoldAgent) -> Loop | None:
    if order.audio:
        return Loop(order.audio, order.rate)
    return Loop(hold_tone(), 8_000) if order.tone else None

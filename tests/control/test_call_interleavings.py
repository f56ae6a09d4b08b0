"""A call under any interleaving of what carriers, media, users and time may bring, legal or not (hypothesis, stateful).

Whatever happens: the status never goes back, there is one end and one `call.ended`, every request is answered once,
a released leg is not touched, time always moves the call on, and in the end the call is over.
"""

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from control.brief import VoicemailAction
from control.call_record import PUBLISHED
from control.effects import Close, Effect, Perform, Publish, Reply
from control.inputs import DrainAsked, Found, NotFound, ToolFinished
from control.media_orders import (
    AgentGone,
    AgentUp,
    AwaitPlayout,
    DigitReported,
    MediaDead,
    MediaEnded,
    PlayedOut,
    PlayFile,
    PromptPlayed,
    Report,
    SilenceLasted,
    SpeakText,
    Spoken,
    StreamDown,
    StreamMissing,
    StreamUp,
    ToolAsked,
)
from control.ownership import Ownership
from control.requests import (
    After,
    CallRequest,
    CancelGather,
    CancelTransfer,
    ControlRecording,
    EndCall,
    Gather,
    GatherMode,
    Hold,
    Inject,
    OnFailure,
    PlayAudio,
    RecordingAction,
    Resume,
    Say,
    SendDigits,
    StopPlaying,
    TransferCall,
)
from media.realtime.events import Role
from telephony.calls import (
    Answered,
    Bridged,
    CallEvent,
    GatherEnded,
    GatherStatus,
    GreetingEnded,
    HungUp,
    Initiated,
    KeyPressed,
    LegToken,
    MachineDetected,
    Origin,
    ReferCompleted,
    ReferFailed,
    Ringing,
    StreamingFailed,
    StreamingStopped,
    TransferEnded,
    TwimlPurpose,
    as_transfer_leg,
)
from telephony.causes import AnsweredBy, CallStatus, Direction, HangupCause, HangupSource
from telephony.client_errors import Verdict
from telephony.commands import (
    CallCommand,
    Dial,
    Hangup,
    MachineDetection,
    RejectReason,
)
from telephony.commands import (
    CancelTransfer as CancelLeg,
)
from tests.control.call_scene import CALLER, OTHER, US, Scene

RANK = {CallStatus.RINGING: 0, CallStatus.IN_PROGRESS: 1}

ONCE = {
    "command.dial",
    "call.ringing",
    "call.answered",
    "call.started",
    "call.ending",
    "call.failed",
    "call.ended",
    "transfer.completed",
}

booleans = st.booleans()
REQUESTS: dict[str, Callable[[str, bool], CallRequest]] = {
    "end": lambda name, now: EndCall(after=After.NOW if now else After.PLAYOUT),
    "end released": lambda name, now: EndCall(released=True),
    "transfer": lambda name, now: TransferCall(
        transfer_id=name, destination=OTHER, after=After.NOW if now else After.PLAYOUT
    ),
    "transfer announced": lambda name, now: TransferCall(
        transfer_id=name,
        destination=OTHER,
        announce="Hold on.",
        on_failure=OnFailure.HANGUP if now else OnFailure.RETURN_TO_AGENT,
    ),
    "refer": lambda name, now: TransferCall(
        transfer_id=name, destination="sip:a@example.com", refer=True, after=After.NOW
    ),
    "cancel transfer": lambda name, now: CancelTransfer(),
    "gather": lambda name, now: Gather(gather_id=name, prompt="Digits?", sensitive=now),
    "gather here": lambda name, now: Gather(gather_id=name, prompt="Digits?", mode=GatherMode.STREAM),
    "cancel gather": lambda name, now: CancelGather(),
    "digits": lambda name, now: SendDigits(digits="12"),
    "say": lambda name, now: Say(text="Hello", verbatim=now),
    "play": lambda name, now: PlayAudio(audio=b"\0\0", rate=8_000, after=After.NOW if now else After.PLAYOUT),
    "stop": lambda name, now: StopPlaying(),
    "inject": lambda name, now: Inject(role=Role.SYSTEM, text="Note"),
    "hold": lambda name, now: Hold(),
    "resume": lambda name, now: Resume(),
    "record": lambda name, now: ControlRecording(
        action=RecordingAction.PAUSE if now else RecordingAction.START
    ),
}
REPORTS: list[Callable[[int], Report]] = [
    lambda number: StreamUp(number, f"stream-{number}"),
    lambda number: StreamDown(number, stopped=True),
    lambda number: StreamDown(number, stopped=False),
    lambda number: StreamMissing(),
    lambda number: MediaDead(),
    lambda number: AgentUp(joined=False),
    lambda number: AgentUp(joined=True),
    lambda number: AgentGone("gone"),
    lambda number: DigitReported("1"),
    lambda number: DigitReported("#"),
    lambda number: SilenceLasted(),
    lambda number: Spoken(),
    lambda number: MediaEnded(),
]
EVENTS: list[Callable[[Origin], CallEvent]] = [
    lambda origin: Initiated(origin=origin, direction=Direction.OUTBOUND, from_number=US, to_number=CALLER),
    lambda origin: Ringing(origin=origin),
    lambda origin: Answered(origin=origin),
    lambda origin: Bridged(origin=origin),
    lambda origin: HungUp(origin=origin, cause=HangupCause.NORMAL_CLEARING, source=HangupSource.CALLEE),
    lambda origin: HungUp(origin=origin, cause=HangupCause.USER_BUSY),
    lambda origin: HungUp(origin=origin, cause=HangupCause.NORMAL_CLEARING, answered=True, duration=3),
    lambda origin: MachineDetected(origin=origin, answered_by=AnsweredBy.MACHINE),
    lambda origin: MachineDetected(origin=origin, answered_by=AnsweredBy.HUMAN),
    lambda origin: GreetingEnded(origin=origin, beep=True),
    lambda origin: KeyPressed(origin=origin, digit="1"),
    lambda origin: GatherEnded(origin=origin, status=GatherStatus.COMPLETED, digits="12"),
    lambda origin: GatherEnded(origin=origin, status=GatherStatus.CANCELLED, digits=""),
    lambda origin: StreamingFailed(origin=origin, reason="refused"),
    lambda origin: StreamingStopped(origin=origin),
    lambda origin: TransferEnded(origin=origin, connected=True, cause=HangupCause.NORMAL_CLEARING),
    lambda origin: TransferEnded(origin=origin, connected=False, cause=HangupCause.USER_BUSY),
    lambda origin: ReferCompleted(origin=origin),
    lambda origin: ReferFailed(origin=origin),
]


class AnyCall(RuleBasedStateMachine):
    """One call, pulled at from all sides."""

    @initialize(
        carrier=st.sampled_from(["telnyx", "twilio", "signalwire"]),
        outbound=booleans,
        speech=booleans,
        detection=st.sampled_from(MachineDetection),
        voicemail=st.sampled_from(VoicemailAction),
        refused=st.sampled_from([None] * 9 + [RejectReason.BUSY]),
        prompts=st.sampled_from([(), ("Hello?",)]),
        talking=booleans,
    )
    def begin(
        self,
        carrier: str,
        outbound: bool,
        speech: bool,
        detection: MachineDetection,
        voicemail: VoicemailAction,
        refused: RejectReason | None,
        prompts: tuple[str, ...],
        talking: bool,
    ) -> None:
        outbound = outbound and carrier != "signalwire"
        self.scene = Scene(
            carrier,
            Direction.OUTBOUND if outbound else Direction.INBOUND,
            speech=speech,
            machine_detection=detection,
            voicemail=voicemail,
            voicemail_message="Call back.",
            refusal=None if outbound else refused,
            silence=8.0,
            silence_prompts=prompts,
            max_duration=600.0,
        )
        if talking and self.scene.call.record.intent is None:
            self.scene.talk()
        self.names = 0
        self.waiting: set[str] = set()
        self.published: set[str] = set()
        self.closed = False
        self.settled: list[CallCommand] = []
        self.seen = 0
        self.rank = 0
        self.released_by_request = False

    # What may happen

    @rule(make=st.sampled_from(EVENTS), name=st.sampled_from(["", "t1", "t2", "g1", "g2"]))
    def of_the_callers_leg(self, make: Callable[[Origin], CallEvent], name: str) -> None:
        token = LegToken("call_1", operation=name or None)
        if isinstance(make(self.scene.origin()), TransferEnded):
            token = LegToken("call_1", transfer_id=name or None)
        self.scene.tell(make(self.scene.origin(token=token)))

    @rule(make=st.sampled_from(EVENTS), leg=st.sampled_from("bc"), name=st.sampled_from(["t1", "t2", "t3"]))
    def of_a_second_leg(self, make: Callable[[Origin], CallEvent], leg: str, name: str) -> None:
        self.scene.tell(as_transfer_leg(make(self.scene.leg_b(name, leg))))

    @rule(make=st.sampled_from(EVENTS), leg=st.sampled_from("bc"))
    def of_a_leg_without_its_token(self, make: Callable[[Origin], CallEvent], leg: str) -> None:
        self.scene.tell(make(self.scene.origin(leg)))

    @rule(make=st.sampled_from(REPORTS), number=st.integers(1, 3))
    def of_the_media(self, make: Callable[[int], Report], number: int) -> None:
        self.scene.tell(make(number))

    @rule(ok=booleans, which=st.integers(0, 9))
    def something_was_heard(self, ok: bool, which: int) -> None:
        waiting = [
            order for order in self.scene.orders() if isinstance(order, AwaitPlayout | SpeakText | PlayFile)
        ]
        if not waiting:
            return
        match waiting[-1 - which % len(waiting)]:
            case AwaitPlayout(ticket=ticket):
                self.scene.tell(PlayedOut(ticket, in_time=ok))
            case SpeakText(ticket=ticket) | PlayFile(ticket=ticket):
                self.scene.tell(PromptPlayed(ticket, ok))

    @rule(name=st.sampled_from(sorted(REQUESTS)), now=booleans)
    def asked(self, name: str, now: bool) -> None:
        self.names += 1
        released = self.scene.call.ownership is Ownership.RELEASED
        self.released_by_request |= name == "end released" and released
        prefix = "g" if "gather" in name else "t"
        ticket = f"ticket-{self.names}"
        self.waiting.add(ticket)
        self.scene.ask(REQUESTS[name](f"{prefix}{self.names}", now), ticket)

    @rule()
    def the_model_calls_a_tool(self) -> None:
        self.names += 1
        self.scene.tell(ToolAsked(f"tool-{self.names}", "weather", "{}"))
        self.scene.tell(ToolFinished(f"tool-{self.names}", "{}"))

    def open_commands(self) -> list[CallCommand]:
        settled = {command.command_id for command in self.settled}
        return [command for command in self.scene.commands() if command.command_id not in settled]

    @rule(which=st.integers(0, 9), already=booleans, verdict=st.none() | st.sampled_from(Verdict))
    def a_command_is_answered(self, which: int, already: bool, verdict: Verdict | None) -> None:
        open_ = self.open_commands()
        if not open_:
            return
        command = open_[which % len(open_)]
        self.settled.append(command)
        if verdict is not None:
            self.scene.refused(command, verdict)
        else:
            named = "leg-a" if isinstance(command, Dial) else None
            self.scene.done(command, already=already and isinstance(command, Hangup), call_id=named)

    @precondition(lambda self: self.settled)
    @rule(which=st.integers(0, 9))
    def a_command_is_answered_again(self, which: int) -> None:
        self.scene.refused(self.settled[which % len(self.settled)], Verdict.UNAVAILABLE)

    @rule(purpose=st.sampled_from(TwimlPurpose), alive=booleans)
    def the_carrier_asks(self, purpose: TwimlPurpose, alive: bool) -> None:
        self.scene.document(purpose, alive=alive)

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 11.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.let_pass(seconds)

    @rule(within=st.sampled_from([0.0, 20.0]))
    def the_process_is_to_stop(self, within: float) -> None:
        self.scene.tell(DrainAsked(within))

    @rule(found=booleans)
    def the_carrier_was_asked(self, found: bool) -> None:
        self.scene.tell(Found(carrier_call_id="leg-a", leg_id="a") if found else NotFound())

    def let_pass(self, seconds: float) -> None:
        """Like `Scene.wait`, and time must move the call on: no deadline may stay where it was."""
        scene, steps = self.scene, 0
        until = scene.now + seconds
        while (due := scene.call.next_deadline()) is not None and due <= until:
            scene.now = max(scene.now, due)
            scene.play(scene.call.poll(scene.now))
            self.the_log_keeps_the_rules()
            following = scene.call.next_deadline()
            assert following is None or following > scene.now
            steps += 1
            assert steps < 1_000
        scene.now = until

    # What must be so

    @invariant()
    def the_log_keeps_the_rules(self) -> None:
        if not hasattr(self, "scene"):
            return
        for effect in self.scene.log[self.seen :]:
            self.check(effect)
        self.seen = len(self.scene.log)
        rank = RANK.get(self.scene.call.record.status, 2)
        assert rank >= self.rank
        self.rank = rank

    def check(self, effect: Effect) -> None:
        match effect:
            case Publish(name=name):
                assert not (name in PUBLISHED and "call.ended" in self.published), f"{name} after the last"
                assert name not in self.published or name not in ONCE
                if name == "call.ended":
                    failed = self.scene.call.record.status is not CallStatus.COMPLETED
                    assert ("call.failed" in self.published) is failed
                self.published.add(name)
            case Close():
                assert not self.closed
                assert "call.ended" in self.published
                self.closed = True
            case Reply(ticket=ticket):
                assert ticket in self.waiting
                self.waiting.discard(ticket)
            case Perform(command=command):
                self.check_command(command)
            case _:
                pass

    def check_command(self, command: CallCommand) -> None:
        """The caller's leg is hung up with an intent only, and is not touched once it is released."""
        if isinstance(command, Dial | CancelLeg):
            return
        call = self.scene.call
        if command.carrier_call_id != call.record.carrier_call_id or call.ended:
            assert isinstance(command, Hangup)
            return
        assert call.record.intent is not None or not isinstance(command, Hangup)
        if "transfer.completed" in self.published:
            assert isinstance(command, Hangup)
            assert self.released_by_request

    def teardown(self) -> None:
        """Nothing more comes from anybody but the performer's answers: time and one look at the carrier end it."""
        if not hasattr(self, "scene"):
            return
        for _ in range(20):
            for command in self.open_commands():
                self.settled.append(command)
                named = "leg-a" if isinstance(command, Dial) else None
                self.scene.done(command, call_id=named)
                self.the_log_keeps_the_rules()
            self.let_pass(700.0)
            if self.scene.is_closed():
                break
            if self.scene.call.ownership is Ownership.RELEASED:
                self.scene.tell(NotFound())
        self.the_log_keeps_the_rules()
        record = self.scene.call.record
        assert self.scene.is_closed()
        assert not record.live
        assert record.disposition is not None
        assert record.ended_at is not None
        assert self.scene.call.next_deadline() is None
        assert not self.waiting


TestAnyCall = AnyCall.TestCase
TestAnyCall.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

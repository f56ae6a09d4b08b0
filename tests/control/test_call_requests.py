"""Requests: who may ask for what when, and what is asked of carrier and media for it."""

import pytest

from control.media_orders import (
    AwaitPlayout,
    ExpectBreak,
    ExpectStream,
    HoldAgent,
    InstructAgent,
    PlayedOut,
    PlayFile,
    Record,
    ReleaseAgent,
    SilenceLasted,
    SpeakText,
    StopFile,
    StreamDown,
    TellAgent,
    ToolAsked,
    ToolResult,
    Unheard,
)
from control.requests import (
    Accepted,
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
    RecordingAction,
    Refused,
    Resume,
    Say,
    SendDigits,
    StopPlaying,
    TransferCall,
)
from media.realtime.events import Role
from telephony.capabilities import Means
from telephony.causes import Direction
from telephony.client_errors import Verdict
from telephony.commands import SendDigits as PressDigits
from telephony.commands import Transfer
from tests.control.call_scene import OTHER, Scene, capabilities

EVERY: list[CallRequest] = [
    TransferCall(transfer_id="t", destination=OTHER),
    CancelTransfer(),
    Gather(gather_id="g", prompt="Digits?"),
    CancelGather(),
    SendDigits(digits="1"),
    Say(text="Hello"),
    PlayAudio(audio=b"\0\0", rate=8_000),
    StopPlaying(),
    Inject(role=Role.SYSTEM, text="Note"),
    Hold(),
    Resume(),
    ControlRecording(action=RecordingAction.START),
]
each_request = pytest.mark.parametrize("request_", EVERY, ids=lambda each: type(each).__name__)
both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])


def refusal(scene: Scene, request: CallRequest) -> tuple[int, str] | None:
    answer = scene.answer(scene.ask(request))
    return (answer.status, answer.code) if isinstance(answer, Refused) else None


# Who may when


@both
@each_request
def test_a_call_that_rings_can_only_be_ended(carrier: str, request_: CallRequest) -> None:
    scene = Scene(carrier, Direction.OUTBOUND)
    assert refusal(scene, request_) == (409, "call_not_in_progress")


@each_request
def test_a_call_that_is_ending_takes_no_more_orders(request_: CallRequest) -> None:
    scene = Scene().talk()
    scene.ask(EndCall())
    assert refusal(scene, request_) == (409, "call_not_in_progress")


@each_request
def test_a_call_that_is_over_takes_no_more_orders(request_: CallRequest) -> None:
    scene = Scene().talk()
    scene.hung_up()
    assert refusal(scene, request_) == (409, "call_not_in_progress")
    scene.media_ended()
    assert refusal(scene, request_) == (409, "call_not_in_progress")


@both
@pytest.mark.parametrize("busy", ["transfer", "gather"])
@each_request
def test_what_has_no_place_beside_a_transfer_or_a_gather_is_refused_with_its_name(
    carrier: str, busy: str, request_: CallRequest
) -> None:
    scene = Scene(carrier).talk()
    begun: CallRequest = TransferCall(transfer_id="t0", destination=OTHER, after=After.NOW)
    scene.ask(begun if busy == "transfer" else Gather(gather_id="g0", prompt="Digits?"))
    scene.all_done()
    needs_the_caller = isinstance(
        request_, TransferCall | Gather | SendDigits | Say | PlayAudio | Hold | Resume
    )
    refused = refusal(scene, request_)
    if needs_the_caller:
        assert refused == (409, f"{busy}_in_progress")
    else:
        assert refused in (None, (409, "no_transfer_in_progress"), (409, "no_gather_in_progress"))


@pytest.mark.parametrize(
    "request_", [TransferCall(transfer_id="t", destination=OTHER), CancelTransfer(), SendDigits(digits="1")]
)
def test_a_call_without_a_control_channel_cannot_be_commanded(request_: CallRequest) -> None:
    scene = Scene("signalwire")
    scene.stream()
    assert refusal(scene, request_) == (409, "no_control_channel")


def test_what_the_gateway_does_itself_needs_no_control_channel() -> None:
    scene = Scene("signalwire", speech=True)
    scene.stream()
    for request in (Say(text="Hello"), Hold(), Resume(), Gather(gather_id="g", prompt="Digits?")):
        assert refusal(scene, request) is None


def test_every_ticket_is_answered_at_the_latest_when_the_call_is_over() -> None:
    scene = Scene("telnyx").talk()
    scene.ask(SendDigits(digits="1"), "open")
    assert scene.answer("open") is None
    scene.hung_up()
    answer = scene.answer("open")
    assert isinstance(answer, Refused)
    assert answer.code == "call_not_in_progress"
    scene.done(scene.command(PressDigits))
    assert scene.answer("open") is answer


# What the media does


def test_the_agent_says_it_in_its_own_words() -> None:
    scene = Scene().talk()
    assert scene.answer(scene.ask(Say(text="We close soon."))) == Accepted(facts={"mode": "instructed"})
    assert scene.order(InstructAgent).text == "We close soon."


def test_a_voice_says_it_word_for_word() -> None:
    scene = Scene(speech=True).talk()
    ticket = scene.ask(Say(text="We close soon.", verbatim=True, interruptible=False))
    assert scene.answer(ticket) == Accepted(facts={"mode": "verbatim"})
    said = scene.order(SpeakText)
    assert (said.text, said.interruptible) == ("We close soon.", False)


def test_without_a_voice_nothing_is_said_word_for_word() -> None:
    assert refusal(Scene().talk(), Say(text="Hello", verbatim=True)) == (501, "no_verbatim_voice")


def test_audio_is_played_now_or_when_what_is_being_said_was_heard() -> None:
    scene = Scene().talk()
    scene.ask(PlayAudio(audio=b"\1\0", rate=8_000, loop=True))
    assert scene.order(PlayFile).loop
    scene.log.clear()
    scene.ask(PlayAudio(audio=b"\2\0", rate=8_000, after=After.PLAYOUT))
    assert not scene.wants(PlayFile)
    scene.tell(PlayedOut(scene.order(AwaitPlayout).ticket))
    assert scene.order(PlayFile).audio == b"\2\0"
    scene.ask(StopPlaying())
    assert StopFile() in scene.orders()


def test_audio_that_waited_for_a_call_that_ended_is_not_played() -> None:
    scene = Scene().talk()
    scene.ask(PlayAudio(audio=b"\2\0", rate=8_000, after=After.PLAYOUT))
    ticket = scene.order(AwaitPlayout).ticket
    scene.hung_up()
    scene.tell(PlayedOut(ticket))
    assert not scene.wants(PlayFile)


def test_the_model_is_told_something() -> None:
    scene = Scene().talk()
    scene.ask(Inject(role=Role.SYSTEM, text="VIP", respond=True))
    assert scene.order(TellAgent) == TellAgent(Role.SYSTEM, "VIP", respond=True)


def test_on_hold_the_caller_hears_a_tone_and_the_agent_nothing_until_resumed() -> None:
    scene = Scene(silence=5.0).talk()
    scene.ask(Hold())
    scene.ask(Hold())
    assert scene.orders() == [HoldAgent("hold", tone=True)]
    assert refusal(scene, Say(text="Hello")) == (409, "call_on_hold")
    scene.ask(Resume())
    scene.ask(Resume())
    assert [type(order) for order in scene.orders()] == [HoldAgent, ReleaseAgent]
    assert scene.events() == ["call.hold", "call.resume"]


def test_hold_audio_of_ones_own_replaces_the_tone() -> None:
    scene = Scene().talk()
    scene.ask(Hold())
    scene.ask(Hold(audio=b"\1\0", rate=16_000))
    assert scene.order(HoldAgent) == HoldAgent("hold", audio=b"\1\0", rate=16_000)


def test_asking_the_recording_for_what_is_so_already_changes_nothing() -> None:
    scene = Scene().talk()
    start, stop, pause, resume = RecordingAction
    states = []
    for action in (resume, pause, start, start, pause, pause, resume, resume, stop, stop):
        answer = scene.answer(scene.ask(ControlRecording(action=action)))
        assert isinstance(answer, Accepted)
        states.append(answer.facts["recording"])
    assert states == ["off", "off", "on", "on", "paused", "paused", "on", "on", "off", "off"]
    assert scene.orders() == [Record(start), Record(pause), Record(resume), Record(stop)]
    assert scene.call.record.recording_enabled


# Digits out


def test_telnyx_presses_keys_beside_the_stream() -> None:
    scene = Scene("telnyx").talk()
    scene.ask(SendDigits(digits="12#"), "asked")
    command = scene.command(PressDigits)
    assert (command.digits, command.reattach) == ("12#", None)
    assert scene.orders() == []
    assert scene.answer("asked") is None
    scene.done(command)
    assert scene.answer("asked") == Accepted()


def test_twilio_presses_keys_in_place_of_the_stream_which_comes_back() -> None:
    scene = Scene("twilio").talk()
    scene.ask(SendDigits(digits="12#"), "asked")
    assert scene.orders() == [ExpectBreak(Unheard.KEEP)]
    assert scene.command(PressDigits).reattach is not None
    scene.done(scene.command(PressDigits))
    scene.tell(StreamDown(1, stopped=True))
    scene.wait(10)
    scene.stream(2)
    scene.wait(60)
    assert [type(each) for each in scene.commands()] == [PressDigits]


@both
def test_keys_that_the_carrier_refuses_leave_everything_as_it_was(carrier: str) -> None:
    scene = Scene(carrier).talk()
    scene.ask(SendDigits(digits="12#"), "asked")
    scene.refused(scene.command(PressDigits))
    answer = scene.answer("asked")
    assert isinstance(answer, Refused)
    assert answer.code == "carrier_rejected"
    assert (ExpectStream() in scene.orders()) is (carrier == "twilio")
    scene.wait(60)
    assert len(scene.commands()) == 1


def test_keys_for_a_caller_who_has_gone_find_the_call_over() -> None:
    scene = Scene("twilio").talk()
    scene.ask(SendDigits(digits="12#"), "asked")
    scene.refused(scene.command(PressDigits), Verdict.ALREADY_ENDED)
    assert isinstance(scene.answer("asked"), Refused)
    assert scene.outcome == ("completed", "answered", "caller-hangup")


def test_a_carrier_that_cannot_press_keys_is_named() -> None:
    scene = Scene("twilio", capabilities=capabilities("twilio", send_digits=Means.NONE)).talk()
    assert refusal(scene, SendDigits(digits="1")) == (501, "not_supported_by_carrier")


def test_what_breaks_the_stream_waits_for_the_stream() -> None:
    """Trap 19: before the media socket is up, an update overwrites the document that opens it."""
    scene = Scene("twilio").talk()
    scene.ask(SendDigits(digits="1"), "first")
    scene.ask(SendDigits(digits="2"), "second")
    scene.ask(TransferCall(transfer_id="t", destination=OTHER, after=After.NOW))
    assert [each.digits for each in scene.commands() if isinstance(each, PressDigits)] == ["1"]
    scene.done(scene.command(PressDigits))
    scene.stream(2)
    assert [each.digits for each in scene.commands() if isinstance(each, PressDigits)] == ["1", "2"]
    assert not scene.wants(Transfer)
    scene.done(scene.command(PressDigits))
    scene.stream(3)
    assert scene.wants(Transfer)


def test_the_agent_presses_keys_and_is_told_when_they_are_sent() -> None:
    scene = Scene("telnyx", built_in=SendDigits(digits="1")).talk()
    scene.tell(ToolAsked("tc", "send_dtmf", '{"digits": "1"}'))
    scene.done(scene.command(PressDigits))
    assert scene.order(ToolResult) == ToolResult("tc", '{"status":"sent"}')


def test_a_silent_caller_on_hold_is_not_hung_up_on() -> None:
    scene = Scene(silence=5.0).talk()
    scene.ask(Hold())
    scene.tell(SilenceLasted())
    assert scene.commands() == []

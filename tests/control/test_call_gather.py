"""Gathers in a call: who gathers, what the agent hears of it, how the caller comes back, and where digits are not."""

from typing import Any

import pytest

from control.effects import Attach, Publish
from control.media_orders import (
    CollectDigits,
    DigitReported,
    ExpectBreak,
    ExpectStream,
    HoldAgent,
    PromptPlayed,
    ReleaseAgent,
    SilenceLasted,
    SpeakText,
    StopCollecting,
    StreamDown,
    StreamMissing,
    ToolAsked,
    ToolResult,
    Unheard,
)
from control.requests import Accepted, CancelGather, EndCall, Gather, GatherMode, Refused, TransferCall
from telephony.calls import GatherEnded, GatherStatus, LegToken, TwimlPurpose
from telephony.capabilities import Means
from telephony.client_errors import Verdict
from telephony.commands import GatherDigits, Hangup, StopGather
from tests.control.call_scene import OTHER, Scene, capabilities

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])


def gather(gather_id: str = "g1", **asked: Any) -> Gather:
    return Gather(gather_id=gather_id, prompt="Your number, please.", **asked)


def gathering(carrier: str = "telnyx", asked: Gather | None = None, **brief: Any) -> Scene:
    """The carrier asks the caller."""
    scene = Scene(carrier, **brief).talk()
    scene.ask(asked or gather(), "asked")
    scene.done(scene.command(GatherDigits))
    return scene


def asking(asked: Gather | None = None, carrier: str = "twilio", **brief: Any) -> Scene:
    """We ask the caller, who has heard the prompt."""
    scene = Scene(carrier, speech=True, **brief).talk()
    scene.ask(asked or gather(mode=GatherMode.STREAM), "asked")
    scene.tell(PromptPlayed(scene.order(SpeakText).ticket, ok=True))
    return scene


def carrier_ends(
    scene: Scene,
    digits: str,
    status: GatherStatus = GatherStatus.COMPLETED,
    gather_id: str | None = "g1",
) -> None:
    token = LegToken("call_1", operation=gather_id)
    scene.tell(GatherEnded(origin=scene.origin(token=token), status=status, digits=digits))


def types(scene: Scene, keys: str) -> None:
    for key in keys:
        scene.tell(DigitReported(key))


def completed(scene: Scene) -> tuple[object, object]:
    data = scene.published("call.gather.completed").data
    return data["status"], data["input"]


# Who gathers


@pytest.mark.parametrize(
    ("carrier", "speech", "mode", "by_carrier"),
    [
        ("telnyx", False, GatherMode.AUTO, True),
        ("telnyx", True, GatherMode.AUTO, True),
        ("twilio", False, GatherMode.AUTO, True),
        ("twilio", True, GatherMode.AUTO, False),
        ("twilio", True, GatherMode.CARRIER, True),
        ("telnyx", True, GatherMode.STREAM, False),
    ],
)
def test_the_one_that_serves_the_caller_better_gathers(
    carrier: str, speech: bool, mode: GatherMode, by_carrier: bool
) -> None:
    scene = Scene(carrier, speech=speech).talk()
    scene.ask(gather(mode=mode))
    assert scene.wants(GatherDigits) is by_carrier
    assert scene.wants(SpeakText) is not by_carrier
    assert scene.call.gather is not None
    assert (scene.call.gather.mode is GatherMode.CARRIER) is by_carrier


def test_without_a_voice_nothing_is_asked_in_the_stream() -> None:
    scene = Scene("twilio").talk()
    answer = scene.answer(scene.ask(gather(mode=GatherMode.STREAM)))
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (501, "no_verbatim_voice")


def test_a_carrier_that_cannot_gather_is_named() -> None:
    scene = Scene("twilio", capabilities=capabilities("twilio", carrier_gather=Means.NONE)).talk()
    answer = scene.answer(scene.ask(gather(mode=GatherMode.CARRIER)))
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (501, "not_supported_by_carrier")
    assert "twilio" in answer.detail


def test_there_is_one_gather_at_a_time() -> None:
    scene = gathering()
    answer = scene.answer(scene.ask(gather("g2")))
    assert answer == Refused(
        status=409,
        code="gather_in_progress",
        detail="A gather operation is already in progress for this call",
    )


# By the carrier


@both
def test_the_agent_is_held_and_the_break_expected_before_the_carrier_gathers(carrier: str) -> None:
    scene = Scene(carrier).talk()
    scene.ask(gather(max_digits=4, valid_digits="123"), "asked")
    assert scene.orders() == [HoldAgent("gather"), ExpectBreak(Unheard.CUT), CollectDigits(secret=False)]
    command = scene.command(GatherDigits)
    assert (str(command.token), command.max_digits, command.valid_digits) == ("call_1~g1", 4, "123")
    assert scene.answer("asked") is None
    scene.done(command)
    assert scene.answer("asked") == Accepted(facts={"gather_id": "g1", "mode": "carrier"})


def test_on_telnyx_the_agent_goes_on_with_the_digits_at_once() -> None:
    scene = gathering("telnyx")
    carrier_ends(scene, "4711")
    assert completed(scene) == ("completed", "4711")
    assert scene.orders()[-3:-1] == [StopCollecting(), ExpectStream()]
    released = scene.order(ReleaseAgent)
    assert "4711" in (released.tell or "")
    assert released.respond


def test_on_twilio_the_agent_goes_on_when_the_caller_is_heard_again() -> None:
    scene = gathering("twilio")
    scene.tell(StreamDown(1, stopped=True))
    scene.wait(20)
    carrier_ends(scene, "4711")
    assert completed(scene) == ("completed", "4711")
    assert isinstance(scene.document(TwimlPurpose.GATHER), Attach)
    assert not scene.wants(ReleaseAgent)
    scene.stream(2)
    assert "4711" in (scene.order(ReleaseAgent).tell or "")
    scene.wait(60)
    assert not scene.wants(Hangup)


def test_a_stream_that_does_not_come_back_after_a_gather_ends_the_call() -> None:
    scene = gathering("twilio")
    carrier_ends(scene, "4711")
    scene.document(TwimlPurpose.GATHER)
    scene.wait(11)
    assert scene.wants(Hangup)
    assert scene.call.record.intent == "error"


@both
def test_a_stream_that_is_missing_while_the_carrier_gathers_is_no_loss(carrier: str) -> None:
    scene = gathering(carrier)
    scene.tell(StreamDown(1, stopped=True))
    scene.tell(StreamMissing())
    scene.wait(20)
    assert [type(each) for each in scene.commands()] == [GatherDigits]


def test_keys_that_the_stream_reports_as_well_are_the_carriers() -> None:
    scene = gathering("telnyx")
    types(scene, "47#")
    carrier_ends(scene, "47")
    assert completed(scene) == ("completed", "47")


def test_the_end_of_an_earlier_gather_is_not_taken_for_this_ones() -> None:
    scene = gathering("telnyx", gather("g2"))
    carrier_ends(scene, "1", gather_id="g1")
    assert "call.gather.completed" not in scene.events()
    carrier_ends(scene, "2", gather_id="g2")
    assert completed(scene) == ("completed", "2")


@both
def test_a_carrier_that_refuses_leaves_everything_as_it_was(carrier: str) -> None:
    scene = Scene(carrier).talk()
    scene.ask(gather(), "asked")
    scene.refused(scene.command(GatherDigits), detail="invalid voice", code="90012")
    answer = scene.answer("asked")
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code, answer.detail) == (422, "carrier_rejected", "90012: invalid voice")
    assert scene.orders()[-3:] == [ExpectStream(), StopCollecting(), ReleaseAgent("gather")]
    assert scene.call.gather is None
    assert "call.gather.completed" not in scene.events()


def test_a_gather_of_a_caller_who_has_gone_finds_the_call_over() -> None:
    scene = Scene().talk()
    scene.ask(gather(), "asked")
    scene.refused(scene.command(GatherDigits), Verdict.ALREADY_ENDED)
    assert isinstance(scene.answer("asked"), Refused)
    assert scene.outcome == ("completed", "answered", "caller-hangup")


@both
def test_a_carrier_that_never_reports_is_told_to_stop(carrier: str) -> None:
    scene = gathering(carrier)
    scene.wait(90)
    stop = scene.command(StopGather)
    assert (stop.reattach is not None) is (carrier == "twilio")
    assert completed(scene) == ("timeout", None)
    if carrier == "twilio":
        scene.stream(2)
    assert scene.order(ReleaseAgent).reason == "gather"


def test_a_cancel_on_telnyx_waits_for_the_carriers_word() -> None:
    scene = gathering("telnyx")
    assert scene.answer(scene.ask(CancelGather())) == Accepted()
    assert scene.wants(StopGather)
    assert "call.gather.completed" not in scene.events()
    carrier_ends(scene, "", GatherStatus.CANCELLED)
    assert completed(scene) == ("cancelled", None)


def test_a_cancel_on_twilio_is_done_with_the_next_stream() -> None:
    scene = gathering("twilio")
    scene.ask(CancelGather())
    assert scene.command(StopGather).reattach is not None
    assert completed(scene) == ("cancelled", None)
    scene.stream(2)
    assert scene.order(ReleaseAgent).reason == "gather"


def test_a_cancel_before_the_carrier_could_be_told_tells_it_nothing() -> None:
    scene = Scene("twilio")
    scene.document(TwimlPurpose.VOICE)
    scene.answered()
    scene.ask(gather(), "asked")
    scene.ask(CancelGather())
    scene.stream()
    assert not scene.wants(GatherDigits)
    assert not scene.wants(StopGather)
    assert completed(scene) == ("cancelled", None)
    assert isinstance(scene.answer("asked"), Accepted)


def test_there_is_nothing_to_cancel_without_a_gather() -> None:
    scene = Scene().talk()
    answer = scene.answer(scene.ask(CancelGather()))
    assert isinstance(answer, Refused)
    assert answer.code == "no_gather_in_progress"


# By us


def test_the_prompt_is_said_and_the_agent_held_while_we_gather() -> None:
    scene = Scene("twilio", speech=True).talk()
    scene.ask(gather(language="de-DE"), "asked")
    assert scene.orders()[:2] == [HoldAgent("gather"), CollectDigits(secret=False)]
    prompt = scene.order(SpeakText)
    assert (prompt.text, prompt.language, prompt.interruptible) == ("Your number, please.", "de-DE", False)
    assert scene.answer("asked") == Accepted(facts={"gather_id": "g1", "mode": "stream"})


def test_digits_of_the_stream_complete_a_gather_and_the_stream_is_not_touched() -> None:
    scene = asking()
    types(scene, "4711#")
    assert completed(scene) == ("completed", "4711")
    assert scene.order(ReleaseAgent).respond
    assert StopCollecting() in scene.orders()
    assert not scene.wants(ExpectBreak)
    assert scene.commands() == []


def test_a_caller_who_enters_nothing_has_timed_out() -> None:
    scene = asking(gather(timeout=7))
    scene.wait(6.9)
    assert "call.gather.completed" not in scene.events()
    scene.wait(0.2)
    assert completed(scene) == ("timeout", None)


def test_a_prompt_that_cannot_be_said_ends_the_gather() -> None:
    scene = Scene("twilio", speech=True).talk()
    scene.ask(gather())
    scene.tell(PromptPlayed(scene.order(SpeakText).ticket, ok=False))
    assert completed(scene) == ("cancelled", None)
    assert scene.order(ReleaseAgent).reason == "gather"


def test_a_cancel_is_done_at_once() -> None:
    scene = asking()
    scene.ask(CancelGather())
    assert completed(scene) == ("cancelled", None)
    types(scene, "1#")
    assert scene.events().count("call.gather.completed") == 1


def test_silence_while_digits_are_asked_for_is_not_the_callers_fault() -> None:
    scene = asking(silence=5.0)
    scene.tell(SilenceLasted())
    assert not scene.wants(Hangup)


# The end of the call


@both
def test_a_caller_who_hangs_up_ends_the_gather_first(carrier: str) -> None:
    scene = gathering(carrier)
    scene.hung_up()
    scene.media_ended()
    assert completed(scene) == ("hangup", None)
    assert scene.events() == ["gather.started", "call.gather.completed", "call.ended"]
    assert not scene.wants(ReleaseAgent)


def test_an_end_by_the_api_ends_the_gather() -> None:
    scene = asking()
    scene.ask(EndCall())
    assert completed(scene) == ("hangup", None)


# Digits that are nobody's business


def everything_but_the_webhook(scene: Scene) -> str:
    """What a log, a timeline and the model could show of what came of it."""
    shown = []
    for effect in scene.log:
        if isinstance(effect, Publish):
            shown.append(
                str({name: value for name, value in effect.data.items() if name not in effect.secret})
            )
        else:
            shown.append(str(effect))
    return "\n".join([*shown, str(scene.call.gather), str(scene.call.record)])


@pytest.mark.parametrize("tool", [True, False])
@pytest.mark.parametrize("mode", [GatherMode.CARRIER, GatherMode.STREAM])
def test_sensitive_digits_are_in_their_own_webhook_and_nowhere_else(mode: GatherMode, tool: bool) -> None:
    asked = gather(sensitive=True, mode=mode)
    scene = Scene("telnyx", speech=True, built_in=asked if tool else None).talk()
    if tool:
        scene.tell(ToolAsked("tc", "gather_digits", "{}"))
    else:
        scene.ask(asked)
    assert scene.order(CollectDigits) == CollectDigits(secret=True)
    if mode is GatherMode.CARRIER:
        scene.all_done()
        carrier_ends(scene, "987654")
    else:
        types(scene, "987654#")
    event = scene.published("call.gather.completed")
    assert event.data["input"] == "987654"
    assert event.secret == ("input",)
    assert "987654" not in everything_but_the_webhook(scene)
    assert scene.order(ReleaseAgent).reason == "gather"


# By the agent


def test_the_agent_that_gathers_gets_the_digits_as_its_tools_result() -> None:
    scene = Scene("telnyx", built_in=gather()).talk()
    scene.tell(ToolAsked("tc", "gather_digits", "{}"))
    scene.all_done()
    carrier_ends(scene, "42")
    assert scene.orders()[-2:] == [
        ReleaseAgent("gather", tell=None, respond=False),
        ToolResult("tc", '{"status":"completed","digits":"42"}'),
    ]


def test_the_agent_is_told_that_its_gather_was_refused() -> None:
    scene = Scene("telnyx", built_in=gather()).talk()
    scene.tell(ToolAsked("tc", "gather_digits", "{}"))
    scene.refused(scene.command(GatherDigits))
    assert [type(order) for order in scene.orders()][-2:] == [ReleaseAgent, ToolResult]


def test_a_transfer_waits_its_turn() -> None:
    scene = gathering()
    answer = scene.answer(scene.ask(TransferCall(transfer_id="t", destination=OTHER)))
    assert isinstance(answer, Refused)
    assert answer.code == "gather_in_progress"

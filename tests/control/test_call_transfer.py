"""Transfers: the goodbye, the dialling, and the way out of it or back to the agent, on both carriers."""

from typing import Any

import pytest

from control.effects import Attach, PutDown, RevokeTokens
from control.inputs import NotFound
from control.media_orders import (
    AgentGone,
    AwaitPlayout,
    CancelAwait,
    EndMedia,
    ExpectBreak,
    ExpectStream,
    HoldAgent,
    PlayedOut,
    PromptPlayed,
    Release,
    ReleaseAgent,
    SpeakText,
    StreamDown,
    StreamMissing,
    ToolAsked,
    ToolResult,
    Unheard,
)
from control.ownership import Ownership
from control.requests import (
    Accepted,
    After,
    CancelTransfer,
    EndCall,
    OnFailure,
    Refused,
    Say,
    TransferCall,
)
from control.transfers import TransferState
from telephony.calls import (
    Answered,
    Bridged,
    HungUp,
    Initiated,
    ReferCompleted,
    ReferFailed,
    TransferEnded,
    TransferLegAnswered,
    TransferLegBridged,
    TransferLegHungUp,
    TransferLegInitiated,
    TransferLegRinging,
    TwimlPurpose,
)
from telephony.causes import Direction, HangupCause
from telephony.client_errors import Verdict
from telephony.commands import CancelTransfer as CancelLeg
from telephony.commands import Hangup, Refer, StartStream, Transfer
from tests.control.call_scene import OTHER, US, Scene, capabilities

NOW = After.NOW
both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])


def transfer(transfer_id: str = "t1", **asked: Any) -> TransferCall:
    facts: dict[str, Any] = {"destination": OTHER, "after": NOW, **asked}
    return TransferCall(transfer_id=transfer_id, **facts)


def dialling(carrier: str = "telnyx", asked: TransferCall | None = None, **brief: Any) -> Scene:
    """The carrier has been told to connect the caller with somebody else."""
    scene = Scene(carrier, **brief).talk()
    scene.ask(asked or transfer(), "asked")
    scene.done(scene.command(Transfer))
    return scene


def rings(scene: Scene) -> None:
    scene.tell(TransferLegInitiated(origin=scene.leg_b()))
    scene.tell(TransferLegRinging(origin=scene.leg_b()))


def connected(scene: Scene) -> None:
    rings(scene)
    scene.tell(TransferLegAnswered(origin=scene.leg_b()))
    scene.tell(TransferLegBridged(origin=scene.leg_b()))


def leg_b_ends(scene: Scene, cause: HangupCause = HangupCause.USER_BUSY, *, talked: bool = False) -> None:
    """Leg B is over, in the carrier's own way of saying so."""
    scene.tell(TransferLegHungUp(origin=scene.leg_b(), cause=cause))
    if scene.carrier == "twilio":
        scene.tell(
            TransferEnded(
                origin=scene.leg_b(leg="a"), connected=talked, cause=cause, transfer_call_id="leg-b"
            )
        )


def state(scene: Scene) -> TransferState:
    view = scene.call.transfer
    assert view is not None
    return view.state


# How it begins


@both
def test_the_agent_is_held_and_the_break_expected_before_the_carrier_dials(carrier: str) -> None:
    scene = dialling(carrier)
    assert scene.orders() == [HoldAgent("transfer"), ExpectBreak(Unheard.CUT)]
    command = scene.command(Transfer)
    assert (command.destination, command.caller_id, str(command.token)) == (OTHER, US, "call_1.t1")
    assert scene.call.ownership is Ownership.TRANSFERRING
    assert scene.answer("asked") == Accepted(facts={"destination": OTHER, "transfer_id": "t1"})
    assert scene.events() == ["transfer.initiated"]


def test_what_is_being_said_is_heard_first() -> None:
    scene = Scene().talk()
    scene.ask(transfer(after=After.PLAYOUT), "asked")
    assert scene.answer("asked") == Accepted(facts={"destination": OTHER, "transfer_id": "t1"})
    assert not scene.wants(Transfer)
    scene.tell(PlayedOut(scene.order(AwaitPlayout).ticket))
    assert scene.wants(Transfer)


def test_an_announcement_is_heard_before_the_carrier_dials() -> None:
    scene = Scene(speech=True).talk()
    scene.ask(transfer(announce="One moment."))
    announced = scene.order(SpeakText)
    assert (announced.text, announced.interruptible) == ("One moment.", False)
    assert scene.orders()[0] == HoldAgent("transfer")
    assert not scene.wants(Transfer)
    scene.tell(PromptPlayed(announced.ticket, ok=True))
    assert scene.wants(Transfer)


def test_an_announcement_of_which_nobody_says_that_it_was_heard_does_not_hold_up_the_transfer() -> None:
    scene = Scene(speech=True).talk()
    scene.ask(transfer(announce="One moment."))
    scene.wait(20)
    assert scene.wants(Transfer)


def test_an_announcement_that_cannot_be_said_fails_the_transfer_and_the_agent_goes_on() -> None:
    scene = Scene(speech=True).talk()
    scene.ask(transfer(announce="One moment."))
    scene.tell(PromptPlayed(scene.order(SpeakText).ticket, ok=False))
    assert scene.events() == ["transfer.initiated", "transfer.failed"]
    assert scene.order(ReleaseAgent).reason == "transfer"
    assert not scene.wants(Transfer)


def test_a_transfer_waits_for_twilios_stream_and_never_overwrites_the_document_that_opens_it() -> None:
    """Trap 19: the answered callback precedes the media socket."""
    scene = Scene("twilio", Direction.OUTBOUND)
    scene.done(scene.commands()[0], call_id="leg-a")
    scene.answered()
    scene.ask(transfer())
    assert not scene.wants(Transfer)
    scene.stream()
    assert scene.wants(Transfer)


@pytest.mark.parametrize(
    ("carrier", "asked", "status", "code"),
    [
        ("telnyx", transfer(announce="Hello"), 501, "no_verbatim_voice"),
        ("twilio", transfer(destination="sip:a@example.com", refer=True), 501, "not_supported_by_carrier"),
        ("telnyx", transfer(refer=True), 400, "invalid_destination"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    carrier: str, asked: TransferCall, status: int, code: str
) -> None:
    scene = Scene(carrier).talk()
    answer = scene.answer(scene.ask(asked))
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (status, code)
    assert scene.commands() == []


def test_a_sip_destination_is_refused_where_the_carrier_takes_none() -> None:
    scene = Scene("twilio", capabilities=capabilities("twilio", sip_destinations=False)).talk()
    answer = scene.answer(scene.ask(transfer(destination="sip:a@example.com")))
    assert isinstance(answer, Refused)
    assert (answer.status, answer.detail) == (501, "twilio cannot transfer to a SIP URI")


@both
def test_a_carrier_that_refuses_at_once_leaves_everything_as_it_was(carrier: str) -> None:
    scene = Scene(carrier).talk()
    scene.ask(transfer(), "asked")
    scene.refused(scene.command(Transfer), detail="not allowed", code="21215")
    answer = scene.answer("asked")
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (422, "carrier_rejected")
    assert answer.detail == "Transfer failed: 21215: not allowed"
    assert ExpectStream() in scene.orders()
    assert scene.order(ReleaseAgent).reason == "transfer"
    assert scene.call.ownership is Ownership.OWNED
    assert scene.events() == ["transfer.initiated", "transfer.failed"]


def test_a_carrier_that_cannot_be_reached_is_unavailable() -> None:
    scene = Scene().talk()
    scene.ask(transfer(), "asked")
    scene.refused(scene.command(Transfer), Verdict.UNAVAILABLE)
    answer = scene.answer("asked")
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (502, "carrier_unavailable")


def test_a_transfer_of_a_caller_who_has_gone_finds_the_call_over() -> None:
    scene = Scene().talk()
    scene.ask(transfer(), "asked")
    scene.refused(scene.command(Transfer), Verdict.ALREADY_ENDED)
    answer = scene.answer("asked")
    assert isinstance(answer, Refused)
    assert answer.code == "call_not_in_progress"
    assert scene.outcome == ("completed", "answered", "caller-hangup")


@both
def test_a_dial_of_unknown_outcome_is_waited_for(carrier: str) -> None:
    scene = Scene(carrier).talk()
    scene.ask(transfer(), "asked")
    scene.refused(scene.command(Transfer), Verdict.UNKNOWN)
    assert isinstance(scene.answer("asked"), Accepted)
    connected(scene)
    assert state(scene) is TransferState.COMPLETED


# How it succeeds


@both
def test_the_agent_is_let_go_when_the_two_hear_each_other(carrier: str) -> None:
    scene = dialling(carrier)
    connected(scene)
    assert scene.events() == ["transfer.initiated", "transfer.completed"]
    assert Release() in scene.orders()
    assert RevokeTokens() in scene.log
    assert scene.call.ownership is Ownership.RELEASED
    assert scene.call.record.transferred_to == OTHER
    assert scene.call.record.status == "in-progress"


def test_our_legs_bridge_is_a_success_too() -> None:
    scene = dialling("telnyx")
    scene.tell(Bridged(origin=scene.origin()))
    assert state(scene) is TransferState.COMPLETED


def test_a_bridge_without_a_transfer_is_none() -> None:
    scene = Scene().talk()
    scene.tell(Bridged(origin=scene.origin()))
    assert scene.call.ownership is Ownership.OWNED


@both
def test_nothing_of_ours_touches_a_released_leg(carrier: str) -> None:
    scene = dialling(carrier, silence=10.0)
    connected(scene)
    scene.log.clear()
    scene.tell(StreamDown(1, stopped=True))
    scene.tell(StreamMissing())
    scene.tell(AgentGone("closed"))
    scene.media_ended()
    scene.wait(14_400)
    assert scene.commands() == []
    assert scene.call.next_deadline() is None


@both
def test_a_transferred_call_ends_when_the_carrier_says_so(carrier: str) -> None:
    scene = dialling(carrier)
    scene.wait(8)
    connected(scene)
    scene.media_ended()
    scene.wait(90)
    if carrier == "twilio":
        leg_b_ends(scene, HangupCause.NORMAL_CLEARING, talked=True)
        assert scene.document(TwimlPurpose.DIAL) == PutDown()
    scene.hung_up()
    assert scene.outcome == ("completed", "transferred", "transfer")
    assert scene.call.record.transfer_duration_seconds == 90
    assert scene.events()[-1] == "call.ended"
    assert not scene.wants(EndMedia)
    assert scene.is_closed()


def test_a_conversation_of_which_the_beginning_was_not_told_is_a_transfer_when_it_ends() -> None:
    scene = dialling("twilio")
    leg_b_ends(scene, HangupCause.NORMAL_CLEARING, talked=True)
    assert scene.document(TwimlPurpose.DIAL) == PutDown()
    scene.hung_up()
    assert scene.outcome == ("completed", "transferred", "transfer")


def test_a_transferred_call_ends_when_the_carrier_knows_it_no_more() -> None:
    scene = dialling()
    connected(scene)
    scene.tell(NotFound())
    assert scene.outcome == ("completed", "transferred", "transfer")


def test_a_released_call_is_ended_only_by_name() -> None:
    scene = dialling()
    connected(scene)
    for request in (EndCall(), Say(text="Hello"), transfer("t2"), CancelTransfer()):
        answer = scene.answer(scene.ask(request))
        assert isinstance(answer, Refused)
        assert (answer.status, answer.code) == (409, "call_released")
    assert not scene.wants(Hangup)
    assert scene.answer(scene.ask(EndCall(released=True))) == Accepted()
    scene.done(scene.command(Hangup))
    scene.hung_up()
    assert scene.outcome == ("completed", "transferred", "api")


# How it fails


@both
@pytest.mark.parametrize(
    ("cause", "word"),
    [
        (HangupCause.USER_BUSY, "busy"),
        (HangupCause.RING_TIMEOUT, "no-answer"),
        (HangupCause.CALL_REJECTED, "rejected"),
        (HangupCause.UNALLOCATED_NUMBER, "unallocated_number"),
    ],
)
def test_the_agent_has_the_caller_back_and_is_told_why(carrier: str, cause: HangupCause, word: str) -> None:
    scene = dialling(carrier)
    rings(scene)
    leg_b_ends(scene, cause)
    if carrier == "twilio":
        assert not scene.wants(ReleaseAgent)
        assert isinstance(scene.document(TwimlPurpose.DIAL), Attach)
        scene.stream(2)
    else:
        assert ExpectStream() in scene.orders()
    released = scene.order(ReleaseAgent)
    assert released.reason == "transfer"
    assert released.respond
    assert word in (released.tell or "")
    assert scene.published("transfer.failed").data["cause"] == word
    assert scene.call.ownership is Ownership.OWNED
    assert not scene.wants(CancelLeg)
    scene.ask(transfer("t2"), "again")
    scene.done(scene.command(Transfer))
    assert isinstance(scene.answer("again"), Accepted)


@both
def test_a_failed_transfer_may_end_the_call(carrier: str) -> None:
    scene = dialling(carrier, transfer(on_failure=OnFailure.HANGUP))
    leg_b_ends(scene)
    if carrier == "twilio":
        assert scene.document(TwimlPurpose.DIAL) == PutDown()
    scene.done(scene.command(Hangup))
    scene.hung_up()
    assert scene.outcome == ("completed", "answered", "api")


@both
def test_a_transfer_of_which_nothing_more_is_heard_fails_and_the_caller_is_had_back(carrier: str) -> None:
    scene = dialling(carrier, transfer(ring_timeout=20))
    rings(scene)
    scene.wait(40)
    assert scene.command(CancelLeg).transfer_call_id == "leg-b"
    assert scene.published("transfer.failed").data["cause"] == "timeout"
    if carrier == "twilio":
        assert scene.wants(StartStream)
        scene.stream(2)
    assert scene.order(ReleaseAgent).reason == "transfer"


def test_the_longest_a_call_may_last_rests_while_somebody_is_dialled() -> None:
    scene = Scene(max_duration=60.0).talk()
    scene.wait(55)
    scene.ask(transfer(ring_timeout=30))
    scene.done(scene.command(Transfer))
    scene.wait(20)
    assert not scene.wants(Hangup)
    leg_b_ends(scene)
    scene.wait(0)
    assert scene.call.record.intent == "max-duration"


def test_a_caller_whose_agent_is_gone_in_the_meantime_cannot_be_returned() -> None:
    scene = dialling()
    scene.tell(AgentGone("session_expired"))
    assert not scene.wants(Hangup)
    leg_b_ends(scene)
    assert scene.wants(Hangup)
    assert scene.call.record.intent == "error"


def test_an_agent_that_is_gone_is_not_missed_where_the_transfer_succeeds() -> None:
    scene = dialling()
    scene.tell(AgentGone("session_expired"))
    connected(scene)
    assert scene.call.ownership is Ownership.RELEASED


@both
def test_a_caller_who_hangs_up_meanwhile_takes_the_second_leg_along(carrier: str) -> None:
    scene = dialling(carrier)
    rings(scene)
    scene.hung_up()
    scene.media_ended()
    assert scene.command(CancelLeg).transfer_call_id == "leg-b"
    assert scene.events() == ["transfer.initiated", "transfer.failed", "call.ended"]
    assert scene.outcome == ("completed", "answered", "caller-hangup")
    assert not scene.wants(ReleaseAgent)


def test_a_second_leg_that_gets_its_name_after_the_end_is_hung_up_all_the_same() -> None:
    scene = dialling()
    scene.hung_up()
    scene.tell(TransferLegInitiated(origin=scene.leg_b()))
    assert scene.command(CancelLeg).transfer_call_id == "leg-b"


@both
def test_an_end_by_the_api_ends_a_transfer_under_way(carrier: str) -> None:
    scene = dialling(carrier)
    rings(scene)
    scene.ask(EndCall())
    assert scene.command(CancelLeg).transfer_call_id == "leg-b"
    assert scene.command(Hangup).carrier_call_id == "leg-a"
    scene.hung_up()
    assert scene.outcome == ("completed", "answered", "api")


# Which leg is which


def test_a_second_leg_without_its_token_is_told_by_its_id() -> None:
    """Trap 18: it shares the session of the first one, and must not end the call."""
    scene = dialling()
    lost = scene.origin("b", session_id="s")
    scene.tell(Initiated(origin=lost, direction=Direction.OUTBOUND, from_number=US, to_number=OTHER))
    scene.tell(Answered(origin=lost))
    scene.tell(Bridged(origin=lost))
    assert state(scene) is TransferState.COMPLETED
    scene.tell(HungUp(origin=lost, cause=HangupCause.NORMAL_CLEARING))
    assert scene.outcome[0] == "in-progress"


def test_the_end_of_an_earlier_transfers_leg_does_not_fail_this_one() -> None:
    scene = dialling()
    leg_b_ends(scene)
    scene.ask(transfer("t2"))
    scene.done(scene.command(Transfer))
    leg_b_ends(scene)
    assert state(scene) is TransferState.DIALLING


def test_a_leg_of_a_transfer_that_was_given_up_and_answers_is_hung_up_again() -> None:
    scene = dialling(asked=transfer(ring_timeout=20))
    rings(scene)
    scene.wait(40)
    scene.log.clear()
    scene.tell(TransferLegAnswered(origin=scene.leg_b()))
    assert scene.command(CancelLeg).transfer_call_id == "leg-b"


# How it is called off


@both
def test_a_cancel_while_it_rings_hangs_up_the_second_leg(carrier: str) -> None:
    scene = dialling(carrier)
    rings(scene)
    assert scene.answer(scene.ask(CancelTransfer())) == Accepted()
    cancel = scene.command(CancelLeg)
    assert (cancel.carrier_call_id, cancel.transfer_call_id) == ("leg-a", "leg-b")
    scene.done(cancel)
    leg_b_ends(scene, HangupCause.ORIGINATOR_CANCEL)
    assert state(scene) is TransferState.CANCELLED
    assert scene.published("transfer.failed").data["cause"] == "cancelled"
    if carrier == "twilio":
        scene.document(TwimlPurpose.DIAL)
        scene.stream(2)
    assert scene.order(ReleaseAgent).tell == "The transfer was called off. The caller is back with you."


def test_a_cancel_before_the_second_leg_has_a_name_is_remembered() -> None:
    scene = dialling()
    scene.ask(CancelTransfer())
    assert not scene.wants(CancelLeg)
    scene.tell(TransferLegInitiated(origin=scene.leg_b()))
    assert scene.command(CancelLeg).transfer_call_id == "leg-b"


@both
def test_a_cancel_that_nobody_confirms_gives_the_caller_back_all_the_same(carrier: str) -> None:
    scene = dialling(carrier)
    scene.ask(CancelTransfer())
    scene.wait(10)
    if carrier == "twilio":
        scene.stream(2)
    assert scene.order(ReleaseAgent).reason == "transfer"
    assert scene.call.ownership is Ownership.OWNED


def test_people_who_talk_already_are_not_cut_off_by_a_cancel() -> None:
    scene = dialling()
    scene.ask(CancelTransfer())
    scene.tell(TransferLegBridged(origin=scene.leg_b()))
    assert state(scene) is TransferState.COMPLETED
    assert not scene.wants(CancelLeg)


def test_a_cancel_during_the_goodbye_dials_nobody() -> None:
    scene = Scene().talk()
    scene.ask(transfer(after=After.PLAYOUT))
    ticket = scene.order(AwaitPlayout).ticket
    scene.ask(CancelTransfer())
    assert CancelAwait(ticket) in scene.orders()
    scene.tell(PlayedOut(ticket))
    assert not scene.wants(Transfer)
    assert state(scene) is TransferState.CANCELLED


def test_there_is_nothing_to_cancel_without_a_transfer() -> None:
    scene = Scene().talk()
    answer = scene.answer(scene.ask(CancelTransfer()))
    assert isinstance(answer, Refused)
    assert answer.code == "no_transfer_in_progress"


def test_there_is_one_transfer_at_a_time() -> None:
    scene = dialling()
    answer = scene.answer(scene.ask(transfer("t2")))
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (409, "transfer_in_progress")


# By REFER


def referring() -> Scene:
    scene = Scene("telnyx").talk()
    scene.ask(transfer(destination="sip:desk@example.com", refer=True))
    scene.done(scene.command(Refer))
    return scene


def test_the_far_end_takes_the_caller_over() -> None:
    scene = referring()
    assert scene.command(Refer).sip_address == "sip:desk@example.com"
    scene.tell(ReferCompleted(origin=scene.origin(), sip_code=200))
    assert scene.call.ownership is Ownership.RELEASED


def test_a_far_end_that_does_not_take_the_caller_over_gives_it_back() -> None:
    scene = referring()
    scene.tell(ReferFailed(origin=scene.origin(), sip_code=603))
    assert scene.published("transfer.failed").data["cause"] == "refer refused: SIP 603"
    assert scene.order(ReleaseAgent).reason == "transfer"


def test_what_was_referred_cannot_be_taken_back() -> None:
    answer = (scene := referring()).answer(scene.ask(CancelTransfer()))
    assert isinstance(answer, Refused)
    assert answer.status == 501


# By the agent


def test_the_agent_that_transfers_is_told_when_that_fails() -> None:
    scene = Scene("telnyx", built_in=transfer()).talk()
    scene.tell(ToolAsked("tc", "transfer_call", "{}"))
    scene.done(scene.command(Transfer))
    leg_b_ends(scene)
    assert scene.order(ReleaseAgent) == ReleaseAgent("transfer", tell=None, respond=False)
    assert scene.order(ToolResult) == ToolResult("tc", '{"status":"failed","cause":"busy"}')


def test_the_agent_is_told_once_that_its_transfer_was_refused_and_when_it_can_speak() -> None:
    scene = Scene("telnyx", built_in=transfer()).talk()
    scene.tell(ToolAsked("tc", "transfer_call", "{}"))
    scene.refused(scene.command(Transfer), detail="no")
    assert [type(order) for order in scene.orders()][-2:] == [ReleaseAgent, ToolResult]
    assert len([order for order in scene.orders() if isinstance(order, ToolResult)]) == 1

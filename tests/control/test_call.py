"""One call's machine: how calls begin and end on both carriers, whatever comes in which order."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from control.brief import ToolFiller, ToolRefused, VoicemailAction
from control.call_documents import Wait
from control.effects import (
    Attach,
    Order,
    Perform,
    Publish,
    PutDown,
    Refuse,
    RevokeTokens,
    RunTool,
    StartMedia,
)
from control.inputs import DrainAsked, Found, NotFound, ToolFinished, ToolStatus
from control.media_orders import (
    AgentGone,
    AgentUp,
    AwaitPlayout,
    DropText,
    EndMedia,
    HoldAgent,
    InstructAgent,
    MediaDead,
    PlayedOut,
    PlayFiller,
    PromptPlayed,
    ReleaseAgent,
    SilenceLasted,
    SpeakText,
    Spoken,
    StopFiller,
    StreamDown,
    StreamMissing,
    ToolAsked,
    ToolResult,
)
from control.requests import Accepted, After, EndCall, Hold, Refused, Say
from control.tool_log import ToolOutcome
from media.audio import Encoding
from telephony.calls import (
    Answered,
    GreetingEnded,
    HungUp,
    Initiated,
    MachineDetected,
    Ringing,
    StreamingFailed,
    TwimlPurpose,
)
from telephony.causes import AnsweredBy, Direction, EndedReason, HangupCause, HangupSource
from telephony.client_errors import Verdict
from telephony.commands import (
    Answer,
    Dial,
    Hangup,
    MachineDetection,
    Reject,
    RejectReason,
    StartStream,
    StopStream,
)
from tests.control.call_scene import BEGUN, Scene, capabilities

CARRIERS = ["telnyx", "twilio"]
IN, OUT = Direction.INBOUND, Direction.OUTBOUND
both = pytest.mark.parametrize("carrier", CARRIERS)
either_way = pytest.mark.parametrize("direction", [IN, OUT], ids=str)


def dialled(carrier: str = "telnyx", **brief: Any) -> Scene:
    """An outbound call that the carrier has taken."""
    scene = Scene(carrier, OUT, **brief)
    scene.done(scene.command(Dial), call_id="leg-a")
    scene.initiated()
    return scene


# A call comes in


def test_the_agent_connects_while_an_inbound_call_rings() -> None:
    scene = Scene("telnyx")
    assert StartMedia() in scene.log
    assert scene.commands() == []


def test_telnyx_answers_when_the_agent_is_ready_and_opens_a_stream_with_the_answer() -> None:
    scene = Scene("telnyx")
    scene.initiated()
    scene.tell(AgentUp(joined=False))
    answer = scene.command(Answer)
    assert answer.carrier_call_id == "leg-a"
    assert answer.stream is not None
    assert answer.stream.outbound is Encoding.PCMU


def test_telnyx_answers_without_waiting_for_the_agent_for_ever() -> None:
    scene = Scene("telnyx", answer_wait=2.0)
    scene.wait(1.9)
    assert scene.commands() == []
    scene.wait(0.2)
    assert scene.wants(Answer)


def test_an_inbound_call_is_answered_once() -> None:
    scene = Scene("telnyx")
    scene.tell(AgentUp(joined=False))
    scene.tell(AgentUp(joined=False))
    scene.wait(5)
    assert len([each for each in scene.commands() if isinstance(each, Answer)]) == 1


def test_twilios_question_is_answered_when_the_agent_is_ready() -> None:
    scene = Scene("twilio", answer_wait=2.0)
    assert scene.document(TwimlPurpose.VOICE) == Wait(2.0, [])
    scene.tell(AgentUp(joined=False))
    assert isinstance(scene.document(TwimlPurpose.VOICE), Attach)


def test_twilios_question_is_answered_without_waiting_for_the_agent_for_ever() -> None:
    scene = Scene("twilio", answer_wait=2.0)
    assert isinstance(scene.document(TwimlPurpose.VOICE), Wait)
    scene.wait(2.0)
    assert isinstance(scene.document(TwimlPurpose.VOICE), Attach)


def test_a_voice_webhook_that_comes_twice_gets_a_fresh_stream_for_the_same_call() -> None:
    scene = Scene("twilio")
    scene.tell(AgentUp(joined=False))
    first, second = scene.document(TwimlPurpose.VOICE), scene.document(TwimlPurpose.VOICE)
    assert isinstance(first, Attach)
    assert isinstance(second, Attach)
    assert first.stream.url != second.stream.url


@pytest.mark.parametrize("reason", RejectReason, ids=str)
def test_telnyx_turns_a_call_away_before_it_is_answered(reason: RejectReason) -> None:
    scene = Scene("telnyx", refusal=reason)
    reject = scene.command(Reject)
    assert (reject.carrier_call_id, reject.reason) == ("leg-a", reason)
    assert StartMedia() not in scene.log
    scene.done(reject)
    scene.hung_up(HangupCause.USER_BUSY)
    assert scene.outcome == ("rejected", "rejected", "api")
    assert scene.events() == ["call.ending", "call.failed", "call.ended"]


def test_twilio_turns_a_call_away_as_often_as_it_asks() -> None:
    scene = Scene("twilio", refusal=RejectReason.BUSY)
    assert scene.document(TwimlPurpose.VOICE) == Refuse(RejectReason.BUSY)
    scene.wait(30)
    assert scene.outcome == ("rejected", "rejected", "api")
    assert scene.document(TwimlPurpose.VOICE) == Refuse(RejectReason.BUSY)


@both
def test_without_an_agent_a_call_is_not_answered(carrier: str) -> None:
    scene = Scene(carrier)
    scene.tell(AgentGone("no provider"))
    if carrier == "twilio":
        assert scene.document(TwimlPurpose.VOICE) == Refuse(RejectReason.UNAVAILABLE)
    else:
        assert scene.command(Reject).reason is RejectReason.UNAVAILABLE
    scene.wait(60)
    assert scene.outcome == ("failed", "failed", "error")


def test_a_caller_who_hangs_up_while_it_rings_has_given_up() -> None:
    scene = Scene("telnyx")
    scene.initiated()
    scene.hung_up(HangupCause.ORIGINATOR_CANCEL)
    scene.media_ended()
    assert scene.outcome == ("canceled", "no-answer", "caller-hangup")
    assert scene.events() == ["call.ringing", "call.failed", "call.ended"]


def test_an_answer_that_the_carrier_refuses_ends_the_call_as_an_error() -> None:
    scene = Scene("telnyx")
    scene.tell(AgentUp(joined=False))
    scene.refused(scene.command(Answer))
    assert scene.wants(Hangup)
    scene.hung_up(HangupCause.UNSPECIFIED)
    assert scene.outcome == ("failed", "failed", "error")


def test_an_answer_that_comes_too_late_for_the_caller_is_no_error() -> None:
    scene = Scene("telnyx")
    scene.tell(AgentUp(joined=False))
    scene.refused(scene.command(Answer), Verdict.ALREADY_ENDED)
    assert scene.outcome == ("canceled", "no-answer", "caller-hangup")


def test_an_answer_of_which_nothing_comes_does_not_strand_the_call() -> None:
    scene = Scene("telnyx")
    scene.tell(AgentUp(joined=False))
    scene.done(scene.command(Answer))
    scene.wait(120)
    assert scene.outcome[0] == "failed"
    assert scene.is_closed()


# A call is dialled


@both
def test_a_dial_goes_out_once_with_our_token_and_a_limit_above_ours(carrier: str) -> None:
    scene = Scene(
        carrier, OUT, ring_timeout=25, max_duration=600, transfer_time_limit=1_200, headers={"X-A": "1"}
    )
    (dial,) = scene.commands()
    assert isinstance(dial, Dial)
    assert (str(dial.token), dial.ring_timeout, dial.headers) == ("call_1", 25, {"X-A": "1"})
    assert 600 + 1_200 < dial.max_duration <= 14_400
    assert StartMedia() in scene.log


@both
def test_a_call_rings_is_answered_and_started_once_each(carrier: str) -> None:
    scene = dialled(carrier)
    for _ in range(2):
        scene.initiated()
        scene.tell(Ringing(origin=scene.origin()))
        scene.answered()
        scene.stream()
        scene.tell(AgentUp(joined=True))
    assert scene.events() == ["call.ringing", "call.answered", "call.started"]


def test_a_stream_that_starts_before_the_news_of_the_answer_is_the_answer() -> None:
    scene = dialled()
    scene.stream()
    scene.answered()
    assert scene.events() == ["call.ringing", "call.answered"]
    assert scene.outcome[0] == "in-progress"


def test_an_agent_that_was_joined_before_the_news_of_the_answer_starts_the_call_with_it() -> None:
    scene = dialled()
    scene.tell(AgentUp(joined=True))
    assert "call.started" not in scene.events()
    scene.answered()
    assert scene.events()[-2:] == ["call.answered", "call.started"]


def test_the_answer_is_dated_by_the_carrier_where_that_can_be() -> None:
    scene = dialled()
    scene.wait(10)
    scene.tell(Answered(origin=scene.origin(occurred_at=BEGUN + timedelta(seconds=8))))
    assert scene.call.record.answered_at == BEGUN + timedelta(seconds=8)


def test_a_carriers_clock_that_is_wrong_is_not_believed() -> None:
    scene = dialled()
    scene.wait(10)
    scene.tell(Answered(origin=scene.origin(occurred_at=BEGUN + timedelta(days=1))))
    assert scene.call.record.answered_at == BEGUN + timedelta(seconds=10)


def test_the_name_of_a_webhook_is_newer_than_that_of_the_dial() -> None:
    """Trap 17: call_control_id changes between the answer to a dial and the webhooks."""
    scene = Scene("telnyx", OUT)
    scene.tell(Ringing(origin=scene.origin(carrier_call_id="leg-a-2")))
    scene.done(scene.command(Dial), call_id="leg-a")
    assert scene.call.record.carrier_call_id == "leg-a-2"
    scene.tell(Answered(origin=scene.origin(carrier_call_id="leg-a-3")))
    scene.ask(EndCall(after=After.NOW))
    assert scene.command(Hangup).carrier_call_id == "leg-a-3"


def test_a_webhook_may_overtake_the_answer_to_the_dial() -> None:
    """Trap 42."""
    scene = Scene("telnyx", OUT)
    scene.initiated()
    assert scene.call.record.carrier_call_id == "leg-a"
    assert scene.events() == ["call.ringing"]


@both
@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        (HangupCause.USER_BUSY, ("busy", "busy", None)),
        (HangupCause.NO_ANSWER, ("no-answer", "no-answer", "timeout")),
        (HangupCause.CALL_REJECTED, ("rejected", "rejected", None)),
        (HangupCause.UNALLOCATED_NUMBER, ("failed", "failed", "error")),
    ],
)
def test_a_call_that_is_not_taken_ends_as_the_carrier_says(
    carrier: str, cause: HangupCause, outcome: tuple[str, str, str | None]
) -> None:
    scene = dialled(carrier)
    scene.hung_up(cause)
    scene.media_ended()
    assert scene.outcome == outcome
    assert scene.events() == ["call.ringing", "call.failed", "call.ended"]
    assert scene.is_closed()


def test_a_call_that_rings_beyond_the_carriers_own_limit_is_hung_up() -> None:
    scene = dialled(ring_timeout=30)
    scene.wait(39)
    assert not [each for each in scene.commands() if isinstance(each, Hangup)]
    scene.wait(1)
    hangup = scene.command(Hangup)
    assert hangup.ringing
    scene.done(hangup)
    scene.hung_up(HangupCause.ORIGINATOR_CANCEL)
    assert scene.outcome == ("no-answer", "no-answer", "timeout")


def test_a_dial_that_is_refused_has_failed() -> None:
    scene = Scene("telnyx", OUT)
    scene.refused(scene.command(Dial), detail="not E.164", code="10016")
    scene.media_ended()
    assert scene.outcome == ("failed", "failed", "error")
    assert scene.published("call.failed").data["code"] == "10016"
    assert scene.call.record.hangup_cause is None


@both
def test_a_dial_of_unknown_outcome_rings_until_nothing_more_can_come(carrier: str) -> None:
    scene = Scene(carrier, OUT, ring_timeout=30)
    scene.refused(scene.command(Dial), Verdict.UNKNOWN, "timeout")
    scene.wait(39)
    assert scene.outcome[0] == "ringing"
    scene.wait(1)
    scene.media_ended()
    assert scene.outcome == ("failed", "failed", "error")
    assert scene.published("call.failed").data["code"] == "dial_outcome_unknown"


def test_a_call_that_turns_up_after_it_was_given_up_is_hung_up_once() -> None:
    scene = Scene("twilio", OUT)
    scene.refused(scene.command(Dial), Verdict.UNKNOWN)
    scene.wait(100)
    for _ in range(2):
        scene.tell(Ringing(origin=scene.origin()))
        scene.answered()
    assert [each.carrier_call_id for each in scene.commands() if isinstance(each, Hangup)] == ["leg-a"]
    assert scene.outcome[0] == "failed"


def test_a_dial_of_unknown_outcome_is_settled_by_asking_the_carrier() -> None:
    scene = Scene("telnyx", OUT)
    scene.refused(scene.command(Dial), Verdict.UNKNOWN)
    scene.tell(Found(carrier_call_id="leg-a", leg_id="a"))
    assert scene.call.record.carrier_call_id == "leg-a"
    scene.answered()
    assert scene.outcome[0] == "in-progress"


def test_a_dial_that_the_carrier_knows_nothing_of_has_failed() -> None:
    scene = Scene("twilio", OUT)
    scene.tell(NotFound())
    assert scene.outcome[0] == "ringing"  # the dial itself is still under way
    scene.refused(scene.command(Dial), Verdict.UNKNOWN)
    scene.tell(NotFound())
    assert scene.outcome == ("failed", "failed", "error")


def test_of_a_dial_that_went_out_twice_one_call_remains() -> None:
    scene = dialled()
    scene.tell(Ringing(origin=scene.origin("twin")))
    scene.tell(Answered(origin=scene.origin("twin")))
    assert [each.carrier_call_id for each in scene.commands() if isinstance(each, Hangup)] == ["leg-twin"]
    scene.tell(HungUp(origin=scene.origin("twin"), cause=HangupCause.NORMAL_CLEARING))
    assert scene.outcome[0] == "ringing"
    scene.ask(EndCall())
    assert scene.command(Hangup).carrier_call_id == "leg-a"


# A call ends


@both
@either_way
def test_a_caller_who_hangs_up_ends_the_call(carrier: str, direction: Direction) -> None:
    scene = Scene(carrier, direction).talk()
    far_end = HangupSource.CALLER if direction is IN else HangupSource.CALLEE
    scene.wait(60)
    scene.hung_up(source=far_end if carrier == "telnyx" else HangupSource.UNKNOWN)
    assert EndMedia(EndedReason.CALLER_HANGUP) in scene.orders()
    assert "call.ended" not in scene.events()
    scene.media_ended()
    assert scene.outcome == ("completed", "answered", "caller-hangup")
    assert scene.events() == ["call.ended"]
    assert scene.call.record.duration_seconds == 60
    assert scene.is_closed()


def test_the_last_event_does_not_wait_for_files_for_ever() -> None:
    scene = Scene().talk()
    scene.hung_up()
    scene.wait(10)
    assert scene.events() == ["call.ended"]
    assert scene.is_closed()
    scene.media_ended()
    assert scene.events() == ["call.ended"]


@both
def test_an_end_by_the_api_is_heard_then_intended_then_done(carrier: str) -> None:
    scene = Scene(carrier).talk()
    ticket = scene.ask(EndCall())
    assert scene.answer(ticket) == Accepted()
    assert scene.call.record.intent == "api"
    assert scene.commands() == []
    scene.tell(PlayedOut(scene.order(AwaitPlayout).ticket))
    scene.done(scene.command(Hangup))
    scene.hung_up(source=HangupSource.CALLEE)
    scene.media_ended()
    assert scene.outcome == ("completed", "answered", "api")


def test_the_intent_is_published_before_the_carrier_is_told() -> None:
    scene = Scene().talk()
    scene.ask(EndCall(after=After.NOW))
    kinds = [each for each in scene.log if isinstance(each, Publish | Perform | RevokeTokens | Order)]
    ending = next(
        i for i, each in enumerate(kinds) if isinstance(each, Publish) and each.name == "call.ending"
    )
    performed = next(i for i, each in enumerate(kinds) if isinstance(each, Perform))
    assert ending < performed
    assert kinds.index(Order(scene.order(EndMedia))) < performed


def test_a_goodbye_that_nobody_reports_ends() -> None:
    scene = Scene(goodbye=10.0).talk()
    scene.ask(EndCall())
    scene.wait(13)
    assert scene.wants(Hangup)


def test_a_second_end_cuts_the_goodbye_short() -> None:
    scene = Scene().talk()
    scene.ask(EndCall())
    assert scene.answer(scene.ask(EndCall(after=After.NOW))) == Accepted()
    assert scene.wants(Hangup)


def test_an_end_is_idempotent() -> None:
    scene = Scene().talk()
    for _ in range(3):
        assert scene.answer(scene.ask(EndCall(after=After.NOW))) == Accepted()
    assert len([each for each in scene.commands() if isinstance(each, Hangup)]) == 1
    scene.hung_up()
    assert scene.answer(scene.ask(EndCall())) == Accepted()


@both
def test_a_call_that_still_rings_is_cancelled_by_an_end(carrier: str) -> None:
    scene = dialled(carrier)
    scene.ask(EndCall())
    hangup = scene.command(Hangup)
    assert hangup.ringing
    scene.done(hangup)
    scene.hung_up(HangupCause.ORIGINATOR_CANCEL)
    assert scene.outcome == ("canceled", "no-answer", "api")


def test_an_end_before_the_call_has_a_name_is_remembered() -> None:
    scene = Scene("telnyx", OUT)
    scene.ask(EndCall())
    assert [type(each) for each in scene.commands()] == [Dial]
    scene.done(scene.command(Dial), call_id="leg-a")
    assert scene.command(Hangup).carrier_call_id == "leg-a"


@both
def test_an_inbound_call_that_still_rings_is_rejected_by_an_end(carrier: str) -> None:
    scene = Scene(carrier)
    scene.initiated()
    scene.ask(EndCall())
    if carrier == "twilio":
        assert isinstance(scene.document(TwimlPurpose.VOICE), Refuse)
        scene.wait(6)
    else:
        scene.done(scene.command(Reject))
        scene.hung_up(HangupCause.CALL_REJECTED)
    assert scene.outcome == ("rejected", "rejected", "api")


def test_an_answer_that_crosses_our_cancel_does_not_resurrect_the_call() -> None:
    scene = dialled()
    scene.ask(EndCall())
    scene.done(scene.command(Hangup))
    scene.hung_up(HangupCause.ORIGINATOR_CANCEL)
    scene.answered()
    assert scene.outcome == ("canceled", "no-answer", "api")
    assert len([each for each in scene.commands() if isinstance(each, Hangup)]) == 1


@both
def test_a_hang_up_of_which_no_webhook_comes_ends_the_call_all_the_same(carrier: str) -> None:
    scene = Scene(carrier).talk()
    scene.ask(EndCall(after=After.NOW))
    scene.done(scene.command(Hangup))
    scene.media_ended()
    scene.wait(4.9)
    assert not scene.is_closed()
    scene.wait(0.2)
    assert scene.outcome == ("completed", "answered", "api")
    assert scene.is_closed()
    scene.hung_up(HangupCause.USER_BUSY)
    assert scene.call.record.hangup_cause is HangupCause.USER_BUSY
    assert scene.outcome == ("completed", "answered", "api")


def test_a_hang_up_of_a_call_that_is_over_counts_as_done() -> None:
    """Traps 1 and 32."""
    scene = Scene().talk()
    scene.ask(EndCall(after=After.NOW))
    scene.done(scene.command(Hangup), already=True)
    assert scene.outcome == ("completed", "answered", "api")


def test_a_hang_up_that_the_carrier_will_not_do_is_evented_and_the_call_ends() -> None:
    scene = Scene().talk()
    scene.ask(EndCall(after=After.NOW))
    scene.refused(scene.command(Hangup), Verdict.UNAVAILABLE)
    assert "call.hangup_refused" in scene.events()
    scene.wait(6)
    assert scene.outcome == ("completed", "answered", "api")


def test_a_hang_up_that_is_never_answered_does_not_strand_the_call() -> None:
    scene = Scene().talk()
    scene.ask(EndCall(after=After.NOW))
    scene.wait(60)
    assert scene.is_closed()


@both
@either_way
def test_an_end_that_is_the_first_news_of_the_answer_is_both(carrier: str, direction: Direction) -> None:
    scene = dialled(carrier) if direction is OUT else Scene(carrier)
    scene.wait(9)
    scene.hung_up(answered=True, duration=4)
    scene.media_ended()
    assert scene.outcome[:2] == ("completed", "answered")
    assert scene.call.record.duration_seconds == 4
    assert scene.events()[-2:] == ["call.answered", "call.ended"]


@both
def test_the_longest_a_call_may_last_is_kept_from_the_answer(carrier: str) -> None:
    scene = Scene(carrier, max_duration=60.0)
    scene.wait(1.0)
    scene.talk()
    scene.wait(59.9)
    assert scene.commands() == []
    scene.wait(0.1)
    scene.done(scene.command(Hangup))
    scene.hung_up()
    assert scene.outcome == ("completed", "answered", "max-duration")


@both
def test_an_agent_that_is_lost_for_good_ends_the_call_as_an_error(carrier: str) -> None:
    scene = Scene(carrier).talk()
    scene.tell(AgentGone("session_expired"))
    scene.done(scene.command(Hangup))
    scene.hung_up()
    assert scene.outcome == ("completed", "answered", "error")
    assert scene.call.record.ws_unavailable


def test_media_that_ends_by_itself_ends_the_call() -> None:
    scene = Scene().talk()
    scene.media_ended()
    assert scene.wants(Hangup)
    assert scene.call.record.intent == "error"


def test_media_that_is_dead_ends_the_call_as_an_error() -> None:
    scene = Scene().talk()
    scene.tell(MediaDead())
    assert scene.wants(Hangup)
    assert scene.call.record.intent == "error"


def test_a_call_that_the_carrier_says_is_over_is_over() -> None:
    scene = Scene().talk()
    scene.tell(NotFound())
    assert scene.outcome == ("completed", "answered", "caller-hangup")


# The process stops


def test_a_call_may_end_by_itself_before_a_drain_forces_it() -> None:
    scene = Scene().talk()
    scene.tell(DrainAsked(30.0))
    scene.wait(29)
    assert scene.commands() == []
    scene.hung_up()
    assert not scene.call.record.drain_forced


def test_a_drain_that_is_over_ends_calls_politely() -> None:
    scene = Scene().talk()
    scene.tell(DrainAsked(30.0))
    scene.wait(30)
    assert scene.call.record.drain_forced
    assert scene.commands() == []
    scene.tell(PlayedOut(scene.order(AwaitPlayout).ticket))
    scene.done(scene.command(Hangup))
    scene.hung_up()
    assert scene.outcome == ("completed", "answered", "api")


def test_a_drain_cancels_what_still_rings() -> None:
    scene = dialled()
    scene.tell(DrainAsked(0.0))
    scene.wait(0)
    assert scene.command(Hangup).ringing


# Streams come and go


def test_telnyx_is_asked_for_another_stream_twice_and_then_hung_up() -> None:
    scene = Scene("telnyx").talk()
    scene.tell(StreamDown(1, stopped=False))
    scene.tell(StreamMissing())
    first = scene.command(StartStream)
    scene.done(first)
    scene.wait(10)
    second = scene.command(StartStream)
    assert second.stream.url != first.stream.url
    assert scene.wants(StopStream)
    scene.done(second)
    scene.wait(10)
    scene.done(scene.command(Hangup))
    scene.hung_up()
    assert len([each for each in scene.commands() if isinstance(each, StartStream)]) == 2
    assert scene.outcome == ("completed", "answered", "error")
    assert scene.call.record.ws_unavailable


def test_a_stream_that_came_back_and_lived_is_replaced_again() -> None:
    scene = Scene("telnyx").talk()
    for generation in range(2, 8):
        scene.tell(StreamDown(generation - 1, stopped=False))
        scene.tell(StreamMissing())
        scene.done(scene.command(StartStream))
        scene.stream(generation)
        scene.wait(20)
    assert scene.outcome[0] == "in-progress"


def test_one_loss_that_is_reported_twice_is_one_loss() -> None:
    scene = Scene("telnyx").talk()
    scene.tell(StreamDown(1, stopped=False))
    scene.tell(StreamMissing())
    scene.tell(StreamingFailed(origin=scene.origin(), reason="gone", url="wss://gw.example.com/old"))
    scene.tell(StreamMissing())
    assert len([each for each in scene.commands() if isinstance(each, StartStream)]) == 1


def test_a_call_whose_stream_never_opened_does_not_stay_up_in_silence() -> None:
    """Trap 4."""
    scene = Scene("telnyx")
    scene.tell(AgentUp(joined=False))
    scene.done(scene.command(Answer))
    scene.answered()
    scene.tell(StreamingFailed(origin=scene.origin(), reason="connection refused"))
    assert scene.wants(StartStream)


def test_a_stream_that_was_replaced_is_no_loss() -> None:
    scene = Scene("telnyx").talk()
    scene.stream(2)
    scene.tell(StreamDown(1, stopped=True))
    scene.wait(60)
    assert scene.commands() == []


def test_a_stream_that_stopped_because_the_caller_has_gone_is_no_error() -> None:
    scene = Scene("telnyx").talk()
    scene.tell(StreamDown(1, stopped=True))
    scene.tell(StreamMissing())
    scene.refused(scene.command(StartStream), Verdict.ALREADY_ENDED)
    assert scene.outcome == ("completed", "answered", "caller-hangup")


def test_twilio_gets_a_fresh_stream_when_it_asks_what_follows_the_old_one() -> None:
    scene = Scene("twilio").talk()
    scene.tell(StreamDown(1, stopped=True))
    assert isinstance(scene.document(TwimlPurpose.AFTER_STREAM), Attach)
    scene.tell(StreamMissing())
    scene.stream(2)
    scene.wait(60)
    assert scene.commands() == []


def test_twilio_is_not_given_streams_for_ever_that_never_come_up() -> None:
    scene = Scene("twilio").talk()
    scene.tell(StreamDown(1, stopped=False))
    answers = [scene.document(TwimlPurpose.AFTER_STREAM) for _ in range(5)]
    assert [type(each) for each in answers] == [Attach, Attach, Attach, PutDown, PutDown]
    assert scene.call.record.intent == "error"


def test_twilio_that_asks_nothing_and_says_nothing_is_hung_up_and_nobody_erred_if_it_was_over() -> None:
    scene = Scene("twilio").talk()
    scene.tell(StreamDown(1, stopped=True))
    scene.wait(10)
    scene.done(scene.command(Hangup), already=True)
    assert scene.outcome == ("completed", "answered", "caller-hangup")


@pytest.mark.parametrize("purpose", TwimlPurpose, ids=str)
def test_a_call_that_is_over_or_ending_gets_no_stream(purpose: TwimlPurpose) -> None:
    scene = Scene("twilio").talk()
    scene.ask(EndCall(after=After.NOW))
    assert scene.document(purpose) == PutDown()
    scene.hung_up()
    assert scene.document(purpose) == PutDown()


def test_a_dead_calls_question_is_answered_all_the_same() -> None:
    scene = Scene("twilio").talk()
    assert scene.document(TwimlPurpose.AFTER_STREAM, alive=False) == PutDown()


def test_a_carrier_without_a_control_channel_is_ended_by_closing_its_socket() -> None:
    scene = Scene("signalwire", capabilities=capabilities("signalwire"))
    scene.stream()
    scene.ask(EndCall(after=After.NOW))
    assert scene.wants(EndMedia)
    assert scene.commands() == []
    scene.media_ended()
    scene.wait(10)
    assert scene.outcome == ("completed", "answered", "api")


# Who answered


def test_detection_that_runs_beside_the_call_holds_nobody() -> None:
    scene = dialled(machine_detection=MachineDetection.ASYNC)
    assert scene.command(Dial).machine_detection is MachineDetection.ASYNC
    assert scene.orders() == []
    scene.answered()
    scene.tell(MachineDetected(origin=scene.origin(), answered_by=AnsweredBy.HUMAN, after=3.5))
    assert scene.published("call.machine_detected").data == {"answered_by": "human", "seconds": 3.5}
    assert scene.commands() == [scene.command(Dial)]


def test_the_agent_waits_for_the_result_where_it_is_to() -> None:
    scene = dialled(machine_detection=MachineDetection.SYNC)
    assert scene.orders() == [HoldAgent("machine")]
    scene.answered()
    scene.stream()
    scene.tell(MachineDetected(origin=scene.origin(), answered_by=AnsweredBy.HUMAN))
    assert scene.order(ReleaseAgent).reason == "machine"


def test_a_person_does_not_wait_for_the_result_for_ever() -> None:
    scene = dialled(machine_detection=MachineDetection.SYNC)
    scene.answered()
    scene.stream()
    scene.wait(10)
    assert scene.order(ReleaseAgent).reason == "machine"


@both
@pytest.mark.parametrize(
    ("who", "disposition"), [(AnsweredBy.MACHINE, "voicemail"), (AnsweredBy.FAX, "failed")]
)
def test_a_machine_is_hung_up_on(carrier: str, who: AnsweredBy, disposition: str) -> None:
    scene = dialled(carrier, machine_detection=MachineDetection.ASYNC)
    scene.answered()
    scene.tell(MachineDetected(origin=scene.origin(), answered_by=who))
    scene.done(scene.command(Hangup))
    scene.hung_up()
    assert scene.outcome == ("completed", disposition, "agent-hangup")


def test_a_machine_may_be_talked_to() -> None:
    scene = dialled(machine_detection=MachineDetection.SYNC, voicemail=VoicemailAction.CONTINUE)
    scene.answered()
    scene.stream()
    scene.tell(MachineDetected(origin=scene.origin(), answered_by=AnsweredBy.MACHINE))
    assert scene.wants(ReleaseAgent)
    scene.hung_up()
    assert scene.outcome == ("completed", "voicemail", "caller-hangup")


def message_scene(**brief: Any) -> Scene:
    scene = dialled(
        machine_detection=MachineDetection.ASYNC,
        voicemail=VoicemailAction.LEAVE_MESSAGE,
        voicemail_message="Please call back.",
        **brief,
    )
    scene.answered()
    scene.stream()
    scene.tell(MachineDetected(origin=scene.origin(), answered_by=AnsweredBy.MACHINE))
    return scene


def test_a_message_is_left_after_the_tone_and_heard_to_its_end() -> None:
    scene = message_scene(speech=True)
    assert scene.order(HoldAgent).reason == "machine"
    assert not [each for each in scene.orders() if isinstance(each, SpeakText)]
    scene.tell(GreetingEnded(origin=scene.origin(), beep=True))
    said = scene.order(SpeakText)
    assert (said.text, said.interruptible) == ("Please call back.", False)
    scene.tell(PromptPlayed(said.ticket, ok=True))
    assert scene.wants(Hangup)
    assert scene.call.record.intent == "agent-hangup"


def test_a_message_is_left_though_nobody_heard_the_tone() -> None:
    scene = message_scene(speech=True)
    scene.wait(31)
    assert scene.order(SpeakText).text == "Please call back."
    scene.wait(60)
    assert scene.wants(Hangup)


def test_without_a_voice_the_agent_leaves_the_message() -> None:
    scene = message_scene(speech=False)
    scene.tell(GreetingEnded(origin=scene.origin(), beep=None))
    assert "Please call back." in scene.order(InstructAgent).text
    scene.tell(PlayedOut(scene.order(AwaitPlayout).ticket))
    assert scene.wants(Hangup)


def test_the_first_result_counts() -> None:
    scene = dialled(machine_detection=MachineDetection.ASYNC, voicemail=VoicemailAction.CONTINUE)
    scene.answered()
    scene.tell(MachineDetected(origin=scene.origin(), answered_by=AnsweredBy.HUMAN))
    scene.tell(MachineDetected(origin=scene.origin(), answered_by=AnsweredBy.MACHINE))
    scene.hung_up()
    assert scene.events().count("call.machine_detected") == 1
    assert scene.outcome[1] == "answered"


# Nobody speaks


@pytest.mark.parametrize("speech", [True, False])
def test_silence_is_spoken_into_and_then_ends_the_call(speech: bool) -> None:
    scene = Scene(silence=10.0, silence_prompts=("Are you there?", "Hello?"), speech=speech).talk()
    for prompt in ("Are you there?", "Hello?"):
        scene.tell(SilenceLasted())
        last = scene.orders()[-1]
        assert isinstance(last, SpeakText | InstructAgent)
        assert prompt in last.text
    scene.tell(SilenceLasted())
    scene.done(scene.command(Hangup))
    scene.hung_up()
    assert scene.outcome == ("completed", "answered", "silence-timeout")


def test_who_speaks_begins_the_ladder_anew() -> None:
    scene = Scene(silence=10.0, silence_prompts=("Are you there?",), speech=True).talk()
    for _ in range(5):
        scene.tell(SilenceLasted())
        scene.tell(Spoken())
    assert scene.commands() == []


def test_a_prompt_that_made_no_sound_does_not_stop_the_ladder() -> None:
    scene = Scene(silence=10.0, silence_prompts=("Are you there?",), speech=True).talk()
    scene.tell(SilenceLasted())
    scene.wait(30)
    assert scene.wants(Hangup)


# Tools


def test_the_agents_own_tools_run_elsewhere() -> None:
    scene = Scene().talk()
    scene.tell(ToolAsked("tc", "weather", '{"city": "Oslo"}'))
    assert RunTool("tc", "weather", '{"city": "Oslo"}') in scene.log
    scene.tell(ToolFinished("tc", '{"rain": true}'))
    assert scene.order(ToolResult) == ToolResult("tc", '{"rain": true}')
    assert scene.events() == ["tool.invoked", "tool.completed"]


def test_a_run_of_a_tool_is_written_down_with_the_event_of_its_end() -> None:
    scene = Scene().talk()
    scene.tell(ToolAsked("tc", "weather", '{"city": "Oslo"}'))
    scene.now += 1.5
    scene.tell(
        ToolFinished(
            "tc", '{"error":"no"}', ToolStatus.FAILED, http_status=503, detail="HTTP 503", attempts=3
        )
    )
    told = scene.published("tool.completed")
    assert told.tool_run is not None
    log = told.tool_run.log("tlog_1", scene.now)
    assert (log.name, log.outcome, log.arguments) == ("weather", ToolOutcome.ERROR, {"city": "Oslo"})
    assert (log.result, log.status_code, log.error, log.attempts) == ({"error": "no"}, 503, "HTTP 503", 3)
    assert (log.duration_ms, log.tool_id) == (1500, "tool_weather")


def test_a_tool_that_is_told_of_twice_is_written_down_once() -> None:
    scene = Scene().talk()
    scene.tell(ToolAsked("tc", "weather", "{}"))
    scene.tell(ToolFinished("tc", "{}"))
    scene.tell(ToolFinished("tc", "{}"))
    assert scene.events().count("tool.completed") == 1


def test_a_tool_that_the_end_overtakes_is_written_down_as_abandoned_before_the_last_word() -> None:
    scene = Scene().talk()
    scene.tell(ToolAsked("tc", "weather", "{}"))
    scene.hung_up()
    scene.media_ended()
    assert scene.events()[-2:] == ["tool.abandoned", "call.ended"]
    told = scene.published("tool.abandoned")
    assert told.tool_run is not None
    assert told.tool_run.outcome is ToolOutcome.ABANDONED
    assert scene.tell(ToolFinished("tc", "{}")) == []


def test_the_gateways_own_tools_are_written_down_too() -> None:
    scene = Scene(built_in=EndCall()).talk()
    scene.tell(ToolAsked("tc", "end_call", "{}"))
    told = scene.published("tool.completed")
    assert told.tool_run is not None
    assert (told.tool_run.name, told.tool_run.outcome) == ("end_call", ToolOutcome.SUCCESS)
    scene = Scene(built_in=ToolRefused("/target: is missing")).talk()
    scene.tell(ToolAsked("tc", "transfer_call", "{}"))
    told = scene.published("tool.completed")
    assert told.tool_run is not None
    assert (told.tool_run.outcome, told.tool_run.error) == (ToolOutcome.ERROR, "/target: is missing")


PHRASE = ToolFiller(after=1.0, phrase="One moment.")
MUSIC = ToolFiller(after=0.5, audio=bytes(320))


def test_a_tool_that_runs_long_is_covered_by_a_phrase_that_is_dropped_with_its_result() -> None:
    scene = Scene(filler=PHRASE, speech=True).talk()
    scene.tell(ToolAsked("tc", "weather", "{}"))
    scene.wait(0.9)
    assert not scene.wants(SpeakText)
    scene.wait(0.2)
    said = scene.order(SpeakText)
    assert (said.text, said.interruptible, said.patient) == ("One moment.", True, True)
    scene.tell(ToolFinished("tc", "{}"))
    assert scene.orders()[-2:] == [DropText(said.ticket), ToolResult("tc", "{}")]


def test_a_tool_that_is_quick_is_not_covered() -> None:
    scene = Scene(filler=PHRASE, speech=True).talk()
    scene.tell(ToolAsked("tc", "weather", "{}"))
    scene.wait(0.5)
    scene.tell(ToolFinished("tc", "{}"))
    scene.wait(5.0)
    assert not scene.wants(SpeakText)
    assert not scene.wants(DropText)


def test_audio_plays_in_a_loop_until_the_result_and_one_at_a_time() -> None:
    scene = Scene(filler=MUSIC).talk()
    scene.tell(ToolAsked("tc1", "weather", "{}"))
    scene.tell(ToolAsked("tc2", "weather", "{}"))
    scene.wait(3.0)
    (played,) = [each for each in scene.orders() if isinstance(each, PlayFiller)]
    assert played.audio == bytes(320)
    scene.tell(ToolFinished("tc2", "{}"))
    assert not scene.wants(StopFiller)
    scene.tell(ToolFinished("tc1", "{}"))
    assert scene.orders()[-2:] == [StopFiller(), ToolResult("tc1", "{}")]


@pytest.mark.parametrize("filler", [PHRASE, ToolFiller(after=0.5)])
def test_a_filler_that_cannot_be_had_is_told_of_and_the_tool_runs_on(filler: ToolFiller) -> None:
    scene = Scene(filler=filler, speech=False).talk()
    scene.tell(ToolAsked("tc", "weather", "{}"))
    scene.wait(2.0)
    assert scene.events() == ["tool.invoked", "tool.filler_missing"]
    scene.tell(ToolFinished("tc", "{}"))
    assert scene.wants(ToolResult)


def test_a_caller_whom_a_tool_keeps_waiting_may_be_silent() -> None:
    scene = Scene(silence=5.0, silence_prompts=("Are you there?",)).talk()
    scene.tell(ToolAsked("tc", "weather", "{}"))
    scene.tell(SilenceLasted())
    assert scene.events() == ["tool.invoked"]
    scene.tell(ToolFinished("tc", "{}"))
    scene.tell(SilenceLasted())
    assert scene.events()[-1] == "silence.prompt"


def test_nothing_is_filled_while_the_caller_is_on_hold() -> None:
    scene = Scene(filler=MUSIC).talk()
    scene.tell(ToolAsked("tc", "weather", "{}"))
    scene.ask(Hold())
    scene.wait(3.0)
    assert not scene.wants(PlayFiller)


def test_a_tool_that_took_too_long_is_told_of() -> None:
    scene = Scene().talk()
    scene.tell(ToolAsked("tc", "weather", "{}"))
    scene.tell(ToolFinished("tc", '{"error": "timeout"}', ToolStatus.TIMEOUT))
    assert scene.events() == ["tool.invoked", "tool.timeout"]
    assert scene.wants(ToolResult)


def test_the_agent_may_hang_up_and_its_goodbye_is_heard() -> None:
    scene = Scene(built_in=EndCall()).talk()
    scene.tell(ToolAsked("tc", "end_call", "{}"))
    scene.tell(PlayedOut(scene.order(AwaitPlayout).ticket))
    scene.done(scene.command(Hangup))
    scene.hung_up()
    assert scene.outcome == ("completed", "answered", "agent-hangup")


# The end of the record


def test_what_only_the_media_knows_is_filled_in_before_the_last_event() -> None:
    scene = Scene().talk()
    scene.hung_up()
    scene.call.amend(lambda record: replace(record, turn_count=3))
    scene.media_ended()
    assert scene.call.record.turn_count == 3
    assert scene.call.record.status == "completed"


def test_requests_to_a_call_that_is_over_are_answered() -> None:
    scene = Scene().talk()
    scene.hung_up()
    assert scene.answer(scene.ask(EndCall())) == Accepted()
    refused = scene.answer(scene.ask(Say(text="Hello?")))
    assert isinstance(refused, Refused)
    assert refused.code == "call_not_in_progress"


def test_an_event_that_comes_twice_after_the_end_changes_nothing() -> None:
    scene = dialled()
    scene.hung_up(HangupCause.USER_BUSY)
    scene.media_ended()
    record = scene.call.record
    scene.tell(Initiated(origin=scene.origin(), direction=OUT, from_number="+1", to_number="+2"))
    scene.hung_up(HangupCause.NORMAL_CLEARING)
    assert scene.call.record == record
    assert scene.events().count("call.ended") == 1

"""Hangup causes against RFC 3398 and Q.850; outcomes against every row of the carriers' status mapping."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.causes import (
    AnsweredBy,
    CallStatus,
    Direction,
    Disposition,
    EndedReason,
    Ending,
    HangupCause,
    HangupSource,
    Outcome,
    outcome,
    refined,
    sip_cause,
    telnyx_cause,
    twilio_cause,
)

IN, OUT = Direction.INBOUND, Direction.OUTBOUND
CALLER, CALLEE = HangupSource.CALLER, HangupSource.CALLEE

# RFC 3398 section 8.2.6.1; it has no row for 487, 488 and 606.
RFC_3398 = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127,
    414: 127, 415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28,
    485: 1, 486: 17, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1,
}  # fmt: skip


def shown(result: Outcome) -> tuple[str, str, str | None]:
    return result.status, result.disposition, result.ended_reason


# Causes


@pytest.mark.parametrize(("sip_code", "q850"), RFC_3398.items())
def test_sip_codes_have_the_q850_numbers_of_rfc_3398(sip_code: int, q850: int) -> None:
    assert sip_cause(sip_code).q850 == q850


@pytest.mark.parametrize("cause", HangupCause)
def test_every_cause_has_a_q850_number(cause: HangupCause) -> None:
    assert 1 <= cause.q850 <= 127


@given(st.none() | st.integers())
def test_any_sip_code_says_something_or_nothing(sip_code: int | None) -> None:
    assert isinstance(sip_cause(sip_code), HangupCause)


@given(st.text(), st.none() | st.integers())
def test_unknown_words_are_unspecified_and_no_error(word: str, sip_code: int | None) -> None:
    assert isinstance(telnyx_cause(word), HangupCause)
    assert isinstance(twilio_cause(word, sip_code), HangupCause)


@pytest.mark.parametrize(
    "word", ["normal_unspecified", "destination_out_of_order", "unallocated_number", "service_unavailable"]
)
def test_words_seen_in_the_field_and_not_documented_leave_it_to_the_sip_code(word: str) -> None:
    assert telnyx_cause(word) is HangupCause.UNSPECIFIED
    assert refined(telnyx_cause(word), 503) is HangupCause.TEMPORARY_FAILURE


def test_a_word_that_says_something_beats_the_sip_code() -> None:
    assert refined(HangupCause.USER_BUSY, 503) is HangupCause.USER_BUSY


@pytest.mark.parametrize(
    ("direction", "source", "far_end"),
    [
        (IN, CALLER, True),
        (IN, CALLEE, False),
        (OUT, CALLER, False),
        (OUT, CALLEE, True),
        (IN, HangupSource.UNKNOWN, None),
        (OUT, HangupSource.UNKNOWN, None),
    ],
)
def test_caller_and_callee_are_roles_of_the_leg(
    direction: Direction, source: HangupSource, far_end: bool | None
) -> None:
    assert source.is_far_end(direction) is far_end


# E1: Telnyx call.hangup. Word, SIP code, answered, direction, source -> status, disposition, ended_reason.

U = HangupSource.UNKNOWN
E1 = {
    "normal_clearing, answered, caller of inbound": (
        ("normal_clearing", 200, True, IN, CALLER),
        ("completed", "answered", "caller-hangup"),
    ),
    "normal_clearing, answered, callee of inbound": (
        ("normal_clearing", None, True, IN, CALLEE),
        ("completed", "answered", "api"),
    ),
    "normal_clearing, answered, callee of outbound": (
        ("normal_clearing", 200, True, OUT, CALLEE),
        ("completed", "answered", "caller-hangup"),
    ),
    "normal_clearing, answered, caller of outbound": (
        ("normal_clearing", 200, True, OUT, CALLER),
        ("completed", "answered", "api"),
    ),
    "normal_clearing, answered, source undecided": (
        ("normal_clearing", 200, True, OUT, U),
        ("completed", "answered", "caller-hangup"),
    ),
    "normal_clearing, unanswered, outbound": (
        ("normal_clearing", 480, False, OUT, U),
        ("no-answer", "no-answer", "timeout"),
    ),
    "normal_clearing, unanswered, inbound": (
        ("normal_clearing", None, False, IN, CALLER),
        ("canceled", "no-answer", "caller-hangup"),
    ),
    "originator_cancel, inbound": (
        ("originator_cancel", 487, False, IN, CALLER),
        ("canceled", "no-answer", "caller-hangup"),
    ),
    "originator_cancel, outbound": (
        ("originator_cancel", 487, False, OUT, CALLER),
        ("canceled", "no-answer", "api"),
    ),
    "timeout 408": (("timeout", 408, False, OUT, U), ("no-answer", "no-answer", "timeout")),
    "timeout 480": (("timeout", 480, False, OUT, U), ("no-answer", "no-answer", "timeout")),
    "timeout 487": (("timeout", 487, False, OUT, U), ("no-answer", "no-answer", "timeout")),
    "no_answer 480": (("no_answer", 480, False, OUT, U), ("no-answer", "no-answer", "timeout")),
    "no_answer 487": (("no_answer", 487, False, OUT, U), ("no-answer", "no-answer", "timeout")),
    "user_busy 486": (("user_busy", 486, False, OUT, CALLEE), ("busy", "busy", None)),
    "user_busy 600": (("user_busy", 600, False, OUT, CALLEE), ("busy", "busy", None)),
    "call_rejected 403": (("call_rejected", 403, False, OUT, CALLEE), ("rejected", "rejected", None)),
    "call_rejected 603": (("call_rejected", 603, False, OUT, CALLEE), ("rejected", "rejected", None)),
    "not_found": (("not_found", 404, False, OUT, U), ("failed", "failed", "error")),
    "time_limit": (("time_limit", None, True, OUT, U), ("completed", "answered", "max-duration")),
    "unspecified 486": (("unspecified", 486, False, OUT, U), ("busy", "busy", "error")),
    "unspecified 600": (("unspecified", 600, False, OUT, U), ("busy", "busy", "error")),
    "unspecified 603": (("unspecified", 603, False, OUT, U), ("rejected", "rejected", "error")),
    "unspecified 403": (("unspecified", 403, False, OUT, U), ("rejected", "rejected", "error")),
    "unspecified 607": (("unspecified", 607, False, OUT, U), ("rejected", "rejected", "error")),
    "unspecified 480": (("unspecified", 480, False, OUT, U), ("no-answer", "no-answer", "error")),
    "unspecified 408": (("unspecified", 408, False, OUT, U), ("no-answer", "no-answer", "error")),
    "unspecified 487": (("unspecified", 487, False, OUT, U), ("no-answer", "no-answer", "error")),
    "unspecified 503": (("unspecified", 503, False, OUT, U), ("failed", "failed", "error")),
    "unspecified, no code": (("unspecified", None, False, OUT, U), ("failed", "failed", "error")),
    "unknown word, unanswered": (("wat", 500, False, IN, U), ("failed", "failed", "error")),
    "unspecified, answered": (("unspecified", None, True, OUT, U), ("completed", "answered", "error")),
    "unknown word, answered": (("wat", 503, True, IN, CALLER), ("completed", "answered", "error")),
}


@pytest.mark.parametrize(("given_", "expected"), E1.values(), ids=E1.keys())
def test_e1_telnyx(
    given_: tuple[str, int | None, bool, Direction, HangupSource], expected: tuple[str, str, str | None]
) -> None:
    word, sip_code, answered, direction, source = given_
    ending = Ending(
        cause=telnyx_cause(word),
        sip_code=sip_code,
        answered=answered,
        direction=direction,
        source=source,
    )
    assert shown(outcome(ending)) == expected


@pytest.mark.parametrize(
    "word", ["call_rejected", "user_busy", "not_found", "unspecified", "normal_clearing"]
)
def test_e1_own_reject_of_an_inbound_call(word: str) -> None:
    ending = Ending(cause=telnyx_cause(word), direction=IN, answered=False, rejected=True)
    assert shown(outcome(ending)) == ("rejected", "rejected", "api")


@pytest.mark.parametrize("sip_code", range(300, 700))
def test_e1_unspecified_is_decided_by_the_sip_code(sip_code: int) -> None:
    by_code = {486: "busy", 600: "busy", 603: "rejected", 403: "rejected", 607: "rejected"}
    by_code |= {480: "no-answer", 408: "no-answer", 487: "no-answer"}
    ending = Ending(cause=HangupCause.UNSPECIFIED, sip_code=sip_code, direction=OUT, answered=False)
    status = by_code.get(sip_code, "failed")
    assert shown(outcome(ending)) == (status, status, "error")


# E2: Twilio CallStatus.

E2 = {
    "completed": (("completed", None, True, OUT), ("completed", "answered", "caller-hangup")),
    "busy": (("busy", 486, False, OUT), ("busy", "busy", None)),
    "busy 603": (("busy", 603, False, OUT), ("rejected", "rejected", None)),
    "no-answer": (("no-answer", 487, False, OUT), ("no-answer", "no-answer", "timeout")),
    "canceled, outbound": (("canceled", 487, False, OUT), ("canceled", "no-answer", "api")),
    "canceled, inbound": (("canceled", None, False, IN), ("canceled", "no-answer", "caller-hangup")),
    "failed": (("failed", None, False, OUT), ("failed", "failed", "error")),
    "failed 403": (("failed", 403, False, OUT), ("rejected", "rejected", "error")),
    "failed 603": (("failed", 603, False, OUT), ("rejected", "rejected", "error")),
    "failed 607": (("failed", 607, False, OUT), ("rejected", "rejected", "error")),
    "failed 404": (("failed", 404, False, OUT), ("failed", "failed", "error")),
    "failed 484": (("failed", 484, False, OUT), ("failed", "failed", "error")),
    "failed 503": (("failed", 503, False, OUT), ("failed", "failed", "error")),
    "failed 486": (("failed", 486, False, OUT), ("failed", "failed", "error")),
    "failed 480": (("failed", 480, False, OUT), ("failed", "failed", "error")),
}


@pytest.mark.parametrize(("given_", "expected"), E2.values(), ids=E2.keys())
def test_e2_twilio(
    given_: tuple[str, int | None, bool, Direction], expected: tuple[str, str, str | None]
) -> None:
    word, sip_code, answered, direction = given_
    ending = Ending(
        cause=twilio_cause(word, sip_code), sip_code=sip_code, answered=answered, direction=direction
    )
    assert shown(outcome(ending)) == expected


COMPLETED = HangupCause.NORMAL_CLEARING


def test_e2b_own_intent_explains_a_completed_call() -> None:
    ending = Ending(cause=COMPLETED, direction=IN, answered=True, intent=EndedReason.AGENT_HANGUP)
    assert shown(outcome(ending)) == ("completed", "answered", "agent-hangup")


def test_e2b_no_intent_is_the_caller() -> None:
    ending = Ending(cause=COMPLETED, direction=IN, answered=True, duration=12, time_limit=600)
    assert shown(outcome(ending)) == ("completed", "answered", "caller-hangup")


@pytest.mark.parametrize(
    ("duration", "reason"), [(598, "caller-hangup"), (599, "max-duration"), (601, "max-duration")]
)
def test_e2b_a_call_as_long_as_its_limit_ended_by_it(duration: int, reason: str) -> None:
    ending = Ending(cause=COMPLETED, direction=OUT, answered=True, duration=duration, time_limit=600)
    assert shown(outcome(ending)) == ("completed", "answered", reason)


@pytest.mark.parametrize(("duration", "limit"), [(600, None), (None, 600)])
def test_e2b_without_a_limit_or_a_length_it_is_the_caller(duration: int | None, limit: int | None) -> None:
    ending = Ending(cause=COMPLETED, direction=OUT, answered=True, duration=duration, time_limit=limit)
    assert outcome(ending).ended_reason is EndedReason.CALLER_HANGUP


def test_e2b_a_stream_error_just_before_is_an_error() -> None:
    ending = Ending(cause=COMPLETED, direction=IN, answered=True, stream_failed=True)
    assert shown(outcome(ending)) == ("completed", "answered", "error")


# Answered by, transfer


@pytest.mark.parametrize(
    ("answered_by", "disposition"),
    [
        (AnsweredBy.HUMAN, "answered"),
        (AnsweredBy.UNKNOWN, "answered"),
        (AnsweredBy.SILENCE, "answered"),
        (AnsweredBy.SCREENING, "answered"),
        (AnsweredBy.MACHINE, "voicemail"),
        (AnsweredBy.FAX, "failed"),
        (None, "answered"),
    ],
)
def test_who_answered_decides_what_an_answered_call_became(
    answered_by: AnsweredBy | None, disposition: str
) -> None:
    ending = Ending(cause=COMPLETED, direction=OUT, answered=True, answered_by=answered_by)
    assert shown(outcome(ending)) == ("completed", disposition, "caller-hangup")


@pytest.mark.parametrize("cause", [COMPLETED, HangupCause.TIME_LIMIT, HangupCause.UNSPECIFIED])
def test_a_transferred_call_ends_as_transferred(cause: HangupCause) -> None:
    ending = Ending(
        cause=cause, direction=IN, answered=True, transferred=True, answered_by=AnsweredBy.MACHINE
    )
    assert shown(outcome(ending)) == ("completed", "transferred", "transfer")


def test_a_released_leg_that_the_api_ends_says_so() -> None:
    ending = Ending(cause=COMPLETED, direction=IN, answered=True, transferred=True, intent=EndedReason.API)
    assert shown(outcome(ending)) == ("completed", "transferred", "api")


def test_a_time_limit_proves_the_answer_that_was_never_heard_of() -> None:
    ending = Ending(cause=HangupCause.TIME_LIMIT, direction=OUT, answered=False)
    assert shown(outcome(ending)) == ("completed", "answered", "max-duration")


# Rule 0

ENDS_OF_A_RINGING_LEG = ["normal_clearing", "originator_cancel", "timeout", "no_answer", "unspecified"]


@pytest.mark.parametrize("word", ENDS_OF_A_RINGING_LEG)
def test_ending_a_ringing_outbound_call_cancels_it(word: str) -> None:
    ending = Ending(cause=telnyx_cause(word), direction=OUT, answered=False, intent=EndedReason.API)
    assert shown(outcome(ending)) == ("canceled", "no-answer", "api")


@pytest.mark.parametrize("word", ENDS_OF_A_RINGING_LEG)
def test_ending_a_ringing_inbound_call_rejects_it(word: str) -> None:
    ending = Ending(cause=telnyx_cause(word), direction=IN, answered=False, intent=EndedReason.API)
    assert shown(outcome(ending)) == ("rejected", "rejected", "api")


@pytest.mark.parametrize("word", ENDS_OF_A_RINGING_LEG)
def test_our_own_ring_deadline_is_a_call_nobody_answered(word: str) -> None:
    ending = Ending(cause=telnyx_cause(word), direction=OUT, answered=False, intent=EndedReason.TIMEOUT)
    assert shown(outcome(ending)) == ("no-answer", "no-answer", "timeout")


@pytest.mark.parametrize("direction", Direction)
def test_a_ringing_call_ended_for_an_error_has_failed(direction: Direction) -> None:
    ending = Ending(
        cause=HangupCause.ORIGINATOR_CANCEL, direction=direction, answered=False, intent=EndedReason.ERROR
    )
    assert shown(outcome(ending)) == ("failed", "failed", "error")


def test_a_busy_line_stays_busy_although_we_were_ending_the_call() -> None:
    ending = Ending(cause=HangupCause.USER_BUSY, direction=OUT, answered=False, intent=EndedReason.API)
    assert shown(outcome(ending)) == ("busy", "busy", "api")


def test_our_reject_keeps_a_reason_of_its_own() -> None:
    ending = Ending(
        cause=HangupCause.NO_ANSWER, direction=IN, answered=False, rejected=True, intent=EndedReason.ERROR
    )
    assert shown(outcome(ending)) == ("rejected", "rejected", "error")


ENDINGS = st.builds(
    Ending,
    cause=st.sampled_from(HangupCause),
    direction=st.sampled_from(Direction),
    answered=st.booleans(),
    sip_code=st.none() | st.integers(100, 699),
    source=st.sampled_from(HangupSource),
    intent=st.none() | st.sampled_from(EndedReason),
    rejected=st.booleans(),
    transferred=st.booleans(),
    answered_by=st.none() | st.sampled_from(AnsweredBy),
    duration=st.none() | st.floats(0, 20_000),
    time_limit=st.none() | st.floats(1, 14_400),
    stream_failed=st.booleans(),
)


@given(ENDINGS)
def test_rule_0_whatever_the_carrier_says_our_own_intent_is_the_reason(ending: Ending) -> None:
    result = outcome(ending)
    if ending.intent is not None:
        assert result.ended_reason is ending.intent


@given(ENDINGS)
def test_every_end_is_an_end_and_answered_calls_are_completed(ending: Ending) -> None:
    result = outcome(ending)
    assert result.status not in (CallStatus.RINGING, CallStatus.IN_PROGRESS)
    assert (result.status is CallStatus.COMPLETED) == (
        ending.answered or ending.cause is HangupCause.TIME_LIMIT
    )
    if result.status is not CallStatus.COMPLETED:
        assert result.disposition in (
            Disposition.NO_ANSWER,
            Disposition.BUSY,
            Disposition.FAILED,
            Disposition.REJECTED,
        )
    if result.ended_reason is None:
        assert result.status in (CallStatus.BUSY, CallStatus.REJECTED)

"""What a simulated call is said to have come to: its end, its answers, its barge-ins."""

import json
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call_report import (
    AGENT_HEARD,
    BARGES_IN,
    SPEAKS,
    Answers,
    Silenced,
    call_report,
    failure,
    hangs_up,
    listens,
    silenced,
    spoken,
    voiced_seconds,
)
from media.audio import PTIME
from media.dtmf import tone
from telephony.caller import AwaitAgent, BargeIn, Edge, HangUp, Note, Press, Repeat, Speak, Step, Wait
from telephony.line import Cut
from telephony.outcome import BargedIn, CallOutcome, EndedBy

WORD = tone("5", 0.5)
SCRIPT: list[Step] = [AwaitAgent(Edge.END), Speak(WORD), AwaitAgent(Edge.END), HangUp()]

FINE = CallOutcome(
    carrier="twilio",
    call_id="CA1",
    ended_by=EndedBy.CALLER,
    began_at=100.0,
    accepted_at=100.1,
    started_at=100.1,
    agent_heard_at=100.5,
    ended_at=110.0,
    close_code=1000,
    close_reason="",
    streams=(),
    frames_said=495,
    frames_sent=495,
    frames_lost=0,
    frames_reordered=0,
    frames_unsent=0,
    messages_received=10,
    media_received=8,
    received=8000,
    played=8000,
    dropped=0,
    discarded=0,
    underruns=0,
    gaps=(),
    tails=0,
    marks_received=2,
    marks_played=2,
    marks_flushed=0,
    marks=(),
    mark_lateness=0.0,
    clears=(),
    breaks=(),
    playouts=(),
    barge_ins=(),
    digits="",
    timeouts=0,
    latency=None,
    latencies=(),
    complaints={},
    complaint_details=(),
    timeline=(),
    heard=b"",
    heard_rate=8000,
)


# How the call ended


def test_a_call_that_its_caller_ended_went_as_its_script_wanted() -> None:
    assert failure(FINE, SCRIPT) is None


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (
            replace(FINE, ended_by=EndedBy.REFUSED, accepted_at=None, refusal="HTTP 403"),
            "the stream was refused with HTTP 403",
        ),
        (
            replace(FINE, ended_by=EndedBy.REFUSED, accepted_at=None, refusal="ConnectionRefusedError: no"),
            "could not be opened: ConnectionRefusedError",
        ),
        (replace(FINE, ended_by=EndedBy.REFUSED, refusal="HTTP 409"), "the next stream, after the drop,"),
        (replace(FINE, ended_by=EndedBy.GATEWAY, close_code=1011), "hung up early (code 1011)"),
        (replace(FINE, ended_by=EndedBy.GATEWAY, close_code=None), "hung up early (no close frame)"),
        (replace(FINE, ended_by=EndedBy.LIMIT), "as long as it may"),
        (replace(FINE, agent_heard_at=None), "the agent was never heard"),
    ],
)
def test_what_went_wrong_is_said(outcome: CallOutcome, said: str) -> None:
    assert said in (failure(outcome, SCRIPT) or "")


@pytest.mark.parametrize("ended_by", [EndedBy.GATEWAY, EndedBy.LIMIT])
def test_a_script_without_an_end_leaves_the_end_to_others(ended_by: EndedBy) -> None:
    assert failure(replace(FINE, ended_by=ended_by), [Speak(WORD)]) is None


def test_a_planned_drop_is_what_was_wanted() -> None:
    assert failure(replace(FINE, ended_by=EndedBy.DROPPED), SCRIPT) is None


def test_a_caller_who_does_not_listen_needs_no_answer() -> None:
    assert failure(replace(FINE, agent_heard_at=None), [Speak(WORD), HangUp()]) is None


def test_steps_within_a_repetition_count() -> None:
    assert hangs_up([Repeat([Wait(1), HangUp()])])
    assert listens([Repeat([BargeIn(1, WORD)])])
    assert not hangs_up(SCRIPT[:-1])


# How soon the agent answered


def test_an_answer_is_timed_from_the_voice_s_end_not_the_recording_s() -> None:
    answers = Answers([Speak(WORD + bytes(16_000))])
    answers.feed(Note(10.0, SPEAKS))
    assert answers.feed(Note(11.52, AGENT_HEARD)) == pytest.approx(1.0)


def test_an_agent_that_speaks_into_the_caller_has_not_answered() -> None:
    answers = Answers([Speak(WORD)])
    answers.feed(Note(10.0, SPEAKS))
    assert answers.feed(Note(10.3, AGENT_HEARD)) is None
    assert answers.feed(Note(12.0, AGENT_HEARD)) is None
    assert (answers.spoken, answers.seconds) == (1, [])


def test_a_greeting_is_no_answer() -> None:
    assert Answers(SCRIPT).feed(Note(1.0, AGENT_HEARD)) is None


@given(st.lists(st.tuples(st.floats(0.1, 1.0), st.floats(0.001, 5.0)), max_size=5))
def test_each_turn_has_its_own_answer(turns: list[tuple[float, float]]) -> None:
    script: list[Step] = [Speak(tone("5", length)) for length, _ in turns]
    answers, at = Answers(script), 0.0
    for length, delay in turns:
        answers.feed(Note(at, SPEAKS))
        ended = at + voiced_seconds(tone("5", length))
        answers.feed(Note(ended + delay + PTIME, AGENT_HEARD))
        at = ended + delay + 10
    assert answers.seconds == pytest.approx([delay for _, delay in turns], abs=1e-6)


def test_what_is_said_is_found_in_loops_and_barge_ins() -> None:
    script: list[Step] = [
        Speak(b"a"),
        Repeat([Wait(1), Press("1")]),
        Repeat([BargeIn(1, b"b"), Repeat([Speak(b"c")], 2)], None),
    ]
    assert list(islice(spoken(script), 6)) == [b"a", b"b", b"c", b"c", b"b", b"c"]


def test_silence_has_no_voice() -> None:
    assert voiced_seconds(bytes(3200)) == 0.0
    assert voiced_seconds(b"") == 0.0


# How soon the agent fell silent


def barged(
    *barge_ins: BargedIn, clears: tuple[Cut, ...] = (), vain: tuple[float, ...] = ()
) -> list[Silenced]:
    notes = tuple(Note(at, "caller gives up waiting: agent to barge into") for at in vain)
    return silenced(replace(FINE, barge_ins=barge_ins, clears=clears, timeline=notes))


def cut(at: float, dropped: int = 800) -> Cut:
    return Cut(at=at, played=0, position=0, dropped=dropped)


def test_a_clear_that_dropped_audio_made_the_silence() -> None:
    (one,) = barged(BargedIn(at=5.0, clear_at=5.5, silent_at=None), clears=(cut(5.5),))
    assert (one.clear, one.silence) == (0.5, 0.5)


def test_a_clear_of_nothing_did_not() -> None:
    (one,) = barged(BargedIn(at=5.0, clear_at=5.5, silent_at=None), clears=(cut(5.5, dropped=0),))
    assert (one.clear, one.silence) == (0.5, None)


def test_the_line_s_own_account_of_the_silence_goes_first() -> None:
    (one,) = barged(BargedIn(at=5.0, clear_at=5.5, silent_at=5.25), clears=(cut(5.5),))
    assert (one.clear, one.silence) == (0.5, 0.25)


def test_one_clear_is_not_credited_to_two_barge_ins() -> None:
    first, second = barged(
        BargedIn(at=5.0, clear_at=7.5, silent_at=None),
        BargedIn(at=7.0, clear_at=7.5, silent_at=None),
        clears=(cut(7.5),),
    )
    assert first == Silenced(None, None)
    assert second.clear == 0.5


def test_speech_after_waiting_in_vain_is_no_barge_in() -> None:
    assert barged(BargedIn(at=5.0, clear_at=None, silent_at=None), vain=(5.0,)) == []


def test_a_barge_in_that_nobody_heeded_is_told() -> None:
    assert barged(BargedIn(at=5.0, clear_at=None, silent_at=None)) == [Silenced(None, None)]


# The whole account


def test_the_report_is_json_in_milliseconds_from_the_dialling() -> None:
    notes = (Note(100.5, AGENT_HEARD), Note(102.0, BARGES_IN), Note(104.0, AGENT_HEARD))
    outcome = replace(FINE, timeline=notes, complaints={"31951": 2})
    report = json.loads(json.dumps(call_report(outcome, [BargeIn(1.0, WORD), HangUp()])))
    assert report["ok"] is True
    assert (report["duration_ms"], report["accepted_ms"], report["agent_heard_ms"]) == (10_000, 100, 500)
    assert report["answers_ms"] == [1480.0]
    assert report["agent_audio"]["played_ms"] == 1000
    assert report["complaints"] == {"31951": 2}
    assert report["timeline"][1] == {"at_ms": 2000.0, "what": BARGES_IN}

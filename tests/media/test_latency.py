"""Latency per turn: offsets from the end of the caller's speech."""

from media.latency import LatencyTracker


def test_an_answer_is_told_stage_by_stage_from_the_end_of_speech() -> None:
    tracker = LatencyTracker(answered=10.0)
    tracker.caller_started(12.0)
    tracker.caller_stopped(14.5, silence=0.5)
    tracker.response_started(14.6)
    tracker.audio_received(14.8)
    tracker.audio_sent(14.81, one_way=0.04)
    assert tracker.turns[0].as_dict() == {
        "turn": 1,
        "ts": 4.0,
        "user_speech_ms": 2000,
        "llm_ttfb_ms": 600,
        "tts_start_ms": 800,
        "tts_ttfb_ms": 800,
        "first_audio_sent_ms": 810,
        "first_audio_heard_ms": 850,
    }


def test_the_greeting_counts_from_the_start_of_the_stream() -> None:
    tracker = LatencyTracker(answered=10.0)
    tracker.greeting(10.0)
    tracker.output_started(10.2)
    tracker.audio_received(10.3)
    tracker.audio_sent(10.3, one_way=0.0)
    turn = tracker.turns[0]
    assert (turn.user_speech_ms, turn.tts_start_ms, turn.tts_ttfb_ms) == (0, 200, 300)


def test_every_stage_counts_once() -> None:
    tracker = LatencyTracker(answered=0.0)
    tracker.greeting(0.0)
    for now in (1.0, 2.0):
        tracker.response_started(now)
        tracker.audio_received(now)
        tracker.audio_sent(now, one_way=0.0)
    assert tracker.turns[0].llm_ttfb_ms == tracker.turns[0].first_audio_sent_ms == 1000


def test_what_comes_without_an_open_turn_is_not_told() -> None:
    tracker = LatencyTracker(answered=0.0)
    tracker.response_started(1.0)
    tracker.audio_received(1.0)
    tracker.audio_sent(1.0, one_way=0.0)
    assert tracker.turns == []


def test_an_answer_cut_before_it_was_heard_keeps_the_stages_it_had() -> None:
    tracker = LatencyTracker(answered=0.0)
    tracker.caller_stopped(1.0, silence=0.5)
    tracker.response_started(1.2)
    tracker.caller_started(1.3)
    tracker.caller_stopped(2.0, silence=0.5)
    assert [turn.first_audio_sent_ms for turn in tracker.turns] == [None, None]
    assert tracker.turns[0].llm_ttfb_ms == 700
    assert tracker.turns[1].user_speech_ms == 200

"""The timeline: in order, from the call's beginning, and bounded."""

from control import timeline
from control.timeline import Timeline


def test_times_are_told_from_the_calls_beginning() -> None:
    events = Timeline(100.0)
    events.add(100.5, "speech.started")
    events.add(101.23456, "barge_in", heard_ms=40, items=1)
    assert [event.as_dict() for event in events.events] == [
        {"at": 0.5, "event": "speech.started"},
        {"at": 1.235, "event": "barge_in", "heard_ms": 40, "items": 1},
    ]


def test_a_call_that_says_too_much_keeps_its_first_part_and_a_count() -> None:
    events = Timeline(0.0)
    for number in range(timeline.MAX_EVENTS + 7):
        events.add(float(number), "tick")
    assert len(events.events) == timeline.MAX_EVENTS
    assert events.dropped == 7

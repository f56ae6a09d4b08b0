"""The carrier's playout model, against a line that plays sample by sample."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCM16_8K, PCMU_8K
from telephony.line import Gap, Heard, Line

RATE = 8_000
MS = 0.001


def audio(milliseconds: int, value: int = 7) -> bytes:
    return bytes([value]) * (8 * milliseconds)


def test_a_mark_comes_back_when_the_audio_before_it_was_played() -> None:
    line = Line(PCMU_8K)
    line.queue(audio(100), 1.0)
    line.mark("a", 1.01)
    assert line.next_deadline() == pytest.approx(1.1)
    assert line.poll(1.0999) == []
    assert line.poll(1.1) == ["a"]
    assert line.next_deadline() is None


def test_a_mark_with_nothing_queued_comes_back_at_once() -> None:
    line = Line(PCMU_8K)
    line.mark("a", 3.0)
    assert line.poll(3.0) == ["a"]


def test_clear_silences_at_once_and_returns_every_pending_mark() -> None:
    line = Line(PCMU_8K)
    line.queue(audio(1_000), 0.0)
    line.mark("a", 0.0)
    line.queue(audio(1_000), 0.1)
    line.mark("b", 0.1)
    assert line.clear(0.25) == ["a", "b"]
    assert line.played(9.0) == 2_000
    assert line.queued(0.25) == 0
    (cut,) = line.clears
    assert (cut.at, cut.played, cut.position, cut.dropped, cut.marks) == (
        0.25,
        2_000,
        2_000,
        14_000,
        ("a", "b"),
    )
    assert all(mark.flushed for mark in line.marks)


def test_a_mark_already_reached_when_the_clear_comes_is_told_apart_from_the_flushed() -> None:
    line = Line(PCMU_8K)
    line.queue(audio(100), 0.0)
    line.mark("heard", 0.0)
    line.queue(audio(100), 0.0)
    line.mark("unheard", 0.0)
    assert line.clear(0.15) == ["heard", "unheard"]
    assert [(mark.name, mark.flushed, mark.returned_at) for mark in line.marks] == [
        ("heard", False, 0.1),
        ("unheard", True, 0.15),
    ]


def test_position_counts_what_was_dropped_and_played_does_not() -> None:
    line = Line(PCMU_8K)
    line.queue(audio(1_000), 0.0)
    line.clear(0.5)
    line.queue(audio(1_000), 1.0)
    assert line.played(1.25) == 4_000 + 2_000
    assert line.position(1.25) == 8_000 + 2_000


def test_underruns_are_silence_for_the_caller() -> None:
    line = Line(PCMU_8K)
    line.queue(audio(20, 1), 1.0)
    line.queue(audio(20, 2), 1.05)
    assert line.underruns == 1
    assert line.gaps == [Gap(1.02, 1.05 - 1.02)]
    expected = audio(20, 1) + PCMU_8K.silence(240) + audio(20, 2) + PCMU_8K.silence(80)
    assert line.recording(1.0, 1.08) == expected
    assert line.hear(1.0, 1.02) == audio(20, 1)
    assert line.hear(1.03, 1.05) == b""


def test_a_pause_after_a_clear_is_no_underrun() -> None:
    line = Line(PCMU_8K)
    line.queue(audio(100), 0.0)
    line.clear(0.05)
    line.queue(audio(100), 1.0)
    assert line.underruns == 0


def test_every_message_is_mapped_to_when_it_was_played_or_dropped() -> None:
    line = Line(PCMU_8K)
    for _ in range(3):
        line.queue(audio(100), 2.0)
    line.clear(2.15)
    first, second, third = line.playouts()
    assert (first.begins_at, first.played) == (2.0, 800)
    assert second.begins_at == pytest.approx(2.1)
    assert (second.played, second.position) == (400, 800)
    assert (third.begins_at, third.played) == (None, 0)


def test_a_full_line_discards_and_counts() -> None:
    line = Line(PCMU_8K, capacity=1.0)
    line.queue(audio(900), 0.0)
    line.queue(audio(200), 0.0)
    assert line.discarded == 1_600
    line.queue(audio(200), 0.2)
    assert line.discarded == 1_600
    assert line.position(1.0) == 10_400 - 1_600 + 800  # the playhead jumps what was discarded


def test_a_lost_stream_is_silence_and_returns_no_mark() -> None:
    line = Line(PCMU_8K)
    line.queue(audio(100), 0.0)
    line.mark("a", 0.0)
    line.break_off(0.05)
    assert line.poll(1.0) == []
    assert line.breaks[0].played == 400
    assert line.heard(1.0) == [Heard(0.0, audio(50))]


def test_without_a_history_an_endless_run_does_not_grow() -> None:
    line = Line(PCM16_8K, history=False)
    for n in range(2_000):
        line.queue(bytes([n % 251]) * 320, n * 0.02)
    assert line.received == line.played(40.0) == 320_000
    assert len(line._runs[-1].audio) < 10 * RATE * 2  # the one thing no face shows: memory
    assert line.hear(39.96, 39.98) == bytes([1998 % 251]) * 320
    assert line.position(39.99) == 319_920


@dataclass
class SampleBySample:
    """An oracle that plays one sample after the other."""

    playing: list[tuple[int, int]]
    """(arrival in samples, value) of what is queued."""
    heard: dict[int, int]
    time: int = 0

    def until(self, time: int) -> None:
        while self.time < time:
            if self.playing:
                _, value = self.playing.pop(0)
                self.heard[self.time] = value
            self.time += 1


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(st.sampled_from(["queue", "mark", "clear", "break"]), st.integers(0, 400), st.integers(0, 300)),
    max_size=30,
)


@given(steps, st.floats(0, 1e6), st.integers(0, 500))
def test_the_line_agrees_with_one_that_plays_sample_by_sample(
    script: list[Step], origin: float, tail: int
) -> None:
    line, oracle, clock = Line(PCMU_8K), SampleBySample([], {}), 0
    for n, (what, wait, size) in enumerate(script):
        clock += wait
        oracle.until(clock)
        now = origin + clock / RATE
        if what == "queue":
            line.queue(bytes([n + 1]) * size, now)
            oracle.playing += [(clock, n + 1)] * size
        elif what == "mark":
            line.mark(f"m{n}", now)
        else:
            if what == "clear":
                line.clear(now)
            else:
                line.break_off(now)
            oracle.playing.clear()
        assert line.played(now) == len(oracle.heard)
        assert line.queued(now) == len(oracle.playing)
        assert line.played(now) + line.dropped + line.queued(now) + line.discarded == line.received
    clock += tail
    oracle.until(clock)
    recording = line.recording(origin, origin + clock / RATE)
    assert recording == bytes(oracle.heard.get(n, 0xFF) for n in range(clock))
    assert sum(fate.played for fate in line.playouts()) == line.played(origin + 1e3)


@given(steps)
def test_marks_come_back_once_each_and_in_order(script: list[Step]) -> None:
    line, clock, sent, returned = Line(PCMU_8K), 0.0, [], []
    for n, (what, wait, size) in enumerate(script):
        until = clock + wait / RATE
        while (due := line.next_deadline()) is not None and due <= until:
            assert due >= clock
            clock = due
            names = line.poll(clock)
            assert names  # a deadline that has nothing to say would spin its owner
            returned += names
        clock = until
        if what == "queue":
            line.queue(bytes(size), clock)
        elif what == "mark":
            line.mark(f"m{n}", clock)
            sent.append(f"m{n}")
        else:
            returned += line.clear(clock)
    returned += line.poll(clock + 100.0)
    assert returned == sent
    assert [mark.name for mark in line.marks] == sent
    assert line.marks_received == line.marks_played + line.marks_flushed == len(sent)


@given(steps)
def test_what_was_played_only_grows_and_history_answers_the_same(script: list[Step]) -> None:
    line, clock, seen = Line(PCMU_8K), 0.0, []
    for what, wait, size in script:
        clock += wait / RATE
        if what == "queue":
            line.queue(bytes(size), clock)
        elif what == "clear":
            line.clear(clock)
        seen.append((clock, line.played(clock)))
    assert [played for _, played in seen] == sorted(played for _, played in seen)
    for time, played in seen:
        assert line.played_at(time) == played


@given(steps)
def test_listening_frame_by_frame_hears_every_sample_once(script: list[Step]) -> None:
    line, clock, heard = Line(PCMU_8K), 0, b""
    for n, (what, wait, size) in enumerate(script):
        frames = wait // 16
        for _ in range(frames):
            heard += line.hear(clock / RATE, (clock + 16) / RATE) or PCMU_8K.silence(16)
            clock += 16
        if what == "queue":
            line.queue(bytes([n + 1]) * size, clock / RATE)
        elif what == "clear":
            line.clear(clock / RATE)
    assert heard == line.recording(0.0, clock / RATE)

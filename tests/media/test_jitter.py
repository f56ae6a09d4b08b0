import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCM16_8K, PCMU_8K
from media.jitter import LEAP, ReorderWindow

FRAME = 160


def frame(chunk: int) -> bytes:
    """A frame that says which it is and is never mistaken for silence."""
    return f"{chunk:<{FRAME}}".encode()


SILENCE = PCMU_8K.silence(FRAME)


def test_a_frame_in_order_passes_at_once_and_uncopied() -> None:
    window = ReorderWindow()
    for chunk in range(7, 20):
        payload = frame(chunk)
        (out,) = window.push(chunk, payload, 0.0)
        assert out is payload
    assert window.next_deadline() is None
    assert (window.received, window.reordered, window.lost) == (13, 0, 0)


def test_two_frames_that_changed_places_change_back() -> None:
    window = ReorderWindow()
    window.push(1, frame(1), 0.00)
    assert window.push(3, frame(3), 0.02) == ()
    assert window.push(2, frame(2), 0.03) == (frame(2), frame(3))
    assert window.reordered == 1
    assert window.next_deadline() is None


def test_a_gap_waits_its_window_and_becomes_silence() -> None:
    window = ReorderWindow(window=0.060)
    window.push(1, frame(1), 0.000)
    window.push(4, frame(4), 0.020)
    assert window.next_deadline() == pytest.approx(0.080)
    assert window.poll(0.079) == ()
    assert window.poll(0.080) == (SILENCE, SILENCE, frame(4))
    assert window.lost == 2
    assert window.next_deadline() is None


def test_a_second_gap_has_its_own_wait() -> None:
    window = ReorderWindow(window=0.060)
    window.push(1, frame(1), 0.000)
    window.push(3, frame(3), 0.010)
    window.push(5, frame(5), 0.050)
    assert window.poll(0.070) == (SILENCE, frame(3))
    assert window.next_deadline() == pytest.approx(0.110)
    assert window.poll(0.110) == (SILENCE, frame(5))


def test_a_gap_whose_time_has_passed_ends_with_the_next_frame_even_unpolled() -> None:
    window = ReorderWindow(window=0.060)
    window.push(1, frame(1), 0.000)
    window.push(3, frame(3), 0.020)
    assert window.push(4, frame(4), 0.100) == (SILENCE, frame(3), frame(4))


def test_the_missing_frame_is_welcome_until_its_gap_is_given_up() -> None:
    window = ReorderWindow(window=0.060)
    window.push(1, frame(1), 0.000)
    window.push(3, frame(3), 0.020)
    assert window.push(2, frame(2), 0.100) == (frame(2), frame(3))
    assert window.lost == 0


def test_a_frame_after_its_silence_is_late_and_its_copy_a_duplicate() -> None:
    window = ReorderWindow()
    window.push(1, frame(1), 0.0)
    window.push(3, frame(3), 0.0)
    window.poll(math.inf)
    assert window.push(2, frame(2), 0.1) == ()
    assert (window.late, window.duplicated, window.lost) == (1, 0, 1)
    window.push(2, frame(2), 0.1)
    window.push(3, frame(3), 0.1)
    assert (window.late, window.duplicated) == (1, 2)


def test_a_frame_before_the_first_one_seen_is_late() -> None:
    window = ReorderWindow()
    assert window.push(5, frame(5), 0.0) == (frame(5),)
    assert window.push(4, frame(4), 0.0) == ()
    assert window.late == 1


def test_silence_is_as_long_as_the_last_frame() -> None:
    window = ReorderWindow(PCM16_8K)
    window.push(1, b"\x01\x02" * 240, 0.0)
    window.push(3, b"\x01\x02" * 160, 0.0)
    assert window.poll(1.0) == (bytes(480), b"\x01\x02" * 160)


@pytest.mark.parametrize("leap", [LEAP + 1, -LEAP - 1, 10**12, -(10**12)])
def test_a_renumbered_stream_goes_on_without_a_word(leap: int) -> None:
    window = ReorderWindow()
    window.push(1_000, frame(0), 0.0)
    window.push(1_002, frame(2), 0.0)
    start = 1_001 + leap
    assert window.push(start, frame(7), 0.0) == (frame(2), frame(7))
    assert window.push(start + 1, frame(8), 0.0) == (frame(8),)
    assert (window.resyncs, window.lost) == (1, 0)
    assert window.next_deadline() is None


def test_a_gap_of_exactly_the_leap_is_still_filled() -> None:
    window = ReorderWindow()
    window.push(0, frame(0), 0.0)
    window.push(1 + LEAP, frame(1), 0.0)
    assert len(window.poll(1.0)) == LEAP + 1
    assert window.resyncs == 0


def test_a_giant_frame_does_not_make_giant_silence() -> None:
    window = ReorderWindow()
    window.push(0, bytes(1 << 20), 0.0)
    window.push(1 + LEAP, frame(1), 0.0)
    assert sum(map(len, window.poll(1.0))) <= LEAP * 1_600 + FRAME


arrivals = st.lists(st.tuples(st.integers(0, 60), st.floats(0, 0.03)), min_size=1, max_size=120)


@given(first=st.integers(-5, 5), arrivals=arrivals)
def test_any_order_copies_and_loss_leave_every_frame_in_its_place(
    first: int, arrivals: list[tuple[int, float]]
) -> None:
    window = ReorderWindow()
    now, out = 0.0, list(window.push(first, frame(first), 0.0))
    last = first
    for ahead, pause in arrivals:
        now += pause
        while (deadline := window.next_deadline()) is not None and deadline <= now:
            out += window.poll(deadline)
            assert window.next_deadline() != deadline  # a poll at its deadline makes progress
        chunk = first + ahead
        last = max(last, chunk)
        out += window.push(chunk, frame(chunk), now)
        deadline = window.next_deadline()
        assert deadline is None or now < deadline <= now + 0.060
    out += window.poll(math.inf)

    assert len(out) == last - first + 1
    for place, heard in enumerate(out):
        assert heard in (frame(first + place), SILENCE)
    assert out.count(SILENCE) == window.lost
    assert window.received == len(arrivals) + 1
    assert window.received == (len(out) - window.lost) + window.late + window.duplicated


@given(st.lists(st.tuples(st.integers(), st.floats(0, 0.1)), max_size=80))
def test_hostile_numbers_cost_no_more_than_the_leap(arrivals: list[tuple[int, float]]) -> None:
    window, now = ReorderWindow(), 0.0
    for chunk, pause in arrivals:
        now += pause
        assert len(window.push(chunk, frame(chunk), now)) <= 2 * LEAP + 1
        assert len(window._held) <= LEAP
    window.poll(math.inf)
    assert not window._held
    assert window.received == len(arrivals)


@given(st.lists(st.integers(0, 600), max_size=200))
def test_no_frame_is_heard_twice_or_before_an_earlier_one(chunks: list[int]) -> None:
    window = ReorderWindow()
    heard: list[bytes] = []
    for index, chunk in enumerate(chunks):
        heard += window.push(chunk, frame(chunk), index * 0.02)
        if window.resyncs:
            break
    numbers = [int(audio) for audio in heard if audio != SILENCE][: -1 if window.resyncs else None]
    assert numbers == sorted(set(numbers))

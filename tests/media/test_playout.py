"""The playout clock against the carrier's own playout model, over a link with delay."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.audio import PCMA_8K, PCMU_8K
from media.playout import MARK_OVERDUE, Cut, HeardAudio, PlayoutClock
from telephony.line import Line

FRAME = PCMU_8K.frame_samples
RATE = PCMU_8K.rate
ROUNDING = 2  # samples: two clocks, one rounding each


def ms(samples: int) -> float:
    return samples * 1000 / RATE


def audio(milliseconds: float) -> bytes:
    return b"\x55" * round(milliseconds * RATE / 1000)


class Pair:
    """A playout clock and a line, with the same way between them in both directions; TCP keeps the order."""

    def __init__(self, delay: float = 0.0, jitter: float = 0.0, *, seed: int = 0) -> None:
        self.now = 100.0
        self.playout = PlayoutClock(PCMU_8K)
        self.line = Line(PCMU_8K)
        self.chunks: list[tuple[float, int]] = []
        self.returned: list[str] = []
        self.echoes = True
        self.connected = True
        self._delay = delay
        self._jitter = jitter
        self._random = random.Random(seed)
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._there = self._back = 0.0
        self._clears = 0
        self.forward(self.playout.attach(self.now))

    def _arrival(self, after: float) -> float:
        return max(after, self.now + self._delay + self._random.random() * self._jitter)

    def forward(self, item: bytes | str) -> None:
        self._there = self._arrival(self._there)
        self._at(self._there, lambda: self._carrier_takes(item))

    def _carrier_takes(self, item: bytes | str) -> None:
        if not self.connected:
            return
        if isinstance(item, bytes):
            self.line.queue(item, self.now)
        else:
            self.line.mark(item, self.now)

    def _echo(self, name: str) -> None:
        self.returned.append(name)
        self._back = self._arrival(self._back)
        if self.echoes and self.connected:
            self._at(self._back, lambda: self.playout.reached(name, self.now))

    def _at(self, time: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._events, (time, next(self._order), action))

    def write(self, item: str, milliseconds: float, *, end: bool = False) -> None:
        self.playout.write(item, audio(milliseconds))
        if end:
            self.playout.end_item(item)
        self.send()

    def send(self) -> None:
        for item in self.playout.poll(self.now):
            if isinstance(item, bytes):
                self.chunks.append((self.now, len(item)))
            self.forward(item)

    def clear(self) -> tuple[Cut, Callable[[], int]]:
        """Clear at the gateway; the second value tells, later, what the carrier had played when it obeyed."""
        cut = self.playout.clear(self.now)
        if cut.at_carrier:
            before = self._clears = self._clears + 1
            self._there = self._arrival(self._there)
            self._at(self._there, self._carrier_clears)
            return cut, lambda: self.line.clears[before - 1].position
        return cut, lambda: cut.heard

    def _carrier_clears(self) -> None:
        for name in self.line.clear(self.now):
            self._echo(name)

    def lose_stream(self) -> None:
        self.connected = False
        self._events.clear()
        self.line.break_off(self.now)
        self.playout.detach(self.now)

    def replace_stream(self) -> None:
        self.connected = True
        self.line = Line(PCMU_8K)
        self.forward(self.playout.attach(self.now))
        self.send()

    def advance(self, milliseconds: float) -> None:
        until = self.now + milliseconds / 1000
        while True:
            sources = [
                self._events[0][0] if self._events else None,
                self.playout.next_deadline(),
                self.line.next_deadline(),
            ]
            due = min((time for time in sources if time is not None), default=None)
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self._step()
        self.now = until

    def _step(self) -> None:
        for name in self.line.poll(self.now):
            self._echo(name)
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()
        deadline = self.playout.next_deadline()
        if deadline is not None and deadline <= self.now:
            before = self.playout.next_deadline()
            self.send()
            after = self.playout.next_deadline()
            assert after is None or after > self.now or after != before, (
                "poll(next_deadline()) made no progress"
            )


@pytest.mark.parametrize("delay", [0.0, 0.040, 0.150])
def test_a_burst_is_played_out_without_a_gap_and_never_far_ahead(delay: float) -> None:
    pair = Pair(delay)
    pair.write("a", 4000, end=True)
    pair.advance(2000)
    assert ms(pair.playout.sent - pair.playout.heard(pair.now)) <= 200
    pair.advance(3000)
    assert pair.line.underruns == 0
    assert pair.line.played(pair.now) == pair.playout.written == pair.playout.acked == 4000 * 8
    assert not pair.playout.speaking()


def test_a_burst_leaves_in_fewer_messages_than_frames() -> None:
    pair = Pair(0.040)
    pair.write("a", 4000, end=True)
    pair.advance(5000)
    assert len(pair.chunks) <= 4000 / 100 + 2


def test_a_frame_the_carrier_is_short_of_never_waits() -> None:
    pair = Pair(0.040)
    for _ in range(50):
        before = pair.playout.sent
        pair.write("a", 20)
        assert pair.playout.sent == before + FRAME
        pair.advance(20)


def test_marks_leave_every_200_ms_and_at_the_item_end() -> None:
    pair = Pair()
    pair.write("a", 730, end=True)
    pair.advance(2000)
    positions = [int(name.split(".")[1]) for name in pair.returned if "probe" not in name]
    assert [ms(position) for position in positions] == [200, 400, 600, 740]


def test_the_tail_is_padded_to_a_whole_frame_and_not_counted_as_heard() -> None:
    pair = Pair()
    pair.write("a", 33, end=True)
    pair.advance(10)
    assert pair.playout.sent == 2 * FRAME
    pair.playout.write("b", audio(20))
    cut, _ = pair.clear()
    assert [(item.item, item.written) for item in cut.items] == [("a", 264), ("b", FRAME)]


def test_a_partial_frame_waits_for_its_rest() -> None:
    pair = Pair()
    pair.write("a", 30)
    assert pair.playout.sent == FRAME
    pair.write("a", 10)
    assert pair.playout.sent == 2 * FRAME


@pytest.mark.parametrize("delay", [0.0, 0.040, 0.150])
@pytest.mark.parametrize("after", [10, 90, 210, 999, 3999])
def test_a_clear_reports_what_the_carrier_had_played_when_it_obeyed(delay: float, after: float) -> None:
    pair = Pair(delay)
    pair.advance(700)
    pair.write("a", 10_000)
    pair.advance(after)
    cut, played = pair.clear()
    pair.advance(1000)
    assert abs(cut.heard - played()) <= ROUNDING


def test_the_account_holds_after_the_carrier_ran_dry_and_a_second_item_began() -> None:
    pair = Pair(0.150)
    pair.write("a", 500, end=True)
    pair.advance(1800)
    pair.write("b", 5000)
    pair.advance(400)
    cut, played = pair.clear()
    pair.advance(1000)
    assert abs(cut.heard - played()) <= ROUNDING
    assert [item.item for item in cut.items] == ["b"]


def test_an_echo_of_the_earlier_run_does_not_move_the_playhead_of_the_next() -> None:
    pair = Pair(0.150)
    pair.write("a", 200, end=True)
    pair.advance(260)  # played out at the carrier before its echo is back here
    pair.write("b", 3000)
    pair.advance(220)
    cut, played = pair.clear()
    pair.advance(1000)
    assert abs(cut.heard - played()) <= ROUNDING


def test_items_queued_behind_the_one_being_heard_are_reported_as_never_started() -> None:
    pair = Pair(0.040)
    pair.write("a", 1000, end=True)
    pair.write("b", 1000, end=True)
    pair.write("c", 1000)
    pair.advance(1500)
    cut, _ = pair.clear()
    assert [item.item for item in cut.items] == ["b", "c"]
    assert 0 < cut.items[0].heard < cut.items[0].written == 8000
    assert cut.items[1].heard == 0


def test_marks_returned_by_the_clear_prove_nothing() -> None:
    pair = Pair(0.040)
    pair.write("a", 5000)
    pair.advance(690)
    cut, _ = pair.clear()
    position = pair.playout.acked
    pair.advance(500)
    assert pair.line.marks_flushed > 0
    assert pair.playout.acked == position == pair.playout.sent
    assert cut.heard < pair.playout.sent


def test_a_mark_that_was_never_sent_is_refused() -> None:
    pair = Pair()
    pair.write("a", 500)
    assert not pair.playout.reached("0.99999", pair.now)
    assert not pair.playout.reached("nonsense", pair.now)


def test_two_clears_in_a_row_each_tell_the_truth() -> None:
    pair = Pair(0.150)
    pair.write("a", 4000)
    pair.advance(1000)
    first, first_played = pair.clear()
    pair.write("b", 4000)
    pair.advance(250)
    second, second_played = pair.clear()
    pair.advance(1000)
    assert abs(first.heard - first_played()) <= ROUNDING
    assert abs(second.heard - second_played()) <= ROUNDING
    assert [item.item for item in second.items] == ["b"]


def test_nothing_to_clear_tells_the_carrier_nothing() -> None:
    pair = Pair(0.040)
    pair.write("a", 400, end=True)
    pair.advance(2000)
    cut, _ = pair.clear()
    assert not cut.at_carrier
    assert cut.items == ()


def test_an_item_heard_so_far_but_still_being_generated_is_part_of_the_cut() -> None:
    pair = Pair()
    pair.write("a", 400)
    pair.advance(2000)
    cut, _ = pair.clear()
    assert [(item.heard, item.written) for item in cut.items] == [(3200, 3200)]


def test_what_lies_beyond_the_carrier_is_subtracted_from_what_was_heard() -> None:
    clock = PlayoutClock(PCMU_8K, offset=0.100)
    clock.attach(0.0)
    clock.write("a", audio(4000))
    clock.poll(0.0)
    assert clock.clear(0.150).items[0].heard == 50 * 8


def test_a_replaced_stream_repeats_what_was_not_heard() -> None:
    pair = Pair(0.0)
    pair.write("a", 2000, end=True)
    pair.advance(700)
    pair.lose_stream()
    first = pair.line.played(pair.now)
    assert pair.playout.next_deadline() is None
    pair.advance(900)
    pair.replace_stream()
    pair.advance(3000)
    assert abs(first + pair.line.played(pair.now) - 2000 * 8) <= FRAME + ROUNDING
    assert pair.playout.acked == pair.playout.written


def test_echoes_of_the_lost_stream_prove_nothing_on_the_next() -> None:
    pair = Pair(0.040)
    pair.write("a", 2000)
    pair.advance(500)
    old = list(pair.playout._pending)
    pair.lose_stream()
    pair.replace_stream()
    assert not any(pair.playout.reached(name, pair.now) for name in old)


def test_a_carrier_that_never_echoes_is_believed_by_the_clock_in_the_end() -> None:
    pair = Pair(0.040)
    pair.echoes = False
    pair.write("a", 1000, end=True)
    pair.advance(1000 * MARK_OVERDUE)
    assert pair.playout.speaking()
    pair.advance(2000)
    pair.send()
    assert not pair.playout.speaking()
    assert pair.playout.marks_overdue


def test_silence_flows_until_the_agent_speaks_and_delays_it_by_a_frame_at_most() -> None:
    pair = Pair()
    pair.playout.fill_silence = True
    pair.advance(1000)
    assert pair.line.underruns == 0
    assert pair.line.recording(pair.now - 0.5, pair.now) == PCMU_8K.silence(4000)
    assert not pair.playout.speaking()
    pair.write("a", 1000)
    assert pair.line.queued(pair.now) <= FRAME
    pair.advance(100)
    assert audio(60) in pair.line.recording(pair.now - 0.1, pair.now)


def test_a_paused_stream_sends_nothing_and_goes_on_after_it() -> None:
    pair = Pair()
    pair.write("a", 2000)
    pair.advance(300)
    pair.playout.paused = True
    sent = pair.playout.sent
    pair.advance(1000)
    assert pair.playout.sent == sent
    pair.playout.paused = False
    pair.playout.end_item("a")
    pair.advance(2000)
    assert pair.line.played(pair.now) == 2000 * 8


def test_a_model_that_runs_away_is_cut_off_and_counted() -> None:
    clock = PlayoutClock(PCMU_8K)
    for _ in range(7):
        clock.write("a", audio(100_000))
    assert clock.overflow == 100_000 * 8
    assert clock.written == 600_000 * 8


def test_heard_audio_is_handed_out_once_and_in_one_piece_until_a_clear_leaves_a_gap() -> None:
    clock = PlayoutClock(PCMA_8K)
    clock.attach(0.0)
    said = bytes(range(160)) * 20
    clock.write("a", said)
    names = [item for item in clock.poll(0.0) if isinstance(item, str)]
    clock.poll(0.15)
    clock.reached(names[0], 0.2)
    cut = clock.clear(0.3)
    sent = clock.sent
    assert 1600 < cut.heard < sent
    clock.write("b", said)
    (name,) = [item for item in clock.poll(0.4) if isinstance(item, str)]
    clock.reached(name, 0.6)
    assert clock.take_heard() == [
        HeardAudio(0, said[: cut.heard]),
        HeardAudio(sent, said[:1600]),
    ]
    assert clock.take_heard() == ()


steps = st.one_of(
    st.tuples(st.just("write"), st.sampled_from("abc"), st.integers(1, 3000)),
    st.tuples(st.just("end"), st.sampled_from("abc"), st.just(0)),
    st.tuples(st.just("wait"), st.just(""), st.integers(0, 1500)),
    st.tuples(st.just("clear"), st.just(""), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=25), st.sampled_from([0.0, 0.040, 0.150]))
def test_any_script_ends_with_heard_and_discarded_equal_to_written(
    script: list[tuple[str, str, int]], delay: float
) -> None:
    pair = Pair(delay)
    written = discarded = 0
    checks: list[tuple[Cut, Callable[[], int]]] = []
    for verb, item, amount in script:
        match verb:
            case "write":
                pair.write(item, amount)
            case "end":
                pair.playout.end_item(item)
                pair.send()
            case "wait":
                pair.advance(amount)
            case _:
                written = pair.playout.written
                cut, played = pair.clear()
                checks.append((cut, played))
                discarded += cut.discarded
                assert cut.heard + cut.discarded == written
        playout = pair.playout
        assert playout.acked <= playout.heard(pair.now) <= playout.sent <= playout.written
    for item in "abc":
        pair.playout.end_item(item)
    pair.advance(60_000)
    for cut, played in checks:
        assert abs(cut.heard - played()) <= ROUNDING
    heard = sum(len(piece.audio) for piece in pair.playout.take_heard())
    assert not pair.playout.speaking()
    assert abs(heard - pair.line.played(pair.now)) <= ROUNDING * (len(checks) + 1)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(100, 6000))
def test_with_jitter_a_clear_is_off_by_no_more_than_the_jitter(seed: int, after: int) -> None:
    jitter = 0.040
    pair = Pair(0.040, jitter, seed=seed)
    pair.advance(300)
    pair.write("a", 10_000)
    pair.advance(after)
    cut, played = pair.clear()
    pair.advance(1000)
    assert abs(cut.heard - played()) / RATE <= 2 * jitter + 0.020

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from media import g711
from media.audio import AudioFormat, Encoding
from media.recorder import CallRecorder


def loud(samples: int, value: int = 1_000) -> bytes:
    return np.full(samples, value, "<i2").tobytes()


def tracks(stereo: bytes) -> tuple[list[int], list[int]]:
    both = np.frombuffer(stereo, "<i2").reshape(-1, 2)
    return both[:, 0].tolist(), both[:, 1].tolist()


def test_the_caller_is_left_and_the_agent_right_where_it_was_heard() -> None:
    recorder = CallRecorder()
    recorder.caller(loud(10, 7), Encoding.PCM16)
    recorder.agent(loud(3, 9), Encoding.PCM16, at=4)
    left, right = tracks(recorder.finish())
    assert left == [7] * 10
    assert right == [0] * 4 + [9] * 3 + [0] * 3


def test_agent_audio_never_overlaps_what_was_placed() -> None:
    recorder = CallRecorder()
    recorder.agent(loud(5, 1), Encoding.PCM16, at=2)
    recorder.agent(loud(2, 2), Encoding.PCM16, at=4)
    assert tracks(recorder.finish())[1] == [0, 0, 1, 1, 1, 1, 1, 2, 2]
    assert recorder.late == 0


def test_what_is_settled_has_left_and_late_audio_stands_behind_it() -> None:
    recorder = CallRecorder()
    recorder.caller(loud(10, 7), Encoding.PCM16)
    left, right = tracks(recorder.settle(6))
    assert (left, right) == ([7] * 6, [0] * 6)
    recorder.agent(loud(2, 9), Encoding.PCM16, at=3)
    assert recorder.late == 1
    assert tracks(recorder.finish()) == ([7] * 4, [9, 9, 0, 0])
    assert recorder.finish() == b""


def test_settling_backwards_returns_nothing() -> None:
    recorder = CallRecorder()
    recorder.caller(loud(10), Encoding.PCM16)
    recorder.settle(8)
    assert recorder.settle(8) == recorder.settle(3) == recorder.settle(-1) == b""
    assert recorder.settled == 8


def test_a_pause_is_silence_of_its_own_length_on_both_tracks() -> None:
    recorder = CallRecorder()
    recorder.caller(loud(4, 7), Encoding.PCM16)
    recorder.pause()
    assert recorder.paused
    recorder.caller(loud(3, 7), Encoding.PCM16)
    recorder.agent(loud(4, 9), Encoding.PCM16, at=3)
    recorder.resume()
    recorder.caller(loud(2, 7), Encoding.PCM16)
    left, right = tracks(recorder.finish())
    assert left == [7] * 4 + [0] * 3 + [7] * 2
    assert right == [0] * 3 + [9] + [0] * 5


def test_agent_audio_heard_in_a_pause_stays_out_even_if_reported_after_it() -> None:
    recorder = CallRecorder()
    recorder.pause()
    recorder.caller(loud(5, 7), Encoding.PCM16)
    recorder.resume()
    recorder.caller(loud(5, 7), Encoding.PCM16)
    recorder.agent(loud(4, 9), Encoding.PCM16, at=3)
    left, right = tracks(recorder.finish())
    assert left == [0] * 5 + [7] * 5
    assert right == [0] * 5 + [9, 9] + [0] * 3


def test_a_pause_may_settle_in_parts_and_be_asked_for_twice() -> None:
    recorder = CallRecorder()
    recorder.caller(loud(2, 7), Encoding.PCM16)
    recorder.pause()
    recorder.caller(loud(4, 7), Encoding.PCM16)
    recorder.pause()
    parts = recorder.settle(3) + recorder.settle(5)
    recorder.resume()
    recorder.resume()
    recorder.caller(loud(2, 7), Encoding.PCM16)
    assert tracks(parts + recorder.finish())[0] == [7, 7, 0, 0, 0, 0, 7, 7]


def test_a_stream_that_changes_its_law_is_recorded_on() -> None:
    recorder = CallRecorder()
    for law in (Encoding.PCMU, Encoding.PCMA, Encoding.PCMU):
        recorder.caller(g711.encode(loud(5, 8_000), law), law)
    left, _ = tracks(recorder.finish())
    assert len(left) == 15
    assert all(abs(sample - 8_000) < 200 for sample in left)


def test_silence_between_turns_is_digital_silence_in_any_law() -> None:
    recorder = CallRecorder()
    for at in (10, 30):
        recorder.agent(g711.encode(loud(5), Encoding.PCMA), Encoding.PCMA, at=at)
    _, right = tracks(recorder.finish())
    assert right[:10] == [0] * 10
    assert right[15:30] == [0] * 15


def test_half_a_sample_does_not_turn_the_rest_into_noise() -> None:
    recorder = CallRecorder()
    recorder.caller(loud(2, 7) + b"\x7f", Encoding.PCM16)
    recorder.caller(loud(2, 7), Encoding.PCM16)
    assert tracks(recorder.finish())[0] == [7] * 4


@dataclass(frozen=True)
class Caller:
    samples: int
    encoding: Encoding


@dataclass(frozen=True)
class Agent:
    samples: int
    encoding: Encoding
    at: int


@dataclass(frozen=True)
class Settle:
    until: int


@dataclass(frozen=True)
class Pause:
    on: bool


lengths, positions, encodings = st.integers(0, 60), st.integers(0, 400), st.sampled_from(list(Encoding))
steps = st.lists(
    st.one_of(
        st.builds(Caller, lengths, encodings),
        st.builds(Agent, lengths, encodings, positions),
        st.builds(Settle, positions),
        st.builds(Pause, st.booleans()),
    ),
    max_size=40,
)


def sound(samples: int, encoding: Encoding, value: int) -> bytes:
    return g711.encode(loud(samples, value), encoding)


class Ledger:
    """What a recording must hold, kept sample by sample in lists: the slow and obvious way."""

    def __init__(self) -> None:
        self.left: list[int] = []
        self.right: list[int] = []
        self.pauses: list[list[int]] = []
        self.paused = False

    def pad(self, until: int) -> None:
        for track in (self.left, self.right):
            track += [0] * (until - len(track))

    def pause(self, on: bool) -> None:
        if on and not self.paused:
            self.pauses.append([len(self.left), 1 << 40])
        elif self.paused and not on:
            self.pauses[-1][1] = len(self.left)
        self.paused = on

    def tracks(self) -> tuple[list[int], list[int]]:
        def masked(track: list[int]) -> list[int]:
            return [0 if any(a <= i < b for a, b in self.pauses) else v for i, v in enumerate(track)]

        return masked(self.left), masked(self.right)


def value(encoding: Encoding, wanted: int) -> int:
    (decoded,) = np.frombuffer(g711.decode(sound(1, encoding, wanted), encoding), "<i2").tolist()
    return int(decoded)


@settings(deadline=None)
@given(steps)
def test_every_sample_is_where_the_ledger_has_it(script: list[Caller | Agent | Settle | Pause]) -> None:
    recorder, ledger, out, late = CallRecorder(), Ledger(), b"", 0
    for step in script:
        match step:
            case Caller(samples, encoding):
                recorder.caller(sound(samples, encoding, 4_000), encoding)
                ledger.left += [value(encoding, 4_000)] * samples
            case Agent(samples, encoding, at):
                late += at < recorder.settled
                recorder.agent(sound(samples, encoding, -4_000), encoding, at)
                ledger.right += [0] * (at - len(ledger.right)) + [value(encoding, -4_000)] * samples
            case Settle(until):
                before = recorder.settled
                part = recorder.settle(until)
                ledger.pad(until)
                assert recorder.settled == max(before, until)
                assert len(part) == 4 * (recorder.settled - before)
                out += part
            case Pause(on):
                recorder.pause() if on else recorder.resume()
                ledger.pause(on)
        assert recorder.caller_end == len(ledger.left)
        assert recorder.agent_end == len(ledger.right)
    out += recorder.finish()
    ledger.pad(max(len(ledger.left), len(ledger.right)))
    assert tracks(out) == ledger.tracks()
    assert recorder.late == late


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_a_long_call_holds_only_its_present_block(blocks: list[int]) -> None:
    recorder, written = CallRecorder(), 0
    for samples in blocks:
        recorder.caller(AudioFormat(Encoding.PCMU, 8_000).silence(samples), Encoding.PCMU)
        written += len(recorder.settle(recorder.caller_end)) // 4
        assert recorder.settled == recorder.caller_end == written
    assert recorder.finish() == b""

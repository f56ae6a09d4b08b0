"""A carrier's playout model: what the caller hears, and when, of the audio a gateway sends.

Theory of operation. Audio is played in real time, first in, first out. As long as more arrives before the
last of it was played, playout is one gapless *run*; its sample n has been heard at `start + n / rate`, so
nothing has to tick: every question is answered by arithmetic, exact to the sample. A run ends by running
dry (the caller hears silence until more comes) or by being cut (a clear, a lost stream).

Two coordinates, never mixed: *position* counts samples as the gateway sent them (what was dropped keeps its
place), *played* counts samples the caller heard.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

from media.audio import AudioFormat

# Times are floats on a clock that may have run for months: (start + n / rate) - start misses n / rate by up
# to a millionth of a sample. A tolerance of a thousandth hides that and no real sample.
_EPSILON = 1e-3

# A line without a history keeps this much played audio for whoever listens frame by frame.
_RECENT = 2.0

# A hole shorter than this lies within a reply: between two of them somebody has spoken, or been waited for.
STUTTER = 0.300


@dataclass(frozen=True, slots=True)
class MarkRequested:
    """The gateway named the point of playout reached so far."""

    name: str


@dataclass(frozen=True, slots=True)
class ClearRequested:
    """The gateway wants silence now."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The carrier could not use a message of the gateway."""

    code: str
    detail: str
    reply: bytes | None = None
    """What the carrier sends back, where it says anything."""


GatewayMessage = bytes | MarkRequested | ClearRequested | Complaint
"""What a gateway's message asks of a line; bytes are audio to play."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedMark:
    """A mark that went back to the gateway."""

    name: str
    received_at: float
    position: int
    """Samples the gateway had sent before the mark."""
    returned_at: float
    flushed: bool
    """By a clear; the audio before it was not all heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Playout was stopped and what was queued dropped."""

    at: float
    played: int
    """Samples the caller had heard of this call until then."""
    position: int
    """Where the playhead stood in what the gateway had sent."""
    dropped: int
    marks: tuple[str, ...] = ()
    """What a clear gave back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Playout:
    """What became of one message of audio."""

    received_at: float
    position: int
    samples: int
    begins_at: float | None
    """When its first sample was or will be played; None when it was dropped before."""
    played: int
    """Samples of it that were, or are still to be, played."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The line ran dry and later spoke again."""

    at: float
    duration: float


@dataclass(frozen=True, slots=True)
class Heard:
    """One uninterrupted stretch of audio the caller heard."""

    at: float
    audio: bytes


class _Run:
    """Gapless playout, from `start` on."""

    __slots__ = ("audio", "before", "cut", "forgotten", "offsets", "positions", "samples", "start")

    def __init__(self, start: float, before: int) -> None:
        self.start = start
        self.before = before
        self.samples = 0
        self.cut = False
        self.audio = bytearray()
        self.forgotten = 0  # bytes no longer at the head of `audio`
        self.offsets: list[int] = []
        self.positions: list[int] = []


class Line:
    """Plays what a gateway sends, in real time, and keeps account of what the caller heard.

    Driven by the gateway's messages (`queue`, `mark`, `clear`) and by time passing (`poll`); times must not
    go backwards. Never sleeps and never ticks: its owner waits until `next_deadline`.
    """

    def __init__(
        self, audio_format: AudioFormat, *, capacity: float | None = None, history: bool = True
    ) -> None:
        """
        Args:
            capacity: seconds of audio the carrier holds; what would exceed it is discarded.
            history: keep every run, message and mark; without it only counters (long or many calls).
        """
        self.format = audio_format
        self.received = 0
        self.dropped = 0
        self.discarded = 0
        self.marks_received = 0
        self.marks_played = 0
        self.marks_flushed = 0
        self.underruns = 0
        """Times the line ran dry and later spoke again: between replies as well as within them."""
        self.stutters = 0
        """Those of them too short to be a pause between two replies."""
        self.marks: list[ReturnedMark] = []
        self.clears: list[Cut] = []
        self.breaks: list[Cut] = []
        self.gaps: list[Gap] = []
        self._capacity = None if capacity is None else round(capacity * audio_format.rate)
        self._history = history
        self._runs: list[_Run] = []
        self._messages: list[tuple[float, int, int, _Run | None, int]] = []
        self._pending: deque[tuple[str, float, int, float]] = deque()

    # What the gateway asks

    def queue(self, audio: bytes, now: float) -> None:
        """Play `audio` after what is queued already."""
        samples = self.format.samples(audio)
        if not samples:
            return
        position = self.received
        self.received += samples
        if self._capacity is not None and self.queued(now) + samples > self._capacity:
            self.discarded += samples
            if self._history:
                self._messages.append((now, position, samples, None, 0))
            return
        run = self._run_at(now)
        if self._history:
            self._messages.append((now, position, samples, run, run.samples))
        run.offsets.append(run.samples)
        run.positions.append(position)
        run.audio += audio
        run.samples += samples

    def mark(self, name: str, now: float) -> None:
        """Have `name` come back once everything queued so far was played: at once if nothing is."""
        self.marks_received += 1
        due = now
        if self._runs and not self._runs[-1].cut:
            due = max(now, self._end(self._runs[-1]))
        self._pending.append((name, now, self.received, due))

    def clear(self, now: float) -> list[str]:
        """Stop at once, drop the queue and give back all pending marks, in order."""
        names = [name for name, *_ in self._pending]
        self.poll(now)
        flushed = tuple(name for name, *_ in self._pending)
        for name, received_at, position, _ in self._pending:
            self._returned(name, received_at, position, now, flushed=True)
        self._pending.clear()
        self.clears.append(self._cut(now, flushed))
        return names

    def break_off(self, now: float) -> None:
        """The stream is gone: silence, and no mark ever comes back."""
        self._pending.clear()
        self.breaks.append(self._cut(now, ()))

    # Time

    def next_deadline(self) -> float | None:
        """Return when the next mark is reached."""
        return self._pending[0][3] if self._pending else None

    def poll(self, now: float) -> list[str]:
        """Return the marks reached by `now`, in order."""
        reached = []
        while self._pending and self._pending[0][3] <= now:
            name, received_at, position, due = self._pending.popleft()
            self._returned(name, received_at, position, due, flushed=False)
            reached.append(name)
        return reached

    # The account

    def played(self, now: float) -> int:
        """Return how many samples the caller has heard of this call by `now`."""
        if not self._runs:
            return 0
        run = self._runs[-1]
        return run.before + self._played_of(run, now)

    def played_at(self, time: float) -> int:
        """Return what `played` was, or would have been, at any moment so far (needs the history)."""
        index = bisect_right(self._runs, time, key=lambda run: run.start) - 1
        if index < 0:
            return 0
        run = self._runs[index]
        return run.before + self._played_of(run, time)

    def position(self, now: float) -> int:
        """Return where the playhead stands in what the gateway sent: everything before was played or dropped."""
        if not self._runs:
            return 0
        run = self._runs[-1]
        played = self._played_of(run, now)
        index = bisect_right(run.offsets, played) - 1
        return run.positions[index] + played - run.offsets[index]

    def queued(self, now: float) -> int:
        """Return how many samples are still to be played."""
        if not self._runs:
            return 0
        run = self._runs[-1]
        return run.samples - self._played_of(run, now)

    def playouts(self) -> list[Playout]:
        """Return what became of every message of audio, in the order received."""
        return [self._fate(*message) for message in self._messages]

    def heard(self, until: float) -> list[Heard]:
        """Return every stretch of audio the caller heard by `until`."""
        return [
            Heard(run.start, self._slice(run, 0, played))
            for run in self._runs
            if (played := self._played_of(run, until))
        ]

    def recording(self, since: float, until: float) -> bytes:
        """Return what the caller heard from `since` to `until`, silence where nothing was played."""
        return self._window(since, until, self._runs) or self.format.silence(self._samples(since, until))

    def hear(self, since: float, until: float) -> bytes:
        """Return the audio played between two recent moments: b"" if none was, else padded with silence."""
        runs: list[_Run] = []
        for run in reversed(self._runs):
            if self._end(run) <= since:
                break
            runs.insert(0, run)
        return self._window(since, until, runs)

    # How

    def _run_at(self, now: float) -> _Run:
        """Return the run that audio arriving now joins, or begin one."""
        last = self._runs[-1] if self._runs else None
        if last is not None and not last.cut:
            dry = now - self._end(last)
            if dry * self.format.rate <= _EPSILON:
                self._forget_played(last, now)
                return last
            self.underruns += 1
            if dry < STUTTER:
                self.stutters += 1
            if self._history:
                self.gaps.append(Gap(self._end(last), dry))
        run = _Run(now, 0 if last is None else last.before + last.samples)
        if not self._history:
            self._runs = [kept for kept in self._runs if self._end(kept) > now - _RECENT]
        self._runs.append(run)
        return run

    def _forget_played(self, run: _Run, now: float) -> None:
        """Keep a run of hours from growing for hours, where no history is wanted."""
        if self._history:
            return
        width, rate = self.format.sample_bytes, self.format.rate
        played = self._played_of(run, now) - round(_RECENT * rate)
        excess = played * width - run.forgotten
        if excess > _RECENT * rate * width:
            del run.audio[:excess]
            run.forgotten += excess
            passed = bisect_right(run.offsets, played) - 1
            del run.offsets[:passed], run.positions[:passed]

    def _cut(self, now: float, marks: tuple[str, ...]) -> Cut:
        position, played, dropped = self.position(now), self.played(now), self.queued(now)
        self.dropped += dropped
        if self._runs:
            run = self._runs[-1]
            run.samples -= dropped
            run.cut = True
        return Cut(at=now, played=played, position=position, dropped=dropped, marks=marks)

    def _returned(
        self, name: str, received_at: float, position: int, returned_at: float, *, flushed: bool
    ) -> None:
        if flushed:
            self.marks_flushed += 1
        else:
            self.marks_played += 1
        if self._history:
            self.marks.append(
                ReturnedMark(
                    name=name,
                    received_at=received_at,
                    position=position,
                    returned_at=returned_at,
                    flushed=flushed,
                )
            )

    def _fate(self, at: float, position: int, samples: int, run: _Run | None, offset: int) -> Playout:
        played = 0 if run is None else max(0, min(samples, run.samples - offset))
        begins_at = run.start + offset / self.format.rate if run is not None and played else None
        return Playout(received_at=at, position=position, samples=samples, begins_at=begins_at, played=played)

    def _end(self, run: _Run) -> float:
        return run.start + run.samples / self.format.rate

    def _played_of(self, run: _Run, time: float) -> int:
        return min(run.samples, max(0, int((time - run.start) * self.format.rate + _EPSILON)))

    def _samples(self, since: float, until: float) -> int:
        return max(0, round((until - since) * self.format.rate))

    def _slice(self, run: _Run, first: int, last: int) -> bytes:
        width = self.format.sample_bytes
        return bytes(run.audio[max(0, first * width - run.forgotten) : max(0, last * width - run.forgotten)])

    def _window(self, since: float, until: float, runs: list[_Run]) -> bytes:
        """Lay what `runs` played between two moments on silence; b"" if they played nothing then."""
        width, size = self.format.sample_bytes, self._samples(since, until)
        audio = bytearray()
        for run in runs:
            first, last = self._played_of(run, since), self._played_of(run, until)
            piece = self._slice(run, first, last)
            if not piece:
                continue
            at = max(0, round((run.start - since) * self.format.rate) + first) * width
            audio += self.format.silence(max(0, at - len(audio)) // width)
            audio += piece
        if not audio:
            return b""
        audio += self.format.silence(max(0, size - len(audio) // width))
        return bytes(audio[: size * width])

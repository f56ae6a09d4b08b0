"""Puts the caller's frames back in order and fills what was lost with silence.

**Theory of operation.** Telnyx does not promise the order of media messages; each carries the number of its
chunk. A frame in order passes at once, so an orderly stream is delayed by nothing. A frame ahead of its turn
opens a gap, and the frames behind the gap wait for it, `window` at most, counted from the first of them to
arrive. Then each missing chunk becomes silence as long as the last frame heard, and the wait is over: the
positions of all later audio are right, which is what the recording and the turn clock stand on.

Chunk numbers come from a socket: a jump of more than `LEAP` either way is a stream that was renumbered, not
five seconds of loss. It is taken as the new count, without concealment, so no number can make us allocate.
"""

from media.audio import PCMU_8K, AudioFormat

# A gap this long (5 s at 20 ms) is no loss that silence could hide.
LEAP = 250
# What a lost chunk may become: a carrier's frames are 20 ms, a few bundle them; more is no phone's frame.
_LONGEST = 10


class ReorderWindow:
    """The inbound order of one stream.

    Driven by frames (`push`) and by time passing (`poll`). It never delays a frame that is in order, never
    returns a frame twice or after a later one, and holds at most `LEAP` frames.
    """

    __slots__ = (
        "_base",
        "_concealed",
        "_deadline",
        "_format",
        "_held",
        "_length",
        "_next",
        "_window",
        "duplicated",
        "late",
        "lost",
        "received",
        "reordered",
        "resyncs",
    )

    def __init__(self, frame: AudioFormat = PCMU_8K, *, window: float = 0.060) -> None:
        self._format = frame
        self._window = window
        self._base = 0
        self._next: int | None = None
        self._length = frame.frame_bytes
        self._held: dict[int, tuple[bytes, float]] = {}
        self._concealed: set[int] = set()
        self._deadline: float | None = None
        self.received = 0
        """Frames pushed: those returned, those held, and the two kinds that were dropped."""
        self.reordered = 0
        """Frames that came after a later one and still in time."""
        self.lost = 0
        """Chunks that became silence."""
        self.late = 0
        """Frames dropped because their chunk had become silence, or lay before the first one seen."""
        self.duplicated = 0
        """Frames dropped because their chunk had been taken."""
        self.resyncs = 0

    def push(self, chunk: int, payload: bytes, now: float) -> tuple[bytes, ...]:
        """Take one frame; return what can be heard now, in order."""
        if chunk == self._next and not self._held:
            self._next = chunk + 1
            self._length = len(payload)
            self.received += 1
            return (payload,)
        self.received += 1
        return tuple(self._out_of_turn(chunk, payload, now))

    def next_deadline(self) -> float | None:
        """Return when the oldest gap is given up; None while there is none."""
        return self._deadline

    def poll(self, now: float) -> tuple[bytes, ...]:
        """Give up every gap whose time has come (`math.inf`: all of them, the stream is over)."""
        if self._deadline is None or self._deadline > now:
            return ()
        return tuple(self._give_up(now))

    def _out_of_turn(self, chunk: int, payload: bytes, now: float) -> list[bytes]:
        if self._next is None:
            self._base = self._next = chunk
        ahead = chunk - self._next
        if abs(ahead) > LEAP:
            return self._resync(chunk, payload)
        if ahead < 0:
            self._count_stale(chunk)
            return []
        if chunk in self._held:
            self.duplicated += 1
            return []
        if self._held and chunk < max(self._held):
            self.reordered += 1
        self._held[chunk] = (payload, now)
        return self._in_order() + self._give_up(now)

    def _count_stale(self, chunk: int) -> None:
        if chunk in self._concealed:
            self._concealed.remove(chunk)  # its second copy is a duplicate
            self.late += 1
        elif chunk < self._base:
            self.late += 1
        else:
            self.duplicated += 1

    def _resync(self, chunk: int, payload: bytes) -> list[bytes]:
        frames = [self._held[held][0] for held in sorted(self._held)]
        self._held.clear()
        self._concealed.clear()
        self._deadline = None
        self._base, self._next = chunk, chunk + 1
        self._length = len(payload)
        self.resyncs += 1
        return [*frames, payload]

    def _in_order(self) -> list[bytes]:
        """Take the frames whose turn it is, and set the deadline of the gap behind them."""
        frames: list[bytes] = []
        assert self._next is not None
        while (held := self._held.pop(self._next, None)) is not None:
            frames.append(held[0])
            self._next += 1
        if frames:
            self._length = len(frames[-1])
        waiting = self._held.values()
        self._deadline = min(arrived for _, arrived in waiting) + self._window if waiting else None
        return frames

    def _give_up(self, now: float) -> list[bytes]:
        frames: list[bytes] = []
        while self._deadline is not None and self._deadline <= now:
            frames += self._silence()
            frames += self._in_order()
        return frames

    def _silence(self) -> list[bytes]:
        """Return the gap before the first frame held, as one and the same silent frame."""
        assert self._next is not None
        first = min(self._held)
        gap = range(self._next, first)
        self._next = first
        self._concealed = {chunk for chunk in self._concealed if chunk >= first - LEAP} | set(gap)
        self.lost += len(gap)
        longest = self._format.frame_bytes * _LONGEST
        return [self._format.silence(min(self._length, longest) // self._format.sample_bytes)] * len(gap)

"""Paces agent audio to the caller and keeps exact account of what was heard.

Three positions, all in samples of the carrier's outbound format and counted from the start of the call::

    heard  <=  sent  <=  written
      |          |          |
      |          |          +-- what the model has given us (padding to whole frames included)
      |          +------------- what went to the carrier
      +------------------------ what the caller has heard, or will have when a `clear` sent now arrives

**Pacing.** The carrier is kept at most `lead` ahead of the caller's ear: enough to ride out a stalled loop,
little enough that marks are recent and a lost `clear` costs little. Deadlines come from the playhead, which
is absolute, so nothing drifts. Frames are due when the carrier has room for a `batch` of them, and then all that fit
leave at once: a burst goes in few messages, and a frame that the carrier is short of never waits for company.

**The playhead** is one anchor `(position, time)`: at `t` the caller hears `position + (t - time) * rate`, and
never more than was sent. Audio sent into an empty carrier begins a *run*: its anchor is its own start and the
moment it left. It needs one way to arrive, a `clear` sent later needs the same one way: the two cancel. A mark
that comes back moves the anchor to `(position, now - round trip)`: the echo is one way old, and the carrier
plays on until our clear reaches it.

**Epochs.** Both carriers return all pending marks on a clear, so a mark proves playback only inside its own
epoch. A clear and a replaced stream each begin a new one, and a mark name is never used twice.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from media.audio import AudioFormat

# Audio the carrier may hold ahead of the caller's ear. Peers run 160-400 ms; below 100 ms a busy loop is heard.
LEAD = 0.200
# In a burst, frames leave this many at a time: the carrier still holds LEAD - BATCH when the next ones go.
BATCH = 0.100
# A mark at least this often, so that the playhead is never older than this and one round trip.
MARK_EVERY = 0.200
# The model paused in mid-item, after this long a mark asks how far the caller is.
MARK_IDLE = 0.400
# A mark this late is not coming: the audio is taken as heard by the clock, and what we keep of it is let go.
MARK_OVERDUE = 5.0
# A model that is this far ahead of the caller is broken; what it adds is dropped and counted.
MAX_QUEUED = 600.0
# Marks remembered per stream: MARK_OVERDUE worth, several times over.
_PENDING_MARKS = 256
# Round trips remembered; the least of them is free of queueing.
_ROUND_TRIPS = 8
# Room for a time that was computed from a sample count and comes back a rounding error short of it.
_EPSILON = 0.01


@dataclass(slots=True)
class _Segment:
    """A run of one item's audio: `[start, end)` is the item's own, `[end, padded)` fills its last frame."""

    item: str | None
    start: int
    end: int
    padded: int
    ended: bool = False


@dataclass(frozen=True, slots=True)
class ItemHeard:
    """What the caller heard of an item that was cut short, in samples of the item's own audio."""

    item: str
    heard: int
    written: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The account of a clear."""

    heard: int
    """Position of the playhead when the carrier stops."""
    discarded: int
    """Samples written, never heard: dropped here or at the carrier."""
    items: tuple[ItemHeard, ...]
    """In playing order: the item being heard, then those that never started; none heard to its end."""
    at_carrier: bool
    """Whether the carrier may hold audio still, so that it must be told to clear."""


@dataclass(frozen=True, slots=True)
class HeardAudio:
    """Audio known to have been heard, for the recording."""

    position: int
    audio: bytes


class PlayoutClock:
    """Paces frames to real time and keeps account of what was heard.

    Driven by the agent (`write`, `end_item`, `clear`), by the carrier (`reached`, `attach`, `detach`) and by
    time passing (`poll`). Never sleeps: its owner waits until `next_deadline` and polls again.
    """

    __slots__ = (
        "_anchor_position",
        "_anchor_time",
        "_attached",
        "_batch",
        "_frame",
        "_heard_audio",
        "_last_mark",
        "_lead",
        "_mark_every",
        "_max_queued",
        "_offset",
        "_overdue_at",
        "_pending",
        "_queue",
        "_rate",
        "_released",
        "_round_trips",
        "_run_time",
        "_segments",
        "_unheard",
        "_width",
        "acked",
        "epoch",
        "fill_silence",
        "format",
        "marks_overdue",
        "overflow",
        "paused",
        "round_trip",
        "run_start",
        "runs",
        "sent",
        "spoken",
    )

    def __init__(
        self,
        fmt: AudioFormat,
        *,
        lead: float = LEAD,
        batch: float = BATCH,
        mark_every: float = MARK_EVERY,
        offset: float = 0.0,
    ) -> None:
        """`offset` (seconds) is what lies between carrier and ear; what an item was heard is less by it."""
        self.format = fmt
        self._rate = fmt.rate
        self._width = fmt.sample_bytes
        self._frame = fmt.frame_samples
        self._lead = max(self._frame, self._whole_frames(lead))
        # At most half the lead: the other half is what the carrier plays meanwhile.
        self._batch = max(self._frame, min(self._lead // 2, self._whole_frames(batch)))
        self._mark_every = max(self._frame, self._whole_frames(mark_every))
        self._offset = round(offset * fmt.rate)
        self._max_queued = round(MAX_QUEUED * fmt.rate) * self._width

        self._queue = bytearray()  # always begins on a frame boundary of what was sent
        self._segments: deque[_Segment] = deque()
        self.sent = 0
        self.acked = 0
        self.overflow = 0
        self.marks_overdue = 0

        self._attached = False
        self.paused = False
        self.fill_silence = False
        self.spoken = False
        """Whether the agent has ever said anything."""
        self.epoch = 0
        self._pending: dict[str, tuple[int, float]] = {}
        self._last_mark = 0
        self._round_trips: deque[float] = deque(maxlen=_ROUND_TRIPS)
        self.round_trip = 0.0
        """Seconds to the carrier and back, the least of the last few measured; 0 until measured."""

        self._anchor_position = 0
        self._anchor_time = 0.0
        self.runs = 0
        self.run_start = 0
        self._run_time = 0.0

        self._overdue_at = 0.0
        self._unheard = bytearray()  # sent audio from `_released` on
        self._released = 0
        self._heard_audio: list[tuple[int, bytearray]] = []

    def _whole_frames(self, seconds: float) -> int:
        return round(seconds * self._rate / self._frame) * self._frame

    # --- what the agent does

    @property
    def written(self) -> int:
        return self.sent + len(self._queue) // self._width

    def write(self, item: str | None, audio: bytes) -> None:
        """Queue audio of `item`: whole samples, any length.

        None is nobody's audio, a hold tone or music: it counts as silence wherever speech is asked about.
        """
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.item != item or segment.ended:
            if segment is not None:
                self._end(segment)
            start = self.written
            segment = _Segment(item, start, start, start)
            self._segments.append(segment)
            self.fill_silence = False
            self.spoken = True
        if len(self._queue) + len(audio) > self._max_queued:
            self.overflow += len(audio) // self._width
            return
        self._queue += audio
        segment.end = segment.padded = self.sent + len(self._queue) // self._width

    def skip(self, item: str) -> None:
        """Drop what has not left of an item; what was queued behind it moves up."""
        segments = iter(self._segments)
        segment = next((each for each in segments if each.item == item), None)
        if segment is None:
            return
        keep = max(segment.start, self.sent)
        dropped = segment.padded - keep
        if dropped > 0:
            offset = (keep - self.sent) * self._width
            del self._queue[offset : offset + dropped * self._width]
            segment.end, segment.padded = min(segment.end, keep), keep
            for later in segments:
                later.start, later.end, later.padded = (
                    position - dropped for position in (later.start, later.end, later.padded)
                )
        segment.ended = True
        self._release(self.acked)

    def holds(self, item: str) -> bool:
        """Whether anything of an item is not known as heard."""
        return any(segment.item == item for segment in self._segments)

    def end_item(self, item: str) -> None:
        """No more audio of `item` will come: its tail is padded to a whole frame (Telnyx drops shorter ones)."""
        if self._segments and self._segments[-1].item == item:
            self._end(self._segments[-1])

    def _end(self, segment: _Segment) -> None:
        if segment.ended:
            return
        segment.ended = True
        self._queue += self.format.silence(-(len(self._queue) // self._width) % self._frame)
        segment.padded = self.written

    def clear(self, now: float) -> Cut:
        """Drop all that is unheard and begin a new epoch.

        Whoever calls this must send the carrier's `clear` at `now` where `at_carrier` says so.
        """
        heard = self.heard(now)
        cut = Cut(
            heard, self.written - heard, self._cut_items(heard), self._attached and self.acked < self.sent
        )
        self._release(heard)
        self._queue.clear()
        self._segments.clear()
        self._begin_epoch(now)
        return cut

    def _cut_items(self, heard: int) -> tuple[ItemHeard, ...]:
        heard -= self._offset
        return tuple(
            ItemHeard(segment.item, min(max(heard - segment.start, 0), length), length)
            for segment in self._segments
            if (length := segment.end - segment.start)
            and segment.item is not None
            and (heard < segment.end or not segment.ended)
        )

    def _begin_epoch(self, now: float) -> None:
        """What went to the carrier so far is settled, one way or the other; it holds nothing any more."""
        self.epoch += 1
        self._pending.clear()
        self._unheard.clear()
        self._released = self.acked = self._last_mark = self.sent
        self._anchor_position, self._anchor_time = self.sent, now

    # --- what the carrier does

    def attach(self, now: float) -> str:
        """A stream is up: audio may leave. Returns a mark to send before it, which measures the round trip."""
        self._attached = True
        self.paused = False
        self._round_trips.clear()
        self.round_trip = 0.0
        self._anchor_position, self._anchor_time = self.sent, now
        name = f"{self.epoch}.{self.sent}.probe"
        self._remember(name, now)
        return name

    def detach(self, now: float) -> None:
        """The stream is gone: what was not heard goes back into the queue, for the next stream.

        The news is one way old, and nothing more was played since: the caller hears a little twice rather than miss it.
        """
        if not self._attached:
            return
        self._attached = False
        heard = self.heard(now - self.round_trip)
        resume = heard - (heard - self._released) % self._frame
        self._release(resume)
        if self.spoken:
            self._queue[:0] = self._unheard
        else:  # silence that kept the stream alive; the next one has its own
            self._segments.clear()
        self.sent = resume
        self._begin_epoch(now)

    def reached(self, name: str, now: float) -> bool:
        """Take the echo of a mark; False if it proves nothing (unknown, of an old epoch, or overtaken)."""
        known = self._pending.pop(name, None)
        if known is None:
            return False
        position, sent_at = known
        if name.endswith(".probe"):
            self._measured(now - sent_at)
            return True
        if position < self.acked:
            return False
        # Of an earlier run: it says nothing of when this one began.
        if position > self.run_start:
            self._move_anchor(position, now)
        self.acked = position
        self._release(position)
        return True

    def _move_anchor(self, position: int, now: float) -> None:
        if self.acked <= self.run_start:
            # The first echo of a run left an empty carrier: all but its own length was the way there and back.
            self._measured(max(0.0, now - self._run_time - (position - self.run_start) / self._rate))
        self._anchor_position, self._anchor_time = position, now - self.round_trip

    def _measured(self, round_trip: float) -> None:
        self._round_trips.append(round_trip)
        self.round_trip = min(self._round_trips)

    # --- time passing

    def poll(self, now: float) -> Sequence[bytes | str]:
        """Return what must leave by `now`, in order: audio (bytes) and marks (str)."""
        if now >= self._overdue_at:
            self._settle_overdue(now)
        queued = len(self._queue) // self._width
        ready = queued - queued % self._frame
        if not ready or not self._attached or self.paused:
            return self._when_idle(now)
        room = self._lead
        ahead = self.sent - self._playhead(now)
        if ahead > 0:
            room -= ahead
            if room < self._batch:  # see Pacing, and `next_deadline`, which asks the same question
                return ()
        else:
            self._begin_run(now)
        count = min(room - room % self._frame, ready)
        out: list[bytes | str] = []
        while count > 0:
            count -= self._send(count, now, out)
        return out

    def next_deadline(self) -> float | None:
        """Return when `poll` next has something to say; None until more is written."""
        if not self._attached or self.paused:
            return None
        if self._ready():
            return self._time_of(self.sent + self._batch - self._lead)
        if self.fill_silence:
            return self._time_of(self.sent)
        if self._last_mark < self.sent:
            return self._idle_mark_at()
        if self.acked < self.sent:
            return max(self._time_of(self.sent) + MARK_OVERDUE, self._overdue_at)
        return None

    def settled_until(self, time: float) -> bool:
        """Whether `next_deadline` is not before `time`, as far as can be told at no cost: nothing waits to leave."""
        end = self._anchor_time + (self.sent - self._anchor_position) / self._rate
        return time <= end + MARK_IDLE and len(self._queue) < self._frame * self._width

    def speaking(self) -> bool:
        """Whether the caller hears the agent or is about to: audio queued, or sent and not known as heard."""
        return self.acked < self._spoken()

    def heard(self, now: float) -> int:
        """Return the position the caller will have heard when a clear sent now reaches the carrier."""
        if self.acked >= self.sent:
            return self.sent
        return min(self.sent, max(self.acked, self._playhead(now)))

    def take_heard(self) -> Sequence[HeardAudio]:
        """Return the audio that has become known as heard since the last call."""
        if not self._heard_audio:
            return ()
        heard, self._heard_audio = self._heard_audio, []
        return [HeardAudio(position, bytes(audio)) for position, audio in heard]

    # --- inside

    def _spoken(self) -> int:
        """Position of the last sample that belongs to the agent, not to filling silence or music."""
        for segment in reversed(self._segments):
            if segment.item is not None:
                return segment.padded
        return 0

    def _playhead(self, now: float) -> int:
        return self._anchor_position + int((now - self._anchor_time) * self._rate + _EPSILON)

    def _time_of(self, position: int) -> float:
        return self._anchor_time + (position - self._anchor_position) / self._rate

    def _ready(self) -> int:
        """Samples queued in whole frames."""
        queued = len(self._queue) // self._width
        return queued - queued % self._frame

    def _begin_run(self, now: float) -> None:
        """The carrier has run dry: what is sent now is played as it arrives."""
        self._anchor_position, self._anchor_time = self.sent, now
        self.run_start, self._run_time = self.sent, now
        self.runs += 1

    def _send(self, count: int, now: float, out: list[bytes | str]) -> int:
        """Append one chunk of up to `count` samples, and the mark it ends at; return its length."""
        boundary = self._last_mark + self._mark_every
        for segment in self._segments:
            if segment.ended and segment.padded > self.sent:
                boundary = min(boundary, segment.padded)
                break
        length = min(count, boundary - self.sent)
        size = length * self._width
        queue = self._queue
        if size == len(queue):
            chunk = bytes(queue)
            queue.clear()
        else:
            chunk = bytes(memoryview(queue)[:size])
            del queue[:size]
        self._unheard += chunk
        self.sent += length
        out.append(chunk)
        if self.sent == boundary:
            out.append(self._mark(now))
        return length

    def _mark(self, now: float) -> str:
        name = f"{self.epoch}.{self.sent}"
        self._last_mark = self.sent
        self._remember(name, now)
        return name

    def _remember(self, name: str, now: float) -> None:
        self._pending[name] = (self.sent, now)
        if len(self._pending) > _PENDING_MARKS:
            del self._pending[next(iter(self._pending))]

    def _when_idle(self, now: float) -> Sequence[bytes | str]:
        if not self._attached or self.paused or self._ready():
            return ()
        if self.fill_silence:
            return self._silence(now) if self._playhead(now) >= self.sent else ()
        if self._last_mark < self.sent and now >= self._idle_mark_at():
            return (self._mark(now),)
        return ()

    def _idle_mark_at(self) -> float:
        """When to ask for an echo although nothing more is to be sent: at once after an item's end."""
        last = self._segments[-1] if self._segments else None
        if last is None or last.ended:
            return self._time_of(self._last_mark)
        return self._time_of(self.sent) + MARK_IDLE

    def _silence(self, now: float) -> Sequence[bytes | str]:
        """Keep alive a stream on which the agent has said nothing yet (realtime sheet, trap 15)."""
        self._begin_run(now)
        chunk = self.format.silence(self._frame)
        end = self.sent + self._frame
        self._segments.append(_Segment(None, self.sent, end, end, ended=True))
        self._unheard += chunk
        self.sent = end
        if end - self._last_mark < self._mark_every:
            return (chunk,)
        return (chunk, self._mark(now))

    def _settle_overdue(self, now: float) -> None:
        """Let go of audio whose mark should have come back long ago."""
        self._overdue_at = now + 1.0
        overdue = min(self.sent, self._playhead(now - MARK_OVERDUE))
        overdue -= (overdue - self._released) % self._frame
        if overdue > self.acked:
            self.marks_overdue += 1
            self.acked = overdue
            self._release(overdue)

    def _release(self, position: int) -> None:
        """Everything before `position` was heard: hand it to the recording, close the books on its items."""
        size = (position - self._released) * self._width
        if size > 0:
            self._keep_heard(self._unheard[:size])
            del self._unheard[:size]
            self._released = position
        while self._segments and self._segments[0].ended and self._segments[0].padded <= position:
            self._segments.popleft()

    def _keep_heard(self, audio: bytearray) -> None:
        """Add to the stretch it continues, so that who asks seldom is given little to place."""
        if self._heard_audio:
            position, before = self._heard_audio[-1]
            if position + len(before) // self._width == self._released:
                before += audio
                return
        self._heard_audio.append((self._released, audio))

"""The carrier's side of a call: its current stream, the order of what comes in, the pace of what goes out.

One leg outlives its streams: each new one is a *generation*. The leg also knows where everything heard belongs in
the recording. The recording's clock is the caller's media time; a run of agent audio is placed once, where it began
(what leaves now is heard beside what the caller's side sends one round trip later), and runs on by its own samples.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from control.outputs import Outputs, Unrecorded
from control.requests import RecordingAction
from media import g711
from media.audio import PCMU_8K, AudioFormat
from media.jitter import ReorderWindow
from media.level import LevelMeter
from media.playout import Cut, PlayoutClock
from media.recorder import CallRecorder
from telephony.stream import CarrierStream, StreamState

# The recording is written out in steps of this, which is what a crash may cost; media time, so an idle stream
# writes nothing.
_RECORD_EVERY = 2.0
# Bytes of a sample of the recording: two channels of PCM16.
STEREO = 4
# Audio whose echo is outstanding holds the recording back no longer than this (see media.playout.MARK_OVERDUE).
_RECORD_HOLD = 10.0


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """Caller frames of a call, over all its streams."""

    received: int = 0
    reordered: int = 0
    lost: int = 0


@dataclass(slots=True)
class _Run:
    """A run of playout, and where it is in the caller's media time (samples)."""

    start: int
    left_at: int
    heard_from: int | None = None


class CarrierLeg:
    """Driven by the bridge with what the socket brings and with time passing; writes to `outputs`."""

    __slots__ = (
        "_earlier",
        "_frame",
        "_heard_offset",
        "_last_media",
        "_lead",
        "_other_law",
        "_outputs",
        "_rate",
        "_record",
        "_runs",
        "_runs_seen",
        "_said",
        "_settle_at",
        "_stopped_at",
        "_unrecorded",
        "agent_level",
        "caller_level",
        "caller_samples",
        "formats_known",
        "generation",
        "inbound",
        "playout",
        "recorder",
        "reorder",
        "started",
        "stream",
    )

    def __init__(self, outputs: Outputs, *, lead: float, heard_offset: float, record: bool) -> None:
        self._outputs = outputs
        self._lead = lead
        self._heard_offset = heard_offset
        self._record = record
        self.stream: CarrierStream | None = None
        self.generation = 0
        self.started = False
        self.formats_known = False
        """Whether a stream has ever started: its formats are the call's."""
        self.inbound: AudioFormat = PCMU_8K
        self.playout = PlayoutClock(PCMU_8K, lead=lead, offset=heard_offset)
        self.reorder = ReorderWindow(PCMU_8K)
        self.recorder: CallRecorder | None = None
        self.caller_level = LevelMeter()
        self.agent_level = LevelMeter()
        self.caller_samples = 0
        self._said: list[bytes] = []
        """Caller audio on its way to the recorder, which takes a stretch as cheaply as a frame."""
        self._earlier = FrameCounts()
        self._last_media = 0.0
        self._settle_at = 0
        self._runs: deque[_Run] = deque()
        self._runs_seen = 0
        self._other_law = False
        self._stopped_at: int | None = None
        self._unrecorded = 0
        # Both laws, both directions.
        self._rate = PCMU_8K.rate
        self._frame = PCMU_8K.frame_samples

    # --- the stream's life

    def attach(self, stream: CarrierStream) -> None:
        """A new socket stands for this call; it carries audio from its start on."""
        self.stream = stream
        self.generation += 1
        self.started = False

    def start(self, now: float) -> None:
        """The stream said `start`: its formats are known, audio may flow."""
        stream = self.stream
        if stream is None:
            return
        if not self.formats_known:
            self._settle_formats(stream)
        # The call's audio stays in the law it began with; a stream that comes back in the other one gets its own.
        self._other_law = stream.outbound != self.playout.format
        self._record_said()
        self.inbound = stream.inbound
        self._earlier = self.frames
        self.reorder = ReorderWindow(stream.inbound)
        self.started = True
        self._last_media = now
        self.playout.fill_silence = stream.needs_silence_until_first_audio and not self.playout.spoken
        self._outputs.carrier.append(stream.mark(self.playout.attach(now)))

    def _settle_formats(self, stream: CarrierStream) -> None:
        self.formats_known = True
        self.playout = PlayoutClock(stream.outbound, lead=self._lead, offset=self._heard_offset)
        if self._record:
            self.recorder = CallRecorder(rate=stream.inbound.rate)
        self._settle_at = round(_RECORD_EVERY * stream.inbound.rate)

    def lose(self, now: float) -> None:
        """The socket is gone; what was not heard waits for the next one, and nobody fills a gap any more."""
        self.take(self.reorder.poll(inf), now)
        self.stream = None
        self.started = False
        self.playout.detach(now)
        self._record_heard()
        while self._runs and self._runs[-1].start >= self.playout.sent:
            self._runs.pop()

    # --- inbound

    def take(self, frames: Sequence[bytes], now: float) -> None:
        """Account for caller audio in media order."""
        self._last_media = now
        for frame in frames:
            self.caller_samples += len(frame)
        if self.recorder is not None:
            self._said += frames
        if self.caller_samples >= self._settle_at:
            self._settle()

    @property
    def frames(self) -> FrameCounts:
        """What has come so far."""
        before, window = self._earlier, self.reorder
        return FrameCounts(
            before.received + window.received,
            before.reordered + window.reordered,
            before.lost + window.lost,
        )

    # --- outbound

    def send_due(self, now: float) -> bool:
        """Send what playout says is due; True if agent audio was in it."""
        stream, playout = self.stream, self.playout
        if stream is None or not self.started or not (due := playout.poll(now)):
            return False
        if playout.runs != self._runs_seen:
            self._runs_seen = playout.runs
            self._run_began(now)
        carrier = self._outputs.carrier
        audio = False
        for item in due:
            if isinstance(item, bytes):
                if self._other_law:
                    item = g711.transcode(item, playout.format.encoding, stream.outbound.encoding)
                carrier.append(stream.media(item))
                audio = True
            else:
                carrier.append(stream.mark(item))
        return audio and not playout.fill_silence

    def mark_reached(self, name: str, now: float) -> bool:
        return self.playout.reached(name, now)

    def cut(self, now: float) -> Cut:
        """Stop the agent at once, at the carrier first; return what was heard."""
        cut = self.playout.clear(now)
        stream = self.stream
        if cut.at_carrier and stream is not None and stream.state is StreamState.STARTED:
            self._outputs.carrier.append(stream.clear())
        self._record_heard()
        return cut

    # --- the recording

    def record(self, action: RecordingAction, now: float) -> None:
        """Start, stop, pause or resume; what is recorded keeps its place in the call's media time."""
        if not self.formats_known:
            self._record = action in (RecordingAction.START, RecordingAction.RESUME)
            return
        recorder = self.recorder
        if recorder is not None:
            self._record_said()  # what was said before belongs before
        match action:
            case RecordingAction.START if recorder is None:
                self._begin_recording(now)
            case RecordingAction.START if recorder is not None:
                if self._unrecorded:
                    self._outputs.recording.append(Unrecorded(self._unrecorded))
                self._stopped_at, self._unrecorded = None, 0
                recorder.resume()
            case RecordingAction.RESUME if recorder is not None and self._stopped_at is None:
                recorder.resume()
            case RecordingAction.STOP if recorder is not None and self._stopped_at is None:
                self._stopped_at = recorder.caller_end
                recorder.pause()
            case RecordingAction.PAUSE if recorder is not None:
                recorder.pause()
            case _:
                pass  # nothing is recorded, or it is so already

    def _begin_recording(self, now: float) -> None:
        self._record_heard()
        self.recorder = CallRecorder(rate=self.inbound.rate, begin=self.caller_samples)
        if self.caller_samples:
            self._outputs.recording.append(Unrecorded(self.caller_samples))
        self._settle_at = self.caller_samples + self._samples(_RECORD_EVERY)
        # What is being said goes on: its next sample stands where one that leaves now would.
        self._runs.clear()
        self._runs.append(_Run(self.playout.heard(now), self.caller_samples))

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.inbound.rate)

    def _run_began(self, now: float) -> None:
        """Note where a run belongs: beside what the caller has said by now, the part of a frame under way included."""
        if self.recorder is None:
            return
        under_way = int(max(0.0, now - self._last_media) * self._rate)
        left_at = self.caller_samples + min(under_way, self._frame)
        start = self.playout.run_start
        if self._runs:
            last = self._runs[-1]
            # A carrier fed in real time runs dry for a moment between any two frames: still the same stretch.
            if abs(last.left_at + start - last.start - left_at) < self._frame:
                return
        self._runs.append(_Run(start, left_at))

    def _record_said(self) -> None:
        if self.recorder is not None:
            self.recorder.caller(b"".join(self._said), self.inbound.encoding)
            self._said.clear()

    def _record_heard(self) -> None:
        for heard in self.playout.take_heard():
            if self.recorder is None:
                continue
            position, audio = heard.position, heard.audio
            while audio:
                at, length = self._place(position, len(audio))
                self.recorder.agent(audio[:length], self.playout.format.encoding, at)
                position, audio = position + length, audio[length:]

    def _place(self, position: int, length: int) -> tuple[int, int]:
        """Return where the sample at `position` belongs, and how many of `length` follow it there."""
        while len(self._runs) > 1 and self._runs[1].start <= position:
            self._runs.popleft()
        if not self._runs:
            return self.caller_samples, length
        run = self._runs[0]
        if run.heard_from is None:
            # Only now: when the call's first run left, no round trip had been measured.
            run.heard_from = run.left_at + self._samples(self.playout.round_trip)
        if len(self._runs) > 1:
            length = min(length, self._runs[1].start - position)
        return run.heard_from + position - run.start, length

    def _settle(self) -> None:
        self._settle_at = self.caller_samples + self._samples(_RECORD_EVERY)
        self._record_heard()
        if self.recorder is None:
            return
        self._record_said()
        until = self.caller_samples
        if self.playout.acked < self.playout.sent:
            outstanding, _ = self._place(self.playout.acked, 1)
            until = max(min(until, outstanding), until - self._samples(_RECORD_HOLD))
        self._emit(self.recorder.settle(until))

    def finish(self, now: float) -> Cut:
        """The call is over: settle all accounts; return what was cut short by the end."""
        cut = self.cut(now)
        if self.recorder is not None:
            self._record_said()
            self._emit(self.recorder.finish())
            self.recorder = None
        return cut

    def _emit(self, block: bytes) -> None:
        if self._stopped_at is not None:
            block = self._before_stop(block)
        if not block:
            return
        stereo = np.frombuffer(block, "<i2").reshape(-1, 2)
        self.caller_level.feed(stereo[:, 0].tobytes())
        self.agent_level.feed(stereo[:, 1].tobytes())
        self._outputs.recording.append(block)

    def _before_stop(self, block: bytes) -> bytes:
        """Keep what was recorded before the recording was stopped; the rest is silence, and only counted."""
        assert self.recorder is not None
        assert self._stopped_at is not None
        samples = len(block) // STEREO
        kept = min(samples, max(0, self._stopped_at - (self.recorder.settled - samples)))
        self._unrecorded += samples - kept
        return block[: kept * STEREO]

"""Records a call in stereo, the caller left and the agent right, by position and never by wall clock.

**Theory of operation.** The left track is the caller's audio end to end: the reorder window has filled what was lost,
so its length is the media time of the call. The right track is what the caller *heard*, placed at the position of
that clock where it was heard; what a barge-in cleared is never given to us. Audio waits encoded, as it came; `settle`
decodes and interleaves a block at a time (a second, say), and what has settled has left: memory holds only the
present block, and a file only grows.

A pause (card numbers, say) is a stretch of that same clock: whatever lies in it is silence on both tracks, also agent
audio that is reported only after the call went on. The recording keeps its length.
"""

import numpy as np

from media import g711
from media.audio import AudioFormat, Encoding

_INT16 = np.dtype("<i2")


class _Track:
    """One channel: samples from the settled position to its end, encoded as long as they may be."""

    __slots__ = ("_encoded", "_encoding", "_pcm", "_sample_bytes", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self._pcm = bytearray()
        self._encoded = bytearray()
        self._encoding = Encoding.PCM16
        self._sample_bytes = 2

    @property
    def end(self) -> int:
        return self.start + len(self._pcm) // 2 + len(self._encoded) // self._sample_bytes

    def append(self, audio: bytes, encoding: Encoding) -> None:
        if encoding is not self._encoding:
            self._decode()
            self._encoding = encoding
            self._sample_bytes = AudioFormat(encoding, 0).sample_bytes
        self._encoded += audio
        if self._sample_bytes == 2 and len(audio) & 1:
            del self._encoded[-1]  # half a sample would turn all that follows into noise

    def pad(self, until: int) -> None:
        """Continue in silence to `until`, if the track is not there yet."""
        if (samples := until - self.end) > 0:
            self._decode()
            self._pcm += bytes(2 * samples)

    def take(self, until: int) -> bytearray:
        """Remove and return the samples before `until`; the track reaches that far."""
        self._decode()
        size = 2 * (until - self.start)
        taken = self._pcm[:size]
        del self._pcm[:size]
        self.start = until
        return taken

    def _decode(self) -> None:
        if self._encoded:
            self._pcm += g711.decode(bytes(self._encoded), self._encoding)
            self._encoded.clear()


class CallRecorder:
    """The two tracks of one call, handed over as interleaved 16-bit stereo.

    Driven by audio (`caller`, `agent`), by what its owner knows to be past (`settle`) and by consent (`pause`,
    `resume`). Positions are samples since the call's media began. It never moves what was placed, never returns a
    sample twice, and returns both tracks equally long.
    """

    __slots__ = ("_begin", "_left", "_paused_since", "_pauses", "_right", "late", "rate")

    def __init__(self, rate: int = 8_000, *, begin: int = 0) -> None:
        """`begin`: the position the recording begins at; what was heard before it is not recorded."""
        self.rate = rate
        self._begin = begin
        self._left, self._right = _Track(begin), _Track(begin)
        self._pauses: list[tuple[int, int]] = []
        """Those over, as [start, end), that have not settled yet."""
        self._paused_since: int | None = None
        self.late = 0
        """Pieces of agent audio that came for a place already settled and stand behind it."""

    @property
    def caller_end(self) -> int:
        """The media time of the call: where the next of the caller's samples goes."""
        return self._left.end

    @property
    def agent_end(self) -> int:
        return self._right.end

    @property
    def settled(self) -> int:
        """Samples before this one were returned, or lie before the beginning."""
        return self._left.start

    @property
    def paused(self) -> bool:
        return self._paused_since is not None

    def caller(self, audio: bytes, encoding: Encoding) -> None:
        """Append what the caller said."""
        self._left.append(audio, encoding)

    def agent(self, audio: bytes, encoding: Encoding, at: int) -> None:
        """Place what the caller heard of the agent at `at`, or behind what stands there already."""
        if at < self._begin:
            audio, at = audio[(self._begin - at) * AudioFormat(encoding, 0).sample_bytes :], self._begin
            if not audio:
                return
        if at < self._right.start:
            self.late += 1
        self._right.pad(at)
        self._right.append(audio, encoding)

    def pause(self) -> None:
        """Record silence from here on."""
        if self._paused_since is None:
            self._paused_since = self._left.end

    def resume(self) -> None:
        """Record again from here on."""
        if self._paused_since is not None:
            self._pauses.append((self._paused_since, self._left.end))
            self._paused_since = None

    def settle(self, until: int) -> bytes:
        """Return both tracks up to `until`; nothing is placed before it any more.

        A track that has not come so far is silent there, so what comes for it later stands later: settle at most up
        to `caller_end` while the caller's stream lives, and behind the agent audio that may still be reported.
        """
        start = self.settled
        if until <= start:
            return b""
        self._left.pad(until)
        self._right.pad(until)
        stereo = np.empty((until - start, 2), _INT16)
        stereo[:, 0] = np.frombuffer(self._left.take(until), _INT16)
        stereo[:, 1] = np.frombuffer(self._right.take(until), _INT16)
        for begin, end in self._silences(until):
            stereo[max(0, begin - start) : max(0, end - start)] = 0
        self._pauses = [pause for pause in self._pauses if pause[1] > until]
        return stereo.tobytes()

    def finish(self) -> bytes:
        """Return the rest, as long as the longer track."""
        return self.settle(max(self.caller_end, self.agent_end))

    def _silences(self, until: int) -> list[tuple[int, int]]:
        since = self._paused_since
        return self._pauses if since is None else [*self._pauses, (since, max(since, until))]

"""Audio that is nobody's speech, in a loop: hold tone, music, the sound of typing.

It plays while nothing is said, gives way to whatever is, and goes on afterwards.
"""

from control.carrier_leg import CarrierLeg
from media import g711
from media.audio import AudioFormat
from media.resample import resample_whole

# Kept queued: more than the lead, and little to throw away when somebody speaks.
_AHEAD = 1.0
_REFILL = 0.5


class Loop:
    """One sound without end. Driven by whoever plays it (`take`); starts where it was left."""

    def __init__(self, audio: bytes, rate: int) -> None:
        """`audio`: PCM16, mono, at least one sample."""
        self._pcm = audio
        self._rate = rate
        self._at = 0

    def take(self, samples: int, fmt: AudioFormat) -> bytes:
        if self._rate != fmt.rate:
            self._pcm, self._rate, self._at = resample_whole(self._pcm, self._rate, fmt.rate), fmt.rate, 0
        # Encoded as it is taken: the whole of ten minutes would hold the loop for five frames.
        audio, end = self._pcm, self._at + 2 * samples
        taken = (audio * (end // len(audio) + 1))[self._at : end]
        self._at = end % len(audio)
        return g711.encode(taken, fmt.encoding)


def encoded(audio: bytes, rate: int, fmt: AudioFormat) -> bytes:
    """Return PCM16 as the carrier wants it."""
    return g711.encode(resample_whole(audio, rate, fmt.rate), fmt.encoding)


class Background:
    """Keeps playout fed with a loop. Driven by the bridge: what is to play (`play`), and when (`fill`, `give_way`)."""

    def __init__(self, carrier: CarrierLeg) -> None:
        self._carrier = carrier
        self._loop: Loop | None = None
        self._refill_at = 0.0
        self.active = False
        """Whether there is something to play."""
        self.playing = False
        """Whether the carrier has some of it."""

    def play(self, loop: Loop | None, now: float) -> None:
        """Play this from now on; None plays nothing."""
        if loop is self._loop:
            return
        self.give_way(now)
        self._loop = loop
        self.active = loop is not None
        self._refill_at = now

    def fill(self, now: float) -> None:
        """Queue what is missing, if nothing is being said."""
        playout = self._carrier.playout
        if self._loop is None or not self._carrier.started or playout.speaking():
            return
        self._refill_at = now + _REFILL
        self.playing = True
        missing = round((_AHEAD + _REFILL) * playout.format.rate) - (playout.written - playout.sent)
        if missing > 0:
            playout.write(None, self._loop.take(missing, playout.format))

    def give_way(self, now: float) -> None:
        """Somebody is to be heard: stop at once, at the carrier too."""
        if self.playing:
            self.playing = False
            self._carrier.cut(now)

    def next_deadline(self) -> float | None:
        return self._refill_at if self.playing else None

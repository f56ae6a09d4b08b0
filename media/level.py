"""How loud audio is, in dBFS.

0 dBFS is the power of a full-scale square wave, so a full-scale sine is -3.0; G.711's overload point, a sine of
+3.14 dBm0, is that sine, and N dBm0 are N - 6.15 dBFS. Digital silence has no level: it reads `SILENCE`.
"""

from dataclasses import dataclass
from math import log10

import numpy as np
import numpy.typing as npt

# Below one unit of one sample in ten (-90.3 dBFS is a square wave of +-1), and finite: it goes into JSON.
SILENCE = -100.0

_INT16 = np.dtype("<i2")
_FULL_SCALE_SQUARED = 32_768.0**2


def _level(energy: int, samples: int) -> float:
    return max(SILENCE, 10 * log10(energy / samples / _FULL_SCALE_SQUARED)) if energy else SILENCE


def _energy(samples: npt.NDArray[np.int16]) -> int:
    # Not a dot product: from 10,000 samples on OpenBLAS shares one out to threads, and waits for them on cores that are
    # busy with calls. The square of the lowest sample, 2^30, fits.
    return int(np.multiply(samples, samples, dtype=np.int32).sum(dtype=np.int64))


def dbfs(pcm: bytes) -> float:
    """Return the RMS level of 16-bit samples."""
    return _level(_energy(np.frombuffer(pcm, _INT16)), len(pcm) // 2)


@dataclass(frozen=True, slots=True)
class Level:
    """How loud one stretch of audio was."""

    rms_dbfs: float
    peak_dbfs: float
    samples: int
    clipped: int
    """Samples at either end of the scale: more than a handful is distortion."""


class LevelMeter:
    """Adds up the loudness of one direction of a call.

    Driven by audio (`feed`) and read by whoever wants a figure (`take`, which begins a new stretch). It never
    keeps audio. Give it blocks of 100 ms and more where cost matters: the cost is per block, hardly per sample.
    """

    __slots__ = ("_clipped", "_energy", "_peak", "_samples")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._energy, self._peak, self._samples, self._clipped = 0, 0, 0, 0

    def feed(self, pcm: bytes) -> None:
        samples = np.frombuffer(pcm, _INT16)
        if not samples.size:
            return
        self._energy += _energy(samples)
        self._samples += samples.size
        top, bottom = int(samples.max()), int(samples.min())
        self._peak = max(self._peak, top, -bottom)
        if top == 32_767 or bottom == -32_768:
            self._clipped += int(np.count_nonzero((samples == 32_767) | (samples == -32_768)))

    def take(self) -> Level:
        """Return the level since the last `take`."""
        level = Level(
            _level(self._energy, self._samples),
            _level(self._peak**2, 1),
            self._samples,
            self._clipped,
        )
        self._begin()
        return level

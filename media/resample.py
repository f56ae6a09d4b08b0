"""Changes the sample rate of a call's audio as it arrives: 8, 16, 24 and 48 kHz, any to any.

**Theory of operation.** The rates are p : q in lowest terms. Between them lies one linear-phase low-pass
filter at their common multiple; only the outputs that are wanted are computed, only from the inputs
that are not stuffed zeros (polyphase). Ten periods of p inputs and q outputs are one row of a matrix
product, so a 20 ms frame is sixteen to forty-eight rows, whatever the pair. All state is the last few
milliseconds of input, as bytes.

**Exactness.** Coefficients are multiples of 2^-20, samples are 16 bits, sums have some 200 terms: every
product and sum is exact in a double, so no order of summation can change a bit and the output depends on
the audio alone, never on how it was cut. (In single precision BLAS rounds differently by row.) Output
sample k lies at the time k / target of the input: the filter is centred, nothing is shifted.

**Measured** (`tests/media/test_resample.py`; frequencies as for 8 kHz, they scale with the slower of the two rates):
passband +-0.12 dB to 3.4 kHz; every image and alias, from 4.0 kHz on, at least 63 dB down; at most 2.25 ms withheld
(1.19 ms where the slower rate is 16 kHz, 0.75 ms at 24 kHz); up and down again, tones to 3.36 kHz keep 35 dB of
signal to error, all of it ripple. A 20 ms frame costs 8.5 us 8k -> 24k and 8.8 us 24k -> 8k on a quiet core (9.6 and
11.8 us with mu-law at the other end), up to twice that beside a busy hyperthread; single precision would save 0.7 us.
"""

from functools import cache
from math import gcd
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

RATES = (8_000, 16_000, 24_000, 48_000)

_INT16 = np.dtype("<i2")
_FLOAT64 = np.dtype(np.float64)
_LOUDEST, _QUIETEST = np.float64(32_767.0), np.float64(-32_768.0)

# The low-pass filters by how often the slower rate goes into the common one: the centre tap and those on one
# side of it, in units of 2^-20, gain = stretch. Equiripple, as `tests/media/test_resample.py` derives them: flat
# to 0.85 of the slower rate's Nyquist frequency (3.4 kHz, the telephone band's edge), stopped from that frequency
# on, 36 samples of the slower rate long (4.5 ms at 8 kHz, half of it delay; 32 would miss 60 dB, 40 would cost
# every call another quarter of a millisecond each way). A table, not a design at run time: the same bits on every
# machine, and no linear algebra on the loop of live calls.
# fmt: off
_HALF_FILTERS = {
    2: (
        955448, 660194, 91452, -200925, -86574, 98991, 78881, -49976, -69008, 20472, 57676, -1539,
        -45683, -10296, 33859, 16879, -22967, -19559, 13475, 19288, -5855, -17091, 195, 13747, 3496,
        -10015, -5453, 6485, 6071, -3493, -5508, 2693, 8914, 6394, 852, -1392,
    ),
    3: (
        955611, 816547, 471267, 91309, -155146, -197074, -86482, 53736, 117731, 78836, -11055,
        -74500, -68983, -11321, 45377, 57689, 23153, -24272, -45781, -28356, 8866, 33998, 29005,
        1889, -23091, -26604, -8743, 13629, 22347, 12383, -5958, -17178, -13450, 280, 11913, 12659,
        3453, -7132, -10658, -5384, 3348, 8301, 6233, -165, -5198, -4924, 151, 6118, 9011, 7586,
        3561, -210, -1914, -2063,
    ),
    6: (
        955769, 919766, 816641, 660257, 471220, 273595, 91153, -56214, -155291, -201113, -197094,
        -153756, -86360, -11908, 53904, 99248, 117809, 109288, 78757, 35078, -11237, -50278, -74651,
        -80722, -68992, -43609, -11187, 20780, 45550, 58469, 57773, 44723, 23095, -1812, -24412,
        -40043, -45880, -41400, -28327, -10097, 9000, 24794, 34124, 35437, 29015, 16781, 1774,
        -12580, -23235, -28147, -26653, -19513, -8650, 3341, 13799, 20579, 22471, 19404, 12380,
        3182, -6057, -13347, -17252, -17167, -13387, -6981, 493, 7356, 12182, 14085, 12870, 9027,
        3573, -2202, -7032, -9950, -10464, -8637, -5023, -519, 3859, 7200, 8884, 8693, 6831, 3840,
        465, -2520, -4481, -5039, -4135, -2014, 849, 3864, 6447, 8147, 8710, 8120, 6560, 4390, 1993,
        -220, -1952, -3037, -3439, -3245, -2638, -2989,
    ),
}
# fmt: on
_PRECISION = 2.0**20
# Periods per row of the matrix product; divides a 20 ms frame of every pair. Measured best of 1..40: fewer
# copy each input more often, more multiply by more zeros.
_BLOCK = 10
# Multiplications in one product. OpenBLAS shares one some times larger out to threads and waits for them on
# cores that are busy with calls: half a second of audio at once then took 15 ms instead of 0.2.
_SLAB = 2**17


class _Plan(NamedTuple):
    """What every resampler of one pair of rates shares."""

    taken: int
    """Input samples per period."""
    given: int
    """Output samples per period."""
    history: int
    """Input samples the first output looks back on."""
    reach: int
    """Input samples needed beyond those taken."""
    matrix: npt.NDArray[np.float64]


def _taps(stretch: int, gain: int) -> npt.NDArray[np.float64]:
    """Return the filter at `stretch` times the slower rate."""
    half = np.rint(np.array(_HALF_FILTERS[stretch]) * (gain / stretch)) / _PRECISION
    return np.concatenate((half[:0:-1], half))


@cache
def _plan(source_rate: int, target_rate: int) -> _Plan:
    common = gcd(source_rate, target_rate)
    taken, given = source_rate // common, target_rate // common
    # `given` makes up for the zeros stuffed between inputs.
    taps = _taps(max(taken, given), gain=given)
    centre = len(taps) // 2
    history = centre // given
    reach = history + ((given - 1) * taken + centre) // given + 1 - taken
    inputs = np.arange(reach + _BLOCK * taken)[:, None] - history
    tap = np.arange(_BLOCK * given) * taken - inputs * given + centre
    matrix = np.where((tap >= 0) & (tap < len(taps)), taps[np.clip(tap, 0, len(taps) - 1)], 0.0)
    return _Plan(taken, given, history, reach, matrix)


class Resampler:
    """Converts one direction of one call, chunk by chunk.

    Driven by audio alone. What comes out lags what went in by `delay`, is the same however the input was
    cut (half samples included), and after `flush` counts `round(n * target / source)` samples. It never
    mixes what lies before a `reset` or `flush` with what follows.
    """

    __slots__ = ("_given", "_held", "_matrix", "_periods", "_plan", "_reach", "_slab", "_taken", "delay")

    def __init__(self, source_rate: int, target_rate: int) -> None:
        if source_rate not in RATES or target_rate not in RATES or source_rate == target_rate:
            raise ValueError(f"cannot resample {source_rate} Hz to {target_rate} Hz")
        self._plan = plan = _plan(source_rate, target_rate)
        self._taken, self._given, self._reach, self._matrix = plan.taken, plan.given, plan.reach, plan.matrix
        self._slab = _SLAB // plan.matrix.size
        self.delay = (plan.reach - plan.history + plan.taken - 1) / source_rate
        self.reset()

    def reset(self) -> None:
        """Forget what was fed: the audio that follows begins in silence."""
        self._held = bytes(2 * self._plan.history)
        self._periods = 0

    def lead_in(self) -> None:
        """Before the first audio: have silence go first, as long as what is withheld.

        From there on whole periods come out as they go in, a 20 ms frame for a 20 ms frame, later by `delay`.
        """
        withheld = self._reach - self._plan.history
        self._held += bytes(2 * (withheld + -withheld % self._taken))

    def feed(self, pcm: bytes) -> bytes:
        """Take 16-bit samples and return those of the other rate that are now certain."""
        data = self._held + pcm
        taken = self._taken
        periods = (len(data) // 2 - self._reach) // taken
        if periods <= 0:
            self._held = data
            return b""
        self._periods += periods
        self._held = data[periods * taken * 2 :]
        rows = -(-periods // _BLOCK)
        matrix = self._matrix
        missing = (self._reach + rows * _BLOCK * taken) * 2 - len(data)
        if missing > 0:
            data += bytes(missing)
        windows = np.ndarray((rows, len(matrix)), _INT16, data, 0, (_BLOCK * taken * 2, 2))
        one = rows <= self._slab
        out: npt.NDArray[np.float64] = (
            np.dot(windows.astype(_FLOAT64), matrix) if one else self._by_slabs(windows)
        )
        np.rint(out, out)
        out.clip(_QUIETEST, _LOUDEST, out)
        return out.astype(_INT16).tobytes()[: periods * self._given * 2]

    def _by_slabs(self, windows: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
        out = np.empty((len(windows), self._matrix.shape[1]))
        for row in range(0, len(windows), self._slab):
            slab = slice(row, row + self._slab)
            np.dot(windows[slab].astype(_FLOAT64), self._matrix, out[slab])
        return out

    def flush(self) -> bytes:
        """Return the rest of the audio, as if silence followed, and begin anew."""
        plan = self._plan
        samples = self._periods * plan.taken + len(self._held) // 2 - plan.history
        missing = round(samples * plan.given / plan.taken) - self._periods * plan.given
        self._held = self._held[: len(self._held) & ~1]
        tail = self.feed(bytes(2 * (plan.reach + plan.taken)))[: 2 * missing]
        self.reset()
        return tail


def resample_whole(pcm: bytes, source_rate: int, target_rate: int) -> bytes:
    """Return all of a file's or a recording's audio at another rate (soxr HQ: its buffering costs nothing here)."""
    samples = np.frombuffer(pcm[: len(pcm) & ~1], _INT16)
    if source_rate == target_rate or not samples.size:
        return samples.tobytes()
    resampled: npt.NDArray[np.int16] = soxr.resample(samples, source_rate, target_rate, quality="HQ").astype(
        _INT16, copy=False
    )
    wanted = round(samples.size * target_rate / source_rate)
    return resampled[:wanted].tobytes().ljust(2 * wanted, b"\x00")

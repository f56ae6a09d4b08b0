"""Keys pressed, as tones in the audio: made (ITU-T Q.23) and heard (ITU-T Q.24).

**Theory of operation of the detector.** Every 5 ms a window of 13 ms is correlated with the eight frequencies,
all windows of a chunk in one matrix product (Goertzel's filter, written as what it computes). A window
*hits* when one low and one high tone hold most of its energy, loud enough and in balance. Five hits in a row
with one digit are a key, if their frequencies are right too: the phase advances from window to window by
2 pi f x 5 ms, which tells f to a fraction of a per cent where the window alone could not (its resolution is
77 Hz, 11 % of 697 Hz). Five misses in a row release the key. So 40 ms of tone always suffice and 23 ms never
do, a break of 10 ms does not make two keys of one and a pause of 40 ms does.

**Measured** (`tests/media/test_dtmf.py`, through mu-law, all sixteen keys): all heard from 30 ms on, none at 23 ms;
at -9.5 to -31 dBFS a tone; with the high tone 4 dB above to 8 dB below the low one and 1.5 % out of tune; 15 dB above
white noise; none when 3 % out of tune. No key in the 25 minutes of speech of Asterisk's English prompts. A 20 ms
frame of speech costs 23 us on a quiet core: listen only where keys come in the audio.
"""

from dataclasses import dataclass
from math import pi

import numpy as np
import numpy.typing as npt

LOW = (697, 770, 852, 941)
HIGH = (1_209, 1_336, 1_477, 1_633)
DIGITS = "123A456B789C*0#D"

_HOP = 0.005
_WINDOW = 0.013
_HITS = 5
"""A tone of 23 ms fills at most four windows enough to hit, one of 40 ms at least five (Q.24: AT&T, 23 and 40 ms)."""
# What the two tones must hold of a window's energy. A window a third out of the tone has 2/3 of it; a tone 1.5 %
# off at 1633 Hz seems to have 0.71 of its power, noise 15 dB below the tones takes 0.03.
_PURITY = 0.65
# Q.24, AT&T: the high tone may be 4 dB above the low one or 8 dB below it. The rest is the window's own error:
# a high tone 1.5 % off seems 1.5 dB weaker than it is.
_TWIST = 10 ** (6 / 10)
_REVERSE_TWIST = 10 ** (10.5 / 10)
# Each tone, in dBFS: the faintest that AT&T's row of Q.24 asks for, -25 dBm0, is -31.2 dBFS.
_FAINTEST = -37.0
# Between what must be taken (1.5 %) and what must not (3.5 %).
_DETUNING = 0.025

_INT16 = np.dtype("<i2")
_FULL_SCALE = 32_768.0


@dataclass(frozen=True, slots=True)
class Digit:
    """A key was pressed."""

    digit: str
    at_sample: int
    """Where its tone began, to some 5 ms."""


def tone(digit: str, duration: float, rate: int = 8_000, level_dbfs: float = -10.0) -> bytes:
    """Return the two tones of a key, equally strong, together at `level_dbfs` (their peaks are 6 dB higher)."""
    index = DIGITS.find(digit.upper()) if len(digit) == 1 else -1
    if index < 0:
        raise ValueError(f"not a key: {digit!r}")
    if level_dbfs > -6.1:
        raise ValueError(f"two tones at {level_dbfs} dBFS would clip")
    time = np.arange(round(duration * rate)) / rate
    amplitude = (_FULL_SCALE - 1) * 10 ** (level_dbfs / 20)
    low, high = LOW[index // 4], HIGH[index % 4]
    signal = amplitude * (np.sin(2 * pi * low * time) + np.sin(2 * pi * high * time))
    return np.rint(signal).astype(_INT16).tobytes()


def tones(
    digits: str, on: float = 0.1, off: float = 0.1, *, rate: int = 8_000, level_dbfs: float = -10.0
) -> bytes:
    """Return keys pressed one after the other, each followed by a pause."""
    pause = bytes(2 * round(off * rate))
    return b"".join(tone(digit, on, rate, level_dbfs) + pause for digit in digits)


class DtmfDetector:
    """Hears the keys pressed in one direction of a call.

    Driven by audio alone, cut anywhere between samples. It reports a key once, as soon as it is sure, and
    never a key that is merely held on.
    """

    def __init__(self, rate: int = 8_000) -> None:
        self._rate = rate
        self._hop, self._window = round(rate * _HOP), round(rate * _WINDOW)
        angles = 2 * pi * np.outer(np.arange(self._window) / rate, LOW + HIGH)
        self._basis = np.concatenate((np.cos(angles), -np.sin(angles)), axis=1).astype(np.float32)
        faintest = self._window / 2 * _FULL_SCALE * np.sqrt(2) * 10 ** (_FAINTEST / 20)
        self._faintest = faintest**2
        self._held = b""
        self._position = 0
        """Of the first sample held."""
        self._down = -1
        """The key reported and not released yet."""
        self._misses = 0
        self._candidate = -1
        self._since = 0
        self._spectra: list[npt.NDArray[np.complex64]] = []

    def feed(self, pcm: bytes) -> list[Digit]:
        data = self._held + pcm
        hops = (len(data) // 2 - self._window) // self._hop + 1
        if hops <= 0:
            self._held = data
            return []
        parts, hit = self._analyse(data, hops)
        start, self._position = self._position, self._position + hops * self._hop
        self._held = data[hops * self._hop * 2 :]
        if self._candidate < 0 and self._down < 0 and not hit.any():
            return []
        spectra = parts[:, :8] + 1j * parts[:, 8:]
        power = np.abs(spectra)
        keys = np.where(hit, power[:, :4].argmax(axis=1) * 4 + power[:, 4:].argmax(axis=1), -1).tolist()
        heard = (self._observe(key, spectra[i], start + i * self._hop) for i, key in enumerate(keys))
        return [digit for digit in heard if digit is not None]

    def _analyse(self, data: bytes, hops: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return each window's correlations with the eight cosines and sines, and whether it hits."""
        raw = np.ndarray((hops, self._window), _INT16, data, 0, (self._hop * 2, 2))
        windows = raw.astype(np.float32)
        parts: npt.NDArray[np.float32] = np.dot(windows, self._basis)
        power = parts * parts
        power = power[:, :8] + power[:, 8:]
        low, high = power[:, :4].max(axis=1), power[:, 4:].max(axis=1)
        energy = np.einsum("ij,ij->i", windows, windows)
        hit = (low + high) * (2 / self._window) > _PURITY * energy
        if hit.any():
            hit &= np.minimum(low, high) > self._faintest
            hit &= (high < low * _TWIST) & (low < high * _REVERSE_TWIST)
        return parts, hit

    def _observe(self, label: int, spectrum: npt.NDArray[np.complex64], at: int) -> Digit | None:
        if label != self._down:
            self._misses += 1
            if self._misses >= _HITS:
                self._down = -1
        else:
            self._misses = 0
        if label != self._candidate:
            self._candidate, self._since = label, at
            self._spectra = []
        if label < 0 or label == self._down:
            return None
        self._spectra = [*self._spectra[1 - _HITS :], spectrum]
        if len(self._spectra) < _HITS or not self._in_tune(label):
            return None
        self._down, self._misses = label, 0
        return Digit(DIGITS[label], self._since)

    def _in_tune(self, label: int) -> bool:
        """Say whether both tones turn from window to window as fast as their frequencies should."""
        run = np.array(self._spectra)
        for bin_, frequency in ((label // 4, LOW[label // 4]), (4 + label % 4, HIGH[label % 4])):
            turns = np.vdot(run[:-1, bin_], run[1:, bin_])
            expected = np.exp(-2j * pi * frequency * self._hop / self._rate)
            detuning = np.angle(turns * expected) / (2 * pi * self._hop / self._rate)
            if abs(detuning) > _DETUNING * frequency:
                return False
        return True

"""The log-mel spectrogram that Whisper listens to, in numpy.

As in the Whisper paper (Radford et al. 2022, section 2.2) and its reference code: 16 kHz, windows of 25 ms
every 10 ms, 80 bands on Slaney's mel scale, log10 with 8 decades of range.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
# What a 16-bit sample is divided by.
FULL_SCALE = np.float32(32768)
WINDOW = 400
HOP = 160
BANDS = 80

# Slaney's scale (Auditory Toolbox): linear below 1 kHz, 27 steps per factor of 6.4 above.
_LINEAR_STEP = 200 / 3
_BREAK = 1000.0
_LOG_STEP = np.log(6.4) / 27


def log_mel(samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Return `BANDS` x `frames` of audio in -1..1, padded with silence or cut to that many hops."""
    padded = np.zeros(frames * HOP, np.float32)
    kept = min(len(samples), len(padded))
    padded[:kept] = samples[:kept]
    around = np.pad(padded, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(around, WINDOW)[::HOP][:frames]
    # Periodic, as torch.hann_window makes it.
    hann = np.hanning(WINDOW + 1)[:-1]
    power = np.abs(np.fft.rfft(windows * hann)) ** 2
    mel = np.log10(np.maximum(_filters() @ power.T, 1e-10))
    ranged: NDArray[np.float32] = ((np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0).astype(np.float32)
    return ranged


def samples_of(pcm: bytes) -> NDArray[np.float32]:
    """Return PCM16 as samples in -1..1."""
    samples: NDArray[np.float32] = np.frombuffer(pcm, "<i2").astype(np.float32)
    samples /= FULL_SCALE
    return samples


@cache
def _filters() -> NDArray[np.float64]:
    """Return triangles of equal area, one per band."""
    top = _to_mel(np.array(RATE / 2))
    edges = _to_hertz(np.linspace(0.0, float(top), BANDS + 2))
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None])


def _to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK / _LINEAR_STEP + np.log(np.maximum(hertz, _BREAK) / _BREAK) / _LOG_STEP
    return np.where(hertz < _BREAK, hertz / _LINEAR_STEP, above)


def _to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    start = _BREAK / _LINEAR_STEP
    return np.where(mel < start, mel * _LINEAR_STEP, _BREAK * np.exp(_LOG_STEP * (mel - start)))

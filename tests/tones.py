"""Who hears whom, told by tones: every party speaks at a frequency of its own."""

import numpy as np
import numpy.typing as npt

RATE = 8_000

Samples = npt.NDArray[np.float64]


def samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def level(track: Samples, frequency: float) -> float:
    """Return the amplitude of one frequency in a stretch of samples (a Goertzel bin, by its definition)."""
    if not track.size:
        return 0.0
    time = np.arange(track.size) / RATE
    return float(2 * abs(np.dot(track, np.exp(-2j * np.pi * frequency * time))) / track.size)


def stretches(track: Samples, frequency: float, loud: float = 500) -> list[tuple[float, float]]:
    """Return where a tone sounds on a track: (from, to) in seconds, in steps of 20 ms."""
    step = RATE // 50
    heard = [level(track[at : at + step], frequency) > loud for at in range(0, track.size - step, step)]
    edges = np.flatnonzero(np.diff([0, *heard, 0]))
    return [(start / 50, end / 50) for start, end in zip(edges[::2], edges[1::2], strict=True)]

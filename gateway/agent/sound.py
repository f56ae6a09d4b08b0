"""Audio for scripted replies: WAV files, tones, and a stand-in for speech."""

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media.realtime.server_behaviour import Sound

RATE = 24_000
# Long enough that no tone begins or ends in a click.
FADE = 0.005
# Speech at an easy telephone pace (about 15 characters a second).
SECONDS_PER_CHARACTER = 0.065
STAND_IN_FREQUENCIES = (220.0, 440.0)
STAND_IN_LEVEL = -20.0


def read_sound(path: Path) -> Sound:
    """Read a WAV file of 16-bit PCM, its channels mixed to one, at its own rate.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a file.
    """
    try:
        with wave.open(str(path), "rb") as recording:
            channels, width, rate, *_ = recording.getparams()
            frames = recording.readframes(recording.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(
            f"{path.name} is not a WAV file of PCM: {str(error) or 'it ends too early'}"
        ) from error
    if width != 2:
        raise ValueError(f"{path.name} has {8 * width}-bit samples: 16-bit PCM is wanted")
    frames = frames[: len(frames) - len(frames) % (2 * channels)]
    if channels > 1:
        frames = np.frombuffer(frames, "<i2").reshape(-1, channels).mean(axis=1).astype("<i2").tobytes()
    return Sound(frames, rate)


def tone(frequencies: Sequence[float], seconds: float, level: float) -> Sound:
    """Return sines of equal strength; `level` is the peak of their sum in dBFS."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave: NDArray[np.float64] = np.zeros_like(time)
    for frequency in frequencies:
        wave += np.sin(2 * np.pi * frequency * time)
    peak = 32767 * 10 ** (level / 20) / max(1, len(frequencies))
    edge = np.minimum(np.arange(len(time)), np.arange(len(time))[::-1]) / (FADE * RATE)
    return Sound((wave * peak * np.minimum(1.0, edge)).astype("<i2").tobytes(), RATE)


def silence(seconds: float) -> Sound:
    return Sound(bytes(2 * round(seconds * RATE)), RATE)


def stand_in(text: str) -> Sound:
    """Return a tone as long as speaking `text` would take: for scripts that name no audio."""
    return tone(STAND_IN_FREQUENCIES, max(0.2, len(text) * SECONDS_PER_CHARACTER), STAND_IN_LEVEL)

"""The tone a caller on hold hears: two soft beeps, then a pause, so that nobody takes the line for dead."""

from math import pi

import numpy as np

# The call progress frequency of most of the world (ITU-T E.180); short and far apart, it is no busy tone (0.5 s on,
# 0.5 s off) and no ringing (1 s on, 4 s off).
FREQUENCY = 425
BEEP, GAP, PERIOD = 0.2, 0.2, 4.0
# Well below speech (-15 to -20 dBFS): it is heard for minutes.
LEVEL_DBFS = -26.0
# Rise and fall of a beep, in seconds: without it every beep clicks.
_RAMP = 0.01

_FULL_SCALE = 32_767


def hold_tone(rate: int = 8_000) -> bytes:
    """Return one period, to be played in a loop: PCM16."""
    time = np.arange(round(BEEP * rate)) / rate
    # A sine's level is that of its RMS: 3 dB below its peak.
    amplitude = _FULL_SCALE * 10 ** (LEVEL_DBFS / 20) * np.sqrt(2)
    edges = np.clip(np.minimum(time, BEEP - time) / _RAMP, 0, 1)
    beep = amplitude * edges * np.sin(2 * pi * FREQUENCY * time)
    gap = np.zeros(round(GAP * rate))
    pair = np.concatenate((beep, gap, beep))
    period = np.concatenate((pair, np.zeros(round(PERIOD * rate) - len(pair))))
    return bytes(np.rint(period).astype("<i2").tobytes())

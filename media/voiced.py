"""How much somebody has really said: the voiced time in a run of audio.

A model's voice detection reports that speech began, and that it ended only after half a second of silence: a cough
and a sentence look the same until then. This counts what is voiced in between, so that a noise can be told in time.
"""

import webrtcvad

from media import g711
from media.audio import PTIME, Encoding


class VoicedTime:
    """Driven by the caller's frames while a barge-in is in question (about 4 us each); never decides anything."""

    def __init__(self, aggressiveness: int = 2) -> None:
        self._detector = webrtcvad.Vad(aggressiveness)
        self.seconds = 0.0

    def reset(self) -> None:
        self.seconds = 0.0

    def feed(self, frame: bytes, encoding: Encoding) -> None:
        """Count one G.711 frame of 20 ms; frames of another length are not judged."""
        if len(frame) == 160 and self._detector.is_speech(g711.decode(frame, encoding), 8_000):
            self.seconds += PTIME

"""Tells when somebody speaks, locally: WebRTC's voice activity detector with an onset and a hangover.

The detector judges frames of 20 ms (about 3 us each at 8 kHz). One voiced frame is a click, one unvoiced frame the
gap inside a "t": speech is *on* after `onset` of voiced frames in a row, and began where they began; it is *off*
after `hangover` of unvoiced ones, and ended where the voice did. Positions therefore lie in the past when they are
reported, by `onset` and `hangover`.
"""

from dataclasses import dataclass

import webrtcvad

from media.audio import PTIME

# What webrtcvad takes and carriers or models send.
RATES = (8_000, 16_000, 32_000, 48_000)


@dataclass(frozen=True, slots=True)
class SpeechOn:
    """Somebody began to speak."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class SpeechOff:
    """Somebody stopped speaking."""

    at_sample: int


class VoiceActivity:
    """Follows the speech in one direction of a call.

    Driven by audio alone, cut anywhere; time is the position in it. `SpeechOn` and `SpeechOff` always alternate,
    beginning with `SpeechOn`.
    """

    def __init__(
        self, rate: int = 8_000, aggressiveness: int = 2, onset: float = 0.08, hangover: float = 0.5
    ) -> None:
        if rate not in RATES:
            raise ValueError(f"no voice activity detection at {rate} Hz")
        if aggressiveness not in range(4):
            raise ValueError(f"aggressiveness is 0 (takes most for speech) to 3, not {aggressiveness}")
        self._rate = rate
        self._detector = webrtcvad.Vad(aggressiveness)
        self._samples = round(rate * PTIME)
        self._onset = max(1, round(onset / PTIME))
        self._hangover = max(1, round(hangover / PTIME))
        self._held = b""
        self._position = 0
        """Of the first sample not judged yet."""
        self._run = 0
        """Frames in a row that speak against the present state."""
        self.speaking = False

    def feed(self, pcm: bytes) -> list[SpeechOn | SpeechOff]:
        """Take 16-bit samples; return what became certain, in order."""
        data = self._held + pcm
        size = 2 * self._samples
        events: list[SpeechOn | SpeechOff] = []
        for start in range(0, len(data) - size + 1, size):
            voiced = self._detector.is_speech(data[start : start + size], self._rate)
            self._position += self._samples
            if voiced == self.speaking:
                self._run = 0
                continue
            self._run += 1
            if self._run == (self._hangover if self.speaking else self._onset):
                events.append(self._turn())
        self._held = data[len(data) // size * size :]
        return events

    def finish(self) -> list[SpeechOn | SpeechOff]:
        """The audio is over: return the end of the speech that was still on."""
        return [self._turn()] if self.speaking else []

    def _turn(self) -> SpeechOn | SpeechOff:
        at, self._run = self._position - self._run * self._samples, 0
        self.speaking = not self.speaking
        return SpeechOn(at) if self.speaking else SpeechOff(at)

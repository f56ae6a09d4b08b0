"""The keys the caller presses: reported by the carrier, or heard as tones in the audio."""

from collections.abc import Sequence

from media import g711
from media.audio import Encoding
from media.digits import DigitCollector, DigitEvent
from media.dtmf import DtmfDetector


class Keypad:
    """Driven by the carrier's digits, by caller audio where tones count, and by time. Never decides what keys mean."""

    def __init__(self, *, in_band: bool) -> None:
        self._collector = DigitCollector()
        self._tones = DtmfDetector() if in_band else None
        self.in_band = in_band

    def push(self, digit: str, occurred_at: str | None, sequence: int | None, now: float) -> list[DigitEvent]:
        return self._collector.push(digit, occurred_at, sequence, now)

    def hear(self, frames: Sequence[bytes], encoding: Encoding, now: float) -> list[DigitEvent]:
        """Return the keys whose tones are in caller audio."""
        if self._tones is None:
            return []
        return [
            event
            for frame in frames
            for tone in self._tones.feed(g711.decode(frame, encoding))
            for event in self._collector.push(tone.digit, None, None, now)
        ]

    def next_deadline(self) -> float | None:
        return self._collector.next_deadline()

    def poll(self, now: float) -> list[DigitEvent]:
        return self._collector.poll(now)

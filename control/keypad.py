"""The keys the caller presses: reported by the carrier, or heard as tones in the audio."""

from collections.abc import Sequence

from media import g711
from media.audio import Encoding
from media.digits import DigitCollector, DigitEvent
from media.dtmf import DtmfDetector

# A card number is typed on after its gather was given up, and the tone of its last key lasts beyond the report of it.
SECRET_TAIL = 2.0


class Keypad:
    """Driven by the carrier's digits, by caller audio where tones count, and by time. Never decides what keys mean."""

    __slots__ = ("_collector", "_secret_until", "_tones", "collecting", "in_band", "secret")

    def __init__(self, *, in_band: bool) -> None:
        self._collector = DigitCollector()
        self._tones = DtmfDetector() if in_band else None
        self.in_band = in_band
        self.collecting = False
        """Whether somebody asked for keys."""
        self.secret = False
        """Whether they must leave no trace."""
        self._secret_until: float | None = None

    # --- a gather

    def collect(self, *, secret: bool) -> None:
        """Keys are awaited from here on; those pressed before are not among them."""
        self._collector = DigitCollector()
        self.collecting = True
        if secret:
            self.secret = True
            self._secret_until = None

    def stop(self, now: float) -> None:
        """No more keys are awaited. Secret ones stay so for a moment: the caller may still be pressing them."""
        self._collector = DigitCollector()
        self.collecting = False
        if self.secret:
            self._secret_until = now + SECRET_TAIL

    def secret_over(self, now: float) -> bool:
        """Whether nothing that was secret can come any more."""
        return self._secret_until is not None and self._secret_until <= now

    def uncover(self) -> None:
        """What is pressed from here on is no secret."""
        self._collector = DigitCollector()
        self._secret_until = None
        self.secret = False

    # --- keys

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
        due = [self._collector.next_deadline(), self._secret_until]
        return min((each for each in due if each is not None), default=None)

    def poll(self, now: float) -> list[DigitEvent]:
        return self._collector.poll(now)

"""Cuts any run of audio into whole frames of 20 ms and pads the last with silence.

A carrier plays whole frames; a fragment inside a stream is a click, a fragment at its end is lost.
"""

from media.audio import AudioFormat


class Framer:
    """Holds back what does not fill a frame yet, less than one frame ever.

    Driven by audio alone. It never drops or reorders a byte, and adds silence only at `flush`.
    """

    __slots__ = ("_format", "_frame", "_held")

    def __init__(self, format: AudioFormat) -> None:  # noqa: A002 - the house's word for it
        self._format = format
        self._frame = format.frame_bytes
        self._held = b""

    @property
    def pending(self) -> int:
        """Bytes held back."""
        return len(self._held)

    def feed(self, audio: bytes) -> bytes:
        """Return the whole frames now complete, as one run; b"" if none is."""
        if self._held:
            audio = self._held + audio
        tail = len(audio) % self._frame
        if not tail:
            self._held = b""
            return audio
        self._held = audio[-tail:]
        return audio[:-tail]

    def flush(self) -> bytes:
        """Return what is held back, made a whole frame by silence; b"" if nothing is."""
        samples = self._format.samples(self._held)
        audio = self._held[: samples * self._format.sample_bytes]  # half a sample is no sound
        self._held = b""
        return audio + self._format.silence(self._format.frame_samples - samples) if audio else b""

    def reset(self) -> None:
        """Drop what is held back: it will never be heard."""
        self._held = b""

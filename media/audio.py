"""Audio formats and the arithmetic between bytes, samples and seconds.

Audio is mono everywhere inside. A *sample* is one point of that one channel; a position or a length
is an `int` of samples, a time is `float` seconds. Bytes appear only where audio meets a wire or a file.
"""

from dataclasses import dataclass
from enum import StrEnum

# Every carrier frames its audio so; RFC 3551 section 4.2 gives 20 ms as the default packetisation.
PTIME = 0.020


class Encoding(StrEnum):
    """How one sample is written; the values are the carriers' names (Telnyx `stream_codec`)."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    PCM16 = "L16"


_SAMPLE_BYTES = {Encoding.PCMU: 1, Encoding.PCMA: 1, Encoding.PCM16: 2}
# The code word of zero amplitude (G.711: mu-law 0xFF is +0, A-law 0xD5 is the smallest positive step).
_SILENCE = {Encoding.PCMU: b"\xff", Encoding.PCMA: b"\xd5", Encoding.PCM16: b"\x00\x00"}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An encoding at a sample rate (hertz); PCM16 is little-endian."""

    encoding: Encoding
    rate: int

    @property
    def sample_bytes(self) -> int:
        return _SAMPLE_BYTES[self.encoding]

    @property
    def frame_samples(self) -> int:
        """Samples in one frame of `PTIME`."""
        return int(self.rate * PTIME)

    @property
    def frame_bytes(self) -> int:
        return self.frame_samples * self.sample_bytes

    def samples(self, audio: bytes | bytearray | memoryview) -> int:
        """Return how many whole samples `audio` holds."""
        return len(audio) // self.sample_bytes

    def duration(self, audio: bytes | bytearray | memoryview) -> float:
        """Return the length of `audio` in seconds."""
        return self.samples(audio) / self.rate

    def silence(self, samples: int) -> bytes:
        return _SILENCE[self.encoding] * samples

    def __str__(self) -> str:
        return f"{self.encoding}/{self.rate}"


PCMU_8K = AudioFormat(Encoding.PCMU, 8_000)
PCMA_8K = AudioFormat(Encoding.PCMA, 8_000)
PCM16_8K = AudioFormat(Encoding.PCM16, 8_000)
PCM16_16K = AudioFormat(Encoding.PCM16, 16_000)
PCM16_24K = AudioFormat(Encoding.PCM16, 24_000)
PCM16_48K = AudioFormat(Encoding.PCM16, 48_000)

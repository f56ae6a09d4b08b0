"""Audio formats: the arithmetic between bytes, samples and seconds, and the code words of silence."""

import pytest

from media import g711
from media.audio import PCM16_8K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, Encoding


@pytest.mark.parametrize(
    ("fmt", "sample", "frame"),
    [(PCMU_8K, 1, 160), (PCMA_8K, 1, 160), (PCM16_8K, 2, 320), (PCM16_24K, 2, 960)],
)
def test_a_frame_is_20_ms(fmt: AudioFormat, sample: int, frame: int) -> None:
    assert (fmt.sample_bytes, fmt.frame_bytes) == (sample, frame)
    assert fmt.duration(bytes(frame)) == pytest.approx(0.020)
    assert fmt.samples(bytes(frame + sample - 1)) == frame // sample


@pytest.mark.parametrize("encoding", [Encoding.PCMU, Encoding.PCMA])
def test_silence_is_heard_as_silence(encoding: Encoding) -> None:
    """ITU-T G.711: mu-law's 0xFF is zero, A-law has no zero and 0xD5 is its smallest step."""
    silent = g711.decode(AudioFormat(encoding, 8_000).silence(1), encoding)
    assert abs(int.from_bytes(silent, "little", signed=True)) <= 8


def test_a_format_names_itself_as_carriers_do() -> None:
    assert [str(fmt) for fmt in (PCMU_8K, PCMA_8K, PCM16_24K)] == ["PCMU/8000", "PCMA/8000", "L16/24000"]

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import PCM16_8K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat
from media.framer import Framer

FORMATS = [PCMU_8K, PCMA_8K, PCM16_8K, PCM16_24K]


@given(audio_format=st.sampled_from(FORMATS), chunks=st.lists(st.binary(max_size=1_200), max_size=12))
def test_every_byte_leaves_in_order_and_only_in_whole_frames(
    audio_format: AudioFormat, chunks: list[bytes]
) -> None:
    framer = Framer(audio_format)
    out = b""
    for chunk in chunks:
        frames = framer.feed(chunk)
        assert len(frames) % audio_format.frame_bytes == 0
        out += frames
        assert framer.pending < audio_format.frame_bytes
    audio = b"".join(chunks)
    assert out + audio[len(out) :] == audio
    assert framer.pending == len(audio) - len(out)

    out += framer.flush()
    whole = len(audio) // audio_format.sample_bytes * audio_format.sample_bytes
    assert len(out) == -(-whole // audio_format.frame_bytes) * audio_format.frame_bytes
    assert out == audio[:whole] + audio_format.silence((len(out) - whole) // audio_format.sample_bytes)
    assert framer.flush() == b""


@given(audio_format=st.sampled_from(FORMATS), frames=st.integers(0, 5))
def test_whole_frames_pass_uncopied(audio_format: AudioFormat, frames: int) -> None:
    audio = bytes(frames * audio_format.frame_bytes)
    assert Framer(audio_format).feed(audio) is audio


@pytest.mark.parametrize("audio_format", FORMATS, ids=str)
def test_after_a_reset_the_fragment_is_never_heard(audio_format: AudioFormat) -> None:
    framer = Framer(audio_format)
    framer.feed(b"\x01" * 7)
    framer.reset()
    assert framer.pending == 0
    assert framer.flush() == b""


def test_the_last_frame_is_padded_with_silence() -> None:
    framer = Framer(PCMU_8K)
    framer.feed(b"\x10\x20")
    assert framer.flush() == b"\x10\x20" + b"\xff" * 158


def test_half_a_sample_at_the_end_is_no_sound() -> None:
    framer = Framer(PCM16_8K)
    framer.feed(b"\x10\x20\x30")
    assert framer.flush() == b"\x10\x20" + bytes(318)
    framer.feed(b"\x30")
    assert framer.flush() == b""

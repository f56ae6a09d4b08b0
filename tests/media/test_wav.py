import io
import shutil
import struct
import subprocess
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.audio import Encoding
from media.wav import UNKNOWN, BadWav, WavHeader, content_length, disagreement, read, repair, stretch

STEREO = WavHeader(8_000, 2)
HEADERS = [
    STEREO,
    WavHeader(24_000, 1),
    WavHeader(8_000, 1, Encoding.PCMU),
    WavHeader(8_000, 2, Encoding.PCMA),
]
headers = st.builds(
    WavHeader,
    st.sampled_from([8_000, 16_000, 24_000, 48_000]),
    st.integers(1, 2),
    st.sampled_from(list(Encoding)),
)


def audio(length: int) -> bytes:
    return bytes(index % 251 for index in range(length))


def stdlib_reads(content: bytes) -> bytes:
    with wave.open(io.BytesIO(content)) as file:
        samples: bytes = file.readframes(file.getnframes())
        assert len(samples) == file.getnframes() * file.getnchannels() * file.getsampwidth()
        return samples


def test_the_header_is_the_one_everybody_knows() -> None:
    ours = STEREO.bytes(4_000) + audio(4_000)
    theirs = io.BytesIO()
    with wave.open(theirs, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(audio(4_000))
    assert ours == theirs.getvalue()


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_sox_reads_every_encoding_finished_and_unfinished(header: WavHeader, tmp_path: Path) -> None:
    if (sox := shutil.which("sox")) is None:
        pytest.skip("sox is not installed: it is an independent reader of WAVE files")
    samples = audio(1_600 * header.block_bytes)
    for name, length in (("finished", len(samples)), ("unfinished", None)):
        path = tmp_path / f"{name}.wav"
        path.write_bytes(header.bytes(length) + samples)
        command = [sox, str(path), "-t", "raw", "-e", "signed", "-b", "16", "-"]
        assert len(subprocess.run(command, capture_output=True, check=True).stdout) == 3_200 * header.channels


def test_the_standard_library_opens_a_file_that_is_still_growing() -> None:
    with wave.open(io.BytesIO(STEREO.bytes() + audio(4_000))) as file:
        assert file.getparams()[:3] == (2, 2, 8_000)
        assert file.readframes(10_000) == audio(4_000)


@pytest.mark.parametrize("length", [None, 0, 1_000])
def test_a_file_cut_anywhere_behind_its_format_is_repaired(length: int | None) -> None:
    """Killed before the lengths were put in, after they were put in early, or with the header half written."""
    whole = STEREO.bytes(length) + audio(2_000)
    for cut in range(36, len(whole) + 1):
        file = io.BytesIO(whole[:cut])
        kept = repair(file)
        assert kept == max(0, cut - 44) // 4 * 4
        assert stdlib_reads(file.getvalue()) == audio(kept)
        assert len(file.getvalue()) == 44 + kept
        once = file.getvalue()
        assert repair(file) == kept
        assert file.getvalue() == once


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_a_file_cut_inside_its_header_is_repaired_by_whoever_knows_what_it_was(header: WavHeader) -> None:
    whole = header.bytes()
    for cut in range(len(whole)):
        file = io.BytesIO(whole[:cut])
        assert repair(file, header) == 0
        assert file.getvalue() == header.bytes(0)


def test_a_file_cut_before_its_format_says_so() -> None:
    for cut in range(36):
        file = io.BytesIO(STEREO.bytes()[:cut])
        with pytest.raises(BadWav):
            repair(file)
        assert file.getvalue() == STEREO.bytes()[:cut]


@given(header=headers, blocks=st.integers(0, 300), extra=st.integers(0, 3), known=st.booleans())
def test_any_file_of_ours_is_repaired_to_whole_blocks(
    header: WavHeader, blocks: int, extra: int, known: bool
) -> None:
    samples = audio(blocks * header.block_bytes + min(extra, header.block_bytes - 1))
    file = io.BytesIO(header.bytes(8 if known else None) + samples)
    kept = repair(file)
    assert kept == blocks * header.block_bytes
    assert file.getvalue() == header.bytes(kept) + samples[:kept] + bytes(kept % 2)
    assert repair(file) == kept
    assert read(file) == (header, samples[:kept])


@given(header=headers, first=st.integers(0, 200), more=st.integers(0, 200))
def test_a_file_may_grow_behind_a_repair_and_be_repaired_again(
    header: WavHeader, first: int, more: int
) -> None:
    block = header.block_bytes * 2  # even: no pad byte stands between
    file = io.BytesIO(header.bytes() + audio(first * block))
    repair(file)
    file.seek(0, io.SEEK_END)
    file.write(audio(more * block))
    assert repair(file) == (first + more) * block
    assert read(file)[1] == audio(first * block) + audio(more * block)


def test_a_repair_that_was_itself_killed_is_made_again() -> None:
    class Killed(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError

    damaged = Killed(STEREO.bytes() + audio(1_003))
    with pytest.raises(OSError):  # noqa: PT011 - the one raised above
        repair(damaged)
    survivor = io.BytesIO(damaged.getvalue())
    assert repair(survivor) == 1_000
    assert stdlib_reads(survivor.getvalue()) == audio(1_000)


def test_a_sound_file_with_chunks_behind_its_samples_is_left_alone() -> None:
    note = b"LIST" + struct.pack("<I", 4) + b"INFO"
    body = STEREO.bytes(8)[8:] + audio(8) + note
    content = b"RIFF" + struct.pack("<I", len(body)) + body
    file = io.BytesIO(content)
    assert repair(file) == 8
    assert file.getvalue() == content
    assert read(file) == (STEREO, audio(8))


def test_a_damaged_file_that_is_not_ours_is_not_touched() -> None:
    note = b"LIST" + struct.pack("<I", 4) + b"INFO"
    content = STEREO.bytes(8)[:36] + note + b"data" + struct.pack("<I", 8) + audio(4)
    file = io.BytesIO(content)
    with pytest.raises(BadWav, match="not ours"):
        repair(file)
    assert file.getvalue() == content
    assert read(file) == (STEREO, audio(4))


def test_a_recording_past_what_riff_can_say_reads_to_the_end_of_its_file() -> None:
    header = STEREO.bytes(5 << 30)
    assert struct.unpack("<I", header[4:8]) == struct.unpack("<I", header[40:44]) == (UNKNOWN,)


def test_an_extensible_file_is_read_as_what_it_holds() -> None:
    extension = struct.pack("<HHI", 22, 16, 3) + struct.pack("<H", 1) + bytes(14)
    form = struct.pack("<HHIIHH", 0xFFFE, 2, 8_000, 32_000, 4, 16) + extension
    content = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 8) + audio(8)
    file = io.BytesIO(b"RIFF" + struct.pack("<I", len(content)) + content)
    assert read(file) == (STEREO, audio(8))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "ends before"),
        (b"ID3\x03 not a wave at all", "RIFF"),
        (b"RIFF\x04\x00\x00\x00WAVE", "ends before"),
        (b"RIFF\x04\x00\x00\x00WAVEdata\x00\x00\x00\x00", "before their format"),
        (b"RIFF\x04\x00\x00\x00WAVEfmt \x02\x00\x00\x00\x01\x00", "cut short"),
        (b"RIFFxxxxWAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8_000, 32_000, 4, 32), "neither PCM"),
        (b"RIFFxxxxWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 8_000, 1, 8), "8 bits"),
        (b"RIFFxxxxWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 0, 8_000, 0, 0, 16), "0 channels"),
    ],
)
def test_what_we_do_not_read_says_why(content: bytes, complaint: str) -> None:
    with pytest.raises(BadWav, match=complaint):
        read(io.BytesIO(content))


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for candidate in (content, b"RIFFxxxxWAVE" + content):
        try:
            header, samples = read(io.BytesIO(candidate))
        except BadWav:
            continue
        assert len(samples) % header.block_bytes == 0


@given(headers, st.integers(0, 400), st.integers(0, 500), st.integers(0, 500))
def test_a_stretch_is_what_stands_there(header: WavHeader, blocks: int, begin: int, samples: int) -> None:
    content = audio(blocks * header.block_bytes)
    for told in (len(content), None):
        file = io.BytesIO(header.bytes(told) + content)
        block = header.block_bytes
        assert stretch(file, begin, samples) == content[begin * block : (begin + samples) * block]


def test_a_files_length_is_what_it_says_and_has() -> None:
    content = STEREO.bytes(400) + audio(400)
    assert content_length(io.BytesIO(content)) == (STEREO, 400)
    assert content_length(io.BytesIO(content[:-100])) == (STEREO, 300)
    assert content_length(io.BytesIO(STEREO.bytes(None) + audio(120))) == (STEREO, 120)


def test_a_header_that_contradicts_its_file_is_told() -> None:
    sound = STEREO.bytes(400)
    assert disagreement(sound + audio(20), 444) is None
    assert disagreement(sound, 443) == "its header promises 1 bytes that are not there"
    nothing = sound[:4] + bytes(4) + sound[8:40] + bytes(4)
    assert disagreement(nothing + audio(20), 444) == "its header speaks of 8 bytes, and there are 444"
    assert disagreement(STEREO.bytes(None), 444) == "its header does not say how long it is"
    assert disagreement(b"OggS" * 20, 80) == "it does not begin as a RIFF WAVE file"

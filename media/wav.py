"""RIFF WAVE files that survive whatever kills their writer.

**Theory of operation.** A recording is written as it happens, behind a header that cannot know its length yet. Such a
header says 0xFFFFFFFF, "to the end of the file", as sox and ffmpeg write to a pipe and as every reader we know
takes it. Closing, or `repair` after a crash, puts the true lengths in: they follow from the file's own length, so the
repair needs no journal, changes a sound file in nothing, and may itself be interrupted and run again. A block
(one sample of each channel) cut in half by the crash goes.

The header is one write of 44 bytes (58 for G.711). Only a crash before that write, or in its first 36 bytes, leaves
a file that does not say what it would hold: `repair` then takes the header from its caller, or reports `BadWav`.
"""

import struct
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import BinaryIO

from media.audio import AudioFormat, Encoding

UNKNOWN = 0xFFFF_FFFF
"""The length of a chunk that is still being written; also of one past 4 GiB, which RIFF cannot say."""

# WAVE_FORMAT_PCM, _ALAW, _MULAW (RFC 2361); _EXTENSIBLE carries the same number in its sub-format.
_TAGS = {Encoding.PCM16: 1, Encoding.PCMA: 6, Encoding.PCMU: 7}
_ENCODINGS = {tag: encoding for encoding, tag in _TAGS.items()}
_EXTENSIBLE = 0xFFFE
_FORMAT = struct.Struct("<HHIIHH")
_CHUNK = struct.Struct("<4sI")


class BadWav(ValueError):
    """The file is no WAVE, or one that we do not read; the message says why."""


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What the samples of a file are."""

    rate: int
    channels: int
    encoding: Encoding = Encoding.PCM16

    @property
    def block_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return AudioFormat(self.encoding, self.rate).sample_bytes * self.channels

    def _format(self) -> bytes:
        block = self.block_bytes
        sample_bits = block // self.channels * 8
        body = _FORMAT.pack(
            _TAGS[self.encoding], self.channels, self.rate, self.rate * block, block, sample_bits
        )
        if self.encoding is not Encoding.PCM16:
            body += b"\x00\x00"  # WAVEFORMATEX: no extension
        return _CHUNK.pack(b"fmt ", len(body)) + body

    def bytes(self, data_length: int | None = None) -> bytes:
        """Return the header of `data_length` bytes of samples; of a file still growing if None."""
        length = UNKNOWN if data_length is None else min(data_length, UNKNOWN)
        head = b"WAVE" + self._format()
        if self.encoding is not Encoding.PCM16:  # a `fact` chunk is due for all but PCM: samples per channel
            blocks = UNKNOWN if length == UNKNOWN else length // self.block_bytes
            head += _CHUNK.pack(b"fact", 4) + struct.pack("<I", blocks)
        head += _CHUNK.pack(b"data", length)
        riff = UNKNOWN if length == UNKNOWN else min(len(head) + length + length % 2, UNKNOWN)
        return _CHUNK.pack(b"RIFF", riff) + head


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where in a file its samples are, by its own account."""

    header: WavHeader
    riff: int
    data: int
    """Position of the first sample."""
    length: int


def repair(file: BinaryIO, header: WavHeader | None = None) -> int:
    """Make the lengths in a file say what it holds; return the bytes of samples.

    `file` is open for reading and writing ("r+b"). `header` is put in where the file was cut before its first sample.
    A file whose lengths agree with its own is left alone, chunks after the samples included.
    """
    size = file.seek(0, SEEK_END)
    try:
        layout = _layout(file)
    except BadWav:
        header = header or _own_format(file)
        if header is None or size >= len(header.bytes()):
            raise
        return _write(file, header, 0, 0)
    end = layout.data + layout.length
    if layout.riff + 8 == size and end + layout.length % 2 <= size:
        return layout.length
    blocks = max(0, size - layout.data) // layout.header.block_bytes
    return _write(file, layout.header, layout.data, blocks * layout.header.block_bytes)


def _own_format(file: BinaryIO) -> WavHeader | None:
    """Return the format of a file cut between it and the samples; only our own layout is known so well."""
    file.seek(0)
    start = file.read(20)
    try:
        return _read_format(file.read(_FORMAT.size)) if start[:4] + start[8:16] == b"RIFFWAVEfmt " else None
    except BadWav:
        return None


def _write(file: BinaryIO, header: WavHeader, data: int, length: int) -> int:
    """Put the header's lengths right, samples before header: a half-done repair is done again."""
    fresh = header.bytes(length)
    if data and data != len(fresh):
        raise BadWav("its lengths are wrong, and chunks that are not ours stand before its samples")
    file.truncate(len(fresh) + length)
    file.seek(0, SEEK_END)
    if length % 2:
        file.write(b"\x00")
    file.seek(0)
    file.write(fresh)
    file.flush()
    return length


def content_length(file: BinaryIO) -> tuple[WavHeader, int]:
    """Return what a file holds and how many bytes of it, by its own account; what is not there does not count."""
    layout = _layout(file)
    there = max(0, file.seek(0, SEEK_END) - layout.data)
    return layout.header, there if layout.length == UNKNOWN else min(there, layout.length)


def stretch(file: BinaryIO, begin: int, samples: int) -> bytes:
    """Return so many samples of every channel from one on; fewer where the file ends."""
    layout = _layout(file)
    block = layout.header.block_bytes
    file.seek(layout.data + begin * block)
    left = samples * block if layout.length == UNKNOWN else layout.length - begin * block
    audio = file.read(max(0, min(samples * block, left)))
    return audio[: len(audio) // block * block]


def disagreement(head: bytes, size: int) -> str | None:
    """Return in how far the first bytes of a file do not agree with its size; None if they do.

    Args:
        head: at least the header, 64 bytes of ours.
    """
    try:
        layout = _layout(BytesIO(head))
    except BadWav as bad:
        return str(bad)
    if layout.length == UNKNOWN:
        return "its header does not say how long it is"
    if layout.data + layout.length > size:
        return f"its header promises {layout.data + layout.length - size} bytes that are not there"
    if layout.riff + 8 != size:  # what `repair` goes by
        return f"its header speaks of {layout.riff + 8} bytes, and there are {size}"
    return None


def read(file: BinaryIO) -> tuple[WavHeader, bytes]:
    """Return what a file holds: 16-bit PCM or G.711, plain or extensible; one still being written up to its end."""
    layout = _layout(file)
    file.seek(layout.data)
    audio = file.read() if layout.length == UNKNOWN else file.read(layout.length)
    return layout.header, audio[: len(audio) // layout.header.block_bytes * layout.header.block_bytes]


def _layout(file: BinaryIO) -> _Layout:
    file.seek(0)
    riff, length = _chunk(file)
    if riff != b"RIFF" or file.read(4) != b"WAVE":
        raise BadWav("it does not begin as a RIFF WAVE file")
    header: WavHeader | None = None
    while True:
        name, size = _chunk(file)
        if name == b"data":
            break
        if name == b"fmt ":
            header = _read_format(file.read(size))
            file.seek(size % 2, 1)
        else:
            file.seek(size + size % 2, 1)
    if header is None:
        raise BadWav("its samples come before their format")
    return _Layout(header, length, file.tell(), size)


def _chunk(file: BinaryIO) -> tuple[bytes, int]:
    raw = file.read(_CHUNK.size)
    if len(raw) < _CHUNK.size:
        raise BadWav("it ends before its samples begin")
    name, size = _CHUNK.unpack(raw)
    return name, size


def _read_format(body: bytes) -> WavHeader:
    if len(body) < _FORMAT.size:
        raise BadWav("its format is cut short")
    tag, channels, rate, _, block, bits = _FORMAT.unpack_from(body)
    if tag == _EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)
    encoding = _ENCODINGS.get(tag)
    if encoding is None:
        raise BadWav(f"format {tag:#06x} is neither PCM nor G.711")
    if not channels or not rate:
        raise BadWav(f"{channels} channels at {rate} Hz")
    header = WavHeader(rate, channels, encoding)
    if block != header.block_bytes:
        raise BadWav(f"{bits} bits per sample")
    return header

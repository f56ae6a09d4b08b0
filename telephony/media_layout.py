"""Plain audio without a parser: the fixed bytes of a stream's media frames, learned from one of them.

A media frame arrives 50 times a second on every call and differs from the one before only in three numbers
and the payload. A `MediaLayout` is the bytes around those four; it is taken from a frame that the typed parser
has understood, whatever its key order and spacing. A later frame in which the fixed bytes stand where they
stood, with digits and base64 between them, is the same JSON document with other values: neither digits nor
base64 can hold a quote or a backslash, so nothing a peer writes into a value can move a boundary.
"""

import re

from pybase64 import b64decode

from telephony.frames import MAX_DIGITS

# A frame above this takes the slow path, which knows the limits.
_PLAIN = 4_096
# The values of a plain frame. Whether a payload is base64 is for its decoder to say; a quote it never holds.
_NUMBER = rb"[0-9]+"
_CHUNK = rb"([0-9]{1,%d})" % MAX_DIGITS
_PAYLOAD = rb'([^"]+)'


class MediaLayout:
    """The fixed bytes of one stream's plain media frames; reads the chunk number and the audio between them.

    Made by `learn`; driven by every message of a started stream. Never guesses: what does not fit exactly is
    None, and the typed parser's to judge.
    """

    __slots__ = ("_audio", "_chunk", "_match")

    def __init__(
        self, fixed: tuple[bytes, bytes, bytes, bytes, bytes], order: tuple[int, int, int, int]
    ) -> None:
        """`order` says where sequence, chunk, timestamp and payload stand among the four values."""
        values = [_NUMBER] * 4
        values[order[1]], values[order[3]] = _CHUNK, _PAYLOAD
        head, *others = map(re.escape, fixed)
        pattern = head + b"".join(value + after for value, after in zip(values, others, strict=True))
        self._match = re.compile(pattern).fullmatch
        self._chunk, self._audio = (1, 2) if order[1] < order[3] else (2, 1)

    def scan(self, message: bytes) -> tuple[int, bytes] | None:
        """Return (chunk, audio) of a frame in this layout."""
        if len(message) > _PLAIN or (frame := self._match(message)) is None:
            return None
        try:
            return int(frame[self._chunk]), b64decode(frame[self._audio], None, True)
        except ValueError:
            return None


def learn(message: bytes, sequence_key: bytes) -> MediaLayout | None:
    """Return the layout of a media frame that the typed parser accepted; None if it is not plain.

    Plain: no backslash (so every quote delimits), and each of the four keys exactly once, with a string
    value (so each is the one that the parser read).
    """
    if b"\\" in message or len(message) > _PLAIN:
        return None
    holes: list[tuple[int, int, int]] = []
    for place, key in enumerate((sequence_key, b"chunk", b"timestamp", b"payload")):
        hole = _value_of(message, b'"' + key + b'"')
        if hole is None:
            return None
        holes.append((*hole, place))
    holes.sort()
    edges = [0, *(edge for start, stop, _ in holes for edge in (start, stop)), len(message)]
    head, first, second, third, tail = (message[edges[i] : edges[i + 1]] for i in range(0, 10, 2))
    places = [place for _, _, place in holes]
    order = (places.index(0), places.index(1), places.index(2), places.index(3))
    return MediaLayout((head, first, second, third, tail), order)


def _value_of(message: bytes, key: bytes) -> tuple[int, int] | None:
    """Return where the string value of a key begins and ends, if the key stands there once."""
    if message.count(key) != 1:
        return None
    after = message.index(key) + len(key)
    start = message.find(b'"', after) + 1
    if message[after : start - 1].strip() != b":":
        return None
    return start, message.index(b'"', start)

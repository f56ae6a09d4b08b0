"""What is taken as a whole message at once, and what needs a closer look. Real frames: test_links, test_upgrade."""

from dataclasses import dataclass
from typing import cast

import pytest
from picows import WSMsgType, WSTransport

from gateway.inlet import Inlet

NOBODY = cast(WSTransport, None)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as far as an inlet looks at it."""

    payload: bytes
    fin: int = 1

    def get_payload_as_bytes(self) -> bytes:
        return self.payload


class Ends:
    """An inlet and what came out at either end of it."""

    def __init__(self) -> None:
        self.delivered: list[bytes] = []
        self.rare: list[Frame] = []
        self.inlet = Inlet(deliver=self.delivered.append, rare=self.rare.append)


def test_an_object_in_ascii_is_delivered_as_it_came() -> None:
    ends = Ends()
    assert not ends.inlet.heard
    ends.inlet.take(NOBODY, Frame(b'{"event":"media"}'))
    assert (ends.delivered, ends.rare) == ([b'{"event":"media"}'], [])
    assert ends.inlet.heard


@pytest.mark.parametrize(
    "frame",
    [
        Frame(b""),
        Frame(b"\x03\xe8bye"),  # a close: 1000
        Frame(b"[1]"),
        Frame('{"name":"Zoë"}'.encode()),  # its UTF-8 is somebody's to check
        Frame(b'{"name":"\xff"}'),
        Frame(b'{"a":', fin=0),
    ],
    ids=repr,
)
def test_everything_else_is_looked_at_as_a_whole(frame: Frame) -> None:
    ends = Ends()
    ends.inlet.take(NOBODY, frame)
    assert (ends.delivered, ends.rare) == ([], [frame])
    assert ends.inlet.heard


def test_within_a_fragmented_message_no_frame_is_a_message() -> None:
    ends = Ends()
    ends.inlet.fragmented = WSMsgType.TEXT
    ends.inlet.take(NOBODY, Frame(b'{"b":1}'))
    assert (ends.delivered, ends.rare) == ([], [Frame(b'{"b":1}')])
    ends.inlet.fragmented = None
    ends.inlet.take(NOBODY, Frame(b'{"c":1}'))
    assert ends.delivered == [b'{"c":1}']

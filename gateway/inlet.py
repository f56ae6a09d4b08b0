"""The way of a message off one websocket: from picows to whoever listens, the plain ones at no more than they cost.

Apart from `gateway.links` for the same reason as `gateway.outlet`.
"""

from collections.abc import Callable
from typing import Any, Protocol

from picows import WSMsgType, WSTransport


class Frame(Protocol):
    """What is looked at of a picows frame.

    To picows's stub `fin` is a bool; it is a number, which compiled code minds.
    """

    @property
    def fin(self) -> int: ...

    def get_payload_as_bytes(self) -> bytes: ...


class Inlet:
    """Takes one link's frames from picows (`take`): whole messages are `deliver`'s, all else is `rare`'s.

    `fragmented` is the link's to set: the kind of the message of whose frames the last has not come. Nothing is whole
    meanwhile.
    """

    __slots__ = ("_rare", "deliver", "fragmented", "heard")

    def __init__(self, *, deliver: Callable[[bytes], None], rare: Callable[[Any], None]) -> None:
        self.deliver = deliver
        self.fragmented: WSMsgType | None = None
        self.heard = False
        """Whether anything has come since the link last looked."""
        self._rare = rare

    def take(self, transport: WSTransport, frame: Frame) -> None:
        """Take one frame, as picows's `WSListener.on_ws_frame`."""
        self.heard = True
        message = frame.get_payload_as_bytes()
        # A look at the frame's type costs more than all of this together. Every wire spoken here is JSON objects, and
        # no close code begins with a brace; a ping that does is an odd way to send a message.
        if message[:1] == b"{" and self.fragmented is None and frame.fin and message.isascii():
            self.deliver(message)
            return
        self._rare(frame)

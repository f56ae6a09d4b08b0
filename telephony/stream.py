"""One media socket of a carrier: its frames in, its state, and what we say on it.

WAITING -> CONNECTED -> STARTED -> STOPPED, as `TRANSITIONS` lists it. What is not listed is malformed: counted
and reported, never an exception; only a flood of it ends the stream. A stopped stream ignores whatever comes.
"""

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import assert_never

import msgspec
from pybase64 import b64encode

from media.audio import PCMU_8K, AudioFormat
from telephony.carrier import CarrierWire
from telephony.errors import CarrierProtocolError, UnsupportedFormat
from telephony.events import (
    CarrierFault,
    Connected,
    DigitReceived,
    Flooded,
    Malformed,
    MarkReached,
    MediaReceived,
    Started,
    Stopped,
    StreamEvent,
    Unrecognised,
)
from telephony.frames import MAX_MESSAGE, UNNUMBERED
from telephony.media_layout import learn

# No healthy carrier breaks its protocol. A frame it changed under us may come now and then, and the call goes
# on; a peer whose every frame is broken (20 ms audio: 500 in this window) is dropped after one second.
FLOOD = 50
FLOOD_WINDOW = 10.0
# Distinct names of unknown events kept, and their length: a peer must not fill our memory with names.
MAX_NAMES = 32
MAX_NAME = 64
OTHER_NAMES = "(other)"
# Frames that may teach a layout: the first one does, unless a stream's frames differ in more than their values.
LESSONS = 8

UNSUPPORTED_FORMAT = "unsupported_format"
"""Our code of the `CarrierFault` that ends a stream whose audio we cannot decode (carriers' codes are numbers)."""


class StreamState(Enum):
    """How far a media socket has come."""

    WAITING = auto()
    CONNECTED = auto()
    STARTED = auto()
    STOPPED = auto()


TRANSITIONS: Mapping[tuple[StreamState, type[StreamEvent]], StreamState] = {
    (StreamState.WAITING, Connected): StreamState.CONNECTED,
    # Carriers greet first; nothing depends on it.
    (StreamState.WAITING, Started): StreamState.STARTED,
    (StreamState.WAITING, Stopped): StreamState.STOPPED,
    (StreamState.WAITING, CarrierFault): StreamState.WAITING,
    (StreamState.WAITING, Unrecognised): StreamState.WAITING,
    (StreamState.CONNECTED, Started): StreamState.STARTED,
    (StreamState.CONNECTED, Stopped): StreamState.STOPPED,
    (StreamState.CONNECTED, CarrierFault): StreamState.CONNECTED,
    (StreamState.CONNECTED, Unrecognised): StreamState.CONNECTED,
    (StreamState.STARTED, MediaReceived): StreamState.STARTED,
    (StreamState.STARTED, DigitReceived): StreamState.STARTED,
    (StreamState.STARTED, MarkReached): StreamState.STARTED,
    (StreamState.STARTED, Stopped): StreamState.STOPPED,
    (StreamState.STARTED, CarrierFault): StreamState.STARTED,
    (StreamState.STARTED, Unrecognised): StreamState.STARTED,
}


Scan = Callable[[bytes], tuple[int, bytes] | None]
"""See `CarrierStream.scan`; the layout's own, since a call more per frame is felt."""


def _scan_nothing(message: bytes) -> None:
    """Before a layout is known, and after the end."""


class CarrierStream:
    """The media-socket state machine of one carrier stream.

    Driven by the messages of its socket: `scan` first, and what it leaves to `receive`. Never sends: `media`,
    `mark` and `clear` return the message for its owner to send. A replaced stream is a new machine.
    """

    __slots__ = (
        "_clear",
        "_lessons",
        "_malformed_at",
        "_mark",
        "_media",
        "_outbound_follows",
        "_unnumbered",
        "_wire",
        "carrier_call_id",
        "faults",
        "inbound",
        "malformed",
        "outbound",
        "scan",
        "state",
        "stream_id",
        "unrecognised",
    )

    def __init__(self, wire: CarrierWire, *, outbound: AudioFormat | None = None) -> None:
        """Wait for `wire`'s first frame; `outbound` is what the carrier was told to expect from us.

        None: the caller's own encoding where the carrier takes it, else PCMU.
        """
        if outbound is not None and (
            outbound.encoding not in wire.outbound_encodings or outbound.rate != 8_000
        ):
            raise ValueError(f"{wire.name} takes no {outbound}")
        self.state = StreamState.WAITING
        self.stream_id = ""
        self.carrier_call_id = ""
        # Until `start` says otherwise.
        self.inbound = PCMU_8K
        self.outbound = outbound or PCMU_8K
        self.malformed = 0
        self.faults = 0
        self.unrecognised: dict[str, int] = {}
        self._wire = wire
        self._outbound_follows = outbound is None
        self.scan: Scan = _scan_nothing
        """Reads (chunk, audio) of a plain inbound media frame; None: `receive` must look at it."""
        self._lessons = LESSONS
        self._unnumbered = 0
        self._malformed_at: deque[float] = deque(maxlen=FLOOD + 1)
        self._media = self._mark = (b"", b"")
        self._clear = b""

    @property
    def needs_silence_until_first_audio(self) -> bool:
        """Whether the called network hears nothing at all until we send (see `CarrierWire`)."""
        return self._wire.needs_silence_until_first_audio

    # --- In

    def receive(self, message: bytes, now: float) -> list[StreamEvent]:
        """Return what a message says, whatever it is."""
        if self.state is StreamState.STOPPED:
            return []
        if len(message) > MAX_MESSAGE:
            return self._broken(f"a message of {len(message)} bytes", now)
        try:
            event = self._wire.parse(message, self.stream_id or None)
        except UnsupportedFormat as fault:
            return self._undecodable(fault.reason, now)
        except CarrierProtocolError as fault:
            return self._broken(fault.reason, now)
        state = TRANSITIONS.get((self.state, type(event)))
        if state is None:
            return self._broken(f"{type(event).__name__} while {self.state.name}", now)
        self.state = state
        return [self._take(event, message)]

    def _take(self, event: StreamEvent, message: bytes) -> StreamEvent:
        match event:
            case MediaReceived():
                return self._take_media(event, message)
            case Started():
                self._start(event)
            case Stopped():
                self.scan = _scan_nothing
            case CarrierFault():
                self.faults += 1
            case Unrecognised():
                return self._count(event)
            case Connected() | DigitReceived() | MarkReached() | Malformed() | Flooded():
                pass
            case _:
                assert_never(event)
        return event

    def _start(self, started: Started) -> None:
        self.stream_id = started.stream_id
        self.carrier_call_id = started.carrier_call_id
        self.inbound = started.inbound
        if self._outbound_follows and started.inbound.encoding in self._wire.outbound_encodings:
            self.outbound = started.inbound
        templates = self._wire.templates(started.stream_id)
        self._media, self._mark, self._clear = templates.media, templates.mark, templates.clear
        layout = learn(self._wire.plain_media(started.stream_id), self._wire.sequence_key)
        self.scan = _scan_nothing if layout is None else layout.scan

    def _take_media(self, event: MediaReceived, message: bytes) -> MediaReceived:
        if event.chunk == UNNUMBERED:
            self._unnumbered += 1
            return MediaReceived(self._unnumbered, event.payload)
        if self._lessons > 0:
            self._lessons -= 1
            layout = learn(message, self._wire.sequence_key)
            # The proof that the layout reads what the parser read; an odd frame must not replace a good layout.
            if layout is not None and layout.scan(message) == (event.chunk, event.payload):
                self.scan = layout.scan
        return event

    def _count(self, event: Unrecognised) -> Unrecognised:
        name = event.name[:MAX_NAME]
        known = name in self.unrecognised or len(self.unrecognised) < MAX_NAMES
        kept = name if known else OTHER_NAMES
        self.unrecognised[kept] = self.unrecognised.get(kept, 0) + 1
        return Unrecognised(name)

    def _undecodable(self, reason: str, now: float) -> list[StreamEvent]:
        if self.state is StreamState.STARTED:  # a second start, whatever it announces
            return self._broken("Started while STARTED", now)
        self._stop()
        self.faults += 1
        return [CarrierFault(UNSUPPORTED_FORMAT, reason)]

    def _broken(self, reason: str, now: float) -> list[StreamEvent]:
        self.malformed += 1
        self._malformed_at.append(now)
        events: list[StreamEvent] = [Malformed(reason)]
        if len(self._malformed_at) > FLOOD and now - self._malformed_at[0] <= FLOOD_WINDOW:
            self._stop()
            events.append(Flooded(self.malformed))
        return events

    def _stop(self) -> None:
        self.state = StreamState.STOPPED
        self.scan = _scan_nothing

    # --- Out

    def media(self, audio: bytes) -> bytes:
        """Return the message that queues `audio` (in `outbound`) at the carrier."""
        head, tail = self._media
        if not head:
            raise ValueError("no media before the stream has started")
        return head + b64encode(audio) + tail

    def mark(self, name: str) -> bytes:
        """Return the message whose echo says that all audio before it was played or cleared."""
        head, tail = self._mark
        if not head:
            raise ValueError("no mark before the stream has started")
        return head + msgspec.json.encode(name) + tail

    def clear(self) -> bytes:
        """Return the message that drops what the caller has not heard; all pending marks come back."""
        if not self._clear:
            raise ValueError("no clear before the stream has started")
        return self._clear

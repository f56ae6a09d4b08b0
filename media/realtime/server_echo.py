"""Echo: every frame appended to a session comes straight back as a delta of one endless response and item.

The load profile: nothing but this is on the way of a frame, and in the common case (`scan`) a frame is not
parsed at all: its base64 text is found by position, checked, and put into a template.
"""

from collections.abc import Mapping

import pybase64

from media.realtime.server_config import SessionSettings
from media.realtime.server_conversation import Item
from media.realtime.server_floor import Floor
from media.realtime.server_response import ResponseRun
from media.realtime.server_wire import APPEND_PREFIX, APPEND_SUFFIX, Outbox
from media.transcode import Transcoder

_START, _END = len(APPEND_PREFIX), -len(APPEND_SUFFIX)


class Echo:
    """Driven by the session: `scan` for each message first, `frame` for appends it did not take."""

    def __init__(self, outbox: Outbox, settings: SessionSettings, floor: Floor) -> None:
        self._outbox = outbox
        self._settings = settings
        self._floor = floor
        self._run: ResponseRun | None = None
        self._item: Item | None = None
        self._template = b""
        self._transcoder: Transcoder | None = None
        self._open = False
        """Whether `scan` may answer: an item is open, and frames go back in the format they came in."""
        self._bytes_per_second = 1
        self._held = False
        floor.ended = self._response_ended

    def begin(self, given: Mapping[str, object]) -> None:
        """Open the endless response and its item."""
        run = self._floor.claim(given)
        message = run.open_message("", b"")
        if run.in_conversation:
            self._run, self._item, self._template = run, message.item, message.template
            self.arm(held=self._held)
        else:
            run.finish("completed")

    def arm(self, *, held: bool) -> None:
        """Take the session's formats anew; `held`: frames must wait, no hot path."""
        source, target = self._settings.input_format, self._settings.output_format
        self._held = held
        self._bytes_per_second = source.rate * source.sample_bytes
        self._transcoder = None if source == target else Transcoder(source, target)
        self._open = self._run is not None and source == target and not held

    def scan(self, message: bytes) -> bytes | None:
        """Return the delta that answers a plain append; None: it is something else."""
        if not self._open or not message.startswith(APPEND_PREFIX) or not message.endswith(APPEND_SUFFIX):
            return None
        base64_audio = message[_START:_END]
        try:
            size = len(pybase64.b64decode(base64_audio, validate=True))
        except ValueError:
            return None
        run, item = self._run, self._item
        if run is None or item is None:
            return None
        run.add_audio(item, size / self._bytes_per_second)
        return self._outbox.delta(self._template, base64_audio)

    def frame(self, audio: bytes) -> None:
        """Answer a frame off the hot path: the first, an odd spelling, or one to transcode."""
        if self._run is None:
            self.begin({})
        if self._run is None or self._item is None:
            return
        answer = audio if self._transcoder is None else self._transcoder.feed(audio)
        self._outbox.say_audio(self._template, answer)
        self._run.add_audio(self._item, self._settings.output_format.duration(answer))

    def _response_ended(self, run: ResponseRun, now: float) -> None:
        if run is self._run:
            self._run = self._item = None
            self._open = False

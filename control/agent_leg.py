"""The agent's side of a call: one realtime session, the audio formats on either side of it, and what waits for it.

A leg lives as long as its session. A call that loses its session gets another leg, told the history.
"""

from collections import deque
from collections.abc import Sequence

from control.outputs import Outputs
from media.audio import AudioFormat
from media.playout import Cut, PlayoutClock
from media.realtime.configuration import ItemCut
from media.realtime.session import RealtimeSession
from media.transcode import Transcoder

# Caller audio kept for a session that is not ready: half a second; what is older would be heard late (sheet D).
_WAITING_FRAMES = 25


class AgentLeg:
    """Driven by the bridge; writes to `outputs.agent`."""

    __slots__ = (
        "_batch",
        "_down",
        "_item",
        "_items",
        "_outputs",
        "_up",
        "_uplink_frames",
        "_waiting",
        "frames_dropped",
        "inbound",
        "paused",
        "session",
    )

    def __init__(self, session: RealtimeSession, outputs: Outputs, *, uplink_frames: int) -> None:
        self.session = session
        self._outputs = outputs
        self._uplink_frames = uplink_frames
        self._up: Transcoder | None = None
        self._down: Transcoder | None = None
        self._waiting: deque[bytes] = deque(maxlen=_WAITING_FRAMES)
        self._batch: list[bytes] = []
        self._item: str | None = None
        self._items: set[str] = set()
        self.inbound: AudioFormat | None = None
        """What the way up was built for."""
        self.paused = False
        self.frames_dropped = 0

    # --- up

    def join(self, inbound: AudioFormat, outbound: AudioFormat) -> None:
        """Session and stream are both up: build the ways between their formats, send what waited."""
        self.inbound = inbound
        self._up = Transcoder(inbound, self.session.input_format)
        self._up.lead_in()
        self._down = Transcoder(self.session.output_format, outbound)
        waiting, self._waiting = self._waiting, deque(maxlen=_WAITING_FRAMES)
        self.caller_audio(list(waiting))

    @property
    def joined(self) -> bool:
        return self._up is not None

    def caller_audio(self, frames: Sequence[bytes]) -> None:
        """Pass caller audio up; dropped and counted while the socket takes no more."""
        up = self._up
        if up is None:
            self.frames_dropped += max(0, len(self._waiting) + len(frames) - _WAITING_FRAMES)
            self._waiting.extend(frames)
            return
        if self.paused:
            self.frames_dropped += len(frames)
            return
        for frame in frames:
            audio = frame if up.passthrough else up.feed(frame)
            if self._uplink_frames == 1:
                self._outputs.agent.append(self.session.append(audio))
                continue
            self._batch.append(audio)
            if len(self._batch) >= self._uplink_frames:
                self._outputs.agent.append(self.session.append(b"".join(self._batch)))
                self._batch.clear()

    def hush(self, seconds: float) -> None:
        """The model is to hear no more: have it forget an unfinished turn, and hear that it is quiet.

        Its voice detection would hang in mid-speech otherwise: it goes by the audio it is sent, not by time.
        """
        self._waiting.clear()
        self._batch.clear()
        if self._up is None or self.paused:
            return
        self.flush()
        samples = round(seconds * self.session.input_format.rate)
        silence = self.session.input_format.silence(samples)
        self._outputs.agent += [self.session.clear_input(), self.session.append(silence)]

    # --- down

    def agent_audio(self, item: str, audio: bytes, playout: PlayoutClock) -> None:
        """Queue audio of the model for the caller, in the carrier's format."""
        down = self._down
        if down is None:
            return
        if item != self._item:
            self._finish_item(playout)
            self._item = item
            self._items.add(item)
            down.lead_in()
        playout.write(item, audio if down.passthrough else down.feed(audio))

    def audio_ended(self, item: str, playout: PlayoutClock) -> None:
        if item == self._item:
            self._finish_item(playout)

    def _finish_item(self, playout: PlayoutClock) -> None:
        if self._item is None:
            return
        if self._down is not None and not self._down.passthrough and (tail := self._down.flush()):
            playout.write(self._item, tail)
        playout.end_item(self._item)
        self._item = None

    def finish(self, playout: PlayoutClock) -> None:
        """The session is gone: what has come of its item is all there is, to the last partial frame."""
        self._finish_item(playout)

    def interrupt(self, cut: Cut, rate: int, now: float) -> list[ItemCut]:
        """Tell the model what the caller heard; return the same, item by item."""
        delay = 0.0
        if self._down is not None:
            delay = self._down.delay
            self._down.reset()
        self._item = None
        cuts = [
            ItemCut(item.item, _heard_ms(item.heard, rate, delay))
            for item in cut.items
            if item.item in self._items
        ]
        self.session.interrupt(cuts, now)
        return cuts

    def flush(self) -> None:
        """Move what the session wants to say to the socket."""
        self._outputs.agent.extend(self.session.outgoing())


def _heard_ms(samples: int, rate: int, delay: float) -> int:
    """Milliseconds of the model's own audio: what was heard, less what the resampler held back; rounded down."""
    return max(0, int((samples / rate - delay) * 1000)) if samples else 0

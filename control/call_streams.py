"""The media streams of one call, as its machine sees them: breaks of our own doing, losses, and how one comes back.

Theory of operation. A call outlives its streams. Telnyx keeps a call whose stream is gone: a new one is started by
command, at most twice in a row. Twilio runs a document at a time: it asks us when a stream has ended, and the answer
opens the next one; a command that replaces the document breaks the stream, and the next one comes with it. What is to
happen once the caller is heard again waits here for the stream.
"""

from collections.abc import Callable

from control.call_docket import Docket
from control.call_ending import CallEnding
from control.deadlines import STREAM_WAIT, Due
from control.effects import Attach, CommandDone, CommandOutcome, CommandRefused
from control.media_orders import ExpectBreak, ExpectStream, Unheard
from control.ownership import Ownership
from telephony.capabilities import Means
from telephony.client_errors import Verdict
from telephony.commands import MediaStream, StartStream, StopStream

Action = Callable[[float], None]

# How often in a row a lost stream is opened again.
_RESTARTS = 2
# A stream that has lived so long was no failed attempt.
_HEALTHY = 10.0


class CallStreams:
    """Driven by what media and carrier say of streams, and by the parts whose commands break them."""

    def __init__(self, docket: Docket, ending: CallEnding) -> None:
        self._docket = docket
        self._ending = ending
        self._up: int | None = None
        self._up_since = 0.0
        self._expecting_break = False
        self._attempts = 0
        self._stopped_first = False
        self._restarting: str | None = None
        self._waiting: list[Action] = []

    @property
    def is_up(self) -> bool:
        return self._up is not None and not self._expecting_break

    # What others wait for

    def when_touchable(self, action: Action, now: float) -> None:
        """Do it once a command may replace what the carrier runs.

        Twilio tells of the answer before it opens the media socket: an update by then overwrites the document that
        would open it (sheet F, trap 19).
        """
        if self._docket.capabilities.answers_by_document:
            self.when_up(action, now)
        else:
            action(now)

    def expect_break(self, unheard: Unheard) -> None:
        """A command that breaks the stream follows."""
        self._expecting_break = True
        self._docket.deadlines.clear(Due.STREAM)
        self._docket.order(ExpectBreak(unheard))

    def unbroken(self) -> None:
        """It did not break the stream."""
        self._expecting_break = False
        self._docket.order(ExpectStream())

    def resume(self, means: Means, action: Action, now: float) -> None:
        """What broke the stream, if it did, is over: do it as soon as the caller is heard again."""
        if means is Means.STREAM_BREAK and self._expecting_break:
            self.when_up(action, now)
        else:
            self.unbroken()
            action(now)

    def when_up(self, action: Action, now: float) -> None:
        """Do it as soon as the caller is heard."""
        if self.is_up:
            action(now)
        else:
            self._waiting.append(action)
            self._wait_for_stream(now)

    def retake(self, now: float) -> None:
        """Have the carrier open a stream, whatever it is doing."""
        call_id = self._docket.record.carrier_call_id
        if call_id is None:
            return
        stream = self.next(now)
        self._restarting = stream.url
        command = StartStream(
            command_id=self._docket.command_id(),
            carrier_call_id=call_id,
            token=self._docket.token(),
            stream=stream,
        )
        self._docket.perform(command, self._restarted)

    def next(self, now: float) -> MediaStream:
        """Return a stream for a command or a document to open; it has to come."""
        self._wait_for_stream(now)
        return self._docket.next_stream()

    def attach(self, now: float) -> Attach:
        """Return the answer that opens a stream; it has to come, unless a command under way replaces it."""
        under_way = self._expecting_break and not self._waiting
        if self._docket.ownership is Ownership.OWNED and not under_way:
            self._wait_for_stream(now)
        return Attach(self._docket.next_stream())

    def _wait_for_stream(self, now: float) -> None:
        self._docket.deadlines.set(Due.STREAM, now + STREAM_WAIT)

    # What is said of them

    def up(self, generation: int, now: float) -> None:
        """A stream said `start`."""
        self._up, self._up_since = generation, now
        self._expecting_break = False
        self._restarting = None
        self._ending.stream_failed = False
        self._docket.deadlines.clear(Due.STREAM)
        while self._waiting and self.is_up and self._ending.is_live:
            self._waiting.pop(0)(now)  # which may break the stream again: then the others wait on

    def down(self, generation: int, now: float) -> None:
        """A stream is gone; an older one that was replaced does not count."""
        if generation != self._up:
            return
        self._up = None
        if now - self._up_since > _HEALTHY:
            self._attempts, self._stopped_first = 0, False
        if self._counts and Due.STREAM not in self._docket.deadlines:
            # The carrier's own next word decides; should there be none, this does.
            self._wait_for_stream(now)

    @property
    def _counts(self) -> bool:
        """Whether a missing stream is a loss."""
        owned = self._docket.ownership is Ownership.OWNED and not self._expecting_break
        return owned and not self._ending.decided and self._docket.answered

    def failed(self, url: str | None, now: float) -> None:
        """The carrier could not open a stream, or it broke: the call stays up, in silence, until we act (trap 4)."""
        if self._up is not None:
            return
        self._ending.stream_failed = True
        if self._restarting in (None, url):
            self._restarting = None
            self.missing(now)

    def missing(self, now: float) -> None:
        """The stream is gone and nobody has replaced it."""
        if not self._counts or self._restarting is not None:
            return
        self._docket.change(ws_unavailable=True)
        if not self._ending.is_live or not self._docket.capabilities.controllable:
            self._ending.lost(now)
        elif self._docket.capabilities.restarts_stream:
            self._restart(now)
        elif Due.STREAM not in self._docket.deadlines:
            self._wait_for_stream(now)

    def overdue(self, now: float) -> None:
        """A stream that was to come has not."""
        self._restarting = None
        if self._docket.ownership is not Ownership.OWNED:
            return
        if not self._docket.answered or not self._docket.capabilities.restarts_stream:
            self._docket.change(ws_unavailable=True)
            self._ending.lost(now)
        else:
            self.missing(now)

    def may_attach(self) -> bool:
        """Whether one more stream is worth a try after those that never came up; counts it."""
        self._attempts += 1
        return self._attempts <= _RESTARTS + 1

    def _restart(self, now: float) -> None:
        if self._attempts >= _RESTARTS:
            self._ending.lost(now)
            return
        self._attempts += 1
        call_id = self._docket.record.carrier_call_id
        if self._stopped_first and call_id is not None:
            stop = StopStream(command_id=self._docket.command_id(), carrier_call_id=call_id)
            self._docket.perform(stop)
        # It may still think that it is streaming (90045): the next attempt begins with an end.
        self._stopped_first = True
        self.retake(now)

    def _restarted(self, result: CommandOutcome, now: float) -> None:
        match result:
            case CommandDone():
                pass
            case CommandRefused(verdict=Verdict.ALREADY_ENDED):
                self._ending.gone(now)
            case CommandRefused():
                if self._up is None:
                    self._docket.deadlines.clear(Due.STREAM)
                    self.overdue(now)

"""One call of a simulated Twilio: its status and callbacks, the document it plays, and the person on it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Protocol

from media.audio import PCMU_8K
from media.dtmf import tones
from telephony.caller import Caller
from telephony.outcome import StreamRecord
from telephony.simulated_exchange import FileNotPlayable, LineMaker, Prompt, Telephone, fetch_audio
from telephony.simulated_switch import SIP_STATUS, Cause, Kind, Leg, LegState, Side
from telephony.twilio.twiml_player import Dial, Document, Stream, TwimlPlayer

# Of the status of a call that has ended, by why it did.
_FINAL = {
    Cause.NORMAL: "completed",
    Cause.TIME_LIMIT: "completed",
    Cause.CANCEL: "canceled",
    Cause.TIMEOUT: "no-answer",
    Cause.BUSY: "busy",
    # Twilio has no word of its own for a refusal; the SIP code tells (E2).
    Cause.REJECTED: "busy",
    Cause.NOT_FOUND: "failed",
    Cause.UNAVAILABLE: "no-answer",
    Cause.FAILED: "failed",
}
_STREAM_CLOSED = "31921"
_STREAM_REFUSED = "31920"


class Desk(Protocol):
    """The account a call belongs to: speaks HTTP for it, and dials."""

    def callback(
        self, call: "TwilioCall", name: str, url: str, method: str, told: Mapping[str, str]
    ) -> None: ...

    async def fetch(
        self, call: "TwilioCall", url: str, method: str, told: Mapping[str, str]
    ) -> Document | None: ...

    def answer(self, call: "TwilioCall") -> None: ...
    def end(self, call: "TwilioCall", cause: Cause, by: Side) -> None: ...
    def hang_up(self, call: "TwilioCall", by: Side) -> None: ...
    def dial_from(self, call: "TwilioCall", dial: Dial) -> "TwilioCall": ...
    def alert(self, code: str, detail: str) -> None: ...


class TwilioCall:
    """A call as Twilio sees it, be it a parent or a leg that `<Dial>` made.

    Driven by REST requests that have been checked, by the switch, by its player and by the person (`LineOwner`).
    """

    def __init__(
        self,
        leg: Leg,
        *,
        account_sid: str,
        auth_token: str,
        direction: str,
        desk: Desk,
        lines: LineMaker,
        voice: Callable[[str], bytes],
        caller: Caller | None = None,
        parent: "TwilioCall | None" = None,
    ) -> None:
        self.leg = leg
        self.account_sid = account_sid
        self.direction = direction
        """`inbound`, `outbound-api` or `outbound-dial`."""
        self.parent = parent
        self.status_callback = ""
        self.status_method = "POST"
        self.status_events: Sequence[str] = ("completed",)
        self.created = datetime.now(UTC)
        self.queued = direction == "outbound-api"
        self.answered_by = ""
        self.detection_millis = 0
        self.phone: Telephone | None = None
        self.keys = ""
        """What the person has pressed so far."""
        self.stream_sid = ""
        self.done = asyncio.Event()
        self._auth_token = auth_token
        self._desk = desk
        self._lines = lines
        self._voice = voice
        self._caller = caller
        self._sequence = 0
        self._pressed: asyncio.Queue[str] = asyncio.Queue()
        self._playing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stream: Stream | None = None
        self._stream_over = asyncio.Event()
        self._child: TwilioCall | None = None
        self._child_dial: Dial | None = None

    @property
    def sid(self) -> str:
        return self.leg.leg_id

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        own = list(self._tasks)
        return own if self.phone is None else [*own, self.phone.task]

    @property
    def status(self) -> str:
        """The call resource's word."""
        match self.leg.state:
            case LegState.PLACED:
                return "queued"
            case LegState.RINGING:
                return "ringing"
            case LegState.ANSWERED:
                return "in-progress"
            case LegState.ENDED:
                return _FINAL[self.leg.cause or Cause.NORMAL]

    def parameters(self) -> dict[str, str]:
        """What every request about the call says."""
        leg = self.leg
        told = {
            "CallSid": self.sid,
            "AccountSid": self.account_sid,
            "From": leg.from_number,
            "To": leg.to_number,
            "Caller": leg.from_number,
            "Called": leg.to_number,
            "CallStatus": "initiated" if self.status == "queued" else self.status,
            "Direction": self.direction,
            "ApiVersion": "2010-04-01",
        }
        if self.parent is not None:
            told["ParentCallSid"] = self.parent.sid
        if self.answered_by:
            told |= {"AnsweredBy": self.answered_by, "MachineDetectionDuration": str(self.detection_millis)}
        return told

    # The call's own life, told by the switch

    def report(self, event: str) -> None:
        """Tell the status callback, if it wants this event: initiated, ringing, answered or completed."""
        if not self.status_callback or event not in self.status_events:
            return
        told = {
            "Timestamp": format_datetime(datetime.now(UTC)),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self._sequence),
        }
        self._sequence += 1
        if event == "completed":
            seconds = round(self.leg.duration(asyncio.get_running_loop().time()))
            told |= {
                "CallDuration": str(seconds),
                "Duration": str(-(-seconds // 60)),
                "SipResponseCode": str(SIP_STATUS[self.leg.cause or Cause.NORMAL]),
            }
        # A callback tells the state its event brought, which may be past when it is sent.
        told["CallStatus"] = {"answered": "in-progress", "completed": self.status}.get(event, event)
        self._desk.callback(self, event, self.status_callback, self.status_method, told)

    def answered(self) -> None:
        """Somebody has picked up, or we have: from here on the person hears and is heard."""
        self.phone = Telephone(
            "twilio",
            self.sid,
            self._lines,
            self._caller or Caller(self.leg.far_end.script, PCMU_8K),
            self,
            from_number=self.leg.from_number,
            to_number=self.leg.to_number,
            account_id=self.account_sid,
        )
        self.report("answered")

    def detected(self, kind: Kind, *, greeting: str = "") -> None:
        words = {Kind.HUMAN: "human", Kind.MACHINE: greeting or "machine_start", Kind.FAX: "fax"}
        self.answered_by = words.get(kind, "unknown")
        now = asyncio.get_running_loop().time()
        self.detection_millis = round((now - (self.leg.answered_at or now)) * 1_000)

    def ended(self) -> None:
        """The player hears of it by itself: Twilio asks `action` of a stream or a dial once more, then stops."""
        if self.phone is not None:
            self.phone.hang_up()
        if self._stream is not None:
            self._stream_gone("stream-stopped")
        if self._child is not None and self._child.leg.alive:
            self._desk.hang_up(self._child, Side.CARRIER)
        asks_once_more = self._stream is not None or self._child is not None
        self.done.set()
        if not asks_once_more:
            self._stop_playing()
        self.report("completed")

    # Documents

    def play(self, document: Document) -> None:
        """Play from here on; what was playing is broken off, and its stream with it."""
        self._stop_playing()
        self._interrupt()
        self._playing = self._spawn(TwimlPlayer(self).play(document))

    def _stop_playing(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            self._playing = None

    def _interrupt(self) -> None:
        if self.phone is not None:
            self.phone.stop()
            self.phone.detach()
        if self._stream is not None:
            self._stream_gone("stream-stopped")
            self._stream = None
        child, dial = self._child, self._child_dial
        if child is not None and dial is not None:
            # Seen live: the action of a broken dial is asked all the same, as if it had completed, to no effect.
            self._child = self._child_dial = None
            child_alive = child.leg.alive
            if child_alive:
                self._desk.hang_up(child, Side.CARRIER)
            if dial.action and child_alive:
                told = {**_dial_outcome(child), "DialCallStatus": "completed"}
                self._desk.callback(self, "dial-action", dial.action, dial.method, told)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # What a document does (`Stage`)

    def answer(self) -> None:
        if self.leg.answered_at is None:
            self._desk.answer(self)

    def reject(self, *, busy: bool) -> None:
        if self.leg.answered_at is None:
            self._desk.end(self, Cause.BUSY if busy else Cause.UNAVAILABLE, Side.APPLICATION)

    def hang_up(self) -> None:
        self._desk.hang_up(self, Side.APPLICATION)

    async def say(self, text: str, loops: int | None) -> None:
        await self._prompt(text, self._voice(text), loops)

    async def play_file(self, url: str, loops: int | None) -> None:
        try:
            audio = await fetch_audio(url)
        except FileNotPlayable as reason:
            self._desk.alert("12300", f"{url}: {reason}")
            return
        await self._prompt(url, audio, loops)

    async def play_digits(self, digits: str) -> None:
        audio = b"".join(
            bytes(8_000) if key == "w" else tones(key.upper(), on=0.1, off=0.1) for key in digits
        )
        await self._prompt(f"digits {digits}", audio, 1)

    def hush(self) -> None:
        if self.phone is not None:
            self.phone.stop()

    async def key(self) -> str:
        return await self._pressed.get()

    async def stream(self, stream: Stream) -> None:
        if self.phone is None:
            return
        self._stream = stream
        self._stream_over.clear()
        self.phone.attach(stream.url, parameters=stream.parameters, auth_token=self._auth_token)
        await self._stream_over.wait()
        self._stream = None

    async def dial(self, dial: Dial) -> Mapping[str, str]:
        child = self._desk.dial_from(self, dial)
        self._child, self._child_dial = child, dial
        await child.done.wait()
        self._child = self._child_dial = None
        return _dial_outcome(child)

    async def fetch(self, url: str, method: str, told: Mapping[str, str]) -> Document | None:
        return await self._desk.fetch(self, url, method, told)

    async def _prompt(self, what: str, audio: bytes, loops: int | None) -> None:
        if self.phone is None:
            return
        over = asyncio.Event()
        self.phone.play(Prompt(what=what, audio=audio, loops=loops, ended=lambda _: over.set()))
        await over.wait()

    # What the person does (`LineOwner`)

    def key_pressed(self, digit: str) -> None:
        self.keys += digit
        if self._stream is None:  # a stream has its own frames for keys
            self._pressed.put_nowait(digit)

    def stream_started(self, stream: StreamRecord) -> None:
        self.stream_sid = stream.stream_id
        self._tell_stream("stream-started")

    def stream_ended(self, stream: StreamRecord) -> None:
        if self._stream is not None and not self._stream_over.is_set():
            if stream.close_code is None:
                self._desk.alert(_STREAM_CLOSED, stream.reason)
            self._stream_gone("stream-stopped")

    def stream_refused(self, url: str, reason: str) -> None:
        self._desk.alert(_STREAM_REFUSED, f"{url}: {reason}")
        self._stream_gone("stream-error", error=f"{_STREAM_REFUSED}: {reason}")

    def put_down(self) -> None:
        self._desk.hang_up(self, Side.PARTY)

    def _stream_gone(self, event: str, *, error: str = "") -> None:
        if not self._stream_over.is_set():
            self._tell_stream(event, error)
            self._stream_over.set()

    def _tell_stream(self, event: str, error: str = "") -> None:
        stream = self._stream
        if stream is None or not stream.status_callback:
            return
        told = {
            "AccountSid": self.account_sid,
            "CallSid": self.sid,
            "StreamSid": self.stream_sid,
            "StreamName": self.stream_sid,
            "StreamEvent": event,
            "Timestamp": datetime.now(UTC).isoformat(),
        }
        if error:
            told["StreamError"] = error
        self._desk.callback(self, event, stream.status_callback, stream.status_method, told)


def _dial_outcome(child: TwilioCall) -> dict[str, str]:
    leg = child.leg
    outcome = {
        "DialCallSid": child.sid,
        "DialCallStatus": child.status,
        "DialBridged": "true" if leg.answered_at is not None else "false",
    }
    if leg.answered_at is not None:
        now = asyncio.get_running_loop().time()
        outcome["DialCallDuration"] = str(round(leg.duration(now)))
    return outcome

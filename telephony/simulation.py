"""A simulated phone call: a scripted caller on a carrier's media stream, against any gateway.

Theory of operation. `SimulatedCall.run` is one task that waits for the next deadline of its machines (the
caller, the line, both directions of the connection, the plan of what goes wrong) and lets each act in the
order of time. A machine acts at the time it was due, not at the time the task woke: a late loop makes real
messages late, never the account of what the caller heard. What a socket delivers is stamped on arrival.

Time is read from `loop.time()` alone, so a call runs on a real loop and on a virtual one.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol, runtime_checkable

from media import g711
from media.audio import AudioFormat, Encoding
from telephony.caller import Caller, CallerAction, HungUp, Note, Pressed
from telephony.impairments import Direction, Disorder, Drop, Impairments, Stall, Transit
from telephony.line import ClearRequested, Complaint, Line, MarkRequested
from telephony.link import Connector, Link, LinkRefused
from telephony.outcome import BargedIn, CallOutcome, EchoLatency, EndedBy, StreamRecord
from telephony.simulated_carrier import CarrierSide, SimulatedCarrier

# How long a peer may take to answer a close before the carrier hangs up on the socket too.
CLOSE_TIMEOUT = 2.0
# Streams of one call: a document that re-attaches for ever is cut off (Twilio's own loops are bounded too).
MAX_STREAMS = 20
# Measured on a live call: from the end of one Twilio stream to the next document's socket.
REATTACH_DELAY = 0.730
_INBOUND_CONGESTION = "31930"


@runtime_checkable
class PausableLink(Protocol):
    """A link that can leave its peer's bytes unread, so that the peer feels a stalled reader."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Exchange(Protocol):
    """The carrier's REST side, where a call has one: it alone decides which streams come and when the call ends.

    Told what happens on the line, on the loop, at the moment it happens.
    """

    def key_pressed(self, digit: str) -> None: ...
    def stream_started(self, stream: StreamRecord) -> None: ...
    def stream_ended(self, stream: StreamRecord) -> None: ...
    def stream_refused(self, url: str, reason: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class _Stream:
    """What one socket needs beyond its side of the wire."""

    side: CarrierSide
    link: Link
    url: str
    opened_at: float
    position: int
    chunk: int = 0
    first_frame: int = 0
    closing: bool = False
    """The carrier said `stop`; nothing more is played or said on it."""
    resume_at: float | None = None
    """When the next stream follows, if the carrier stopped this one to replace it."""
    closed_at: float | None = None
    close_code: int | None = None
    reason: str = ""

    def record(self) -> StreamRecord:
        return StreamRecord(
            stream_id=self.side.stream_id,
            url=self.url,
            opened_at=self.opened_at,
            position=self.position,
            closed_at=self.closed_at,
            close_code=self.close_code,
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True)
class _Close:
    """The carrier's own close, in line behind what it still had to say."""

    code: int


@dataclass(frozen=True, slots=True)
class _Tagged:
    """A media frame whose way back is timed from the moment it really leaves."""

    number: int
    message: bytes


@dataclass(frozen=True, slots=True)
class _Lost:
    """The end of a link, in line behind what it still delivered."""

    code: int | None
    reason: str


class _Ear:
    """A link's listener that stamps what arrives for the call it belongs to."""

    def __init__(self, call: "SimulatedCall") -> None:
        self._call = call

    def message_received(self, message: bytes) -> None:
        self._call._arrived(self, message)

    def pressure(self, paused: bool) -> None:
        pass  # `Link.paused` is asked before each frame

    def link_lost(self, code: int | None, reason: str) -> None:
        self._call._arrived(self, _Lost(code, reason))


@dataclass(slots=True)
class _Counts:
    sent: int = 0
    unsent: int = 0
    messages: int = 0
    media: int = 0
    lateness: float = 0.0
    tails: int = 0
    complaints: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)


# Enough to see what is wrong with a gateway; a flood is counted, not kept.
_KEPT_DETAILS = 50


class SimulatedCall:
    """One call of a scripted caller over a carrier's media stream.

    Driven by its own `run`, once. Never talks REST: a gateway that closes the socket ends the call, unless
    `next_stream` stands in for the carrier's document and names where the next stream goes.
    """

    def __init__(
        self,
        carrier: str,
        connector: Connector,
        url: str,
        caller: Caller,
        *,
        impairments: Impairments | None = None,
        parameters: Mapping[str, str] | None = None,
        from_number: str = "+13125550100",
        to_number: str = "+13125550101",
        outbound: AudioFormat | None = None,
        call_id: str | None = None,
        auth_token: str | None = None,
        headers: Mapping[str, str] | None = None,
        account_id: str | None = None,
        next_stream: Callable[[], str | None] | None = None,
        exchange: Exchange | None = None,
        reattach_delay: float = REATTACH_DELAY,
        start_delay: float = 0.0,
        limit: float = 3_600.0,
        drop_tails: bool = False,
        history: bool = True,
        epoch: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        ids: Random | None = None,
        on_note: Callable[[Note], None] | None = None,
        on_echo: Callable[[float], None] | None = None,
    ) -> None:
        """
        Args:
            outbound: what the gateway is to send, if not the caller's own format (Telnyx).
            auth_token: signs the upgrade (Twilio) or is handed over with it (Telnyx).
            next_stream: asked for a url whenever a stream ended and the caller is still there; None hangs up.
                Without it a planned reconnect goes to the same url and the gateway's close ends the call.
            exchange: has the say instead. The caller is answered as the call begins, with `url` "" before any stream;
                streams come by `attach` and go by `detach`, and between them the caller stays on the line.
            start_delay: from the upgrade to `start`, as when Telnyx connects before the answer.
            limit: the longest the call may last.
            history: keep audio, marks and playouts; without it counters only.
            epoch: the wall clock at the moment the call begins (`occurred_at` of Telnyx digits).
            ids: where identifiers come from; seeded ones make a call repeatable to the byte.
            on_note: told each line of the timeline as it is written.
            on_echo: told how long each echoed frame took, in seconds; the outcome then has no latencies.
        """
        self.caller = caller
        self.outbound = outbound or caller.format
        self._carrier = SimulatedCarrier(
            carrier,
            inbound=caller.format,
            outbound=self.outbound,
            parameters=dict(parameters or {}),
            from_number=from_number,
            to_number=to_number,
            call_id=call_id,
            account_id=account_id,
            drop_tails=drop_tails,
            ids=ids,
        )
        self.line = Line(self.outbound, capacity=self._carrier.capacity, history=history)
        self._plan = impairments or Impairments()
        self._connector = connector
        self._url = url
        self._auth_token = auth_token
        self._headers = dict(headers or {})
        self._parameters: Mapping[str, str] | None = None
        self._exchange = exchange
        self._plays = True
        self._next_stream = next_stream
        self._reattach_delay = reattach_delay
        self._start_delay = start_delay
        self._limit = limit
        self._history = history
        self._epoch = epoch

        self._inward: Transit[bytes | _Tagged | _Close] = Transit(
            self._plan.inbound_delay, self._plan.inbound_jitter, seed=self._plan.seed + 2
        )
        self._outward: Transit[tuple[float, bytes | _Lost]] = Transit(
            self._plan.outbound_delay, self._plan.outbound_jitter, seed=self._plan.seed + 3
        )
        self._disorder = Disorder(self._plan)
        self._agenda: list[tuple[float, Callable[[float], None]]] = []
        self._stream: _Stream | None = None
        self._streams: list[_Stream] = []
        self._ear: _Ear | None = None
        self._early: list[tuple[float, bytes | _Lost]] = []
        self._connecting: asyncio.Task[None] | None = None
        self._counts = _Counts()
        self._notes: list[Note] = []
        self._tag_sent: dict[int, float] = {}
        self._latencies: list[float] = []
        self._on_note = on_note
        self._on_echo = on_echo or self._latencies.append
        self._notes_told = 0
        self._machines = (self._outward, self.line, caller, self._inward)
        self._timer: asyncio.TimerHandle | None = None
        self._armed = float("inf")
        self._acting = False
        self._began_at = 0.0
        self._accepted_at: float | None = None
        self._started_at: float | None = None
        self._ended: EndedBy | None = None
        self._ending: EndedBy | None = None
        self._refusal = ""

    # The one task

    async def run(self) -> CallOutcome:
        """Place the call and follow it to its end. A refused stream is an outcome, not an error."""
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        self._at(self._began_at + self._limit, lambda now: self._hang_up(now, EndedBy.LIMIT))
        self._over = self._loop.create_future()
        if self._exchange is not None:
            self._answered(self._began_at)
        if self._url:
            self._connect(self._url)
        self._arm()
        try:
            await self._over
        finally:
            self._disarm()
            if self._connecting is not None:
                self._connecting.cancel()
            if self._stream is not None:
                self._stream.link.abort()
        return self._outcome(self._loop.time())

    def hang_up(self, by: EndedBy = EndedBy.CALLER) -> None:
        """The call ends now, whatever the script says; `run` returns soon."""
        self._act()
        if not self._over.done():
            self._hang_up(self._loop.time(), by)
            self._act()

    def attach(
        self,
        url: str,
        *,
        parameters: Mapping[str, str] | None = None,
        auth_token: str | None = None,
        plays: bool = True,
    ) -> None:
        """Open the call's next stream; only of a call with an `exchange`, while it has none.

        Without `plays` the carrier takes the gateway's audio and nobody hears it (Telnyx in a mode that is not RTP).
        """
        self._refusal, self._url, self._plays = "", url, plays
        self._parameters, self._auth_token = parameters, auth_token
        self._connect(url)

    def hush(self) -> None:
        """Silence at once, as the carrier's own prompts are cut short; pending marks of the gateway come back."""
        self._act()
        now = self._loop.time()
        if self._stream is None or self._stream.closing:
            self.line.break_off(now)
        else:
            self._return_marks(self.line.clear(now), now)
            self._act()

    def detach(self) -> None:
        """End the present stream as the carrier does: what is queued is dropped, `stop`, close."""
        self._act()
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = self._ear = None
        stream = self._stream
        if stream is not None and not stream.closing and not self._over.done():
            now = self._loop.time()
            self.line.break_off(now)
            self._say_stop(stream, now)
            self._act()

    def _act(self) -> None:
        """Let every machine do what is due, each at its own time; then wait for the next deadline."""
        if self._acting or self._over.done():
            return
        self._acting = True
        try:
            self._catch_up(self._loop.time())
        except BaseException as bug:
            # Whoever awaits the run is to have it, not the timer or socket that happened to call.
            self._over.set_exception(bug)
            return
        finally:
            self._acting = False
        if self._ended is not None:
            self._over.set_result(None)
        else:
            self._arm()

    def _arm(self) -> None:
        """Be called at the next deadline; a call that comes too early finds nothing to do."""
        deadline = self._next_deadline()
        if deadline < self._armed or self._timer is None:
            self._disarm()
            self._armed = deadline
            self._timer = self._loop.call_at(deadline, self._timer_fired)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timer_fired(self) -> None:
        self._timer = None
        self._act()

    def _next_deadline(self) -> float:
        """Return when something is due next; the limit of the call always is."""
        due = self._agenda[0][0]
        for machine in self._machines:
            deadline = machine.next_deadline()
            if deadline is not None and deadline < due:
                due = deadline
        return due

    def _catch_up(self, now: float) -> None:
        while self._ended is None and (due := self._next_deadline()) <= now:
            # What reaches the carrier at a moment counts before what the caller hears at it.
            for arrived_at, message in self._outward.pop(due):
                self._hear_gateway(arrived_at, message, due)
            self._return_marks(self.line.poll(due), due)
            actions = self.caller.poll(due)
            if self._on_note is not None:
                self._tell_notes(self._on_note)
            for action in actions:
                self._follow_caller(action, due)
            while self._agenda and self._agenda[0][0] <= due:
                self._agenda.pop(0)[1](due)
            for outgoing in self._inward.pop(due):
                self._put_on_wire(outgoing)

    def _at(self, time: float, action: Callable[[float], None]) -> None:
        self._agenda.append((time, action))
        self._agenda.sort(key=lambda entry: entry[0])

    # Streams

    def _connect(self, url: str) -> None:
        self._connecting = asyncio.create_task(self._open(url))
        self._connecting.add_done_callback(self._connected)

    async def _open(self, url: str) -> None:
        ear = _Ear(self)
        self._ear = ear
        headers = {**self._carrier.upgrade_headers(url, self._auth_token), **self._headers}
        try:
            link = await self._connector(url, ear, headers=headers)
        except LinkRefused as refusal:
            self._refusal = f"HTTP {refusal.status}"
        except (OSError, TimeoutError) as error:
            self._refusal = f"{type(error).__name__}: {error}"
        else:
            self._opened(url, link, self._loop.time())

    def _connected(self, task: asyncio.Task[None]) -> None:
        if task is not self._connecting or task.cancelled() or self._over.done():
            return
        self._connecting = None
        if (bug := task.exception()) is not None:  # what is not a refusal
            self._over.set_exception(bug)
            return
        if self._stream is None and self._refusal:
            self._note(self._loop.time(), "stream refused")
            if self._exchange is None or self._ending is not None:
                self._finish(self._ending or EndedBy.REFUSED)
            else:
                self._exchange.stream_refused(self._url, self._refusal)
        self._act()

    def _opened(self, url: str, link: Link, now: float) -> None:
        if self._ended or self._ending:
            link.abort()
            return
        if self._accepted_at is None:
            self._accepted_at = now
        side = self._carrier.open_stream(self._parameters)
        self._stream = _Stream(side=side, link=link, url=url, opened_at=now, position=self.line.received)
        self._streams.append(self._stream)
        self._note(now, "stream opened")
        self._inward.push(side.connected(self._auth_token), now)
        if self._started_at is None and self._start_delay:
            self._at(now + self._start_delay, self._start)
        else:
            self._start(now)
        early, self._early = self._early, []
        for at, message in early:
            self._outward.push((at, message), now)

    def _start(self, now: float) -> None:
        stream = self._stream
        if stream is None:
            return
        self._inward.push(stream.side.start(), now)
        stream.first_frame = self.caller.frames
        if self._started_at is None:
            self._note(now, "stream started")
            self._answered(now)
        if self._exchange is not None:
            self._exchange.stream_started(stream.record())

    def _answered(self, now: float) -> None:
        self._started_at = now
        self.caller.answer(now, self.line.hear, self.outbound)
        for stall in self._plan.stalls:
            self._at(now + stall.at, partial(self._stall, stall))
        for drop in self._plan.drops:
            self._at(now + drop.at, partial(self._drop, drop))

    # From the gateway

    def _arrived(self, ear: _Ear, message: bytes | _Lost) -> None:
        if ear is not self._ear:
            return  # a socket this call has let go of
        now = self._loop.time()
        if self._stream is None:
            self._early.append((now, message))  # the peer was faster than our own connect returned
            return
        self._outward.push((now, message), now)
        self._act()

    def _hear_gateway(self, arrived_at: float, message: bytes | _Lost, now: float) -> None:
        stream = self._stream
        if stream is None:
            return
        if isinstance(message, _Lost):
            self._link_lost(stream, message, now)
            return
        self._counts.messages += 1
        asked = stream.side.receive(message)
        if isinstance(asked, bytes):
            self._counts.media += 1
            if self._plays and not stream.closing:  # nobody is on the line any more
                self.line.queue(asked, now)
            if self._tag_sent:
                self._match_tags(asked, arrived_at)
        elif isinstance(asked, Complaint):
            self._complain(asked, now)
        elif stream.closing:
            pass
        elif isinstance(asked, MarkRequested):
            self.line.mark(asked.name, now)
            self._return_marks(self.line.poll(now), now)
        elif isinstance(asked, ClearRequested):
            self._note(now, "clear")
            self._return_marks(self.line.clear(now), now)

    def _match_tags(self, audio: bytes, arrived_at: float) -> None:
        for number in self.caller.tags.find(audio):
            sent_at = self._tag_sent.pop(number, None)
            if sent_at is not None:
                self._on_echo(arrived_at - sent_at)

    def _complain(self, complaint: Complaint, now: float) -> None:
        self._count_complaint(complaint.code, complaint.detail)
        self._note(now, f"error {complaint.code}")
        if complaint.reply is not None:
            self._inward.push(complaint.reply, now)

    def _count_complaint(self, code: str, detail: str) -> None:
        self._counts.complaints[code] += 1
        if len(self._counts.details) < _KEPT_DETAILS:
            self._counts.details.append(f"{code}: {detail}")

    def _link_lost(self, stream: _Stream, lost: _Lost, now: float) -> None:
        self._stream_over(stream, lost.code, lost.reason, now)
        if self._ending is not None:
            self._finish(self._ending)
            return
        if not stream.closing:
            self._note(now, "gateway closed the stream")
        if self._exchange is not None:
            self._exchange.stream_ended(stream.record())
            return
        if stream.closing:
            self._resume(stream.resume_at, now)
            return
        url = self._next_stream() if self._next_stream is not None else None
        if url is None or len(self._streams) >= MAX_STREAMS:
            self._finish(EndedBy.GATEWAY)
        else:
            self._at(now + self._reattach_delay, lambda _: self._reconnect(url))

    def _stream_over(self, stream: _Stream, code: int | None, reason: str, now: float) -> None:
        stream.closed_at, stream.close_code, stream.reason = now, code, reason
        self._counts.tails += self._carrier.tails(stream.side)
        self._stream = self._ear = None
        self._early.clear()
        self.line.break_off(now)
        self._inward.drop()
        self._outward.drop()
        self._disorder.next_stream()

    # From the caller and the line

    def _follow_caller(self, action: CallerAction, now: float) -> None:
        match action:
            case bytes():
                self._say(action, now)
            case Pressed():
                self._press(action, now)
            case HungUp(at):
                self._hang_up(at, EndedBy.CALLER)

    def _say(self, payload: bytes, now: float) -> None:
        stream = self._stream
        if stream is None or stream.closing:
            self._counts.unsent += self._ending is None  # nobody misses what is said after the end
            return
        if stream.link.paused:
            self._counts.unsent += 1
            self._count_complaint(_INBOUND_CONGESTION, "the gateway does not read")
            return
        stream.chunk += 1
        timestamp = (self.caller.frames - 1 - stream.first_frame) * 20
        frame = stream.side.media(stream.chunk, timestamp, payload)
        tag = self.caller.tags.number(payload)
        if tag is not None:
            self._counts.sent += 1
            self._inward.push(_Tagged(tag, frame), now)
            return
        for message in [frame] if self._disorder.idle else self._disorder.push(stream.chunk, frame):
            self._counts.sent += 1
            self._inward.push(message, now)

    def _press(self, pressed: Pressed, now: float) -> None:
        if self._exchange is not None:
            self._exchange.key_pressed(pressed.digit)
        stream = self._stream
        if stream is None or stream.closing:
            return
        since = timedelta(seconds=pressed.at - self._began_at)
        occurred_at = (self._epoch + since).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._inward.push(stream.side.digit(pressed.digit, occurred_at), now)

    def _return_marks(self, names: Sequence[str], now: float) -> None:
        stream = self._stream
        if not names or stream is None or stream.closing:
            return
        self._counts.lateness = max(self._counts.lateness, self._loop.time() - now)
        for name in names:
            self._inward.push(stream.side.mark(name), now)

    def _put_on_wire(self, outgoing: bytes | _Tagged | _Close) -> None:
        if self._stream is None:
            return
        link = self._stream.link
        if isinstance(outgoing, _Close):
            link.close(outgoing.code)
        elif isinstance(outgoing, _Tagged):
            self._tag_sent[outgoing.number] = self._loop.time()
            link.send(outgoing.message)
        else:
            link.send(outgoing)

    # Ends

    def _hang_up(self, now: float, by: EndedBy) -> None:
        """Stop the stream as the carrier does, then let the socket close."""
        if self._ending is not None:
            return
        self._ending = by
        self._note(now, "call over")
        if self._stream is None:
            self._finish(by)
        elif not self._stream.closing:
            self.line.break_off(now)
            self._say_stop(self._stream, now)

    def _say_stop(self, stream: _Stream, now: float) -> None:
        """Say `stop` and close; cut the socket if the gateway does not answer in time."""
        for message in self._disorder.flush():
            self._counts.sent += 1
            self._inward.push(message, now)
        self._inward.push(stream.side.stop(), now)
        self._inward.push(_Close(self._carrier.close_code), now)
        stream.closing = True
        self._at(
            now + self._plan.inbound_delay + self._plan.outbound_delay + CLOSE_TIMEOUT, self._give_up(stream)
        )

    def _give_up(self, stream: _Stream) -> Callable[[float], None]:
        def cut(now: float) -> None:
            if self._stream is stream:
                stream.link.abort()
                self._link_lost(stream, _Lost(None, "the gateway did not close"), now)

        return cut

    def _finish(self, by: EndedBy) -> None:
        if self._ended is None:
            self._ended = by

    # What goes wrong by plan

    def _stall(self, stall: Stall, now: float) -> None:
        until = now + stall.duration
        self._note(now, f"{stall.direction.value} stalls")
        if stall.direction is Direction.INBOUND:
            self._inward.hold(until)
            return
        self._outward.hold(until)
        if self._stream is not None:
            _stop_reading(self._stream.link, lambda resume: self._at(until, lambda _: resume()))

    def _drop(self, drop: Drop, now: float) -> None:
        stream = self._stream
        if stream is None or stream.closing:
            return
        self._note(now, "carrier drops the stream")
        resume_at = None if drop.reconnect_after is None else now + drop.reconnect_after
        if drop.graceful:
            stream.resume_at = resume_at
            self.line.break_off(now)
            self._say_stop(stream, now)
            return
        stream.link.abort()
        self._stream_over(stream, None, "dropped by the plan", now)
        if self._exchange is not None:
            self._exchange.stream_ended(stream.record())
        else:
            self._resume(resume_at, now)

    def _resume(self, resume_at: float | None, now: float) -> None:
        """Open the next stream of a call whose last one the carrier gave up."""
        if resume_at is None:
            self._finish(EndedBy.DROPPED)
        else:
            self._at(max(now, resume_at), lambda _: self._reconnect(self._url_after_drop()))

    def _url_after_drop(self) -> str | None:
        return self._url if self._next_stream is None else self._next_stream()

    def _reconnect(self, url: str | None) -> None:
        if self._ending is not None or self._ended is not None:
            return
        if url is None:
            self._finish(EndedBy.DROPPED)
        else:
            self._refusal = ""
            self._connect(url)

    # The account

    def _note(self, at: float, what: str) -> None:
        note = Note(at, what)
        self._notes.append(note)
        if self._on_note is not None:
            self._on_note(note)

    def _tell_notes(self, tell: Callable[[Note], None]) -> None:
        """Tell what the caller has noted since last time."""
        notes = self.caller.notes
        for note in sorted(notes[self._notes_told :], key=lambda note: note.at):
            tell(note)
        self._notes_told = len(notes)

    def _outcome(self, now: float) -> CallOutcome:
        line, caller, counts = self.line, self.caller, self._counts
        last = self._streams[-1] if self._streams else None
        complaints = Counter(counts.complaints)
        if line.discarded:
            complaints["31931"] += 1
        return CallOutcome(
            carrier=self._carrier.name,
            call_id=self._carrier.call_id,
            ended_by=self._ended or EndedBy.LIMIT,
            refusal=self._refusal,
            began_at=self._began_at,
            accepted_at=self._accepted_at,
            started_at=self._started_at,
            agent_heard_at=caller.ear.first_at,
            ended_at=now,
            close_code=last.close_code if last else None,
            close_reason=last.reason if last else "",
            streams=tuple(stream.record() for stream in self._streams),
            frames_said=caller.frames,
            frames_sent=counts.sent,
            frames_lost=self._disorder.lost,
            frames_reordered=self._disorder.reordered,
            frames_unsent=counts.unsent,
            messages_received=counts.messages,
            media_received=counts.media,
            received=line.received,
            played=line.played(now),
            dropped=line.dropped,
            discarded=line.discarded,
            underruns=line.underruns,
            gaps=tuple(line.gaps),
            tails=counts.tails,
            marks_received=line.marks_received,
            marks_played=line.marks_played,
            marks_flushed=line.marks_flushed,
            marks=tuple(line.marks),
            mark_lateness=counts.lateness,
            clears=tuple(line.clears),
            breaks=tuple(line.breaks),
            playouts=tuple(line.playouts()),
            barge_ins=self._barge_ins(),
            digits=caller.digits,
            timeouts=caller.timeouts,
            latency=EchoLatency.of(caller.tags.sent, self._latencies),
            latencies=tuple(self._latencies),
            complaints=complaints,
            complaint_details=tuple(counts.details),
            timeline=tuple(sorted([*self._notes, *caller.notes], key=lambda note: note.at)),
            heard=self._heard(now),
            heard_rate=self.outbound.rate,
        )

    def _barge_ins(self) -> tuple[BargedIn, ...]:
        found = []
        for at in self.caller.barge_ins:
            clear = next((clear for clear in self.line.clears if clear.at >= at), None)
            silent_at = None
            if clear is not None and self._history:
                silent_at = max(
                    (h.at + self.outbound.duration(h.audio) for h in self.line.heard(clear.at)), default=None
                )
            found.append(BargedIn(at=at, clear_at=None if clear is None else clear.at, silent_at=silent_at))
        return tuple(found)

    def _heard(self, now: float) -> bytes:
        if self._started_at is None or not self._history:
            return b""
        audio = self.line.recording(self._started_at, now)
        encoding = self.outbound.encoding
        return audio if encoding is Encoding.PCM16 else g711.decode(audio, encoding)


class PartyLines:
    """Makes calls whose streams an `Exchange` decides on: the media side of a simulated carrier's legs."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def __call__(
        self,
        carrier: str,
        caller: Caller,
        exchange: Exchange,
        *,
        call_id: str,
        account_id: str | None,
        from_number: str,
        to_number: str,
        outbound: AudioFormat | None,
        limit: float,
    ) -> SimulatedCall:
        return SimulatedCall(
            carrier,
            self._connector,
            "",
            caller,
            exchange=exchange,
            call_id=call_id,
            account_id=account_id,
            from_number=from_number,
            to_number=to_number,
            outbound=outbound,
            limit=limit,
        )


def _stop_reading(link: object, later: Callable[[Callable[[], None]], None]) -> None:
    """Leave the peer's bytes in the kernel where the link can; elsewhere they wait in the transit."""
    if isinstance(link, PausableLink):
        link.pause_reading()
        later(link.resume_reading)

"""A simulated phone call: a scripted caller on a carrier's media stream, against any gateway.

Theory of operation. `SimulatedCall.run` is one task that waits for the next deadline of its machines (the
caller, the line, both directions of the connection, the plan of what goes wrong) and lets each act in the
order of time. A machine acts at the time it was due, not at the time the task woke: a late loop makes real
messages late, never the account of what the caller heard. What a socket delivers is stamped on arrival.

Time is read from `loop.time()` alone, so a call runs on a real loop and on a virtual one.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol

from media.audio import AudioFormat
from telephony.call_account import CallAccount
from telephony.caller import Caller, CallerAction, HungUp, Note, Pressed
from telephony.impairments import Direction, Disorder, Drop, Impairments, Stall, Transit
from telephony.line import ClearRequested, Complaint, Line, MarkRequested
from telephony.link import Connector, Link, LinkRefused
from telephony.outcome import CallOutcome, EndedBy, StreamRecord
from telephony.simulated_carrier import SimulatedCarrier
from telephony.simulated_stream import Closing, Lost, SimulatedStream, Tagged, stop_reading

# How long a peer may take to answer a close before the carrier hangs up on the socket too.
CLOSE_TIMEOUT = 2.0
# Streams of one call: a document that re-attaches for ever is cut off (Twilio's own loops are bounded too).
MAX_STREAMS = 20
# Measured on a live call: from the end of one Twilio stream to the next document's socket.
REATTACH_DELAY = 0.730
_INBOUND_CONGESTION = "31930"


class Exchange(Protocol):
    """The carrier's REST side, where a call has one: it alone decides which streams come and when the call ends.

    Told what happens on the line, on the loop, at the moment it happens.
    """

    def key_pressed(self, digit: str) -> None: ...
    def stream_started(self, stream: StreamRecord) -> None: ...
    def stream_ended(self, stream: StreamRecord) -> None: ...
    def stream_refused(self, url: str, reason: str) -> None: ...


class _Ear:
    """A link's listener that stamps what arrives for the call it belongs to."""

    def __init__(self, call: "SimulatedCall") -> None:
        self._call = call

    def message_received(self, message: bytes) -> None:
        self._call._arrived(self, message)

    def pressure(self, paused: bool) -> None:
        pass  # `Link.paused` is asked before each frame

    def link_lost(self, code: int | None, reason: str) -> None:
        self._call._arrived(self, Lost(code, reason))


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
        self._epoch = epoch

        self._inward: Transit[bytes | Tagged | Closing] = Transit(
            self._plan.inbound_delay, self._plan.inbound_jitter, seed=self._plan.seed + 2
        )
        self._outward: Transit[tuple[float, bytes | Lost]] = Transit(
            self._plan.outbound_delay, self._plan.outbound_jitter, seed=self._plan.seed + 3
        )
        self._disorder = Disorder(self._plan)
        self._agenda: list[tuple[float, Callable[[float], None]]] = []
        self._stream: SimulatedStream | None = None
        self._ear: _Ear | None = None
        self._early: list[tuple[float, bytes | Lost]] = []
        self._connecting: asyncio.Task[None] | None = None
        self._account = CallAccount(
            caller, self.line, self.outbound, history=history, on_note=on_note, on_echo=on_echo
        )
        self._machines = (self._outward, self.line, caller, self._inward)
        self._timer: asyncio.TimerHandle | None = None
        self._armed = float("inf")
        self._acting = False
        self._ended: EndedBy | None = None
        self._ending: EndedBy | None = None
        self._refusal = ""

    # The one task

    async def run(self) -> CallOutcome:
        """Place the call and follow it to its end. A refused stream is an outcome, not an error."""
        self._loop = asyncio.get_running_loop()
        self._account.began_at = self._loop.time()
        self._at(self._account.began_at + self._limit, lambda now: self._hang_up(now, EndedBy.LIMIT))
        self._over = self._loop.create_future()
        if self._exchange is not None:
            self._answered(self._account.began_at)
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
        return self._account.outcome(
            self._loop.time(),
            self._carrier,
            self._disorder,
            ended_by=self._ended or EndedBy.LIMIT,
            refusal=self._refusal,
        )

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
            self._account.tell_notes()
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
            self._account.note(self._loop.time(), "stream refused")
            if self._exchange is None or self._ending is not None:
                self._finish(self._ending or EndedBy.REFUSED)
            else:
                self._exchange.stream_refused(self._url, self._refusal)
        self._act()

    def _opened(self, url: str, link: Link, now: float) -> None:
        if self._ended or self._ending:
            link.abort()
            return
        if self._account.accepted_at is None:
            self._account.accepted_at = now
        side = self._carrier.open_stream(self._parameters)
        self._stream = SimulatedStream(
            side=side, link=link, url=url, opened_at=now, position=self.line.received
        )
        self._account.streams.append(self._stream)
        self._account.note(now, "stream opened")
        self._inward.push(side.connected(self._auth_token), now)
        if self._account.started_at is None and self._start_delay:
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
        if self._account.started_at is None:
            self._account.note(now, "stream started")
            self._answered(now)
        if self._exchange is not None:
            self._exchange.stream_started(stream.record())

    def _answered(self, now: float) -> None:
        self._account.started_at = now
        self.caller.answer(now, self.line.hear, self.outbound)
        for stall in self._plan.stalls:
            self._at(now + stall.at, partial(self._stall, stall))
        for drop in self._plan.drops:
            self._at(now + drop.at, partial(self._drop, drop))

    # From the gateway

    def _arrived(self, ear: _Ear, message: bytes | Lost) -> None:
        if ear is not self._ear:
            return  # a socket this call has let go of
        now = self._loop.time()
        if self._stream is None:
            self._early.append((now, message))  # the peer was faster than our own connect returned
            return
        self._outward.push((now, message), now)
        self._act()

    def _hear_gateway(self, arrived_at: float, message: bytes | Lost, now: float) -> None:
        stream = self._stream
        if stream is None:
            return
        if isinstance(message, Lost):
            self._link_lost(stream, message, now)
            return
        self._account.messages += 1
        asked = stream.side.receive(message)
        if isinstance(asked, bytes):
            self._account.media += 1
            if self._plays and not stream.closing:  # nobody is on the line any more
                self.line.queue(asked, now)
            self._account.came_back(asked, arrived_at)
        elif isinstance(asked, Complaint):
            self._complain(asked, now)
        elif stream.closing:
            pass
        elif isinstance(asked, MarkRequested):
            self.line.mark(asked.name, now)
            self._return_marks(self.line.poll(now), now)
        elif isinstance(asked, ClearRequested):
            self._account.note(now, "clear")
            self._return_marks(self.line.clear(now), now)

    def _complain(self, complaint: Complaint, now: float) -> None:
        self._account.complain(complaint.code, complaint.detail)
        self._account.note(now, f"error {complaint.code}")
        if complaint.reply is not None:
            self._inward.push(complaint.reply, now)

    def _link_lost(self, stream: SimulatedStream, lost: Lost, now: float) -> None:
        self._stream_over(stream, lost.code, lost.reason, now)
        if self._ending is not None:
            self._finish(self._ending)
            return
        if not stream.closing:
            self._account.note(now, "gateway closed the stream")
        if self._exchange is not None:
            self._exchange.stream_ended(stream.record())
            return
        if stream.closing:
            self._resume(stream.resume_at, now)
            return
        url = self._next_stream() if self._next_stream is not None else None
        if url is None or len(self._account.streams) >= MAX_STREAMS:
            self._finish(EndedBy.GATEWAY)
        else:
            self._at(now + self._reattach_delay, lambda _: self._reconnect(url))

    def _stream_over(self, stream: SimulatedStream, code: int | None, reason: str, now: float) -> None:
        stream.closed_at, stream.close_code, stream.reason = now, code, reason
        self._account.tails += self._carrier.tails(stream.side)
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
            self._account.unsent += self._ending is None  # nobody misses what is said after the end
            return
        if stream.link.paused:
            self._account.unsent += 1
            self._account.complain(_INBOUND_CONGESTION, "the gateway does not read")
            return
        stream.chunk += 1
        timestamp = (self.caller.frames - 1 - stream.first_frame) * 20
        frame = stream.side.media(stream.chunk, timestamp, payload)
        tag = self.caller.tags.number(payload)
        if tag is not None:
            self._account.sent += 1
            self._inward.push(Tagged(tag, frame), now)
            return
        for message in [frame] if self._disorder.idle else self._disorder.push(stream.chunk, frame):
            self._account.sent += 1
            self._inward.push(message, now)

    def _press(self, pressed: Pressed, now: float) -> None:
        if self._exchange is not None:
            self._exchange.key_pressed(pressed.digit)
        stream = self._stream
        if stream is None or stream.closing:
            return
        since = timedelta(seconds=pressed.at - self._account.began_at)
        occurred_at = (self._epoch + since).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._inward.push(stream.side.digit(pressed.digit, occurred_at), now)

    def _return_marks(self, names: Sequence[str], now: float) -> None:
        stream = self._stream
        if not names or stream is None or stream.closing:
            return
        self._account.lateness = max(self._account.lateness, self._loop.time() - now)
        for name in names:
            self._inward.push(stream.side.mark(name), now)

    def _put_on_wire(self, outgoing: bytes | Tagged | Closing) -> None:
        if self._stream is None:
            return
        link = self._stream.link
        if isinstance(outgoing, Closing):
            link.close(outgoing.code)
        elif isinstance(outgoing, Tagged):
            self._account.tag_left(outgoing.number, self._loop.time())
            link.send(outgoing.message)
        else:
            link.send(outgoing)

    # Ends

    def _hang_up(self, now: float, by: EndedBy) -> None:
        """Stop the stream as the carrier does, then let the socket close."""
        if self._ending is not None:
            return
        self._ending = by
        self._account.note(now, "call over")
        if self._stream is None:
            self._finish(by)
        elif not self._stream.closing:
            self.line.break_off(now)
            self._say_stop(self._stream, now)

    def _say_stop(self, stream: SimulatedStream, now: float) -> None:
        """Say `stop` and close; cut the socket if the gateway does not answer in time."""
        for message in self._disorder.flush():
            self._account.sent += 1
            self._inward.push(message, now)
        self._inward.push(stream.side.stop(), now)
        self._inward.push(Closing(self._carrier.close_code), now)
        stream.closing = True
        self._at(
            now + self._plan.inbound_delay + self._plan.outbound_delay + CLOSE_TIMEOUT, self._give_up(stream)
        )

    def _give_up(self, stream: SimulatedStream) -> Callable[[float], None]:
        def cut(now: float) -> None:
            if self._stream is stream:
                stream.link.abort()
                self._link_lost(stream, Lost(None, "the gateway did not close"), now)

        return cut

    def _finish(self, by: EndedBy) -> None:
        if self._ended is None:
            self._ended = by

    # What goes wrong by plan

    def _stall(self, stall: Stall, now: float) -> None:
        until = now + stall.duration
        self._account.note(now, f"{stall.direction.value} stalls")
        if stall.direction is Direction.INBOUND:
            self._inward.hold(until)
            return
        self._outward.hold(until)
        if self._stream is not None:
            stop_reading(self._stream.link, lambda resume: self._at(until, lambda _: resume()))

    def _drop(self, drop: Drop, now: float) -> None:
        stream = self._stream
        if stream is None or stream.closing:
            return
        self._account.note(now, "carrier drops the stream")
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

"""What reaches one call's bridge, with the time it came, and what the bridge wants done about it.

Every input goes the same way: it is traced, the bridge takes it, then `flush` carries out what the bridge wants:
messages to the two links, blocks to the recording, news to whoever follows the call, the next deadline to the ticker.
Nothing here waits or awaits, so it can be compiled (docs/adr/0012): what takes time is asked of the call's task.
"""

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from control.bridge import Bridge
from control.carrier_leg import STEREO
from control.media_orders import MediaOrder, Report
from control.outputs import (
    CloseAgent,
    CloseCarrier,
    ConnectAgent,
    Finish,
    Synthesise,
    Unrecorded,
    UseProvider,
)
from control.timeline import TimelineEvent
from gateway.order_form import write_order
from gateway.recording import Recording, RecordingThread
from gateway.speech import Speech
from gateway.ticker import Ticker
from gateway.trace import Trace
from media.realtime.session import RealtimeSession
from telephony.link import Link
from telephony.stream import CarrierStream

TaskAction = ConnectAgent | UseProvider | Synthesise
"""What takes time: the call's task does it, and tells what came of it."""


class _CarrierListener:
    """One generation of the carrier's socket; its loss is nobody's once it was superseded.

    A superseded link was closed, after which it delivers no more: its messages go straight to the call.
    """

    def __init__(self, call: "BridgeDriver", generation: int) -> None:
        self._call = call
        self._generation = generation
        self.message_received = call.carrier_message

    def pressure(self, paused: bool) -> None:
        if self._generation == self._call.generation:
            self._call.carrier_pressure(paused)

    def link_lost(self, code: int | None, reason: str) -> None:
        if self._generation == self._call.generation:
            self._call.carrier_lost(code, reason)


class AgentListener:
    """One agent session's socket; its loss is nobody's once it was replaced, its messages stopped with its close."""

    def __init__(self, call: "BridgeDriver") -> None:
        self._call = call
        self.current = True
        self.message_received = call.agent_message

    def pressure(self, paused: bool) -> None:
        if self.current:
            self._call.agent_pressure(paused)

    def link_lost(self, code: int | None, reason: str) -> None:
        if self.current:
            self._call.agent_lost(code, reason)


class BridgeDriver:
    """Drives one call's bridge, from the loop's callbacks: nothing here waits.

    `perform` is asked for what the call's task is to do; `fail` is told of a fault of ours in the call's machines,
    which costs this call, never another and never silently. `report` and `follow`: see `CallRunner`.
    """

    __slots__ = (
        "_agent_link",
        "_agent_listener",
        "_call_id",
        "_carrier_link",
        "_fail",
        "_finish",
        "_follow",
        "_news",
        "_now",
        "_perform_later",
        "_recordings",
        "_report",
        "_telling",
        "_ticker",
        "bridge",
        "generation",
        "recording",
        "trace",
    )

    def __init__(
        self,
        call_id: str,
        bridge: Bridge,
        *,
        ticker: Ticker,
        recordings: RecordingThread | None,
        trace: Trace | None,
        perform: Callable[[TaskAction], None],
        finish: Callable[[], None],
        fail: Callable[[Exception], None],
        report: Callable[[Report], None] | None,
        follow: Callable[[TimelineEvent], None] | None,
    ) -> None:
        self.bridge = bridge
        self.generation = 0
        self.recording: Recording | None = None
        self.trace = trace
        self._call_id = call_id
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._ticker = ticker
        self._recordings = recordings
        self._perform_later = perform
        self._finish = finish
        self._fail = fail
        self._report = report
        self._follow = follow
        self._carrier_link: Link | None = None
        self._agent_link: Link | None = None
        self._agent_listener: AgentListener | None = None
        self._news: deque[Report | TimelineEvent] = deque()
        self._telling = False

    # --- the carrier's socket

    def attach(
        self, carrier: str, stream: CarrierStream, link: Link, backlog: list[bytes]
    ) -> _CarrierListener:
        """Take over a media socket, with what it has said so far."""
        now = self._now()
        self.generation += 1
        if self.trace is not None:
            self.trace.event("attach", now, carrier=carrier)
        self.bridge.carrier_attached(stream, now)
        self.flush(now)  # closes the socket this one replaces
        self._carrier_link = link
        for message in backlog:
            self.carrier_message(message)
        return _CarrierListener(self, self.generation)

    def carrier_message(self, message: bytes) -> None:
        now = self._now()
        if self.trace is not None:
            self._trace_carrier(self.trace, message, now)
        try:
            self.bridge.carrier_received(message, now)
        except Exception as fault:  # ours, whatever it is: it ends this call, and is raised by its task
            self._fail(fault)
        self.flush(now)

    def _trace_carrier(self, trace: Trace, message: bytes, now: float) -> None:
        if self.bridge.secret:
            trace.secret(message, self.bridge.carrier.inbound.silence(1), now)
        else:
            trace.message("carrier", message, now)

    def carrier_pressure(self, paused: bool) -> None:
        now = self._now()
        if self.trace is not None:
            self.trace.event("carrier_pressure", now, paused=paused)
        try:
            self.bridge.carrier_pressure(paused, now)
        except Exception as fault:  # as above
            self._fail(fault)
        self.flush(now)

    def carrier_lost(self, code: int | None, reason: str) -> None:
        now = self._now()
        self._carrier_link = None
        if self.trace is not None:
            self.trace.event("carrier_lost", now, code=code, reason=reason)
        self.bridge.carrier_lost(code, reason, now)
        self.flush(now)

    # --- the agent's socket

    def agent_opened(
        self, link: Link, listener: AgentListener, session: RealtimeSession, wall: float
    ) -> None:
        """A session's socket is up; `wall` is unix time, in which sessions expire."""
        now = self._now()
        self._agent_link, self._agent_listener = link, listener
        if self.trace is not None:
            self.trace.event("agent_opened", now, wall=wall)
        self.bridge.agent_opened(session, now, wall)
        self.flush(now)

    def agent_unreachable(self, reason: str, *, retry: bool) -> None:
        now = self._now()
        if self.trace is not None:
            self.trace.event("agent_lost", now, code=None, reason=reason, retry=retry)
        self.bridge.agent_lost(None, reason, now, retry=retry)
        self.flush(now)

    def agent_message(self, message: bytes) -> None:
        now = self._now()
        if self.trace is not None:
            self.trace.message("agent", message, now)
        try:
            self.bridge.agent_received(message, now)
        except Exception as fault:  # as above
            self._fail(fault)
        self.flush(now)

    def agent_pressure(self, paused: bool) -> None:
        if self.trace is not None:
            self.trace.event("agent_pressure", self._now(), paused=paused)
        self.bridge.agent_pressure(paused)

    def agent_lost(self, code: int | None, reason: str) -> None:
        now = self._now()
        self._agent_link = None
        if self.trace is not None:
            self.trace.event("agent_lost", now, code=code, reason=reason, retry=True)
        self.bridge.agent_lost(code, reason, now)
        self.flush(now)

    # --- us

    def prompt_ready(self, ticket: str, speech: Speech) -> None:
        now = self._now()
        if self.trace is not None:
            audio = b64encode(speech.audio).decode()
            self.trace.event("prompt_ready", now, ticket=ticket, audio=audio, rate=speech.rate)
        try:
            self.bridge.prompt_ready(ticket, speech.audio, speech.rate, now)
        except Exception as fault:  # ours, whatever it is: it ends this call, and is raised by its task
            self._fail(fault)
        self.flush(now)

    def prompt_failed(self, ticket: str, why: str) -> None:
        now = self._now()
        if self.trace is not None:
            self.trace.event("prompt_failed", now, ticket=ticket, why=why)
        self.bridge.prompt_failed(ticket, why, now)
        self.flush(now)

    def order(self, order: MediaOrder) -> None:
        """Have the bridge do what the call's machine wants; nothing comes of it once the media has ended."""
        now = self._now()
        if self.trace is not None:
            self.trace.event("order", now, kind=type(order).__name__, order=write_order(order))
        try:
            self.bridge.order(order, now)
        except Exception as fault:  # as above
            self._fail(fault)
        self.flush(now)

    def end(self, reason: str, *, after_playout: bool = True) -> None:
        """End the call for our own reason; what is being said is heard first unless told otherwise."""
        now = self._now()
        if self.trace is not None:
            self.trace.event("end", now, reason=reason, after_playout=after_playout)
        self.bridge.end(reason, now, after_playout=after_playout)
        self.flush(now)

    def _wake(self, now: float) -> None:
        """A deadline has come, unless audio has moved it meanwhile, as a stream of frames always does."""
        self.bridge.armed = inf
        deadline = self.bridge.next_deadline()
        if deadline is None or now < deadline:
            self._rearm()
            return
        if self.trace is not None:
            self.trace.event("poll", now)
        try:
            self.bridge.poll(now)
        except Exception as fault:  # as above
            self._fail(fault)
        self.flush(now)

    # --- what the bridge wants

    def flush(self, now: float) -> None:
        bridge = self.bridge
        outputs = bridge.outputs
        if self.trace is not None:
            self.trace.outputs(outputs, now)
        # Taken before they are sent: a send may tell of pressure at once, which comes back here.
        if outputs.carrier:
            messages, outputs.carrier = outputs.carrier, []
            if self._carrier_link is not None:
                for message in messages:
                    self._carrier_link.send(message)
        if outputs.agent:
            messages, outputs.agent = outputs.agent, []
            if self._agent_link is not None:
                for message in messages:
                    self._agent_link.send(message)
        if outputs.recording:
            self._write_recording()
        if outputs.actions:
            self._perform()
        if bridge.wake_changed:
            self._rearm()
        if outputs.news:
            news, outputs.news = outputs.news, []
            self.tell_news(news)

    def tell_news(self, news: Iterable[Report | TimelineEvent]) -> None:
        """Tell one after the other: what is ordered in answer to one may make news that comes after the rest."""
        self._news.extend(news)
        if self._telling:
            return
        self._telling = True
        try:
            while self._news:
                self._tell(self._news.popleft())
        except Exception as fault:  # as above
            self._fail(fault)
        finally:
            self._telling = False

    def _tell(self, news: Report | TimelineEvent) -> None:
        if isinstance(news, TimelineEvent):
            if self._follow is not None:
                self._follow(news)
        elif self._report is not None:
            self._report(news)

    def _rearm(self) -> None:
        """Ask to be woken by the next deadline; a wake-up that comes too early costs less than moving it."""
        self.bridge.wake_changed = False
        deadline = self.bridge.next_deadline()
        if deadline is not None and deadline < self.bridge.armed:
            self.bridge.armed = deadline
            self._ticker.schedule(self, deadline, self._wake)

    def _perform(self) -> None:
        actions, self.bridge.outputs.actions = self.bridge.outputs.actions, []
        for action in actions:
            match action:
                case CloseCarrier(code):
                    self.close_carrier(code)
                case CloseAgent():
                    self.close_agent()
                case ConnectAgent() | UseProvider() | Synthesise():
                    self._perform_later(action)
                case Finish():
                    self._ticker.cancel(self)
                    self.generation += 1  # whatever the socket still says is nobody's
                    self._finish()

    def close_carrier(self, code: int = 1000) -> None:
        if self._carrier_link is not None:
            self._carrier_link.close(code)
            self._carrier_link = None

    def close_agent(self) -> None:
        if self._agent_listener is not None:
            self._agent_listener.current = False
        if self._agent_link is not None:
            self._agent_link.close()
            self._agent_link = None

    def _write_recording(self) -> None:
        blocks, self.bridge.outputs.recording = self.bridge.outputs.recording, []
        if self._recordings is None:
            return
        if self.recording is None:
            self.recording = self._recordings.open(self._call_id, self.bridge.carrier.inbound.rate)
        for block in blocks:
            if isinstance(block, Unrecorded):
                self.recording.skip(block.samples * STEREO)
            else:
                self.recording.write(block)

    def abandon(self) -> None:
        """The call's task has ended without the call's end; untraced, since nobody asked for it."""
        now = self._now()
        self.bridge.end("error", now, after_playout=False)
        self.flush(now)

    def release(self) -> None:
        """No deadline comes any more; a call whose files are being written may still be told to end, untraced."""
        self._ticker.cancel(self)
        if self.trace is not None:
            self.trace.close()
            self.trace = None

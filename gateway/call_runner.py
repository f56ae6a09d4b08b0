"""One live call: its sockets, its timer, its files and its one task, around the bridge that decides.

Every input goes the same way: the bridge takes it with the time it came, then `_flush` carries out what the bridge
wants. The task exists to own the connecting of agents; it ends when the call does, and the call ends when it does.
"""

import asyncio
import json
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from time import time as unix_time

import structlog

from control.bridge import Bridge
from control.carrier_leg import STEREO
from control.media_orders import MediaEnded, MediaOrder, Report
from control.outputs import (
    CloseAgent,
    CloseCarrier,
    ConnectAgent,
    Finish,
    Synthesise,
    Unrecorded,
    UseProvider,
)
from control.policy import CallPolicy
from control.records import (
    CallFacts,
    MediaProgress,
    MediaSummary,
    call_record,
    media_progress,
    media_summary,
)
from control.timeline import TimelineEvent
from gateway.order_form import write_order
from gateway.recording import Recording, RecordingThread
from gateway.speech import Speech, SpeechFailed, SpeechPort
from gateway.ticker import Ticker
from gateway.trace import Trace, configuration, session_form
from media.audio import AudioFormat
from media.realtime.configuration import SessionConfig
from media.realtime.dialects import Dialect, connection
from media.realtime.session import RealtimeSession
from telephony.carrier import WIRES
from telephony.link import Connector, Link, LinkRefused
from telephony.stream import CarrierStream

log = structlog.get_logger()

# Texts whose voice is waited for; the bridge lets no more prompts wait.
_TEXTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProvider:
    """Where the agent's session is, and how it is to be configured."""

    name: str = "default"
    url: str
    api_key: str
    config: SessionConfig
    dialect: Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class CallServices:
    """What every call of a process shares."""

    ticker: Ticker
    connect: Connector
    recordings: RecordingThread | None
    records: Path
    traces: Path | None
    speech: SpeechPort | None = None


class _CarrierListener:
    """One generation of the carrier's socket; its loss is nobody's once it was superseded.

    A superseded link was closed, after which it delivers no more: its messages go straight to the call.
    """

    def __init__(self, call: "CallRunner", generation: int) -> None:
        self._call = call
        self._generation = generation
        self.message_received = call.carrier_message

    def pressure(self, paused: bool) -> None:
        if self._generation == self._call.generation:
            self._call.carrier_pressure(paused)

    def link_lost(self, code: int | None, reason: str) -> None:
        if self._generation == self._call.generation:
            self._call.carrier_lost(code, reason)


class _AgentListener:
    """One agent session's socket; its loss is nobody's once it was replaced, its messages stopped with its close."""

    def __init__(self, call: "CallRunner") -> None:
        self._call = call
        self.current = True
        self.message_received = call.agent_message

    def pressure(self, paused: bool) -> None:
        if self.current:
            self._call.agent_pressure(paused)

    def link_lost(self, code: int | None, reason: str) -> None:
        if self.current:
            self._call.agent_lost(code, reason)


class CallRunner:
    """Runs one call to its record. `run` is the call's task: it connects the agent at once, whether a media socket is
    there or comes later (`attach`).

    Of a controlled call (`CallPolicy.controlled`) the call's machine gives the orders (`order`); `report` is told what
    it reports, `follow` every entry of the timeline, both in the order in which things happened and from within the
    loop's callbacks: they may give orders at once and must not block.
    """

    __slots__ = (
        "_agent_link",
        "_agent_listener",
        "_carrier_link",
        "_connects",
        "_discarded",
        "_failure",
        "_follow",
        "_loop",
        "_news",
        "_now",
        "_outbound",
        "_provider",
        "_providers",
        "_recording",
        "_report",
        "_services",
        "_started_at",
        "_telling",
        "_texts",
        "_trace",
        "bridge",
        "call_id",
        "carrier",
        "finished",
        "generation",
        "record",
        "summary",
    )

    def __init__(
        self,
        call_id: str,
        carrier: str,
        *,
        policy: CallPolicy,
        provider: AgentProvider,
        fallbacks: Sequence[AgentProvider] = (),
        services: CallServices,
        outbound: AudioFormat | None = None,
        report: Callable[[Report], None] | None = None,
        follow: Callable[[TimelineEvent], None] | None = None,
    ) -> None:
        self.call_id = call_id
        self.carrier = carrier
        self.generation = 0
        self.finished = asyncio.Event()
        self.record: dict[str, object] | None = None
        self.summary: MediaSummary | None = None
        """What the media came to, once it has ended."""
        self._providers = (provider, *fallbacks)
        self._provider = provider
        self._services = services
        self._outbound = outbound
        self._loop = asyncio.get_running_loop()
        self._now: Callable[[], float] = self._loop.time
        self._started_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        policy = replace(policy, providers=tuple(each.name for each in self._providers))
        self.bridge = Bridge(policy, self._now())
        self._carrier_link: Link | None = None
        self._agent_link: Link | None = None
        self._agent_listener: _AgentListener | None = None
        self._connects: asyncio.Queue[ConnectAgent] = asyncio.Queue(maxsize=4)
        self._texts: asyncio.Queue[Synthesise] = asyncio.Queue(maxsize=_TEXTS)
        self._report = report
        self._follow = follow
        self._news: deque[Report | TimelineEvent] = deque()
        self._telling = False
        self._recording: Recording | None = None
        self._discarded = False
        self._failure: Exception | None = None
        self._trace: Trace | None = None
        if services.traces is not None:
            self._trace = Trace(services.traces / f"{call_id}.jsonl", self._trace_header(policy))

    @property
    def progress(self) -> MediaProgress:
        """What the media has come to so far."""
        return media_progress(self.bridge)

    # --- the call's task

    async def run(self) -> None:
        """Own the call until it has ended and its files are closed."""
        self._connects.put_nowait(ConnectAgent(0.0, "call"))
        try:
            async with asyncio.TaskGroup() as tasks:
                owned = [tasks.create_task(self._connect_agents())]
                if self.bridge.policy.controlled:
                    owned.append(tasks.create_task(self._render_texts()))
                await self.finished.wait()
                for task in owned:
                    task.cancel()
            if self._failure is not None:
                raise self._failure
        finally:
            self._release()
            try:
                if not self._discarded:
                    await self._write_record()
            finally:
                self._tell_news([MediaEnded()])

    async def _connect_agents(self) -> None:
        while True:
            wanted = await self._connects.get()
            if wanted.delay:
                await asyncio.sleep(wanted.delay)
            await self._connect_agent()

    async def _connect_agent(self) -> None:
        provider = self._provider
        url, headers = connection(provider.url, provider.api_key, provider.config.model, provider.dialect)
        listener = _AgentListener(self)
        try:
            link = await self._services.connect(url, listener, headers=headers)
        except LinkRefused as refused:
            # Retrying a refused key or path changes nothing; a busy server may have room a moment later.
            retry = refused.status >= 500 or refused.status == 429
            self._agent_unreachable(f"http_{refused.status}", retry=retry)
            return
        except (OSError, TimeoutError) as fault:
            self._agent_unreachable(f"unreachable: {fault}", retry=True)
            return
        if self.finished.is_set():
            link.close()
            return
        now = self._now()
        self._agent_link, self._agent_listener = link, listener
        session = RealtimeSession(provider.config, provider.dialect)
        wall = unix_time()
        if self._trace is not None:
            self._trace.event("agent_opened", now, wall=wall)
        self.bridge.agent_opened(session, now, wall)
        self._flush(now)

    def _agent_unreachable(self, reason: str, *, retry: bool) -> None:
        now = self._now()
        if self._trace is not None:
            self._trace.event("agent_lost", now, code=None, reason=reason, retry=retry)
        self.bridge.agent_lost(None, reason, now, retry=retry)
        self._flush(now)

    async def _render_texts(self) -> None:
        """One at a time: prompts are heard one after the other, too."""
        while True:
            wanted = await self._texts.get()
            try:
                speech = await self._say(wanted)
            except SpeechFailed as fault:
                self._prompt_failed(wanted.ticket, str(fault))
            else:
                self._prompt_ready(wanted.ticket, speech)

    async def _say(self, wanted: Synthesise) -> Speech:
        port = self._services.speech
        if port is None:
            raise SpeechFailed("no voice is configured")
        return await port.say(wanted.text, wanted.voice, wanted.language)

    def _prompt_ready(self, ticket: str, speech: Speech) -> None:
        now = self._now()
        if self._trace is not None:
            audio = b64encode(speech.audio).decode()
            self._trace.event("prompt_ready", now, ticket=ticket, audio=audio, rate=speech.rate)
        try:
            self.bridge.prompt_ready(ticket, speech.audio, speech.rate, now)
        except Exception as fault:  # ours, whatever it is: it ends this call, and is raised by `run`
            self._fail(fault)
        self._flush(now)

    def _prompt_failed(self, ticket: str, why: str) -> None:
        now = self._now()
        log.warning("a prompt was not said", call_id=self.call_id, why=why)
        if self._trace is not None:
            self._trace.event("prompt_failed", now, ticket=ticket, why=why)
        self.bridge.prompt_failed(ticket, why, now)
        self._flush(now)

    # --- the carrier's socket

    def attach(self, link: Link, backlog: list[bytes]) -> "_CarrierListener":
        """Take over a media socket, with what it has said so far."""
        now = self._now()
        self.generation += 1
        if self._trace is not None:
            self._trace.event("attach", now, carrier=self.carrier)
        stream = CarrierStream(WIRES[self.carrier], outbound=self._outbound)
        self.bridge.carrier_attached(stream, now)
        self._flush(now)  # closes the socket this one replaces
        self._carrier_link = link
        for message in backlog:
            self.carrier_message(message)
        return _CarrierListener(self, self.generation)

    def carrier_message(self, message: bytes) -> None:
        now = self._now()
        if self._trace is not None:
            self._trace_carrier(self._trace, message, now)
        try:
            self.bridge.carrier_received(message, now)
        except Exception as fault:  # ours, whatever it is: it ends this call, and is raised by `run`
            self._fail(fault)
        self._flush(now)

    def _trace_carrier(self, trace: Trace, message: bytes, now: float) -> None:
        if self.bridge.secret:
            trace.secret(message, self.bridge.carrier.inbound.silence(1), now)
        else:
            trace.message("carrier", message, now)

    def carrier_pressure(self, paused: bool) -> None:
        now = self._now()
        if self._trace is not None:
            self._trace.event("carrier_pressure", now, paused=paused)
        try:
            self.bridge.carrier_pressure(paused, now)
        except Exception as fault:  # as above
            self._fail(fault)
        self._flush(now)

    def carrier_lost(self, code: int | None, reason: str) -> None:
        now = self._now()
        self._carrier_link = None
        if self._trace is not None:
            self._trace.event("carrier_lost", now, code=code, reason=reason)
        self.bridge.carrier_lost(code, reason, now)
        self._flush(now)

    # --- the agent's socket

    def agent_message(self, message: bytes) -> None:
        now = self._now()
        if self._trace is not None:
            self._trace.message("agent", message, now)
        try:
            self.bridge.agent_received(message, now)
        except Exception as fault:  # as above
            self._fail(fault)
        self._flush(now)

    def agent_pressure(self, paused: bool) -> None:
        if self._trace is not None:
            self._trace.event("agent_pressure", self._now(), paused=paused)
        self.bridge.agent_pressure(paused)

    def agent_lost(self, code: int | None, reason: str) -> None:
        now = self._now()
        self._agent_link = None
        if self._trace is not None:
            self._trace.event("agent_lost", now, code=code, reason=reason, retry=True)
        self.bridge.agent_lost(code, reason, now)
        self._flush(now)

    # --- us

    def order(self, order: MediaOrder) -> None:
        """Have the bridge do what the call's machine wants; nothing comes of it once the media has ended."""
        now = self._now()
        if self._trace is not None:
            self._trace.event("order", now, kind=type(order).__name__, order=write_order(order))
        try:
            self.bridge.order(order, now)
        except Exception as fault:  # as above
            self._fail(fault)
        self._flush(now)

    def end(self, reason: str, *, after_playout: bool = True) -> None:
        """End the call for our own reason; what is being said is heard first unless told otherwise."""
        now = self._now()
        if self._trace is not None:
            self._trace.event("end", now, reason=reason, after_playout=after_playout)
        self.bridge.end(reason, now, after_playout=after_playout)
        self._flush(now)

    def discard(self) -> None:
        """This call turned out to be another's stream: let go of everything, leave no record."""
        self._discarded = True
        self._close_agent()
        self.finished.set()

    def _wake(self, now: float) -> None:
        """A deadline has come, unless audio has moved it meanwhile, as a stream of frames always does."""
        self.bridge.armed = inf
        deadline = self.bridge.next_deadline()
        if deadline is None or now < deadline:
            self._rearm()
            return
        if self._trace is not None:
            self._trace.event("poll", now)
        try:
            self.bridge.poll(now)
        except Exception as fault:  # as above
            self._fail(fault)
        self._flush(now)

    def _fail(self, fault: Exception) -> None:
        """A fault of ours in this call's machines costs this call, never another and never silently."""
        self._failure = self._failure or fault
        self.finished.set()

    # --- what the bridge wants

    def _flush(self, now: float) -> None:
        bridge = self.bridge
        outputs = bridge.outputs
        if self._trace is not None:
            self._trace.outputs(outputs, now)
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
            self._tell_news(news)

    def _tell_news(self, news: Iterable[Report | TimelineEvent]) -> None:
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
            self._services.ticker.schedule(self, deadline, self._wake)

    def _perform(self) -> None:
        actions, self.bridge.outputs.actions = self.bridge.outputs.actions, []
        for action in actions:
            match action:
                case CloseCarrier(code):
                    if self._carrier_link is not None:
                        self._carrier_link.close(code)
                        self._carrier_link = None
                case CloseAgent():
                    self._close_agent()
                case UseProvider(index):
                    self._provider = self._providers[index]
                case ConnectAgent():
                    self._connects.put_nowait(action)
                case Synthesise():
                    self._render(action)
                case Finish():
                    self._services.ticker.cancel(self)
                    self.generation += 1  # whatever the socket still says is nobody's
                    self.finished.set()

    def _render(self, wanted: Synthesise) -> None:
        try:
            self._texts.put_nowait(wanted)
        except asyncio.QueueFull:
            # Not from within the flush that brought it: its outputs come first.
            self._loop.call_soon(self._prompt_failed, wanted.ticket, "too many texts wait for their voice")

    def _close_agent(self) -> None:
        if self._agent_listener is not None:
            self._agent_listener.current = False
        if self._agent_link is not None:
            self._agent_link.close()
            self._agent_link = None

    def _write_recording(self) -> None:
        blocks, self.bridge.outputs.recording = self.bridge.outputs.recording, []
        if self._services.recordings is None:
            return
        if self._recording is None:
            self._recording = self._services.recordings.open(self.call_id, self.bridge.carrier.inbound.rate)
        for block in blocks:
            if isinstance(block, Unrecorded):
                self._recording.skip(block.samples * STEREO)
            else:
                self._recording.write(block)

    def _release(self) -> None:
        """Whatever way the task ended, nothing of the call stays behind."""
        if not self._discarded and not self.bridge.over():
            self.bridge.end("error", self._now(), after_playout=False)
            self._flush(self._now())
        self._services.ticker.cancel(self)
        self._close_agent()
        if self._carrier_link is not None and not self._discarded:
            self._carrier_link.close()
            self._carrier_link = None
        if self._trace is not None:
            self._trace.close()
            self._trace = None  # a call whose files are being written may still be told to end

    async def _write_record(self) -> None:
        path = await self._finish_recording()
        facts = CallFacts(
            call_id=self.call_id,
            carrier=self.carrier,
            started_at=self._started_at,
            recording=str(path) if path is not None else None,
        )
        self.summary = media_summary(self.bridge, facts.recording)
        self.record = call_record(facts, self.bridge)
        if not self.bridge.policy.controlled:  # else the store has it, and what it forgets must be forgotten
            text = json.dumps(self.record, indent=1)
            await self._loop.run_in_executor(None, self._save, text)
        log.info(
            "call ended",
            call_id=self.call_id,
            ended_reason=self.bridge.ended_reason,
            duration=self.record["duration_seconds"],
        )

    async def _finish_recording(self) -> Path | None:
        """A recording that fails is lost, its call's record is not."""
        recording = self._recording
        if recording is None:
            return None
        path = None
        try:
            path = await recording.finish()
        except OSError as fault:
            recording.error = recording.error or str(fault)
        if recording.error is not None:
            log.error("recording failed", call_id=self.call_id, error=recording.error)
        return path

    def _save(self, text: str) -> None:
        self._services.records.mkdir(parents=True, exist_ok=True)
        (self._services.records / f"{self.call_id}.json").write_text(text, encoding="utf-8")

    def _trace_header(self, policy: CallPolicy) -> dict[str, object]:
        return {
            "call_id": self.call_id,
            "carrier": self.carrier,
            "outbound": str(self._outbound) if self._outbound is not None else None,
            "began": self.bridge.timeline.origin,
            **configuration(policy, self._provider.config),
            "dialect": self._provider.dialect.name,
            "fallbacks": [session_form(each.config, each.dialect) for each in self._providers[1:]],
        }

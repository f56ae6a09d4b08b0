"""One live call: its one task and its files, around the bridge that decides and the driver that feeds it.

The task exists to own the connecting of agents; it ends when the call does, and the call ends when it does.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import time as unix_time

import structlog

from control.bridge import Bridge
from control.media_orders import MediaEnded, MediaOrder, Report
from control.outputs import (
    ConnectAgent,
    Synthesise,
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
from gateway.bridge_driver import AgentListener, BridgeDriver, TaskAction
from gateway.recording import RecordingThread
from gateway.speech import Speech, SpeechFailed, SpeechPort
from gateway.ticker import Ticker
from gateway.trace import Trace, configuration, session_form
from media.audio import AudioFormat
from media.realtime.configuration import SessionConfig
from media.realtime.dialects import Dialect, connection
from media.realtime.session import RealtimeSession
from telephony.carrier import WIRES
from telephony.link import Connector, Link, LinkListener, LinkRefused
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


class CallRunner:
    """Runs one call to its record. `run` is the call's task: it connects the agent at once, whether a media socket is
    there or comes later (`attach`).

    Of a controlled call (`CallPolicy.controlled`) the call's machine gives the orders (`order`); `report` is told what
    it reports, `follow` every entry of the timeline, both in the order in which things happened and from within the
    loop's callbacks: they may give orders at once and must not block.
    """

    __slots__ = (
        "_connects",
        "_discarded",
        "_driver",
        "_failure",
        "_loop",
        "_outbound",
        "_provider",
        "_providers",
        "_services",
        "_started_at",
        "_texts",
        "call_id",
        "carrier",
        "finished",
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
        self.finished = asyncio.Event()
        self.record: dict[str, object] | None = None
        self.summary: MediaSummary | None = None
        """What the media came to, once it has ended."""
        self._providers = (provider, *fallbacks)
        self._provider = provider
        self._services = services
        self._outbound = outbound
        self._loop = asyncio.get_running_loop()
        self._started_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._connects: asyncio.Queue[ConnectAgent] = asyncio.Queue(maxsize=4)
        self._texts: asyncio.Queue[Synthesise] = asyncio.Queue(maxsize=_TEXTS)
        self._discarded = False
        self._failure: Exception | None = None
        policy = replace(policy, providers=tuple(each.name for each in self._providers))
        bridge = Bridge(policy, self._loop.time())
        self._driver = BridgeDriver(
            call_id,
            bridge,
            ticker=services.ticker,
            recordings=services.recordings,
            trace=self._open_trace(bridge),
            perform=self._perform,
            finish=self.finished.set,
            fail=self._fail,
            report=report,
            follow=follow,
        )

    @property
    def bridge(self) -> Bridge:
        return self._driver.bridge

    @property
    def generation(self) -> int:
        """How many media sockets there have been."""
        return self._driver.generation

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
                self._driver.tell_news([MediaEnded()])

    async def _connect_agents(self) -> None:
        while True:
            wanted = await self._connects.get()
            if wanted.delay:
                await asyncio.sleep(wanted.delay)
            await self._connect_agent()

    async def _connect_agent(self) -> None:
        provider = self._provider
        url, headers = connection(provider.url, provider.api_key, provider.config.model, provider.dialect)
        listener = AgentListener(self._driver)
        try:
            link = await self._services.connect(url, listener, headers=headers)
        except LinkRefused as refused:
            # Retrying a refused key or path changes nothing; a busy server may have room a moment later.
            retry = refused.status >= 500 or refused.status == 429
            self._driver.agent_unreachable(f"http_{refused.status}", retry=retry)
            return
        except (OSError, TimeoutError) as fault:
            self._driver.agent_unreachable(f"unreachable: {fault}", retry=True)
            return
        if self.finished.is_set():
            link.close()
            return
        session = RealtimeSession(provider.config, provider.dialect)
        self._driver.agent_opened(link, listener, session, unix_time())

    async def _render_texts(self) -> None:
        """One at a time: prompts are heard one after the other, too."""
        while True:
            wanted = await self._texts.get()
            try:
                speech = await self._say(wanted)
            except SpeechFailed as fault:
                self._prompt_failed(wanted.ticket, str(fault))
            else:
                self._driver.prompt_ready(wanted.ticket, speech)

    async def _say(self, wanted: Synthesise) -> Speech:
        port = self._services.speech
        if port is None:
            raise SpeechFailed("no voice is configured")
        return await port.say(wanted.text, wanted.voice, wanted.language)

    def _prompt_failed(self, ticket: str, why: str) -> None:
        log.warning("a prompt was not said", call_id=self.call_id, why=why)
        self._driver.prompt_failed(ticket, why)

    # --- what others want of the call

    def attach(self, link: Link, backlog: list[bytes]) -> LinkListener:
        """Take over a media socket, with what it has said so far."""
        stream = CarrierStream(WIRES[self.carrier], outbound=self._outbound)
        return self._driver.attach(self.carrier, stream, link, backlog)

    def order(self, order: MediaOrder) -> None:
        """Have the bridge do what the call's machine wants; nothing comes of it once the media has ended."""
        self._driver.order(order)

    def end(self, reason: str, *, after_playout: bool = True) -> None:
        """End the call for our own reason; what is being said is heard first unless told otherwise."""
        self._driver.end(reason, after_playout=after_playout)

    def discard(self) -> None:
        """This call turned out to be another's stream: let go of everything, leave no record."""
        self._discarded = True
        self._driver.close_agent()
        self.finished.set()

    def _fail(self, fault: Exception) -> None:
        """A fault of ours in this call's machines costs this call, never another and never silently."""
        self._failure = self._failure or fault
        self.finished.set()

    # --- what the bridge wants of the task

    def _perform(self, action: TaskAction) -> None:
        match action:
            case UseProvider(index):
                self._provider = self._providers[index]
            case ConnectAgent():
                self._connects.put_nowait(action)
            case Synthesise():
                self._render(action)

    def _render(self, wanted: Synthesise) -> None:
        try:
            self._texts.put_nowait(wanted)
        except asyncio.QueueFull:
            # Not from within the flush that brought it: its outputs come first.
            self._loop.call_soon(self._prompt_failed, wanted.ticket, "too many texts wait for their voice")

    def _release(self) -> None:
        """Whatever way the task ended, nothing of the call stays behind."""
        if not self._discarded and not self.bridge.over():
            self._driver.abandon()
        self._driver.close_agent()
        if not self._discarded:
            self._driver.close_carrier()
        self._driver.release()

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
        recording = self._driver.recording
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

    def _open_trace(self, bridge: Bridge) -> Trace | None:
        if self._services.traces is None:
            return None
        return Trace(self._services.traces / f"{self.call_id}.jsonl", self._trace_header(bridge))

    def _trace_header(self, bridge: Bridge) -> dict[str, object]:
        return {
            "call_id": self.call_id,
            "carrier": self.carrier,
            "outbound": str(self._outbound) if self._outbound is not None else None,
            "began": bridge.timeline.origin,
            **configuration(bridge.policy, self._provider.config),
            "dialect": self._provider.dialect.name,
            "fallbacks": [session_form(each.config, each.dialect) for each in self._providers[1:]],
        }

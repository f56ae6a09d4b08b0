"""One live call in the service: its machine, fed one input at a time, and everything that its effects go to.

Theory of operation. Inputs come from webhooks, media, users, commands and time; all of them go through `tell`, which
hands the machine one after the other (an order may make the media report at once) and carries out what comes of each:
orders to the media first and at once, entries into the ledger, commands and answers once the ledger is kept. A fault
of ours in a machine ends its call, never another.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import assert_never

import structlog

from control.agent_run import EffectiveAgent, changed
from control.api.ports import AudioUnavailable, FetchAudio, FetchedAudio
from control.brief import ToolFiller
from control.call import Call
from control.call_documents import Wait
from control.call_draft import DraftPiece
from control.call_ending import NOT_IN_PROGRESS
from control.call_gather import GatherView
from control.call_record import CallRecord, EventRecord
from control.call_transfer import TransferView
from control.effects import (
    Close,
    CommandOutcome,
    CommandRefused,
    Effect,
    Instruction,
    Order,
    Perform,
    Publish,
    PutDown,
    Reply,
    RevokeTokens,
    RunTool,
    StartMedia,
)
from control.inputs import Asked, CallInput, ServerHeard
from control.media_orders import EndMedia, MediaEnded, Reconfigure, Report, StreamDown, StreamUp
from control.ownership import Ownership
from control.records import MediaSummary
from control.requests import Accepted, Answer, CallRequest, EndCall, Refused
from control.server_answer import CallChanges
from control.service.chronicle import Chronicle
from control.service.commander import Commander
from control.service.draft import Draft
from control.service.ledger import Ledger
from control.service.ports import AgentServers, CallMedia, CarrierAccount, Describe, MediaRoom, Tools, World
from control.service.server_talk import CallSide, ServerTalk
from control.service.stream_gaps import StreamGaps
from control.timeline import TimelineEvent
from control.tool_definition import ToolDefinition
from media.realtime.events import Usage
from telephony.calls import TwimlRequested
from telephony.causes import CallStatus, Disposition, EndedReason
from telephony.client_errors import Verdict
from telephony.commands import CallCommand, Dial, Hangup

log = structlog.get_logger()

Pricing = Callable[[CallRecord, Sequence[Usage]], CallRecord]
"""Fills in what a call has cost, by what each of its providers' models has consumed."""

# Longer than any command is tried: an answer that has not come by then will not.
ANSWER_PATIENCE = 45.0

_NO_ANSWER = Refused(status=502, code="carrier_unavailable", detail="The carrier has not answered in time")


class LiveCall:
    """One call that this process owns. Driven by the service."""

    def __init__(
        self,
        call: Call,
        *,
        agent: EffectiveAgent | None,
        account: CarrierAccount,
        ledger: Ledger,
        chronicle: Chronicle,
        room: MediaRoom,
        tools: Tools,
        servers: AgentServers,
        fetch_audio: FetchAudio,
        describe: Describe,
        price: Pricing,
        world: World,
        extracts: bool,
        gaps: StreamGaps,
        renamed: Callable[["LiveCall"], None],
        closed: Callable[["LiveCall"], None],
    ) -> None:
        """
        Args:
            agent: None for a call that is refused.
            price: fills in what a call that is over has cost.
            extracts: whether there is somebody to extract data from calls after their end.
            renamed: told when the carrier has another name for the call.
            closed: told, once, when the call has said its last word and all of it is kept.
        """
        self.call_id = call.record.call_id
        self.agent = agent
        self.account = account
        self.ledger = ledger
        self.over = False
        """Whether `call.ended` has been said."""
        self.dial_outcome: asyncio.Future[CommandOutcome] = asyncio.get_running_loop().create_future()
        self._call = call
        self._chronicle = chronicle
        self._room = room
        self._tools = tools
        self._servers = servers
        self._fetch_audio = fetch_audio
        self._describe = describe
        self._price = price
        self._world = world
        self._extracts = extracts
        self._gaps = gaps
        self._renamed = renamed
        self._closed = closed
        self._media: CallMedia | None = None
        self._usages: tuple[Usage, ...] = ()
        self._commander = Commander(account, world, self._command_ended, name=self.call_id)
        self._dial_id: str | None = None
        self._inbox: deque[CallInput] = deque()
        self._busy = False
        self._broken = False
        self._moved = asyncio.Event()
        self._tickets: dict[str, asyncio.Future[Answer]] = {}
        self._tool_tasks: set[asyncio.Task[None]] = set()
        self._talk: ServerTalk | None = None
        self._draft = Draft()
        self._audio: dict[str, FetchedAudio] = {}
        """Of fillers, by URL."""

    # What it is

    @property
    def record(self) -> CallRecord:
        return self._call.record

    @property
    def ended(self) -> bool:
        return self._broken or self._call.ended

    @property
    def released(self) -> bool:
        """Whether the caller talks to somebody else."""
        return self._call.ownership is Ownership.RELEASED

    @property
    def dial_is_open(self) -> bool:
        """Whether it was dialled, and nobody knows what became of that."""
        record = self.record
        return record.live and record.carrier_call_id is None and self.dial_outcome.done()

    @property
    def busy(self) -> bool:
        """Whether its carrier is still being asked for something."""
        return self._commander.busy

    @property
    def gather(self) -> GatherView | None:
        return self._call.gather

    @property
    def transfer(self) -> TransferView | None:
        return self._call.transfer

    # What drives it

    def begin(self) -> None:
        """Dial, or take what has come in."""
        self._carry_out(lambda now: self._call.begin(now))

    def tell(self, happened: CallInput) -> None:
        """Something happened to it."""
        self._inbox.append(happened)
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                self._handle(self._inbox.popleft())
        finally:
            self._busy = False

    async def ask(self, request: CallRequest) -> Answer:
        """Ask something of it, and wait for the answer: what is at once impossible, or has been taken."""
        if self._broken:
            return Accepted() if isinstance(request, EndCall) else NOT_IN_PROGRESS
        ticket = self._world.new_id("ask")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._tickets[ticket] = answer
        try:
            self.tell(Asked(ticket, request))
            async with asyncio.timeout(ANSWER_PATIENCE):
                return await answer
        except TimeoutError:
            log.error("a request was not answered", call_id=self.call_id, kind=type(request).__name__)
            return _NO_ANSWER
        finally:
            self._tickets.pop(ticket, None)

    async def document(self, requested: TwimlRequested) -> Instruction:
        """Decide what its carrier is to do next, which may have to wait for the agent."""
        while not self._broken:
            instruction: list[Instruction] = []
            self._carry_out(partial(self._asked_for, requested, instruction))
            if instruction:
                await self.kept()
                return instruction[0]
            await self._moved.wait()
        return PutDown()

    async def kept(self) -> None:
        """Wait until everything that has happened so far is kept."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ledger.then(lambda: None if done.done() else done.set_result(None))
        await done

    def stop(self) -> None:
        """The process ends: nothing more is asked of anybody."""
        self._world.timers.cancel(self)
        self._commander.cancel()
        for task in self._tool_tasks:
            task.cancel()
        if self._talk is not None:
            self._talk.stop()
        self.ledger.close()

    # How

    def _asked_for(self, requested: TwimlRequested, found: list[Instruction], now: float) -> list[Effect]:
        decided = self._call.document(requested, now)
        if not isinstance(decided, Wait):
            found.append(decided.instruction)
        return decided.effects

    def _handle(self, happened: CallInput) -> None:
        if isinstance(happened, MediaEnded):
            self._take_summary()
        self._carry_out(lambda now: self._call.handle(happened, now))

    def _wake(self, now: float) -> None:
        self._carry_out(lambda _: self._call.poll(now))

    def _carry_out(self, step: Callable[[float], list[Effect]]) -> None:
        if self._broken:
            return
        try:
            self._do(step(self._world.now()))
        except Exception:
            log.exception("a call's machine failed", call_id=self.call_id)
            self._break()

    def _do(self, effects: list[Effect]) -> None:
        entries: list[EventRecord] = []
        after: list[Callable[[], None]] = []
        for effect in effects:
            self._apply(effect, entries, after)
        self._settle(entries, after)
        self._rearm()
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _apply(self, effect: Effect, entries: list[EventRecord], after: list[Callable[[], None]]) -> None:
        match effect:
            case Order(order=order):
                if self._media is not None:
                    self._media.order(order)
            case Publish():
                entries.append(self._entry(effect))
                if effect.name == "call.started" and self._talk is not None:
                    self._talk.talking()
                if effect.name == "call.ended":
                    entries += self._unextracted()
            case Perform(command=command):
                if isinstance(command, Dial):
                    self._dial_id = command.command_id
                after.append(lambda: self._commander.perform(command))
            case Reply(ticket=ticket, answer=answer):
                after.append(lambda: self._reply(ticket, answer))
            case RunTool():
                self._run_tool(effect)
            case StartMedia():
                self._start_media()
            case RevokeTokens():
                self._room.revoke(self.call_id)
            case Close():
                after.append(self._close)
            case _:
                assert_never(effect)

    def _entry(self, told: Publish) -> EventRecord:
        entry = self._chronicle.entry(
            told.name,
            told.data,
            self._world.now(),
            secret=told.secret,
            tool_run=told.tool_run,
            tool_begun=told.tool_begun,
        )
        if told.tool_begun is not None:
            entry = replace(entry, draft=entry.draft + self._drafted())
        return self._last_word(entry) if told.name == "call.ended" else entry

    def _unextracted(self) -> list[EventRecord]:
        """Whoever waits for what was to be extracted is told that it will not come."""
        if self._extracts or not self._to_extract():
            return []
        why = {"error": "no model is configured (OFFHOOK_EXTRACTION_URL)"}
        return [self._chronicle.entry("extraction.failed", why, self._world.now())]

    def _last_word(self, entry: EventRecord) -> EventRecord:
        """Everything is known: the media's summary, how long the transfer lasted."""
        self._call.amend(lambda record: self._price(record, self._usages))
        described = {**entry.data, "call": self._describe(self.record)}
        return replace(
            entry, data=described, extraction_schema=self._to_extract() if self._extracts else None
        )

    def _to_extract(self) -> Mapping[str, object] | None:
        """What is wanted of the call; of one in which nobody spoke there is nothing."""
        return self._wanted() if self.record.transcript else None

    def _wanted(self) -> Mapping[str, object] | None:
        return self.agent.config.extraction_schema if self.agent is not None else None

    def _settle(self, entries: list[EventRecord], after: list[Callable[[], None]]) -> None:
        record = self.record
        self.ledger.write(record, entries)
        for action in after:
            self.ledger.then(action)
        self._renamed(self)
        if record.answered_at is not None:
            self._commander.answered()
        if not record.live:
            self._commander.ended()

    def _rearm(self) -> None:
        deadline = self._call.next_deadline()
        if deadline is None:
            self._world.timers.cancel(self)
        else:
            self._world.timers.schedule(self, deadline, self._wake)

    # Commands, answers, tools

    def _command_ended(self, outcome: CommandOutcome) -> None:
        self.tell(outcome)
        if outcome.command_id == self._dial_id and not self.dial_outcome.done():
            self.dial_outcome.set_result(outcome)

    def _reply(self, ticket: str, answer: Answer) -> None:
        waiting = self._tickets.get(ticket)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _run_tool(self, wanted: RunTool) -> None:
        task = self._world.spawn(self._tool(wanted), f"{self.call_id} tool")
        self._tool_tasks.add(task)
        task.add_done_callback(self._tool_tasks.discard)

    async def _tool(self, wanted: RunTool) -> None:
        if self.agent is None:
            return
        finished = await self._tools.run(wanted, self.agent, self.record)
        self.tell(finished)
        if self._talk is not None and finished.fault:
            self._talk.failed("tool.call", finished.fault)
        elif self._talk is not None:
            self._talk.command("tool.call", finished.actions)

    def tool_id(self, name: str) -> str | None:
        """The id of the agent's tool of that name, as the agent is now."""
        tool = self._tool_named(name)
        return None if tool is None else tool.tool_id

    def filler(self, name: str) -> ToolFiller | None:
        """What the caller hears while a tool runs."""
        tool = self._tool_named(name)
        found = None if tool is None else tool.filler
        if found is None:
            return None
        audio = self._audio.get(found.audio_url) if found.audio_url is not None else None
        return ToolFiller(
            after=found.after_seconds,
            phrase=found.phrase,
            audio=audio.audio if audio is not None else None,
            rate=audio.rate if audio is not None else 8_000,
        )

    def _tool_named(self, name: str) -> ToolDefinition | None:
        tools = self.agent.config.tools if self.agent is not None else ()
        return next((tool for tool in tools if tool.name == name), None)

    def _fetch_fillers(self, agent: EffectiveAgent) -> None:
        """Have the fillers' audio by the time it is wanted: while a tool runs there is no time to fetch it."""
        fillers = [tool.filler for tool in agent.config.tools if tool.filler is not None]
        for url in {filler.audio_url for filler in fillers if filler.audio_url is not None} - set(
            self._audio
        ):
            task = self._world.spawn(self._fetch_filler(url), f"{self.call_id} filler")
            self._tool_tasks.add(task)
            task.add_done_callback(self._tool_tasks.discard)

    async def _fetch_filler(self, url: str) -> None:
        try:
            self._audio[url] = await self._fetch_audio(url)
        except AudioUnavailable as fault:
            self._note("filler.failed", {"detail": str(fault)})

    # The agent's own server

    def _ask_server(self, agent: EffectiveAgent) -> None:
        side = CallSide(
            ask=self.ask,
            change=self._change,
            heard=lambda: self.tell(ServerHeard()),
            note=self._note,
            agent=lambda: self.agent or agent,
            record=lambda: self.record,
        )
        self._talk = ServerTalk(self._servers, side, self._world, name=self.call_id)
        self._talk.begin()

    def _change(self, changes: CallChanges) -> None:
        """This call is to be different from here on.

        Raises:
            ValueError: the changes do not fit the agent, or come after the end.
        """
        if self.agent is None or self._media is None or self.ended:
            raise ValueError("the call has ended")
        self.agent = changed(self.agent, changes)
        if changes.metadata is not None:
            given = changes.metadata
            self._call.amend(lambda record: replace(record, metadata={**record.metadata, **given}))
        tools = self.agent.session.tools if changes.tools is not None else None
        self._fetch_fillers(self.agent)
        order = Reconfigure(instructions=changes.instructions, greeting=changes.greeting, tools=tools)
        if order != Reconfigure():
            self._media.order(order)
        self.ledger.write(self.record, [])

    def _note(self, name: str, data: Mapping[str, object]) -> None:
        self.ledger.write(self.record, [self._chronicle.entry(name, data, self._world.now())])

    # The media

    def _start_media(self) -> None:
        if self.agent is None:
            return
        self._media = self._room.begin(
            self.call_id, self.account.carrier, self.agent, report=self._reported, follow=self._followed
        )
        if self.agent.config.server_url is not None:
            self._ask_server(self.agent)
        self._fetch_fillers(self.agent)

    def _reported(self, report: Report) -> None:
        if isinstance(report, StreamDown):
            self._gaps.down(self.call_id, self._world.now())
        elif isinstance(report, StreamUp):
            self._gaps.up(self.call_id, self.account.carrier, self._world.now())
        self.tell(report)

    def _followed(self, event: TimelineEvent) -> None:
        """An entry of the media's timeline; what its machine says of the call itself, it says better."""
        if event.name == "transcript.updated" and self._talk is not None:
            self._talk.said(str(event.fields.get("role", "")), str(event.fields.get("text", "")))
        if not event.name.startswith(_OURS):
            entry = self._chronicle.entry(event.name, dict(event.fields), self._world.now())
            if event.name in _TELLING:
                entry = replace(entry, draft=self._drafted())
            self.ledger.write(self.record, [entry])

    def _drafted(self) -> tuple[DraftPiece, ...]:
        """What of the turns so far is not on record yet: no save is made for it, it goes with the next."""
        if self._media is None or self._media.summary is not None:
            return ()
        progress = self._media.progress
        return self._draft.pieces(progress, self._price(self.record, progress.usages), self._wanted())

    def _take_summary(self) -> None:
        summary = self._media.summary if self._media is not None else None
        if summary is not None:
            self._usages = summary.usages
            # Billed already here: a call that was transferred may end after this process has.
            self._call.amend(lambda record: self._price(with_summary(record, summary), summary.usages))

    # The end

    def _close(self) -> None:
        """Its last event is kept."""
        self.over = True
        self._world.timers.cancel(self)
        for task in self._tool_tasks:
            task.cancel()
        if self._talk is not None:
            self._talk.end()
        self._closed(self)

    def _break(self) -> None:
        """Its machine cannot be trusted any more: end what it has begun, and say so."""
        self._broken = True
        wall = self._world.wall()
        if self._media is not None:
            self._media.order(EndMedia(EndedReason.ERROR))
        self._room.revoke(self.call_id)
        if self.record.live:
            self._call.amend(lambda record: _failed(record, wall))
            facts = {"status": self.record.status.value, "ended_reason": EndedReason.ERROR.value}
            names = ["call.ended"] if self.record.answered_at is not None else ["call.failed", "call.ended"]
            entries = [self._entry(Publish(name, dict(facts))) for name in names]
            self.ledger.write(self.record, entries)
        command = self._last_hang_up()
        if command is not None and not self.released:
            self.ledger.then(lambda: self._commander.perform(command))
        for ticket in list(self._tickets):
            self._reply(ticket, NOT_IN_PROGRESS)
        if not self.dial_outcome.done():
            refused = CommandRefused(self._dial_id or "", Verdict.REJECTED, "the fault is ours")
            self.dial_outcome.set_result(refused)
        self._world.timers.cancel(self)
        self.ledger.then(self._close)
        self._moved.set()

    def _last_hang_up(self) -> CallCommand | None:
        call_id = self.record.carrier_call_id
        if call_id is None:
            return None
        return Hangup(command_id=self._world.new_id("cmd"), carrier_call_id=call_id)


_OURS = ("call.answered", "call.started", "call.ended", "agent.lost", "tool.invoked")
"""Of the media's entries, those whose news the call's machine gives."""

_TELLING = frozenset({"ai.speech.started", "ai.speech.ended", "barge_in", "agent.cut", "transcript.updated"})
"""Of the media's entries, those with which a turn has come further."""


def with_summary(record: CallRecord, summary: MediaSummary) -> CallRecord:
    return replace(
        record,
        turn_count=summary.turn_count,
        barge_in_count=summary.barge_in_count,
        tool_call_count=len(summary.tools_called),
        tools_called=summary.tools_called,
        transcript=summary.transcript,
        latency_turns=summary.latency_turns,
        usage={name: value for name, value in summary.usage.items() if isinstance(value, int)},
        ws_unavailable=record.ws_unavailable or summary.ws_unavailable,
    )


def _failed(record: CallRecord, wall: datetime) -> CallRecord:
    answered = record.answered_at is not None
    return replace(
        record,
        status=CallStatus.COMPLETED if answered else CallStatus.FAILED,
        disposition=Disposition.ANSWERED if answered else Disposition.FAILED,
        ended_reason=EndedReason.ERROR,
        intent=record.intent or EndedReason.ERROR,
        ended_at=max(wall, record.answered_at or record.started_at),
    )

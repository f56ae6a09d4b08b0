"""The service on a stage: tests play carriers, media and the database; what is in between is real, on virtual time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from control.agent_run import AgentDefaults, EffectiveAgent
from control.agents import Agent, AgentConfig, Source, settings_agent
from control.api.ports import AudioUnavailable, FetchedAudio
from control.call_draft import CallDraft, DraftKind
from control.call_record import CallRecord, EventRecord
from control.costs import Tariff
from control.directory import Directory, Unlisted
from control.effects import RunTool
from control.inputs import ToolFinished
from control.live.in_process import ProcessSlots
from control.media_orders import AgentUp, EndMedia, MediaEnded, MediaOrder, Report, StreamUp
from control.policy import CallPolicy
from control.records import MediaProgress, MediaSummary
from control.requests import CallRequest
from control.secrets import SecretKeys, new_key
from control.server_answer import ServerAnswer, ServerFault
from control.service.admission import LEASE, Admission
from control.service.call_service import CallService
from control.service.keeper import Keeper
from control.service.parts import Parts
from control.service.ports import World
from control.service.provider_accounts import ProviderAccounts
from control.service.reception import House, Reception
from control.service.switchboard import Switchboard
from control.stores.errors import StoreUnavailable
from control.stores.idempotency import Claim, Claimed, ClaimOutcome
from control.stores.integrations import Integration
from control.stores.numbers import NumberRoute
from control.stores.tenants import Tenant
from control.tenancy import Tenancy, Terms
from control.timeline import TimelineEvent
from media.audio import PCMU_8K
from media.realtime.configuration import SessionConfig
from media.realtime.events import Usage
from media.realtime.usage import Price
from telephony.calls import Answered, HungUp, Initiated, LegToken, Origin
from telephony.capabilities import CAPABILITIES, Capabilities
from telephony.causes import Direction, HangupCause, HangupSource
from telephony.client_errors import CommandFailed, LiveCall, Performed, Verdict
from telephony.commands import CallCommand, Dial, MediaStream

BEGUN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
OURS, THEIRS, OTHER = "+13125550101", "+13125550177", "+13125550188"
SUMMARY = MediaSummary(
    turn_count=2,
    barge_in_count=1,
    tools_called=("look_up",),
    transcript=({"role": "assistant", "content": "Hello."},),
    latency_turns=(),
    usages=(Usage(audio_out=7),),
    ws_unavailable=False,
    recording=None,
)

PROGRESS = MediaProgress(
    turn_count=1,
    barge_in_count=0,
    tools_called=(),
    first_utterance=0,
    transcript=(),
    first_turn=0,
    latency_turns=(),
    usages=(Usage(),),
    ws_unavailable=False,
)

# A dollar for each token of audio out, and ten with the spare model.
TARIFF = Tariff(
    models={"m": Price(audio_out=Decimal(1_000_000)), "spare-m": Price(audio_out=Decimal(10_000_000))},
    transfer_per_minute=Decimal(2),
)


class Register:
    """Tenants that are told apart by their limits."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.delay = 0.0
        self.fault: Exception | None = None

    async def get(self, tenant_id: str) -> Tenant | None:
        await asyncio.sleep(self.delay)
        if self.fault is not None:
            raise self.fault
        return self.tenants.get(tenant_id)

    def put(self, tenant_id: str = "default", **terms: Any) -> None:
        self.tenants[tenant_id] = Tenant(tenant_id=tenant_id, name=tenant_id, created_at=BEGUN, **terms)


class Shelf:
    """A database that keeps everything, unless it is away or slow."""

    def __init__(self) -> None:
        self.records: dict[str, CallRecord] = {}
        self.events: list[EventRecord] = []
        self.saves = 0
        self.away = False
        self.faults = Counter[str]()
        """How often it is away for one question."""
        self.delay = 0.0
        self.claims: dict[str, ClaimOutcome] = {}
        self.beats: dict[str, datetime] = {}

    async def _answer(self, asked: str = "") -> None:
        await asyncio.sleep(self.delay)
        if self.away or self.faults[asked]:
            self.faults[asked] -= not self.away
            raise StoreUnavailable("away")

    async def add_call(
        self, record: CallRecord, events: Sequence[EventRecord], idempotency: Claim | None = None
    ) -> ClaimOutcome:
        await self._answer()
        if idempotency is not None and idempotency.key in self.claims:
            return self.claims[idempotency.key]
        self._keep(record, events)
        return Claimed()

    async def save_call(self, record: CallRecord, events: Sequence[EventRecord] = ()) -> bool:
        await self._answer()
        self.saves += 1
        self._keep(record, events)
        return True

    async def end_call(self, before: CallRecord, ended: CallRecord, events: Sequence[EventRecord]) -> bool:
        await self._answer("end_call")
        kept = self.records.get(before.call_id)
        if kept is None or (kept.revision, kept.status) != (before.revision, before.status):
            return False
        if "call.ended" in self.names(before.call_id):
            return False
        self.saves += 1
        self._keep(replace(ended, revision=before.revision), events)
        return True

    def _keep(self, record: CallRecord, events: Sequence[EventRecord]) -> None:
        kept = self.records.get(record.call_id)
        if kept is None or kept.revision <= record.revision:
            self.records[record.call_id] = record
        known = {event.event_id for event in self.events}
        self.events += [event for event in events if event.event_id not in known]

    async def call(self, tenant_id: str, call_id: str) -> CallRecord | None:
        await self._answer()
        record = self.records.get(call_id)
        return record if record is not None and record.tenant_id == tenant_id else None

    async def live_calls(self, node: str | None = None, tenant_id: str | None = None) -> list[CallRecord]:
        await self._answer()
        return [
            record
            for record in self.records.values()
            if record.live and node in (None, record.node) and tenant_id in (None, record.tenant_id)
        ]

    async def untold_calls(self, node: str) -> list[CallRecord]:
        await self._answer("untold_calls")
        told = {event.call_id for event in self.events if event.name == "call.ended"}
        return [
            record
            for record in self.records.values()
            if record.node == node and not record.live and record.call_id not in told
        ]

    async def last_sequence(self, call_id: str) -> int:
        await self._answer()
        return max((e.sequence or 0 for e in self.events if e.call_id == call_id), default=0)

    async def happened(self, call_id: str, names: Collection[str]) -> list[EventRecord]:
        await self._answer()
        return [e for e in self.events if e.call_id == call_id and e.name in names]

    async def draft(self, call_id: str) -> CallDraft:
        await self._answer()
        ended = {event.tool_log.tool_call_id for event in self.events if event.tool_log is not None}
        pieces = {
            (piece.kind, piece.key): piece
            for event in self.events
            if event.call_id == call_id
            for piece in event.draft
            if piece.kind is not DraftKind.TOOL or piece.key not in ended
        }
        return CallDraft(tuple(pieces[name] for name in sorted(pieces)))

    async def beat(self, node: str, now: datetime) -> None:
        await self._answer()
        self.beats[node] = now

    async def neighbours(self, but: str, since: datetime) -> Mapping[str, datetime]:
        await self._answer()
        owning = {record.node for record in self.records.values() if record.live}
        return {
            node: at for node, at in self.beats.items() if node != but and (node in owning or at >= since)
        }

    async def ping(self) -> float:
        await self._answer()
        return self.delay

    def names(self, call_id: str) -> list[str]:
        """What has happened in a call."""
        return [event.name for event in self.events if event.call_id == call_id]

    def published(self, call_id: str) -> list[tuple[int, str]]:
        return [(e.sequence, e.name) for e in self.events if e.call_id == call_id and e.sequence is not None]


class Notebook:
    """A journal in memory."""

    def __init__(self) -> None:
        self.entries: list[tuple[CallRecord, tuple[EventRecord, ...]]] = []

    def empty(self) -> bool:
        return not self.entries

    async def append(self, record: CallRecord, events: Sequence[EventRecord]) -> None:
        self.entries.append((record, tuple(events)))

    async def replay(self, save: Callable[[CallRecord, Sequence[EventRecord]], Any]) -> int:
        entries = list(self.entries)
        for record, events in entries:
            await save(record, events)
        del self.entries[: len(entries)]
        return len(entries)


class Timers:
    """The ticker's face on the loop's own timers."""

    def __init__(self) -> None:
        self._set: dict[Hashable, asyncio.TimerHandle] = {}

    def schedule(self, key: Hashable, deadline: float, callback: Callable[[float], None]) -> None:
        self.cancel(key)

        def due() -> None:
            del self._set[key]
            callback(max(asyncio.get_running_loop().time(), deadline))

        self._set[key] = asyncio.get_running_loop().call_at(deadline, due)

    def cancel(self, key: Hashable) -> None:
        timer = self._set.pop(key, None)
        if timer is not None:
            timer.cancel()


class Tasks:
    """Tasks whose faults are raised by the test."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.faults: list[BaseException] = []

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.faults.append(fault)

    async def close(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert self.faults == []


class Media:
    """One call's media: notes orders, and ends when it is told to."""

    def __init__(
        self,
        call_id: str,
        report: Callable[[Report], None],
        follow: Callable[[TimelineEvent], None],
        ending: MediaSummary,
    ) -> None:
        self.call_id = call_id
        self.orders: list[MediaOrder] = []
        self.summary: MediaSummary | None = None
        self.report = report
        self.follow = follow
        self.stays = False
        """Whether it takes no notice of its end."""
        self.ending = ending
        """What it will have come to."""
        self.progress = PROGRESS

    def order(self, order: MediaOrder) -> None:
        self.orders.append(order)
        if isinstance(order, EndMedia) and not self.stays:
            self.end()

    def end(self) -> None:
        self.summary = self.ending
        asyncio.get_running_loop().call_soon(self.report, MediaEnded())


class Room:
    """Where media runs."""

    def __init__(self, places: int = 100) -> None:
        self.media: dict[str, Media] = {}
        self.minted: list[tuple[str, int, float]] = []
        self.revoked: list[str] = []
        self.places = places
        self.trouble: str | None = None
        self.ending = SUMMARY
        """What media that begin from now on will have come to, unless told otherwise."""

    def begin(
        self,
        call_id: str,
        carrier: str,
        agent: EffectiveAgent,
        *,
        report: Callable[[Report], None],
        follow: Callable[[TimelineEvent], None],
    ) -> Media:
        self.media[call_id] = Media(call_id, report, follow, self.ending)
        return self.media[call_id]

    def mint(
        self,
        call_id: str,
        carrier: str,
        generation: int,
        lifetime: float,
        *,
        integration_id: str = "default",
    ) -> MediaStream:
        self.minted.append((call_id, generation, lifetime))
        return MediaStream(url=f"wss://gateway.test/media/{carrier}/{call_id}-{len(self.minted)}")

    def revoke(self, call_id: str) -> None:
        self.revoked.append(call_id)

    def free(self) -> int:
        return self.places - sum(1 for media in self.media.values() if media.summary is None)

    def overloaded(self) -> str | None:
        return self.trouble


class Account:
    """A carrier account whose requests succeed, unless a command is scripted to fail."""

    def __init__(
        self, carrier: str = "telnyx", integration_id: str = "default", tenant_id: str = "default"
    ) -> None:
        self.carrier = carrier
        self.integration_id = integration_id
        self.tenant_id = tenant_id
        self.commands: list[CallCommand] = []
        self.troubles: dict[type, list[Verdict]] = {}
        self.listed: list[LiveCall] = []
        self.alive: set[str] = set()
        self.delay = 0.0
        """Of commands, in seconds."""
        self.thinks = 0.0
        """Before it answers a question, in seconds."""
        self.mute = False
        """Whether it answers questions with errors."""
        self._legs = count(1)

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES[self.carrier]

    async def perform(self, command: CallCommand) -> Performed:
        self.commands.append(command)
        await asyncio.sleep(self.delay)
        troubles = self.troubles.get(type(command), [])
        if troubles:
            raise CommandFailed(self.carrier, "c", troubles.pop(0), "its text", code="4711")
        if isinstance(command, Dial):
            leg = f"leg-{next(self._legs)}"
            return Performed(carrier_call_id=leg, leg_id=leg)
        return Performed()

    async def is_alive(self, carrier_call_id: str) -> bool:
        await self._think()
        return carrier_call_id in self.alive

    async def live_calls(self, to_number: str | None) -> list[LiveCall]:
        await self._think()
        return list(self.listed)

    async def _think(self) -> None:
        await asyncio.sleep(self.thinks)
        if self.mute:
            raise CommandFailed(self.carrier, "c", Verdict.UNKNOWN, "no answer")

    def of(self, kind: type) -> list[Any]:
        return [command for command in self.commands if isinstance(command, kind)]


class Providers:
    """Stored accounts with providers: there are none."""

    async def get(self, tenant_id: str, integration_id: str) -> Integration | None:
        return None


class Accounts:
    def __init__(self, *accounts: Account) -> None:
        self._accounts = accounts

    def find(self, carrier: str, integration_id: str = "default") -> Account | None:
        named = [(each.carrier, each.integration_id) for each in self._accounts]
        wanted = (carrier, integration_id)
        return self._accounts[named.index(wanted)] if wanted in named else None

    async def fetch(self, carrier: str, integration_id: str = "default") -> Account | None:
        return self.find(carrier, integration_id)

    async def of_tenant(self, tenant_id: str) -> Sequence[Account]:
        return self._accounts  # whoever asks has these


class Toolbox:
    """Runs the agents' tools."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []
        self.actions: tuple[CallRequest, ...] = ()
        self.fault = ""
        self.takes = 0.0

    async def run(
        self,
        wanted: RunTool,
        agent: EffectiveAgent,
        record: CallRecord,
    ) -> ToolFinished:
        self.ran.append((wanted.name, wanted.arguments))
        if self.takes:
            await asyncio.sleep(self.takes)
        return ToolFinished(wanted.tool_call_id, '{"found": true}', actions=self.actions, fault=self.fault)


class Servers:
    """Agents' servers: answer `call.started` as they are told, after a while; keep what they were told was said."""

    def __init__(self) -> None:
        self.answer: ServerAnswer | ServerFault = ServerAnswer()
        self.takes = 0.1
        self.to_what_was_said: ServerAnswer | ServerFault = ServerAnswer()
        self.began: list[str] = []
        self.said: list[tuple[int, str, str]] = []

    async def call_started(self, agent: EffectiveAgent, record: CallRecord) -> ServerAnswer | ServerFault:
        self.began.append(record.call_id)
        await asyncio.sleep(self.takes)
        return self.answer

    async def transcript_updated(
        self, agent: EffectiveAgent, record: CallRecord, number: int, role: str, text: str
    ) -> ServerAnswer | ServerFault:
        await asyncio.sleep(self.takes)
        self.said.append((number, role, text))
        return self.to_what_was_said


class Sounds:
    """Audio under any address but those of another scheme."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    async def __call__(self, url: str) -> FetchedAudio:
        self.fetched.append(url)
        await asyncio.sleep(0.1)
        if "gone" in url:
            raise AudioUnavailable("it is not there")
        return FetchedAudio(bytes(1600), 8_000)


def an_agent(config: AgentConfig) -> Agent:
    """An agent of the settings, under its own name."""
    return settings_agent(config.name, config, BEGUN)


def house() -> House:
    session = SessionConfig(
        model="m", voice="v", instructions="Be kind.", input_format=PCMU_8K, output_format=PCMU_8K
    )
    return House(
        defaults=AgentDefaults(
            policy=CallPolicy(),
            session=session,
            providers={"spare": replace(session, model="spare-m")},
        ),
        answer_wait=1.0,
    )


DEFAULT_AGENT = AgentConfig(name="default", from_number=OURS)


def directory(
    *,
    unlisted: Unlisted = Unlisted.DEFAULT_AGENT,
    agents: Sequence[AgentConfig] = (),
    default: AgentConfig = DEFAULT_AGENT,
) -> Directory:
    return Directory(
        default=an_agent(default),
        agents=[an_agent(config) for config in agents],
        unlisted=unlisted,
    )


class Bookshelf:
    """Stored agents and numbers; looking takes a while, or cannot be done at all."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.numbers: list[NumberRoute] = []
        self.delay = 0.0
        self.fault: Exception | None = None

    async def _answer(self) -> None:
        await asyncio.sleep(self.delay)
        if self.fault is not None:
            raise self.fault

    async def current(self, tenant_id: str, agent_id: str) -> Agent | None:
        await self._answer()
        agent = self.agents.get(agent_id)
        return agent if agent is not None and agent.tenant_id == tenant_id else None

    async def route(self, carrier: str, integration_id: str, number: str) -> NumberRoute | None:
        await self._answer()
        wanted = (carrier, integration_id, number)
        found = [each for each in self.numbers if (each.carrier, each.integration_id, each.number) == wanted]
        return found[0] if found else None

    async def held(self, tenant_id: str, number: str) -> NumberRoute | None:
        await self._answer()
        found = [each for each in self.numbers if (each.tenant_id, each.number) == (tenant_id, number)]
        return found[0] if found else None

    async def any_with(self, carrier: str, integration_id: str) -> bool:
        await self._answer()
        return any((each.carrier, each.integration_id) == (carrier, integration_id) for each in self.numbers)

    async def secrets(self, tenant_id: str) -> tuple[str, ...]:
        await self._answer()
        return () if tenant_id == "default" else (f"whsec_{tenant_id}",)

    def has(self, agent_id: str, *, tenant: str = "acme", version: int = 1, **config: Any) -> Agent:
        """Store an agent, or another version of it."""
        self.agents[agent_id] = Agent(
            agent_id=agent_id,
            version=version,
            config=AgentConfig.model_validate({"name": agent_id, **config}),
            source=Source.STORED,
            tenant_id=tenant,
            signing=("whsec_c2VjcmV0",),
            created_at=BEGUN,
            updated_at=BEGUN,
        )
        return self.agents[agent_id]

    def answers_ours(self) -> None:
        """An agent of a tenant has our number."""
        self.has("agent_1", version=3, instructions="Version three.")
        self.route_to("agent_1", OURS)

    def route_to(
        self,
        agent_id: str | None,
        number: str = OURS,
        *,
        tenant: str = "acme",
        integration_id: str = "default",
    ) -> None:
        """Claim a number for a tenant, and give it an agent."""
        self.numbers.append(
            NumberRoute(
                number=number,
                tenant_id=tenant,
                carrier="telnyx",
                integration_id=integration_id,
                agent_id=agent_id,
            )
        )


def short(record: CallRecord) -> dict[str, object]:
    """A call as the stage's events tell it, unless told otherwise."""
    return {"call_id": record.call_id, "status": record.status.value}


class Scene:
    """Made inside a running loop; `close` raises what broke in a task."""

    def __init__(
        self,
        carrier: str = "telnyx",
        *,
        places: int = 100,
        unlisted: Unlisted = Unlisted.DEFAULT_AGENT,
        agents: Sequence[AgentConfig] = (),
        default: AgentConfig = DEFAULT_AGENT,
        describe: Callable[[CallRecord], dict[str, object]] = short,
        extracts: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.tasks = Tasks()
        numbers = count(1)
        self.world = World(
            now=loop.time,
            wall=lambda: BEGUN + timedelta(seconds=loop.time() - began),
            sleep=asyncio.sleep,
            spawn=self.tasks.spawn,
            timers=Timers(),
            new_id=lambda prefix: f"{prefix}_{next(numbers)}",
        )
        self.shelf, self.notebook = Shelf(), Notebook()
        self.books = Bookshelf()
        self.told: list[str] = []
        self.keeper = Keeper(self.shelf, self.notebook, self.world, self.told.append)
        self.account = Account(carrier)
        self.accounts = Accounts(self.account)
        self.room = Room(places)
        self.tools = Toolbox()
        self.servers = Servers()
        self.sounds = Sounds()
        self.tenants = Register()
        self.admission = Admission(
            Tenancy(
                self.tenants,
                usual=Terms(requests_per_minute=1_000, max_calls=places),
                clock=loop.time,
            ),
            ProcessSlots(loop.time, lease=LEASE),
        )
        self.service = CallService(
            Parts(
                store=self.shelf,
                keeper=self.keeper,
                accounts=self.accounts,
                reception=Reception(house()),
                switchboard=Switchboard(
                    directory(unlisted=unlisted, agents=agents, default=default),
                    self.books,
                    self.books,
                    self.books.secrets,
                ),
                providers=ProviderAccounts(Providers(), SecretKeys([new_key()]), lambda _: False),
                room=self.room,
                tools=self.tools,
                servers=self.servers,
                fetch_audio=self.sounds,
                describe=describe,
                tariff=TARIFF,
                world=self.world,
                node="node_1",
                admission=self.admission,
                max_calls=places,
                extracts=extracts,
            )
        )

    async def close(self) -> None:
        self.service.stop()
        await self.tasks.close()

    # What carriers say

    def origin(self, leg: str, event: str, token: LegToken | None = None) -> Origin:
        return Origin(
            carrier=self.account.carrier,
            event_id=f"{leg}-{event}-{self.world.now()}",
            carrier_call_id=leg,
            leg_id=leg,
            token=token,
        )

    def say(self, event: Any) -> None:
        self.service.carrier_event(self.account.carrier, "default", event)

    def arrives(self, leg: str = "leg-a", *, to: str = OURS) -> None:
        """A call comes in; who answers it is looked up next."""
        self.say(
            Initiated(
                origin=self.origin(leg, "initiated"),
                direction=Direction.INBOUND,
                from_number=THEIRS,
                to_number=to,
            )
        )

    async def rings(self, leg: str = "leg-a", *, to: str = OURS) -> str:
        """A call comes in, and it is known who answers; returns its id."""
        known = set(self.tasks.tasks)
        self.arrives(leg, to=to)
        (arrival,) = self.tasks.tasks - known
        await asyncio.wait({arrival})
        return arrival.get_name().removesuffix(" arrival")

    def answered(self, leg: str) -> None:
        self.say(Answered(origin=self.origin(leg, "answered")))

    def hung_up(self, leg: str, cause: HangupCause = HangupCause.NORMAL_CLEARING) -> None:
        self.say(HungUp(origin=self.origin(leg, "hungup"), cause=cause, source=HangupSource.CALLER))

    # What media says

    def talks(self, call_id: str) -> Media:
        """The call's stream is up and its agent is there."""
        media = self.room.media[call_id]
        media.report(AgentUp(joined=False))
        media.report(StreamUp(1, "stream-1"))
        media.report(AgentUp(joined=True))
        return media

    async def settles(self) -> None:
        """Let everything happen that needs no time to speak of."""
        await asyncio.sleep(0.5)

    def kept(self, call_id: str) -> CallRecord:
        return replace(self.shelf.records[call_id], revision=0)

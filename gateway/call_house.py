"""Call control, put together: the store and its journal, the carriers' accounts, the service, and the tasks of all.

Opened once per process, before the listener and closed after it: webhooks and users find everything there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

import structlog

from control.agent_book import AgentBook
from control.agent_run import EffectiveAgent
from control.api.ports import FetchAudio
from control.directory import Directory
from control.news import EventNews
from control.service.admission import RENEWED, Admission
from control.service.bare_calls import BareCalls
from control.service.call_service import CallService
from control.service.keeper import Keeper
from control.service.left_calls import LeftCalls
from control.service.neighbours import BEAT, Neighbours
from control.service.number_office import NumberOffice
from control.service.parts import Parts
from control.service.ports import AgentServers, Describe, Tools, World
from control.service.provider_accounts import ProviderAccounts
from control.service.reception import House, Reception
from control.service.reconciliation import PERIOD, Reconciliation
from control.service.switchboard import Switchboard
from control.stores.store import Store
from control.stores.urls import sqlite_url
from control.tenancy import Tenancy, Terms
from control.tenant_secrets import TenantSecrets
from gateway.account_book import Accounts, StoredAccounts
from gateway.accounts import settings_accounts
from gateway.call_runner import AgentProvider, CallServices
from gateway.calls import CallDefaults, Calls
from gateway.configured_agents import agent_defaults, agent_providers, directory, tariff
from gateway.egress import egress_policy
from gateway.journal import Journal
from gateway.live_state import LiveState
from gateway.loop_lag import LoopLag
from gateway.media_auth import StreamTokens, media_origin
from gateway.media_room import MediaRoom
from gateway.pruner import Pruner
from gateway.secret_keys import secret_keys
from gateway.settings import Settings
from gateway.task_set import TaskSet, keep_running
from gateway.ticker import Ticker

log = structlog.get_logger()

# After the last call is over, for what it wrote to be kept; then the journal has it.
_PARTING = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHouse:
    """Everything that has to do with calls."""

    node: str
    started_at: datetime
    store: Store
    live: LiveState
    tenancy: Tenancy
    book: AgentBook
    directory: Directory
    reception: Reception
    accounts: Accounts
    switchboard: Switchboard
    office: NumberOffice
    providers: ProviderAccounts
    service: CallService
    calls: Calls
    room: MediaRoom
    tokens: StreamTokens
    news: EventNews
    hears_of_events: list[Callable[[], None]]
    """Called whenever events were stored."""
    tasks: TaskSet

    def unready(self) -> list[str]:
        """Why no call can be taken now."""
        return self.service.unready()

    async def drain(self, patience: float) -> None:
        """Take no more calls and see those that live to their end, patiently, then politely."""
        self.calls.draining = True
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.service.finish(patience))
            tasks.create_task(self.calls.drain(patience))

    def hurry(self) -> None:
        """End at once whatever a drain is still waiting for."""
        self.service.drain_within(0.0)
        self.calls.hurry()


@asynccontextmanager
async def call_house(
    settings: Settings,
    store: Store,
    defaults: CallDefaults,
    services: CallServices,
    *,
    live: LiveState,
    describe: Describe,
    tools: Tools,
    servers: AgentServers,
    fetch_audio: FetchAudio,
) -> AsyncIterator[CallHouse]:
    """Open everything; leaving closes it, calls and all.

    Raises:
        OSError: the data directory cannot be written.
        ValueError: the agents or numbers of the settings do not fit together, or the keys to secrets are none.
    """
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        journal = Journal(settings.data_dir / "journal")
        stack.callback(journal.close)
        tasks = TaskSet()
        keys, allowed = secret_keys(settings), egress_policy(settings).excepts
        accounts = Accounts(
            settings_accounts(settings),
            StoredAccounts(store.integrations, keys, settings.public_url, allowed, tasks),
        )
        providers = ProviderAccounts(store.integrations, keys, allowed)
        stack.push_async_callback(accounts.close)
        stack.push_async_callback(tasks.close)
        lag = LoopLag(loop)
        lag.start()
        stack.callback(lag.stop)
        world = world_of(loop, services.ticker, tasks)
        news = EventNews()
        stack.callback(news.close)
        hears_of_events: list[Callable[[], None]] = []

        def stored(tenant_id: str) -> None:
            news.tell(tenant_id)
            for hear in hears_of_events:
                hear()

        keeper = Keeper(store, journal, world, stored)
        node = node_of(settings.data_dir)
        agents = directory(settings, world.wall())
        book = AgentBook(store.agents, keys, new_id=world.new_id, clock=world.wall)
        switchboard = Switchboard(agents, book, store.numbers, TenantSecrets(store.tenants, keys).of)
        office = NumberOffice(store.numbers, accounts, agents, wall=world.wall, new_id=world.new_id)
        bare = BareCalls(keeper, world, node=node, agent_id=agents.default.agent_id, describe=describe)
        calls = Calls(defaults, services, bare=bare, overloaded=lag.overloaded)
        tokens = StreamTokens()
        room = _room(settings, calls, services, tokens, lag)
        tenancy = Tenancy(
            store.tenants,
            usual=Terms(requests_per_minute=settings.api_requests_per_minute, max_calls=settings.max_calls),
            bound=settings.max_calls if settings.redis_url is None else None,
            clock=loop.time,
        )
        admission = Admission(tenancy, live.slots)
        reception = Reception(
            House(
                defaults=agent_defaults(settings),
                timezone=settings.timezone,
                speech=services.speech is not None and services.speech.available,
                answer_wait=settings.answer_wait_s,
            )
        )
        service = CallService(
            Parts(
                store=store,
                keeper=keeper,
                accounts=accounts,
                reception=reception,
                switchboard=switchboard,
                providers=providers,
                room=room,
                tools=tools,
                servers=servers,
                fetch_audio=fetch_audio,
                describe=describe,
                world=world,
                node=node,
                admission=admission,
                max_calls=settings.max_calls,
                tariff=tariff(settings),
                extracts=settings.extraction_url is not None,
            )
        )
        tasks.spawn(keep_running(keeper.repair), "store repair")
        tasks.spawn(keep_running(_pruner(settings, store, world).run), "pruner")
        tasks.spawn(keep_running(lambda: _renew(admission)), "slots")
        neighbours = Neighbours(store, world, node)
        tasks.spawn(keep_running(lambda: neighbours.run(BEAT)), "sign of life")
        reconciliation = Reconciliation(
            service,
            store,
            keeper,
            accounts,
            world,
            left=LeftCalls(service, store, keeper, accounts, world, describe=describe),
            neighbours=neighbours,
        )
        await reconciliation.recover(node)
        tasks.spawn(keep_running(lambda: reconciliation.run(PERIOD)), "reconciliation")
        house = CallHouse(
            node=node,
            started_at=world.wall(),
            store=store,
            live=live,
            tenancy=tenancy,
            book=book,
            directory=agents,
            reception=reception,
            accounts=accounts,
            switchboard=switchboard,
            office=office,
            providers=providers,
            service=service,
            calls=calls,
            room=room,
            tokens=tokens,
            news=news,
            hears_of_events=hears_of_events,
            tasks=tasks,
        )
        try:
            yield house
        finally:
            await house.drain(settings.drain_s)
            await _part(service)


def _pruner(settings: Settings, store: Store, world: World) -> Pruner:
    days = settings.event_retention_days
    retention = timedelta(days=days) if days else None
    return Pruner(store.pruning, store.idempotency, store.nodes, retention=retention, wall=world.wall)


async def _renew(admission: Admission) -> None:
    while True:
        await admission.renew()
        await asyncio.sleep(RENEWED)


async def _part(service: CallService) -> None:
    service.stop()
    try:
        async with asyncio.timeout(_PARTING):
            await service.stopped()
    except TimeoutError:
        log.error("the last events of calls may not be kept")


def _room(
    settings: Settings, calls: Calls, services: CallServices, tokens: StreamTokens, lag: LoopLag
) -> MediaRoom:
    def providers(agent: EffectiveAgent) -> tuple[AgentProvider, ...]:
        return agent_providers(settings, agent)

    return MediaRoom(
        calls,
        services,
        tokens,
        providers=providers,
        media_url=media_origin(settings.public_url or f"http://{settings.host}:{settings.port}"),
        overloaded=lag.overloaded,
    )


def world_of(loop: asyncio.AbstractEventLoop, ticker: Ticker, tasks: TaskSet) -> World:
    """Time and tasks, as the service is given them."""
    return World(
        now=loop.time,
        wall=lambda: datetime.now(UTC),
        sleep=asyncio.sleep,
        spawn=tasks.spawn,
        timers=ticker,
        new_id=lambda prefix: f"{prefix}_{token_hex(12)}",
    )


def database_of(settings: Settings) -> str:
    """Where calls are kept."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return sqlite_url(settings.data_dir / "offhook.db")


def node_of(folder: Path) -> str:
    """The name of whoever works with this data folder: the same after a restart, so that its calls are known again."""
    path = folder / "node"
    try:
        known = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        known = ""
    if known:
        return known
    # Whole or not at all: a name that a full disk or a kill has cut short is another one, or none.
    folder.mkdir(parents=True, exist_ok=True)
    name, new = f"node_{token_hex(8)}", path.with_suffix(".new")
    new.write_text(name, encoding="ascii")
    new.replace(path)
    return name

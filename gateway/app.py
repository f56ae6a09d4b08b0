"""The composition root: settings in, a running gateway out; everything it owns ends with it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from control.api.rest_api import RestApi
from control.integrations import DEFAULT
from control.stores.store import Store
from gateway.account_book import Accounts
from gateway.accounts import TwilioAccount
from gateway.agent_servers import AgentServers
from gateway.agent_tools import AgentTools
from gateway.audio_fetch import AudioFetch
from gateway.call_house import CallHouse, call_house, database_of
from gateway.call_runner import CallServices
from gateway.calls import CallDefaults, Calls
from gateway.collector import quiet_collector
from gateway.configured_agents import FORMATS, agent_providers, default_agent
from gateway.egress import Egress, egress_policy
from gateway.filler_audio import FillerAudio
from gateway.links import connect
from gateway.live_state import live_state
from gateway.media_auth import Authorised, MediaAuth, StreamTokens
from gateway.recording import RecordingThread, repair_all
from gateway.recording_files import RecordingFiles
from gateway.rest_house import calls_secret, described, rest_house
from gateway.server import create_app, create_metrics_app, serving
from gateway.server_signing import ServerSigning
from gateway.settings import Settings
from gateway.speech import SpeechPort, Voice
from gateway.speech_espeak import EspeakVoice
from gateway.telemetry import Figure, FigureCollector
from gateway.ticker import Ticker
from gateway.tls import Certificate
from gateway.tool_runner import ToolRunner
from gateway.webhook_endpoint import WebhookEndpoint
from telephony.carrier import WIRES
from telephony.link import Link, LinkListener

log = structlog.get_logger()


def speech_port(settings: Settings) -> SpeechPort:
    """What gives fixed texts their voice."""
    voices: list[Voice] = []
    if settings.speech_url is not None:
        # Here: the openai SDK takes most of a second to import, which every command would wait for.
        from gateway.speech_endpoint import SpeechEndpoint

        key = settings.speech_api_key
        voices.append(
            SpeechEndpoint(
                settings.speech_url,
                api_key=key.get_secret_value() if key is not None else "",
                model=settings.speech_model,
                voice=settings.speech_voice,
            )
        )
    voices.append(EspeakVoice())
    return SpeechPort(voices)


def call_defaults(settings: Settings) -> CallDefaults:
    agent = default_agent(settings, datetime.now(UTC))
    provider, *fallbacks = agent_providers(settings, agent)
    codec = settings.telnyx_outbound_codec
    return CallDefaults(
        policy=agent.policy,
        provider=provider,
        fallbacks=tuple(fallbacks),
        max_calls=settings.max_calls,
        start_timeout=settings.start_timeout_s,
        telnyx_outbound=None if codec == "auto" else FORMATS[codec],
    )


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway."""

    settings: Settings
    house: CallHouse
    port: int
    metrics_port: int | None
    certificate: Certificate | None

    @property
    def calls(self) -> Calls:
        return self.house.calls

    @property
    def tokens(self) -> StreamTokens:
        return self.house.tokens

    def media_url(self, carrier: str, token: str) -> str:
        """The URL on this machine at which a carrier opens its media socket."""
        return f"ws://{self.settings.host}:{self.port}/media/{carrier}/{token}"


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Gateway]:
    """Run a gateway in here; leaving drains it.

    Raises:
        OSError: an address is taken, or the data directory cannot be written.
        StoreError: the database cannot be opened.
        ValueError: the agents or numbers of the settings do not fit together.
    """
    async with AsyncExitStack() as stack:
        folder = settings.data_dir
        files = RecordingFiles(folder)
        recordings = RecordingThread(files.folder, files.due_folder)
        stack.callback(recordings.close)
        for path in repair_all(files.folder, files.due_folder):
            log.warning("recording repaired after a crash", path=str(path))
        ticker = Ticker()
        speech = speech_port(settings)
        stack.push_async_callback(speech.close)
        services = CallServices(
            ticker=ticker,
            connect=connect,
            recordings=recordings,
            records=folder / "calls",
            traces=folder / "traces" if settings.trace else None,
            speech=speech,
        )
        store = await Store.open(database_of(settings), migrate=settings.migrate)
        stack.push_async_callback(store.close)
        redis = settings.redis_url
        live = await stack.enter_async_context(
            live_state(redis.get_secret_value() if redis is not None else None)
        )
        egress = await stack.enter_async_context(Egress(egress_policy(settings)))
        signing = server_signing(settings)
        house = await stack.enter_async_context(
            call_house(
                settings,
                store,
                call_defaults(settings),
                services,
                live=live,
                describe=described,
                tools=AgentTools(ToolRunner(egress), signing),
                servers=AgentServers(egress, signing),
                fetch_audio=FillerAudio(AudioFetch(egress)),
            )
        )
        api = await stack.enter_async_context(rest_house(settings, house, egress))
        if settings.extraction_url is not None:
            await stack.enter_async_context(extraction(settings, house))
        # The listener opens last, when whoever it lets in finds everything there, and closes after the drain: calls
        # that are being ended need their carriers' words.
        certificate = _certificate(settings)
        port = await stack.enter_async_context(_public(settings, house, api, certificate))
        metrics_port = None
        if settings.metrics_port is not None:
            registry = CollectorRegistry()
            registry.register(FigureCollector(lambda: _figures(house, ticker)))
            ProcessCollector(registry=registry)
            metrics_port = await stack.enter_async_context(
                serving(create_metrics_app(registry), settings.metrics_host, settings.metrics_port)
            )
        try:
            yield Gateway(settings, house, port, metrics_port, certificate)
        finally:
            await house.drain(settings.drain_s)


@asynccontextmanager
async def extraction(settings: Settings, house: CallHouse) -> AsyncIterator[None]:
    """Have calls read after their end, in here."""
    # Here: the openai SDK takes most of a second to import, as above.
    from gateway.extracting import Extracting, extracting
    from gateway.extractor import Extractor

    key = settings.extraction_api_key
    extractor = Extractor(
        settings.extraction_url or "",
        api_key=key.get_secret_value() if key is not None else "",
        model=settings.extraction_model,
    )
    work = Extracting(
        house.store,
        extractor,
        node=house.node,
        clock=lambda: datetime.now(UTC),
        new_id=lambda prefix: f"{prefix}_{token_hex(12)}",
        told=house.news.tell,
    )
    try:
        async with extracting(work):
            yield
    finally:
        await extractor.close()


def server_signing(settings: Settings) -> ServerSigning:
    """What proves to agents' servers that it is us."""
    return ServerSigning(calls_secret(settings), clock=lambda: datetime.now(UTC))


def _certificate(settings: Settings) -> Certificate | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


def _public(
    settings: Settings, house: CallHouse, api: RestApi, certificate: Certificate | None
) -> AbstractAsyncContextManager[int]:
    auth = MediaAuth(
        settings.media_auth.get_secret_value(),
        tokens=house.tokens,
        bound_host=settings.host,
        public_url=settings.public_url,
        twilio_secret=lambda integration_id: twilio_secret(settings, house.accounts, integration_id),
    )
    if (warning := auth.warning()) is not None:
        log.warning(warning, setting="OFFHOOK_MEDIA_AUTH")

    def accept_stream(carrier: str, authorised: Authorised, link: Link) -> LinkListener:
        if authorised.call_id is not None:
            return house.room.accept_stream(carrier, authorised, link)
        return house.calls.accept_stream(carrier, link)

    app = create_app(
        media_auth=auth,
        accept_stream=accept_stream,
        readiness=house.unready,
        carriers=WIRES,
        degraded=house.live.degraded,
    )
    WebhookEndpoint(house.accounts, house.service).add_to(app)
    api.add_to(app)
    context = certificate.context if certificate is not None else None
    return serving(app, settings.host, settings.port, tls=context)


def twilio_secret(settings: Settings, accounts: Accounts, integration_id: str) -> str | None:
    """Return what Twilio signs with, of one of its accounts; of the settings' own it is known without the account."""
    if integration_id == DEFAULT:
        secret = settings.twilio_auth_token
        return None if secret is None else secret.get_secret_value()
    account = accounts.find(TwilioAccount.carrier, integration_id)
    return account.auth_token if isinstance(account, TwilioAccount) else None


def _figures(house: CallHouse, ticker: Ticker) -> Iterable[Figure]:
    """What a scrape is told: totals kept as plain integers, so that no frame pays for them."""
    calls = house.calls
    counts = calls.counts
    yield Figure("calls_live", "gauge", "Calls going on.", len(calls))
    yield Figure("calls_accepted", "counter", "Calls whose stream started.", counts.accepted)
    yield Figure("calls_ended", "counter", "Calls that have ended.", counts.ended)
    yield Figure("calls_refused", "counter", "Media sockets refused for want of room.", counts.refused)
    yield Figure("calls_abandoned", "counter", "Media sockets that never said start.", counts.abandoned)
    yield Figure("calls_failed", "counter", "Calls that a fault of ours ended.", counts.failed)
    yield Figure(
        "calls_turned_away", "counter", "Callers turned away for a fault of ours.", house.service.faults
    )
    for reason, number in counts.ended_reasons.items():
        yield Figure("call_ends", "counter", "Ended calls by reason.", number, {"reason": reason})
    received, lost = calls.frames()
    yield Figure("frames_received", "counter", "Caller frames received.", received)
    yield Figure("frames_lost", "counter", "Caller frames that never came.", lost)
    yield Figure("barge_ins", "counter", "Times a caller cut the agent off.", counts.barge_ins)
    yield Figure(
        "loop_lag_seconds",
        "gauge",
        "The latest a deadline was met since the last scrape.",
        ticker.take_lateness(),
    )


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends at once what is left."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as gateway:
        if gateway.certificate is not None:
            loop.add_signal_handler(signal.SIGHUP, gateway.certificate.reload)
        with quiet_collector():
            log.info("ready", host=settings.host, port=gateway.port, metrics_port=gateway.metrics_port)
            await stop.wait()
        log.info("draining", calls=len(gateway.calls), patience=settings.drain_s)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, gateway.house.hurry)
    log.info("stopped")

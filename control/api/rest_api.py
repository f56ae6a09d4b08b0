"""The REST API as a whole: every endpoint, behind one gate, and the document of them all."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from control.agent_book import AgentBook
from control.agents import AgentConfig
from control.api.agent_desk import AgentDesk
from control.api.agent_endpoints import AgentEndpoints
from control.api.agent_tool_endpoints import AgentToolEndpoints
from control.api.agent_version_endpoints import AgentVersionEndpoints
from control.api.call_endpoints import CallEndpoints
from control.api.client_address import TrustedProxies
from control.api.control_endpoints import ControlEndpoints
from control.api.document import Document
from control.api.endpoint import Endpoint
from control.api.event_endpoints import EventEndpoints
from control.api.gate import Gate
from control.api.integration_endpoints import IntegrationEndpoints
from control.api.number_endpoints import FindAgent, NumberEndpoints
from control.api.pages import Pages
from control.api.platform_endpoints import PlatformEndpoints, StreamGaps
from control.api.ports import AccountDesk, CallControl, Effective, FetchAudio, HealthChecks, RecordingRoom
from control.api.recording_endpoints import RecordingEndpoints
from control.api.routes import Reception
from control.api.statistics_endpoints import StatisticsEndpoints
from control.api.tenant_endpoints import TenantEndpoints, TenantParts
from control.api.tool_log_endpoints import ToolLogEndpoints
from control.api.webhook_endpoints import WebhookEndpoints, WebhookParts
from control.directory import Directory
from control.egress_policy import EgressPolicy
from control.live.ports import RequestWindows
from control.news import EventNews
from control.secrets import Cipher
from control.service.number_office import NumberOffice
from control.stores.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """What the API is built on."""

    calls: CallControl
    store: Store
    agents: AgentBook
    directory: Directory
    effective: Effective
    unknown_providers: Callable[[AgentConfig], Iterable[tuple[str, str]]]
    """Of those that an agent names, with their JSON pointers."""
    policy: EgressPolicy
    """Where users may send us."""
    news: EventNews
    fetch_audio: FetchAudio
    accounts: AccountDesk
    office: NumberOffice
    find_agent: FindAgent
    cipher: Cipher
    recordings: RecordingRoom
    health: HealthChecks
    carriers: Callable[[str], Awaitable[frozenset[str]]]
    webhooks: WebhookParts
    gaps: StreamGaps
    version: str
    tenants: TenantParts
    requests: RequestWindows
    """By tenant, of a minute."""
    failures: RequestWindows
    """By address, of failed attempts."""
    clock: Callable[[], float]
    """Any that does not jump, in seconds."""
    trusted_proxies: Iterable[str] = ()


class RestApi:
    """Adds itself to an application."""

    def __init__(self, parts: ApiParts) -> None:
        """
        Raises:
            ValueError: a trusted proxy is no network.
        """
        gate = Gate(
            parts.store.keys,
            parts.tenants.tenancy,
            requests=parts.requests,
            failures=parts.failures,
            clock=parts.clock,
        )
        self._reception = Reception(
            gate=gate,
            proxies=TrustedProxies(parts.trusted_proxies),
            idempotency=parts.store.idempotency,
        )
        self._recordings = RecordingEndpoints(parts.store, parts.recordings)
        desk = AgentDesk(parts.directory, parts.agents, parts.policy, parts.unknown_providers)
        self.endpoints: list[Endpoint[Any, Any]] = [
            *CallEndpoints(parts.calls, parts.store, parts.policy, parts.recordings).endpoints(),
            *StatisticsEndpoints(parts.store).endpoints(),
            *EventEndpoints(parts.calls, parts.store, parts.news, parts.tenants.tenancy).endpoints(),
            *ControlEndpoints(parts.calls, parts.store, parts.fetch_audio, parts.recordings).endpoints(),
            *NumberEndpoints(parts.store.numbers, parts.office, parts.find_agent).endpoints(),
            *IntegrationEndpoints(parts.store, parts.accounts, parts.cipher).endpoints(),
            *AgentEndpoints(desk, parts.effective).endpoints(),
            *AgentVersionEndpoints(desk).endpoints(),
            *AgentToolEndpoints(desk).endpoints(),
            *self._recordings.endpoints(),
            *ToolLogEndpoints(parts.store).endpoints(),
            *WebhookEndpoints(
                parts.calls, parts.store, desk, policy=parts.policy, parts=parts.webhooks
            ).endpoints(),
            *TenantEndpoints(parts.store, gate, parts.tenants).endpoints(),
            *PlatformEndpoints(
                parts.calls,
                parts.store,
                gate,
                carriers=parts.carriers,
                gaps=parts.gaps,
                health=parts.health,
                version=parts.version,
            ).endpoints(),
        ]
        self._version = parts.version
        self._news = parts.news

    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return Document(self._version, self.endpoints).as_dict()

    def add_to(self, app: web.Application) -> None:
        self._reception.add_to(app, self.endpoints)
        self._recordings.add_to(app)
        Pages(self.document()).add_to(app)
        app.on_shutdown.append(self._let_followers_go)

    async def _let_followers_go(self, _: web.Application) -> None:
        """Streams would keep the listener open for as long as their calls."""
        self._news.close()

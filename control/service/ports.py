"""What the service needs of the world around it; the gateway provides it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from control.agent_run import EffectiveAgent
from control.call_draft import CallDraft
from control.call_record import CallRecord, EventRecord
from control.effects import RunTool
from control.inputs import ToolFinished
from control.media_orders import MediaOrder, Report
from control.records import MediaProgress, MediaSummary
from control.server_answer import ServerAnswer, ServerFault
from control.stores.idempotency import Claim, ClaimOutcome
from control.timeline import TimelineEvent
from telephony.capabilities import Capabilities
from telephony.client_errors import LiveCall as CarriedCall
from telephony.client_errors import Performed
from telephony.commands import CallCommand, MediaStream

Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
"""Starts a task that has a parent, under a name."""


class Timers(Protocol):
    """Wakes at a time of the loop's clock (`gateway.ticker.Ticker`)."""

    def schedule(self, key: Hashable, deadline: float, callback: Callable[[float], None]) -> None:
        """Call back once; whatever `key` waited for before is forgotten."""
        ...

    def cancel(self, key: Hashable) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Time and tasks."""

    now: Callable[[], float]
    """The loop's clock, in seconds."""
    wall: Callable[[], datetime]
    """Aware, UTC."""
    sleep: Callable[[float], Awaitable[None]]
    spawn: Spawn
    timers: Timers
    new_id: Callable[[str], str]
    """A fresh, opaque name with this prefix: `call` becomes `call_...`."""


class CallStore(Protocol):
    """Where calls are kept (`control.stores.store.Store`). Raises `StoreUnavailable`."""

    async def add_call(
        self, record: CallRecord, events: Sequence[EventRecord], idempotency: Claim | None = None
    ) -> ClaimOutcome: ...

    async def call(self, tenant_id: str, call_id: str) -> CallRecord | None: ...
    async def save_call(self, record: CallRecord, events: Sequence[EventRecord] = ()) -> bool: ...
    async def end_call(
        self, before: CallRecord, ended: CallRecord, events: Sequence[EventRecord]
    ) -> bool: ...
    async def live_calls(self, node: str | None = None, tenant_id: str | None = None) -> list[CallRecord]: ...
    async def untold_calls(self, node: str) -> list[CallRecord]: ...
    async def last_sequence(self, call_id: str) -> int: ...
    async def happened(self, call_id: str, names: Collection[str]) -> list[EventRecord]: ...
    async def draft(self, call_id: str) -> CallDraft: ...
    async def beat(self, node: str, now: datetime) -> None: ...
    async def neighbours(self, but: str, since: datetime) -> Mapping[str, datetime]: ...
    async def ping(self) -> float: ...


class CallJournal(Protocol):
    """Where saves go that the store cannot take (`gateway.journal.Journal`)."""

    def empty(self) -> bool: ...
    async def append(self, record: CallRecord, events: Sequence[EventRecord]) -> None: ...
    async def replay(self, save: Callable[[CallRecord, Sequence[EventRecord]], Awaitable[None]]) -> int: ...


class CarrierAccount(Protocol):
    """One account with a carrier (`gateway.accounts`)."""

    @property
    def carrier(self) -> str: ...
    @property
    def integration_id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...
    async def perform(self, command: CallCommand) -> Performed: ...
    async def is_alive(self, carrier_call_id: str) -> bool: ...
    async def live_calls(self, to_number: str | None) -> list[CarriedCall]: ...


class CarrierAccounts(Protocol):
    """Every account (`gateway.account_book`)."""

    def find(self, carrier: str, integration_id: str = "default") -> CarrierAccount | None:
        """Return an account that is known without asking: every one that has just sent a webhook is."""
        ...

    async def fetch(self, carrier: str, integration_id: str = "default") -> CarrierAccount | None:
        """Return an account, wherever it is written down.

        Raises:
            StoreUnavailable: it is not known, and the store does not answer.
        """
        ...

    async def of_tenant(self, tenant_id: str) -> Sequence[CarrierAccount]:
        """Return every account of a tenant, those of the settings first.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        ...


class CallMedia(Protocol):
    """One call's media: takes orders, and reports (`gateway.call_runner.CallRunner`)."""

    @property
    def summary(self) -> MediaSummary | None:
        """What the media came to, once it has ended."""
        ...

    @property
    def progress(self) -> MediaProgress:
        """What the media has come to so far, the latest of it."""
        ...

    def order(self, order: MediaOrder) -> None: ...


class MediaRoom(Protocol):
    """Where calls' media run (`gateway.calls.Calls`)."""

    def begin(
        self,
        call_id: str,
        carrier: str,
        agent: EffectiveAgent,
        *,
        report: Callable[[Report], None],
        follow: Callable[[TimelineEvent], None],
    ) -> CallMedia:
        """Connect the agent now; the stream comes when it comes."""
        ...

    def mint(
        self,
        call_id: str,
        carrier: str,
        generation: int,
        lifetime: float,
        *,
        integration_id: str = "default",
    ) -> MediaStream:
        """A stream for the carrier to open, with a token of its own that is good for so many seconds."""
        ...

    def revoke(self, call_id: str) -> None:
        """Whatever tokens of this call are unused are worth nothing any more."""
        ...

    def free(self) -> int:
        """How many more calls there is room for."""
        ...

    def overloaded(self) -> str | None:
        """Why no call should be taken although there is room; None if there is no reason."""
        ...


class Tools(Protocol):
    """Runs the agents' own tools."""

    async def run(self, wanted: RunTool, agent: EffectiveAgent, record: CallRecord) -> ToolFinished:
        """Never raises; what went wrong is the output."""
        ...


class AgentServers(Protocol):
    """Asks agents' own servers (`gateway.agent_servers`). Never raises; in bounded time."""

    async def call_started(self, agent: EffectiveAgent, record: CallRecord) -> ServerAnswer | ServerFault:
        """Ask what a call is to be."""
        ...

    async def transcript_updated(
        self, agent: EffectiveAgent, record: CallRecord, number: int, role: str, text: str
    ) -> ServerAnswer | ServerFault:
        """Tell what was said; `number` counts these from 1."""
        ...


Describe = Callable[[CallRecord], Mapping[str, object]]
"""The call object of the REST API, for the event that tells of the end."""

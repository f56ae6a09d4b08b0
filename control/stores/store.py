"""The store: one database, its rooms by noun.

    store = await Store.open("sqlite:////var/lib/offhook/offhook.db")
    await store.save_call(record, events)
    page = await store.calls("default", CallFilters(status=CallStatus.BUSY), Page(limit=20))

Every method names its tenant, but for those that serve the process itself (`live_calls`, `Keys.find`, the deliveries'
worker). Whatever the database fails at is `StoreUnavailable`.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import text

from control.call_draft import CallDraft
from control.call_record import CallRecord, EventRecord
from control.stores.agents import Agents
from control.stores.call_filters import CallFilters
from control.stores.call_list import CallList, CallPage
from control.stores.calls import Calls, CallState, Deletion
from control.stores.database import Database
from control.stores.deliveries import Deliveries
from control.stores.delivery_log import DeliveryLog
from control.stores.drafts import Drafts
from control.stores.events import Events, StoredEvent
from control.stores.extractions import Extractions
from control.stores.idempotency import Claim, ClaimOutcome, Idempotency
from control.stores.integrations import Integrations
from control.stores.keys import Keys
from control.stores.keyset import Page
from control.stores.migrating import check_schema, upgrade
from control.stores.nodes import Nodes
from control.stores.numbers import Numbers
from control.stores.platform import Platform
from control.stores.pruning import Pruning
from control.stores.recordings import Recordings
from control.stores.secret_columns import SecretColumns
from control.stores.statistics import Statistics
from control.stores.tenants import Tenants
from control.stores.tool_logs import ToolLogs
from control.stores.webhooks import Webhooks


class Store:
    """Everything that is kept. Make it with `open`; close it with `close`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._calls = Calls(database)
        self._call_list = CallList(database)
        self._events = Events(database)
        self._drafts = Drafts(database)
        self.nodes = Nodes(database)
        self.agents = Agents(database)
        self.deliveries = Deliveries(database)
        self.delivery_log = DeliveryLog(database)
        self.extractions = Extractions(database)
        self.idempotency = Idempotency(database)
        self.integrations = Integrations(database)
        self.keys = Keys(database)
        self.recordings = Recordings(database)
        self.statistics = Statistics(database)
        self.numbers = Numbers(database)
        self.platform = Platform(database)
        self.pruning = Pruning(database)
        self.tool_logs = ToolLogs(database)
        self.secrets = SecretColumns(database)
        self.tenants = Tenants(database)
        self.webhooks = Webhooks(database)

    @classmethod
    async def open(cls, url: str, *, migrate: bool = False) -> "Store":
        """Open the database; `migrate` brings its tables to this release first.

        Raises:
            ValueError: the URL is none of a database that we know.
            SchemaOutdated: the tables are of another release.
            StoreUnavailable: it cannot be reached.
        """
        database = Database(url)
        try:
            if migrate:
                await upgrade(database)
            await check_schema(database)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        await self._database.close()

    async def ping(self) -> float:
        """Return how long the database takes to answer, in seconds."""
        before = time.monotonic()
        async with self._database.read() as connection:
            await connection.execute(text("SELECT 1"))
        return time.monotonic() - before

    # Calls, and what happened in them

    async def add_call(
        self, record: CallRecord, events: Sequence[EventRecord], idempotency: Claim | None = None
    ) -> ClaimOutcome:
        """See `Calls.add`."""
        return await self._calls.add(record, events, idempotency)

    async def save_call(self, record: CallRecord, events: Sequence[EventRecord] = ()) -> bool:
        """See `Calls.save`."""
        return await self._calls.save(record, events)

    async def end_call(self, before: CallRecord, ended: CallRecord, events: Sequence[EventRecord]) -> bool:
        """See `Calls.end`."""
        return await self._calls.end(before, ended, events)

    async def call(self, tenant_id: str, call_id: str) -> CallRecord | None:
        """Return the whole record, transcript and latencies included; None if the tenant has no such call."""
        return await self._calls.get(tenant_id, call_id)

    async def status(self, tenant_id: str, call_id: str) -> CallState | None:
        """Return what pollers ask for."""
        return await self._calls.state(tenant_id, call_id)

    async def calls(self, tenant_id: str, filters: CallFilters, page: Page) -> CallPage:
        """See `CallList.page`."""
        return await self._call_list.page(tenant_id, filters, page)

    async def live_calls(self, node: str | None = None, tenant_id: str | None = None) -> list[CallRecord]:
        """See `Calls.live`."""
        return await self._calls.live(node, tenant_id)

    async def untold_calls(self, node: str) -> list[CallRecord]:
        """See `Calls.untold`."""
        return await self._calls.untold(node)

    async def set_notes(self, tenant_id: str, call_id: str, notes: str | None) -> bool:
        """See `Calls.set_notes`."""
        return await self._calls.set_notes(tenant_id, call_id, notes)

    async def delete_call(self, tenant_id: str, call_id: str, now: datetime) -> Deletion:
        """See `Calls.delete`."""
        return await self._calls.delete(tenant_id, call_id, now)

    async def events(
        self,
        tenant_id: str,
        call_id: str | None = None,
        *,
        after: int = 0,
        limit: int = 100,
        published_only: bool = False,
    ) -> list[StoredEvent]:
        """See `Events.page`."""
        return await self._events.page(
            tenant_id, call_id, after=after, limit=limit, published_only=published_only
        )

    async def last_position(self, tenant_id: str) -> int:
        """See `Events.last_position`."""
        return await self._events.last_position(tenant_id)

    async def happened(self, call_id: str, names: Collection[str]) -> list[EventRecord]:
        """See `Events.named`."""
        return await self._events.named(call_id, names)

    async def draft(self, call_id: str) -> CallDraft:
        """See `Drafts.of`."""
        return await self._drafts.of(call_id)

    async def beat(self, node: str, now: datetime) -> None:
        """See `Nodes.beat`."""
        await self.nodes.beat(node, now)

    async def neighbours(self, but: str, since: datetime) -> Mapping[str, datetime]:
        """See `Nodes.others`."""
        return await self.nodes.others(but, since)

    async def last_sequence(self, call_id: str) -> int:
        """See `Events.last_sequence`."""
        return await self._events.last_sequence(call_id)

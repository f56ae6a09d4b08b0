"""Events: a call's timeline and a tenant's stream, page by page or as they come (server-sent events).

Theory of operation. A stream is pages of the store, one after the other: when there is nothing more, it waits for news
and asks again. So nothing is lost or told twice, whoever follows may be as slow as they like, and a stream that breaks
goes on from the last id it has seen: it is ended where its client is gone or takes nothing, its key was revoked, or
the database does not answer.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Literal

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response
from pydantic import Field

from control.api.call_endpoints import no_such_call
from control.api.endpoint import Answer, Asked, Endpoint, NoBody, Query, Reply, endpoint
from control.api.ports import CallControl
from control.api.problem import Problem
from control.api.shapes import EventList, event_shape
from control.news import EventNews
from control.stores.errors import StoreUnavailable
from control.stores.events import StoredEvent
from control.stores.keys import ApiKey
from control.stores.keyset import MAX_LIMIT
from control.stores.store import Store
from control.tenancy import Tenancy

TAG = "Events"
# Of a proxy's patience with an idle connection (often 30 to 60 s), half.
_KEEP_ALIVE = 15
# Without news the store is asked this often: another process may have written.
_ASK_AGAIN = 5.0
# After news, so long for more: of a busy tenant each follower asks ten times a second, not once per event.
_GATHERED = 0.1
# A stream's key is looked at this often.
_KEY_CHECKED = 15.0
# Of one tenant; each holds a connection and asks the store.
MOST_STREAMS = 100
# A follower that takes nothing for so long is gone.
_WRITE_TIMEOUT = 30.0
# Proxies that collect answers would keep the events (nginx).
_UNBUFFERED = {"X-Accel-Buffering": "no"}
_STREAM = ("text/event-stream",)
_LARGEST_CURSOR = 2**63 - 1
_LONGEST_CURSOR = len(str(_LARGEST_CURSOR))


class EventQuery(Query):
    """Which events."""

    after: str | None = Field(
        default=None, max_length=20, description="`next_cursor`, or the id that a stream ended with."
    )
    limit: int = Field(default=MAX_LIMIT, ge=1, le=MAX_LIMIT)
    follow: Literal["0", "1"] = Field(default="0", description="1: a stream of server-sent events.")


class EventEndpoints:
    """Driven by the routes; a stream lasts until its call has ended, its client leaves or the gateway stops."""

    def __init__(self, calls: CallControl, store: Store, news: EventNews, tenancy: Tenancy) -> None:
        self._calls = calls
        self._store = store
        self._news = news
        self._tenancy = tenancy
        self._streams: Counter[str] = Counter()

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        return [
            endpoint(
                "GET", "/v1/calls/{call_id}/events", self.of_call,
                summary="A call's timeline", tag=TAG, query=EventQuery, body=NoBody, answers={200: EventList},
                also=_STREAM, problems=("not_found", "invalid_cursor", "too_many_streams"),
                description="Everything that happened in the call. With `follow=1` a stream (text/event-stream) that "
                "ends with the call; `Last-Event-ID` resumes it.",
            ),
            endpoint(
                "GET", "/v1/events", self.of_tenant,
                summary="Every event that webhooks tell", tag=TAG, query=EventQuery, body=NoBody,
                answers={200: EventList}, also=_STREAM, problems=("invalid_cursor", "too_many_streams"),
                description="For who cannot receive webhooks. With `follow=1` a stream (text/event-stream) without "
                "end; `after` or `Last-Event-ID` resumes it without loss.",
            ),
        ]  # fmt: skip

    async def of_call(self, asked: Asked[EventQuery, NoBody]) -> Answer:
        call_id = asked.path["call_id"]
        if (
            not self._is_live(asked.tenant_id, call_id)
            and await self._store.status(asked.tenant_id, call_id) is None
        ):
            raise no_such_call()
        return await self._answer(asked, call_id)

    async def of_tenant(self, asked: Asked[EventQuery, NoBody]) -> Answer:
        return await self._answer(asked, None)

    async def _answer(self, asked: Asked[EventQuery, NoBody], call_id: str | None) -> Answer:
        query = asked.query
        after = _position(asked.http.headers.get("Last-Event-ID") or query.after)
        if query.follow == "1":
            return await self._stream(asked, call_id, after)
        found = await self._page(asked.tenant_id, call_id, after, query.limit)
        full = len(found) == query.limit
        cursor = str(found[-1].position) if found and (full or call_id is None) else None
        return Reply(EventList(data=[event_shape(each.event) for each in found], next_cursor=cursor))

    async def _page(self, tenant_id: str, call_id: str | None, after: int, limit: int) -> list[StoredEvent]:
        """A tenant's stream is what webhooks tell; a call's timeline is everything."""
        return await self._store.events(
            tenant_id, call_id, after=after, limit=limit, published_only=call_id is None
        )

    async def _following(
        self, tenant_id: str, call_id: str | None, after: int
    ) -> AsyncGenerator[Sequence[StoredEvent], None]:
        """Yield what there is, then what comes; in between empty pages, for who looks after the client."""
        while not self._news.closed:
            seen = self._news.count(tenant_id)
            over = call_id is not None and await self._is_over(tenant_id, call_id)
            page = await self._page(tenant_id, call_id, after, MAX_LIMIT)
            yield page
            if page:
                after = page[-1].position
            elif over:
                return
            else:
                await self._news.wait(tenant_id, seen, timeout=_ASK_AGAIN)
                await asyncio.sleep(_GATHERED)

    async def _is_over(self, tenant_id: str, call_id: str) -> bool:
        """Whether everything of the call is in the store."""
        if self._is_live(tenant_id, call_id):
            return False
        state = await self._store.status(tenant_id, call_id)
        return state is None or state.ended_at is not None

    def _is_live(self, tenant_id: str, call_id: str) -> bool:
        known = self._calls.live_record(tenant_id, call_id)
        return known is not None and known.live

    async def _stream(
        self, asked: Asked[EventQuery, NoBody], call_id: str | None, after: int
    ) -> web.StreamResponse:
        tenant_id = asked.tenant_id
        if self._streams[tenant_id] >= MOST_STREAMS:
            raise Problem(429, "too_many_streams", f"at most {MOST_STREAMS} streams at a time")
        self._streams[tenant_id] += 1
        try:
            async with sse_response(asked.http, headers=_UNBUFFERED, ping_interval=_KEEP_ALIVE) as response:
                # What ends it is seen by its client, who resumes it, and by nobody else.
                with suppress(TimeoutError, ConnectionError, StoreUnavailable):
                    await self._tell(response, asked, call_id, after)
        finally:
            self._streams[tenant_id] -= 1
            if not self._streams[tenant_id]:
                del self._streams[tenant_id]
        return response

    async def _tell(
        self,
        response: EventSourceResponse,
        asked: Asked[EventQuery, NoBody],
        call_id: str | None,
        after: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        async with aclosing(self._following(asked.tenant_id, call_id, after)) as pages:
            async for page in pages:
                if not response.is_connected() or asked.http.transport is None:
                    return
                if loop.time() - checked >= _KEY_CHECKED:
                    if not await self._still_good(asked.key):
                        return
                    checked = loop.time()
                async with asyncio.timeout(_WRITE_TIMEOUT):
                    await _send(response, page)

    async def _still_good(self, key: ApiKey) -> bool:
        """Whether the key was neither revoked nor given another secret (whose last characters the hint is), and its
        tenant not disabled.
        """
        now = await self._store.keys.get(key.tenant_id, key.key_id)
        if now is None or now.revoked_at is not None or now.hint != key.hint:
            return False
        return not (await self._tenancy.terms(key.tenant_id)).disabled


async def _send(response: EventSourceResponse, page: Sequence[StoredEvent]) -> None:
    for each in page:
        await response.send(
            event_shape(each.event).model_dump_json(), id=str(each.position), event=each.event.name
        )


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    # Python reads no number of thousands of digits, which a header may have.
    number = cursor.isascii() and cursor.isdigit() and len(cursor) <= _LONGEST_CURSOR
    if not number or int(cursor) > _LARGEST_CURSOR:
        raise Problem(400, "invalid_cursor", "the cursor is none of ours")
    return int(cursor)

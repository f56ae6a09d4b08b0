"""Events: a call's timeline and a tenant's stream, page by page or as they come (server-sent events).

Theory of operation. A stream is pages of the store, one after the other: when there is nothing more, it waits for news
and asks again. So nothing is lost or told twice, whoever follows may be as slow as they like, and a stream that breaks
goes on from the last id it has seen.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
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
from control.stores.events import StoredEvent
from control.stores.keyset import MAX_LIMIT
from control.stores.store import Store

TAG = "Events"
# Of a proxy's patience with an idle connection (often 30 to 60 s), half.
_KEEP_ALIVE = 15
# Without news the store is asked this often: another process may have written.
_ASK_AGAIN = 5.0
# A follower that takes nothing for so long is gone.
_WRITE_TIMEOUT = 30.0
# Proxies that collect answers would keep the events (nginx).
_UNBUFFERED = {"X-Accel-Buffering": "no"}
_LARGEST_CURSOR = 2**63 - 1


class EventQuery(Query):
    """Which events."""

    after: str | None = Field(
        default=None, max_length=20, description="`next_cursor`, or the id that a stream ended with."
    )
    limit: int = Field(default=MAX_LIMIT, ge=1, le=MAX_LIMIT)
    follow: Literal["0", "1"] = Field(default="0", description="1: a stream of server-sent events.")


class EventEndpoints:
    """Driven by the routes; a stream lasts until its call has ended, its client leaves or the gateway stops."""

    def __init__(self, calls: CallControl, store: Store, news: EventNews) -> None:
        self._calls = calls
        self._store = store
        self._news = news

    def endpoints(self) -> list[Endpoint[Any, Any]]:
        return [
            endpoint(
                "GET", "/v1/calls/{call_id}/events", self.of_call,
                summary="A call's timeline", tag=TAG, query=EventQuery, body=NoBody, answers={200: EventList},
                problems=("not_found", "invalid_cursor"),
                description="Everything that happened in the call. With `follow=1` a stream (text/event-stream) that "
                "ends with the call; `Last-Event-ID` resumes it.",
            ),
            endpoint(
                "GET", "/v1/events", self.of_tenant,
                summary="Every event that webhooks tell", tag=TAG, query=EventQuery, body=NoBody,
                answers={200: EventList}, problems=("invalid_cursor",),
                description="For who cannot receive webhooks. With `follow=1` a stream (text/event-stream) without "
                "end; `after` or `Last-Event-ID` resumes it without loss.",
            ),
        ]  # fmt: skip

    async def of_call(self, asked: Asked[EventQuery, NoBody]) -> Answer:
        call_id = asked.path["call_id"]
        live = self._calls.live_record(asked.tenant_id, call_id)
        if live is None and await self._store.status(asked.tenant_id, call_id) is None:
            raise no_such_call()
        return await self._answer(asked, call_id)

    async def of_tenant(self, asked: Asked[EventQuery, NoBody]) -> Answer:
        return await self._answer(asked, None)

    async def _answer(self, asked: Asked[EventQuery, NoBody], call_id: str | None) -> Answer:
        query = asked.query
        after = _position(asked.http.headers.get("Last-Event-ID") or query.after)
        if query.follow == "1":
            return await self._stream(asked.http, self._following(asked.tenant_id, call_id, after))
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
    ) -> AsyncIterator[Sequence[StoredEvent]]:
        """Yield what there is, then what comes."""
        while not self._news.closed:
            seen = self._news.count(tenant_id)
            over = call_id is not None and await self._is_over(tenant_id, call_id)
            page = await self._page(tenant_id, call_id, after, MAX_LIMIT)
            if page:
                after = page[-1].position
                yield page
            elif over:
                return
            else:
                await self._news.wait(tenant_id, seen, timeout=_ASK_AGAIN)

    async def _is_over(self, tenant_id: str, call_id: str) -> bool:
        """Whether everything of the call is in the store."""
        if self._calls.live_record(tenant_id, call_id) is not None:
            return False
        state = await self._store.status(tenant_id, call_id)
        return state is None or state.ended_at is not None

    async def _stream(
        self, request: web.Request, pages: AsyncIterator[Sequence[StoredEvent]]
    ) -> web.StreamResponse:
        async with sse_response(request, headers=_UNBUFFERED, ping_interval=_KEEP_ALIVE) as response:
            try:
                async for page in pages:
                    async with asyncio.timeout(_WRITE_TIMEOUT):
                        await _send(response, page)
            except (TimeoutError, ConnectionError):
                response.stop_streaming()
        return response


async def _send(response: EventSourceResponse, page: Sequence[StoredEvent]) -> None:
    for each in page:
        await response.send(
            event_shape(each.event).model_dump_json(), id=str(each.position), event=each.event.name
        )


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or int(cursor) > _LARGEST_CURSOR:
        raise Problem(400, "invalid_cursor", "the cursor is none of ours")
    return int(cursor)

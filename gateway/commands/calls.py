"""`offhook calls`: calls for people, from the database of the settings: listed, shown, followed as they happen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Annotated, NoReturn
from zoneinfo import ZoneInfo

import typer
from multidict import MultiDict

from control.api.call_endpoints import CallListQuery, zone
from control.api.problem import Problem
from control.api.reading import read_query
from control.api.shapes import call_object, call_summary, event_shape
from control.call_record import CallRecord, EventRecord
from control.stores.errors import InvalidSort
from control.stores.events import StoredEvent
from control.stores.keyset import MAX_LIMIT
from control.stores.store import Store
from gateway.commands.call_view import call_parts, calls_table, event_line
from gateway.commands.store import TENANT, Tenant, on_store
from gateway.commands.terminal import MISUSED, err, fail, out, print_whole

calls = typer.Typer(no_args_is_help=True, help="List calls, show one, or follow what happens.")

# Seconds between two looks at the database: another process writes it.
_LOOK = 0.5
# Events at a time.
_BATCH = 500

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line, and nothing else.")]
Zone = Annotated[str, typer.Option(help="Of dates and times.")]


@calls.command("list")
def list_calls(
    agent_id: Annotated[str | None, typer.Option(help="The agent's.")] = None,
    status: Annotated[str | None, typer.Option(help="completed, failed, busy ...")] = None,
    disposition: Annotated[str | None, typer.Option(help="answered, voicemail, transferred ...")] = None,
    direction: Annotated[str | None, typer.Option(help="inbound or outbound.")] = None,
    carrier: Annotated[str | None, typer.Option(help="telnyx or twilio.")] = None,
    from_number: Annotated[str | None, typer.Option(help="Who called.")] = None,
    to_number: Annotated[str | None, typer.Option(help="Who was called.")] = None,
    number: Annotated[str | None, typer.Option(help="Either of the two.")] = None,
    from_date: Annotated[str | None, typer.Option(help="The first day, YYYY-MM-DD.")] = None,
    to_date: Annotated[str | None, typer.Option(help="The last day.")] = None,
    timezone: Zone = "UTC",
    search: Annotated[str | None, typer.Option(help="Words of transcript and notes.")] = None,
    sort: Annotated[str | None, typer.Option(help="Fields by comma, - for descending.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    json: Json = False,
    tenant: Tenant = TENANT,
) -> None:
    """List calls, newest first; filters that are given all hold."""
    given = {
        "agent_id": agent_id, "status": status, "disposition": disposition, "direction": direction,
        "carrier": carrier, "from_number": from_number, "to_number": to_number, "number": number,
        "from_date": from_date, "to_date": to_date, "timezone": timezone, "search": search, "sort": sort,
    }  # fmt: skip
    query = _query({name: value for name, value in given.items() if value is not None})

    async def asked(store: Store) -> list[CallRecord]:
        return [record async for record in _listed(store, tenant, query, limit)]

    try:
        found = on_store(asked)
    except InvalidSort as error:
        fail(str(error), MISUSED)
    if json:
        for record in found:
            typer.echo(call_summary(record).model_dump_json())
        return
    print_whole(calls_table(found, ZoneInfo(timezone)))


@calls.command()
def show(
    call_id: Annotated[str, typer.Argument(help="call_...", metavar="CALL_ID")],
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Print everything that happened, too.")
    ] = False,
    timezone: Zone = "UTC",
    json: Json = False,
    tenant: Tenant = TENANT,
) -> None:
    """Show a call: its outcome, cost, transcript and latencies."""
    local = _zone(timezone)

    async def asked(store: Store) -> tuple[CallRecord | None, list[EventRecord]]:
        record = await store.call(tenant, call_id)
        events = [each.event async for each in _stored(store, tenant, call_id, 0)] if timeline else []
        return record, events

    record, events = on_store(asked)
    if record is None:
        fail(f"there is no call {call_id}")
    if json:
        typer.echo(call_object(record).model_dump_json())
        for event in events:
            typer.echo(event_shape(event).model_dump_json())
        return
    for part in call_parts(record, events, local):
        print_whole(part)


@calls.command()
def tail(
    call: Annotated[
        str | None, typer.Option(help="Of this call alone, from its beginning to its end.")
    ] = None,
    timezone: Zone = "UTC",
    json: Json = False,
    tenant: Tenant = TENANT,
) -> None:
    """Print events as they are stored, until interrupted: all that webhooks tell, or all of one call."""
    local = _zone(timezone)

    def told(event: EventRecord) -> None:
        if json:
            typer.echo(event_shape(event).model_dump_json())
        else:
            out.print(event_line(event, local, with_call=call is None))

    async def followed(store: Store) -> bool:
        if call is not None:
            return await _follow(store, tenant, call, told)
        await _follow_all(store, tenant, told)

    if not on_store(followed):
        fail(f"there is no call {call}")


async def _follow(store: Store, tenant: str, call_id: str, told: Callable[[EventRecord], None]) -> bool:
    """Tell a call's events until it has ended; whether there is such a call."""
    after = 0
    while True:
        state = await store.status(tenant, call_id)
        if state is None:
            return False
        async for stored in _stored(store, tenant, call_id, after):
            told(stored.event)
            after = stored.position
        if state.ended_at is not None:
            return True
        await asyncio.sleep(_LOOK)


async def _follow_all(store: Store, tenant: str, told: Callable[[EventRecord], None]) -> NoReturn:
    """Tell the tenant's published events from now on."""
    after = await store.last_position(tenant)
    err.print("following; Ctrl-C ends it")
    while True:
        async for stored in _stored(store, tenant, None, after):
            told(stored.event)
            after = stored.position
        await asyncio.sleep(_LOOK)


async def _stored(store: Store, tenant: str, call_id: str | None, after: int) -> AsyncIterator[StoredEvent]:
    """What there is after a position: all of a call's, or the tenant's published ones."""
    while True:
        page = await store.events(tenant, call_id, after=after, limit=_BATCH, published_only=call_id is None)
        for stored in page:
            yield stored
        if len(page) < _BATCH:
            return
        after = page[-1].position


async def _listed(store: Store, tenant: str, query: CallListQuery, limit: int) -> AsyncIterator[CallRecord]:
    """So many calls, page by page."""
    page = replace(query.page(), limit=min(limit, MAX_LIMIT))
    left = limit
    while left > 0:
        found = await store.calls(tenant, query.filters(), page)
        for record in found.calls[:left]:
            yield record
        left -= len(found.calls)
        if found.next_cursor is None:
            return
        page = replace(page, after=found.next_cursor)


def _query(given: Mapping[str, str]) -> CallListQuery:
    """The filters, checked as those of a request are."""
    try:
        return read_query(CallListQuery, MultiDict(given))
    except Problem as problem:
        fail(problem.detail, MISUSED)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone(name))
    except ValueError as error:
        fail(f"timezone: {error}", MISUSED)

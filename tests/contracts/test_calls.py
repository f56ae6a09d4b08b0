"""Calls: what is saved comes back as it was, late saves harm nothing, lists are complete and in order."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from control.call_record import CallRecord
from control.stores import call_list
from control.stores.call_filters import CallFilters
from control.stores.calls import Deletion
from control.stores.errors import InvalidCursor, InvalidSort, Taken
from control.stores.keyset import Page
from control.stores.store import Store
from telephony.causes import CallStatus, Direction, Disposition, EndedReason, HangupCause
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call, event

pytestmark = pytest.mark.sockets

ALL = CallFilters()
SECOND = timedelta(seconds=1)

# What comes back as it went in

texts = st.text(max_size=20).filter(lambda text: "\x00" not in text)
money = st.decimals(min_value=0, max_value=Decimal("1e9"), places=6)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
# JSONB keeps decimal digits: a double too large for its own digits comes back as another integer of them.
numbers = st.floats(-(2.0**50), 2.0**50, width=32)
documents = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)
records = st.builds(
    CallRecord,
    call_id=st.just(""),
    agent_id=st.none() | texts,
    agent_version=st.none() | st.integers(1, 2**31 - 1),
    direction=st.sampled_from(Direction),
    carrier=texts,
    integration_id=texts,
    carrier_call_id=st.none() | texts,
    leg_id=st.none() | texts,
    session_id=st.none() | texts,
    from_number=st.none() | texts,
    to_number=st.none() | texts,
    status=st.sampled_from(CallStatus),
    disposition=st.none() | st.sampled_from(Disposition),
    ended_reason=st.none() | st.sampled_from(EndedReason),
    intent=st.none() | st.sampled_from(EndedReason),
    hangup_cause=st.none() | st.sampled_from(HangupCause),
    node=texts,
    started_at=moments,
    answered_at=st.none() | moments,
    ended_at=st.none() | moments,
    currency=texts,
    rate_per_minute=st.decimals(min_value=0, max_value=100, places=6),
    llm_cost=money,
    llm_discount=money,
    recording_cost=money,
    transfer_cost=money,
    recording_enabled=st.booleans(),
    has_recording=st.booleans(),
    turn_count=st.integers(0, 10_000),
    barge_in_count=st.integers(0, 10_000),
    tool_call_count=st.integers(0, 10_000),
    tools_called=st.lists(texts, max_size=3).map(tuple),
    transferred_to=st.none() | texts,
    transfer_duration_seconds=st.integers(0, 100_000),
    metadata=documents,
    extracted_data=st.none() | documents,
    notes=st.none() | texts,
    ws_unavailable=st.booleans(),
    drain_forced=st.booleans(),
    webhook_url=st.none() | texts,
    transcript=st.lists(documents, max_size=3).map(tuple),
    latency_turns=st.lists(documents, max_size=3).map(tuple),
    usage=st.dictionaries(texts, st.integers(0, 2**53), max_size=3),
    revision=st.integers(0, 2**62),
)


@settings(
    max_examples=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(record=records)
def test_a_record_comes_back_exactly_as_it_was_saved(stored: RunWithStore, record: CallRecord) -> None:
    fresh = call().call_id  # all examples share one database
    record = replace(record, call_id=fresh, tenant_id=fresh)

    async def scenario(store: Store) -> None:
        await store.add_call(record, [])
        assert await store.call(record.tenant_id, record.call_id) == record
        (listed,) = (await store.calls(record.tenant_id, ALL, Page())).calls
        assert listed == replace(record, transcript=(), latency_turns=())

    stored(scenario)


def test_a_saved_call_has_the_last_saves_values_but_for_the_notes(stored: RunWithStore) -> None:
    ringing = call(notes="said at the beginning")
    ended = ended_call(
        call_id=ringing.call_id, transcript=({"role": "user", "content": "Hello"},), notes=None
    )

    async def scenario(store: Store) -> None:
        await store.add_call(ringing, [])
        assert await store.save_call(ended)
        assert await store.call("default", ringing.call_id) == replace(ended, notes="said at the beginning")

    stored(scenario)


def test_what_no_database_takes_is_replaced_and_the_call_is_kept(stored: RunWithStore) -> None:
    record = ended_call(
        transferred_to="sip:a\x00b@example.com",
        metadata={"half": "\ud800", "zero": "\x00\\u0000", "none": float("nan")},
        transcript=({"role": "user", "content": "a\x00b"},),
    )

    async def scenario(store: Store) -> None:
        assert await store.save_call(record, [event(record, data={"digits": "1\x002"})])
        kept = await store.call("default", record.call_id)
        assert kept is not None
        assert kept.transferred_to == "sip:a\ufffdb@example.com"
        assert kept.metadata == {"half": "\ufffd", "zero": "\ufffd\\u0000", "none": None}
        assert kept.transcript == ({"role": "user", "content": "a\ufffdb"},)
        assert (await store.events("default"))[0].event.data == {"digits": "1\ufffd2"}

    stored(scenario)


def test_money_adds_up_exactly_where_floating_point_does_not(stored: RunWithStore) -> None:
    # 0.1 + 0.2 is 0.30000000000000004 in binary.
    record = ended_call(llm_cost=Decimal("0.1"), recording_cost=Decimal("0.2"))

    async def scenario(store: Store) -> Decimal:
        await store.save_call(record)
        kept = await store.call("default", record.call_id)
        assert kept is not None
        return kept.total_cost

    assert stored(scenario) == Decimal("0.3")


# Late and repeated saves


def test_a_save_with_a_lower_revision_is_not_written_but_its_events_are_kept(stored: RunWithStore) -> None:
    new = call(revision=5, status=CallStatus.IN_PROGRESS)
    old = replace(new, revision=4, status=CallStatus.RINGING)
    late = event(old)

    async def scenario(store: Store) -> None:
        await store.save_call(new)
        assert not await store.save_call(old, [late])
        assert await store.call("default", new.call_id) == new
        assert [each.event for each in await store.events("default", new.call_id)] == [late]

    stored(scenario)


@pytest.mark.parametrize("status", [CallStatus.RINGING, CallStatus.IN_PROGRESS])
def test_no_save_brings_an_ended_call_back_to_life(stored: RunWithStore, status: CallStatus) -> None:
    ended = ended_call()

    async def scenario(store: Store) -> None:
        await store.save_call(ended)
        assert not await store.save_call(replace(ended, status=status, revision=9))
        assert await store.call("default", ended.call_id) == ended

    stored(scenario)


def test_a_replayed_save_changes_nothing(stored: RunWithStore) -> None:
    ended = ended_call()
    happened = [event(ended, 1), event(ended, None), event(ended, 2)]

    async def scenario(store: Store) -> None:
        await store.save_call(ended, happened[:2])
        before = await store.events("default")
        for _ in range(2):
            assert await store.save_call(ended, happened)
        assert [each.event for each in await store.events("default")] == happened
        assert (await store.events("default"))[:2] == before

    stored(scenario)


def test_a_call_is_added_once(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        await store.add_call(record, [])
        with pytest.raises(Taken):
            await store.add_call(record, [event(record)])
        assert await store.events("default") == []

    stored(scenario)


def test_events_are_saved_with_their_own_call_only(stored: RunWithStore) -> None:
    record = call()
    for foreign in (event(call()), event(replace(record, tenant_id="other"))):
        with pytest.raises(ValueError, match="own call"):
            stored(lambda store, foreign=foreign: store.save_call(record, [foreign]))  # type: ignore[misc]


# Erasure


def test_an_erased_call_leaves_nothing_and_does_not_come_back(stored: RunWithStore) -> None:
    ended = ended_call(transcript=({"role": "user", "content": "my secret word"},))

    async def scenario(store: Store) -> None:
        await store.save_call(ended, [event(ended)])
        assert await store.delete_call("default", ended.call_id, NOON) is Deletion.ERASED
        assert not await store.save_call(ended, [event(ended)])
        assert await store.call("default", ended.call_id) is None
        assert await store.events("default") == []
        assert (await store.calls("default", CallFilters(search="secret"), Page())).calls == ()
        assert await store.delete_call("default", ended.call_id, NOON) is Deletion.MISSING

    stored(scenario)


def test_a_live_call_is_not_erased(stored: RunWithStore) -> None:
    record = call()

    async def scenario(store: Store) -> None:
        await store.save_call(record)
        assert await store.delete_call("default", record.call_id, NOON) is Deletion.LIVE
        assert await store.call("default", record.call_id) == record

    stored(scenario)


# Notes and states


def test_notes_are_written_for_live_and_ended_calls_and_found(stored: RunWithStore) -> None:
    live, ended = call(), ended_call()

    async def scenario(store: Store) -> None:
        for record in (live, ended):
            await store.save_call(record)
            assert await store.set_notes("default", record.call_id, "Wants a refund")
        assert not await store.set_notes("default", "call_none", "x")
        await store.save_call(ended_call(call_id=live.call_id))  # its owner knows of no notes
        found = await store.calls("default", CallFilters(search="REFUND"), Page())
        assert {each.call_id for each in found.calls} == {live.call_id, ended.call_id}
        await store.set_notes("default", ended.call_id, None)
        found = await store.calls("default", CallFilters(search="refund"), Page())
        assert [each.call_id for each in found.calls] == [live.call_id]

    stored(scenario)


def test_the_state_of_a_call_is_cheap_to_ask_for(stored: RunWithStore) -> None:
    ended = ended_call()

    async def scenario(store: Store) -> None:
        await store.save_call(ended)
        state = await store.status("default", ended.call_id)
        assert state is not None
        assert (state.status, state.duration_seconds) == (CallStatus.COMPLETED, Decimal(60))
        assert (state.started_at, state.ended_at) == (NOON, NOON + 64 * SECOND)
        assert await store.status("default", "call_none") is None

    stored(scenario)


def test_untold_calls_are_those_of_a_process_whose_end_nothing_tells(stored: RunWithStore) -> None:
    untold, told, theirs = ended_call(node="a"), ended_call(node="a"), ended_call(node="b")

    async def scenario(store: Store) -> None:
        await store.save_call(untold, [event(untold, 1)])
        await store.save_call(told, [event(told, 1, name="call.ended")])
        await store.save_call(theirs)
        await store.save_call(call(node="a"))
        assert await store.untold_calls("a") == [untold]
        assert await store.untold_calls("none") == []

    stored(scenario)


def test_live_calls_are_those_of_a_process_that_have_not_ended(stored: RunWithStore) -> None:
    ours = call(node="a", started_at=NOON + SECOND)
    first = call(node="a", status=CallStatus.IN_PROGRESS)
    theirs = call(node="b", tenant_id="other")

    async def scenario(store: Store) -> None:
        for record in (ours, first, theirs, ended_call(node="a")):
            await store.save_call(record)
        assert await store.live_calls("a") == [first, ours]
        assert await store.live_calls(tenant_id="other") == [theirs]
        assert len(await store.live_calls()) == 3

    stored(scenario)


# Tenants


def test_another_tenants_call_is_not_there(stored: RunWithStore) -> None:
    record = ended_call(tenant_id="theirs", transcript=({"role": "user", "content": "Hello"},))

    async def scenario(store: Store) -> None:
        await store.save_call(record, [event(record)])
        assert await store.call("ours", record.call_id) is None
        assert await store.status("ours", record.call_id) is None
        assert (await store.calls("ours", ALL, Page())).calls == ()
        assert (await store.calls("ours", CallFilters(search="hello"), Page())).calls == ()
        assert await store.events("ours") == await store.events("ours", record.call_id) == []
        assert not await store.set_notes("ours", record.call_id, "x")
        assert await store.delete_call("ours", record.call_id, NOON) is Deletion.MISSING
        assert not await store.save_call(replace(record, tenant_id="ours"))
        assert await store.call("theirs", record.call_id) == record

    stored(scenario)


# Filters

BUSY = {"status": CallStatus.BUSY, "disposition": Disposition.BUSY}


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"agent_id": "agent_1"}, {"agent_id": "agent_1"}),
        ({"status": CallStatus.BUSY}, {"status": CallStatus.BUSY}),
        ({"disposition": Disposition.VOICEMAIL}, {"disposition": Disposition.VOICEMAIL}),
        ({"direction": Direction.OUTBOUND}, {"direction": Direction.OUTBOUND}),
        ({"carrier": "twilio"}, {"carrier": "twilio"}),
        ({"from_number": "+1999"}, {"from_number": "+1999"}),
        ({"to_number": "+1999"}, {"to_number": "+1999"}),
        ({"number": "+1999"}, {"to_number": "+1999"}),
        ({"number": "+1999"}, {"from_number": "+1999"}),
        ({"search": "Grüße"}, {"transcript": ({"role": "user", "content": "Viele gruße!"},)}),
    ],
)
def test_a_filter_finds_those_and_no_others(
    stored: RunWithStore, filters: dict[str, Any], wanted: dict[str, Any]
) -> None:
    found, other = ended_call(**wanted), ended_call()

    async def scenario(store: Store) -> None:
        for record in (found, other):
            await store.save_call(record)
        page = await store.calls("default", CallFilters(**filters), Page())
        assert [each.call_id for each in page.calls] == [found.call_id]
        assert page.next_cursor is None
        both = CallFilters(**filters | {"to_date": date(2026, 3, 1)})
        assert (await store.calls("default", both, Page())).calls == ()

    stored(scenario)


@pytest.mark.parametrize(
    ("zone", "day", "inside", "outside"),
    [
        ("UTC", date(2026, 3, 2), "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"),
        # New York is five hours behind, and from 8 March on four.
        ("America/New_York", date(2026, 3, 2), "2026-03-03T04:59:59.999999Z", "2026-03-03T05:00:00Z"),
        ("America/New_York", date(2026, 3, 8), "2026-03-08T05:00:00Z", "2026-03-08T04:59:59Z"),
        ("America/New_York", date(2026, 3, 8), "2026-03-09T03:59:59Z", "2026-03-09T04:00:00Z"),
        ("Asia/Kolkata", date(2026, 3, 2), "2026-03-01T18:30:00Z", "2026-03-02T18:30:00Z"),
        # Clocks went from midnight to 1 a.m. in Beirut on 26 March 2023: the day had 23 hours from 22:00 UTC on.
        ("Asia/Beirut", date(2023, 3, 26), "2023-03-25T22:00:00Z", "2023-03-25T21:59:59Z"),
        ("Asia/Beirut", date(2023, 3, 26), "2023-03-26T20:59:59Z", "2023-03-26T21:00:00Z"),
    ],
)
def test_a_day_is_a_day_of_the_time_zone(
    stored: RunWithStore, zone: str, day: date, inside: str, outside: str
) -> None:
    within = ended_call(started_at=datetime.fromisoformat(inside))
    without = ended_call(started_at=datetime.fromisoformat(outside))

    async def scenario(store: Store) -> None:
        for record in (within, without):
            await store.save_call(record)
        filters = CallFilters(from_date=day, to_date=day, timezone=ZoneInfo(zone))
        assert [each.call_id for each in (await store.calls("default", filters, Page())).calls] == [
            within.call_id
        ]

    stored(scenario)


def test_dates_at_the_calendars_ends_leave_nothing_out(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> int:
        await store.save_call(ended_call())
        widest = CallFilters(from_date=date.min, to_date=date.max, timezone=ZoneInfo("Pacific/Kiritimati"))
        return len((await store.calls("default", widest, Page())).calls)

    assert stored(scenario) == 1


# Search


@pytest.mark.parametrize("sought", ["parcel", "PARCEL where", "where, parcel!", "пакет", "zażółć", "荷物"])
def test_search_knows_no_case_accents_order_or_script(stored: RunWithStore, sought: str) -> None:
    said = "Where is my parcel? Пакет. Zazolc. 荷物"
    record = ended_call(transcript=({"role": "user", "content": said},))

    async def scenario(store: Store) -> int:
        await store.save_call(record)
        return len((await store.calls("default", CallFilters(search=sought), Page())).calls)

    # The Polish letter with a stroke has no accent to leave out.
    assert stored(scenario) == (0 if sought == "zażółć" else 1)


@pytest.mark.parametrize(
    "sought", ["parcels", "parcel invoice", "", "!?", "t:64656661756c74", 'a" OR b', "' & !x", "m 202603"]
)
def test_search_finds_no_other_words_and_minds_no_signs(stored: RunWithStore, sought: str) -> None:
    record = ended_call(transcript=({"role": "user", "content": "my parcel"},))

    async def scenario(store: Store) -> int:
        await store.save_call(record)
        return len((await store.calls("default", CallFilters(search=sought), Page())).calls)

    assert stored(scenario) == 0


def test_search_is_narrowed_by_agent_and_days(stored: RunWithStore) -> None:
    said = ({"role": "user", "content": "hello"},)
    months = [datetime(2026, month, 15, tzinfo=UTC) for month in (1, 2, 3)]
    made = [
        ended_call(started_at=month, agent_id=agent, transcript=said)
        for month in months
        for agent in ("a", "b")
    ]

    async def scenario(store: Store) -> None:
        for record in made:
            await store.save_call(record)
        filters = CallFilters(
            search="hello", agent_id="b", from_date=date(2026, 2, 1), to_date=date(2026, 3, 14)
        )
        found = (await store.calls("default", filters, Page())).calls
        assert [each.call_id for each in found] == [made[3].call_id]

    stored(scenario)


# Pages


def test_pages_are_newest_first_and_hold_every_call_once(stored: RunWithStore) -> None:
    # Two of three began in the same moment.
    made = [ended_call(started_at=NOON + (number - number % 3) * SECOND) for number in range(10)]

    async def scenario(store: Store) -> None:
        for record in made:
            await store.save_call(record)
        seen = await all_pages(store, ALL, limit=3)
        assert [each.call_id for each in seen] == [each.call_id for each in reversed(made)]

    stored(scenario)


def test_a_call_that_comes_while_one_reads_moves_no_page(stored: RunWithStore) -> None:
    made = [ended_call(started_at=NOON + number * SECOND) for number in range(4)]

    async def scenario(store: Store) -> None:
        for record in made:
            await store.save_call(record)
        first = await store.calls("default", ALL, Page(limit=2))
        await store.save_call(ended_call(started_at=NOON + 10 * SECOND))
        second = await store.calls("default", ALL, Page(limit=2, after=first.next_cursor))
        assert [each.call_id for each in second.calls] == [made[1].call_id, made[0].call_id]
        assert second.next_cursor is None

    stored(scenario)


@pytest.mark.parametrize(
    "sort",
    [
        ("started_at",),
        ("total_cost", "-started_at"),
        ("-agent_id", "duration_seconds"),
        ("-ended_at", "-turn_count"),
        ("answered_at",),
        ("disposition", "-carrier", "started_at"),
    ],
)
def test_pages_in_any_order_hold_every_call_once(stored: RunWithStore, sort: tuple[str, ...]) -> None:
    made = [
        ended_call(
            started_at=NOON + number % 5 * SECOND,
            agent_id=[None, "a", "b"][number % 3],
            turn_count=number % 4,
            llm_cost=Decimal(number % 2),
            ended_at=None if number % 4 == 0 else NOON + number * SECOND,
            carrier="telnyx" if number % 2 else "twilio",
            disposition=None if number % 3 == 0 else Disposition.ANSWERED,
        )
        for number in range(12)
    ]

    async def scenario(store: Store) -> None:
        for record in made:
            await store.save_call(record)
        seen = await all_pages(store, ALL, limit=5, sort=sort)
        assert {each.call_id for each in seen} == {each.call_id for each in made}
        assert len(seen) == len(made)
        # The first field is in order, missing ones before all others.
        first, down = sort[0].lstrip("-"), sort[0].startswith("-")
        values = [getattr(each, first) for each in seen]
        present = [value for value in values if value is not None]
        assert present == sorted(present, reverse=down)
        assert (values[len(present) :] if down else values[: -len(present)]).count(None) == values.count(None)

    stored(scenario)


def test_pages_of_a_search_hold_every_call_once(stored: RunWithStore) -> None:
    said = ({"role": "user", "content": "hello"},)
    made = [ended_call(transcript=said) for _ in range(5)]

    async def scenario(store: Store) -> None:
        for record in made:
            await store.save_call(record)
        seen = await all_pages(store, CallFilters(search="hello"), limit=2)
        assert [each.call_id for each in seen] == [each.call_id for each in reversed(made)]

    stored(scenario)


async def all_pages(
    store: Store, filters: CallFilters, limit: int, sort: tuple[str, ...] = ()
) -> list[CallRecord]:
    seen: list[CallRecord] = []
    after = None
    while True:
        page = await store.calls("default", filters, Page(limit=limit, after=after, sort=sort))
        assert len(page.calls) <= limit
        seen += page.calls
        if (after := page.next_cursor) is None:
            return seen


@pytest.mark.parametrize(
    "cursor", ["", "x", "bm90IGpzb24", "W10", "WyJhIiwiYiJd", "é", "W1siLXN0YXJ0ZWRfYXQiXSxbMSwgImEiXV0"]
)
def test_a_cursor_that_is_none_of_ours_is_refused(stored: RunWithStore, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        stored(lambda store: store.calls("default", ALL, Page(after=cursor)))


_FURTHEST = {
    "turn_count": 2**31 - 1,
    "duration_seconds": 2**63 - 1,
    "total_cost": "9223372036854.775807",
    "started_at": 0,
    "status": "completed",
}


def _cursor(field: str, *place: object) -> Page:
    """The page after this place, in the order of this field."""
    cursor = base64.urlsafe_b64encode(json.dumps([[field], place]).encode()).decode()
    return Page(after=cursor, sort=(field,))


def test_a_cursor_at_a_place_that_no_row_can_have_is_refused(stored: RunWithStore) -> None:
    beyond: list[tuple[str, object]] = [
        ("turn_count", 2**31),
        ("turn_count", -(2**31)),
        ("turn_count", "1"),
        ("duration_seconds", 2**63),
        ("total_cost", "NaN"),
        ("total_cost", "Infinity"),
        ("total_cost", "9223372036854.775808"),
        ("total_cost", "1e9999999"),
        ("total_cost", 1),
        ("started_at", "1"),
        ("started_at", 10**30),
        ("status", 1),
    ]
    pages = [_cursor(field, place, 1) for field, place in beyond]
    pages += [_cursor(field, place, 2**63) for field, place in _FURTHEST.items()]

    async def scenario(store: Store) -> None:
        for page in pages:
            with pytest.raises(InvalidCursor):
                await store.calls("default", ALL, page)

    stored(scenario)


def test_a_cursor_at_the_furthest_place_is_one(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for field, place in _FURTHEST.items():
            assert (await store.calls("default", ALL, _cursor(field, place, 2**63 - 1))).calls == ()

    stored(scenario)


def test_a_cursor_of_another_order_is_refused(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for _ in range(2):
            await store.save_call(ended_call())
        cursor = (await store.calls("default", ALL, Page(limit=1))).next_cursor
        with pytest.raises(InvalidCursor):
            await store.calls("default", ALL, Page(after=cursor, sort=("started_at",)))

    stored(scenario)


def test_nobody_sorts_by_what_is_no_field_of_a_list(stored: RunWithStore) -> None:
    with pytest.raises(InvalidSort):
        stored(lambda store: store.calls("default", ALL, Page(sort=("-transcript",))))


def test_pages_of_one_number_hold_every_call_once_whichever_side_it_is_on(stored: RunWithStore) -> None:
    ours, theirs = "+1999", "+1000"
    sides = [(ours, theirs), (theirs, ours), (ours, ours), (theirs, theirs), (None, ours)]
    made = [
        ended_call(
            started_at=NOON + number % 4 * SECOND,
            from_number=sides[number % 5][0],
            to_number=sides[number % 5][1],
            transcript=({"role": "user", "content": "hello"},),
        )
        for number in range(20)
    ]
    wanted = {each.call_id for each in made if ours in (each.from_number, each.to_number)}

    async def scenario(store: Store) -> None:
        for record in made:
            await store.save_call(record)
        for filters in (CallFilters(number=ours), CallFilters(number=ours, search="hello")):
            for sort in ((), ("started_at",), ("to_number", "-started_at")):
                seen = await all_pages(store, filters, limit=3, sort=sort)
                assert {each.call_id for each in seen} == wanted
                assert len(seen) == len(wanted)
                if not sort and filters.search is None:
                    assert seen == sorted(seen, key=lambda each: each.started_at, reverse=True)

    stored(scenario)


def test_a_search_finds_the_rare_call_beyond_what_is_looked_at_first(
    stored: RunWithStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newest first and oldest first: whatever lies beyond the stretch is found by the index."""
    monkeypatch.setattr(call_list, "_STRETCH", 5)
    made = [
        ended_call(
            started_at=NOON + number * SECOND,
            transcript=({"role": "user", "content": "rare word" if number % 15 == 7 else "common word"},),
        )
        for number in range(40)
    ]

    async def scenario(store: Store) -> None:
        for record in made:
            await store.save_call(record)
        rare = [made[number].call_id for number in (37, 22, 7)]
        for sort, wanted in (((), rare), (("intake",), rare[::-1])):
            for limit in (1, 2, 50):
                seen = await all_pages(store, CallFilters(search="rare"), limit=limit, sort=sort)
                assert [each.call_id for each in seen] == wanted, (sort, limit)
            everything = await all_pages(store, CallFilters(search="word"), limit=3, sort=sort)
            assert len({each.call_id for each in everything}) == len(everything) == len(made)

    stored(scenario)


def test_the_end_of_a_call_is_told_once_whoever_tells_of_it(stored: RunWithStore) -> None:
    record = call()
    over = ended_call(call_id=record.call_id, revision=1)

    async def scenario(store: Store) -> None:
        await store.save_call(record)

        async def tell() -> None:
            await store.save_call(over, [event(over, 1, name="call.ended")])

        await asyncio.gather(tell(), tell())
        # Its owner was only cut off from the database: what it has to say besides is kept.
        late = [
            event(over, None, name="mark"),
            event(over, 3, name="call.failed"),
            event(over, 4, name="call.ended"),
        ]
        await store.save_call(replace(over, revision=2, turn_count=3), late)
        names = [stored.event.name for stored in await store.events("default", record.call_id)]
        assert names == ["call.ended", "mark"]
        kept = await store.call("default", record.call_id)
        assert kept is not None
        assert kept.turn_count == 3

    stored(scenario)

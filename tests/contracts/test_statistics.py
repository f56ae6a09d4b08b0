"""Statistics: what the databases sum is what one adds up by hand, in every time zone and by every filter."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from control.call_record import CallRecord
from control.stores.call_filters import CallFilters
from control.stores.database import Database
from control.stores.errors import RangeTooLong
from control.stores.statistics import MOST_DAYS, Costs, Outcome, Totals
from control.stores.store import Store
from control.stores.tables import tool_logs
from telephony.causes import CallStatus, Direction, Disposition, EndedReason
from tests.contracts.conftest import RunWithStore
from tests.contracts.records import NOON, call, ended_call

pytestmark = pytest.mark.sockets

ALL = CallFilters()
_tenants = count(1)

# The clocks of these have done everything that clocks do: changed by half an hour, at midnight, over midnight,
# against the sun, twice in a month, skipped a day.
ZONES = (
    *("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *(
        "Pacific/Chatham",
        "Pacific/Apia",
        "Asia/Beirut",
        "America/Havana",
        "Atlantic/Azores",
        "Africa/Casablanca",
    ),
    *("America/Sao_Paulo", "Africa/Cairo"),
)

moments = st.one_of(
    st.datetimes(datetime(2009, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC)),
    # Near the changes of clocks, for the most part.
    st.builds(
        lambda day, seconds: datetime.combine(day, time(), UTC) + timedelta(seconds=seconds),
        st.sampled_from(
            [
                *(date(2026, 3, 8), date(2026, 11, 1), date(2026, 3, 29), date(2026, 10, 25)),
                *(date(2011, 12, 30), date(2023, 3, 26), date(2026, 4, 5)),
            ]
        ),
        st.integers(-100_000, 100_000),
    ),
)
amounts = st.decimals(min_value=0, max_value=1000, places=6)
records = st.builds(
    lambda answered, length, **fields: call(
        answered_at=fields["started_at"] if answered else None,
        ended_at=fields["started_at"] + timedelta(milliseconds=length),
        **fields,
    ),
    st.booleans(),
    st.integers(0, 10_000_000),
    agent_id=st.sampled_from([None, "agent_a", "agent_b"]),
    status=st.sampled_from(CallStatus),
    disposition=st.none() | st.sampled_from(Disposition),
    ended_reason=st.none() | st.sampled_from(EndedReason),
    direction=st.sampled_from(Direction),
    carrier=st.sampled_from(["telnyx", "twilio"]),
    started_at=moments,
    currency=st.sampled_from(["USD", "USD", "EUR"]),
    rate_per_minute=amounts,
    llm_cost=amounts,
    llm_discount=amounts,
    recording_cost=amounts,
    transfer_cost=amounts,
    has_recording=st.booleans(),
    ws_unavailable=st.booleans(),
    turn_count=st.integers(0, 50),
    barge_in_count=st.integers(0, 50),
    tool_call_count=st.integers(0, 50),
    transfer_duration_seconds=st.integers(0, 5000),
    transcript=st.sampled_from([(), ({"role": "user", "content": "the parcel is late"},)]),
)


def costs_of(of: Sequence[CallRecord]) -> Costs:
    zero = Decimal(0)
    return Costs(
        calls=len(of),
        call_cost=sum((each.call_cost for each in of), zero),
        llm_cost=sum((each.llm_cost for each in of), zero),
        llm_discount=sum((each.llm_discount for each in of), zero),
        recording_cost=sum((each.recording_cost for each in of), zero),
        transfer_cost=sum((each.transfer_cost for each in of), zero),
        total_cost=sum((each.total_cost for each in of), zero),
    )


def totals_of(of: Iterable[CallRecord]) -> Totals:
    """Added up by hand."""
    those = list(of)
    statuses = Counter(each.status for each in those)
    dispositions = Counter(each.disposition for each in those)
    directions = Counter(each.direction for each in those)
    return Totals(
        total_calls=len(those),
        live_calls=statuses[CallStatus.RINGING] + statuses[CallStatus.IN_PROGRESS],
        answered_calls=sum(each.answered_at is not None for each in those),
        completed_calls=statuses[CallStatus.COMPLETED],
        failed_calls=statuses[CallStatus.FAILED],
        busy_calls=statuses[CallStatus.BUSY],
        no_answer_calls=statuses[CallStatus.NO_ANSWER],
        canceled_calls=statuses[CallStatus.CANCELED],
        rejected_calls=statuses[CallStatus.REJECTED],
        transferred_calls=dispositions[Disposition.TRANSFERRED],
        voicemail_calls=dispositions[Disposition.VOICEMAIL],
        inbound_calls=directions[Direction.INBOUND],
        outbound_calls=directions[Direction.OUTBOUND],
        recorded_calls=sum(each.has_recording for each in those),
        disturbed_calls=sum(each.ws_unavailable for each in those),
        duration_ms=sum(int(each.duration_seconds * 1000) for each in those),
        minutes_used=sum((each.minutes_used for each in those), Decimal(0)),
        turn_count=sum(each.turn_count for each in those),
        barge_in_count=sum(each.barge_in_count for each in those),
        tool_call_count=sum(each.tool_call_count for each in those),
        transfer_duration_seconds=sum(each.transfer_duration_seconds for each in those),
        costs={
            currency: costs_of([each for each in those if each.currency == currency])
            for currency in {each.currency for each in those}
        },
    )


def only(found: dict[Any, Totals]) -> dict[Any, Totals]:
    """Without the days and hours of no calls."""
    return {key: totals for key, totals in found.items() if totals != Totals()}


def by_hand(those: Sequence[CallRecord], key: Any) -> dict[Any, Totals]:
    return {
        value: totals_of(each for each in those if key(each) == value)
        for value in {key(each) for each in those}
    }


@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(made=st.lists(records, min_size=1, max_size=8), zone=st.sampled_from(ZONES).map(ZoneInfo))
def test_what_is_summed_is_what_one_adds_up_by_hand(
    stored: RunWithStore, made: list[CallRecord], zone: ZoneInfo
) -> None:
    tenant = f"tenant_{next(_tenants)}"  # all examples share one database
    # A record that hypothesis shrinks or repeats is another call of the same.
    mine = [replace(each, tenant_id=tenant, call_id=call().call_id) for each in made]

    def clock(each: CallRecord) -> datetime:
        return each.started_at.astimezone(zone)

    async def scenario(store: Store) -> None:
        for each in mine:
            await store.save_call(each)
        ask, local = store.statistics, CallFilters(timezone=zone)
        assert await ask.totals(tenant, ALL) == totals_of(mine)
        assert only(await ask.by_hour(tenant, local)) == by_hand(mine, lambda each: clock(each).hour)
        assert await ask.by_agent(tenant, ALL) == by_hand(mine, lambda each: each.agent_id)
        days = sorted(clock(each).date() for each in mine)
        first, last = days[0], min(days[-1], days[0] + timedelta(days=700))
        narrow = replace(local, from_date=first, to_date=last)
        within = [each for each in mine if first <= clock(each).date() <= last]
        daily = await ask.by_day(tenant, narrow)
        assert only(daily) == by_hand(within, lambda each: clock(each).date())
        assert list(daily) == [first + timedelta(days=number) for number in range((last - first).days + 1)]
        monthly = await ask.by_month(tenant, narrow)
        assert only(monthly) == by_hand(within, lambda each: clock(each).date().replace(day=1))
        assert sum(each.total_calls for each in monthly.values()) == len(within)

    stored(scenario)


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({"agent_id": "agent_a"}, lambda each: each.agent_id == "agent_a"),
    ({"status": CallStatus.BUSY}, lambda each: each.status is CallStatus.BUSY),
    ({"disposition": Disposition.VOICEMAIL}, lambda each: each.disposition is Disposition.VOICEMAIL),
    ({"direction": Direction.OUTBOUND}, lambda each: each.direction is Direction.OUTBOUND),
    ({"carrier": "twilio"}, lambda each: each.carrier == "twilio"),
    ({"from_number": "+1999"}, lambda each: each.from_number == "+1999"),
    ({"to_number": "+1999"}, lambda each: each.to_number == "+1999"),
    ({"number": "+1999"}, lambda each: "+1999" in (each.from_number, each.to_number)),
    ({"from_date": date(2026, 3, 2)}, lambda each: each.started_at.date() >= date(2026, 3, 2)),
    ({"to_date": date(2026, 3, 1)}, lambda each: each.started_at.date() <= date(2026, 3, 1)),
    ({"search": "parcel"}, lambda each: bool(each.transcript)),
    (
        {"search": "parcel", "agent_id": "agent_a"},
        lambda each: each.transcript and each.agent_id == "agent_a",
    ),
]


def varied() -> list[CallRecord]:
    """Every value of a filter in some calls and not in others."""
    return [
        ended_call(
            agent_id="agent_a" if number % 2 else "agent_b",
            status=CallStatus.BUSY if number % 3 == 0 else CallStatus.COMPLETED,
            disposition=Disposition.VOICEMAIL if number % 5 == 0 else Disposition.ANSWERED,
            direction=Direction.OUTBOUND if number % 7 < 3 else Direction.INBOUND,
            carrier="twilio" if number % 4 == 0 else "telnyx",
            from_number="+1999" if number % 6 == 0 else "+1000",
            to_number="+1999" if number % 6 == 1 else "+1000",
            started_at=NOON - timedelta(days=number % 3),
            transcript=({"role": "user", "content": "my parcel"},) if number % 4 == 1 else (),
            latency_turns=({"turn": 1, "llm_ttfb_ms": 100 + number}, {"turn": 2, "llm_ttfb_ms": 500}),
        )
        for number in range(24)
    ]


def test_every_filter_of_a_list_is_one_of_every_statistic(stored: RunWithStore) -> None:
    made = varied()

    async def scenario(store: Store) -> None:
        for each in made:
            await store.save_call(each)
        ask = store.statistics
        for named, wanted in FILTERS:
            filters = CallFilters(**named)
            those = [each for each in made if wanted(each)]
            assert 0 < len(those) < len(made), named
            hand = totals_of(those)
            assert await ask.totals("default", filters) == hand, named
            for found in (
                await ask.by_day("default", filters),
                await ask.by_month("default", filters),
                await ask.by_hour("default", filters),
                await ask.by_agent("default", filters),
            ):
                assert sum(each.total_calls for each in found.values()) == len(those), named
                assert sum(each.duration_ms for each in found.values()) == hand.duration_ms, named
            assert sum(
                each.calls for each in (await ask.outcomes("default", filters)).status.values()
            ) == len(those)
            assert (await ask.latency("default", filters))["llm_ttfb_ms"].count == 2 * len(those), named

    stored(scenario)


def test_a_day_has_as_many_hours_as_its_clocks_show(stored: RunWithStore) -> None:
    """One call at each half hour of the two days on which New York's clocks are changed, and of the next ones."""
    zone = ZoneInfo("America/New_York")
    starts = [
        datetime(2026, month, day, 4, tzinfo=UTC) + timedelta(minutes=30 * number)
        for month, day in ((3, 8), (11, 1))
        for number in range(100)
    ]

    async def scenario(store: Store) -> None:
        for start in starts:
            await store.save_call(ended_call(started_at=start))
        short = CallFilters(from_date=date(2026, 3, 8), to_date=date(2026, 3, 9), timezone=zone)
        long = CallFilters(from_date=date(2026, 11, 1), to_date=date(2026, 11, 2), timezone=zone)
        ask = store.statistics
        assert [each.total_calls for each in (await ask.by_day("default", short)).values()] == [46, 48]
        assert [each.total_calls for each in (await ask.by_day("default", long)).values()] == [50, 48]
        spring, autumn = await ask.by_hour("default", short), await ask.by_hour("default", long)
        # Two days each: the clock showed no 2 a.m. on the one, and 1 a.m. twice on the other.
        assert [spring[hour].total_calls for hour in (1, 2, 3)] == [4, 2, 4]
        assert [autumn[hour].total_calls for hour in (0, 1, 2)] == [4, 6, 4]

    stored(scenario)


def test_days_without_calls_are_listed_and_too_many_are_refused(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        ask = store.statistics
        assert await ask.by_day("default", ALL) == {}
        week = CallFilters(from_date=date(2026, 3, 1), to_date=date(2026, 3, 7))
        assert list((await ask.by_day("default", week)).values()) == [Totals()] * 7
        await store.save_call(ended_call())
        assert list(await ask.by_day("default", ALL)) == [NOON.date()]
        since = CallFilters(from_date=date(2026, 2, 28))
        assert list(await ask.by_day("default", since)) == [
            date(2026, 2, 28),
            date(2026, 3, 1),
            date(2026, 3, 2),
        ]
        assert await ask.by_day("default", CallFilters(from_date=date(2027, 1, 1))) == {}
        for first, last in ((date.min, date.max), (date.min, None), (None, date.max)):
            with pytest.raises(RangeTooLong):
                await ask.by_day("default", CallFilters(from_date=first, to_date=last))
        most = CallFilters(
            from_date=date(2020, 1, 1), to_date=date(2020, 1, 1) + timedelta(days=MOST_DAYS - 1)
        )
        assert len(await ask.by_day("default", most)) == MOST_DAYS

    stored(scenario)


def test_backward_dates_leave_no_day(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.save_call(ended_call())
        backward = CallFilters(from_date=date(2026, 3, 3), to_date=date(2026, 3, 1))
        assert await store.statistics.by_day("default", backward) == {}
        assert await store.statistics.totals("default", backward) == Totals()
        assert only(await store.statistics.by_hour("default", backward)) == {}

    stored(scenario)


def test_outcomes_are_counted_in_each_fields_words(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for _ in range(3):
            await store.save_call(ended_call())
        await store.save_call(ended_call(disposition=Disposition.VOICEMAIL, ended_reason=EndedReason.API))
        await store.save_call(call())
        found = await store.statistics.outcomes("default", ALL)
        assert found.disposition == {
            "answered": Outcome(calls=3, duration_ms=180_000),
            "voicemail": Outcome(calls=1, duration_ms=60_000),
            None: Outcome(calls=1, duration_ms=0),
        }
        assert {name: each.calls for name, each in found.ended_reason.items()} == {
            "caller-hangup": 3,
            "api": 1,
            None: 1,
        }
        assert {name: each.calls for name, each in found.status.items()} == {"completed": 4, "ringing": 1}
        assert {name: each.calls for name, each in found.hangup_cause.items()} == {None: 5}

    stored(scenario)


def test_latencies_are_the_percentiles_of_all_turns_stage_by_stage(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        for number in range(50):
            turn = {"turn": 1, "llm_ttfb_ms": 10.4 * number, "first_audio_heard_ms": None}
            await store.save_call(ended_call(latency_turns=(turn, turn)))
        found = await store.statistics.latency("default", ALL)
        values = sorted(round(10.4 * number) for number in range(50) for _ in range(2))
        stage = found["llm_ttfb_ms"]
        assert (stage.p50, stage.p95, stage.p99) == (values[49], values[94], values[98])
        assert stage.average == pytest.approx(statistics.fmean(values))
        assert (stage.count, stage.highest) == (100, values[-1])
        assert found["first_audio_heard_ms"].count == 0
        assert found["first_audio_heard_ms"].p50 is None

    stored(scenario)


def test_tools_are_counted_by_outcome_in_the_calls_that_are_meant(
    stored: RunWithStore, database_url: str
) -> None:
    mine, others = ended_call(agent_id="agent_a"), ended_call(agent_id="agent_b")
    foreign = ended_call(tenant_id="other")
    _numbers = count(1)

    def used(record: CallRecord, name: str, outcome: str, duration_ms: int) -> dict[str, Any]:
        return {
            "tool_log_id": f"log_{next(_numbers)}",
            "tenant_id": record.tenant_id,
            "call_id": record.call_id,
            "name": name,
            "outcome": outcome,
            "duration_ms": duration_ms,
            "created_at": NOON,
        }

    rows = [
        *(used(mine, "lookup", "ok", number) for number in range(1, 101)),
        used(mine, "lookup", "timeout", 5000),
        used(mine, "end_call", "ok", 3),
        used(others, "lookup", "ok", 9),
        used(foreign, "lookup", "ok", 9),
    ]

    async def scenario(store: Store) -> None:
        for record in (mine, others, foreign):
            await store.save_call(record)
        database = Database(database_url)
        async with database.write() as connection:
            await connection.execute(insert(tool_logs), rows)
        await database.close()
        ended, lookup = await store.statistics.tools("default", CallFilters(agent_id="agent_a"))
        assert (ended.name, ended.calls, ended.outcomes) == ("end_call", 1, {"ok": 1})
        assert (lookup.name, lookup.calls, lookup.outcomes) == ("lookup", 101, {"ok": 100, "timeout": 1})
        assert (lookup.duration.p50, lookup.duration.p95, lookup.duration.highest) == (51, 96, 5000)
        assert [each.calls for each in await store.statistics.tools("default", ALL)] == [1, 102]

    stored(scenario)


def test_nobody_counts_another_tenants_calls(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.save_call(ended_call(tenant_id="other", latency_turns=({"turn": 1, "llm_ttfb_ms": 5},)))
        ask = store.statistics
        assert await ask.totals("default", ALL) == Totals()
        assert await ask.by_day("default", ALL) == await ask.by_agent("default", ALL) == {}
        assert (await ask.outcomes("default", ALL)).status == {}
        assert (await ask.latency("default", ALL))["llm_ttfb_ms"].count == 0
        assert await ask.tools("default", ALL) == []

    stored(scenario)


def test_a_search_for_no_word_finds_nothing(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None:
        await store.save_call(ended_call())
        nothing = CallFilters(search="?!")
        ask = store.statistics
        assert await ask.totals("default", nothing) == Totals()
        assert (await ask.outcomes("default", nothing)).status == {}
        assert (await ask.latency("default", nothing))["llm_ttfb_ms"].count == 0
        assert await ask.tools("default", nothing) == []

    stored(scenario)

"""What is asked of a year of calls: first pages by every filter, and sums of months and of the year."""

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks.year_of_calls import AGENTS, CALLERS, TENANT, agent, caller, line, word
from control.stores.call_filters import CallFilters
from control.stores.keyset import Page
from control.stores.store import Store
from telephony.causes import CallStatus, Direction, Disposition

Question = Callable[[Store, random.Random], Awaitable[int]]
"""Asks the store something; returns how many rows the answer has."""

_ZONE = ZoneInfo("America/New_York")


def month(chance: random.Random) -> CallFilters:
    first = date(2025, chance.randint(1, 12), 1)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return CallFilters(from_date=first, to_date=last)


def singles() -> dict[str, Callable[[random.Random], dict[str, Any]]]:
    """Every filter of a list, the frequent and the rare values apart."""

    def day(chance: random.Random) -> date:
        return date(2025, 1, 1) + timedelta(days=chance.randint(0, 364))

    return {
        "none": lambda _: {},
        "agent_id (the busiest)": lambda _: {"agent_id": agent(0)},
        "agent_id (the idlest)": lambda _: {"agent_id": agent(AGENTS - 1)},
        "status=completed": lambda _: {"status": CallStatus.COMPLETED},
        "status=rejected (2 in 1,000)": lambda _: {"status": CallStatus.REJECTED},
        "disposition=answered": lambda _: {"disposition": Disposition.ANSWERED},
        "disposition=voicemail": lambda _: {"disposition": Disposition.VOICEMAIL},
        "direction": lambda chance: {"direction": chance.choice([Direction.INBOUND, Direction.OUTBOUND])},
        "carrier": lambda chance: {"carrier": chance.choice(["telnyx", "twilio"])},
        "from_number": lambda chance: {"from_number": caller(chance.randrange(CALLERS))},
        "to_number (the busiest)": lambda _: {"to_number": line(0)},
        "number (a caller's)": lambda chance: {"number": caller(chance.randrange(CALLERS))},
        "number (the busiest line)": lambda _: {"number": line(0)},
        "from_date": lambda chance: {"from_date": day(chance)},
        "to_date": lambda chance: {"to_date": day(chance)},
        "search (a word of every second call)": lambda chance: {"search": word(chance.randrange(1, 4))},
        "search (a word of 1 in 100)": lambda chance: {"search": word(chance.randrange(400, 600))},
        "search (a rare word)": lambda chance: {"search": word(chance.randrange(15_000, 20_000))},
        "search (two frequent words)": lambda chance: {"search": f"{word(1)} {word(chance.randrange(2, 9))}"},
        "search (no call has both)": lambda chance: {
            "search": f"{word(19_998)} {word(19_999)} {word(19_997)}"
        },
    }


def _listing(name: str, make: Callable[[random.Random], dict[str, Any]]) -> Iterator[tuple[str, Question]]:
    def asking(more: Callable[[random.Random], CallFilters], page: Page) -> Question:
        async def ask(store: Store, chance: random.Random) -> int:
            filters = replace(more(chance), **make(chance))
            return len((await store.calls(TENANT, filters, page)).calls)

        return ask

    def of_an_agent(chance: random.Random) -> CallFilters:
        return replace(month(chance), agent_id=agent(chance.randrange(AGENTS)))

    yield name, asking(lambda _: CallFilters(), Page())
    yield f"{name} + agent_id + a month", asking(of_an_agent, Page())


def lists() -> list[tuple[str, Question]]:
    async def second_page(store: Store, chance: random.Random) -> int:
        filters = month(chance)
        first = await store.calls(TENANT, filters, Page())
        return len((await store.calls(TENANT, filters, Page(after=first.next_cursor))).calls)

    async def dearest(store: Store, chance: random.Random) -> int:
        filters = replace(month(chance), agent_id=agent(chance.randrange(AGENTS)))
        return len((await store.calls(TENANT, filters, Page(sort=("-total_cost", "-started_at")))).calls)

    return [
        *(each for name, make in singles().items() for each in _listing(name, make)),
        ("two pages of a month", second_page),
        ("sort=-total_cost,-started_at + agent_id + a month", dearest),
    ]


def month_sums() -> list[tuple[str, Question]]:
    return _sums(lambda chance: replace(month(chance), timezone=_ZONE), "a month")


def year_sums() -> list[tuple[str, Question]]:
    return _sums(lambda _: CallFilters(timezone=_ZONE), "the year")


def _sums(range_of: Callable[[random.Random], CallFilters], named: str) -> list[tuple[str, Question]]:
    def asking(name: str, **more: Any) -> Question:  # noqa: ANN401  # any filters
        async def ask(store: Store, chance: random.Random) -> int:
            found = await getattr(store.statistics, name)(TENANT, replace(range_of(chance), **more))
            return len(found) if isinstance(found, dict | list) else 1

        return ask

    return [
        (f"summary of {named}", asking("totals")),
        (f"summary of {named} + agent_id", asking("totals", agent_id=agent(0))),
        (f"summary of {named} + search", asking("totals", search=word(500))),
        (f"daily of {named}", asking("by_day")),
        (f"hourly of {named}", asking("by_hour")),
        (f"agents of {named}", asking("by_agent")),
        (f"dispositions of {named}", asking("outcomes")),
        (f"latency of {named}", asking("latency")),
    ]

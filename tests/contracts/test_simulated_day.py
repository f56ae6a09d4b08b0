"""A whole day of calls, through their machines into a real database: its statistics are those of its event log.

Every kind of call there is comes in or is dialled, at its own moment of one virtual day: answered and talked through,
with tools, gathers and transfers, hung up by either side or by the API, busy, rejected, abandoned, answered by
machines, refused by the carrier, broken. What was stored is then summed twice: by the database, and here, from
nothing but the events that users are told. OFFHOOK_DAY=5000 for a day of that many calls.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from control.agents import AgentConfig
from control.call_record import CallRecord, EventRecord
from control.dialling import Dialled, DialRequest
from control.media_orders import ToolAsked
from control.records import MediaSummary
from control.requests import After, EndCall, Gather, TransferCall
from control.stores.call_filters import CallFilters
from control.stores.statistics import Totals
from control.stores.store import Store
from gateway.rest_house import described
from media.realtime.events import Usage
from telephony.calls import (
    GatherEnded,
    GatherStatus,
    LegToken,
    MachineDetected,
    TransferLegAnswered,
    TransferLegBridged,
    TransferLegHungUp,
    TransferLegInitiated,
    TransferLegRinging,
)
from telephony.causes import AnsweredBy, CallStatus, Direction, Disposition, HangupCause
from telephony.client_errors import Verdict
from telephony.commands import Dial, MachineDetection
from tests.conftest import RunAsync
from tests.contracts.conftest import RunWithStore
from tests.control.service_scene import OTHER, OURS, THEIRS, Media, Scene

pytestmark = pytest.mark.sockets

CALLS = int(os.environ.get("OFFHOOK_DAY", "200"))
HOURS = 24
TENANT = "default"
AGENTS = ("default", "sales", "support")
NEW_YORK = ZoneInfo("America/New_York")


QUIET = MediaSummary(
    turn_count=0,
    barge_in_count=0,
    tools_called=(),
    transcript=(),
    latency_turns=(),
    usages=(),
    ws_unavailable=False,
    recording=None,
)
"""Of a call in which nobody spoke."""


class DayOfCalls:
    """Plays the people and the carrier of every call. Driven by the test, on virtual time."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        agents = [AgentConfig(name=name, from_number=OURS) for name in AGENTS[1:]]
        self.scene = Scene(places=10_000, agents=agents, describe=described)
        self.scene.room.ending = QUIET
        self.kinds: dict[str, Callable[[str], Awaitable[None]]] = {
            "talk": self.talk,
            "tools": self.tools,
            "agent hangs up": self.agent_hangs_up,
            "api": self.ended_by_api,
            "gather": self.gather,
            "transfer": self.transfer,
            "transfer fails": self.failed_transfer,
            "abandoned": self.abandoned,
            "media breaks": self.broken,
            "answered": self.dialled,
            "machine": self.machine,
            "busy": lambda leg: self.refused(leg, HangupCause.USER_BUSY),
            "no answer": lambda leg: self.refused(leg, HangupCause.NO_ANSWER),
            "rejected": lambda leg: self.refused(leg, HangupCause.CALL_REJECTED),
            "unallocated": lambda leg: self.refused(leg, HangupCause.UNALLOCATED_NUMBER),
            "carrier refuses": self.not_dialled,
        }
        self.played: Counter[str] = Counter()

    async def play(self, count: int) -> None:
        """Begin so many calls, spread over the day, and let all of them end."""
        names = sorted(self.kinds)
        async with asyncio.TaskGroup() as day:
            for number in range(count):
                # Every kind comes; most people just talk.
                kind = (
                    names[number]
                    if number < len(names)
                    else self.chance.choice([*names, "talk", "talk", "tools"])
                )
                at = self.chance.uniform(0, HOURS * 3600)
                day.create_task(self._one(kind, f"in-{number}", at))
                self.played[kind] += 1
        await asyncio.sleep(3600)
        await self.scene.close()

    async def _one(self, kind: str, leg: str, at: float) -> None:
        await asyncio.sleep(at)
        await self.kinds[kind](leg)

    # Who rings

    async def talking(self, leg: str) -> tuple[str, Media]:
        """Somebody rings and is answered."""
        call_id = await self.scene.rings(leg)
        media = self.scene.talks(call_id)
        await asyncio.sleep(2)
        self.scene.answered(leg)
        self.said(media)
        await asyncio.sleep(self.chance.uniform(3, 300))
        return call_id, media

    def said(self, media: Media, tools: Sequence[str] = ()) -> None:
        """What the media of the call will have come to."""
        turns = self.chance.randint(0, 6)
        media.ending = MediaSummary(
            turn_count=turns,
            barge_in_count=self.chance.randint(0, turns),
            tools_called=tuple(tools),
            transcript=({"role": "user", "content": f"order {self.chance.randint(1, 9)}", "timestamp": 1.0},),
            latency_turns=tuple(
                {"turn": turn + 1, "ts": 5.0 * turn, "llm_ttfb_ms": self.chance.randint(100, 2000)}
                for turn in range(turns)
            ),
            usages=(Usage(audio_out=self.chance.randint(0, 3)),),
            ws_unavailable=self.chance.random() < 0.1,
            recording=None,
        )

    async def talk(self, leg: str) -> None:
        await self.talking(leg)
        self.scene.hung_up(leg)

    async def tools(self, leg: str) -> None:
        _, media = await self.talking(leg)
        wanted = [self.chance.choice(["look_up", "order"]) for _ in range(self.chance.randint(1, 3))]
        self.said(media, wanted)
        for number, name in enumerate(wanted):
            media.report(ToolAsked(f"{leg}-{number}", name, "{}"))
            await asyncio.sleep(2)
        self.scene.hung_up(leg)

    async def agent_hangs_up(self, leg: str) -> None:
        _, media = await self.talking(leg)
        self.said(media, ["end_call"])
        media.report(ToolAsked(f"{leg}-end", "end_call", "{}"))
        await asyncio.sleep(20)
        self.scene.hung_up(leg)

    async def ended_by_api(self, leg: str) -> None:
        call_id, _ = await self.talking(leg)
        await self.scene.service.ask(TENANT, call_id, EndCall(after=After.NOW))
        self.scene.hung_up(leg)

    async def gather(self, leg: str) -> None:
        call_id, _ = await self.talking(leg)
        await self.scene.service.ask(TENANT, call_id, Gather(gather_id=f"g-{leg}", prompt="Your number?"))
        await asyncio.sleep(6)
        status = self.chance.choice(list(GatherStatus))
        self.scene.say(GatherEnded(origin=self.scene.origin(leg, "gathered"), status=status, digits="12"))
        await asyncio.sleep(10)
        self.scene.hung_up(leg)

    async def transfer(self, leg: str) -> None:
        second, media = await self.connecting(leg)
        self.scene.say(TransferLegAnswered(origin=second("answered")))
        self.scene.say(TransferLegBridged(origin=second("bridged")))
        media.end()  # the carrier has the caller now
        await asyncio.sleep(self.chance.uniform(5, 100))
        self.scene.say(TransferLegHungUp(origin=second("hungup"), cause=HangupCause.NORMAL_CLEARING))
        self.scene.hung_up(leg)

    async def failed_transfer(self, leg: str) -> None:
        second, _ = await self.connecting(leg)
        self.scene.say(TransferLegHungUp(origin=second("hungup"), cause=HangupCause.USER_BUSY))
        await asyncio.sleep(15)
        self.scene.hung_up(leg)

    async def connecting(self, leg: str) -> tuple[Callable[[str], Any], Media]:
        """The caller is being transferred, and the other phone rings: what is said of its leg, and the media."""
        call_id, media = await self.talking(leg)
        asked = TransferCall(transfer_id=f"t-{leg}", destination=OTHER, after=After.NOW)
        await self.scene.service.ask(TENANT, call_id, asked)

        def second(event: str) -> Any:
            return self.scene.origin(f"b-{leg}", event, LegToken(call_id, asked.transfer_id))

        await asyncio.sleep(1)
        self.scene.say(TransferLegInitiated(origin=second("initiated")))
        self.scene.say(TransferLegRinging(origin=second("ringing")))
        await asyncio.sleep(3)
        return second, media

    async def abandoned(self, leg: str) -> None:
        await self.scene.rings(leg)
        self.scene.hung_up(leg, HangupCause.ORIGINATOR_CANCEL)

    async def broken(self, leg: str) -> None:
        _, media = await self.talking(leg)
        media.end()
        await asyncio.sleep(20)
        self.scene.hung_up(leg)

    # Whom we dial

    async def rung(self, **options: Any) -> tuple[str, str] | None:
        """A phone rings: the call and its leg; None: the carrier would not."""
        request = DialRequest(
            **{"to": THEIRS, "from_number": OURS, "agent_id": self.chance.choice(AGENTS), **options}
        )
        outcome = await self.scene.service.dial(TENANT, request)
        if not isinstance(outcome, Dialled):
            return None
        call_id = outcome.record.call_id
        await asyncio.sleep(self.chance.uniform(1, 20))
        leg = self.scene.shelf.records[call_id].leg_id
        assert leg is not None
        return call_id, leg

    async def dialled(self, _: str) -> None:
        rung = await self.rung()
        assert rung is not None
        call_id, leg = rung
        self.scene.answered(leg)
        self.said(self.scene.talks(call_id))
        await asyncio.sleep(self.chance.uniform(3, 300))
        self.scene.hung_up(leg)

    async def machine(self, _: str) -> None:
        rung = await self.rung(machine_detection=MachineDetection.ASYNC)
        assert rung is not None
        call_id, leg = rung
        self.scene.answered(leg)
        self.said(self.scene.talks(call_id))
        self.scene.say(MachineDetected(origin=self.scene.origin(leg, "amd"), answered_by=AnsweredBy.MACHINE))
        await asyncio.sleep(30)
        self.scene.hung_up(leg)

    async def refused(self, _: str, cause: HangupCause) -> None:
        rung = await self.rung()
        assert rung is not None
        self.scene.hung_up(rung[1], cause)

    async def not_dialled(self, _: str) -> None:
        self.scene.account.troubles.setdefault(Dial, []).append(Verdict.REJECTED)
        await self.rung()


# The same, from the events alone


def totals_of(log: Sequence[EventRecord]) -> Totals:
    """What a user who keeps nothing but events would add up."""
    ended = [event.data["call"] for event in log if event.name == "call.ended"]
    assert all(isinstance(call, dict) for call in ended)
    calls: list[dict[str, Any]] = [call for call in ended if isinstance(call, dict)]
    names = Counter(event.name for event in log)
    statuses = Counter(call["status"] for call in calls)
    dispositions = Counter(call["disposition"] for call in calls)
    directions = Counter(call["direction"] for call in calls)
    assert names["call.failed"] == len(calls) - statuses[CallStatus.COMPLETED]

    def added(name: str) -> Decimal:
        return sum((Decimal(str(call[name])) for call in calls), Decimal(0))

    return Totals(
        total_calls=len({event.call_id for event in log}),
        live_calls=len({event.call_id for event in log}) - len(calls),
        answered_calls=names["call.answered"],
        completed_calls=statuses[CallStatus.COMPLETED],
        failed_calls=statuses[CallStatus.FAILED],
        busy_calls=statuses[CallStatus.BUSY],
        no_answer_calls=statuses[CallStatus.NO_ANSWER],
        canceled_calls=statuses[CallStatus.CANCELED],
        rejected_calls=statuses[CallStatus.REJECTED],
        transferred_calls=names["transfer.completed"],
        voicemail_calls=dispositions[Disposition.VOICEMAIL],
        inbound_calls=directions[Direction.INBOUND],
        outbound_calls=directions[Direction.OUTBOUND],
        recorded_calls=sum(call["has_recording"] for call in calls),
        disturbed_calls=sum(call["ws_unavailable"] for call in calls),
        duration_ms=int(added("duration_seconds") * 1000),
        minutes_used=added("minutes_used"),
        turn_count=int(added("turn_count")),
        barge_in_count=int(added("barge_in_count")),
        tool_call_count=names["tool.invoked"],
        transfer_duration_seconds=int(added("transfer_duration_seconds")),
    )


def without_money(totals: Totals) -> Totals:
    return Totals(**{name: getattr(totals, name) for name in Totals.__slots__ if name != "costs"})


def by(key: Callable[[dict[str, Any]], Any], log: Sequence[EventRecord]) -> dict[Any, Totals]:
    """The totals of the calls that are alike."""
    keys = {event.call_id: key(event.data["call"]) for event in log if event.name == "call.ended"}  # type: ignore[arg-type]  # of our own log
    return {
        value: totals_of([event for event in log if keys[event.call_id] == value])
        for value in set(keys.values())
    }


def began(call: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(call["started_at"]).astimezone(NEW_YORK)


def some(found: dict[Any, Totals]) -> dict[Any, Totals]:
    return {key: without_money(totals) for key, totals in found.items() if totals.total_calls}


async def whole_log(store: Store) -> list[EventRecord]:
    log: list[EventRecord] = []
    after = 0
    while page := await store.events(TENANT, after=after, limit=1000, published_only=True):
        log += [stored.event for stored in page]
        after = page[-1].position
    return log


def day_of_calls(
    virtual: RunAsync, count: int
) -> tuple[DayOfCalls, list[CallRecord], dict[str, list[EventRecord]]]:
    async def play() -> DayOfCalls:
        day = DayOfCalls(seed=7)
        await day.play(count)
        return day

    day = virtual(play())
    events: dict[str, list[EventRecord]] = {}
    for event in day.scene.shelf.events:
        events.setdefault(event.call_id, []).append(event)
    return day, list(day.scene.shelf.records.values()), events


def test_the_statistics_of_a_day_are_those_of_its_event_log(virtual: RunAsync, stored: RunWithStore) -> None:
    day, records, events = day_of_calls(virtual, CALLS)
    assert set(day.played) == set(day.kinds)

    async def scenario(store: Store) -> None:
        for record in records:
            await store.save_call(record, events[record.call_id])
        log = await whole_log(store)
        ask, local = store.statistics, CallFilters(timezone=NEW_YORK)
        totals, expected = await ask.totals(TENANT, CallFilters()), totals_of(log)
        assert without_money(totals) == expected
        assert expected.total_calls >= CALLS - day.played["carrier refuses"]
        assert expected.live_calls == 0
        calls = [event.data["call"] for event in log if event.name == "call.ended"]
        for currency, costs in totals.costs.items():
            mine = [call for call in calls if isinstance(call, dict) and call["currency"] == currency]
            for name in ("call_cost", "llm_cost", "transfer_cost", "total_cost"):
                assert getattr(costs, name) == sum(Decimal(str(call[name])) for call in mine), name
        assert some(await ask.by_day(TENANT, local)) == by(lambda call: began(call).date(), log)
        assert some(await ask.by_hour(TENANT, local)) == by(lambda call: began(call).hour, log)
        assert some(await ask.by_agent(TENANT, CallFilters())) == by(lambda call: call["agent_id"], log)
        for status in CallStatus:
            found = await ask.totals(TENANT, CallFilters(status=status, direction=Direction.OUTBOUND))
            alike = by(lambda call: (call["status"], call["direction"]), log).get(
                (status, Direction.OUTBOUND), Totals()
            )
            assert without_money(found) == alike, status
        endings = await ask.outcomes(TENANT, CallFilters())
        for name in ("disposition", "status", "ended_reason"):
            counted = {value: each.calls for value, each in getattr(endings, name).items()}
            assert counted == Counter(call[name] for call in calls if isinstance(call, dict)), name
        # Where we hung up, the call has ended before the carrier names a cause: the record has it, the event had not.
        told = Counter(call["hangup_cause"] for call in calls if isinstance(call, dict))
        known = Counter({cause: each.calls for cause, each in endings.hangup_cause.items()})
        assert known.total() == told.total()
        assert +(told - known) == Counter({None: told[None] - known[None]})
        took = [
            turn["llm_ttfb_ms"]
            for call in calls
            if isinstance(call, dict)
            for turn in call["latency_data"]["turns"]
        ]
        latency = (await ask.latency(TENANT, CallFilters()))["llm_ttfb_ms"]
        assert latency.count == len(took)
        assert [latency.p50, latency.p95, latency.p99] == np.percentile(
            took, [50, 95, 99], method="inverted_cdf"
        ).tolist()
        tools = {use.name: use.calls for use in await ask.tools(TENANT, CallFilters())}
        assert tools == Counter(event.data["name"] for event in log if event.name == "tool.completed")

    stored(scenario)


def test_every_call_of_a_day_ends_once_and_has_every_outcome(virtual: RunAsync) -> None:
    day, records, events = day_of_calls(virtual, CALLS)
    assert day.scene.room.free() == day.scene.room.places
    for record in records:
        assert not record.live, record
        assert [event.name for event in events[record.call_id]].count("call.ended") == 1
    assert {record.status for record in records} >= set(CallStatus) - {
        CallStatus.RINGING,
        CallStatus.IN_PROGRESS,
    }
    assert {record.disposition for record in records} >= set(Disposition)

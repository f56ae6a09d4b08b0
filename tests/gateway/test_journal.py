"""What the database could not take survives the process, and is handed on once it can."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from control.call_record import CallRecord, EventRecord
from gateway.journal import Journal
from telephony.causes import CallStatus, Direction, EndedReason
from tests.virtual_time import run_virtual

AT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
RECORD = CallRecord(
    call_id="call_1",
    direction=Direction.OUTBOUND,
    carrier="telnyx",
    started_at=AT,
    rate_per_minute=Decimal("0.0123"),
    intent=EndedReason.API,
    tools_called=("look_up", "look_up"),
    metadata={"order": 7, "vip": True, "names": ["Zoë", None]},
    transcript=({"role": "user", "content": "hello", "timestamp": 1.5},),
)
EVENT = EventRecord(
    event_id="evt_1",
    tenant_id="default",
    call_id="call_1",
    agent_id=None,
    name="call.ringing",
    sequence=1,
    occurred_at=AT,
    at=0.25,
    data={"carrier": "telnyx"},
)


class Database:
    """Takes saves, unless it is away."""

    def __init__(self) -> None:
        self.saved: list[tuple[CallRecord, tuple[EventRecord, ...]]] = []
        self.takes = 1_000

    async def save(self, record: CallRecord, events: Sequence[EventRecord]) -> None:
        if self.takes <= 0:
            raise ConnectionError("away")
        self.takes -= 1
        self.saved.append((record, tuple(events)))


def test_a_save_comes_back_as_it_was_in_another_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal, database = Journal(tmp_path), Database()
        await journal.append(RECORD, [EVENT])
        await journal.append(replace(RECORD, status=CallStatus.COMPLETED, ended_at=AT), [])
        assert not journal.empty()
        journal.close()
        again = Journal(tmp_path)
        assert not again.empty()
        assert await again.replay(database.save) == 2
        assert database.saved[0] == (RECORD, (EVENT,))
        assert database.saved[1][0].status is CallStatus.COMPLETED
        assert again.empty()
        assert await again.replay(database.save) == 0
        again.close()

    run_virtual(scenario())


def test_a_replay_that_breaks_off_begins_anew_and_loses_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal, database = Journal(tmp_path), Database()
        for number in range(3):
            await journal.append(replace(RECORD, call_id=f"call_{number}"), [])
        database.takes = 1
        with pytest.raises(ConnectionError):
            await journal.replay(database.save)
        assert not journal.empty()
        await journal.append(replace(RECORD, call_id="call_3"), [])
        database.takes = 100
        await journal.replay(database.save)
        await journal.replay(database.save)
        assert [record.call_id for record, _ in database.saved] == [
            "call_0",
            "call_0",
            "call_1",
            "call_2",
            "call_3",
        ]
        assert journal.empty()
        journal.close()

    run_virtual(scenario())


def test_what_is_journalled_during_a_replay_waits_for_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal, database = Journal(tmp_path), Database()

        async def slowly(record: CallRecord, events: Sequence[EventRecord]) -> None:
            await journal.append(replace(record, call_id="call_2"), events)
            await database.save(record, events)

        await journal.append(RECORD, [])
        assert await journal.replay(slowly) == 1
        assert not journal.empty()
        assert await journal.replay(database.save) == 1
        assert [record.call_id for record, _ in database.saved] == ["call_1", "call_2"]
        journal.close()

    run_virtual(scenario())


def test_a_line_cut_short_by_a_crash_costs_itself_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal, database = Journal(tmp_path), Database()
        await journal.append(RECORD, [EVENT])
        journal.close()
        path = tmp_path / "journal.jsonl"
        path.write_bytes(path.read_bytes() + b'\n{"record":{"call_id":"call_tor')
        again = Journal(tmp_path)
        await again.append(replace(RECORD, call_id="call_2"), [])
        assert await again.replay(database.save) == 2
        assert [record.call_id for record, _ in database.saved] == ["call_1", "call_2"]
        again.close()

    run_virtual(scenario())


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    run_virtual(journal.append(RECORD, []))
    journal.close()
    assert (tmp_path / "journal.jsonl").stat().st_mode & 0o777 == 0o600


def test_saves_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal, database = Journal(tmp_path), Database()
        await asyncio.gather(
            *(journal.append(replace(RECORD, call_id=f"call_{number}"), []) for number in range(20))
        )
        assert await journal.replay(database.save) == 20
        journal.close()

    run_virtual(scenario())

"""`offhook calls`: what is kept, as a person reads it, and what happens, as it happens."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from control.call_record import CallRecord, EventRecord
from control.stores.store import Store
from gateway.__main__ import app
from telephony.causes import CallStatus, Disposition, EndedReason
from tests.contracts.records import NOON, call, ended_call, event

cli = CliRunner()

URL = "sqlite:///offhook-data/offhook.db"


@pytest.fixture(autouse=True)
def _made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.invoke(app, ["db", "upgrade"]).exit_code == 0


def kept(*records: CallRecord, events: Sequence[EventRecord] = ()) -> None:
    async def save() -> None:
        store = await Store.open(URL)
        for record in records:
            await store.save_call(record, [each for each in events if each.call_id == record.call_id])
        await store.close()

    asyncio.run(save())


def typed(*words: str, expect: int = 0) -> Result:
    result = cli.invoke(app, ["calls", *words])
    assert result.exit_code == expect, result.output
    return result


def talk() -> CallRecord:
    return ended_call(
        agent_id="agent_1",
        llm_cost=Decimal("0.125"),
        transcript=(
            {"role": "user", "content": "Where is my [bold]parcel[/]?", "timestamp": 1.25},
            {
                "role": "assistant",
                "content": "On its",
                "timestamp": 3.0,
                "interrupted": True,
                "heard_ms": 400,
            },
        ),
        latency_turns=({"turn": 1, "ts": 2.0, "llm_ttfb_ms": 321, "first_audio_heard_ms": None},),
        turn_count=1,
    )


# list


def test_a_list_has_whole_ids_the_newest_first() -> None:
    older, newer = ended_call(), ended_call(started_at=NOON + timedelta(hours=1))
    kept(older, newer)
    printed = typed("list").stdout
    assert 0 < printed.index(newer.call_id) < printed.index(older.call_id)
    assert "2026-03-02 13:00:00" in printed
    assert "1:00" in printed
    assert "2026-03-02 08:00:00" in typed("list", "--timezone", "America/New_York").stdout


def test_filters_hold_and_json_is_the_apis_object() -> None:
    busy = call(status=CallStatus.BUSY, disposition=Disposition.BUSY, from_number="+1999")
    kept(talk(), busy, ended_call(tenant_id="other"))
    (line,) = typed("list", "--status", "busy", "--number", "+1999", "--json").stdout.splitlines()
    assert json.loads(line)["call_id"] == busy.call_id
    (found,) = typed("list", "--search", "PARCEL", "--json").stdout.splitlines()
    assert json.loads(found)["agent_id"] == "agent_1"
    assert len(typed("list", "--tenant", "other", "--json").stdout.splitlines()) == 1


def test_a_list_longer_than_a_page_is_had_whole() -> None:
    kept(*(ended_call(started_at=NOON + timedelta(seconds=number)) for number in range(130)))
    assert len(typed("list", "--limit", "125", "--json").stdout.splitlines()) == 125
    assert len(typed("list", "--limit", "500", "--json").stdout.splitlines()) == 130


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--status", "odd"), "status"),
        (("--from-date", "yesterday"), "from_date"),
        (("--timezone", "Mars/Olympus"), "timezone"),
        (("--sort", "colour"), "colour"),
        (("--limit", "0"), "limit"),
    ],
)
def test_a_filter_that_makes_no_sense_is_misuse(words: Sequence[str], said: str) -> None:
    assert said in typed("list", *words, expect=2).stderr


# show


def test_a_call_is_shown_with_what_was_said_and_how_long_answers_took() -> None:
    record = talk()
    kept(record, events=[event(record, 1), event(record, None)])
    printed = typed("show", record.call_id, "--timeline").stdout
    for part in (
        record.call_id,
        "answered, caller-hangup",
        "[bold]parcel[/]",
        "400 ms heard",
        "321",
        "0.125 USD",
    ):
        assert part in printed
    assert "call.ringing" in printed
    assert "mark" in printed
    assert "call.ringing" not in typed("show", record.call_id).stdout


def test_a_call_in_json_is_the_apis_object_and_its_timeline_follows() -> None:
    record = talk()
    kept(record, events=[event(record, 1), event(record, None)])
    whole, *events = map(
        json.loads, typed("show", record.call_id, "--json", "--timeline").stdout.splitlines()
    )
    assert whole["transcript"][0]["content"] == "Where is my [bold]parcel[/]?"
    assert [each["event"] for each in events] == ["call.ringing", "mark"]


def test_a_call_that_is_not_there_or_somebody_elses_is_said_not_to_be() -> None:
    other = ended_call(tenant_id="other")
    kept(other)
    assert "there is no call" in typed("show", other.call_id, expect=1).stderr
    assert "there is no call" in typed("tail", "--call", other.call_id, expect=1).stderr
    typed("show", other.call_id, "--tenant", "other")


# tail


def test_a_call_that_has_ended_is_told_to_its_end() -> None:
    record = talk()
    kept(record, events=[event(record, number) for number in range(1, 4)])
    printed = typed("tail", "--call", record.call_id, "--json").stdout
    assert [json.loads(line)["sequence"] for line in printed.splitlines()] == [1, 2, 3]


def test_people_are_told_plain_fields_and_programs_the_whole_call() -> None:
    record = talk()
    kept(
        record,
        events=[event(record, 1, name="call.ended", data={"status": "completed", "call": {"call_id": "x"}})],
    )
    printed = typed("tail", "--call", record.call_id).stdout
    assert "status=completed" in printed
    assert "call=" not in printed
    line = typed("tail", "--call", record.call_id, "--json").stdout
    assert json.loads(line)["data"]["call"] == {"call_id": "x"}


@pytest.mark.sockets
def test_a_tail_tells_what_another_process_stores_and_ends_with_the_call() -> None:
    record = call()
    kept(record, events=[event(record, 1)])
    command = [sys.executable, "-m", "gateway", "calls", "tail", "--call", record.call_id, "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["event"] == "call.ringing"
        ended = replace(
            record,
            status=CallStatus.COMPLETED,
            ended_reason=EndedReason.API,
            ended_at=NOON + timedelta(minutes=1),
            revision=1,
        )
        kept(ended, events=[event(record, 2, name="call.ended")])
        assert json.loads(tail.stdout.readline())["event"] == "call.ended"
        assert tail.wait(30) == 0


@pytest.mark.sockets
def test_a_tail_of_everything_begins_now_and_ends_quietly_when_interrupted() -> None:
    old, new = talk(), call()
    kept(old, events=[event(old, 1)])
    command = [sys.executable, "-m", "gateway", "calls", "tail"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert "following" in tail.stderr.readline()
        kept(new, events=[event(new, 1), event(new, None)])
        assert new.call_id in tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        assert tail.wait(30) == 130
        assert tail.stdout.read() == ""
        assert tail.stderr.read() == ""

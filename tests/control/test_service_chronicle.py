"""Events are numbered where users are told of them, timed by one clock, and keep their secrets."""

from datetime import timedelta
from itertools import count
from typing import Any

from control.call_record import PUBLISHED, CallRecord
from control.service.chronicle import Chronicle
from telephony.causes import Direction
from tests.control.service_scene import BEGUN

RECORD = CallRecord(
    call_id="call_1",
    tenant_id="acme",
    agent_id="agent_1",
    direction=Direction.INBOUND,
    carrier="telnyx",
    started_at=BEGUN,
)


def chronicle(**options: Any) -> Chronicle:
    numbers = count(1)
    return Chronicle(
        RECORD, new_id=lambda prefix: f"{prefix}_{next(numbers)}", begun_at=BEGUN, now=100.0, **options
    )


def test_only_what_users_are_told_of_has_a_number() -> None:
    kept = chronicle()
    entries = [kept.entry(name, {}, 100.0) for name in ("call.ringing", "carrier.initiated", "call.ended")]
    assert [each.sequence for each in entries] == [1, None, 2]
    assert len({each.event_id for each in entries}) == 3
    assert {"call.ringing", "call.ended"} <= PUBLISHED


def test_numbers_go_on_where_an_earlier_process_stopped() -> None:
    assert chronicle(last_sequence=7).entry("call.ended", {}, 100.0).sequence == 8


def test_a_moment_is_told_by_the_wall_and_since_the_beginning() -> None:
    entry = chronicle().entry("call.answered", {"a": 1}, 101.25)
    assert entry.occurred_at == BEGUN + timedelta(seconds=1.25)
    assert entry.at == 1.25
    assert (entry.tenant_id, entry.call_id, entry.agent_id) == ("acme", "call_1", "agent_1")


def test_a_secret_field_is_apart_from_the_others() -> None:
    entry = chronicle().entry(
        "call.gather.completed", {"status": "completed", "input": "4711"}, 100.0, secret=("input", "none")
    )
    assert entry.data == {"status": "completed"}
    assert entry.secret == {"input": "4711"}
    assert "4711" not in repr(entry)

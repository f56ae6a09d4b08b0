"""What had begun when a process died is told of its end, and what had ended is not."""

from datetime import timedelta
from typing import Any

from control.call_record import EventRecord
from control.unfinished import ENDINGS, Unfinished, ending, transferred_at, unfinished
from tests.control.service_scene import BEGUN, OTHER


def event(name: str, **data: Any) -> EventRecord:
    return EventRecord(
        event_id=f"evt_{name}",
        tenant_id="default",
        call_id="call_1",
        agent_id=None,
        name=name,
        sequence=None,
        occurred_at=BEGUN + timedelta(seconds=9),
        at=9.0,
        data=data,
    )


GATHER = event("gather.started", gather_id="g_1", mode="carrier")
TRANSFER = event("transfer.initiated", transfer_id="t_1", destination=OTHER)


def test_a_gather_that_was_under_way_ends_with_the_call() -> None:
    data = {"gather_id": "g_1", "status": "hangup", "input": None}
    assert unfinished([GATHER]) == [Unfinished("call.gather.completed", data)]


def test_a_transfer_that_was_under_way_has_failed_of_our_error() -> None:
    data = {"transfer_id": "t_1", "destination": OTHER, "cause": "error"}
    assert unfinished([TRANSFER]) == [Unfinished("transfer.failed", data)]


def test_what_had_ended_is_not_told_again() -> None:
    ends = [
        event("call.gather.completed", gather_id="g_1", status="timeout", input=None),
        event("transfer.failed", transfer_id="t_1", destination=OTHER, cause="busy"),
    ]
    assert unfinished([GATHER, TRANSFER, *ends]) == []
    again = event("transfer.initiated", transfer_id="t_2", destination=OTHER)
    assert [each.data["transfer_id"] for each in unfinished([TRANSFER, ends[1], again])] == ["t_2"]


def test_a_transfer_is_timed_from_when_both_heard_each_other() -> None:
    assert transferred_at([TRANSFER]) is None
    completed = event("transfer.completed", transfer_id="t_1", destination=OTHER)
    assert transferred_at([TRANSFER, completed]) == BEGUN + timedelta(seconds=9)
    assert unfinished([TRANSFER, completed]) == []


def test_one_thing_has_one_end_by_whatever_name() -> None:
    transfer = [event(name, transfer_id="t_1") for name in ("transfer.completed", "transfer.failed")]
    tool = [event(name, tool_call_id="t_1") for name in ("tool.completed", "tool.timeout", "tool.abandoned")]
    call = [event(name) for name in ("call.failed", "call.ended")]
    gather = [event("call.gather.completed", gather_id="t_1")]
    kinds = [{ending(each) for each in kind} for kind in (transfer, tool, call, gather)]
    assert [len(kind) for kind in kinds] == [1, 1, 1, 1]
    assert len(set.union(*kinds)) == 4
    assert {each.name for kind in (transfer, tool, call, gather) for each in kind} == ENDINGS
    assert ending(event("call.gather.completed", gather_id="t_2")) not in kinds[3]
    assert ending(GATHER) is ending(TRANSFER) is None

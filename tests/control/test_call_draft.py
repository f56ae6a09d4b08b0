"""What a process that died has left of a call is read as it was written."""

from dataclasses import replace
from datetime import timedelta

from control.call_draft import INTERRUPTED, CallDraft, DraftKind, DraftPiece, begun
from control.tool_log import ToolOutcome, ToolRun
from tests.control.service_scene import BEGUN

RUN = ToolRun(tool_call_id="tc_1", name="look_up", began=10.0, arguments='{"order": "A7"}', tool_id="tool_1")


def test_a_run_that_nobody_heard_the_end_of_is_abandoned_and_says_why() -> None:
    piece = begun(RUN, "tlog_1", 10.0, BEGUN)
    assert (piece.kind, piece.key) == (DraftKind.TOOL, "tc_1")
    (run,) = CallDraft((piece,)).runs
    log = run.interrupted(BEGUN + timedelta(seconds=4.5))
    assert (log.tool_log_id, log.tool_call_id, log.name, log.tool_id) == (
        "tlog_1",
        "tc_1",
        "look_up",
        "tool_1",
    )
    assert (log.outcome, log.error, log.duration_ms) == (ToolOutcome.ABANDONED, INTERRUPTED, 4500)
    assert log.arguments == {"order": "A7"}


def test_keys_that_were_to_be_pressed_are_not_on_record() -> None:
    pressed = replace(RUN, name="send_dtmf", arguments='{"digits": "4711"}')
    assert "4711" not in str(begun(pressed, "tlog_1", 10.0, BEGUN).data)


def test_that_nothing_is_to_be_extracted_is_something_else_than_not_knowing() -> None:
    nothing = CallDraft((DraftPiece(DraftKind.SCHEMA, "", {"schema": None}),))
    assert (nothing.schema, nothing.tells_schema) == (None, True)
    assert (CallDraft().schema, CallDraft().tells_schema) == (None, False)

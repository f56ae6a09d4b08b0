"""What is kept of a tool's run: enough to find a fault, and none of what was pressed for somebody else."""

import pytest

from control.tool_log import ToolOutcome, ToolRun, kept_arguments


def run(**facts: object) -> ToolRun:
    given: dict[str, object] = {
        "tool_call_id": "tc",
        "name": "weather",
        "began": 1.0,
        "arguments": '{"city":"Oslo"}',
    }
    return ToolRun(**{**given, **facts})  # type: ignore[arg-type]  # the test's own words


def test_a_run_is_kept_with_what_was_asked_and_told_and_how_long_it_took() -> None:
    log = run(outcome=ToolOutcome.SUCCESS, result='{"rain":true}', status_code=200, attempts=2).log(
        "tlog_1", 1.25
    )
    assert (log.tool_log_id, log.tool_call_id, log.name) == ("tlog_1", "tc", "weather")
    assert (log.arguments, log.result) == ({"city": "Oslo"}, {"rain": True})
    assert (log.outcome, log.status_code, log.attempts, log.duration_ms) == (ToolOutcome.SUCCESS, 200, 2, 250)


def test_a_run_that_nobody_waited_for_has_no_result() -> None:
    log = run().log("tlog_1", 3.0)
    assert (log.outcome, log.result, log.duration_ms) == (ToolOutcome.ABANDONED, None, 2000)


def test_keys_pressed_for_the_far_end_are_counted_and_not_kept() -> None:
    assert kept_arguments("send_dtmf", '{"digits":"4111111111111111"}') == {"digits": "[16 keys]"}
    assert kept_arguments("order", '{"digits":"42"}') == {"digits": "42"}
    log = run(name="send_dtmf", arguments='{"digits":"4111"}').log("tlog_1", 1.0)
    assert "4111" not in repr(log) + str(log.arguments)


@pytest.mark.parametrize("arguments", ["[1]", "not json", '"text"', "{" * 2_000])
def test_what_is_no_object_is_kept_as_text_and_cut(arguments: str) -> None:
    kept = kept_arguments("weather", arguments)
    assert kept == {"unread": arguments[:1_000]}


def test_no_arguments_are_an_empty_object() -> None:
    assert kept_arguments("weather", "") == {}


def test_a_long_error_is_cut() -> None:
    error = run(outcome=ToolOutcome.ERROR, error="x" * 5_000).log("tlog_1", 1.0).error
    assert error == "x" * 500

"""What texts may name."""

from datetime import UTC, datetime

import pytest

from control.templates import TextsUnfilled
from control.variables import MOST_VALUES, CallContext, check_variables, variables

# 2026-03-29 01:00 UTC: the second in which Vienna's clocks go from 02:00 to 03:00.
SPRING = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def test_time_is_told_where_the_agent_is() -> None:
    told = variables({}, CallContext(now=SPRING, timezone="Europe/Vienna"))
    assert (told["date"], told["time"], told["weekday"]) == ("2026-03-29", "03:00", "Sunday")
    assert told["now"] == "2026-03-29T03:00:00+02:00"


def test_the_customer_is_always_there_and_may_have_more_parts() -> None:
    known = CallContext(now=SPRING, customer_number="+13125550100")
    assert variables({"customer": {"name": "Ada"}}, known)["customer"] == {
        "name": "Ada",
        "number": "+13125550100",
    }
    withheld = CallContext(now=SPRING)
    assert variables({}, withheld)["customer"] == {"number": "unknown"}


def test_headers_are_named_as_variables_are() -> None:
    context = CallContext(now=SPRING, headers={"X-Account-Id": "7"})
    assert variables({}, context)["headers"] == {"x_account_id": "7"}


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"now": "x"}, "/now"),
        ({"headers": {}}, "/headers"),
        ({"customer": "Ada"}, "/customer"),
        ({"customer": {"number": "+1"}}, "/customer/number"),
        ({"no-name": "x"}, "/no-name"),
        ({"a": ["x"]}, "/a"),
        ({"a": {"b": {"c": "x"}}}, "/a/b"),
        ({"a": {"b": object()}}, "/a/b"),
        ({"a": {"": "x"}}, "/a/"),
        ({"a": "x" * 5_000}, "/a"),
        ({"a": 1 << 70}, "/a"),
        ({f"v{n}": n for n in range(MOST_VALUES + 1)}, ""),
    ],
)
def test_what_cannot_be_a_variable_is_refused_with_its_place(given: dict[str, object], pointer: str) -> None:
    assert [fault.pointer for fault in check_variables(given)] == [pointer]
    with pytest.raises(TextsUnfilled, match=f"/variables{pointer}"):
        variables(given, CallContext(now=SPRING))

"""Calls are found by every name they have, by the account whose call it is alone."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from control.call_record import CallRecord
from control.service.call_index import CallIndex
from telephony.calls import LegToken, Origin
from telephony.causes import Direction
from tests.control.service_scene import BEGUN


@dataclass
class Named:
    record: CallRecord

    @property
    def call_id(self) -> str:
        return self.record.call_id


def call(call_id: str = "call_1", **names: Any) -> Named:
    return Named(
        CallRecord(call_id=call_id, direction=Direction.INBOUND, carrier="telnyx", started_at=BEGUN, **names)
    )


def index(*calls: Named) -> CallIndex[Named]:
    made: CallIndex[Named] = CallIndex()
    for each in calls:
        made.add(each)
    return made


def origin(**names: object) -> Origin:
    return Origin(carrier="telnyx", event_id="e", **names)  # type: ignore[arg-type]  # names of a leg


CALL = call(carrier_call_id="v3:a", leg_id="leg-a", session_id="session-a")


@pytest.mark.parametrize(
    "names",
    [
        {"token": LegToken("call_1")},
        {"token": LegToken("call_1", "t_1"), "leg_id": "leg-b"},
        {"leg_id": "leg-a"},
        {"carrier_call_id": "v3:a"},
        {"carrier_call_id": "leg-b", "parent_call_id": "v3:a"},
        {"carrier_call_id": "v3:b", "leg_id": "leg-b", "session_id": "session-a"},
    ],
)
def test_any_name_finds_it(names: dict[str, object]) -> None:
    assert index(CALL).of("default", origin(**names)) is CALL


def test_our_own_name_goes_before_what_carriers_share() -> None:
    other = call("call_2", session_id="session-a", leg_id="leg-c")
    found = index(CALL, other).of("default", origin(token=LegToken("call_1"), leg_id="leg-c"))
    assert found is CALL


def test_another_account_or_carrier_finds_nothing() -> None:
    calls = index(CALL)
    assert calls.of("other", origin(token=LegToken("call_1"), leg_id="leg-a")) is None
    twilio = Origin(carrier="twilio", event_id="e", token=LegToken("call_1"), leg_id="leg-a")
    assert calls.of("default", twilio) is None


def test_a_new_name_is_good_and_the_old_one_stays() -> None:
    named = call(carrier_call_id="v3:a")
    calls = index(named)
    named.record = replace(named.record, carrier_call_id="v3:b")
    calls.renamed(named)
    assert calls.of("default", origin(carrier_call_id="v3:a")) is named
    assert calls.of("default", origin(carrier_call_id="v3:b")) is named


def test_a_removed_call_has_no_name_left() -> None:
    calls = index(CALL)
    calls.remove(CALL)
    assert len(calls) == 0
    assert calls.get("call_1") is None
    assert calls.of("default", origin(leg_id="leg-a", token=LegToken("call_1"))) is None
    calls.renamed(CALL)
    assert calls.of("default", origin(leg_id="leg-a")) is None

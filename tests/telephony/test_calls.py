"""Call events: what all of them have in common, our names for legs, and the legs of transfers."""

import dataclasses
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony import calls
from telephony.calls import (
    Answered,
    Bridged,
    CallEvent,
    GatherEnded,
    GatherStatus,
    HungUp,
    Initiated,
    KeyPressed,
    LegToken,
    Origin,
    Reported,
    Ringing,
    StreamingStarted,
    TransferLegAnswered,
    TransferLegBridged,
    TransferLegHungUp,
    TransferLegInitiated,
    TransferLegRinging,
    as_transfer_leg,
)
from telephony.causes import Direction, HangupCause, HangupSource
from telephony.events import Unrecognised

ORIGIN = Origin(carrier="telnyx", event_id="e1", carrier_call_id="v3:b", leg_id="leg-b", session_id="s")

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
TOKENS = st.builds(LegToken, NAMES, st.none() | NAMES, st.none() | NAMES)


@given(TOKENS)
def test_a_leg_token_comes_back_as_it_was(token: LegToken) -> None:
    assert LegToken.parse(str(token)) == token


@given(TOKENS)
def test_a_leg_token_needs_no_quoting_in_a_url(token: LegToken) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._~-]+", str(token))  # RFC 3986 section 2.3, unreserved


@given(st.text())
def test_any_text_is_a_token_of_ours_or_none(text: str) -> None:
    token = LegToken.parse(text)
    assert token is None or str(token) == text


@pytest.mark.parametrize("text", ["", "a/b", "a.b.c", "~", "a~", ".b", "a b", "é", "a" * 65, "call\n"])
def test_what_is_not_ours_is_no_token(text: str) -> None:
    assert LegToken.parse(text) is None


@pytest.mark.parametrize("name", ["", "a.b", "a~b", "a/b", "a" * 65])
def test_an_id_that_would_read_as_something_else_is_no_part_of_a_token(name: str) -> None:
    with pytest.raises(ValueError, match="leg token"):
        LegToken(name)
    with pytest.raises(ValueError, match="leg token"):
        LegToken("call", transfer_id=name)


@pytest.mark.parametrize("event", get_args(CallEvent))
def test_every_event_is_a_frozen_value_that_says_where_it_comes_from(event: type) -> None:
    assert event.__doc__
    assert "origin" in {field.name for field in dataclasses.fields(event)}
    assert event.__dataclass_params__.frozen  # type: ignore[attr-defined]  # no public way to ask
    assert not hasattr(event, "__dict__") or "__slots__" in vars(event)


def test_the_union_lists_every_event_of_the_module() -> None:
    events = {
        value
        for value in vars(calls).values()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and "origin" in {field.name for field in dataclasses.fields(value)}
    }
    assert events == set(get_args(CallEvent))
    assert set(get_args(Reported)) == {*events, Unrecognised}


def test_digits_stay_out_of_logs() -> None:
    pressed = KeyPressed(origin=ORIGIN, digit="7")
    gathered = GatherEnded(origin=ORIGIN, status=GatherStatus.COMPLETED, digits="4111111111111111")
    assert "7" not in repr(pressed)
    assert "4111" not in repr(gathered)


@pytest.mark.parametrize(
    ("event", "of_the_transfer"),
    [
        (
            Initiated(origin=ORIGIN, direction=Direction.OUTBOUND, from_number="+1", to_number="+2"),
            TransferLegInitiated(origin=ORIGIN, to_number="+2"),
        ),
        (Ringing(origin=ORIGIN), TransferLegRinging(origin=ORIGIN)),
        (Answered(origin=ORIGIN), TransferLegAnswered(origin=ORIGIN)),
        (Bridged(origin=ORIGIN), TransferLegBridged(origin=ORIGIN)),
        (
            HungUp(
                origin=ORIGIN,
                cause=HangupCause.USER_BUSY,
                source=HangupSource.CALLEE,
                sip_code=486,
                word="user_busy",
                duration=0,
            ),
            TransferLegHungUp(
                origin=ORIGIN,
                cause=HangupCause.USER_BUSY,
                source=HangupSource.CALLEE,
                sip_code=486,
                word="user_busy",
                duration=0,
            ),
        ),
    ],
)
def test_what_happens_to_a_transfers_leg_never_happens_to_the_call(
    event: CallEvent, of_the_transfer: CallEvent
) -> None:
    assert as_transfer_leg(event) == of_the_transfer


@pytest.mark.parametrize("event", [StreamingStarted(origin=ORIGIN), TransferLegRinging(origin=ORIGIN)])
def test_what_a_transfers_leg_has_no_word_of_its_own_for_stays(event: CallEvent) -> None:
    assert as_transfer_leg(event) is event

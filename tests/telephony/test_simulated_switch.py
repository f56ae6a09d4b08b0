"""The switch: every leg ends once, whatever happens in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.simulated_switch import (
    SIP_STATUS,
    Answered,
    Bridged,
    Cause,
    Detected,
    DigitCollector,
    Direction,
    Directory,
    Ended,
    FarEnd,
    Gathered,
    GreetingEnded,
    Kind,
    Leg,
    LegState,
    Rang,
    Reaction,
    Side,
    Switch,
    SwitchEvent,
    Unbridged,
)


def leg(direction: Direction = Direction.OUTBOUND, far_end: FarEnd = FarEnd(), **options: object) -> Leg:  # noqa: B008
    values = {"ring_timeout": 30.0, **options}
    return Leg(
        leg_id="l",
        direction=direction,
        from_number="+13125550100",
        to_number="+13125550101",
        far_end=far_end,
        placed_at=0.0,
        **values,  # type: ignore[arg-type]  # whatever a leg takes
    )


def run(switch: Switch, until: float) -> list[SwitchEvent]:
    events: list[SwitchEvent] = []
    while (deadline := switch.next_deadline()) is not None and deadline <= until:
        events += switch.poll(deadline)
    return events


def test_a_call_rings_is_answered_and_reaches_its_limit() -> None:
    switch, call = Switch(), leg(far_end=FarEnd(rings_after=1.0, after=2.0), time_limit=10.0)
    switch.dial(call)
    assert run(switch, 100.0) == [Rang(call), Answered(call), Ended(call)]
    assert (call.rang_at, call.answered_at, call.ended_at) == (1.0, 3.0, 13.0)
    assert (call.cause, call.ended_by, call.duration(99.0)) == (Cause.TIME_LIMIT, Side.CARRIER, 10.0)


@pytest.mark.parametrize(
    ("reaction", "cause", "by"),
    [
        (Reaction.BUSY, Cause.BUSY, Side.PARTY),
        (Reaction.REJECTS, Cause.REJECTED, Side.PARTY),
        (Reaction.NOT_FOUND, Cause.NOT_FOUND, Side.PARTY),
        (Reaction.FAILS, Cause.FAILED, Side.PARTY),
        (Reaction.RINGS_OUT, Cause.TIMEOUT, Side.CARRIER),
    ],
)
def test_a_call_that_is_not_answered_ends_for_its_own_reason(
    reaction: Reaction, cause: Cause, by: Side
) -> None:
    switch, call = Switch(), leg(far_end=FarEnd(reaction=reaction))
    switch.dial(call)
    assert run(switch, 100.0) == [Rang(call), Ended(call)]
    assert (call.cause, call.ended_by) == (cause, by)
    assert call.duration(100.0) == 0.0


def test_a_machine_is_detected_and_its_greeting_ends_with_the_beep() -> None:
    machine = FarEnd(kind=Kind.MACHINE, detected_after=1.0, beep_after=4.0, hangs_up_after=9.0)
    switch, call = Switch(), leg(far_end=machine, detection=True)
    switch.dial(call)
    assert run(switch, 100.0)[2:] == [Detected(call, Kind.MACHINE), GreetingEnded(call, True), Ended(call)]
    silent = FarEnd(kind=Kind.MACHINE)
    assert silent.greeting_ends_after == 1.0


def test_who_calls_cancels_and_who_is_called_rejects() -> None:
    for direction, by, cause in [
        (Direction.OUTBOUND, Side.APPLICATION, Cause.CANCEL),
        (Direction.INBOUND, Side.PARTY, Cause.CANCEL),
        (Direction.INBOUND, Side.APPLICATION, Cause.REJECTED),
    ]:
        switch, call = Switch(), leg(direction)
        assert switch.hang_up(call, by, 1.0)
        assert call.cause is cause
        assert not switch.hang_up(call, by, 2.0)
        assert not switch.answer(call, 2.0)


def test_an_impatient_caller_gives_up() -> None:
    switch, call = Switch(), leg(Direction.INBOUND)
    switch.arrive(call, patience=5.0)
    assert run(switch, 100.0) == [Rang(call), Ended(call)]
    assert call.cause is Cause.CANCEL


def test_bridged_legs_end_together_unless_one_is_parked() -> None:
    for parks in (False, True):
        switch, first, second = Switch(), leg(), leg()
        assert not switch.bridge(first, second)
        for each in (first, second):
            switch.answer(each, 0.0)
        assert switch.bridge(first, second)
        first.parks = parks
        switch.hang_up(second, Side.PARTY, 1.0)
        last = Unbridged(first) if parks else Ended(first)
        assert switch.poll(1.0)[2:] == [Bridged(first, second), Ended(second), last]
        assert first.alive is parks


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 5.0), st.sampled_from(["answer", "hang up", "party", "wait", "bridge", "reject"])
        )
    ),
    st.sampled_from(Reaction),
    st.booleans(),
)
def test_every_leg_only_moves_on_and_ends_once(
    steps: list[tuple[float, str]], reaction: Reaction, inbound: bool
) -> None:
    switch, now = Switch(), 0.0
    direction = Direction.INBOUND if inbound else Direction.OUTBOUND
    call, other = leg(direction, FarEnd(reaction=reaction, after=3.0), time_limit=20.0), leg()
    if inbound:
        switch.arrive(call, patience=40.0)
    else:
        switch.dial(call)
    switch.dial(other)
    order = list(LegState)
    seen: list[SwitchEvent] = []
    for pause, step in steps:
        before = order.index(call.state)
        now += pause
        seen += switch.poll(now)
        if step == "answer":
            switch.answer(call, now)
        elif step == "hang up":
            switch.hang_up(call, Side.APPLICATION, now)
        elif step == "party":
            switch.hang_up(call, Side.PARTY, now)
        elif step == "bridge":
            switch.bridge(call, other)
        elif step == "reject":
            switch.end(call, Cause.REJECTED, Side.APPLICATION, now)
        assert order.index(call.state) >= before
    seen += run(switch, now + 1_000.0)
    assert sum(event == Ended(call) for event in seen) == (0 if call.alive else 1)
    assert sum(event == Answered(call) for event in seen) == (call.answered_at is not None)
    assert not call.alive
    assert call.cause in SIP_STATUS
    assert switch.next_deadline() is None


def test_a_number_answers_as_scripted_and_the_last_way_stays() -> None:
    busy, human = FarEnd(reaction=Reaction.BUSY), FarEnd()
    directory = Directory(human)
    directory.script("+1", busy, human)
    assert [directory.take("+1") for _ in range(3)] == [busy, human, human]
    assert directory.take("+2") is human
    with pytest.raises(ValueError, match="at least one"):
        directory.script("+1")
    with pytest.raises(ValueError, match="future"):
        FarEnd(after=-1.0)


# Digits


def collector(**options: object) -> DigitCollector:
    values: dict[str, object] = {"maximum": 3, "first_timeout": 5.0, "digit_timeout": 2.0, **options}
    return DigitCollector(**values)  # type: ignore[arg-type]  # whatever a collector takes


def test_digits_are_collected_until_full_terminated_or_too_late() -> None:
    full = collector()
    assert [full.press(digit, 0.0) for digit in "123"] == [None, None, Gathered.FULL]
    ended = collector()
    ended.press("1", 0.0)
    assert ended.press("#", 0.1) is Gathered.TERMINATED
    assert (ended.digits, ended.terminator) == ("1", "#")
    assert ended.press("2", 0.2) is Gathered.TERMINATED
    late = collector()
    assert late.next_deadline() is None  # the prompt is still heard
    late.start(10.0)
    assert late.next_deadline() == 15.0
    late.press("1", 14.0)
    assert late.next_deadline() == 16.0
    assert late.poll(15.9) is None
    assert late.poll(16.0) is Gathered.TIMEOUT


def test_keys_that_were_not_asked_for_do_not_count_and_all_of_it_is_bounded() -> None:
    picky = collector(valid="12", timeout=3.0, terminator="")
    picky.start(0.0)
    assert picky.press("#", 1.0) is None
    assert (picky.digits, picky.invalid) == ("", True)
    picky.press("1", 2.0)
    assert picky.next_deadline() == 3.0

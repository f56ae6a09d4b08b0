"""The ticker: on time, never early, one at a time."""

import asyncio
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ticker import QUANTUM, Ticker
from tests.conftest import RunAsync
from tests.virtual_time import VirtualTimeLoop


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_deadline_is_met_within_one_quantum_and_never_early(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ticker = Ticker()
        fired: list[float] = []
        for deadline in (0.0, 0.0001, 0.035, 0.0351, 1 / 3):
            ticker.schedule(object(), deadline, fired.append)
        await asyncio.sleep(1.0)
        assert fired == pytest.approx([0.0, 0.005, 0.035, 0.04, 0.335])

    virtual(scenario())


def test_rescheduling_replaces_and_cancelling_forgets(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ticker = Ticker()
        fired: list[str] = []
        ticker.schedule("a", 0.1, lambda _: fired.append("early"))
        ticker.schedule("a", 0.2, lambda _: fired.append("late"))
        ticker.schedule("b", 0.1, lambda _: fired.append("never"))
        ticker.schedule("c", 0.1, lambda _: fired.append("replaced in its slot"))
        ticker.schedule("c", 0.1, lambda _: fired.append("c"))
        ticker.cancel("b")
        ticker.cancel("b")
        await asyncio.sleep(1.0)
        assert fired == ["c", "late"]

    virtual(scenario())


def test_a_callback_that_wants_the_past_does_not_hold_the_loop(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ticker = Ticker()
        fired: list[float] = []

        def again(at: float) -> None:
            fired.append(at)
            if len(fired) < 10:
                ticker.schedule("a", 0.0, again)

        ticker.schedule("a", 0.1, again)
        await asyncio.sleep(0.12)
        assert fired == pytest.approx([0.1, 0.105, 0.11, 0.115, 0.12])

    virtual(scenario())


def test_a_failing_callback_harms_nobody_else() -> None:
    async def scenario() -> None:
        faults: list[BaseException | None] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(context.get("exception")))
        ticker = Ticker()
        fired: list[float] = []

        def fails(_: float) -> None:
            raise ZeroDivisionError

        ticker.schedule("a", 0.1, fired.append)
        ticker.schedule("b", 0.1, fails)
        ticker.schedule("c", 0.1, fired.append)
        ticker.schedule("d", 0.2, fired.append)
        await asyncio.sleep(1.0)
        assert fired == pytest.approx([0.1, 0.1, 0.2])
        assert [type(fault) for fault in faults] == [ZeroDivisionError]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())


def test_callbacks_may_cancel_each_other_and_close(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ticker = Ticker()
        fired: list[str] = []

        def first(_: float) -> None:
            fired.append("first")
            ticker.cancel("second")

        def third(_: float) -> None:
            fired.append("third")
            ticker.close()

        ticker.schedule("first", 0.1, first)
        ticker.schedule("second", 0.1, lambda _: fired.append("second"))
        ticker.schedule("third", 0.1, third)
        ticker.schedule("fourth", 0.1, lambda _: fired.append("fourth"))
        ticker.schedule("fifth", 0.2, lambda _: fired.append("fifth"))
        await asyncio.sleep(1.0)
        assert fired == ["first", "third"]

    virtual(scenario())


def test_an_idle_ticker_keeps_no_timer(virtual: RunAsync) -> None:
    async def scenario() -> None:
        ticker = Ticker()
        ticker.schedule("a", 0.1, lambda _: None)
        await asyncio.sleep(1.0)
        assert ticker._timer is None
        assert ticker._slots == {}
        assert ticker.take_lateness() == 0.0

    virtual(scenario())


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.floats(0.0, 3.0), st.sampled_from(["schedule", "cancel"])),
        max_size=40,
    )
)
@settings(deadline=None)
def test_every_key_fires_once_at_its_last_deadline(
    virtual: RunAsync, script: list[tuple[int, float, str]]
) -> None:
    async def scenario() -> None:
        ticker = Ticker()
        expected: dict[int, float] = {}
        fired: dict[int, float] = {}
        for key, deadline, act in script:
            if act == "cancel":
                ticker.cancel(key)
                expected.pop(key, None)
            else:
                expected[key] = deadline
                ticker.schedule(key, deadline, partial(fired.__setitem__, key))
        await asyncio.sleep(10.0)
        assert fired.keys() == expected.keys()
        for key, deadline in expected.items():
            assert deadline <= fired[key] <= deadline + QUANTUM + 1e-6

    virtual(scenario())


@given(st.floats(0.0, 1e6))
def test_now_is_never_before_the_deadline(virtual: RunAsync, deadline: float) -> None:
    async def scenario() -> None:
        fired: list[float] = []
        Ticker().schedule("a", deadline, fired.append)
        await asyncio.sleep(deadline + 1.0)
        assert fired[0] >= deadline

    virtual(scenario())


@pytest.mark.sockets
def test_real_time_is_met_on_every_loop(each_loop: RunAsync) -> None:
    async def scenario() -> None:
        ticker = Ticker()
        done = asyncio.Event()
        began = now()
        late: list[float] = []

        def again(at: float) -> None:
            late.append(at - (began + 0.02 * len(late)))
            if len(late) == 10:
                done.set()
            else:
                ticker.schedule("call", began + 0.02 * len(late), again)

        ticker.schedule("call", began, again)
        await done.wait()
        assert all(lateness >= 0 for lateness in late)
        assert ticker.take_lateness() >= 0.0

    each_loop(scenario())


def test_a_callback_that_waits_for_long_does_not_make_others_wait(virtual: RunAsync) -> None:
    """While slots are being emptied no timer is armed: who schedules first then must not be the one it is set for."""

    async def scenario() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        ticker = Ticker(loop)
        woken: list[tuple[str, float]] = []
        ticker.schedule(
            "quiet", 0.1, lambda now: ticker.schedule("quiet", 30.0, lambda now: woken.append(("quiet", now)))
        )
        ticker.schedule("speaking", 0.2, lambda now: woken.append(("speaking", now)))
        await asyncio.sleep(31.0)
        return woken

    assert virtual(scenario()) == [("speaking", 0.2), ("quiet", 30.0)]


def test_an_emptied_slot_is_still_met_when_somebody_comes_back_to_it(virtual: RunAsync) -> None:
    async def scenario() -> list[float]:
        ticker = Ticker(asyncio.get_running_loop())
        woken: list[float] = []
        ticker.schedule("call", 5.0, woken.append)
        ticker.schedule("call", 1.0, lambda now: ticker.schedule("call", 6.0, woken.append))
        await asyncio.sleep(3.0)
        ticker.schedule("call", 5.0, woken.append)
        await asyncio.sleep(7.0)
        return woken

    assert virtual(scenario()) == [5.0]

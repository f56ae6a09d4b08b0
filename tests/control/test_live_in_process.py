"""Live state of one process leaves nothing behind; what it answers, `test_live_ports.py` asks."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from control.live.in_process import ProcessSlots
from tests.conftest import RunAsync

# Take or leave, for one of a few calls, or time passes.
STEPS = st.lists(st.tuples(st.sampled_from(["take", "leave", "wait"]), st.integers(0, 5)))


@given(STEPS, st.integers(1, 4))
def test_slots_are_what_a_plain_list_of_leases_says(
    virtual: RunAsync, steps: list[tuple[str, int]], limit: int
) -> None:
    async def scenario() -> None:
        now = asyncio.get_running_loop().time
        slots = ProcessSlots(now, lease=10.0)
        leases: dict[str, float] = {}
        for step, number in steps:
            call_id = f"call_{number}"
            leases = {each: ends for each, ends in leases.items() if ends > now()}
            match step:
                case "take":
                    fits = call_id in leases or len(leases) < limit
                    assert await slots.take("default", call_id, limit) is fits
                    if fits:
                        leases[call_id] = now() + 10.0
                case "leave":
                    await slots.leave("default", call_id)
                    leases.pop(call_id, None)
                case _:
                    await asyncio.sleep(number)
        leases = {each: ends for each, ends in leases.items() if ends > now()}
        assert await slots.taken("default") == len(leases)
        await asyncio.sleep(10.0)
        assert await slots.taken("default") == 0

    virtual(scenario())

"""The deliveries' worker beside others of its kind, on both databases."""

import asyncio
from datetime import UTC, datetime

import pytest

from control.stores.store import Store
from gateway.egress import Egress
from tests.contracts.conftest import RunWithStore
from tests.outbox import OUTSIDE, House
from tests.receiver import Receiver

pytestmark = pytest.mark.sockets


def test_workers_share_what_comes_while_they_work_and_send_everything_once_in_order(
    stored: RunWithStore,
) -> None:
    calls = [f"call_{number}" for number in range(15)]

    async def scenario(store: Store) -> None:
        async with Receiver.running() as receiver, Egress(OUTSIDE) as egress:
            house = House(store, egress, datetime.now(UTC))
            await house.endpoint(receiver.url)
            async with house.working() as first, house.working() as second:

                async def live(call: str) -> None:
                    for name in ("call.ringing", "call.answered", "call.started", "call.ended"):
                        await house.happen(call, name)
                        first.notify()
                        second.notify()

                await asyncio.gather(*[live(call) for call in calls])
                await receiver.heard(4 * len(calls))
                await house.delivered()
            arrived = [each.headers["webhook-id"] for each in receiver.received]
            for call in calls:
                of_call = [each for each in arrived if each.startswith(f"evt_{call}_")]
                assert of_call == [f"evt_{call}_{sequence}" for sequence in (1, 2, 3, 4)]

    stored(scenario)

"""Slots of tenants: taken before a call, given back after it, renewed in between."""

import asyncio

import pytest

from control.live.in_process import ProcessSlots
from control.requests import Refused
from control.service.admission import LEASE, RENEWED, Admission
from control.stores.errors import StoreUnavailable
from control.stores.tenants import Tenant
from control.tenancy import Tenancy, Terms
from tests.conftest import RunAsync
from tests.control.service_scene import Register


def admission(register: Register, usual: int = 2) -> Admission:
    clock = asyncio.get_running_loop().time
    tenancy = Tenancy(register, usual=Terms(requests_per_minute=1, max_calls=usual), clock=clock)
    return Admission(tenancy, ProcessSlots(clock, lease=LEASE))


def test_a_tenant_has_as_many_slots_as_it_may_have(virtual: RunAsync) -> None:
    async def scenario() -> None:
        door = admission(Register())
        assert await door.enter("acme", "call_1") is None
        assert await door.enter("acme", "call_2") is None
        assert await door.enter("acme", "call_3") == Refused(
            status=429, code="concurrent_call_limit", detail="2 calls at a time are allowed"
        )
        assert (door.holds("call_1"), door.holds("call_3")) == (True, False)
        assert await door.enter("other", "call_4") is None
        for _ in range(2):
            await door.leave("call_1")
        assert await door.enter("acme", "call_3") is None

    virtual(scenario())


def test_a_slot_is_kept_while_it_is_renewed_and_free_a_lease_later(virtual: RunAsync) -> None:
    async def scenario() -> None:
        door = admission(Register(), usual=1)
        await door.enter("acme", "call_1")
        for _ in range(10):
            await asyncio.sleep(RENEWED)
            await door.renew()
            assert await door.enter("acme", "call_2") is not None
        await asyncio.sleep(LEASE)
        assert await door.enter("acme", "call_2") is None

    virtual(scenario())


def test_a_lowered_limit_ends_no_call(virtual: RunAsync) -> None:
    async def scenario() -> None:
        register = Register()
        door = admission(register)
        for call in ("call_1", "call_2"):
            await door.enter("acme", call)
        register.put("acme", max_calls=0)
        await asyncio.sleep(RENEWED)
        await door.renew()
        assert door.holds("call_1")
        assert await door.enter("acme", "call_3") is not None

    virtual(scenario())


def test_a_slot_that_is_given_back_while_it_is_renewed_stays_free(virtual: RunAsync) -> None:
    class SlowSlots(ProcessSlots):
        async def take(self, tenant_id: str, call_id: str, limit: int) -> bool:
            await asyncio.sleep(1)
            return await super().take(tenant_id, call_id, limit)

    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        slots = SlowSlots(clock, lease=LEASE)
        usual = Terms(requests_per_minute=1, max_calls=1)
        door = Admission(Tenancy(Register(), usual=usual, clock=clock), slots)
        await door.enter("acme", "call_1")
        renewing = asyncio.create_task(door.renew())
        await asyncio.sleep(0.5)
        await door.leave("call_1")
        await renewing
        assert await slots.taken("acme") == 0

    virtual(scenario())


def test_what_a_tenant_may_must_be_known(virtual: RunAsync) -> None:
    class Away:
        async def get(self, tenant_id: str) -> Tenant | None:
            raise StoreUnavailable("away")

    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        tenancy = Tenancy(Away(), usual=Terms(requests_per_minute=1, max_calls=1), clock=clock)
        with pytest.raises(StoreUnavailable):
            await Admission(tenancy, ProcessSlots(clock, lease=LEASE)).enter("acme", "call_1")

    virtual(scenario())

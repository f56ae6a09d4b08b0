"""What each tenant may, as it is remembered."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from control.stores.errors import StoreUnavailable
from control.stores.tenants import Tenant
from control.tenancy import REMEMBERED, STANDS, Tenancy, Terms
from tests.conftest import RunAsync

USUAL = Terms(requests_per_minute=600, max_calls=250)
NOW = datetime.now(UTC)


@dataclass
class Register:
    """A store of tenants, behind a line that can be cut, and the clock of whoever asks."""

    tenants: dict[str, Tenant] = field(default_factory=dict)
    cut: bool = False
    delay: float = 0.0
    asked: int = 0
    now: float = 1_000.0

    async def get(self, tenant_id: str) -> Tenant | None:
        self.asked += 1
        await asyncio.sleep(self.delay)
        if self.cut:
            raise StoreUnavailable("cut")
        return self.tenants.get(tenant_id)

    def put(self, **terms: Any) -> None:
        self.tenants["acme"] = Tenant(tenant_id="acme", name="Acme", created_at=NOW, **terms)

    def tenancy(self, bound: int | None = None) -> Tenancy:
        return Tenancy(self, usual=USUAL, bound=bound, clock=lambda: self.now)


def test_a_tenant_without_limits_of_its_own_may_what_is_usual(virtual: RunAsync) -> None:
    register = Register()
    assert virtual(register.tenancy().terms("unheard of")) == USUAL
    register.put()
    assert virtual(register.tenancy().terms("acme")) == USUAL


@pytest.mark.parametrize(("bound", "calls"), [(None, 400), (250, 250), (500, 400)])
def test_its_own_limits_count_within_what_there_is(virtual: RunAsync, bound: int | None, calls: int) -> None:
    register = Register()
    register.put(max_calls=400, requests_per_minute=60, disabled_at=NOW)
    expected = Terms(requests_per_minute=60, max_calls=calls, disabled=True)
    assert virtual(register.tenancy(bound).terms("acme")) == expected


def test_a_limit_of_no_calls_is_a_limit(virtual: RunAsync) -> None:
    register = Register()
    register.put(max_calls=0)
    assert virtual(register.tenancy().terms("acme")).max_calls == 0


def test_what_is_changed_elsewhere_holds_within_seconds_and_here_at_once(virtual: RunAsync) -> None:
    async def scenario() -> None:
        register = Register()
        tenancy = register.tenancy()
        for expected in (250, 250):
            assert (await tenancy.terms("acme")).max_calls == expected
            register.put(max_calls=3)
        assert register.asked == 1
        register.now += REMEMBERED
        assert (await tenancy.terms("acme")).max_calls == 3
        register.put(max_calls=4)
        tenancy.forget("acme")
        assert (await tenancy.terms("acme")).max_calls == 4

    virtual(scenario())


def test_without_the_database_what_was_known_lately_stands(virtual: RunAsync) -> None:
    async def scenario() -> None:
        register = Register()
        register.put(max_calls=3)
        tenancy = register.tenancy()
        await tenancy.terms("acme")
        register.cut, register.now = True, register.now + STANDS - 1
        assert (await tenancy.terms("acme")).max_calls == 3
        with pytest.raises(StoreUnavailable):
            await tenancy.terms("another")
        register.now += 1
        with pytest.raises(StoreUnavailable):
            await tenancy.terms("acme")

    virtual(scenario())


def test_a_database_that_hangs_is_waited_for_briefly_and_then_let_alone(virtual: RunAsync) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        register = Register()
        register.put(max_calls=3)
        tenancy = register.tenancy()
        terms = await tenancy.terms("acme")
        register.delay = 60.0
        for later in (REMEMBERED, 1.0, 1.0):
            register.now += later
            assert await tenancy.terms("acme") == terms
        assert loop.time() < 1
        assert register.asked == 2

    virtual(scenario())

"""Which provider a call's session is opened with: that of the settings, or an account of the agent's tenant."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from control.agent_run import EffectiveAgent
from control.integrations import CONFIGS, ProviderAddress, Vendor, secrets_of, settings_of
from control.secrets import SecretKeys, new_key
from control.service.provider_accounts import ProviderAccounts, ProviderMissing
from control.service.switchboard import PATIENCE
from control.stores.errors import StoreUnavailable
from control.stores.integrations import Integration
from tests.conftest import RunAsync
from tests.contracts.test_integrations import integration
from tests.control.test_agent_run import run

ID = "int_" + "a" * 24
KEYS = SecretKeys([new_key()])
XAI = {"credentials": {"api_key": "k"}, "settings": {"model": "grok"}}


class Shelf:
    """Where accounts are kept; may keep its visitors waiting."""

    def __init__(self, *kept: Integration, slow: bool = False, away_for: str | None = None) -> None:
        self._kept, self._slow, self._away_for = kept, slow, away_for

    async def get(self, tenant_id: str, integration_id: str) -> Integration | None:
        if self._slow:
            await asyncio.Event().wait()
        if integration_id == self._away_for:
            raise StoreUnavailable("away")
        wanted = (tenant_id, integration_id)
        return next((each for each in self._kept if (each.tenant_id, each.integration_id) == wanted), None)


def account(vendor: Vendor = Vendor.XAI, given: dict[str, Any] = XAI, keys: SecretKeys = KEYS) -> Integration:
    config = CONFIGS[vendor].model_validate(given)
    return integration(
        ID,
        tenant_id="acme",
        vendor=vendor,
        credentials=keys.encrypt(secrets_of(config)),
        settings=settings_of(config),
    )


async def placed(
    shelf: Shelf,
    *,
    provider: str = ID,
    tenant: str = "acme",
    model: str | None = None,
    allowed: bool = False,
) -> EffectiveAgent:
    agent = run(provider=provider, model=model)
    return await ProviderAccounts(shelf, KEYS, lambda _: allowed).placed(tenant, agent, model)


def test_an_account_says_where_and_with_which_model_unless_the_agent_names_one(virtual: RunAsync) -> None:
    async def scenario() -> None:
        agent = await placed(Shelf(account()))
        assert agent.addresses == {ID: ProviderAddress("wss://api.x.ai/v1/realtime", "k", "xai", "grok")}
        assert agent.session.model == "grok"
        assert (await placed(Shelf(account()), model="own")).session.model == "own"
        assert "'k'" not in repr(agent)

    virtual(scenario())


@pytest.mark.parametrize("provider", ["default", "openai", "int_x"])
def test_any_other_name_is_the_provider_of_the_settings(virtual: RunAsync, provider: str) -> None:
    async def scenario() -> None:
        assert (await placed(Shelf(slow=True), provider=provider)).addresses == {}

    virtual(scenario())


def test_an_account_that_is_not_there_or_not_theirs_or_unreadable_is_missing(virtual: RunAsync) -> None:
    own = {"credentials": {}, "settings": {"url": "wss://models.example.com"}}
    telnyx = integration(ID, tenant_id="acme")

    async def scenario() -> None:
        for shelf, tenant in (
            (Shelf(), "acme"),
            (Shelf(account()), "other"),
            (Shelf(telnyx), "acme"),
            (Shelf(account(keys=SecretKeys([new_key()]))), "acme"),
            (Shelf(account(Vendor.REALTIME, own)), "acme"),
        ):
            with pytest.raises(ProviderMissing):
                await placed(shelf, tenant=tenant)
        allowed = await placed(Shelf(account(Vendor.REALTIME, own)), allowed=True)
        assert ID in allowed.addresses

    virtual(scenario())


def test_a_store_that_does_not_answer_holds_no_call_up(virtual: RunAsync) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        with pytest.raises(StoreUnavailable):
            await placed(Shelf(slow=True))
        assert loop.time() - before == pytest.approx(PATIENCE)

    virtual(scenario())


SPARE = "int_" + "b" * 24


def test_a_fallback_of_which_nobody_can_say_is_no_reason_to_turn_a_call_away(virtual: RunAsync) -> None:
    async def scenario() -> None:
        agent = run(provider=ID, fallback_providers=[SPARE])
        kept = (account(), replace(account(), integration_id=SPARE))
        accounts = ProviderAccounts(Shelf(*kept), KEYS, lambda _: False)
        assert list((await accounts.placed("acme", agent, None)).fallbacks) == [SPARE]
        accounts = ProviderAccounts(Shelf(*kept, away_for=SPARE), KEYS, lambda _: False)
        found = await accounts.placed("acme", agent, None)
        assert (list(found.addresses), found.fallbacks) == ([ID], {})
        accounts = ProviderAccounts(Shelf(*kept, away_for=ID), KEYS, lambda _: False)
        with pytest.raises(StoreUnavailable):
            await accounts.placed("acme", agent, None)

    virtual(scenario())


def test_all_of_an_agents_accounts_are_looked_for_at_once(virtual: RunAsync) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        agent = run(provider="default", fallback_providers=[ID, SPARE])
        found = await ProviderAccounts(Shelf(slow=True), KEYS, lambda _: False).placed("acme", agent, None)
        assert found.fallbacks == {}
        assert loop.time() - before == pytest.approx(PATIENCE)

    virtual(scenario())

"""What a call that is asked for is made of, and why it cannot be made."""

import pytest

from control.agents import AgentConfig
from control.dialling import Dialled, DialRequest
from control.requests import Refused
from control.secrets import SecretUnreadable
from control.stores.errors import StoreUnavailable
from tests.conftest import RunAsync
from tests.control.service_scene import OTHER, OURS, THEIRS, Scene


def test_a_stored_agent_is_dialled_with_by_its_tenant_alone(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.books.answers_ours()
        request = DialRequest(to=THEIRS, from_number=OTHER, agent_id="agent_1")
        outcome = await scene.service.dial("acme", request)
        assert isinstance(outcome, Dialled)
        assert (outcome.record.agent_id, outcome.record.agent_version) == ("agent_1", 3)
        refused = await scene.service.dial("default", request)
        assert isinstance(refused, Refused)
        assert refused.code == "agent_not_found"
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize(
    ("fault", "code"),
    [(StoreUnavailable("locked"), "store_unavailable"), (SecretUnreadable("x"), "secrets_unreadable")],
)
def test_a_dial_whose_agent_cannot_be_looked_up_is_refused(
    virtual: RunAsync, fault: Exception, code: str
) -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.books.fault = fault
        refused = await scene.service.dial(
            "acme", DialRequest(to=THEIRS, from_number=OURS, agent_id="agent_1")
        )
        assert isinstance(refused, Refused)
        assert (refused.status, refused.code) == (503, code)
        assert scene.account.commands == []
        await scene.close()

    virtual(scenario())


def test_an_agent_that_is_brought_along_is_proved_by_its_tenants_secret(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        brought = DialRequest(to=THEIRS, from_number=OURS, agent=AgentConfig(name="brought"))
        for tenant, expected in (("acme", ("whsec_acme",)), ("default", ())):
            outcome = await scene.service.dial(tenant, brought)
            assert isinstance(outcome, Dialled)
            agent = scene.service.live()[-1].agent
            assert agent is not None
            assert agent.signing == expected
        await scene.close()

    virtual(scenario())

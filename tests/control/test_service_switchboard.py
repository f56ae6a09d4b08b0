"""Who answers which number, and who is meant by a name: settings first, then what is stored, in bounded time."""

import asyncio

import pytest

from control.agents import AgentConfig
from control.directory import Directory, NumberEntry, Unlisted
from control.service.switchboard import PATIENCE, Destination, Switchboard
from control.stores.errors import StoreUnavailable
from tests.conftest import RunAsync
from tests.control.service_scene import OTHER, OURS, Bookshelf, an_agent

LISTED = "+13125550199"


def switchboard(books: Bookshelf, unlisted: Unlisted = Unlisted.REJECT) -> Switchboard:
    directory = Directory(
        default=an_agent(AgentConfig(name="default")),
        agents=[an_agent(AgentConfig(name="sales"))],
        numbers=[NumberEntry(number=LISTED, agent="sales", carrier="telnyx")],
        unlisted=unlisted,
    )
    return Switchboard(directory, books, books, books.secrets)


async def answering(
    books: Bookshelf,
    called: str | None,
    *,
    unlisted: Unlisted = Unlisted.REJECT,
    integration_id: str = "default",
) -> tuple[str, str | None]:
    found = await switchboard(books, unlisted).answering(
        called, carrier="telnyx", integration_id=integration_id
    )
    return found.tenant_id, None if found.agent is None else found.agent.agent_id


def test_a_stored_number_leads_to_its_tenants_agent(virtual: RunAsync) -> None:
    async def scenario() -> None:
        books = Bookshelf()
        books.has("agent_1")
        books.route_to("agent_1", OURS)
        assert await answering(books, "+1 (312) 555-0101") == ("acme", "agent_1")
        assert await answering(books, OURS, integration_id="int_2") == ("default", None)

    virtual(scenario())


def test_a_stored_number_may_lead_to_an_agent_of_the_settings(virtual: RunAsync) -> None:
    async def scenario() -> None:
        books = Bookshelf()
        books.route_to("agent_sales", OURS, tenant="default")
        assert await answering(books, OURS) == ("default", "agent_sales")

    virtual(scenario())


@pytest.mark.parametrize("agent_id", [None, "agent_gone", "agent_sales", "agent_2"])
def test_a_number_whose_agent_is_not_its_tenants_is_answered_by_nobody(
    virtual: RunAsync, agent_id: str | None
) -> None:
    async def scenario() -> None:
        books = Bookshelf()
        books.has("agent_2", tenant="other")
        books.route_to(agent_id, OURS)
        assert await answering(books, OURS, unlisted=Unlisted.DEFAULT_AGENT) == ("acme", None)

    virtual(scenario())


def test_what_the_settings_say_of_a_number_holds_and_asks_no_database(virtual: RunAsync) -> None:
    async def scenario() -> None:
        books = Bookshelf()
        books.has("agent_1")
        books.route_to("agent_1", LISTED)
        books.fault = StoreUnavailable("away")
        assert await answering(books, LISTED) == ("default", "agent_sales")
        found = await switchboard(books).agent("default", "sales")
        assert found is not None
        assert await switchboard(books).account_of("default", LISTED) == ("telnyx", "default")

    virtual(scenario())


@pytest.mark.parametrize(
    ("called", "integration_id", "expected"),
    [
        (OTHER, "default", "agent_default"),
        ("sip:desk@pbx.example", "default", "agent_default"),
        (None, "default", "agent_default"),
        (OTHER, "int_2", None),  # somebody else's account
    ],
)
def test_a_number_that_is_nobodys_is_the_default_agents_where_the_settings_have_the_account(
    virtual: RunAsync, called: str | None, integration_id: str, expected: str | None
) -> None:
    async def scenario() -> None:
        books = Bookshelf()
        found = await answering(books, called, unlisted=Unlisted.DEFAULT_AGENT, integration_id=integration_id)
        assert found == ("default", expected)

    virtual(scenario())


def test_one_stored_number_makes_another_one_a_mistake(virtual: RunAsync) -> None:
    async def scenario() -> None:
        books = Bookshelf()
        board = Switchboard(
            Directory(default=an_agent(AgentConfig(name="default")), unlisted=Unlisted.AUTO),
            books,
            books,
            books.secrets,
        )
        before = await board.answering(OTHER, carrier="telnyx", integration_id="default")
        books.route_to("agent_1", OURS)
        after = await board.answering(OTHER, carrier="telnyx", integration_id="default")
        assert (before.agent, after) == (board.default, Destination("default", None))

    virtual(scenario())


def test_agents_and_numbers_are_found_by_their_own_tenant_alone(virtual: RunAsync) -> None:
    async def scenario() -> None:
        books = Bookshelf()
        stored = books.has("agent_1")
        books.route_to("agent_1", OURS, integration_id="int_2")
        board = switchboard(books)
        assert await board.agent("acme", "agent_1") is stored
        assert await board.agent("default", "agent_1") is None
        assert await board.agent("acme", "agent_sales") is None
        assert await board.agent("acme", "sales") is None
        assert await board.account_of("acme", OURS) == ("telnyx", "int_2")
        assert await board.account_of("default", OURS) is None
        assert await board.account_of("acme", LISTED) is None

    virtual(scenario())


def test_nobody_waits_longer_than_a_caller_may(virtual: RunAsync) -> None:
    async def scenario() -> None:
        books = Bookshelf()
        books.delay = 30.0
        board, now = switchboard(books), asyncio.get_running_loop().time
        for look in (
            board.answering(OURS, carrier="telnyx", integration_id="default"),
            board.agent("acme", "agent_1"),
            board.account_of("acme", OURS),
            board.signing("acme"),
        ):
            began = now()
            with pytest.raises(StoreUnavailable):
                await look
            assert now() - began == pytest.approx(PATIENCE)

    virtual(scenario())


def test_another_tenants_account_brings_calls_to_its_own_numbers_alone(virtual: RunAsync) -> None:
    async def scenario() -> None:
        books = Bookshelf()
        directory = Directory(
            default=an_agent(AgentConfig(name="default")),
            agents=[an_agent(AgentConfig(name="sales"))],
            numbers=[NumberEntry(number=LISTED, agent="sales")],
            unlisted=Unlisted.DEFAULT_AGENT,
        )
        found = await Switchboard(directory, books, books, books.secrets).answering(
            LISTED, carrier="telnyx", integration_id="int_2", tenant_id="acme"
        )
        assert found == Destination("acme", None)

    virtual(scenario())

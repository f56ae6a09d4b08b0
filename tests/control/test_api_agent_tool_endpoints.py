"""The tools of agents, over HTTP."""

from pathlib import Path
from typing import Any

import pytest

from control.stores.keys import DEFAULT_TENANT
from tests.conftest import RunAsync
from tests.control.agent_office import LOOK_UP, SECRET, office, pointers, refused

pytestmark = pytest.mark.sockets

MASK = "**********"
BOOK = {"name": "book", "url": "https://shop.example/book"}


def test_a_tool_is_given_changed_and_taken_each_a_version_of_its_agent(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes()
            path = f"/v1/agents/{made['agent_id']}"
            said = await here.ask("POST", f"{path}/tools", BOOK)
            assert said.status == 201, said.body
            tool = said.json
            assert said.headers["Location"] == f"{path}/tools/{tool['tool_id']}"
            assert (tool["agent_id"], tool["agent_name"], tool["built_in"]) == (
                made["agent_id"],
                "sales",
                False,
            )
            assert (await here.ask("GET", said.headers["Location"])).json == tool
            changed = await here.ask(
                "PATCH", said.headers["Location"], {"name": "reserve", "timeout_seconds": 20}
            )
            assert changed.json == {**tool, "name": "reserve", "timeout_seconds": 20.0}
            assert [each["name"] for each in (await here.ask("GET", f"{path}/tools")).json["data"]] == [
                "look_up",
                "reserve",
            ]
            assert (await here.ask("GET", path)).json["version"] == 3
            assert (await here.ask("DELETE", said.headers["Location"])).status == 204
            assert refused(await here.ask("DELETE", said.headers["Location"])) == (404, "not_found")
            assert refused(await here.ask("GET", said.headers["Location"])) == (404, "not_found")
            assert refused(await here.ask("PATCH", said.headers["Location"], {})) == (404, "not_found")
            assert (await here.ask("GET", path)).json["version"] == 4

    real(scenario())


def test_headers_are_never_shown_and_stay_while_they_are_masked(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes()
            path = f"/v1/agents/{made['agent_id']}/tools/{made['tools'][0]['tool_id']}"
            assert (await here.ask("GET", path)).json["headers"] == {"Authorization": MASK, "X-Shop": MASK}
            changed = await here.ask("PATCH", path, {"headers": {"Authorization": MASK, "X-More": "m0re"}})
            assert changed.json["headers"] == {"Authorization": MASK, "X-More": MASK}
            agent = await here.book.current(DEFAULT_TENANT, made["agent_id"])
            assert agent is not None
            headers = agent.config.tools[0].headers
            assert {name: value.get_secret_value() for name, value in headers.items()} == {
                "Authorization": SECRET,
                "X-More": "m0re",
            }
            unknown = await here.ask("PATCH", path, {"headers": {"X-Nobody": MASK}})
            assert pointers(unknown) == ["/headers/X-Nobody"]
            assert (await here.ask("PATCH", path, {"headers": None})).json["headers"] == {}

    real(scenario())


NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"url": "https://shop.example"}, "/name"),
    ({**BOOK, "name": "no spaces"}, "/name"),
    ({**BOOK, "tool_id": "tool_1"}, "/tool_id"),
    ({**BOOK, "url": "ftp://shop.example"}, "/url"),
    ({**BOOK, "parameters": {"type": "object", "properties": {"a": {"type": "nonsense"}}}}, "/parameters"),
    ({**BOOK, "parameters": {"type": "object", "$ref": "https://elsewhere.example"}}, "/parameters"),
    ({**BOOK, "timeout_seconds": 0}, "/timeout_seconds"),
    ({**BOOK, "headers": {"Content-Length": "5"}}, "/headers"),
    ({**BOOK, "headers": {"X-A": "a\nb"}}, "/headers"),
    ({**BOOK, "headers": {"X-A": MASK}}, "/headers/X-A"),
    ({**BOOK, "filler": {}}, "/filler"),
    ({**BOOK, "url": "https://[::1]/x"}, "/url"),
    (LOOK_UP, ""),  # the agent has one of that name
    ({"name": "ask_us"}, ""),  # nobody to ask
    ({"name": "end_call", "url": "https://shop.example"}, ""),  # ours
    ({"name": "transfer_call"}, ""),  # to whom
]


def test_a_tool_that_makes_no_sense_is_refused(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            path = f"/v1/agents/{(await here.makes())['agent_id']}"
            for tool, pointer in NONSENSE:
                assert pointers(await here.ask("POST", f"{path}/tools", tool)) == [pointer], tool
            assert (await here.ask("GET", path)).json["version"] == 1

    real(scenario())


def test_the_tools_of_all_agents_are_listed(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            await here.makes(name="one", tools=[LOOK_UP, BOOK])
            await here.makes(name="two", tools=[LOOK_UP, {"name": "end_call"}])

            async def turned(query: str) -> list[tuple[str, str]]:
                found, cursor = [], ""
                while True:
                    said = (await here.ask("GET", f"/v1/tools?{query}{cursor}")).json
                    found += [(each["agent_name"], each["name"]) for each in said["data"]]
                    if said["next_cursor"] is None:
                        return found
                    cursor = f"&after={said['next_cursor']}"

            for limit in (1, 2, 5, 50):
                everything = await turned(f"limit={limit}")
                assert sorted(everything[:2]) == [("two", "end_call"), ("two", "look_up")]
                assert sorted(everything[2:4]) == [("one", "book"), ("one", "look_up")]
                assert everything[4:] == [("reception", "ring")]
                by_name = [name for _, name in await turned(f"limit={limit}&sort=name")]
                assert by_name == ["book", "end_call", "look_up", "look_up", "ring"]
                assert await turned(f"limit={limit}&name=ring") == [("reception", "ring")]
            (ring,) = (await here.ask("GET", "/v1/tools?name=ring")).json["data"]
            assert (ring["source"], ring["headers"]) == ("settings", {"X-Key": MASK})
            same = await here.ask("GET", f"/v1/agents/agent_reception/tools/{ring['tool_id']}")
            assert same.json == ring
            assert refused(await here.ask("GET", "/v1/tools?sort=url")) == (400, "invalid_sort")

    real(scenario())

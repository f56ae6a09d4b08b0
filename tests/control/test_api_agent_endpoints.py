"""Agents, as users have them over HTTP."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from control.agent_book import AgentBook
from control.agents import AgentConfig
from control.secrets import SecretKeys, new_key
from control.stores.agents import AgentFilters
from control.stores.keys import DEFAULT_TENANT
from control.stores.keyset import Page
from tests.conftest import RunAsync
from tests.contracts.records import NOON, call, ended_call
from tests.control.agent_office import LOOK_UP, SALES, SECRET, Office, office, pointers, refused

pytestmark = pytest.mark.sockets

MASK = "**********"


def test_an_agent_is_made_and_shown_with_nothing_secret_but_once(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            said = await here.ask("POST", "/v1/agents", SALES)
            assert said.status == 201
            agent = said.json
            assert agent["agent_id"].startswith("agent_")
            assert said.headers["Location"] == f"/v1/agents/{agent['agent_id']}"
            assert (agent["version"], agent["source"]) == (1, "stored")
            secret = agent.pop("secret")
            assert secret.startswith("whsec_")
            shown = (await here.reader.ask("GET", f"/v1/agents/{agent['agent_id']}")).json
            assert shown == agent
            (tool,) = shown["tools"]
            assert tool["headers"] == {"Authorization": MASK, "X-Shop": MASK}
            assert {name: shown[name] for name in SALES if name != "tools"} == {
                name: value
                if name != "barge_in"
                else {"enabled": None, "min_speech_ms": 200, "protect_greeting": None}
                for name, value in SALES.items()
                if name != "tools"
            }
            assert [shown[name] for name in ("greeting", "end_call_enabled", "transfer_targets")] == [
                None
            ] * 3
            stored = (tmp_path / "offhook.db").read_bytes() + (tmp_path / "offhook.db-wal").read_bytes()
            assert SECRET.encode() not in stored
            assert secret.encode() not in stored

    real(scenario())


NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "/name"),
    ({"voise": "cedar"}, "/voise"),
    ({"max_duration_seconds": 1}, "/max_duration_seconds"),
    ({"instructions": "Hello {{name"}, "/instructions"),
    ({"from_number": "12"}, "/from_number"),
    ({"tools": [LOOK_UP, LOOK_UP]}, "/tools"),
    ({"tools": [{"name": "ask_us"}]}, ""),  # nobody to ask
    ({"tools": [{**LOOK_UP, "parameters": {"type": "banana"}}]}, "/tools/0/parameters"),
    ({"tools": [{**LOOK_UP, "headers": {"Host": "x"}}]}, "/tools/0/headers"),
    ({"barge_in": {"min_speech": 1}}, "/barge_in/min_speech"),
    ({"extraction_schema": {"type": "string"}}, "/extraction_schema"),
    ({"rate_per_minute": -1}, "/rate_per_minute"),
    ({"metadata": {"a": "x" * 17_000}}, "/metadata"),
    ({"agent_id": "agent_1"}, "/agent_id"),
    ({"server_url": "https://127.0.0.1/hook"}, "/server_url"),
    ({"provider": "nobody"}, "/provider"),
    ({"fallback_providers": ["spare", "int_0123456789abcdef01234567"]}, "/fallback_providers/1"),
    ({"webhook_url": "http://shop.example/hook"}, "/webhook_url"),
    ({"tools": [{**LOOK_UP, "url": "https://169.254.169.254/latest"}]}, "/tools/0/url"),
    (
        {"tools": [{**LOOK_UP, "filler": {"audio_url": "https://10.0.0.1/a.wav"}}]},
        "/tools/0/filler/audio_url",
    ),
]


def test_what_makes_no_sense_is_refused_by_its_place(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes()
            for changes, pointer in NONSENSE:
                said = await here.ask("POST", "/v1/agents", {**SALES, **changes})
                assert pointers(said) == [pointer], changes
                assert SECRET not in said.body.decode()
                changed = await here.ask("PATCH", f"/v1/agents/{made['agent_id']}", changes)
                assert pointers(changed) == [pointer], changes
            listed = (await here.ask("GET", "/v1/agents?source=stored")).json["data"]
            assert [each["version"] for each in listed] == [1]

    real(scenario())


def test_a_provider_that_is_gone_stands_in_the_way_of_no_other_change(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            config = AgentConfig(name="old", provider="gone", fallback_providers=("spare",))
            agent, _ = await here.book.add("default", config)  # when the settings still had it
            path = f"/v1/agents/{agent.agent_id}"
            said = await here.ask("PATCH", path, {"greeting": "Hello."})
            assert (said.status, said.json["provider"]) == (200, "gone")
            assert pointers(await here.ask("PATCH", path, {"provider": "other"})) == ["/provider"]
            nobodys = await here.ask("PATCH", path, {"provider": "int_0123456789abcdef01234567"})
            assert pointers(nobodys) == ["/provider"]
            for provider in ("spare", "default"):
                said = await here.ask("PATCH", path, {"provider": provider})
                assert (said.status, said.json["provider"]) == (200, provider)
            assert pointers(await here.ask("PATCH", path, {"provider": "gone"})) == ["/provider"]

    real(scenario())


def test_a_new_agent_cannot_have_a_header_that_is_masked(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            masked = {**LOOK_UP, "headers": {"Authorization": MASK}}
            said = await here.ask("POST", "/v1/agents", {**SALES, "tools": [masked]})
            assert pointers(said) == ["/tools/0/headers/Authorization"]

    real(scenario())


def test_a_change_takes_the_place_of_whole_fields_and_null_leaves_them_out(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes()
            path = f"/v1/agents/{made['agent_id']}"
            changed = await here.ask(
                "PATCH", path, {"voice": "ash", "barge_in": {"enabled": False}, "from_number": None}
            )
            assert changed.status == 200, changed.body
            assert changed.json["version"] == 2
            assert changed.json["voice"] == "ash"
            assert changed.json["from_number"] is None
            assert changed.json["barge_in"] == {
                "enabled": False,
                "min_speech_ms": None,
                "protect_greeting": None,
            }
            assert changed.json["instructions"] == SALES["instructions"]
            assert (await here.ask("GET", path)).json == changed.json

    real(scenario())


def test_what_was_shown_may_be_sent_back_and_is_no_change(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes(
                tools=[LOOK_UP, {"name": "end_call", "description": "When they are done."}]
            )
            path = f"/v1/agents/{made['agent_id']}"
            shown = (await here.ask("GET", path)).json
            fields = {name: shown[name] for name in AgentConfig.model_fields}
            same = await here.ask("PATCH", path, fields)
            assert (same.status, same.json["version"]) == (200, 1)
            fields["tools"][0] |= {"name": "find", "headers": {"Authorization": MASK, "X-New": "1"}}
            renamed = await here.ask("PATCH", path, {"tools": fields["tools"]})
            assert renamed.json["version"] == 2
            assert renamed.json["tools"][0]["tool_id"] == shown["tools"][0]["tool_id"]
            current = await here.book.current(DEFAULT_TENANT, made["agent_id"])
            assert current is not None
            headers = {
                name: value.get_secret_value() for name, value in current.config.tools[0].headers.items()
            }
            assert headers == {"Authorization": SECRET, "X-New": "1"}

    real(scenario())


def test_two_changes_at_once_are_both_made(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            path = f"/v1/agents/{(await here.makes())['agent_id']}"
            changes = [{"voice": "ash"}, {"model": "m-2"}, {"greeting": "Hi."}, {"metadata": {"b": 1}}]
            said = await asyncio.gather(*[here.ask("PATCH", path, each) for each in changes])
            assert sorted(each.json["version"] for each in said) == [2, 3, 4, 5]
            last = (await here.ask("GET", path)).json
            assert [last[name] for name in ("voice", "model", "greeting", "metadata")] == [
                "ash",
                "m-2",
                "Hi.",
                {"b": 1},
            ]

    real(scenario())


def test_an_agent_that_is_in_a_call_is_not_deleted(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            agent_id = (await here.makes())["agent_id"]
            path = f"/v1/agents/{agent_id}"
            record = call(agent_id=agent_id)
            await here.store.save_call(record)
            assert refused(await here.ask("DELETE", path)) == (409, "agent_has_live_calls")
            ended = ended_call(agent_id=agent_id, call_id=record.call_id, revision=9)
            assert await here.store.save_call(ended)
            assert (await here.ask("DELETE", path)).status == 204
            for method, more in (
                ("GET", ""), ("DELETE", ""), ("GET", "/versions"), ("GET", "/versions/1"), ("GET", "/tools"),
                ("POST", "/clone"), ("POST", "/rotate-secret"), ("POST", "/versions/1/restore"), ("GET", "/config"),
            ):  # fmt: skip
                assert refused(await here.ask(method, f"{path}{more}")) == (404, "not_found"), more
            assert refused(await here.ask("PATCH", path, {"voice": "x"})) == (404, "not_found")
            assert (await here.ask("GET", "/v1/agents?source=stored")).json["data"] == []
            assert (await here.ask("GET", "/v1/tools?name=look_up")).json["data"] == []

    real(scenario())


def test_a_copy_has_the_secrets_of_its_original_and_tools_of_its_own(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes()
            copied = await here.ask("POST", f"/v1/agents/{made['agent_id']}/clone")
            assert copied.status == 201
            assert (copied.json["name"], copied.json["version"]) == ("sales (copy)", 1)
            assert copied.json["secret"] != made["secret"]
            assert copied.json["tools"][0]["tool_id"] != made["tools"][0]["tool_id"]
            copy = await here.book.current(DEFAULT_TENANT, copied.json["agent_id"])
            assert copy is not None
            assert copy.config.tools[0].headers["Authorization"].get_secret_value() == SECRET
            named = await here.ask("POST", "/v1/agents/agent_reception/clone", {"name": "night"})
            assert (named.json["name"], named.json["source"], named.json["voice"]) == (
                "night",
                "stored",
                "cedar",
            )

    real(scenario())


def test_agents_of_the_settings_are_there_and_read_only(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            shown = (await here.ask("GET", "/v1/agents/agent_reception")).json
            assert (shown["source"], shown["version"], shown["voice"]) == ("settings", 1, "cedar")
            assert (await here.ask("GET", "/v1/agents/reception")).json == shown
            assert shown["tools"][0]["headers"] == {"X-Key": MASK}
            tool = f"/tools/{shown['tools'][0]['tool_id']}"
            for method, more, body in (
                ("PATCH", "", {"voice": "x"}), ("DELETE", "", None), ("POST", "/rotate-secret", {}),
                ("POST", "/versions/1/restore", None), ("POST", "/tools", LOOK_UP), ("PATCH", tool, {"name": "x"}),
                ("DELETE", tool, None),
            ):  # fmt: skip
                said = await here.ask(method, f"/v1/agents/agent_reception{more}", body)
                assert refused(said) == (409, "agent_read_only"), more
            assert (await here.ask("GET", "/v1/agents/agent_reception/versions/1")).json == shown
            assert refused(await here.ask("GET", "/v1/agents/agent_reception/versions/2")) == (
                404,
                "not_found",
            )

    real(scenario())


def test_agents_are_their_tenants_alone(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes()
            tool = f"/tools/{made['tools'][0]['tool_id']}"
            for agent_id in (made["agent_id"], "agent_reception", "reception"):
                for method, more, body in (
                    ("GET", "", None), ("PATCH", "", {"voice": "x"}), ("DELETE", "", None), ("POST", "/clone", {}),
                    ("GET", "/config", None), ("POST", "/config", {}), ("GET", "/versions", None),
                    ("GET", "/versions/1", None), ("GET", "/versions/compare", None),
                    ("POST", "/versions/1/restore", None), ("POST", "/rotate-secret", {}), ("GET", "/tools", None),
                    ("POST", "/tools", LOOK_UP), ("GET", tool, None), ("PATCH", tool, {"name": "x"}),
                    ("DELETE", tool, None),
                ):  # fmt: skip
                    said = await here.stranger.ask(method, f"/v1/agents/{agent_id}{more}", json=body)
                    assert refused(said) == (404, "not_found"), (method, more)
            for listed in ("agents", "tools"):
                said = await here.stranger.ask("GET", f"/v1/{listed}")
                assert said.json == {"data": [], "next_cursor": None}
            assert (await here.ask("GET", f"/v1/agents/{made['agent_id']}")).json["version"] == 1

    real(scenario())


async def turned(here: Office, query: str) -> list[str]:
    """The names of a list of agents, page by page."""
    names: list[str] = []
    cursor = ""
    for _ in range(20):
        said = await here.ask("GET", f"/v1/agents?{query}{cursor}")
        assert said.status == 200, said.body
        names += [each["name"] for each in said.json["data"]]
        if said.json["next_cursor"] is None:
            return names
        cursor = f"&after={said.json['next_cursor']}"
    raise AssertionError("the list has no end")


def test_a_list_has_each_agent_once_however_it_is_cut(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            for name in ("b", "c", "a_", "a"):
                await here.makes(name=name)
            for limit in (1, 2, 3, 4, 5, 50):
                pages = f"limit={limit}"
                assert await turned(here, pages) == ["a", "a_", "c", "b", "default", "reception"]
                assert await turned(here, f"{pages}&order=asc") == [
                    "b",
                    "c",
                    "a_",
                    "a",
                    "default",
                    "reception",
                ]
                assert await turned(here, f"{pages}&sort=name") == [
                    "a",
                    "a_",
                    "b",
                    "c",
                    "default",
                    "reception",
                ]
                assert await turned(here, f"{pages}&sort=-name") == [
                    "c",
                    "b",
                    "a_",
                    "a",
                    "reception",
                    "default",
                ]
                assert await turned(here, f"{pages}&search=A") == ["a", "a_", "default"]
                assert await turned(here, f"{pages}&search=_") == ["a_"]
                assert await turned(here, f"{pages}&name=a") == ["a"]
                assert await turned(here, f"{pages}&source=stored") == ["a", "a_", "c", "b"]
                assert await turned(here, f"{pages}&source=settings&sort=-name") == ["reception", "default"]

    real(scenario())


def test_a_list_that_cannot_be_given_is_refused(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            for query, code in (
                ("sort=voice", "invalid_sort"), ("source=settings&sort=voice", "invalid_sort"),
                ("after=banana", "invalid_cursor"), ("after=settings.-1", "invalid_cursor"),
                ("source=settings&after=banana", "invalid_cursor"), ("limit=0", "invalid_query"),
                ("colour=red", "invalid_query"), ("source=ad-hoc", "invalid_query"),
            ):  # fmt: skip
                assert refused(await here.ask("GET", f"/v1/agents?{query}")) == (400, code)

    real(scenario())


def test_a_configuration_is_shown_as_a_call_would_get_it(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            path = f"/v1/agents/{(await here.makes(greeting='Greet {{customer.number}}.'))['agent_id']}"
            lacking = await here.ask("GET", f"{path}/config")
            assert refused(lacking) == (422, "variables_missing")
            assert pointers(lacking) == ["/instructions"]
            said = await here.user.ask(
                "GET",
                f"{path}/config",
                params={"variables": '{"product": "tea"}', "customer_number": "+13125550177"},
            )
            assert said.status == 200, said.body
            assert said.json["instructions"].endswith("Sell tea.")
            assert said.json["greeting"] == "Greet +13125550177."
            assert (said.json["model"], said.json["tools_offered"]) == ("m", ["look_up"])
            assert said.json["tools"][0]["headers"]["Authorization"] == MASK
            await here.ask("PATCH", path, {"instructions": "Ask {{who.name}} about {{headers.x_order}}."})
            body = {
                "variables": {"who": {"name": "Ann"}, "unused": None},
                "custom_headers": {"X-Order": "A7"},
            }
            now = await here.ask("POST", f"{path}/config", body)
            assert (now.json["version"], now.json["instructions"]) == (2, "Ask Ann about A7.")
            then = await here.ask("POST", f"{path}/config", {"version": 1, "variables": {"product": "tea"}})
            assert then.json["instructions"].endswith("Sell tea.")
            for variables in ("[]", "banana", '{"a": NaN}'):
                wrong = await here.user.ask("GET", f"{path}/config", params={"variables": variables})
                assert refused(wrong) == (400, "invalid_query")
            named = await here.ask("POST", f"{path}/config", {"variables": {"now": "x"}})
            assert pointers(named) == ["/variables/now"]

    real(scenario())


def test_a_secret_is_replaced_and_the_old_one_signs_for_a_while(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes()
            path = f"/v1/agents/{made['agent_id']}/rotate-secret"
            first = (await here.ask("POST", path)).json
            assert first["previous_until"] is not None
            agent = await here.book.current(DEFAULT_TENANT, made["agent_id"])
            assert agent is not None
            assert agent.signing == (first["secret"], made["secret"])
            assert agent.version == 1
            second = (await here.ask("POST", path, {"keep_previous_seconds": 0})).json
            assert second["previous_until"] is None
            agent = await here.book.current(DEFAULT_TENANT, made["agent_id"])
            assert agent is not None
            assert agent.signing == (second["secret"],)
            assert pointers(await here.ask("POST", path, {"keep_previous_seconds": -1})) == [
                "/keep_previous_seconds"
            ]

    real(scenario())


def test_what_was_encrypted_with_a_lost_key_is_told_and_can_be_deleted(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            elsewhere = AgentBook(
                here.store.agents, SecretKeys([new_key()]), new_id=lambda p: f"{p}_1", clock=lambda: NOON
            )
            config = AgentConfig.model_validate({"name": "lost", "tools": [LOOK_UP]})
            agent, _ = await elsewhere.add(DEFAULT_TENANT, config)
            path = f"/v1/agents/{agent.agent_id}"
            for method, more, body in (
                ("GET", "", None), ("PATCH", "", {"voice": "x"}), ("POST", "/clone", {}), ("GET", "/tools", None),
                ("GET", "/config", None), ("POST", "/versions/1/restore", None),
                ("POST", "/rotate-secret", {}),
            ):  # fmt: skip
                said = await here.ask(method, f"{path}{more}", body)
                assert refused(said) == (503, "secrets_unreadable"), more
            # It hides nobody else from a list, in which it is without its secrets.
            listed = (await here.ask("GET", "/v1/agents?source=stored")).json["data"]
            assert [(each["name"], each["tools"][0]["headers"]) for each in listed] == [("lost", {})]
            for more in ("/v1/tools", f"{path}/versions"):
                assert "lost" in (await here.ask("GET", more)).body.decode()
            fresh = await here.ask("POST", f"{path}/rotate-secret", {"keep_previous_seconds": 0})
            assert fresh.status == 200
            assert (await here.ask("DELETE", path)).status == 204
            assert (await here.ask("GET", "/v1/agents")).status == 200

    real(scenario())


class _Turns(SecretKeys):
    """Notes in which turn of the loop each secret is opened."""

    def __init__(self) -> None:
        super().__init__([new_key()])
        self.turn = 0
        self.opened: list[int] = []

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    def decrypt(self, kept: bytes, /) -> str:
        self.opened.append(self.turn)
        return super().decrypt(kept)


def test_calls_have_the_loop_between_the_agents_of_a_page(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            turns = _Turns()
            ids = iter(range(100))
            book = AgentBook(
                here.store.agents, turns, new_id=lambda prefix: f"{prefix}_{next(ids)}", clock=lambda: NOON
            )
            for _ in range(5):
                await book.add(DEFAULT_TENANT, AgentConfig(name="sales"))
            counting = asyncio.create_task(turns.count())
            turns.opened.clear()
            agents, _ = await book.page(DEFAULT_TENANT, AgentFilters(), Page())
            counting.cancel()
            assert len(agents) == len(set(turns.opened)) == 5

    real(scenario())

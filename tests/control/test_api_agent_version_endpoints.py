"""The versions of an agent, over HTTP."""

from pathlib import Path

import pytest

from control.stores.keys import DEFAULT_TENANT
from tests.conftest import RunAsync
from tests.control.agent_office import LOOK_UP, SECRET, office, refused

pytestmark = pytest.mark.sockets


def test_versions_are_listed_with_why_they_were_made(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            path = f"/v1/agents/{(await here.makes(note='first try'))['agent_id']}"
            await here.ask("PATCH", path, {"voice": "ash", "note": "softer"})
            await here.ask("PATCH", path, {"name": "support"})
            listed = (await here.ask("GET", f"{path}/versions")).json
            rows = [(each["version"], each["name"], each["note"]) for each in listed["data"]]
            assert rows == [(3, "support", None), (2, "sales", "softer"), (1, "sales", "first try")]
            assert listed["next_cursor"] is None
            page = (await here.ask("GET", f"{path}/versions?limit=2&sort=version")).json
            assert [each["version"] for each in page["data"]] == [1, 2]
            rest = await here.ask("GET", f"{path}/versions?limit=2&sort=version&after={page['next_cursor']}")
            assert [each["version"] for each in rest.json["data"]] == [3]
            first = (await here.ask("GET", f"{path}/versions/1")).json
            assert (first["version"], first["voice"], first["name"]) == (1, "marin", "sales")
            for wrong in ("0", "4", "banana", "-1", "9999999999999", f"{1:012}{2**80}"):
                assert refused(await here.ask("GET", f"{path}/versions/{wrong}")) == (404, "not_found")
            of_settings = (await here.ask("GET", "/v1/agents/agent_reception/versions")).json["data"]
            assert [each["version"] for each in of_settings] == [1]

    real(scenario())


def test_two_versions_are_compared_field_by_field(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes()
            path, tool_id = f"/v1/agents/{made['agent_id']}", made["tools"][0]["tool_id"]
            tool = {**LOOK_UP, "headers": {"Authorization": "Bearer other", "X-Shop": "7"}, "method": "GET"}
            await here.ask("PATCH", path, {"barge_in": {"min_speech_ms": 300}, "tools": [tool]})
            said = await here.ask("GET", f"{path}/versions/compare")
            assert (said.json["a"], said.json["b"]) == (1, 2)
            assert said.json["differences"] == [
                {"pointer": f"/tools/{tool_id}/method", "change": "changed", "a": "POST", "b": "GET"},
                {
                    "pointer": f"/tools/{tool_id}/headers/Authorization",
                    "change": "changed",
                    "a": "**********",
                    "b": "**********",
                },
                {"pointer": "/barge_in/min_speech_ms", "change": "changed", "a": 200, "b": 300},
            ]
            assert SECRET not in said.body.decode()
            assert "Bearer other" not in said.body.decode()
            back = (await here.ask("GET", f"{path}/versions/compare?a=2&b=1")).json["differences"]
            assert (back[0]["a"], back[0]["b"]) == ("GET", "POST")
            assert (await here.ask("GET", f"{path}/versions/compare?a=2")).json["differences"] == []
            assert refused(await here.ask("GET", f"{path}/versions/compare?a=3")) == (404, "not_found")
            assert refused(await here.ask("GET", f"{path}/versions/compare?a=0")) == (400, "invalid_query")

    real(scenario())


def test_an_earlier_version_is_restored_as_the_next_one(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with office(tmp_path) as here:
            made = await here.makes()
            path, tool_id = f"/v1/agents/{made['agent_id']}", made["tools"][0]["tool_id"]
            await here.ask("PATCH", path, {"tools": [], "voice": "ash"})
            assert (await here.ask("GET", "/v1/tools?name=look_up")).json["data"] == []
            restored = (await here.ask("POST", f"{path}/versions/1/restore")).json
            assert (restored["version"], restored["voice"]) == (3, "marin")
            assert restored["tools"][0]["tool_id"] == tool_id
            agent = await here.book.current(DEFAULT_TENANT, made["agent_id"])
            assert agent is not None
            assert agent.config.tools[0].headers["Authorization"].get_secret_value() == SECRET
            listed = (await here.ask("GET", f"{path}/versions")).json["data"]
            assert [each["note"] for each in listed] == ["restored from version 1", None, None]
            again = (await here.ask("POST", f"{path}/versions/1/restore")).json
            assert again["version"] == 3
            assert refused(await here.ask("POST", f"{path}/versions/9/restore")) == (404, "not_found")

    real(scenario())

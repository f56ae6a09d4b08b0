"""Nothing of a tenant is there for another: every path of the document with an id in it, asked with a stranger's key.

The document is the list, so an endpoint that is added is asked without being named here.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from control.stores.keys import Scope
from tests.conftest import RunAsync
from tests.served_api import Users, made, whole_api
from tests.whole_house import House

pytestmark = pytest.mark.sockets

# What belongs to nobody, or to who runs the gateway: an admin key is asked for before anything is looked up.
_ADMINS = "/v1/tenants/"

# Of endpoints that want more than their schema can say.
_BODIES = {("POST", "/v1/calls/{call_id}/play"): {"url": "https://media.example.com/music.wav"}}

# Values of parameters that are no ids.
_OTHER_PARAMETERS = {"n": "1"}


async def ours(house: House, users: Users) -> dict[str, str]:
    """Something of ours under every kind of id that can be had over HTTP; what is not there at all is a 404, too."""
    house.ring()
    call_id = await house.the_call()
    await house.happened(call_id, "call.started")
    hook = await users.ask("POST", "/v1/webhooks", json={"url": "https://hooks.example.com/"})
    test = await users.ask("POST", f"/v1/webhooks/{hook.json['webhook_id']}/test")
    agent = await users.ask("POST", "/v1/agents", json={"name": "sales", "instructions": "Sell."})
    assert agent.status == 201, agent.json
    return {
        "call_id": call_id,
        "key_id": "key_bootstrap",
        "webhook_id": hook.json["webhook_id"],
        "delivery_id": test.json["delivery_id"],
        "agent_id": agent.json["agent_id"],
    }


def sample(schema: Any, document: dict[str, Any]) -> Any:
    """The least body that a schema takes: 404 comes before what is wrong with a body only where the body is read."""
    if "$ref" in schema:
        return sample(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return sample(schema[choice][0], document)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "object":
            wanted = schema.get("required", [])
            return {name: sample(schema["properties"][name], document) for name in wanted}
        case "array":
            return [sample(schema["items"], document)] * schema.get("minItems", 0)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return SAMPLES.get(schema.get("title", ""), "+13125550199")


# Texts that are checked beyond what a schema says.
SAMPLES = {"Url": "https://hooks.example.com/", "Digits": "1", "Name": "name"}


def lines(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "{" in path and not path.startswith(_ADMINS)
    ]


def body_of(operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "requestBody" not in operation:
        return {}
    return {"json": sample(operation["requestBody"]["content"]["application/json"]["schema"], document)}


def query_of(operation: dict[str, Any], document: dict[str, Any]) -> str:
    wanted = [each for each in operation["parameters"] if each["in"] == "query" and each["required"]]
    pairs = [f"{each['name']}={sample(each['schema'], document)}" for each in wanted]
    return f"?{'&'.join(pairs)}" if pairs else ""


def test_nothing_of_ours_is_there_for_another_tenant(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            document = (await users.ask("GET", "/openapi.json")).json
            known = await ours(house, users)
            store = house.gateway.house.store
            stranger = users.with_key((await made(store, Scope.FULL, "another")).secret)
            asked = 0
            for method, path, operation in lines(document):

                def named(match: re.Match[str]) -> str:
                    name = match[1]
                    return known.get(name) or _OTHER_PARAMETERS.get(name) or f"{name}_of_ours"

                place = re.sub(r"{(\w+)}", named, path) + query_of(operation, document)
                special = _BODIES.get((method, path))
                body = {"json": special} if special is not None else body_of(operation, document)
                said = await stranger.ask(method, place, **body)
                if method == "HEAD":  # whose answer has no body
                    assert said.status == 404
                else:
                    assert (said.status, said.code) == (404, "not_found"), f"{method} {place}: {said.json}"
                asked += 1
            assert asked > 40
            # All of it is still there.
            for name, where in (
                ("call_id", "/v1/calls"),
                ("webhook_id", "/v1/webhooks"),
                ("delivery_id", "/v1/deliveries"),
                ("agent_id", "/v1/agents"),
            ):
                assert (await users.ask("GET", f"{where}/{known[name]}")).status == 200

    real(scenario())


def test_no_list_shows_what_is_anothers(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            document = (await users.ask("GET", "/openapi.json")).json
            known = await ours(house, users)
            stranger = users.with_key((await made(house.gateway.house.store, Scope.FULL, "another")).secret)
            asked = 0
            for path, methods in document["paths"].items():
                if "get" not in methods or "{" in path:
                    continue
                said = await stranger.ask("GET", path + query_of(methods["get"], document))
                assert said.status in (200, 403), f"GET {path}: {said.json}"
                for each in known.values():
                    assert each.encode() not in said.body, f"GET {path} shows {each}"
                asked += 1
            assert asked > 5

    real(scenario())

"""Tenants, their limits and keys, the account, and the platform as a whole, over HTTP."""

from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from control.stores.keys import Scope
from telephony.caller import AwaitAgent, Edge, HangUp, Wait
from telephony.simulated_switch import FarEnd
from tests.conftest import RunAsync
from tests.receiver import Receiver
from tests.served_api import Said, Users, made, whole_api
from tests.whole_house import OTHER

pytestmark = pytest.mark.sockets

PATIENT = FarEnd(script=(AwaitAgent(Edge.END, quiet=0.2), Wait(30)))


def refused(said: Said) -> tuple[int, str]:
    return said.status, said.code


async def new_tenant(users: Users, **body: Any) -> tuple[str, Users, Any]:
    """Its id, who has its first key, and the whole answer."""
    said = await users.ask("POST", "/v1/tenants", json={"name": "Acme", **body})
    assert said.status == 201, said.json
    return said.json["tenant_id"], users.with_key(said.json["key"]["secret"]), said.json


def test_a_tenant_is_made_with_a_key_shown_changed_and_deleted(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            said = await users.ask("POST", "/v1/tenants", json={"name": "Acme", "max_calls": 2})
            assert said.status == 201
            tenant_id, key = said.json["tenant_id"], said.json["key"]
            assert (key["scope"], key["name"]) == ("full", "first")
            assert said.json["webhook_secret"].startswith("whsec_")
            path = f"/v1/tenants/{tenant_id}"
            assert said.headers["Location"] == path
            kept = (await users.ask("GET", path)).json
            assert "key" not in kept
            assert "webhook_secret" not in kept
            assert (kept["max_calls"], kept["requests_per_minute"], kept["own_webhook_secret"]) == (
                2,
                None,
                True,
            )
            listed = (await users.ask("GET", "/v1/tenants")).json["data"]
            assert [each["tenant_id"] for each in listed] == [tenant_id, "default"]
            changed = await users.ask("PATCH", path, json={"name": "Acme Inc.", "max_calls": None})
            assert (changed.json["name"], changed.json["max_calls"]) == ("Acme Inc.", None)

            theirs = users.with_key(key["secret"])
            assert (await theirs.ask("GET", "/v1/account")).json["name"] == "Acme Inc."
            more = await users.ask("POST", f"{path}/keys", json={"name": "lost", "scope": "read"})
            assert more.status == 201
            assert (await users.with_key(more.json["secret"]).ask("GET", "/v1/account")).status == 200
            assert (await users.ask("DELETE", path)).status == 204
            assert refused(await theirs.ask("GET", "/v1/account")) == (401, "invalid_api_key")
            for method, where in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/keys")):
                body = {"json": {"name": "x"}} if method in ("PATCH", "POST") else {}
                assert refused(await users.ask(method, where, **body)) == (404, "not_found")

    real(scenario())


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": None}, "/name"),
        ({"max_calls": -1}, "/max_calls"),
        ({"requests_per_minute": 0}, "/requests_per_minute"),
        ({"tenant_id": "mine"}, "/tenant_id"),
    ],
)
def test_what_no_tenant_can_be_is_refused(
    real: RunAsync, tmp_path: Path, body: dict[str, Any], pointer: str
) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            for method, path in (("POST", "/v1/tenants"), ("PATCH", "/v1/tenants/default")):
                said = await users.ask(method, path, json={"name": "Acme", **body})
                assert refused(said) == (422, "invalid_body")
                assert [fault["pointer"] for fault in said.json["errors"]] == [pointer]

    real(scenario())


def test_only_an_admin_key_looks_after_tenants(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            _, theirs, _ = await new_tenant(users)
            for method, path in (
                ("GET", "/v1/tenants"),
                ("POST", "/v1/tenants"),
                ("GET", "/v1/tenants/default"),
                ("PATCH", "/v1/tenants/default"),
                ("DELETE", "/v1/tenants/default"),
                ("POST", "/v1/tenants/default/keys"),
                ("GET", "/v1/admin/stats"),
            ):
                assert refused(await theirs.ask(method, path)) == (403, "admin_key_required")

    real(scenario())


def test_a_disabled_tenant_is_refused_until_it_is_enabled(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            tenant_id, theirs, _ = await new_tenant(users)
            path = f"/v1/tenants/{tenant_id}"
            assert (await theirs.ask("GET", "/v1/calls")).status == 200
            off = (await users.ask("PATCH", path, json={"disabled": True})).json
            assert off["disabled"]
            assert refused(await theirs.ask("GET", "/v1/calls")) == (403, "tenant_disabled")
            again = (await users.ask("PATCH", path, json={"disabled": True})).json
            assert again["disabled_at"] == off["disabled_at"]
            on = (await users.ask("PATCH", path, json={"disabled": False})).json
            assert (on["disabled"], on["disabled_at"]) == (False, None)
            assert (await theirs.ask("GET", "/v1/calls")).status == 200
            for said in (
                await users.ask("PATCH", "/v1/tenants/default", json={"disabled": True}),
                await users.ask("DELETE", "/v1/tenants/default"),
            ):
                assert refused(said) == (409, "tenant_needed")

    real(scenario())


def test_a_tenant_that_has_anything_is_not_deleted(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            tenant_id, theirs, _ = await new_tenant(users)
            hook = await theirs.ask("POST", "/v1/webhooks", json={"url": "https://hooks.example.com/"})
            path = f"/v1/tenants/{tenant_id}"
            assert refused(await users.ask("DELETE", path)) == (409, "tenant_not_empty")
            assert (await theirs.ask("DELETE", f"/v1/webhooks/{hook.json['webhook_id']}")).status == 204
            assert (await users.ask("DELETE", path)).status == 204

    real(scenario())


def test_a_tenants_own_limits_hold_at_once(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path, max_calls=5) as (_, users):
            tenant_id, theirs, _ = await new_tenant(users, max_calls=3, requests_per_minute=6)
            path = f"/v1/tenants/{tenant_id}"
            said = await theirs.ask("GET", "/v1/account")
            assert said.headers["X-Concurrent-Call-Limit"] == "3"
            assert (said.headers["X-RateLimit-Limit"], said.headers["X-RateLimit-Remaining"]) == ("6", "5")
            await users.ask("PATCH", path, json={"max_calls": 50, "requests_per_minute": 3})
            said = await theirs.ask("GET", "/v1/account")
            assert said.headers["X-Concurrent-Call-Limit"] == "5"  # of the process
            assert (said.json["requests_per_minute"], said.json["concurrent_call_limit"]) == (3, 5)
            assert (await theirs.ask("GET", "/v1/account")).status == 200
            assert refused(await theirs.ask("GET", "/v1/account")) == (429, "rate_limited")
            assert (await users.ask("GET", "/v1/account")).status == 200

    real(scenario())


def test_a_caller_who_was_transferred_takes_no_slot(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path, far_end=PATIENT) as (house, users):
            await users.ask("PATCH", "/v1/tenants/default", json={"max_calls": 1})
            call_id = (await house.dial()).json["call_id"]
            await house.happened(call_id, "call.started")
            assert refused(
                await users.ask("POST", "/v1/calls", json={"to": OTHER, "agent_id": "default"})
            ) == (
                422,
                "from_number_missing",
            )
            assert (await house.dial()).code == "concurrent_call_limit"
            house.answers(OTHER, FarEnd(script=(Wait(30),)))
            await house.ask(call_id, "transfer", destination=OTHER, after="now")
            await house.happened(call_id, "transfer.completed")
            assert (await house.dial()).status == 201

    real(scenario())


def test_the_account_says_whose_key_it_is_and_what_they_may(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path, max_calls=3) as (house, users):
            house.ring()
            await house.happened(await house.the_call(), "call.started")
            said = await users.ask("GET", "/v1/account")
            assert said.json == {
                "tenant_id": "default",
                "name": "Default",
                "key_id": "key_bootstrap",
                "key_name": "bootstrap",
                "scope": "admin",
                "concurrent_call_limit": 3,
                "live_calls": 1,
                "requests_per_minute": 600,
                "own_webhook_secret": False,
            }
            assert said.headers["X-Concurrent-Call-Limit"] == "3"

    real(scenario())


def test_what_goes_to_the_urls_of_calls_is_signed_with_the_tenants_own_secret(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with (
            Receiver.running() as receiver,
            whole_api(
                "telnyx", tmp_path, far_end=PATIENT, egress_allow="127.0.0.1", egress_allow_http=True
            ) as (house, users),
        ):
            reader = users.with_key((await made(house.gateway.house.store, Scope.READ)).secret)
            path = "/v1/account/rotate-webhook-secret"
            assert refused(await reader.ask("POST", path)) == (403, "read_only_key")
            secret = (await users.ask("POST", path)).json["webhook_secret"]
            assert (await users.ask("GET", "/v1/account")).json["own_webhook_secret"]
            said = await house.dial(webhook_url=f"{receiver.url}/calls")
            assert said.status == 201
            await receiver.heard()
            first = receiver.received[0]
            told = Verifier(secret).verify(first.body, dict(first.headers))
            assert told["call_id"] == said.json["call_id"]

    real(scenario())


def test_the_platform_is_told_as_a_whole(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path, max_calls=3) as (house, users):
            tenant_id, _, _ = await new_tenant(users)
            house.ring(AwaitAgent(Edge.END, quiet=0.2), HangUp())
            await house.ended(await house.the_call())
            house.ring()
            await house.happened(await house.the_call(2), "call.started")
            stats = (await users.ask("GET", "/v1/admin/stats")).json
            assert (stats["ready"], stats["reasons"]) == (True, [])
            assert (stats["tenants"], stats["calls"], stats["live_calls"]) == (2, 2, 1)
            assert (stats["process_live_calls"], stats["process_max_calls"]) == (1, 3)
            assert [(each["tenant_id"], each["calls"]) for each in stats["by_tenant"]] == [
                ("default", 2),
                (tenant_id, 0),
            ]
            await users.ask("POST", "/v1/admin/drain")
            assert (await users.ask("GET", "/v1/admin/stats?hours=1")).json["reasons"] == ["draining"]
            assert refused(await users.ask("GET", "/v1/admin/stats?hours=0")) == (400, "invalid_query")

    real(scenario())

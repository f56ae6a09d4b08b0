"""Keys, the account, carriers, drains and health, over HTTP."""

from pathlib import Path

import pytest

from control.stores.keys import Scope
from tests.conftest import RunAsync
from tests.served_api import Said, made, whole_api
from tests.whole_house import free_port

pytestmark = pytest.mark.sockets


def refused(said: Said) -> tuple[int, str]:
    return said.status, said.code


def test_a_key_is_made_shown_once_rotated_and_revoked(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            said = await users.ask("POST", "/v1/keys", json={"name": "crm", "scope": "read"})
            assert said.status == 201
            key_id, first = said.json["key_id"], said.json["secret"]
            assert said.json["hint"] == first[-4:]
            assert first.startswith("ok_live_")
            crm = users.with_key(first)
            assert (await crm.ask("GET", "/v1/calls")).status == 200
            assert refused(await crm.ask("POST", "/v1/keys", json={"name": "x"})) == (403, "read_only_key")

            listed = (await users.ask("GET", "/v1/keys")).json["data"]
            assert {key["key_id"] for key in listed} == {key_id, "key_bootstrap"}
            assert all("secret" not in key and "digest" not in key for key in listed)

            second = (await users.ask("POST", f"/v1/keys/{key_id}/rotate")).json["secret"]
            assert refused(await crm.ask("GET", "/v1/calls")) == (401, "invalid_api_key")
            assert (await users.with_key(second).ask("GET", "/v1/calls")).status == 200

            assert (await users.ask("DELETE", f"/v1/keys/{key_id}")).status == 204
            assert refused(await users.with_key(second).ask("GET", "/v1/calls")) == (401, "invalid_api_key")
            assert refused(await users.ask("POST", f"/v1/keys/{key_id}/rotate")) == (404, "not_found")

    real(scenario())


def test_a_key_is_its_tenants_alone(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            stranger = users.with_key((await made(house.gateway.house.store, Scope.FULL, "other")).secret)
            for method, path in (
                ("DELETE", "/v1/keys/key_bootstrap"),
                ("POST", "/v1/keys/key_bootstrap/rotate"),
            ):
                assert refused(await stranger.ask(method, path)) == (404, "not_found")
            assert refused(await stranger.ask("POST", "/v1/keys", json={"name": "x", "scope": "admin"})) == (
                422,
                "invalid_body",
            )
            assert (await users.ask("GET", "/v1/keys")).status == 200

    real(scenario())


def test_who_may_not_administer_the_platform_gets_no_key_that_may(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            colleague = users.with_key((await made(house.gateway.house.store, Scope.FULL)).secret)
            for method, path in (
                ("POST", "/v1/keys/key_bootstrap/rotate"),
                ("DELETE", "/v1/keys/key_bootstrap"),
            ):
                assert refused(await colleague.ask(method, path)) == (403, "admin_key_required")
            assert (await users.ask("GET", "/v1/tenants")).status == 200
            rotated = (await users.ask("POST", "/v1/keys/key_bootstrap/rotate")).json
            assert rotated["scope"] == "admin"
            admin = users.with_key(rotated["secret"])
            assert (await admin.ask("DELETE", "/v1/keys/key_bootstrap")).status == 204

    real(scenario())


def test_carriers_say_what_they_can_do_and_where_it_breaks_the_stream(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            rows = {row["carrier"]: row for row in (await users.ask("GET", "/v1/carriers")).json["data"]}
            assert (rows["telnyx"]["configured"], rows["twilio"]["configured"]) == (True, False)
            assert rows["telnyx"]["commands"]["send_digits"]["stream_break"] is False
            assert rows["twilio"]["commands"]["carrier_gather"]["stream_break"] is True
            assert rows["twilio"]["measured_gap_ms"] is None

    real(scenario())


def test_a_drain_is_the_administrators(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            tenant = users.with_key((await made(house.gateway.house.store, Scope.FULL)).secret)
            for method in ("POST", "DELETE"):
                assert refused(await tenant.ask(method, "/v1/admin/drain")) == (403, "admin_key_required")
            assert (await users.ask("POST", "/v1/admin/drain")).json == {"draining": True}
            assert (await users.ask("GET", "/readiness")).status == 503
            assert (await users.ask("DELETE", "/v1/admin/drain")).json == {"draining": False}
            assert (await users.ask("GET", "/readiness")).status == 200

    real(scenario())


def test_health_tells_of_each_dependency(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            said = (await users.ask("GET", "/v1/health/detailed")).json
            assert said["status"] == "ok", said
            assert {"database", "telnyx/default", "realtime/default"} <= set(said["dependencies"])
            assert said["dependencies"]["database"]["latency_ms"] >= 0

    real(scenario())


def test_health_tells_of_a_provider_that_is_gone(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        elsewhere = {"spare": {"url": f"ws://127.0.0.1:{free_port()}/v1/realtime", "model": "m"}}
        async with whole_api("telnyx", tmp_path, providers=elsewhere) as (_, users):
            said = (await users.ask("GET", "/v1/health/detailed")).json
            assert said["status"] == "degraded"
            assert said["dependencies"]["realtime/default"]["ok"] is True
            spare = said["dependencies"]["realtime/spare"]
            assert (spare["ok"], spare["detail"].partition(":")[0]) == (False, "cannot be reached")

    real(scenario())


def test_what_machines_watch_needs_no_key(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            for path in ("/health", "/liveness", "/readiness", "/version"):
                assert (await users.with_key("").ask("GET", path)).status == 200, path

    real(scenario())

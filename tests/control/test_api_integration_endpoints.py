"""Accounts with carriers and providers, over HTTP: what goes in, what never comes out, and what stands in the way."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from control.stores.keys import Scope
from control.stores.tables import numbers
from gateway.secret_keys import load_secret_keys
from tests.conftest import RunAsync
from tests.second_account import ALLOWED, added, as_given, second_carrier
from tests.served_api import Said, Users, made, whole_api
from tests.whole_house import House

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])

XAI = {"vendor": "xai", "name": "grok", "credentials": {"api_key": "xai-secret"}}


def refused(said: Said) -> tuple[int, str]:
    return said.status, said.code


async def stranger(house: House, users: Users) -> Users:
    return users.with_key((await made(house.gateway.house.store, Scope.FULL, "other")).secret)


@both
def test_an_account_is_added_shown_without_secrets_and_deleted(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with (
            whole_api(carrier, tmp_path, **ALLOWED) as (house, users),
            second_carrier(carrier) as second,
        ):
            said = await users.ask("POST", "/v1/integrations", json=as_given(second))
            assert said.status == 201
            shown = said.json
            path = f"/v1/integrations/{shown['integration_id']}"
            assert said.headers["Location"] == path
            assert (shown["kind"], shown["vendor"], shown["source"]) == ("carrier", carrier, "stored")
            assert shown["settings"] == as_given(second)["settings"]
            base = f"{house.gateway.settings.public_url}/carriers/{carrier}/{shown['integration_id']}"
            assert set(shown["webhook_urls"].values()) <= {
                f"{base}/{n}" for n in ("webhook", "voice", "status")
            }
            assert (await users.ask("GET", path)).json == shown
            listed = (await users.ask("GET", "/v1/integrations")).body.decode()
            for secret in as_given(second)["credentials"].values():
                assert secret not in said.body.decode() + listed
            assert (await users.ask("DELETE", path)).status == 204
            assert refused(await users.ask("GET", path)) == (404, "not_found")

    real(scenario())


def test_credentials_are_kept_encrypted_under_the_gateways_keys(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            said = await users.ask("POST", "/v1/integrations", json=XAI)
            row = await house.gateway.house.store.integrations.find(said.json["integration_id"])
            assert row is not None
            assert b"xai-secret" not in row.credentials
            keys = load_secret_keys(None, house.gateway.settings.data_dir)
            assert json.loads(keys.decrypt(row.credentials)) == {"api_key": "xai-secret"}

    real(scenario())


def test_the_accounts_of_the_settings_are_listed_last_and_cannot_be_changed(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            stored = (await users.ask("POST", "/v1/integrations", json=XAI)).json["integration_id"]
            listed = (await users.ask("GET", "/v1/integrations")).json["data"]
            assert [each["integration_id"] for each in listed] == [
                stored,
                "default-telnyx",
                "default-realtime",
            ]
            assert [each["source"] for each in listed] == ["stored", "settings", "settings"]
            carriers = (await users.ask("GET", "/v1/integrations?kind=carrier")).json["data"]
            assert [each["integration_id"] for each in carriers] == ["default-telnyx"]
            for each in listed:
                path = f"/v1/integrations/{each['integration_id']}"
                assert (await users.ask("GET", path)).json == each
            path = "/v1/integrations/default-telnyx"
            assert refused(await users.ask("PATCH", path, json={"name": "x"})) == (409, "read_only_settings")
            assert refused(await users.ask("DELETE", path)) == (409, "read_only_settings")
            theirs = (await (await stranger(house, users)).ask("GET", "/v1/integrations")).json["data"]
            assert theirs == []

    real(scenario())


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (
            {"vendor": "telnyx", "name": "x"},
            ["/credentials/api_key", "/settings/public_key", "/settings/connection_id"],
        ),
        ({**XAI, "credentials": {"api_key": "x", "extra": "y"}}, ["/credentials/extra"]),
        ({**XAI, "settings": {"url": "https://api.x.ai"}}, ["/settings/url"]),
        ({**XAI, "settings": {"url": "wss://169.254.169.254/v1"}}, ["/settings/url"]),
        ({"vendor": "pigeon", "name": "x"}, ["/vendor"]),
        ({"vendor": "xai"}, ["/name"]),
        ({**XAI, "credentials": {"api_key": 5}}, ["/credentials/api_key"]),
        ({**XAI, "secret": "x"}, ["/secret"]),
    ],
)
def test_what_is_wrong_with_an_account_is_said_by_its_place(
    real: RunAsync, tmp_path: Path, body: dict[str, Any], pointers: list[str]
) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            said = await users.ask("POST", "/v1/integrations", json=body)
            assert refused(said) == (422, "invalid_body")
            assert [fault["pointer"] for fault in said.json["errors"]] == pointers
            assert "xai-secret" not in said.body.decode()

    real(scenario())


def test_a_change_keeps_what_it_does_not_name(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            made_ = (await users.ask("POST", "/v1/integrations", json=XAI)).json
            path = f"/v1/integrations/{made_['integration_id']}"
            said = await users.ask("PATCH", path, json={"name": "renamed", "settings": {"model": "grok-2"}})
            assert said.status == 200
            assert (said.json["name"], said.json["settings"]) == ("renamed", {"model": "grok-2"})
            said = await users.ask("PATCH", path, json={"credentials": {"api_key": "new"}})
            assert (said.json["name"], said.json["settings"]) == ("renamed", {"model": "grok-2"})
            said = await users.ask("PATCH", path, json={"settings": {"model": None}})
            assert said.json["settings"] == {}
            row = await house.gateway.house.store.integrations.find(made_["integration_id"])
            assert row is not None
            keys = load_secret_keys(None, house.gateway.settings.data_dir)
            assert json.loads(keys.decrypt(row.credentials)) == {"api_key": "new"}
            said = await users.ask("PATCH", path, json={"credentials": {"api_key": None}})
            assert refused(said) == (422, "invalid_body")

    real(scenario())


def test_an_account_with_numbers_is_neither_deleted_nor_made_another(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            whole_api("twilio", tmp_path, **ALLOWED) as (house, users),
            second_carrier("twilio") as second,
        ):
            integration_id = await added(users, second)
            path = f"/v1/integrations/{integration_id}"
            now = datetime.now(UTC)
            async with house.gateway.house.store._database.write() as connection:
                row = {
                    "number_id": "num_1",
                    "tenant_id": "default",
                    "number": "+13125550151",
                    "carrier": "twilio",
                    "integration_id": integration_id,
                    "created_at": now,
                    "updated_at": now,
                }
                await connection.execute(insert(numbers).values(row))
            assert refused(await users.ask("DELETE", path)) == (409, "integration_in_use")
            another = {"settings": {"account_sid": "AC" + "9" * 32}}
            assert refused(await users.ask("PATCH", path, json=another)) == (409, "integration_in_use")
            token = {"credentials": {"auth_token": "another"}}
            assert (await users.ask("PATCH", path, json=token)).status == 200
            assert (await users.ask("GET", f"{path}/status")).json["numbers"] == 1

    real(scenario())


@both
def test_a_trial_says_what_is_wrong_and_the_status_remembers(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with whole_api(carrier, tmp_path, **ALLOWED) as (_, users), second_carrier(carrier) as second:
            path = f"/v1/integrations/{await added(users, second)}"
            assert (await users.ask("GET", f"{path}/status")).json["ok"] is None
            name = next(iter(as_given(second)["credentials"]))
            await users.ask("PATCH", path, json={"credentials": {name: "wrong"}})
            tried = (await users.ask("POST", f"{path}/test")).json
            assert tried["ok"] is False
            assert "unauthorised" in tried["problem"]
            status = (await users.ask("GET", f"{path}/status")).json
            assert (status["ok"], status["problem"]) == (False, tried["problem"])
            await users.ask("PATCH", path, json={"credentials": as_given(second)["credentials"]})
            tried = (await users.ask("POST", f"{path}/test")).json
            # Telnyx's application tells somebody else until a number is claimed.
            assert tried["ok"] is (carrier == "twilio"), tried
            settings = f"/v1/integrations/default-{carrier}"
            assert (await users.ask("POST", f"{settings}/test")).json["ok"] is True

    real(scenario())


def test_a_provider_is_tried_by_opening_a_session(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path, **ALLOWED) as (house, users):
            url = house.gateway.settings.realtime_url
            own = {"vendor": "realtime", "name": "ours", "settings": {"url": url}}
            good = (await users.ask("POST", "/v1/integrations", json=own)).json["integration_id"]
            assert (await users.ask("POST", f"/v1/integrations/{good}/test")).json["ok"] is True
            assert (await users.ask("POST", "/v1/integrations/default-realtime/test")).json["ok"] is True
            nowhere = {**own, "settings": {"url": "ws://127.0.0.1:9/v1/realtime"}}
            bad = (await users.ask("POST", "/v1/integrations", json=nowhere)).json["integration_id"]
            tried = (await users.ask("POST", f"/v1/integrations/{bad}/test")).json
            assert tried["ok"] is False
            assert "cannot be reached" in tried["problem"]

    real(scenario())


def test_another_tenants_account_is_not_there(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            integration_id = (await users.ask("POST", "/v1/integrations", json=XAI)).json["integration_id"]
            other = await stranger(house, users)
            for path in (f"/v1/integrations/{integration_id}", "/v1/integrations/default-telnyx"):
                for method, suffix, body in (
                    ("GET", "", None),
                    ("PATCH", "", {"name": "x"}),
                    ("DELETE", "", None),
                    ("POST", "/test", None),
                    ("GET", "/status", None),
                ):
                    said = await other.ask(method, path + suffix, json=body)
                    assert refused(said) == (404, "not_found"), (method, path, suffix)

    real(scenario())

"""Endpoints of a tenant's own, over HTTP: kept, told of calls, tried by hand, and what came of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from control.stores.keys import Scope
from control.stores.webhooks import MOST
from telephony.caller import AwaitAgent, Edge, HangUp
from tests.conftest import RunAsync
from tests.patience import PATIENCE
from tests.receiver import Receiver
from tests.served_api import Said, Users, made, whole_api
from tests.whole_house import House

pytestmark = pytest.mark.sockets

LOOPBACK = {"egress_allow": "127.0.0.1", "egress_allow_http": True}
HEARD = AwaitAgent(Edge.END, quiet=0.2)
PUBLIC = "https://hooks.example.com/offhook"


@dataclass(frozen=True, slots=True)
class Scene:
    """A house, who may ask it everything, and a receiver beside it."""

    house: House
    users: Users
    receiver: Receiver

    async def add(self, url: str | None = None, **body: Any) -> Any:
        said = await self.users.ask(
            "POST", "/v1/webhooks", json={"url": url or f"{self.receiver.url}/hook", **body}
        )
        assert said.status == 201, said.json
        return said.json

    async def one_call(self) -> str:
        self.house.ring(HEARD, HangUp())
        call_id = await self.house.the_call()
        await self.house.ended(call_id)
        return call_id

    async def until(self, path: str, enough: Callable[[Any], bool]) -> Any:
        """What is answered there, once it is enough: somebody writes it down beside us."""
        async with asyncio.timeout(PATIENCE):
            while True:
                if enough(found := (await self.users.ask("GET", path)).json):
                    return found

    async def settled(self, path: str) -> Any:
        """A delivery, once it is over."""
        return await self.until(path, lambda delivery: delivery["state"] != "pending")


@asynccontextmanager
async def scene(folder: Path, **settings: Any) -> AsyncIterator[Scene]:
    async with (
        Receiver.running() as receiver,
        whole_api("telnyx", folder, **{**LOOPBACK, **settings}) as (house, users),
    ):
        yield Scene(house, users, receiver)


def refused(said: Said) -> tuple[int, str]:
    return said.status, said.code


def test_an_endpoint_is_made_shown_changed_and_deleted(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            said = await s.users.ask(
                "POST", "/v1/webhooks", json={"url": PUBLIC, "events": ["call.ended", "call.ended"]}
            )
            assert said.status == 201
            secret = said.json.pop("secret")
            assert secret.startswith("whsec_")
            path = said.headers["Location"]
            assert path == f"/v1/webhooks/{said.json['webhook_id']}"
            kept = (await s.users.ask("GET", path)).json
            assert kept == said.json
            assert {name: kept[name] for name in ("url", "events", "payload", "enabled", "agent_id")} == {
                "url": PUBLIC, "events": ["call.ended"], "payload": "envelope", "enabled": True, "agent_id": None,
            }  # fmt: skip
            changed = await s.users.ask(
                "PATCH",
                path,
                json={
                    "events": ["barge_in", "*"],
                    "agent_id": "default",
                    "payload": "flat",
                    "description": "crm",
                },
            )
            assert (changed.status, changed.json["events"]) == (200, ["*"])
            assert (changed.json["agent_id"], changed.json["payload"]) == ("agent_default", "flat")
            back = await s.users.ask("PATCH", path, json={"agent_id": None})
            assert (back.json["agent_id"], back.json["description"]) == (None, "crm")
            assert (await s.users.ask("GET", "/v1/webhooks")).json["data"] == [back.json]
            assert (await s.users.ask("DELETE", path)).status == 204
            for method in ("GET", "PATCH", "DELETE"):
                assert refused(await s.users.ask(method, path)) == (404, "not_found")

    real(scenario())


def test_endpoints_are_listed_page_by_page(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            ids = [(await s.add(f"{PUBLIC}/{number}"))["webhook_id"] for number in range(3)]
            first = (await s.users.ask("GET", "/v1/webhooks?limit=2")).json
            assert [each["webhook_id"] for each in first["data"]] == [ids[2], ids[1]]
            last = (await s.users.ask("GET", f"/v1/webhooks?limit=2&after={first['next_cursor']}")).json
            assert [each["webhook_id"] for each in last["data"]] == [ids[0]]
            assert last["next_cursor"] is None
            assert all("secret" not in each for each in first["data"])
            by_url = (await s.users.ask("GET", "/v1/webhooks?sort=url")).json
            assert [each["webhook_id"] for each in by_url["data"]] == ids
            assert refused(await s.users.ask("GET", "/v1/webhooks?after=x")) == (400, "invalid_cursor")
            assert refused(await s.users.ask("GET", "/v1/webhooks?sort=secret")) == (400, "invalid_sort")

    real(scenario())


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://hooks.example.com/"}, "/url"),
    ({"url": "https://127.0.0.1/"}, "/url"),
    ({"url": "https://[::1]/"}, "/url"),
    ({"url": "https://10.0.0.7:8443/"}, "/url"),
    ({"url": "https://169.254.169.254/latest/meta-data"}, "/url"),
    ({"url": "https://2130706433/"}, "/url"),
    ({"url": "https://user:password@hooks.example.com/"}, "/url"),
    ({"url": "https://hooks.example.com:25/"}, "/url"),
    ({"url": "ftp://hooks.example.com/"}, "/url"),
    ({"url": "nonsense"}, "/url"),
    ({"url": ""}, "/url"),
    ({"url": None}, "/url"),
    ({"events": []}, "/events"),
    ({"events": ["call.ended", "call.finished"]}, "/events/1"),
    ({"payload": "xml"}, "/payload"),
    ({"secret": "mine"}, "/secret"),
    ({"agent_id": ""}, "/agent_id"),
]


def test_what_cannot_be_told_of_is_refused_where_it_is_wrong(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            kept = await users.ask("POST", "/v1/webhooks", json={"url": PUBLIC})
            path = f"/v1/webhooks/{kept.json['webhook_id']}"
            for body, pointer in IMPOSSIBLE:
                said = await users.ask("POST", "/v1/webhooks", json={"url": PUBLIC, **body})
                assert refused(said) == (422, "invalid_body"), body
                assert [fault["pointer"] for fault in said.json["errors"]] == [pointer], body
                changed = await users.ask("PATCH", path, json=body)
                assert [fault["pointer"] for fault in changed.json["errors"]] == [pointer], body
            for method, where in (("POST", "/v1/webhooks"), ("PATCH", path)):
                said = await users.ask(method, where, json={"url": PUBLIC, "agent_id": "agent_1"})
                assert refused(said) == (422, "agent_not_found")
            missing = await users.ask("POST", "/v1/webhooks", json={})
            assert [fault["pointer"] for fault in missing.json["errors"]] == ["/url"]
            (only,) = (await users.ask("GET", "/v1/webhooks")).json["data"]
            assert only["url"] == PUBLIC

    real(scenario())


def test_an_endpoint_is_told_of_a_call_in_order_and_the_log_shows_it(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            hook = await s.add()
            only = await s.add(f"{s.receiver.url}/ends", events=["call.ended"], payload="flat")
            call_id = await s.one_call()
            told = await s.house.published(call_id)
            await s.until(
                f"/v1/calls/{call_id}/webhooks", lambda found: len(found["deliveries"]) == len(told) + 1
            )
            hooked = [each for each in s.receiver.received if each.path == "/hook"]
            assert [each.json["event"] for each in hooked] == told
            for each in hooked:
                Verifier(hook["secret"]).verify(each.body, dict(each.headers))
            (ended,) = [each for each in s.receiver.received if each.path == "/ends"]
            assert (
                Verifier(only["secret"]).verify(ended.body, dict(ended.headers))["call"]["call_id"] == call_id
            )

            log = (await s.users.ask("GET", f"/v1/webhooks/{hook['webhook_id']}/logs?limit=2")).json
            assert [each["event"] for each in log["data"]] == told[::-1][:2]
            assert all(each["success"] and each["status_code"] == 204 for each in log["data"])
            more = f"/v1/webhooks/{hook['webhook_id']}/logs?order=asc&after="
            assert refused(await s.users.ask("GET", more + log["next_cursor"])) == (400, "invalid_cursor")
            of_call = (await s.users.ask("GET", f"/v1/calls/{call_id}/webhooks")).json
            assert of_call["call_id"] == call_id
            assert list(of_call["deliveries"][0]) == [
                "id", "event", "event_id", "url", "attempt", "status_code", "success", "error", "created_at",
            ]  # fmt: skip
            assert of_call["deliveries"] == sorted(
                of_call["deliveries"], key=lambda each: (each["created_at"], each["attempt"])
            )

    real(scenario())


def test_a_test_is_sent_and_its_outcome_shown(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            hook = await s.add()
            path = f"/v1/webhooks/{hook['webhook_id']}"
            s.receiver.answer_with(500, 204)
            said = await s.users.ask("POST", f"{path}/test")
            assert (said.status, said.json["event"], said.json["state"]) == (202, "webhook.test", "pending")
            assert said.headers["Location"] == f"/v1/deliveries/{said.json['delivery_id']}"
            over = await s.settled(said.headers["Location"])
            assert (over["state"], over["attempts"]) == ("dead", 1)
            (logged,) = (await s.users.ask("GET", f"{path}/logs?success=false")).json["data"]
            assert (logged["id"], logged["status_code"]) == (over["delivery_id"], 500)

            again = await s.users.ask("POST", f"{said.headers['Location']}/retry")
            assert again.status == 202
            over = await s.settled(said.headers["Location"])
            assert (over["state"], over["attempts"]) == ("delivered", 2)
            first, second = s.receiver.received
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            body = Verifier(hook["secret"]).verify(second.body, dict(second.headers))
            assert (body["event"], body["call_id"], body["data"]) == (
                "webhook.test",
                None,
                {"webhook_id": hook["webhook_id"]},
            )

    real(scenario())


def test_a_repeated_request_for_a_test_sends_one(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            path = f"/v1/webhooks/{(await s.add())['webhook_id']}/test"
            once = {"Idempotency-Key": "test-1"}
            first, second = [await s.users.ask("POST", path, headers=once) for _ in range(2)]
            assert first.json["delivery_id"] == second.json["delivery_id"]
            assert first.headers["Location"] == second.headers["Location"]
            await s.settled(f"/v1/deliveries/{first.json['delivery_id']}")
            assert len(s.receiver.received) == 1

    real(scenario())


def test_a_name_that_leads_inside_is_refused_when_something_is_to_be_sent(
    real: RunAsync, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with scene(tmp_path, egress_allow=None) as s:
            hook = await s.add(f"http://localhost:{s.receiver.port}/hook")
            said = await s.users.ask("POST", f"/v1/webhooks/{hook['webhook_id']}/test")
            await s.settled(said.headers["Location"])
            (logged,) = (await s.users.ask("GET", f"/v1/webhooks/{hook['webhook_id']}/logs")).json["data"]
            assert (logged["status_code"], logged["success"]) == (None, False)
            assert "not public" in logged["error"]
            assert s.receiver.received == []

    real(scenario())


def test_a_disabled_endpoint_is_told_nothing_until_it_is_enabled(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            path = f"/v1/webhooks/{(await s.add())['webhook_id']}"
            s.receiver.answer_with(410, 204)
            gone = await s.users.ask("POST", f"{path}/test")
            disabled = await s.until(path, lambda webhook: not webhook["enabled"])
            assert disabled["disabled_reason"] == "it answered 410 Gone"
            assert disabled["disabled_at"] is not None
            assert refused(await s.users.ask("POST", f"{path}/test")) == (409, "webhook_disabled")
            retry = f"{gone.headers['Location']}/retry"
            assert refused(await s.users.ask("POST", retry)) == (409, "webhook_disabled")
            (said,) = (await s.users.ask("GET", "/v1/events")).json["data"][-1:]
            assert (said["event"], said["call_id"]) == ("webhook.disabled", None)

            enabled = (await s.users.ask("PATCH", path, json={"enabled": True})).json
            assert (enabled["enabled"], enabled["disabled_reason"], enabled["failing_since"]) == (
                True,
                None,
                None,
            )
            assert (await s.users.ask("POST", retry)).status == 202
            assert (await s.settled(gone.headers["Location"]))["state"] == "delivered"
            off = (await s.users.ask("PATCH", path, json={"enabled": False, "description": "later"})).json
            assert (off["enabled"], off["disabled_reason"], off["description"]) == (
                False,
                "by request",
                "later",
            )

    real(scenario())


def test_a_secret_is_replaced_with_both_in_force_for_a_while(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            hook = await s.add()
            path = f"/v1/webhooks/{hook['webhook_id']}"
            second = (await s.users.ask("POST", f"{path}/rotate-secret", json={})).json
            assert second["secret"] != hook["secret"]
            assert second["previous_secret_until"] is not None
            await s.users.ask("POST", f"{path}/test")
            await s.receiver.heard(1)
            for secret in (hook["secret"], second["secret"]):
                Verifier(secret).verify(s.receiver.received[0].body, dict(s.receiver.received[0].headers))
            third = (await s.users.ask("POST", f"{path}/rotate-secret", json={"keep_previous_hours": 0})).json
            assert third["previous_secret_until"] is None
            await s.users.ask("POST", f"{path}/test")
            await s.receiver.heard(2)
            assert len(s.receiver.received[1].headers["webhook-signature"].split()) == 1
            Verifier(third["secret"]).verify(
                s.receiver.received[1].body, dict(s.receiver.received[1].headers)
            )

    real(scenario())


def test_there_are_so_many_endpoints_and_no_more(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            for number in range(MOST):
                await s.add(f"{PUBLIC}/{number}")
            more = await s.users.ask("POST", "/v1/webhooks", json={"url": PUBLIC})
            assert refused(more) == (409, "too_many_webhooks")

    real(scenario())


def test_a_reader_changes_nothing(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with scene(tmp_path) as s:
            path = f"/v1/webhooks/{(await s.add())['webhook_id']}"
            reader = s.users.with_key((await made(s.house.gateway.house.store, Scope.READ)).secret)
            assert (await reader.ask("GET", path)).status == 200
            for method, what in (("PATCH", path), ("DELETE", path), ("POST", f"{path}/test")):
                assert refused(await reader.ask(method, what)) == (403, "read_only_key")

    real(scenario())

"""Calls as users have them over HTTP: dialled once, listed, read, noted, erased."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from control.stores.keys import Scope
from telephony.simulated_switch import FarEnd, Reaction
from tests.conftest import RunAsync
from tests.served_api import Said, Users, made, whole_api
from tests.whole_house import OTHER, OURS, THEIRS, House

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])

DIAL = {"to": THEIRS, "from": OURS, "agent_id": "default"}

# The call object as the contract lists it.
_NAMES = """call_id agent_id agent_version direction carrier carrier_call_id from_number to_number status disposition
    ended_reason hangup_cause duration_seconds minutes_used rate_per_minute currency call_cost llm_cost llm_discount
    recording_cost transfer_cost total_cost has_recording recording_enabled turn_count barge_in_count tool_call_count
    tools_called transferred_to transfer_duration_seconds metadata extracted_data notes ws_unavailable drain_forced
    started_at answered_at ended_at"""
SUMMARY = set(_NAMES.split())
WHOLE = SUMMARY | {"transcript", "latency_data"}


async def dialled(users: Users, **more: Any) -> str:
    said = await users.ask("POST", "/v1/calls", json={**DIAL, **more})
    assert said.status == 201, said.body
    return str(said.json["call_id"])


async def over(house: House, users: Users, call_id: str) -> None:
    assert (await users.ask("POST", f"/v1/calls/{call_id}/end", json={"after": "now"})).json == {
        "success": True
    }
    await house.ended(call_id)


def refused(said: Said) -> tuple[int, str]:
    return said.status, said.code


@both
def test_a_call_is_dialled_and_ended(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_api(carrier, tmp_path) as (house, users):
            said = await users.ask("POST", "/v1/calls", json={**DIAL, "metadata": {"order": 7}})
            call = said.json
            assert said.status == 201
            assert said.headers["Location"] == f"/v1/calls/{call['call_id']}"
            assert set(call) == WHOLE
            assert (call["status"], call["direction"], call["carrier"]) == ("ringing", "outbound", carrier)
            assert (call["from_number"], call["to_number"]) == (OURS, THEIRS)
            assert call["metadata"] == {"order": 7}
            assert call["started_at"].endswith("Z")
            await house.happened(call["call_id"], "call.started")
            await over(house, users, call["call_id"])
            ended = (await users.ask("GET", f"/v1/calls/{call['call_id']}")).json
            assert (ended["status"], ended["ended_reason"]) == ("completed", "api")
            assert isinstance(ended["duration_seconds"], float)
            assert isinstance(ended["total_cost"], float)

    real(scenario())


NO_DIALS: list[tuple[dict[str, Any], str, str | None]] = [
    ({}, "invalid_body", "/to"),
    ({**DIAL, "to": "0177 123"}, "invalid_body", "/to"),
    ({**DIAL, "from": "sip:me@here"}, "invalid_body", "/from"),
    ({**DIAL, "agent_id": None}, "invalid_body", ""),
    ({**DIAL, "agent": {}}, "invalid_body", ""),
    ({**DIAL, "ring_timeout_seconds": 4}, "invalid_body", "/ring_timeout_seconds"),
    ({**DIAL, "machine_detection": "maybe"}, "invalid_body", "/machine_detection"),
    ({**DIAL, "custom_headers": {"From": "x"}}, "invalid_body", "/custom_headers/From/[key]"),
    ({**DIAL, "custom_headers": {"X-A": "a\r\nb"}}, "invalid_body", "/custom_headers/X-A"),
    ({**DIAL, "webhook_url": "ftp://x"}, "invalid_body", "/webhook_url"),
    ({**DIAL, "webhook_url": "https://10.0.0.7/hook"}, "invalid_body", "/webhook_url"),
    ({**DIAL, "whisper": True}, "invalid_body", "/whisper"),
    ({**DIAL, "agent_id": "nobody"}, "agent_not_found", None),
    ({"to": THEIRS, "agent_id": "default"}, "from_number_missing", None),
    ({**DIAL, "carrier": "twilio"}, "carrier_not_configured", None),
]


def test_what_cannot_be_dialled_is_refused_before_anybody_rings(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            for body, problem, pointer in NO_DIALS:
                said = await users.ask("POST", "/v1/calls", json=body)
                assert refused(said) == (422, problem), body
                if pointer is not None:
                    assert pointer in [fault["pointer"] for fault in said.json["errors"]], body
            assert house.legs_to(THEIRS) == 0
            assert await house.calls() == []

    real(scenario())


@both
def test_one_key_dials_once_however_often_it_is_sent(real: RunAsync, tmp_path: Path, carrier: str) -> None:
    async def scenario() -> None:
        async with whole_api(carrier, tmp_path) as (house, users):
            key = {"Idempotency-Key": "order-7"}
            said = await asyncio.gather(
                *(users.ask("POST", "/v1/calls", json=DIAL, headers=key) for _ in range(5))
            )
            assert {each.status for each in said} <= {201, 409}
            again = await users.ask("POST", "/v1/calls", json=DIAL, headers=key)
            assert again.body in [each.body for each in said if each.status == 201]
            assert house.legs_to(THEIRS) == 1
            assert len(await house.calls()) == 1

    real(scenario())


def test_a_repetition_in_a_full_house_is_told_of_the_call_it_made(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path, max_calls=1) as (_, users):
            key = {"Idempotency-Key": "order-7"}
            first = await users.ask("POST", "/v1/calls", json=DIAL, headers=key)
            again = await users.ask("POST", "/v1/calls", json=DIAL, headers=key)
            assert (again.status, again.body) == (201, first.body)
            assert (
                again.headers["Location"] == first.headers["Location"] == f"/v1/calls/{first.json['call_id']}"
            )
            other = await users.ask("POST", "/v1/calls", json=DIAL)
            assert refused(other) == (429, "concurrent_call_limit")

    real(scenario())


def test_while_the_gateway_drains_nothing_is_dialled(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (_, users):
            assert (await users.ask("POST", "/v1/admin/drain")).json == {"draining": True}
            said = await users.ask("POST", "/v1/calls", json=DIAL)
            assert refused(said) == (503, "draining")
            assert int(said.headers["Retry-After"]) >= 1
            assert (await users.ask("DELETE", "/v1/admin/drain")).json == {"draining": False}
            await dialled(users)

    real(scenario())


def test_text_that_cannot_be_kept_is_refused_and_harms_nobody(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            for bad in ("\ud800", "\0"):
                said = await users.ask("POST", "/v1/calls", json={**DIAL, "metadata": {"note": bad}})
                assert refused(said) == (400, "invalid_json")
            assert house.legs_to(THEIRS) == 0
            await dialled(users, metadata={"note": "\U0001f600 ümlaut"})

    real(scenario())


def test_lists_are_filtered_and_go_on_where_they_ended(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            house.answers(OTHER, FarEnd(reaction=Reaction.BUSY))
            first, second = await dialled(users), await dialled(users, to=OTHER)
            await house.ended(second)
            await over(house, users, first)

            async def listed(query: str) -> list[str]:
                said = await users.ask("GET", f"/v1/calls?{query}")
                assert said.status == 200, said.body
                assert all(set(call) == SUMMARY for call in said.json["data"])
                return [call["call_id"] for call in said.json["data"]]

            assert await listed("") == [second, first]
            assert await listed("order=asc") == [first, second]
            assert await listed("status=busy") == [second]
            assert await listed(f"number=%2B{THEIRS[1:]}&direction=outbound") == [first]
            assert await listed("direction=inbound") == []
            assert await listed("from_date=2999-01-01") == []
            page = (await users.ask("GET", "/v1/calls?limit=1")).json
            assert [call["call_id"] for call in page["data"]] == [second]
            assert await listed(f"limit=1&after={page['next_cursor']}") == [first]
            for query, code in (("after=x", "invalid_cursor"), ("sort=notes", "invalid_sort")):
                assert refused(await users.ask("GET", f"/v1/calls?{query}")) == (400, code)

    real(scenario())


def test_a_calls_status_is_cheap_and_current(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            call_id = await dialled(users)
            await house.happened(call_id, "call.started")
            said = (await users.ask("GET", f"/v1/calls/{call_id}/status")).json
            assert (said["status"], said["ended_at"], said["duration_seconds"]) == ("in-progress", None, 0.0)
            await over(house, users, call_id)
            said = (await users.ask("GET", f"/v1/calls/{call_id}/status")).json
            assert set(said) == {"call_id", "status", "duration_seconds", "started_at", "ended_at"}
            assert said["status"] == "completed"

    real(scenario())


def test_a_transcript_is_read_by_people_players_and_programs(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            house.ring()
            call_id = await house.the_call()
            await house.happened(call_id, "transcript.updated")
            await over(house, users, call_id)
            path = f"/v1/calls/{call_id}/transcript"
            spoken = (await users.ask("GET", path)).json["transcript"]
            assert [each["content"] for each in spoken] == ["Hello."]
            text = await users.ask("GET", f"{path}?format=text&download=1")
            assert b"assistant: Hello." in text.body
            assert text.headers["Content-Type"].startswith("text/plain")
            assert text.headers["Content-Disposition"] == f'attachment; filename="{call_id}.txt"'
            vtt = await users.ask("GET", f"{path}?format=vtt")
            assert vtt.body.startswith(b"WEBVTT\n")
            assert vtt.headers["Content-Type"].startswith("text/vtt")

    real(scenario())


def test_notes_are_kept_beside_what_the_call_does(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            call_id = await dialled(users)
            await house.happened(call_id, "call.started")
            said = await users.ask("PUT", f"/v1/calls/{call_id}/notes", json={"notes": "call back"})
            assert (said.status, said.json["notes"]) == (200, "call back")
            await over(house, users, call_id)
            assert (await users.ask("GET", f"/v1/calls/{call_id}")).json["notes"] == "call back"
            said = await users.ask("PUT", f"/v1/calls/{call_id}/notes", json={"notes": None})
            assert said.json["notes"] is None

    real(scenario())


def test_an_ended_call_is_erased_at_once_and_for_good(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            call_id = await dialled(users)
            path = f"/v1/calls/{call_id}"
            assert refused(await users.ask("DELETE", path)) == (409, "call_live")
            await over(house, users, call_id)
            said = await users.ask("DELETE", path)
            assert (said.status, said.body) == (204, b"")
            for what in ("", "/status", "/events", "/transcript", "/transfer", "/gather"):
                assert refused(await users.ask("GET", path + what)) == (404, "not_found")
            assert refused(await users.ask("DELETE", path)) == (404, "not_found")

    real(scenario())


ABOUT_A_CALL: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("GET", "/status", None),
    ("GET", "/transcript", None),
    ("GET", "/transfer", None),
    ("GET", "/gather", None),
    ("PUT", "/notes", {"notes": "x"}),
    ("DELETE", "", None),
    ("POST", "/end", {}),
    ("POST", "/say", {"text": "x"}),
]


def test_another_tenants_call_is_not_there(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with whole_api("telnyx", tmp_path) as (house, users):
            call_id = await dialled(users)
            stranger = users.with_key((await made(house.gateway.house.store, Scope.FULL, "other")).secret)
            for method, path, body in ABOUT_A_CALL:
                options = {"json": body} if body else {}
                said = await stranger.ask(method, f"/v1/calls/{call_id}{path}", **options)
                assert refused(said) == (404, "not_found"), (method, path)
            assert (await stranger.ask("GET", "/v1/calls")).json["data"] == []

    real(scenario())

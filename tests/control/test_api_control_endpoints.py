"""Live control over HTTP: every command reaches its call, in the contract's words."""

import io
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.server import serving
from telephony.simulated_switch import FarEnd, Reaction
from tests.conftest import RunAsync
from tests.served_api import Said, Users, whole_api
from tests.whole_house import OTHER, House

pytestmark = pytest.mark.sockets

both = pytest.mark.parametrize("carrier", ["telnyx", "twilio"])

CALL = "/v1/calls/{call}"

# Every command, with a body that is good: what a call in progress may answer, beside a 501 that names its carrier.
COMMANDS: list[tuple[str, str, dict[str, Any] | None, int]] = [
    ("POST", "/say", {"text": "Say hello."}, 200),
    ("POST", "/say", {"text": "Hello.", "verbatim": True}, 200),
    ("POST", "/inject", {"role": "system", "text": "The order has shipped."}, 200),
    ("POST", "/hold", {}, 200),
    ("POST", "/resume", None, 200),
    ("POST", "/dtmf", {"digits": "1w2#"}, 200),
    ("POST", "/gather", {"prompt": "Your PIN, please.", "max_digits": 4}, 202),
    ("DELETE", "/gather", None, 200),
    ("POST", "/transfer", {"destination": OTHER}, 200),
    ("DELETE", "/transfer", None, 200),
    ("DELETE", "/play", None, 200),
    ("POST", "/recording/start", None, 200),
    ("POST", "/recording/pause", None, 200),
    ("POST", "/recording/resume", None, 200),
    ("POST", "/recording/stop", None, 200),
    ("POST", "/end", {}, 200),
]


@asynccontextmanager
async def live_call(carrier: str, folder: Path, **options: Any) -> AsyncIterator[tuple[House, Users, str]]:
    async with whole_api(carrier, folder, **options) as (house, users):
        house.ring()
        call_id = await house.the_call()
        await house.happened(call_id, "call.started")
        yield house, users, call_id


async def command(users: Users, call_id: str, method: str, path: str, body: dict[str, Any] | None) -> Said:
    options = {} if body is None else {"json": body}
    return await users.ask(method, f"/v1/calls/{call_id}{path}", **options)


def refused(said: Said) -> tuple[int, str]:
    return said.status, said.code


@both
@pytest.mark.parametrize(
    ("method", "path", "body", "done"), COMMANDS, ids=[f"{each[0]} {each[1]}" for each in COMMANDS]
)
def test_a_command_is_carried_out_or_refused_as_documented(
    real: RunAsync,
    tmp_path: Path,
    carrier: str,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    done: int,
) -> None:
    async def scenario() -> None:
        house_of = live_call(carrier, tmp_path, far_end=FarEnd(after=30.0))
        async with house_of as (house, users, call_id):
            said = await command(users, call_id, method, path, body)
            documented = (await users.ask("GET", "/openapi.json")).json["paths"]
            answers = documented[f"/v1/calls/{{call_id}}{path}"][method.lower()]["responses"]
            assert str(said.status) in answers
            assert said.status == done or f"- `{said.code}`:" in answers[str(said.status)]["description"]
            assert said.status < 500 or said.status == 501
            if path != "/end":
                assert (await house.call(call_id)).status.value == "in-progress"

    real(scenario())


@both
def test_a_call_that_is_over_takes_no_commands_but_its_end(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with live_call(carrier, tmp_path) as (house, users, call_id):
            assert (await command(users, call_id, "POST", "/end", {"after": "now"})).status == 200
            await house.ended(call_id)
            for method, path, body, _ in COMMANDS[:-1]:
                assert refused(await command(users, call_id, method, path, body)) == (
                    409,
                    "call_not_in_progress",
                )
            again = await command(users, call_id, "POST", "/end", None)
            assert (again.status, again.json) == (200, {"success": True})

    real(scenario())


NO_COMMANDS: list[tuple[str, dict[str, Any], tuple[int, str]]] = [
    ("/transfer", {"destination": "911"}, (400, "invalid_destination")),
    ("/transfer", {"destination": ""}, (400, "invalid_destination")),
    ("/transfer", {"destination": "sip:"}, (400, "invalid_destination")),
    ("/transfer", {"destination": OTHER, "caller_id": "me"}, (400, "invalid_destination")),
    ("/transfer", {"destination": OTHER, "on_failure": "shrug"}, (422, "invalid_body")),
    ("/transfer", {}, (422, "invalid_body")),
    ("/gather", {}, (422, "invalid_body")),
    ("/gather", {"prompt": "PIN", "max_digits": 21}, (422, "invalid_body")),
    ("/gather", {"prompt": "PIN", "timeout_seconds": 4}, (422, "invalid_body")),
    ("/gather", {"prompt": "PIN", "terminator": "##"}, (422, "invalid_body")),
    ("/gather", {"prompt": "PIN", "language": "English"}, (422, "invalid_body")),
    ("/dtmf", {"digits": "12x"}, (422, "invalid_body")),
    ("/dtmf", {"digits": "1" * 65}, (422, "invalid_body")),
    ("/say", {"text": ""}, (422, "invalid_body")),
    ("/play", {}, (422, "invalid_body")),
    ("/play", {"url": "https://a.example/x.wav", "recording_id": "rec_1"}, (422, "invalid_body")),
    ("/play", {"url": "file:///etc/passwd"}, (422, "invalid_body")),
    ("/play", {"url": "http://169.254.169.254/latest"}, (422, "audio_unavailable")),
    ("/hold", {"audio_url": "http://127.0.0.1:1/x.wav"}, (422, "audio_unavailable")),
    ("/inject", {"role": "assistant", "text": "x"}, (422, "invalid_body")),
    ("/end", {"after": "lunch"}, (422, "invalid_body")),
]


def test_what_is_no_command_changes_nothing(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live_call("telnyx", tmp_path) as (house, users, call_id):
            for path, body, problem in NO_COMMANDS:
                said = await command(users, call_id, "POST", path, body)
                assert refused(said) == problem, (path, body)
                if problem[1] == "invalid_destination" and "caller_id" not in body:
                    assert said.json["detail"] == "destination must be a valid E.164 phone number"
            assert (await house.call(call_id)).status.value == "in-progress"

    real(scenario())


@both
def test_a_transfer_is_seen_from_its_acceptance_to_its_outcome(
    real: RunAsync, tmp_path: Path, carrier: str
) -> None:
    async def scenario() -> None:
        async with live_call(carrier, tmp_path) as (house, users, call_id):
            house.answers(OTHER, FarEnd(reaction=Reaction.BUSY))
            before = await command(users, call_id, "GET", "/transfer", None)
            assert refused(before) == (404, "no_transfer")
            said = await command(users, call_id, "POST", "/transfer", {"destination": OTHER})
            assert said.status == 200
            assert set(said.json) == {"success", "destination", "transfer_id"}
            await house.happened(call_id, "transfer.failed")
            seen = (await command(users, call_id, "GET", "/transfer", None)).json
            assert (seen["transfer_id"], seen["state"]) == (said.json["transfer_id"], "failed")
            assert (seen["destination"], seen["cause"]) == (OTHER, "busy")
            assert seen["ended_at"] >= seen["requested_at"]

    real(scenario())


def test_a_gather_is_one_at_a_time_and_can_be_stopped(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with live_call("telnyx", tmp_path) as (house, users, call_id):
            assert refused(await command(users, call_id, "GET", "/gather", None)) == (404, "no_gather")
            asked = {"prompt": "Your PIN, please."}
            said = await command(users, call_id, "POST", "/gather", asked)
            assert said.status == 202
            assert (said.json["message"], said.json["call_id"]) == ("Gather initiated", call_id)
            again = await command(users, call_id, "POST", "/gather", asked)
            assert refused(again) == (409, "gather_in_progress")
            assert again.json["detail"] == "A gather operation is already in progress for this call"
            assert (await command(users, call_id, "DELETE", "/gather", None)).status == 200
            await house.happened(call_id, "call.gather.completed")
            seen = (await command(users, call_id, "GET", "/gather", None)).json
            assert (seen["gather_id"], seen["status"], seen["input"]) == (
                said.json["gather_id"],
                "cancelled",
                None,
            )

    real(scenario())


def test_audio_of_a_users_server_is_played_and_held_with(real: RunAsync, tmp_path: Path) -> None:
    async def scenario() -> None:
        app = web.Application()
        app.router.add_get("/tone.wav", tone)
        async with serving(app, "127.0.0.1", 0) as port:
            url = f"http://127.0.0.1:{port}/tone.wav"
            allowed = {"egress_allow": "127.0.0.0/8", "egress_allow_http": True}
            async with live_call("telnyx", tmp_path, **allowed) as (_, users, call_id):
                for path, body in (("/play", {"url": url}), ("/hold", {"audio_url": url})):
                    said = await command(users, call_id, "POST", path, body)
                    assert (said.status, said.json) == (200, {"success": True})
                assert (await command(users, call_id, "POST", "/resume", None)).status == 200
                missing = await command(users, call_id, "POST", "/play", {"url": f"{url}.gone"})
                assert refused(missing) == (422, "audio_unavailable")

    real(scenario())


async def tone(_: web.Request) -> web.Response:
    """A tenth of a second of a square wave, 8 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes((b"\x00\x10" * 8 + b"\x00\xf0" * 8) * 50)
    return web.Response(body=file.getvalue(), content_type="audio/wav")

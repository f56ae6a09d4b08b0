"""The public port: routes, problems, and who is let into a media socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
import websockets
from aiohttp import web
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import connect

from control.api.problem import Problem
from gateway.calls import OverCapacity
from gateway.media_auth import Authorised, MediaAuth, StreamTokens
from gateway.server import create_app, create_metrics_app, our_version, serving
from gateway.telemetry import Figure, FigureCollector
from telephony.link import Link, LinkListener
from tests.conftest import RunAsync
from tests.memory_link import Ear

pytestmark = pytest.mark.sockets


@dataclass
class Desk:
    """Takes in links as the gateway's calls would."""

    taken: list[tuple[str, Authorised, Link, Ear]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    full: bool = False
    tokens: StreamTokens = field(default_factory=StreamTokens)

    def accept_stream(self, carrier: str, authorised: Authorised, link: Link) -> LinkListener:
        if self.full:
            raise OverCapacity
        ear = Ear()
        self.taken.append((carrier, authorised, link, ear))
        return ear


@asynccontextmanager
async def gateway(desk: Desk, mode: str = "tokens") -> AsyncIterator[str]:
    app = create_app(
        media_auth=MediaAuth(mode, tokens=desk.tokens, bound_host="127.0.0.1"),
        accept_stream=desk.accept_stream,
        readiness=lambda: desk.reasons,
        degraded=lambda: desk.degraded,
        carriers={"twilio", "telnyx"},
    )

    async def breaks(_: web.Request) -> web.Response:
        raise ZeroDivisionError

    async def conflicts(_: web.Request) -> web.Response:
        raise Problem(409, "call_not_in_progress", "Call is not in progress")

    app.router.add_get("/breaks", breaks)
    app.router.add_get("/conflicts", conflicts)
    async with serving(app, "127.0.0.1", 0) as port:
        yield f"127.0.0.1:{port}"


def test_health_says_who_we_are(real: RunAsync) -> None:
    async def scenario() -> None:
        async with gateway(Desk()) as at, aiohttp.ClientSession(f"http://{at}") as http:
            assert await (await http.get("/health")).json() == {"status": "ok", "version": our_version()}
            assert await (await http.get("/version")).json() == {"version": our_version()}
            assert (await http.get("/liveness")).status == 200

    real(scenario())


def test_readiness_says_why_not(real: RunAsync) -> None:
    async def scenario() -> None:
        desk = Desk()
        async with gateway(desk) as at, aiohttp.ClientSession(f"http://{at}") as http:
            assert (await http.get("/readiness")).status == 200
            desk.reasons += ["draining", "overloaded"]
            answer = await http.get("/readiness")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert (await answer.json())["detail"] == "draining; overloaded"

    real(scenario())


def test_who_is_ready_says_what_is_not_as_it_should_be(real: RunAsync) -> None:
    async def scenario() -> None:
        desk = Desk()
        async with gateway(desk) as at, aiohttp.ClientSession(f"http://{at}") as http:
            assert await (await http.get("/readiness")).json() == {"status": "ready"}
            desk.degraded.append("redis does not answer")
            answer = await http.get("/readiness")
            assert answer.status == 200
            assert await answer.json() == {"status": "ready", "degraded": ["redis does not answer"]}

    real(scenario())


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("GET", "/conflicts", 409, "call_not_in_progress"),
        ("GET", "/breaks", 500, "internal_error"),
        ("GET", "/media/twilio/abc", 426, "upgrade_required"),
        ("GET", "/media/nobody/abc", 404, "unknown_carrier"),
        ("GET", "/metrics", 404, "not_found"),
    ],
)
def test_every_error_is_a_problem(real: RunAsync, method: str, path: str, status: int, code: str) -> None:
    async def scenario() -> None:
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
        async with gateway(Desk()) as at, aiohttp.ClientSession(f"http://{at}") as http:
            answer = await http.request(method, path, headers=headers)
            assert answer.content_type == "application/problem+json"
            problem = await answer.json()
            assert (answer.status, problem["status"], problem["code"]) == (status, status, code)
            assert set(problem) == {"type", "title", "status", "detail", "code", "trace_id"}
            assert problem["trace_id"] == trace_id
            untraced = await (await http.request(method, path)).json()
            assert len(untraced["trace_id"]) == 32

    real(scenario())


def test_a_token_opens_a_media_socket_once(real: RunAsync) -> None:
    async def scenario() -> None:
        desk = Desk()
        async with gateway(desk) as at:
            token = desk.tokens.mint("call_1", 2, asyncio.get_running_loop().time())
            async with connect(f"ws://{at}/media/twilio/{token}") as client:
                await client.send("connected")
                carrier, authorised, link, ear = desk.taken[0]
                assert await ear.hear(1) == [b"connected"]
                assert (carrier, authorised) == ("twilio", Authorised("token", "call_1", 2))
                link.send(b"media")
                assert await client.recv() == "media"
            with pytest.raises(websockets.InvalidStatus) as refused:
                await connect(f"ws://{at}/media/twilio/{token}")
            assert refused.value.response.status_code == 404
            assert len(desk.taken) == 1

    real(scenario())


def test_a_plain_request_burns_no_token(real: RunAsync) -> None:
    async def scenario() -> None:
        desk = Desk()
        async with gateway(desk) as at, aiohttp.ClientSession(f"http://{at}") as http:
            token = desk.tokens.mint("call_1", 1, asyncio.get_running_loop().time())
            assert (await http.get(f"/media/twilio/{token}")).status == 426
            async with connect(f"ws://{at}/media/twilio/{token}"):
                assert len(desk.taken) == 1

    real(scenario())


def test_without_authentication_any_path_is_a_socket(real: RunAsync) -> None:
    async def scenario() -> None:
        desk = Desk()
        async with gateway(desk, "none") as at:
            for carrier in ("twilio", "telnyx"):
                async with connect(f"ws://{at}/media/{carrier}/anything"):
                    assert desk.taken[-1][:2] == (carrier, Authorised("none"))
            with pytest.raises(websockets.InvalidStatus):
                await connect(f"ws://{at}/media/twilio/x", additional_headers={"X-Forwarded-For": "1.2.3.4"})

    real(scenario())


def test_a_full_gateway_refuses_before_the_upgrade(real: RunAsync) -> None:
    async def scenario() -> None:
        async with gateway(Desk(full=True), "none") as at:
            with pytest.raises(websockets.InvalidStatus) as refused:
                await connect(f"ws://{at}/media/twilio/x")
            response = refused.value.response
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "5"
            assert response.body is not None
            assert b"at_capacity" in response.body

    real(scenario())


def test_metrics_have_their_own_listener(real: RunAsync) -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        registry.register(FigureCollector(lambda: [Figure("calls_live", "gauge", "Calls now.", 3)]))
        async with (
            serving(create_metrics_app(registry), "127.0.0.1", 0) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        ):
            answer = await http.get("/metrics")
            assert "offhook_calls_live 3.0" in await answer.text()
            assert answer.content_type == "text/plain"

    real(scenario())

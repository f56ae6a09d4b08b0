"""The one public port: routes only. Media upgrades are let in here, then run on picows (`gateway.upgrade`).

What a socket or a question is for, its ports know: `accept_stream` takes in media links, `readiness` says why no
call can be taken. Figures have their own listener, on their own port.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

import aiofastnet
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from control.api.problem import Problem, problems
from gateway.calls import OverCapacity
from gateway.media_auth import Authorised, MediaAuth, MediaRefused
from gateway.upgrade import NotAnUpgrade, accept, check_upgrade
from telephony.link import Link, LinkListener

log = structlog.get_logger()

# Seconds for idle HTTP connections; a proxy's own is 60.
KEEPALIVE = 75.0

# Connections that wait to be accepted; a burst of calls is no reason to refuse one.
BACKLOG = 1024

# Seconds for requests when the server stops: calls have been drained before, by who owns them.
SHUTDOWN = 1.0

AcceptStream = Callable[[str, Authorised, Link], LinkListener]
"""Takes in a media link of a carrier before its upgrade is answered; raises `OverCapacity` or `Problem`."""

Readiness = Callable[[], list[str]]
"""Why no call can be taken now; empty when one can. Of what is degraded: what does not work as it should."""


def create_app(
    *,
    media_auth: MediaAuth,
    accept_stream: AcceptStream,
    readiness: Readiness,
    carriers: Container[str],
    degraded: Readiness = list,
) -> web.Application:
    """The public application; its owner adds more routes before it is served."""
    routes = _Routes(media_auth, accept_stream, readiness, carriers, degraded)
    app = web.Application(middlewares=[problems])
    app.router.add_get("/health", routes.health)
    app.router.add_get("/liveness", routes.liveness)
    app.router.add_get("/readiness", routes.readiness)
    app.router.add_get("/version", routes.version)
    app.router.add_get("/media/{carrier}/{token}", routes.media)
    return app


def create_metrics_app(registry: CollectorRegistry) -> web.Application:
    """The figures' application."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application(middlewares=[problems])
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def serving(
    app: web.Application, host: str, port: int, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve `app` in here; yields the port, which matters where 0 was asked for."""
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, keepalive_timeout=KEEPALIVE, shutdown_timeout=SHUTDOWN
    )
    await runner.setup()
    try:
        await _Site(runner, host, port, tls).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


class _Site(web.BaseSite):
    """aiohttp's `TCPSite` with picows's own transports, which hand-over leaves in place: a message costs less on them.

    The protocol is told what it reads without a buffer object made per read, and a write goes out by one call of C.
    """

    def __init__(self, runner: web.BaseRunner, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(runner, backlog=BACKLOG, ssl_context=tls)
        self._host = host
        self._port = port

    @property
    def name(self) -> str:
        return f"{'https' if self._ssl_context else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        assert self._runner.server is not None
        self._server = await aiofastnet.create_server(
            asyncio.get_running_loop(),
            self._runner.server,
            self._host,
            self._port,
            backlog=self._backlog,
            ssl=self._ssl_context,
        )


def our_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("offhook")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"


class _Routes:
    """One method per route. Driven by aiohttp."""

    def __init__(
        self,
        media_auth: MediaAuth,
        accept_stream: AcceptStream,
        readiness: Readiness,
        carriers: Container[str],
        degraded: Readiness,
    ) -> None:
        self._degraded = degraded
        self._media_auth = media_auth
        self._accept_stream = accept_stream
        self._readiness = readiness
        self._carriers = carriers
        self._version = our_version()

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "version": self._version})

    async def liveness(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readiness(self, _: web.Request) -> web.Response:
        reasons = self._readiness()
        if reasons:
            raise Problem(503, "not_ready", "; ".join(reasons), headers={"Retry-After": "5"})
        degraded = self._degraded()
        return web.json_response({"status": "ready", **({"degraded": degraded} if degraded else {})})

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": self._version})

    async def media(self, request: web.Request) -> web.StreamResponse:
        carrier = request.match_info["carrier"]
        if carrier not in self._carriers:
            raise Problem(404, "unknown_carrier", "no such carrier")
        try:
            check_upgrade(request)
        except NotAnUpgrade as error:
            raise Problem(426, "upgrade_required", str(error), headers={"Upgrade": "websocket"}) from error
        authorised = self._authorise(carrier, request)
        try:
            return await accept(request, lambda link: self._accept_stream(carrier, authorised, link))
        except OverCapacity as error:
            raise Problem(
                503, "at_capacity", "no room for another call now", headers={"Retry-After": "5"}
            ) from error

    def _authorise(self, carrier: str, request: web.Request) -> Authorised:
        try:
            return self._media_auth.authorise(
                carrier,
                request.match_info["token"],
                target=request.raw_path,
                headers=request.headers,
                now=asyncio.get_running_loop().time(),
            )
        except MediaRefused as refused:
            log.warning("media socket refused", carrier=carrier, code=refused.code, reason=str(refused))
            raise Problem(refused.status, refused.code, str(refused)) from refused

"""`offhook agent`: serves the OpenAI Realtime wire at `/v1/realtime`, one session per link.

aiohttp answers HTTP (the key is checked before the upgrade), links carry the messages, and
`media.realtime.server` decides what is said. This file owns the sockets and the timers, nothing else.
Time is read from the loop alone, so whole conversations run on virtual time over in-memory links.
"""

import asyncio
import hmac
from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from gateway.agent.echo import EchoBehaviour
from gateway.agent.scripted import Script, ScriptedBehaviour
from gateway.stall import WriteBounds
from gateway.upgrade import NotAnUpgrade, accept
from media.realtime.server import AgentServerSession
from media.realtime.server_behaviour import Behaviour, Reply, Transcription
from telephony.link import Link, LinkListener

PATH = "/v1/realtime"

# A model's burst is longer than anything a carrier is sent, and a client that tests its own stall rules reads
# late on purpose: more patience than the gateway has with its peers.
BOUNDS = WriteBounds(ceiling=4 * 1024 * 1024, patience=15.0)

# What a session without `?model=` says it is.
DEFAULT_MODEL = "offhook-agent"


class Answers(Protocol):
    """Where a behaviour that needs time puts its answers."""

    def transcribed(self, item_id: str, transcription: Transcription) -> None: ...

    def replied(self, response_id: str, reply: Reply) -> None: ...


class LateBehaviour(Behaviour, Protocol):
    """A behaviour that answers later; told where before its session opens, and when it is over."""

    def join(self, answers: Answers) -> None: ...

    def leave(self) -> None: ...


BehaviourFactory = Callable[[], Behaviour | LateBehaviour]
"""Makes one session's behaviour."""


class AgentServer:
    """Serves sessions of one kind: `echo`, a script, or whatever a factory makes.

    Driven by its links. Owns every session and its timer; decides nothing about what is said.
    """

    def __init__(
        self,
        serves: Script | BehaviourFactory = EchoBehaviour,
        *,
        api_key: str | None = None,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        """`api_key`: the one key let in; None: any, or none. `wall_clock`: unix time for `expires_at`."""
        self._make: BehaviourFactory = (
            (lambda: ScriptedBehaviour(serves)) if isinstance(serves, Script) else serves
        )
        self._key = api_key
        self._wall_clock = wall_clock
        self._runner: web.AppRunner | None = None
        self._live: set[_SessionLink] = set()
        self.accepted = 0
        """Sessions so far."""

    @property
    def live(self) -> int:
        """Sessions going on."""
        return len(self._live)

    @property
    def behaviours(self) -> list[Behaviour]:
        """Of the sessions going on, oldest first: a test reads a script's failures here."""
        return [each.behaviour for each in sorted(self._live, key=lambda each: each.number)]

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; return the port bound.

        Raises:
            OSError: the address is taken.
        """
        app = web.Application()
        app.router.add_get(PATH, self._upgrade)
        app.router.add_get("/health", self._health)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0]
        return int(bound[1])

    async def close(self) -> None:
        """End every session as a service does that goes away, and stop listening."""
        for each in list(self._live):
            each.end(1001, "going away")
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def attach(
        self,
        link: Link,
        *,
        model: str | None = None,
        beta: bool = False,
        pause_reading: Callable[[bool], None] | None = None,
    ) -> LinkListener:
        """Serve one session over `link`; `session.created` leaves at once.

        `beta`: the client asked for the beta shape by header. `pause_reading`: how a planned stall stops
        the socket from being read; without it, messages are held unread instead.
        """
        self.accepted += 1
        behaviour = self._make()
        session = AgentServerSession(
            behaviour, f"sess_{self.accepted}", model=model or DEFAULT_MODEL, beta=beta
        )
        served = _SessionLink(self.accepted, behaviour, session, link, self._live.discard, pause_reading)
        self._live.add(served)
        served.open(None if self._wall_clock is None else self._wall_clock())
        return served

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "sessions": self.live})

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        if not self._allowed(request):
            error = {
                "message": "Incorrect API key provided.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
            return web.json_response({"error": error}, status=401)
        transport = request.transport

        def pause_reading(paused: bool) -> None:
            if isinstance(transport, asyncio.ReadTransport) and not transport.is_closing():
                (transport.pause_reading if paused else transport.resume_reading)()

        def listen(link: Link) -> LinkListener:
            return self.attach(
                link,
                model=request.query.get("model"),
                beta="realtime=v1" in request.headers.get("OpenAI-Beta", ""),
                pause_reading=pause_reading,
            )

        try:
            return await accept(request, listen, bounds=BOUNDS)
        except NotAnUpgrade as refusal:
            return web.Response(status=426, text=str(refusal), headers={"Upgrade": "websocket"})

    def _allowed(self, request: web.Request) -> bool:
        if self._key is None:
            return True
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        given = (bearer, request.headers.get("api-key", ""))
        return any(hmac.compare_digest(each.encode(), self._key.encode()) for each in given)


class _SessionLink:
    """One session on one link: bytes in, bytes out, one timer.

    Driven by the link and the loop; `over` is told once, when the link is gone.
    """

    def __init__(
        self,
        number: int,
        behaviour: Behaviour | LateBehaviour,
        session: AgentServerSession,
        link: Link,
        over: Callable[["_SessionLink"], None],
        pause_reading: Callable[[bool], None] | None,
    ) -> None:
        self.number = number
        self.behaviour = behaviour
        self._session = session
        self._link = link
        self._over = over
        self._pause_reading = pause_reading
        self._reading = True
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._due_at = 0.0
        self._ended = False
        self.dropped = 0
        """Echoed frames not sent, because the client does not read."""

    def open(self, wall: float | None) -> None:
        if (join := getattr(self.behaviour, "join", None)) is not None:
            join(self)
        self._session.opened(self._loop.time(), wall=wall)
        self._flush()

    # The link's side.

    def message_received(self, message: bytes) -> None:
        answer = self._session.scan(message)
        if answer is None:
            self._session.receive(message, self._loop.time())
            self._flush()
        elif self._link.paused:
            self.dropped += 1
        else:
            self._link.send(answer)

    def pressure(self, paused: bool) -> None:
        if not paused:
            self._flush()

    def link_lost(self, code: int | None, reason: str) -> None:
        self._stop()

    # A late behaviour's side.

    def transcribed(self, item_id: str, transcription: Transcription) -> None:
        self._session.transcribed(item_id, transcription, self._loop.time())
        self._flush()

    def replied(self, response_id: str, reply: Reply) -> None:
        self._session.replied(response_id, reply, self._loop.time())
        self._flush()

    # The loop's side.

    def end(self, code: int, reason: str) -> None:
        self._link.close(code, reason)
        self._stop()

    def _flush(self) -> None:
        """Send what is to be said, unless the client does not read; wait for what comes next."""
        if self._ended:
            return
        session, link = self._session, self._link
        if not link.paused:
            for message in session.outgoing():
                link.send(message)
            if session.close_requested is not None:
                self.end(*session.close_requested)
                return
        self._read_or_not()
        self._wait()

    def _read_or_not(self) -> None:
        reading = not self._session.stalled
        if reading is not self._reading:
            self._reading = reading
            if self._pause_reading is not None:
                self._pause_reading(not reading)

    def _wait(self) -> None:
        deadline = self._session.next_deadline()
        # A paused link holds the generation back: it goes on when the client has read.
        if deadline is None or self._link.paused:
            return
        if self._timer is not None:
            if self._due_at <= deadline:
                return  # it fires early at worst, and then waits again
            self._timer.cancel()
        # uvloop answers a time that has come with a plain handle, which does not know its time.
        self._timer, self._due_at = self._loop.call_at(deadline, self._due), deadline

    def _due(self) -> None:
        self._timer = None
        self._session.poll(self._loop.time())
        self._flush()

    def _stop(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (leave := getattr(self.behaviour, "leave", None)) is not None:
            leave()
        self._over(self)

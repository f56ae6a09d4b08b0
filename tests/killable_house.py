"""A gateway in a process of its own, which may be killed at any moment; carrier, agent and backend live on.

Nothing is told behind anybody's back: the process is started as users start it, asked over HTTP, and what it has left
is read from its data folder.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from control.call_record import CallRecord
from control.stores.call_filters import CallFilters
from control.stores.keyset import Page
from control.stores.store import Store
from gateway.agent.scripted import Script
from gateway.agent.server import AgentServer, BehaviourFactory
from gateway.links import connect
from gateway.rest_house import FIRST_KEY_FILE
from telephony.simulated_switch import FarEnd
from telephony.telnyx.rest_simulator import SimulatedTelnyx
from tests.backend import Backend
from tests.patience import PATIENCE
from tests.whole_house import OURS, TENANT, THEIRS, account_of, free_port, simulated_carrier

ROOT = Path(__file__).parents[1]


class GatewayProcess:
    """`offhook serve`. Driven by `start`, and by `kill` or `stop`."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self.settings = settings
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OFFHOOK_")},
            **{f"OFFHOOK_{name}".upper(): value for name, value in settings.items()},
            "OFFHOOK_LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT),
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._said = asyncio.Condition()
        self.log: list[dict[str, Any]] = []
        """Of the process that runs, or ran last."""

    async def begin(self) -> None:
        """Start it, without waiting for it."""
        self.log = []
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "serve",
            cwd=self._folder,
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        await self.begin()
        await self.says("ready")

    async def says(self, message: str) -> dict[str, Any]:
        """Wait for a line of its log."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.log if line.get("event") == message]

        try:
            async with asyncio.timeout(PATIENCE), self._said:
                await self._said.wait_for(lambda: found() or self._ended())
        except TimeoutError:
            pass
        assert found(), f"it has not said {message!r}: {self.log[-3:]}"
        return found()[0]

    async def kill(self) -> None:
        """End it as a crash does: nothing of its own runs any more."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._over()

    async def stop(self) -> None:
        """Ask it to end, and see that it does, cleanly."""
        assert self._process is not None
        self._process.terminate()
        assert await self._over() == 0, self.log[-3:]

    def _ended(self) -> bool:
        return self._reading is None or self._reading.done()

    async def _over(self) -> int:
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self._process.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            async with self._said:
                self.log.append(_line(line))
                self._said.notify_all()
        async with self._said:
            self._said.notify_all()


def _line(text: bytes) -> dict[str, Any]:
    """A line of the log; what is none (a traceback of the interpreter's own) is shown where a test fails."""
    try:
        said: dict[str, Any] = json.loads(text)
    except ValueError:
        return {"event": text.decode(errors="replace").rstrip()}
    return said


class KillableHouse:
    """Everybody, and what tests ask of them."""

    def __init__(
        self,
        folder: Path,
        gateway: GatewayProcess,
        carrier: SimulatedTelnyx,
        backend: Backend,
        url: str,
        database: str,
    ) -> None:
        self.folder = folder
        self.gateway = gateway
        self.carrier = carrier
        self.backend = backend
        self._url = url
        self.database = database

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def ring(self) -> Any:
        return self.carrier.place_call(OURS)

    async def dial(self, to: str = THEIRS) -> str:
        """Have the gateway call somebody; the call's id."""
        body = {"to": to, "from": OURS, "agent_id": "default"}
        return str((await self.api("POST", "/v1/calls", body))["call_id"])

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the gateway something that it does."""
        key = (self.data / FIRST_KEY_FILE).read_text().strip()
        async with (
            aiohttp.ClientSession(self._url, headers={"Authorization": f"Bearer {key}"}) as http,
            http.request(method, path, json=body) as answer,
        ):
            assert answer.ok, await answer.text()
            return await answer.json()

    async def calls(self) -> list[CallRecord]:
        """Every call on record."""
        async with self._store() as store:
            return list((await store.calls(TENANT, CallFilters(), Page(limit=100))).calls)

    async def published(self, call_id: str) -> dict[str, str]:
        """What users are to be told of a call: names of events, by id, in order."""
        async with self._store() as store:
            found = await store.events(TENANT, call_id, limit=10_000, published_only=True)
            return {stored.event.event_id: stored.event.name for stored in found}

    async def until(self, true: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something is so; a process tells nobody of what it writes, so it is looked at again and again."""
        async with asyncio.timeout(PATIENCE):
            while not await true():  # noqa: ASYNC110  # nobody sets an event
                await asyncio.sleep(0.05)

    def recordings(self) -> list[Path]:
        return sorted((self.data / "recordings").glob("*.wav*"))

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[Store]:
        store = await Store.open(self.database)
        try:
            yield store
        finally:
            await store.close()


@asynccontextmanager
async def killable_house(
    folder: Path,
    *,
    agent: Script | BehaviourFactory,
    far_end: FarEnd,
    config: Mapping[str, object] | None = None,
    database: str | None = None,
    **settings: str,
) -> AsyncIterator[KillableHouse]:
    """Everybody is there in here but the gateway, which tests start; leaving kills it if it still runs.

    Args:
        config: more of its agent.
        database: another than the one in its data folder.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    carrier = simulated_carrier("telnyx", url, connect, {"far_end": far_end})
    assert isinstance(carrier, SimulatedTelnyx)
    await carrier.start()
    server = AgentServer(agent)
    agent_port = await server.start()
    async with Backend.running() as backend:
        gateway = GatewayProcess(
            folder,
            {
                "port": str(port),
                "public_url": url,
                "data_dir": str(folder / "data"),
                "realtime_url": f"ws://127.0.0.1:{agent_port}/v1/realtime",
                "realtime_greeting": "Greet the caller.",
                "drain_s": "1",
                "egress_allow": "127.0.0.1",
                "egress_allow_http": "true",
                "agents": json.dumps(
                    {"default": {"name": "default", "webhook_url": backend.url, **(config or {})}}
                ),
                **({} if database is None else {"database_url": database}),
                **account_of(carrier),
                **settings,
            },
        )
        try:
            kept = database or f"sqlite:///{folder / 'data' / 'offhook.db'}"
            yield KillableHouse(folder, gateway, carrier, backend, url, kept)
        finally:
            await gateway.kill()
            await server.close()
            await carrier.stop()

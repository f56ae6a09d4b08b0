"""Endpoints on a real server of this machine, over a store of their own: what users of the REST API have of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from control.api.client_address import TrustedProxies
from control.api.endpoint import Endpoint
from control.api.gate import FAILED_WITHIN, MINUTE, Gate
from control.api.problem import problems
from control.api.routes import Reception
from control.live.in_process import ProcessWindows
from control.stores.keys import DEFAULT_TENANT, NewKey, Scope
from control.stores.store import Store
from control.tenancy import Tenancy, Terms
from gateway.server import serving
from tests.whole_house import House, whole_house

CONCURRENT_CALLS = 7
"""What every tenant of `served` may have at a time."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any

    @property
    def code(self) -> str:
        """Which problem it is."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        assert self.json["status"] == self.status
        return str(self.json["code"])


class Users:
    """Asks over HTTP, with the key that is wanted."""

    def __init__(self, session: aiohttp.ClientSession, port: int, secret: str = "") -> None:
        self._session = session
        self.secret = secret
        self.port = port

    def with_key(self, secret: str) -> "Users":
        return Users(self._session, self.port, secret)

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Said:
        given = {"Authorization": f"Bearer {self.secret}"} if self.secret else {}
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self._session.request(
            method, url, headers={**given, **(headers or {})}, **options
        ) as answer:
            body = await answer.read()
            known = await answer.json(content_type=None) if "json" in answer.content_type else None
            return Said(answer.status, answer.headers.copy(), body, known)


@dataclass(frozen=True, slots=True)
class Served:
    """A server, and who asks it."""

    store: Store
    gate: Gate
    anybody: Users
    user: Users
    """With a key that may do everything a tenant may."""
    reader: Users
    key: NewKey


@asynccontextmanager
async def served(
    folder: Path,
    endpoints: Iterable[Endpoint[Any, Any]],
    *,
    requests_per_minute: int = 10_000,
    proxies: Iterable[str] = (),
) -> AsyncIterator[Served]:
    store = await Store.open(f"sqlite:///{folder / 'offhook.db'}", migrate=True)
    clock = asyncio.get_running_loop().time
    usual = Terms(requests_per_minute=requests_per_minute, max_calls=CONCURRENT_CALLS)
    gate = Gate(
        store.keys,
        Tenancy(store.tenants, usual=usual, clock=clock),
        requests=ProcessWindows(clock, seconds=MINUTE),
        failures=ProcessWindows(clock, seconds=FAILED_WITHIN),
        clock=clock,
    )
    reception = Reception(gate=gate, proxies=TrustedProxies(proxies), idempotency=store.idempotency)
    app = web.Application(middlewares=[problems])
    reception.add_to(app, endpoints)
    try:
        full, read = [await made(store, scope) for scope in (Scope.FULL, Scope.READ)]
        async with serving(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as session:
            users = Users(session, port)
            yield Served(store, gate, users, users.with_key(full.secret), users.with_key(read.secret), full)
    finally:
        await store.close()


@asynccontextmanager
async def whole_api(
    carrier: str, folder: Path, *, key: str | None = None, **options: Any
) -> AsyncIterator[tuple[House, Users]]:
    """The API of a whole house, and whoever has its first key. Calls that are left are ended at once.

    Args:
        key: of a database that has one already.
    """
    async with (
        whole_house(carrier, folder, key=key, **{"drain_s": 0.0, **options}) as house,
        aiohttp.ClientSession() as session,
    ):
        secret = key or (house.gateway.settings.data_dir / "first.key").read_text("ascii").strip()
        yield house, Users(session, house.gateway.port, secret)


async def made(store: Store, scope: Scope, tenant: str = DEFAULT_TENANT) -> NewKey:
    """A new key."""
    return await store.keys.add(tenant, scope.value, scope, datetime.now(UTC))

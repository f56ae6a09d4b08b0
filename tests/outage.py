"""Databases that go away for a while: somebody locks the file, the server hangs, the server is killed."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.postgresql_server import HOW, PostgresqlServer, binaries, running

KINDS = ("locked", "stopped", "killed")


class NoServer(Exception):
    """There is no PostgreSQL on this machine."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Where a house keeps its calls, and how that goes away."""

    database_url: str | None
    """None: in SQLite, in the house's data folder."""
    begins: Callable[[Path], AbstractAsyncContextManager[None]]
    """Given the data folder; it is over when the block is."""


@contextmanager
def outage_of(kind: str) -> Iterator[Outage]:
    """Make a database that can go away; a server is one of its own.

    Raises:
        NoServer: for kinds that need one.
    """
    if kind == "locked":
        yield Outage(None, _locked)
        return
    place = binaries()
    if place is None:
        raise NoServer(HOW)
    # What it has committed stays committed when it is killed.
    with running(place, {"synchronous_commit": "on"}) as server:
        goes = _stopped if kind == "stopped" else _killed
        yield Outage(server.url(server.create()), lambda _: goes(server))


@asynccontextmanager
async def _locked(folder: Path) -> AsyncIterator[None]:
    """Somebody else writes to the SQLite file, and does not come to an end."""
    connection = sqlite3.connect(folder / "offhook.db", isolation_level=None, check_same_thread=False)
    await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@asynccontextmanager
async def _stopped(server: PostgresqlServer) -> AsyncIterator[None]:
    with server.stopped():
        yield


@asynccontextmanager
async def _killed(server: PostgresqlServer) -> AsyncIterator[None]:
    await asyncio.to_thread(server.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)

"""Every test here runs on SQLite and on PostgreSQL, each time on a database of its own that has all tables.

def test_a_call_is_kept(stored: RunWithStore) -> None:
    async def scenario(store: Store) -> None: ...
    stored(scenario)
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from sqlalchemy import text

from control.stores.database import Database
from control.stores.migrating import upgrade
from control.stores.store import Store
from tests.conftest import RunAsync
from tests.postgresql_server import PostgresqlServer

T = TypeVar("T")

HERE = Path(__file__).parent
DATABASES = ("sqlite", "postgresql")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker has the server and its template: making them for each costs more than it saves."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == HERE and "[postgresql" in item.name:
            item.add_marker(pytest.mark.xdist_group("postgresql"))


class RunWithStore(Protocol):
    """Runs a scenario with an open store and returns its result."""

    def __call__(self, scenario: Callable[[Store], Coroutine[Any, Any, T]], /) -> T: ...


def migrated(url: str) -> None:
    async def migrate() -> None:
        database = Database(url)
        await upgrade(database)
        await database.close()

    asyncio.run(migrate())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgresqlServer) -> str:
    name = postgresql.create()
    migrated(postgresql.url(name))
    return name


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a database without tables is."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a database with all tables and no rows is."""
    if request.param == "sqlite":
        path = tmp_path / "offhook.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    name = server.create(request.getfixturevalue("postgresql_template"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def stored(database_url: str, real: RunAsync) -> RunWithStore:
    """Run with a store on that database."""

    def run(scenario: Callable[[Store], Coroutine[Any, Any, T]], /) -> T:
        async def opened() -> T:
            store = await Store.open(database_url)
            try:
                return await scenario(store)
            finally:
                await store.close()

        return real(opened())

    return run


async def somebody_waits(store: Store) -> None:
    """Return once a statement waits for the lock of another's transaction; PostgreSQL alone says so."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while True:
        async with store._database.read() as connection:
            if await connection.scalar(waiting):
                return
        await asyncio.sleep(0.01)

"""The database of the settings, as a command uses it: opened, or explained in a line."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from control.stores.database import Database
from control.stores.errors import SchemaOutdated, StoreError
from control.stores.keys import DEFAULT_TENANT
from control.stores.store import Store
from control.stores.urls import database_url
from gateway.call_house import database_of
from gateway.commands.settings import line
from gateway.commands.terminal import MISUSED, err, fail, run
from gateway.findings import check
from gateway.settings import Settings
from gateway.telemetry import configure_logging

T = TypeVar("T")

Tenant = Annotated[str, typer.Option(help="Whose.")]
TENANT = DEFAULT_TENANT


def on_store(use: Callable[[Store], Awaitable[T]]) -> T:
    """Run with the store; a database that cannot be used is said in a line."""

    async def main() -> T:
        async with _opened() as store:
            return await use(store)

    return _explained(main)


def on_database(use: Callable[[Database], Awaitable[T]], *, make: bool = False) -> T:
    """Run with the database, whatever its tables are; `make` makes the file of one that is not there."""

    async def main() -> T:
        database = Database(_url(make=make))
        try:
            return await use(database)
        finally:
            await database.close()

    return _explained(main)


def place() -> str:
    """Where the database is, without the password."""
    url = database_url(database_of(_settings()))
    if url.get_backend_name() == "sqlite":
        return f"SQLite, {url.database}"
    return f"PostgreSQL, {url.set(drivername='postgresql').render_as_string(hide_password=True)}"


def _explained(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return run(main())
    except SchemaOutdated as error:
        fail(f"{error}: `offhook db upgrade` brings it there")
    except (StoreError, OSError) as error:
        fail(f"the database cannot be used: {error}")


@asynccontextmanager
async def _opened() -> AsyncIterator[Store]:
    store = await Store.open(_url(make=False))
    try:
        yield store
    finally:
        await store.close()


def _url(*, make: bool) -> str:
    """The URL; a SQLite file that is not there is not made by looking for it."""
    text = database_of(_settings())
    url = database_url(text)
    if not make and url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        fail(f"there is no database at {url.database} yet; `offhook serve` or `offhook db upgrade` makes it")
    return text


def _settings() -> Settings:
    """The settings; of their faults only those that leave none."""
    settings, findings = check()
    if settings is None:
        for finding in findings:
            if finding.level == "error":
                err.print(line(finding))
        fail("the settings cannot be used; `offhook check` explains them", MISUSED)
    configure_logging("warning", settings.log_format)
    return settings

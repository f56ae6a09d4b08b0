"""One database: connections, transactions and time limits; SQLite and PostgreSQL look alike from here on.

Theory of operation. `read` and `write` are transactions. On PostgreSQL both come from one pool. SQLite has one
writer at a time whatever one does, so it has one writing connection here, queued for in order, which begins with
`BEGIN IMMEDIATE`: a transaction that began by reading and then wants to write cannot wait for another writer, and
fails. Readers have connections of their own and are not held up (WAL).

Every wait is bounded: for a connection, for the lock of another process, for a statement and for the whole
transaction. Whatever a database says of being away, locked or slow is `StoreUnavailable`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from control.stores.documents import dumps, loads
from control.stores.errors import StoreUnavailable
from control.stores.urls import database_url

# Seconds. A call's machine does not wait for any of them (250 ms, then its journal); they bound the rest.
CONNECT = 5.0
STATEMENT = 10.0
LOCKED = 5.0
TRANSACTION = 30.0

READERS = 4
"""Of SQLite: each is a thread."""
CONNECTIONS = 10
"""Of PostgreSQL, per process; as many again in a rush."""
FINDERS = 1
"""Of either: they answer within milliseconds, so few callers ever wait for one another."""

# Announces which positions an open transaction may still be given: the upper 16 bits say whose lock it is.
_FLOOR = 0x0FF0 << 48


class Database:
    """Gives out transactions. Owns its connections and nothing else."""

    def __init__(self, url: str) -> None:
        self.url: URL = database_url(url)
        self.postgresql = self.url.get_backend_name() == "postgresql"
        if self.postgresql:
            self._writer = self._reader = _postgresql_engine(self.url, CONNECTIONS)
            self._finder = _postgresql_engine(self.url, FINDERS)
        else:
            _make_private(self.url)
            self._writer = _sqlite_engine(self.url, 1, "BEGIN IMMEDIATE")
            self._reader = _sqlite_engine(self.url, READERS, "BEGIN", "PRAGMA query_only = ON")
            self._finder = _sqlite_engine(self.url, FINDERS, "BEGIN", "PRAGMA query_only = ON")

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()
        await self._finder.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes nothing.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        async with _available(), self._reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """`read`, of which every statement sees the same moment, whatever others commit meanwhile.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        async with self.read() as connection:
            if self.postgresql:  # SQLite knows no other transactions
                await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @asynccontextmanager
    async def find(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that reads what a call waits for: a row or two by an index, whoever else reads however much.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        async with _available(), self._finder.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end of the block unless it raises.

        Raises:
            StoreUnavailable: the database does not answer. What was asked may have been done nevertheless, if the
                answer to the commit was lost.
        """
        async with _available(), self._writer.begin() as connection:
            yield connection

    async def insert_new(
        self, connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], *returning: str
    ) -> Sequence[Any]:
        """Insert what is not there already; return these columns of the rows that were inserted."""
        statement = self.insert(table).on_conflict_do_nothing()
        if not returning:
            await connection.execute(statement, rows)
            return ()
        result = await connection.execute(statement.returning(*[table.c[name] for name in returning]), rows)
        return result.all()

    def insert(self, table: Table) -> "postgresql.Insert | sqlite.Insert":
        """An INSERT that knows ON CONFLICT."""
        return postgresql.insert(table) if self.postgresql else sqlite.insert(table)

    async def alone(self, connection: AsyncConnection, what: str) -> None:
        """Have `what` for this transaction alone, until it ends: others who want it wait. SQLite has one writer anyway.

        Two numbers are another kind of key than `announce`'s one, so neither is taken for the other.
        """
        if self.postgresql:
            await connection.execute(_ALONE, {"what": what})

    async def announce(self, connection: AsyncConnection, table: str, column: str) -> None:
        """Say, until this transaction ends, that it may yet commit rows above the last position given out so far.

        PostgreSQL gives positions when rows are inserted and shows rows when they are committed, in another order.
        `settled` is how far a reader may go without passing over one. No announcer waits for another: the lock is
        shared and taken exclusively by nobody. SQLite has one writer at a time, so there is nothing to say.
        """
        if self.postgresql:
            await connection.execute(_ANNOUNCE, {"floor": _FLOOR, "table": table, "column": column})

    async def settled(self, connection: AsyncConnection, table: str, column: str) -> int | None:
        """Return the position up to which no row will appear any more that is not there now; None: there is no end.

        The order of the two questions matters: whoever was given a position before the first one either still
        holds its lock at the second, or has ended and is seen by a statement that comes after this.
        """
        if not self.postgresql:
            return None
        last: int = await connection.scalar(_LAST_GIVEN, {"table": table, "column": column})
        lowest = await connection.scalar(_LOWEST_ANNOUNCED, {"floor": _FLOOR, "ceiling": _FLOOR + (1 << 48)})
        return last if lowest is None else min(last, lowest - _FLOOR)


_LAST = "coalesce(pg_sequence_last_value(pg_get_serial_sequence(:table, :column)::regclass), 0)"
_LAST_GIVEN = text(f"SELECT {_LAST}")
_ALONE = text("SELECT pg_advisory_xact_lock(1, hashtext(:what))")
_ANNOUNCE = text(f"SELECT pg_advisory_xact_lock_shared(CAST(:floor AS bigint) | {_LAST})")
_LOWEST_ANNOUNCED = text(
    "SELECT min((classid::bigint << 32) | objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32) | objid::bigint >= :floor AND (classid::bigint << 32) | objid::bigint < :ceiling"
)


@asynccontextmanager
async def _available() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TRANSACTION):
            yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeout, TimeoutError, OSError) as error:
        raise StoreUnavailable(_without_values(error)) from error


def _without_values(error: Exception) -> str:
    """What the driver says; not the statement, whose values may be anybody's."""
    if isinstance(error, DBAPIError):
        return f"{type(error.orig).__name__}: {error.orig}"
    return f"{type(error).__name__}: {error}"


def _postgresql_engine(url: URL, connections: int) -> AsyncEngine:
    return create_async_engine(
        url,
        isolation_level="READ COMMITTED",  # `Database.settled` counts on it
        pool_size=connections,
        max_overflow=connections,
        pool_timeout=CONNECT,
        pool_pre_ping=True,  # a server that was restarted costs a reconnect, not an error
        json_serializer=dumps,
        json_deserializer=loads,
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT,
            "command_timeout": STATEMENT,
            "server_settings": {
                "application_name": "offhook",
                # A process that dies between two statements holds its locks no longer than this.
                "idle_in_transaction_session_timeout": f"{int(TRANSACTION * 1000)}",
            },
        },
    )


def _sqlite_engine(url: URL, connections: int, begin: str, *more: str) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=TRANSACTION,
        json_serializer=dumps,
        json_deserializer=loads,
        hide_parameters=True,
    )
    pragmas = (
        f"PRAGMA busy_timeout = {int(LOCKED * 1000)}",
        "PRAGMA journal_mode = WAL",
        # A killed process loses nothing; a machine that loses power may lose the last transactions, never the file.
        "PRAGMA synchronous = NORMAL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA cache_size = -16000",
        *more,
    )

    def connected(connection: Any, record: object) -> None:  # noqa: ANN401  # the driver's
        connection.isolation_level = None  # transactions begin as we say, not as the driver guesses
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    def interrupted(context: ExceptionContext) -> None:
        # Whoever waited was called off; the connection's own thread has done, or will do, as it was asked. SQLAlchemy
        # would throw the connection away, perhaps with a transaction in it that locks the file until it is collected:
        # it is rolled back and used again instead.
        if isinstance(context.original_exception, asyncio.CancelledError):
            context.is_disconnect = False

    event.listen(engine.sync_engine, "handle_error", interrupted)
    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _make_private(url: URL) -> None:
    """Make the file before SQLite does: it holds what callers said."""
    path = Path(str(url.database))
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))

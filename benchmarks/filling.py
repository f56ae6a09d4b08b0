"""Puts a year of calls into a database: the rows that the store writes, many at a time, indexed afterwards.

PostgreSQL takes them by COPY, its index of words from a table of its own in one statement.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import asyncpg
from sqlalchemy import Table, func, insert, select, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.year_of_calls import TENANT
from control.call_record import CallRecord
from control.stores.call_rows import details_of, row_of
from control.stores.database import Database
from control.stores.search import Search
from control.stores.tables import call_details, calls, turns

TABLES = ("calls", "call_details", "turns", "call_search")
_STAGES = [column.name for column in turns.columns if column.name.endswith("_ms")]
_DIALECT = asyncpg_dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's, untyped
_WORDS = "benchmark_words"

_INDEXES = {
    # But for those of constraints, which nobody drops by themselves.
    True: "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = :name AND schemaname = current_schema()"
    " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = indexname)",
    False: "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :name AND sql IS NOT NULL",
}


async def kept(database: Database) -> int:
    """How many of these calls are there."""
    query = select(func.count()).select_from(calls).where(calls.c.tenant_id == TENANT)
    async with database.read() as connection:
        return int(await connection.scalar(query) or 0)


class Filling:
    """Takes the calls a chunk at a time, numbered from 1. Driven from within `filling`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._search = Search(database)
        self._next = 1

    async def write(self, records: Sequence[CallRecord]) -> None:
        """Write a chunk in one transaction."""
        numbered = list(enumerate(records, self._next))
        self._next += len(records)
        rows = (
            (calls, [{"id": number, **row_of(each)} for number, each in numbered]),
            (call_details, [row for each in records if (row := details_of(each))]),
            (turns, list(_turns(numbered))),
        )
        words = [entry for number, each in numbered if (entry := self._search.entry(number, each))]
        async with self._database.write() as connection:
            for table, values in rows:
                await self._put(connection, table, values)
            if self._database.postgresql:
                pairs = [(each["number"], each["kept"]) for each in words]
                await _copy(connection, _WORDS, ["rowid", "words"], pairs)
            else:
                await connection.execute(self._search.insertion(), words)

    async def _put(self, connection: AsyncConnection, table: Table, values: list[dict[str, Any]]) -> None:
        if not self._database.postgresql:
            await connection.execute(insert(table), values)
            return
        columns = [table.c[name] for name in values[0]]
        kinds = [column.type.dialect_impl(_DIALECT).bind_processor(_DIALECT) for column in columns]
        rows = [
            tuple(
                value if kind is None else kind(value)
                for value, kind in zip(row.values(), kinds, strict=True)
            )
            for row in values
        ]
        await _copy(connection, table.name, [column.name for column in columns], rows)


def _turns(numbered: Iterable[tuple[int, CallRecord]]) -> Iterable[dict[str, Any]]:
    for number, record in numbered:
        for place, turn in enumerate(record.latency_turns):
            yield {"call": number, "turn": place, **{stage: turn[stage] for stage in _STAGES}}


async def _copy(
    connection: AsyncConnection, table: str, columns: list[str], rows: list[tuple[Any, ...]]
) -> None:
    raw = await connection.get_raw_connection()
    assert raw.driver_connection is not None
    await raw.driver_connection.copy_records_to_table(table, columns=columns, records=rows)


@asynccontextmanager
async def filling(database: Database) -> AsyncIterator[Filling]:
    """Take the indexes away meanwhile, and make them again, those of words included, when all is written."""
    definitions = [each for table in TABLES for each in await _indexes(database, table)]
    begin = [f'DROP INDEX "{name}"' for name, _ in definitions]
    end = [definition for _, definition in definitions]
    if database.postgresql:
        begin.append(f"CREATE UNLOGGED TABLE {_WORDS} (rowid BIGINT, words TEXT[])")
        end = [
            f"INSERT INTO call_search (rowid, words) SELECT rowid, array_to_tsvector(words) FROM {_WORDS}",
            f"DROP TABLE {_WORDS}",
            "SELECT setval(pg_get_serial_sequence('calls', 'id'), max(id)) FROM calls",
            "SET maintenance_work_mem = '512MB'",
            *end,
        ]
    await _patiently(database, begin)
    yield Filling(database)
    await _patiently(database, end)


async def _indexes(database: Database, table: str) -> list[tuple[str, str]]:
    async with database.read() as connection:
        found = await connection.execute(text(_INDEXES[database.postgresql]), {"name": table})
        return [(str(name), str(definition)) for name, definition in found]


async def _patiently(database: Database, statements: Iterable[str]) -> None:
    """Execute what takes longer than the store waits for anything."""
    if database.postgresql:
        where = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(where)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()
        return
    with closing(sqlite3.connect(str(database.url.database))) as file:
        for statement in statements:
            file.execute(statement)
            file.commit()

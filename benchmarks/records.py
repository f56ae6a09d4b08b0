"""Lists, searches and sums over a year of calls: how long they take on each database, and by which plans.

Run as `python -m benchmarks.records`: makes a million calls in a SQLite file and in a PostgreSQL server of its own
(from the binaries that are installed), both thrown away afterwards, and asks them through the store as the API does.
`--url` names databases to use and keep instead; they are filled first if they hold none of these calls.
"""

import argparse
import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from benchmarks import filling, year_of_calls
from benchmarks.record_questions import Question, lists, month_sums, year_sums
from benchmarks.record_report import Figure, show, write
from benchmarks.report import surroundings
from control.stores.database import Database
from control.stores.migrating import upgrade
from control.stores.store import Store
from tests.postgresql_server import HOW, binaries, running

# Milliseconds: what is wanted of every first page, and of a month's sums, at the 95th percentile. Of a year's, no
# more than that they come before the store's own time limit.
PAGE_WANTED = 100.0
MONTH_WANTED = 500.0
YEAR_WANTED = 10_000.0

# A server of 512 MB beside a million calls is a small one.
_SERVER = {"shared_buffers": "512MB", "work_mem": "16MB"}


async def measure(url: str, rounds: int, console: Console, *, year: bool) -> list[Figure]:
    store, database = await Store.open(url), Database(url)
    figures = []
    try:
        for questions, times, wanted in (
            (lists(), rounds, PAGE_WANTED),
            (month_sums(), max(1, rounds // 3), MONTH_WANTED),
            (year_sums() if year else [], max(1, rounds // 12), YEAR_WANTED),
        ):
            for name, question in questions:
                figures.append(await _figure(store, database, name, question, times, wanted))
                console.print(f"{figures[-1].p95_ms:8.1f} ms  {name}")
        return figures
    finally:
        await store.close()
        await database.close()


async def _figure(
    store: Store, database: Database, name: str, question: Question, rounds: int, wanted: float
) -> Figure:
    # The same for each database, whatever was asked before.
    chance = random.Random(name)
    with _statements() as seen:
        await question(store, chance)
    took, rows = [], []
    busy = time.process_time()
    for _ in range(rounds):
        before = time.perf_counter()
        rows.append(await question(store, chance))
        took.append((time.perf_counter() - before) * 1000)
    busy = time.process_time() - busy
    took.sort()
    return Figure(
        question=name,
        rounds=rounds,
        p50_ms=round(took[-(-len(took) // 2) - 1], 2),
        p95_ms=round(took[-(-95 * len(took) // 100) - 1], 2),
        max_ms=round(took[-1], 2),
        cpu_ms=round(busy * 1000 / rounds, 2),
        rows=round(sum(rows) / len(rows), 1),
        wanted_ms=wanted,
        plan=await _plan(database, *seen[-1]),
    )


@contextmanager
def _statements() -> Iterator[list[tuple[str, Any]]]:
    """Collect what is sent to databases meanwhile, but for how transactions begin."""
    seen: list[tuple[str, Any]] = []

    def sent(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:  # noqa: ANN401  # theirs
        if statement.startswith(("SELECT", "WITH")):
            seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", sent)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", sent)


async def _plan(database: Database, statement: str, parameters: Any) -> list[str]:  # noqa: ANN401  # the driver's
    """Return how the database goes about it, line by line."""
    explain = "EXPLAIN" if database.postgresql else "EXPLAIN QUERY PLAN"
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql(f"{explain} {statement}", parameters)).all()
    return [str(row[-1]) for row in rows]


async def prepare(url: str, count: int, console: Console) -> None:
    """Make the tables and fill them, unless they are filled."""
    database = Database(url)
    try:
        await upgrade(database)
        there = await filling.kept(database)
        if there not in (0, count):
            raise SystemExit(f"the database holds {there:,} of these calls, not {count:,}: use another")
        if not there:
            await _fill(database, count, console)
        if database.postgresql:
            # As autovacuum would within minutes. SQLite is left as the gateway leaves it.
            async with database.write() as connection:
                for table in filling.TABLES:
                    await connection.execute(text(f"ANALYZE {table}"))
    finally:
        await database.close()


async def _fill(database: Database, count: int, console: Console) -> None:
    with Progress(console=console) as progress:
        task = progress.add_task("calls written", total=count)
        async with filling.filling(database) as calls:
            for chunk in year_of_calls.year(count):
                await calls.write(chunk)
                progress.advance(task, len(chunk))
            console.print("making the indexes")


@contextmanager
def databases(urls: Sequence[str], kinds: Sequence[str], console: Console) -> Iterator[list[str]]:
    """Where to measure: what was named, or databases that are gone afterwards."""
    if urls:
        yield list(urls)
        return
    with tempfile.TemporaryDirectory(prefix="offhook-records-") as folder:
        own = [f"sqlite:///{Path(folder) / 'records.db'}"] if "sqlite" in kinds else []
        place = binaries() if "postgresql" in kinds else None
        if place is None:
            if "postgresql" in kinds:
                console.print(HOW)
            yield own
            return
        with running(place, _SERVER) as server:
            yield [*own, server.url(server.create())]


async def _version(database: Database) -> str:
    if not database.postgresql:
        return f"SQLite {sqlite3.sqlite_version}"
    async with database.read() as connection:
        version = str(await connection.scalar(text("SHOW server_version")))
    return f"PostgreSQL {version.split()[0]}"


async def run(url: str, options: argparse.Namespace, console: Console) -> None:
    await prepare(url, options.calls, console)
    figures = await measure(url, options.rounds, console, year=options.year)
    database = Database(url)
    kind = "postgresql" if database.postgresql else "sqlite"
    facts = {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"python -m benchmarks.records --calls {options.calls} --rounds {options.rounds}"
        + (" --year" if options.year else ""),
        "database": await _version(database),
        **surroundings("sqlalchemy", "aiosqlite", "asyncpg"),
    }
    await database.close()
    show(f"{facts['database']}, {options.calls:,} calls", figures, console)
    if options.name != "-":
        write(f"{options.name}-{kind}", facts, figures)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.records", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60, help="of each list; fewer of what takes longer")
    parser.add_argument("--year", action="store_true", help="ask for sums of the whole year, too")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--url", action="append", default=[], help="a database to use and keep; repeatable")
    parser.add_argument("--name", default="records", help="of the results files; '-' writes none")
    options = parser.parse_args(words)
    console = Console(stderr=True)
    with databases(options.url, options.databases.split(","), console) as urls:
        for url in urls:
            asyncio.run(run(url, options, console))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Transactions: whoever is called off in the middle of one leaves the database to the others."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text

from control.stores import urls
from control.stores.database import CONNECTIONS, LOCKED, READERS, Database
from tests.conftest import RunAsync
from tests.patience import PATIENCE

pytestmark = pytest.mark.sockets


def test_a_writer_called_off_at_any_moment_leaves_the_database_free(
    database_url: str, real: RunAsync
) -> None:
    async def scenario() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        database = Database(database_url)
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE pairs (place INTEGER)"))

        async def write(place: int) -> None:
            async with database.write() as connection:
                for _ in range(2):
                    await connection.execute(text("INSERT INTO pairs VALUES (:place)"), {"place": place})

        longest = 0.0
        for round_ in range(60):
            # Three at once, so that some wait for the connection, some for the driver, and one has nearly finished.
            writers = [asyncio.create_task(write(round_)) for _ in range(3)]
            for _ in range(round_):
                await asyncio.sleep(0)
            for _ in range(2):  # an impatient owner asks twice, and again while the first is being tidied up
                for writer in writers:
                    writer.cancel()
                await asyncio.sleep(0)
            await asyncio.gather(*writers, return_exceptions=True)
            before = loop.time()
            await write(-1)
            longest = max(longest, loop.time() - before)
        async with database.read() as connection:
            odd = "SELECT count(*) FROM (SELECT place FROM pairs GROUP BY place HAVING count(*) % 2 = 1) AS halves"
            halves = await connection.scalar(text(odd))
        await database.close()
        return longest, halves

    longest, halves = real(scenario())
    assert longest < LOCKED, "the next writer waited for a lock that nobody was left to give back"
    assert halves == 0


def test_a_snapshot_sees_one_moment_and_the_next_transaction_the_present(
    database_url: str, real: RunAsync
) -> None:
    async def scenario() -> list[int]:
        database = Database(database_url)
        count, add = text("SELECT count(*) FROM places"), text("INSERT INTO places VALUES (1)")
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE places (place INTEGER)"))
        seen = []
        async with database.snapshot() as snapshot:
            seen.append(await snapshot.scalar(count))
            async with database.write() as connection:
                await connection.execute(add)
            seen.append(await snapshot.scalar(count))
        for _ in range(2):  # on the connection that the snapshot had
            async with database.read() as connection:
                seen.append(await connection.scalar(count))
                async with database.write() as other:
                    await other.execute(add)
                if database.postgresql:
                    seen.append(await connection.scalar(count))
        await database.close()
        return seen

    seen = real(scenario())
    assert seen in ([0, 0, 1, 2, 2, 3], [0, 0, 1, 2])


def test_what_a_call_waits_for_is_found_while_everybody_reads(database_url: str, real: RunAsync) -> None:
    async def scenario() -> int:
        database = Database(database_url)
        readers = 2 * CONNECTIONS if database.postgresql else READERS
        async with AsyncExitStack() as stack:
            for _ in range(readers):
                await stack.enter_async_context(database.read())
            async with asyncio.timeout(PATIENCE):
                async with database.find() as connection:
                    found: int = await connection.scalar(text("SELECT 7"))
        await database.close()
        return found

    assert real(scenario()) == 7


@pytest.mark.parametrize(
    ("query", "given"),
    [
        ("", {}),
        ("?sslmode=verify-full", {"ssl": "verify-full"}),
        ("?ssl=require", {"ssl": "require"}),
        ("?host=/run/postgresql", {"host": "/run/postgresql"}),
    ],
)
def test_a_postgresql_url_may_say_how_it_is_reached(query: str, given: dict[str, str]) -> None:
    assert urls.database_url(f"postgresql://offhook@db/offhook{query}").query == given


@pytest.mark.parametrize(
    "query", ["application_name=x", "sslmode=perhaps", "sslmode=require&sslmode=disable"]
)
def test_a_parameter_that_the_driver_would_fall_over_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="a PostgreSQL URL"):
        urls.database_url(f"postgresql://offhook:secret@db/offhook?{query}")

"""A process that is killed while it makes or changes the tables leaves them as they were; the next one does it all."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from control.stores.database import Database
from control.stores.migrating import check_schema, head, upgrade
from control.stores.store import Store
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]

# Migrates until it has carried out so many statements, says so, and waits for its end.
PROCESS = """
import asyncio, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from control.stores.database import Database
from control.stores.migrating import upgrade

left = int(sys.argv[2])

def stop():
    print("there", flush=True)
    signal.pause()

@event.listens_for(Engine, "after_cursor_execute")
def count(*_):
    global left
    left -= 1
    if left == 0:
        stop()

@event.listens_for(Engine, "commit")
def commit(_):
    if left > 0:
        stop()

asyncio.run(upgrade(Database(sys.argv[1])))
"""


def statements(url: str) -> int:
    """How many statements a whole migration is."""
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1

    event.listen(Engine, "after_cursor_execute", count)
    try:
        migrate(url)
    finally:
        event.remove(Engine, "after_cursor_execute", count)
    return seen


def migrate(url: str) -> list[str]:
    async def main() -> list[str]:
        database = Database(url)
        try:
            return await upgrade(database)
        finally:
            await database.close()

    return asyncio.run(main())


def kill_after(url: str, number: int) -> None:
    """Migrate in a process of its own, and kill it when it has got so far."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, url, str(number)], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


@pytest.mark.sockets
def test_killed_anywhere_it_is_done_from_the_beginning(empty_url: str, tmp_path: Path) -> None:
    whole = statements(f"sqlite:///{tmp_path / 'other.db'}")
    assert whole > 50
    for number in (1, whole // 2, 10 * whole):  # the last is stopped before its commit
        kill_after(empty_url, number)
    assert migrate(empty_url)[-1] == head()
    asyncio.run(_opens(empty_url))


async def _opens(url: str) -> None:
    database = Database(url)
    await check_schema(database)
    await database.close()
    store = await Store.open(url)
    assert await store.live_calls() == []
    await store.close()

"""Brings a database's tables to this release, whoever asks and however many at once.

The revisions are in `migrations/versions`, run by Alembic in one transaction: a process killed in the middle leaves
the tables as they were. Two that start together wait for one another, and the second finds nothing to do.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from control.stores.database import Database
from control.stores.errors import SchemaOutdated

MIGRATIONS = Path(__file__).with_name("migrations")

# Alembic has one set of operations per process, whichever database it works on: one migration at a time on each loop.
_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

# Any number that nobody else locks in the same database.
_LOCK = 0x0FF0_0FF0


async def upgrade(database: Database, revision: str = "head") -> list[str]:
    """Bring the tables to this release; return the revisions that were applied, none if they are there already.

    Args:
        revision: an earlier one, to stop at.

    Raises:
        SchemaOutdated: the database is of a later release, which this one does not know.
        StoreUnavailable: it cannot be reached, or another process holds it for too long.
    """
    turn = _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with turn, database.write() as connection:
        if database.postgresql:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        return await connection.run_sync(_upgrade, revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """Which revision a database's tables are at."""

    found: str | None
    """None: it has no tables."""
    wanted: str
    missing: tuple[str, ...]
    """The revisions that it lacks, in order; none of one that this release does not know."""

    @property
    def current(self) -> bool:
        return self.found == self.wanted


async def schema_state(database: Database) -> SchemaState:
    """Return where a database's tables are."""
    async with database.read() as connection:
        found = await connection.run_sync(_current)
    script = _script()
    known = found is None or found in {revision.revision for revision in script.walk_revisions()}
    missing = [each.revision for each in script.iterate_revisions("head", found or "base")] if known else []
    return SchemaState(found=found, wanted=head(), missing=tuple(reversed(missing)))


async def check_schema(database: Database) -> None:
    """Make sure that the tables are those of this release.

    Raises:
        SchemaOutdated: they are not.
    """
    state = await schema_state(database)
    if not state.current:
        raise SchemaOutdated(state.found, state.wanted)


def head() -> str:
    """Return the revision of this release."""
    revision = _script().get_current_head()
    assert revision is not None
    return revision


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, revision: str) -> list[str]:
    script = _script()
    known = {revision.revision for revision in script.walk_revisions()}
    current = _current(connection)
    if current is not None and current not in known:
        raise SchemaOutdated(current, head())
    applied: list[str] = []

    def steps(heads: Any, context: MigrationContext) -> list[RevisionStep]:  # noqa: ANN401  # Alembic's
        missing = list(script.iterate_revisions(revision, heads or "base"))
        applied.extend(each.revision for each in reversed(missing))
        return [RevisionStep(script.revision_map, each, is_upgrade=True) for each in reversed(missing)]

    context = MigrationContext.configure(connection, opts={"fn": steps, "transactional_ddl": True})
    with Operations.context(context):
        context.run_migrations()
    return applied

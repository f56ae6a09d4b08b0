"""Where the database is: URLs as people write them, made those of the drivers that we use.

sqlite:////var/lib/offhook/offhook.db      a file by its absolute path (four slashes), or sqlite:///relative.db
postgresql://user:password@host/name       a server; a Unix socket as ?host=/run/postgresql
"""

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}


def database_url(text: str) -> URL:
    """Return the URL with its driver.

    Raises:
        ValueError: it is no URL of a database that we know. The message holds no part of it, for it may be secret.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("a database URL is sqlite:///path or postgresql://user@host/name") from None
    backend, _, driver = url.drivername.partition("+")
    wanted = _DRIVERS.get(backend)
    if wanted is None or driver not in ("", wanted.partition("+")[2]):
        raise ValueError("a database URL begins with sqlite:/// or postgresql://")
    if backend == "sqlite" and (not url.database or url.database == ":memory:" or "mode" in url.query):
        # Readers and the writer have connections of their own; in memory each would see a database of its own.
        raise ValueError("a SQLite URL names a file: sqlite:///path")
    return url.set(drivername=wanted)


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string()

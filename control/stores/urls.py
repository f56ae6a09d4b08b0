"""Where the database is: URLs as people write them, made those of the drivers that we use.

sqlite:////var/lib/offhook/offhook.db      a file by its absolute path (four slashes), or sqlite:///relative.db
postgresql://user:password@host/name       a server; a Unix socket as ?host=/run/postgresql
postgresql://user@host/name?sslmode=verify-full     with TLS, as for libpq
"""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}

# What a PostgreSQL URL may say besides, as libpq names it, by asyncpg's name.
_PARAMETERS = {"host": "host", "port": "port", "sslmode": "ssl", "ssl": "ssl"}
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})


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
    if backend != "sqlite":
        url = url.set(query=_for_asyncpg(url.query))
    return url.set(drivername=wanted)


def _for_asyncpg(query: Mapping[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
    if set(query) - set(_PARAMETERS):
        raise ValueError(f"a PostgreSQL URL may have the parameters {', '.join(sorted(_PARAMETERS))}")
    if not {query.get("sslmode", "prefer"), query.get("ssl", "prefer")} <= _SSL_MODES:
        raise ValueError(f"sslmode of a PostgreSQL URL is one of {', '.join(sorted(_SSL_MODES))}")
    return {_PARAMETERS[name]: value for name, value in query.items()}


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string()

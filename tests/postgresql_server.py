"""A PostgreSQL server of the tests' own: made from the installed binaries, private, thrown away afterwards.

It listens on a Unix socket only and keeps nothing it could lose (no fsync). It refuses to run as root, so root
starts it as `postgres`, the user that the distribution made for it.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import asyncpg

HOW = "no PostgreSQL server is installed (apt-get install postgresql)"

_SETTINGS = {
    "listen_addresses": "''",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
}


def binaries() -> Path | None:
    """Where `initdb` and its kin are; None if nowhere."""
    found = shutil.which("initdb")
    # Debian keeps those of each version apart and off the path.
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    usable = [place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()]
    return usable[-1] if usable and _owner() is not None else None


def _owner() -> str | None:
    """Whom the server runs as; None if there is nobody."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid()).pw_name
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


class PostgresqlServer:
    """Makes databases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def create(self, template: str = "template1") -> str:
        """Make a database, as a copy of another one that nobody is connected to; return its name."""
        self._made += 1
        name = f"offhook_{self._made}"
        asyncio.run(self._execute(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return name

    def drop(self, name: str) -> None:
        asyncio.run(self._execute(f"DROP DATABASE {name} WITH (FORCE)"))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(host=str(self.folder), user="postgres", database="postgres")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def running(place: Path, settings: Mapping[str, str] | None = None) -> Iterator[PostgresqlServer]:
    """Run a server from the binaries at `place` until the end of the block, with these settings besides ours."""
    owner = _owner()
    assert owner is not None
    # Not pytest's own folder: the path of a socket is short, and its owner somebody else.
    folder = Path(tempfile.mkdtemp(prefix="offhook-pg-"))
    user = owner if os.getuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [place / program, *arguments],
            check=True,
            user=user,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    data, log = str(folder / "data"), str(folder / "log")
    options = " ".join(f"-c {name}={value}" for name, value in {**_SETTINGS, **(settings or {})}.items())
    try:
        run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N")
        run("pg_ctl", "-D", data, "-l", log, "-o", f"-k {folder} {options}", "-w", "start")
        try:
            yield PostgresqlServer(folder)
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)

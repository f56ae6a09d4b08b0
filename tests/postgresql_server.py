"""A PostgreSQL server of the tests' own: made from the installed binaries, private, thrown away afterwards.

It listens on a Unix socket only and keeps nothing it could lose (no fsync). It refuses to run as root, so root
starts it as `postgres`, the user that the distribution made for it.
"""

import asyncio
import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg

from tests.patience import PATIENCE

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


def _signal(process: int, what: signal.Signals) -> None:
    """Tell a process something, if it is there: one of the server's may end by itself at any moment."""
    with suppress(ProcessLookupError):
        os.kill(process, what)


def _await_end(process: int) -> None:
    """Wait until a process that was killed is gone."""
    try:
        watch = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([watch], [], [], PATIENCE)
        assert ended, f"process {process} does not end"
    finally:
        os.close(watch)


def _owner() -> str | None:
    """Whom the server runs as; None if there is nobody."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid()).pw_name
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


class PostgresqlServer:
    """Makes databases, and can be interrupted."""

    def __init__(self, folder: Path, place: Path, owner: str, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._place = place
        self._owner = owner
        self._settings = settings
        self._made = 0

    # What is asked of its programs

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._place / program, *arguments],
            check=True,
            user=self._owner if os.getuid() == 0 else None,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
        )

    def start(self) -> None:
        """Begin, or begin again where it was killed."""
        options = " ".join(f"-c {name}={value}" for name, value in self._settings.items())
        self.run("pg_ctl", "-D", "data", "-l", "log", "-o", f"-k {self.folder} {options}", "-w", "start")

    # What befalls it

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It neither works nor hangs up: as a machine that swaps, or a network that swallows."""
        processes = self._processes()
        for process in processes:
            _signal(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                _signal(process, signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word; `start` brings it back."""
        processes = self._processes()
        for process in processes:
            _signal(process, signal.SIGKILL)
        for process in processes:
            _await_end(process)

    def _processes(self) -> list[int]:
        """The server and everyone it has started."""
        leader = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        return [leader, *map(int, children)]

    # Databases

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
    if os.getuid() == 0:
        shutil.chown(folder, owner)
    server = PostgresqlServer(folder, place, owner, {**_SETTINGS, **(settings or {})})
    try:
        server.run("initdb", "-D", "data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N")
        server.start()
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)

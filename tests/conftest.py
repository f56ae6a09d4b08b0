"""How async tests run: `virtual` on virtual time, `real` on real time for what needs kernel sockets.

    def test_a_frame_leaves_every_20_ms(virtual: RunAsync) -> None:
        async def scenario() -> None: ...
        virtual(scenario())

Both fixtures are stateless functions of session scope, so hypothesis tests may use them too.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import structlog
import uvloop
from hypothesis import settings

from tests.hot_path import modules
from tests.patience import WHOLE_TEST
from tests.postgresql_server import HOW, PostgresqlServer, binaries, running
from tests.virtual_time import raise_strays, run_virtual

# An example that takes long here says something about this machine, not about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

T = TypeVar("T")

# Bytes of memory that must be free for them.
ROOM = 2 << 30

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--compiled", action="store_true", help="fail unless the hot path is compiled (`make test-compiled`)"
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """A run that means to test what was compiled must not quietly test the sources."""
    if not session.config.getoption("compiled"):
        return
    if interpreted := [name for name in modules() if not _compiled(name)]:
        raise pytest.UsageError(f"not compiled: {', '.join(interpreted)}")


def _compiled(name: str) -> bool:
    return str(import_module(name).__file__).endswith(tuple(EXTENSION_SUFFIXES))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that must not run beside each other would do so, and mostly pass, where their group is forgotten."""
    if not getattr(config.option, "loadgroup", False):
        return
    if lost := [
        item.nodeid for item in items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid
    ]:
        raise pytest.UsageError(f"this pytest makes pytest-xdist forget the group of {lost}")


def pytest_configure() -> None:
    """Files of tests are kept in memory where there is room: a disk that others write to stalls a database's fsync for
    longer than a call waits for it."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: a test on real time waits for more than half of it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + cores // 2


@pytest.fixture(autouse=True)
def _log_to_nobody_elses_stream() -> Iterator[None]:
    """A command run in this process logs to a stream that is closed behind it: the next test must not."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


class RunAsync(Protocol):
    """Runs a coroutine to its end on a fresh loop and returns its result."""

    def __call__(self, main: Coroutine[Any, Any, T], /) -> T: ...


@pytest.fixture(scope="session")
def virtual() -> RunAsync:
    """Run on virtual time; see `tests.virtual_time`."""
    return run_virtual


@pytest.fixture(scope="session")
def real() -> RunAsync:
    """Run on real time under uvloop, as the gateway does. For tests marked `sockets`."""
    return _on(LOOPS["uvloop"])


@pytest.fixture(scope="session", params=sorted(LOOPS))
def each_loop(request: pytest.FixtureRequest) -> RunAsync:
    """`real`, once per kind of loop: for code that touches transports itself."""
    return _on(LOOPS[request.param])


def _on(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> RunAsync:
    def run(main: Coroutine[Any, Any, T], /) -> T:
        strays: list[dict[str, Any]] = []

        async def watched() -> T:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: strays.append(context))
            async with asyncio.timeout(WHOLE_TEST):
                return await main

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            result = runner.run(watched())
        raise_strays(strays)
        return result

    return run


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The tests' own server."""
    place = binaries()
    if place is None:
        pytest.skip(HOW)
    with running(place) as server:
        yield server

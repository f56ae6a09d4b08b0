"""An asyncio loop on virtual time: it jumps to the next timer when nothing is ready, so no test ever waits.

Time stands still while the world outside owes a result: an executor's job, a child process, a kernel socket
registered with the selector (a listening one owes nothing until somebody connects). The loop then really
blocks in the selector, `PATIENCE` at most. When there is nothing to wait for at all, neither a timer nor
the world, the test is stuck: `Deadlock` says which tasks wait where, instead of hanging.

Raw threads that call back into the loop must be announced with `VirtualTimeLoop.outside_work`.
"""

import asyncio
import os
import selectors
import socket
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple, cast

from tests.patience import PATIENCE

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_ASYNCIO = os.path.dirname(asyncio.__file__)


class Deadlock(RuntimeError):
    """Nothing will ever happen again on this loop, yet somebody waits."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop whose clock is moved by its timers alone; it starts at 0.

    Driven like any loop, by `asyncio.Runner(loop_factory=VirtualTimeLoop)`. It never sleeps for a timer.
    """

    def __init__(self) -> None:
        self._virtual_now = 0.0
        self._owed = 0
        self._children: list[asyncio.SubprocessTransport] = []
        self._own: frozenset[int] = frozenset()
        self._selector_of_ours = _StandingSelector(self._wait, self._stood_still)
        super().__init__(self._selector_of_ours)
        self._own = frozenset(self._registered())  # the pipe by which other threads wake the loop

    def time(self) -> float:
        return self._virtual_now

    @contextmanager
    def outside_work(self) -> Iterator[None]:
        """Time stands still in here: somebody outside the loop owes it a call back."""
        self._owed += 1
        try:
            yield
        finally:
            self._owed -= 1

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        job = super().run_in_executor(executor, func, *args)
        self._owed += 1
        job.add_done_callback(self._job_done)
        return job

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:  # the base has ten overloads
        transport, protocol = await super().subprocess_exec(*args, **options)
        self._children.append(transport)
        return transport, protocol

    async def subprocess_shell(self, *args: Any, **options: Any) -> Any:
        transport, protocol = await super().subprocess_shell(*args, **options)
        self._children.append(transport)
        return transport, protocol

    async def shutdown_default_executor(self, *timeout: float | None) -> None:
        with self.outside_work():  # the base joins the pool from a raw thread
            await super().shutdown_default_executor(*timeout)

    def _job_done(self, _: asyncio.Future[Any]) -> None:
        self._owed -= 1

    def _wait(self, timeout: float | None) -> float:
        """How long the selector may really block before the loop goes on; moves time when it need not."""
        if timeout is not None and timeout <= 0:
            return 0.0
        if self._world_owes():
            return PATIENCE
        if timeout is None:
            raise Deadlock(self._who_waits("nothing is scheduled and nothing outside is at work"))
        # The loop's heap of timers: the base computes `timeout` from its head; adding it up again would miss
        # the very instant by a rounding.
        self._virtual_now = max(self._virtual_now, cast(Any, self)._scheduled[0].when())
        return 0.0

    def _stood_still(self) -> Deadlock:
        return Deadlock(self._who_waits(f"virtual time stood still for {PATIENCE:g} s: {self._debtors()}"))

    def _world_owes(self) -> bool:
        self._children = [child for child in self._children if child.get_returncode() is None]
        return bool(self._owed or self._children or self._open_sockets())

    def _open_sockets(self) -> list[int]:
        return [fd for fd in self._registered() if fd not in self._own and not _listening(fd)]

    def _registered(self) -> list[int]:
        return [key.fd for key in self._selector_of_ours.get_map().values()]

    def _debtors(self) -> str:
        return (
            f"{self._owed} jobs, {len(self._children)} children, sockets {self._open_sockets()} owe a result"
        )

    def _who_waits(self, why: str) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        return f"at {self._virtual_now:.6f} s {why}; waiting: " + (
            "; ".join(f"{task.get_name()} {_where(task)}" for task in tasks) or "no task"
        )


class _StandingSelector(selectors.DefaultSelector):
    """Asks the loop how long it may block; never blocks for a timer."""

    def __init__(self, wait: Callable[[float | None], float], stood_still: Callable[[], Deadlock]) -> None:
        super().__init__()
        self._wait = wait
        self._stood_still = stood_still

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:  # what has happened already comes before any timer
            return ready
        patience = self._wait(timeout)
        if patience > 0:
            ready = super().select(patience)
            if not ready:
                raise self._stood_still()
        return ready


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a fresh virtual loop; an error in any callback or forgotten task fails the test too."""
    strays: list[dict[str, Any]] = []

    async def watched() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: strays.append(context))
        return await main

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        result = runner.run(watched())
    raise_strays(strays)
    return result


def raise_strays(strays: list[dict[str, Any]]) -> None:
    """Raise what a loop's exception handler collected, if anything."""
    if strays:
        cause = strays[0].get("exception")
        raise AssertionError(f"{len(strays)} errors outside the test: {strays}") from cause


def _where(task: asyncio.Task[Any]) -> str:
    """The innermost line of the task that is not asyncio's own."""
    line = "not started"
    waiting: Any = task.get_coro()
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        if not frame.f_code.co_filename.startswith(_ASYNCIO):
            line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        waiting = waiting.cr_await
    return f"({line})"


def _listening(fd: int) -> bool:
    try:
        probe = socket.socket(fileno=fd)
    except OSError:  # a pipe or a file: not a socket at all
        return False
    try:
        return bool(probe.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    finally:
        probe.detach()

"""The virtual loop itself: jumps when it may, stands still when it must, never hangs."""

import asyncio
import socket
import sys
import threading
import time

import pytest

from tests.conftest import RunAsync
from tests.virtual_time import Deadlock


def slow_answer() -> str:
    time.sleep(0.02)
    return "done"


def test_an_hour_of_timers_takes_no_time(virtual: RunAsync) -> None:
    async def scenario() -> float:
        for _ in range(3600):
            await asyncio.sleep(1.0)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert virtual(scenario()) == 3600.0
    assert time.monotonic() - began < 5.0


def test_a_timer_fires_at_its_very_instant(virtual: RunAsync) -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        fired: list[float] = []
        for instant in (0.1, 0.3, 1 / 3, 5.0, 86400.02):
            loop.call_at(instant, lambda: fired.append(loop.time()))
        await asyncio.sleep(90000.0)
        return fired

    assert virtual(scenario()) == [0.1, 0.3, 1 / 3, 5.0, 86400.02]


def test_a_deadlock_names_who_waits(virtual: RunAsync) -> None:
    async def waits_forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match=r"at 0\.000000 s nothing is scheduled.*test_virtual_time\.py"):
        virtual(waits_forever())


def test_time_stands_still_while_an_executor_works(virtual: RunAsync) -> None:
    async def scenario() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(5.0, lambda: None)
        answer = await loop.run_in_executor(None, slow_answer)
        timer.cancel()
        return answer, loop.time()

    assert virtual(scenario()) == ("done", 0.0)


def test_time_stands_still_while_a_thread_works(virtual: RunAsync) -> None:
    async def scenario() -> float:
        async with asyncio.timeout(0.001):
            await asyncio.to_thread(time.sleep, 0.01)
        return asyncio.get_running_loop().time()

    assert virtual(scenario()) == 0.0


def test_time_stands_still_while_a_child_runs(virtual: RunAsync) -> None:
    async def scenario() -> tuple[int, float]:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(0.05)")
        async with asyncio.timeout(0.001):
            code = await child.wait()
        return code, asyncio.get_running_loop().time()

    assert virtual(scenario()) == (0, 0.0)


def test_time_stands_still_while_a_socket_owes_data(virtual: RunAsync) -> None:
    async def scenario() -> tuple[bytes, float]:
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            loop = asyncio.get_running_loop()
            reading = asyncio.create_task(loop.sock_recv(near, 10))
            await asyncio.sleep(0)
            threading.Timer(0.02, far.send, [b"late"]).start()
            async with asyncio.timeout(0.001):
                answer = await reading
            return answer, loop.time()

    assert virtual(scenario()) == (b"late", 0.0)


def test_an_idle_listener_does_not_stop_time(virtual: RunAsync) -> None:
    async def scenario() -> float:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        await asyncio.sleep(60.0)
        server.close()
        await server.wait_closed()
        return asyncio.get_running_loop().time()

    assert virtual(scenario()) == 60.0


def test_an_error_in_a_callback_fails_the_test(virtual: RunAsync) -> None:
    async def scenario() -> None:
        def breaks() -> None:
            raise ZeroDivisionError

        asyncio.get_running_loop().call_soon(breaks)
        await asyncio.sleep(1.0)

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        virtual(scenario())

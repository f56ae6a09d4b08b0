"""Those who can do without the database for a while: they wait briefly, and what they asked goes on."""

import asyncio

import pytest

from control.stores.errors import StoreUnavailable
from control.stores.patience import within
from tests.conftest import RunAsync


async def later(error: Exception | None = None) -> str:
    await asyncio.sleep(1)
    if error is not None:
        raise error
    return "answered"


def test_what_answers_in_time_is_the_answer(virtual: RunAsync) -> None:
    assert virtual(within(2, later())) == "answered"


def test_what_goes_wrong_in_time_is_told(virtual: RunAsync) -> None:
    with pytest.raises(KeyError):
        virtual(within(2, later(KeyError("x"))))


def test_a_database_that_fails_after_all_is_no_news(virtual: RunAsync) -> None:
    async def scenario() -> None:
        with pytest.raises(StoreUnavailable, match="no answer"):
            await within(0.5, later(StoreUnavailable("gone")))
        await asyncio.sleep(2)

    virtual(scenario())  # which fails for whatever the loop's exception handler is told


def test_a_fault_of_ours_is_told_though_nobody_waits(virtual: RunAsync) -> None:
    async def scenario() -> list[object]:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        with pytest.raises(StoreUnavailable):
            await within(0.5, later(KeyError("x")))
        await asyncio.sleep(2)
        return told

    (fault,) = virtual(scenario())
    assert isinstance(fault, KeyError)

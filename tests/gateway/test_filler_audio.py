"""Fillers' audio: fetched once for all who want it, kept for a while, and bounded."""

import asyncio

import pytest

from control.api.ports import AudioUnavailable, FetchedAudio
from gateway.filler_audio import FRESH, KEPT, LONGEST, FillerAudio
from tests.conftest import RunAsync

RATE = 8_000


class Web:
    """Audio under every address but one."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    async def __call__(self, url: str) -> FetchedAudio:
        self.fetched.append(url)
        await asyncio.sleep(0.5)
        if url == "gone":
            raise AudioUnavailable("it is not there")
        return FetchedAudio(bytes(2 * RATE * 100), RATE)


def test_many_who_want_the_same_have_it_fetched_once(virtual: RunAsync) -> None:
    async def scenario() -> None:
        web = Web()
        fillers = FillerAudio(web)
        found = await asyncio.gather(*[fillers("a") for _ in range(5)])
        assert web.fetched == ["a"]
        assert {len(each.audio) for each in found} == {2 * RATE * LONGEST}
        await fillers("a")
        assert web.fetched == ["a"]

    virtual(scenario())


def test_it_is_fetched_anew_after_a_while(virtual: RunAsync) -> None:
    async def scenario() -> None:
        web = Web()
        fillers = FillerAudio(web)
        await fillers("a")
        await asyncio.sleep(FRESH)
        await fillers("a")
        assert web.fetched == ["a", "a"]

    virtual(scenario())


def test_what_could_not_be_had_is_tried_again(virtual: RunAsync) -> None:
    async def scenario() -> None:
        web = Web()
        fillers = FillerAudio(web)
        for _ in range(2):
            with pytest.raises(AudioUnavailable, match=r"^it is not there$"):
                await fillers("gone")
        assert web.fetched == ["gone", "gone"]

    virtual(scenario())


def test_who_goes_away_leaves_it_to_the_others(virtual: RunAsync) -> None:
    async def scenario() -> None:
        web = Web()
        fillers = FillerAudio(web)
        first = asyncio.create_task(fillers("a"))
        second = asyncio.create_task(fillers("a"))
        await asyncio.sleep(0.1)
        first.cancel()
        assert (await second).rate == RATE
        assert web.fetched == ["a"]

    virtual(scenario())


def test_only_so_many_are_kept(virtual: RunAsync) -> None:
    async def scenario() -> None:
        web = Web()
        fillers = FillerAudio(web)
        for number in range(KEPT + 1):
            await fillers(str(number))
        await fillers("0")
        await fillers(str(KEPT))
        assert web.fetched[KEPT + 1 :] == ["0"]

    virtual(scenario())

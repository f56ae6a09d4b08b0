"""A process is silent when its word stays the same while others could read it."""

import asyncio
from datetime import timedelta

import pytest

from control.service.neighbours import ATTENTIVE, BEAT, Neighbours
from control.stores.errors import StoreUnavailable
from tests.conftest import RunAsync
from tests.control.service_scene import Scene


async def looks(neighbours: Neighbours, times: int, scene: Scene, *beating: str) -> dict[str, float]:
    """Look so often, every half minute, while these go on saying that they are there."""
    silences: dict[str, float] = {}
    for _ in range(times):
        for node in beating:
            scene.shelf.beats[node] = scene.world.wall()
        await neighbours.look()
        silences = dict(neighbours.silent())
        await asyncio.sleep(30)
    return silences


def test_who_goes_on_saying_so_is_there_whatever_its_clock_says(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        neighbours = Neighbours(scene.shelf, scene.world, "node_1")
        scene.shelf.beats["node_3"] = scene.world.wall()
        assert await looks(neighbours, 5, scene, "node_2") == {"node_2": 0.0, "node_3": 120.0}
        assert scene.shelf.beats["node_1"] <= scene.world.wall()
        await scene.close()

    virtual(scenario())


@pytest.mark.parametrize("why", ["away", "suspended"])
def test_what_could_not_be_read_is_no_silence(virtual: RunAsync, why: str) -> None:
    async def scenario() -> None:
        scene = Scene()
        neighbours = Neighbours(scene.shelf, scene.world, "node_1")
        scene.shelf.beats["node_3"] = scene.world.wall()
        assert await looks(neighbours, 4, scene) == {"node_3": 90.0}
        if why == "away":
            scene.shelf.away = True
            with pytest.raises(StoreUnavailable):
                await neighbours.look()
            scene.shelf.away = False
        else:
            await asyncio.sleep(ATTENTIVE)
            assert neighbours.silent() == {}
        assert await looks(neighbours, 1, scene) == {"node_3": 0.0}
        await scene.close()

    virtual(scenario())


def test_a_word_is_written_every_half_minute_and_again_when_the_database_is_back(virtual: RunAsync) -> None:
    async def scenario() -> None:
        scene = Scene()
        neighbours = Neighbours(scene.shelf, scene.world, "node_1")
        scene.tasks.spawn(neighbours.run(BEAT), "sign of life")
        await asyncio.sleep(1)
        first = scene.shelf.beats["node_1"]
        scene.shelf.away = True
        await asyncio.sleep(10 * BEAT)
        assert scene.shelf.beats["node_1"] == first
        scene.shelf.away = False
        await asyncio.sleep(BEAT)
        assert scene.world.wall() - scene.shelf.beats["node_1"] <= timedelta(seconds=BEAT)
        await scene.close()

    virtual(scenario())

"""News of events: nobody who asks first and waits afterwards misses any."""

import asyncio

from control.news import EventNews
from tests.conftest import RunAsync


def test_what_was_told_between_asking_and_waiting_is_not_missed(virtual: RunAsync) -> None:
    async def scenario() -> float:
        news = EventNews()
        seen = news.count("t")
        news.tell("t")
        await news.wait("t", seen, timeout=60.0)
        return asyncio.get_running_loop().time()

    assert virtual(scenario()) == 0.0


def test_a_follower_wakes_at_its_tenants_news_alone(virtual: RunAsync) -> None:
    async def scenario() -> float:
        news = EventNews()
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, news.tell, "other")
        loop.call_later(2.0, news.tell, "t")
        await news.wait("t", news.count("t"), timeout=60.0)
        return loop.time()

    assert virtual(scenario()) == 2.0


def test_without_news_it_is_asked_again_after_a_while(virtual: RunAsync) -> None:
    async def scenario() -> float:
        await EventNews().wait("t", 0, timeout=5.0)
        return asyncio.get_running_loop().time()

    assert virtual(scenario()) == 5.0


def test_a_close_lets_every_follower_go(virtual: RunAsync) -> None:
    async def scenario() -> tuple[float, bool]:
        news = EventNews()
        asyncio.get_running_loop().call_later(3.0, news.close)
        async with asyncio.TaskGroup() as tasks:
            for tenant in ("a", "a", "b"):
                tasks.create_task(news.wait(tenant, 0, timeout=60.0))
        await news.wait("a", 0, timeout=60.0)
        return asyncio.get_running_loop().time(), news.closed

    assert virtual(scenario()) == (3.0, True)

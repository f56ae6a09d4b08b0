"""Webhooks on their way: in order, repeated by the carrier's rule, and hostile as told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from telephony.webhook_sender import Delivery, Fate, SignedRequest, Storm, Webhook, WebhookSender, fair
from tests.conftest import RunAsync
from tests.telephony.application_peer import Application

pytestmark = pytest.mark.sockets


def failed(delivery: Delivery) -> bool:
    return delivery.answer is None or delivery.answer.status >= 500


@asynccontextmanager
async def sending(**options: Any) -> AsyncIterator[tuple[WebhookSender, Application]]:
    async with Application.running() as application:
        sender = WebhookSender(**{"timeout": 5.0, "retries": (0.01, 0.01), "retry": failed, **options})
        await sender.open()
        try:
            yield sender, application
        finally:
            await sender.close()


def hook(application: Application, name: str, *, url: str | None = None, **options: Any) -> Webhook:
    target = url or f"{application.url}/hook"
    return Webhook(
        key="call",
        name=name,
        render=lambda attempt: SignedRequest(url=target, body=f"{name} {attempt}".encode(), headers={}),
        **options,
    )


async def bodies(sender: WebhookSender, application: Application) -> list[str]:
    await sender.drained()
    return [received.body.decode() for received in application.webhooks]


def test_webhooks_of_a_call_keep_their_order_and_a_repeated_one_falls_behind(real: RunAsync) -> None:
    async def scenario() -> None:
        async with sending() as (sender, application):
            statuses = iter([503])
            application.answers["/hook"] = lambda _: web.Response(status=next(statuses, 204))
            for name in "abc":
                sender.send(hook(application, name))
            assert await bodies(sender, application) == ["a 1", "b 1", "c 1", "a 2"]
            assert sender.names("call") == ["b", "c", "a"]

    real(scenario())


def test_a_webhook_is_repeated_as_often_as_the_carrier_does_or_the_webhook_says(real: RunAsync) -> None:
    async def scenario() -> None:
        async with sending() as (sender, application):
            application.answers["/hook"] = lambda _: web.Response(status=500)
            sender.send(hook(application, "a"))
            sender.send(hook(application, "b", retries=()))
            assert sorted(await bodies(sender, application)) == ["a 1", "a 2", "a 3", "b 1"]

    real(scenario())


def test_no_connection_and_no_answer_are_repeated_too(real: RunAsync) -> None:
    async def scenario() -> None:
        async with sending() as (sender, application):
            nowhere = await sender.request(hook(application, "a", url="http://127.0.0.1:9/"))
            assert (nowhere.answer, nowhere.attempt) == (None, 3)
            assert "Connector" in nowhere.fault

    real(scenario())


def test_fate_loses_doubles_delays_and_lets_pass(real: RunAsync) -> None:
    async def scenario() -> None:
        async with sending() as (sender, application):
            sender.script("a", Fate(behind=2))
            sender.script("b", Fate(copies=2))
            sender.script("c", Fate(copies=0))
            sender.script("d", Fate(delay=0.02))
            for name in "abcde":
                sender.send(hook(application, name))
            assert await bodies(sender, application) == ["b 1", "b 1", "a 1", "e 1", "d 1"]
            assert [lost.name for lost in sender.lost] == ["c"]
            # The last of a call is not held back for ever.
            sender.script("z", Fate(behind=1))
            sender.send(hook(application, "z"))
            await sender.wait_for("z")

    real(scenario())


def test_a_storm_is_the_same_each_time() -> None:
    def weather() -> Storm:
        return Storm(seed=7, lose=0.3, duplicate=0.3, reorder=0.3, delay=0.1)

    first, second = weather(), weather()
    fates = [first("x") for _ in range(50)]
    assert fates == [second("x") for _ in range(50)]
    assert {fate.copies for fate in fates} == {0, 1, 2}
    assert {fate.behind for fate in fates} == {0, 1}
    assert fair("x") == Fate()


def test_a_sender_that_is_not_open_says_so(virtual: RunAsync) -> None:
    async def scenario() -> None:
        sender = WebhookSender(timeout=1.0, retry=failed)
        with pytest.raises(RuntimeError, match="open"):
            await sender.request(
                Webhook(
                    key="k", name="n", render=lambda _: SignedRequest(url="http://x", body=b"", headers={})
                )
            )

    virtual(scenario())

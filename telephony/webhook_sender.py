"""How a simulated carrier delivers its webhooks: signed, in order, retried as the carrier does; hostile on demand.

Theory of operation. Webhooks of one call go out in the order they happened, the next as soon as the one before was
answered or failed once; retries follow beside them, so a webhook that had to be retried arrives late and out of
order, as real ones do. A `Fate` changes what becomes of single webhooks: lost, duplicated, delayed, overtaken.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from aiohttp import ClientError, ClientSession, ClientTimeout

# A webhook that waits to be overtaken does not wait for ever: there may be no later one.
OVERTAKEN_WITHIN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """One attempt at a webhook, ready to be sent."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Something a carrier has to tell."""

    key: str
    """The call it belongs to: webhooks of one key are delivered in order."""
    name: str
    """The event, in the carrier's own word."""
    render: Callable[[int], SignedRequest]
    """The attempt of this number, the first being 1: signed anew each time."""
    retries: Sequence[float] | None = None
    """Seconds before each repetition; None for the sender's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of a webhook on its way."""

    copies: int = 1
    """0: it is lost, and the carrier never knows."""
    delay: float = 0.0
    """It leaves so much later, and what follows passes it."""
    behind: int = 0
    """It leaves only after so many later ones of its call."""


class Weather(Protocol):
    """Decides the fate of each webhook."""

    def __call__(self, name: str) -> Fate: ...


def fair(name: str) -> Fate:
    """Nothing goes wrong."""
    return Fate()


class Storm:
    """Everything goes wrong, at random but repeatably: shares of webhooks lost, doubled, overtaken and delayed."""

    def __init__(
        self,
        *,
        seed: int = 0,
        lose: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        delay: float = 0.0,
    ) -> None:
        """`delay` is the longest delay in seconds; most are shorter."""
        self._random = Random(seed)
        self._lose, self._duplicate, self._reorder, self._delay = lose, duplicate, reorder, delay

    def __call__(self, name: str) -> Fate:
        chance = self._random.random
        return Fate(
            copies=0 if chance() < self._lose else 2 if chance() < self._duplicate else 1,
            behind=1 if chance() < self._reorder else 0,
            delay=chance() * self._delay,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One attempt and its outcome."""

    name: str
    key: str
    request: SignedRequest
    attempt: int
    at: float
    answer: Answer | None
    """None: no answer in time, or no connection."""
    fault: str = ""

    @property
    def accepted(self) -> bool:
        return self.answer is not None and 200 <= self.answer.status < 300


class RetryRule(Protocol):
    """Whether a carrier repeats a webhook that ended so."""

    def __call__(self, delivery: Delivery) -> bool: ...


class WebhookSender:
    """Sends one carrier's webhooks, from `open` to `close`.

    Driven by the carrier (`send`, `request`); owns its tasks and its connections, and knows no call.
    """

    def __init__(
        self,
        *,
        timeout: float,
        retries: Sequence[float] = (),
        retry: RetryRule,
        max_redirects: int = 0,
        weather: Weather = fair,
    ) -> None:
        """
        Args:
            timeout: seconds an answer may take.
            retries: seconds before each repetition of what `retry` says is to be repeated.
            max_redirects: how many the carrier follows.
        """
        self.timeout = timeout
        self.retries = tuple(retries)
        self.weather = weather
        self.deliveries: list[Delivery] = []
        """Every attempt made so far, in the order of its answer."""
        self.lost: list[Webhook] = []
        """Those that fate took."""
        self._retry = retry
        self._max_redirects = max_redirects
        self._scripted: dict[str, deque[Fate]] = {}
        self._queues: dict[str, deque[Webhook]] = {}
        self._held: dict[str, list[tuple[int, Webhook]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: ClientSession | None = None
        self._settled = asyncio.Condition()

    async def open(self) -> None:
        self._session = ClientSession(timeout=ClientTimeout(total=self.timeout))

    async def close(self) -> None:
        """Drop what is still on its way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def script(self, name: str, *fates: Fate) -> None:
        """Decide what becomes of the next webhooks of this name, whatever the weather."""
        self._scripted.setdefault(name, deque()).extend(fates)

    def send(self, webhook: Webhook) -> None:
        """Deliver in the background."""
        fate = self._fate(webhook.name)
        if fate.copies == 0:
            self.lost.append(webhook)
            self._release(webhook.key)
            return
        if fate.behind:
            self._held.setdefault(webhook.key, []).extend([(fate.behind, webhook)] * fate.copies)
            self._spawn(self._let_go(webhook))
            return
        if fate.delay:
            self._spawn(self._deliver_later(webhook, fate))
        else:
            for _ in range(fate.copies):
                self._enqueue(webhook)
        self._release(webhook.key)

    async def request(self, webhook: Webhook) -> Delivery:
        """Deliver now, with the repetitions the carrier makes, and return how the last attempt ended.

        For requests whose answer the carrier needs (a document, an action); they pass those in the queue.
        """
        return await self._attempts(webhook)

    async def wait_for(self, name: str, *, times: int = 1, key: str | None = None) -> Delivery:
        """Return the nth answered attempt of this name; waits for it if need be."""
        async with self._settled:
            await self._settled.wait_for(lambda: len(self._named(name, key)) >= times)
        return self._named(name, key)[times - 1]

    async def drained(self) -> None:
        """Wait until nothing is on its way; what fate holds back is released first."""
        for key in list(self._held):
            for _, webhook in self._held.pop(key):
                self._enqueue(webhook)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def names(self, key: str | None = None) -> list[str]:
        """The names of what was delivered, in the order it was accepted."""
        return [d.name for d in self.deliveries if d.accepted and key in (None, d.key)]

    # How

    def _named(self, name: str, key: str | None) -> list[Delivery]:
        return [
            d for d in self.deliveries if d.name == name and d.answer is not None and key in (None, d.key)
        ]

    def _fate(self, name: str) -> Fate:
        scripted = self._scripted.get(name)
        return scripted.popleft() if scripted else self.weather(name)

    def _release(self, key: str) -> None:
        """One more webhook of this call has gone: let go of those that waited for it."""
        held = self._held.pop(key, [])
        waiting = [(behind - 1, webhook) for behind, webhook in held]
        if still := [(behind, webhook) for behind, webhook in waiting if behind > 0]:
            self._held[key] = still
        for behind, webhook in waiting:
            if behind <= 0:
                self._enqueue(webhook)

    async def _let_go(self, webhook: Webhook) -> None:
        await asyncio.sleep(OVERTAKEN_WITHIN)
        held = self._held.pop(webhook.key, [])
        if others := [entry for entry in held if entry[1] is not webhook]:
            self._held[webhook.key] = others
        for _ in range(len(held) - len(others)):
            self._enqueue(webhook)

    async def _deliver_later(self, webhook: Webhook, fate: Fate) -> None:
        await asyncio.sleep(fate.delay)
        for _ in range(fate.copies):
            await self._attempts(webhook)

    def _enqueue(self, webhook: Webhook) -> None:
        queue = self._queues.get(webhook.key)
        if queue is not None:
            queue.append(webhook)
            return
        self._queues[webhook.key] = queue = deque([webhook])
        self._spawn(self._drain(webhook.key, queue))

    async def _drain(self, key: str, queue: deque[Webhook]) -> None:
        try:
            while queue:
                webhook = queue.popleft()
                first = await self._attempt(webhook, 1)
                if self._to_be_repeated(webhook, first):
                    self._spawn(self._repeat(webhook, first))
        finally:
            del self._queues[key]

    async def _repeat(self, webhook: Webhook, failed: Delivery) -> None:
        await self._attempts(webhook, failed)

    async def _attempts(self, webhook: Webhook, failed: Delivery | None = None) -> Delivery:
        delivery = failed or await self._attempt(webhook, 1)
        while self._to_be_repeated(webhook, delivery):
            await asyncio.sleep(self._pauses(webhook)[delivery.attempt - 1])
            delivery = await self._attempt(webhook, delivery.attempt + 1)
        return delivery

    def _to_be_repeated(self, webhook: Webhook, delivery: Delivery) -> bool:
        return delivery.attempt <= len(self._pauses(webhook)) and self._retry(delivery)

    def _pauses(self, webhook: Webhook) -> Sequence[float]:
        return self.retries if webhook.retries is None else webhook.retries

    async def _attempt(self, webhook: Webhook, number: int) -> Delivery:
        request = webhook.render(number)
        answer, fault = await self._exchange(request)
        delivery = Delivery(
            name=webhook.name,
            key=webhook.key,
            request=request,
            attempt=number,
            at=asyncio.get_running_loop().time(),
            answer=answer,
            fault=fault,
        )
        async with self._settled:
            self.deliveries.append(delivery)
            self._settled.notify_all()
        return delivery

    async def _exchange(self, request: SignedRequest) -> tuple[Answer | None, str]:
        if self._session is None:
            raise RuntimeError("webhooks are sent between open and close")
        try:
            async with self._session.request(
                request.method,
                request.url,
                data=request.body or None,
                headers=request.headers,
                allow_redirects=self._max_redirects > 0,
                max_redirects=max(1, self._max_redirects),
            ) as response:
                body = await response.read()
                return Answer(status=response.status, headers=dict(response.headers), body=body), ""
        except TimeoutError:
            return None, "timeout"
        except (ClientError, OSError, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

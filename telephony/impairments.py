"""What goes wrong on the way between a carrier and a gateway, as a seeded plan.

Theory of operation. A websocket runs over TCP: messages are never lost or reordered by the network, and a
delayed one delays all after it (head of line). `Transit` is that. What loses and overtakes is the carrier's
own media plane behind the socket (Telnyx promises no order of frames): `Disorder` is that, and works on
whole inbound media frames before they enter the transit.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Generic, TypeVar


class Direction(Enum):
    """As everywhere: inbound = from the caller to the gateway."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """For a while nothing moves one way, then everything comes at once.

    Inbound: the carrier stops sending. Outbound: the carrier stops reading.
    """

    direction: Direction
    at: float
    """Seconds after the stream first started."""
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The carrier's media socket goes away in the middle of a call."""

    at: float
    """Seconds after the stream first started."""
    reconnect_after: float | None = None
    """Until the carrier opens the next stream of the same call; None: the call is over."""
    graceful: bool = False
    """The carrier says `stop` and closes (its own document was replaced) instead of vanishing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairments:
    """A plan of everything that goes wrong; the same seed goes wrong the same way."""

    inbound_delay: float = 0.0
    """One way, seconds."""
    outbound_delay: float = 0.0
    inbound_jitter: float = 0.0
    """Each message takes up to this much longer (uniform), and holds up those behind it."""
    outbound_jitter: float = 0.0
    loss: float = 0.0
    """Share of inbound media frames that never come; their chunk numbers are missing."""
    reorder: float = 0.0
    """Share of inbound media frames that are overtaken."""
    displacement: int = 2
    """By up to how many frames."""
    lost_chunks: frozenset[int] = field(default_factory=frozenset)
    """Frames lost by name (chunk numbers of the first stream), besides `loss`."""
    stalls: tuple[Stall, ...] = ()
    drops: tuple[Drop, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        delays = (self.inbound_delay, self.outbound_delay, self.inbound_jitter, self.outbound_jitter)
        if min(delays) < 0:
            raise ValueError("delays and jitter are not negative")
        if not (0 <= self.loss <= 1 and 0 <= self.reorder <= 1):
            raise ValueError("loss and reorder are shares between 0 and 1")
        if self.displacement < 1:
            raise ValueError("an overtaken frame is displaced by at least 1")
        if any(stall.at < 0 or stall.duration < 0 for stall in self.stalls):
            raise ValueError("stalls begin after the start and last")
        if any(drop.at < 0 or (drop.reconnect_after or 0) < 0 for drop in self.drops):
            raise ValueError("drops happen after the start")

    @classmethod
    def symmetric(cls, delay: float, jitter: float = 0.0, *, seed: int = 0) -> "Impairments":
        """The same one-way delay and jitter both ways."""
        return cls(
            inbound_delay=delay,
            outbound_delay=delay,
            inbound_jitter=jitter,
            outbound_jitter=jitter,
            seed=seed,
        )


T = TypeVar("T")


class Transit(Generic[T]):
    """One direction of a connection: keeps order, delays, stalls.

    Driven by `push` and by time passing (`pop`); never sleeps.
    """

    def __init__(self, delay: float = 0.0, jitter: float = 0.0, *, seed: int = 0) -> None:
        self._delay = delay
        self._jitter = jitter
        self._random = Random(seed)
        self._queue: deque[tuple[float, T]] = deque()
        self._last = float("-inf")
        self._held_until = float("-inf")

    def push(self, item: T, now: float) -> None:
        due = now + self._delay
        if self._jitter:
            due += self._random.random() * self._jitter
        self._last = max(self._last, due)
        self._queue.append((self._last, item))

    def hold(self, until: float) -> None:
        """Let nothing through until then."""
        self._held_until = max(self._held_until, until)

    def next_deadline(self) -> float | None:
        """Return when the next item arrives."""
        return max(self._queue[0][0], self._held_until) if self._queue else None

    def pop(self, now: float) -> Iterator[T]:
        """Yield what has arrived by `now`, in the order pushed."""
        while (due := self.next_deadline()) is not None and due <= now:
            yield self._queue.popleft()[1]

    def drop(self) -> int:
        """Lose what is under way; return how many items that was."""
        lost = len(self._queue)
        self._queue.clear()
        return lost


class Disorder:
    """Loses and reorders inbound media frames.

    Driven by the frames themselves: an overtaken frame leaves after the ones that overtook it.
    """

    def __init__(self, plan: Impairments) -> None:
        self.lost = 0
        self.reordered = 0
        self._plan = plan
        self._random = Random(plan.seed + 1)
        self._lost_chunks = plan.lost_chunks
        self._held: list[tuple[int, bytes]] = []
        self.idle = not (plan.loss or plan.reorder or plan.lost_chunks)
        """Whether frames pass untouched; the owner may then spare the call."""

    def push(self, chunk: int, frame: bytes) -> list[bytes]:
        """Return the frames that leave now."""
        matured = [held for left, held in self._held if left <= 1]
        self._held = [(left - 1, held) for left, held in self._held if left > 1]
        if chunk in self._lost_chunks or self._random.random() < self._plan.loss:
            self.lost += 1
            return matured
        if self._random.random() < self._plan.reorder:
            self.reordered += 1
            self._held.append((self._random.randint(1, self._plan.displacement), frame))
            return matured
        return [frame, *matured]

    def flush(self) -> list[bytes]:
        """Return what is still held back: the stream ends."""
        frames = [frame for _, frame in self._held]
        self._held.clear()
        return frames

    def next_stream(self) -> None:
        """A new stream counts its chunks anew: losses by name were meant for the first."""
        self._held.clear()
        self._lost_chunks = frozenset()

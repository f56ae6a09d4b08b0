"""The only place that waits for audio time: one timer of the loop for all calls of the process.

Theory of operation. Deadlines are rounded up to slots of one quantum. A slot is a dict of what falls due in it; a
heap holds the slots' numbers; one loop timer is armed for the first of them. Rescheduling, which a call does fifty
times a second, moves an entry between two dicts and touches neither the heap nor the loop unless a new slot
begins. A slot that has been emptied meanwhile stays in the heap until its turn, one integer.
"""

import asyncio
import heapq
from collections.abc import Callable, Hashable
from math import ceil

# Seconds; how late a deadline may be met. A quarter of a frame, and far inside the playout lead (0.2 s).
QUANTUM = 0.005


class Ticker:
    """Wakes each call at its deadline.

    Driven by its owners (`schedule`, `cancel`) and the loop. Never early: a callback gets a `now` that is not
    before its deadline. An error in one callback reaches the loop's exception handler and no other call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, *, quantum: float = QUANTUM) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._quantum = quantum
        self._slot_of: dict[Hashable, int] = {}
        self._slots: dict[int, dict[Hashable, tuple[float, Callable[[float], None]]]] = {}
        self._order: list[int] = []
        self._armed: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._done = -1  # the last slot whose turn has come
        self._lateness = 0.0

    def schedule(self, key: Hashable, deadline: float, callback: Callable[[float], None]) -> None:
        """Call `callback(now)` once at `deadline` (loop time); whatever `key` waited for before is forgotten."""
        # A deadline that is a slot's own instant but for rounding belongs to that slot, not to the next.
        slot = ceil(deadline / self._quantum - 1e-6)
        if slot <= self._done:  # in the past: soon, but never within the same turn of the loop
            slot = self._done + 1
        previous = self._slot_of.get(key)
        if previous is not None and previous != slot:
            del self._slots[previous][key]
        self._slot_of[key] = slot
        entries = self._slots.get(slot)
        if entries is None:
            self._slots[slot] = {key: (deadline, callback)}
            heapq.heappush(self._order, slot)
            if self._armed is None or slot < self._armed:
                self._arm(slot)
        else:
            entries[key] = (deadline, callback)

    def cancel(self, key: Hashable) -> None:
        """Forget what `key` waits for, if anything."""
        slot = self._slot_of.pop(key, None)
        if slot is not None:
            del self._slots[slot][key]

    def close(self) -> None:
        """Forget everything."""
        for entries in self._slots.values():
            entries.clear()  # one of them may be at its turn
        self._slot_of.clear()
        self._slots.clear()
        self._order.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._armed = None

    def take_lateness(self) -> float:
        """How late, in seconds, the loop ever came to a slot since this was last asked: its lag under load."""
        lateness, self._lateness = self._lateness, 0.0
        return lateness

    def _arm(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = slot
        self._timer = self._loop.call_at(slot * self._quantum, self._tick)

    def _tick(self) -> None:
        self._timer = self._armed = None
        now = self._loop.time()
        self._done = max(self._done, int(now / self._quantum + 1e-6))
        try:
            while self._order and self._order[0] <= self._done:
                self._empty(self._order[0], now)
        finally:
            self._arm_first()

    def _arm_first(self) -> None:
        """At once, if a callback failed; and earlier than the callbacks asked for, if others wait already."""
        if self._order and (self._armed is None or self._order[0] < self._armed):
            self._arm(self._order[0])

    def _empty(self, slot: int, now: float) -> None:
        entries = self._slots[slot]
        if entries:
            self._lateness = max(self._lateness, now - slot * self._quantum)
        while entries:
            key = next(iter(entries))
            deadline, callback = entries.pop(key)
            del self._slot_of[key]
            callback(max(now, deadline))
        if self._slots.pop(slot, None) is not None:  # else closed by a callback
            heapq.heappop(self._order)

"""An event loop for measuring: uvloop's speed, with a clock of nanoseconds.

uvloop's own `time()` counts whole milliseconds and stands still while a round of callbacks runs, which hides just
what a load generator is asked for. Here `time()` is the monotonic clock; a timer, which libuv counts in milliseconds,
never fires before its time and up to a millisecond after it.
"""

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from math import ceil
from typing import TypeVarTuple

import uvloop

_Ts = TypeVarTuple("_Ts")


class FineLoop(uvloop.Loop):
    """Drives simulated calls whose figures people read; a gateway does without, for the microsecond a timer costs."""

    def time(self) -> float:
        return time.monotonic()

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        delay = ceil((when - time.monotonic()) * 1000) / 1000
        return self.call_later(max(0.0, delay), callback, *args, context=context)

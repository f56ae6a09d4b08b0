"""How commands speak to the person who typed them, and how they run what is asynchronous."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import typer
import uvloop
from rich.console import Console, RenderableType
from rich.measure import Measurement

from gateway.collector import quiet_collector

T = TypeVar("T")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

# What a shell expects: 1 the thing failed, 2 it was asked for wrongly.
FAILED = 1
MISUSED = 2


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Say what is wrong in one line and leave."""
    err.print(f"[red]offhook:[/] {message}", markup=True)
    raise typer.Exit(code)


def print_whole(what: RenderableType) -> None:
    """Print a table as wide as it is: ids are there to be copied, and a pipe has no width."""
    wide = out.options.update(max_width=10_000)
    width = max(out.width, Measurement.get(out, wide, what).maximum)
    Console(width=width, highlight=False, soft_wrap=True).print(what)


def run(
    main: Coroutine[Any, Any, T],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> T:
    """Run on uvloop; Ctrl-C ends quietly, as a person means it."""
    try:
        with quiet_collector(), asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None

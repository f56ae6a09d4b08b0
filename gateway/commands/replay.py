"""`offhook replay`: a traced call, run through the machines again."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.terminal import FAILED, MISUSED, fail, out
from gateway.replay import TraceError
from gateway.replay import replay as replay_trace


def replay(
    trace: Annotated[Path, typer.Argument(help="CALL.jsonl, written with OFFHOOK_TRACE=true.")],
    timeline: Annotated[bool, typer.Option(help="Print the call's timeline too.")] = False,
) -> None:
    """Feed a call's trace to the same machines and compare what they say. Exit code 1 if it differs."""
    try:
        replayed = replay_trace(trace)
    except TraceError as error:
        fail(str(error), MISUSED)
    except OSError as error:
        fail(f"cannot read {trace}: {error.strerror or error}", MISUSED)
    if timeline:
        for event in replayed.bridge.timeline.events:
            fields = "  ".join(f"{name}={value}" for name, value in event.fields.items())
            out.print(f"{event.at:9.3f}  {event.name:24} {fields}", markup=False)
    for difference in replayed.differences:
        out.print(difference, markup=False)
    if replayed.more:
        out.print(f"and {replayed.more} more")
    if not replayed.same:
        out.print(f"[red]differs[/] from the recorded call ({replayed.inputs} inputs)")
        raise typer.Exit(FAILED)
    out.print(f"[green]the same[/]: {replayed.inputs} inputs, {replayed.outputs} outputs")

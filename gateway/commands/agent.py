"""`offhook agent`: a local server of the OpenAI Realtime wire."""

import asyncio
import signal
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.agent.dialogue import Chat, Rules
from gateway.agent.local import LocalPipeline, MissingExtra
from gateway.agent.script import load_script
from gateway.agent.scripted import Script
from gateway.agent.server import AgentServer
from gateway.commands.examples import AGENT_SCRIPT
from gateway.commands.terminal import MISUSED, err, fail, run
from gateway.telemetry import configure_logging
from gateway.yaml_document import ScriptError


class Kind(StrEnum):
    """What answers."""

    ECHO = "echo"
    SCRIPTED = "scripted"
    LOCAL = "local"


def agent(
    kind: Annotated[
        Kind, typer.Argument(help="echo the caller, play a script, or listen and speak by local models.")
    ] = Kind.SCRIPTED,
    script: Annotated[
        Path | None, typer.Option(help="YAML for `scripted`; see examples/agents/reference.yaml.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes any free one.")] = 8090,
    api_key: Annotated[str | None, typer.Option(help="The one key let in; any, or none, by default.")] = None,
    chat_url: Annotated[
        str | None, typer.Option(help="For `local`: an OpenAI-compatible base URL that answers, e.g. .../v1.")
    ] = None,
    chat_model: Annotated[str, typer.Option(help="Its model.")] = "default",
) -> None:
    """Serve the OpenAI Realtime wire at ws://HOST:PORT/v1/realtime. No account, no model in the cloud."""
    configure_logging()
    if kind is not Kind.SCRIPTED and script is not None:
        fail(f"--script goes with `scripted`, not with `{kind.value}`", MISUSED)
    pipeline: LocalPipeline | None = None
    clock = time.time
    match kind:
        case Kind.ECHO:
            server = AgentServer(api_key=api_key, wall_clock=clock)
        case Kind.SCRIPTED:
            server = AgentServer(_script(script or AGENT_SCRIPT), api_key=api_key, wall_clock=clock)
        case Kind.LOCAL:
            pipeline = _pipeline(chat_url, chat_model)
            server = AgentServer(pipeline.behaviour, api_key=api_key, wall_clock=clock)
    try:
        run(_serve(server, kind, host, port))
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror or error}")
    finally:
        if pipeline is not None:
            pipeline.close()


def _script(path: Path) -> Script:
    try:
        return load_script(path)
    except ScriptError as error:
        fail(str(error), MISUSED)
    except OSError as error:
        fail(f"cannot read {path}: {error.strerror or error}", MISUSED)


def _pipeline(chat_url: str | None, chat_model: str) -> LocalPipeline:
    try:
        return LocalPipeline(dialogue=Rules() if chat_url is None else Chat(chat_url, chat_model))
    except MissingExtra as error:
        fail(str(error), MISUSED)


async def _serve(server: AgentServer, kind: Kind, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bound = await server.start(host, port)
    err.print(f"{kind.value} agent at [bold]ws://{host}:{bound}/v1/realtime[/]")
    try:
        await stop.wait()
    finally:
        await server.close()

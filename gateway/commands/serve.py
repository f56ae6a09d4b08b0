"""`offhook serve`: the gateway."""

from typing import Annotated

import typer

from control.stores.errors import StoreError
from gateway.agent.script import load_script
from gateway.agent.server import AgentServer
from gateway.app import serve as serve_gateway
from gateway.commands.examples import AGENT_SCRIPT
from gateway.commands.settings import usable_settings
from gateway.commands.terminal import err, fail, run
from gateway.settings import Settings


def serve(
    demo_agent: Annotated[
        bool, typer.Option("--demo-agent", help="Answer calls with the example agent; needs no account.")
    ] = False,
) -> None:
    """Run the gateway with the settings of the environment, `.env` and `offhook.toml`."""
    settings = usable_settings()
    try:
        run(_with_demo_agent(settings) if demo_agent else serve_gateway(settings))
    except StoreError as error:
        fail(f"the database cannot be used: {error}")
    except ValueError as error:  # of the settings or of a file in the data folder: `offhook check` says more
        fail(str(error))
    except OSError as error:
        fail(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}")


async def _with_demo_agent(settings: Settings) -> None:
    agent = AgentServer(load_script(AGENT_SCRIPT))
    port = await agent.start()
    try:
        err.print(f"Try it: [bold]offhook call ws://{settings.host}:{settings.port}/media/twilio/try[/]")
        await serve_gateway(
            settings.model_copy(
                update={
                    "realtime_url": f"ws://127.0.0.1:{port}/v1/realtime",
                    "realtime_greeting": settings.realtime_greeting or "Greet the caller.",
                    "realtime_transcription_model": "gpt-transcribe",
                }
            )
        )
    finally:
        await agent.close()

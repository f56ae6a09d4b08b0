"""`offhook openapi`: the API's document, as the gateway of this release serves it."""

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from gateway.app import call_defaults
from gateway.call_house import NoTools, call_house
from gateway.call_runner import CallServices
from gateway.commands.terminal import run
from gateway.links import connect
from gateway.rest_house import described, rest_house
from gateway.settings import Settings
from gateway.telemetry import configure_logging
from gateway.ticker import Ticker


def openapi() -> None:
    """Print the OpenAPI 3.1 document of the REST API."""
    configure_logging("error", "console")
    with TemporaryDirectory() as folder:
        document = run(_document(Path(folder)), asyncio.new_event_loop)
    typer.echo(json.dumps(document, indent=2))


async def _document(folder: Path) -> dict[str, Any]:
    """The document is made of the endpoints, and those of a whole gateway: this one has no carrier and no port."""
    settings = Settings.model_construct(data_dir=folder)
    services = CallServices(
        ticker=Ticker(), connect=connect, recordings=None, records=folder, traces=None, speech=None
    )
    async with (
        call_house(settings, call_defaults(settings), services, describe=described, tools=NoTools()) as house,
        rest_house(settings, house) as api,
    ):
        return api.document()

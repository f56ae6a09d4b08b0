"""`offhook openapi`: the API's document, as the gateway of this release serves it."""

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from control.stores.store import Store
from gateway.app import agent_tools, call_defaults
from gateway.call_house import call_house, database_of
from gateway.call_runner import CallServices
from gateway.commands.terminal import run
from gateway.egress import Egress
from gateway.links import connect
from gateway.rest_house import described, egress_policy, rest_house
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
    store = await Store.open(database_of(settings), migrate=True)
    try:
        async with (
            Egress(egress_policy(settings)) as egress,
            call_house(
                settings,
                store,
                call_defaults(settings),
                services,
                describe=described,
                tools=agent_tools(settings, egress),
            ) as house,
            rest_house(settings, house, egress) as api,
        ):
            return api.document()
    finally:
        await store.close()

"""The command line: `offhook`, and `python -m gateway`."""

import typer

from gateway.commands.agent import agent
from gateway.commands.call import call
from gateway.commands.calls import calls
from gateway.commands.carrier import carrier
from gateway.commands.check import check
from gateway.commands.db import db
from gateway.commands.demo import demo
from gateway.commands.keys import keys
from gateway.commands.load import load
from gateway.commands.openapi import openapi
from gateway.commands.reencrypt import reencrypt
from gateway.commands.replay import replay
from gateway.commands.serve import serve
from gateway.server import our_version

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A telephony media gateway: carriers' media streams bridged to realtime speech models.",
)
app.command()(serve)
app.command()(demo)
app.command()(agent)
app.command()(carrier)
app.command()(call)
app.command()(load)
app.command()(replay)
app.command()(reencrypt)
app.command()(check)
app.command()(openapi)
app.add_typer(calls, name="calls")
app.add_typer(keys, name="keys")
app.add_typer(db, name="db")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(our_version())


def main() -> None:
    app()


if __name__ == "__main__":
    main()

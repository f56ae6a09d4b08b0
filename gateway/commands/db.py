"""`offhook db`: the database's tables."""

import typer

from control.stores.database import Database
from control.stores.migrating import SchemaState, schema_state, upgrade
from gateway.commands.store import on_database, place
from gateway.commands.terminal import FAILED, out

db = typer.Typer(no_args_is_help=True, help="Look at the database's tables, or bring them to this release.")


@db.command("upgrade")
def upgrade_tables() -> None:
    """Bring the database's tables to this release; makes them where there are none."""

    async def upgraded(database: Database) -> list[str]:
        return await upgrade(database)

    applied = on_database(upgraded, make=True)
    out.print(place(), markup=False)
    for revision in applied:
        out.print(f"applied   {revision}", markup=False)
    out.print("[green]up to date[/]")


@db.command()
def status() -> None:
    """Say where the database is and whether its tables are those of this release. Exit code 1 if they are not."""

    async def state(database: Database) -> SchemaState:
        return await schema_state(database)

    found = on_database(state)
    out.print(place(), markup=False)
    out.print(f"revision  {found.found or 'none'}", markup=False)
    if found.current:
        out.print("[green]up to date[/]")
        return
    if found.missing:
        out.print(f"[yellow]behind[/]    by {', '.join(found.missing)}: `offhook db upgrade`")
    else:
        out.print(f"[red]unknown[/]   to this release, whose last is {found.wanted}: install a later one")
    raise typer.Exit(FAILED)

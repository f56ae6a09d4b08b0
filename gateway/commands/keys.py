"""`offhook keys`: who may ask the REST API."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from control.stores.keys import ApiKey, NewKey, Scope
from control.stores.store import Store
from gateway.commands.store import TENANT, Tenant, on_store
from gateway.commands.terminal import err, fail, print_whole

keys = typer.Typer(no_args_is_help=True, help="List, make, revoke and rotate keys of the REST API.")

KeyId = Annotated[str, typer.Argument(help="key_...", metavar="KEY_ID")]


@keys.command("list")
def list_keys(tenant: Tenant = TENANT) -> None:
    """List keys, newest first, without their secrets."""

    async def asked(store: Store) -> list[ApiKey]:
        return await store.keys.of_tenant(tenant)

    found = on_store(asked)
    table = Table("key", "name", "scope", "secret", "made", "last used", "")
    for key in found:
        revoked = "[red]revoked[/]" if key.revoked_at is not None else ""
        cells = (
            key.key_id,
            key.name,
            key.scope.value,
            f"...{key.hint}",
            _day(key.created_at),
            _day(key.last_used_at),
        )
        table.add_row(*cells, revoked)
    print_whole(table)


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="For people to know it by.")],
    scope: Annotated[Scope, typer.Option(help="What it may do.")] = Scope.FULL,
    tenant: Tenant = TENANT,
) -> None:
    """Make a key. Its secret is printed this once, alone on standard output."""
    if not 1 <= len(name) <= 100:
        fail("a name has 1 to 100 characters", 2)

    async def made(store: Store) -> NewKey | None:
        # The first one there is from the gateway's first start on, and may have keys before.
        if tenant != TENANT and await store.tenants.get(tenant) is None:
            return None
        return await store.keys.add(tenant, name, scope, datetime.now(UTC))

    key = on_store(made)
    if key is None:
        fail(f"there is no tenant {tenant}")
    _show(key, "made")


@keys.command()
def revoke(key_id: KeyId, tenant: Tenant = TENANT) -> None:
    """Let nobody in with a key; a running gateway knows within seconds."""

    async def revoked(store: Store) -> bool:
        return await store.keys.revoke(tenant, key_id, datetime.now(UTC))

    if not on_store(revoked):
        fail(f"there is no key {key_id}")
    err.print(f"revoked {key_id}", markup=False)


@keys.command()
def rotate(key_id: KeyId, tenant: Tenant = TENANT) -> None:
    """Give a key another secret, printed this once; the old one is worth nothing from now on."""

    async def rotated(store: Store) -> NewKey | None:
        return await store.keys.rotate(tenant, key_id)

    new = on_store(rotated)
    if new is None:
        fail(f"there is no key {key_id} in force")
    _show(new, "rotated")


def _show(new: NewKey, what: str) -> None:
    err.print(
        f"{what} {new.key.key_id} ({new.key.scope.value}); the secret is shown this once:", markup=False
    )
    typer.echo(new.secret)


def _day(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M}"

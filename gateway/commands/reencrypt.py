"""`offhook reencrypt`: what the database keeps secret, brought under the current key."""

from control.stores.errors import StoreError
from control.stores.secret_columns import Reencrypted
from control.stores.store import Store
from gateway.call_house import database_of
from gateway.commands.settings import usable_settings
from gateway.commands.terminal import fail, out, run
from gateway.secret_keys import secret_keys
from gateway.settings import Settings


def reencrypt() -> None:
    """Encrypt every stored secret with the first of OFFHOOK_SECRET_KEYS, so that old keys can be taken away."""
    settings = usable_settings()
    try:
        done = run(_reencrypt(settings))
    except (StoreError, OSError, ValueError) as error:
        fail(str(error))
    out.print(f"{done.changed} secrets encrypted with the current key")
    if done.unreadable:
        fail(f"{done.unreadable} secrets are under none of the keys, and stay as they are")


async def _reencrypt(settings: Settings) -> Reencrypted:
    keys = secret_keys(settings)
    store = await Store.open(database_of(settings), migrate=settings.migrate)
    try:
        return await store.secrets.reencrypt(keys.rotated)
    finally:
        await store.close()

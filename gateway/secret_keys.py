"""The gateway's own secrets: from the settings, else from files beside the data that are made once."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

import structlog

from control.secrets import SecretKeys, new_key
from control.webhook_message import check_webhook_secret, new_webhook_secret
from gateway.settings import Settings

log = structlog.get_logger()

T = TypeVar("T")

KEY_FILE = "secret.keys"
WEBHOOK_FILE = "webhook.secret"


def secret_keys(settings: Settings) -> SecretKeys:
    """Return the gateway's keys to secrets at rest; see `load_secret_keys`."""
    keys = settings.secret_keys
    return load_secret_keys(keys.get_secret_value() if keys is not None else None, settings.data_dir)


def load_secret_keys(setting: str | None, folder: Path) -> SecretKeys:
    """Return the keys to secrets at rest: those of the setting, else those of the folder's file.

    The file belongs into a backup of the data, but not beside it: who has both can read what is encrypted.

    Raises:
        ValueError: what is there are no keys.
        OSError: the file can be neither read nor made.
    """
    if setting is not None:
        return SecretKeys.read(setting)
    return _kept(folder / KEY_FILE, new_key, SecretKeys.read)


def load_webhook_secret(setting: str | None, folder: Path) -> str:
    """Return the secret that signs what goes to the URLs of calls: the setting, else that of the folder's file.

    Raises:
        ValueError: what is there is no secret of Standard Webhooks.
        OSError: the file can be neither read nor made.
    """
    if setting is not None:
        return check_webhook_secret(setting)
    return _kept(folder / WEBHOOK_FILE, new_webhook_secret, lambda text: check_webhook_secret(text.strip()))


def _kept(path: Path, make: Callable[[], str], read: Callable[[str], T]) -> T:
    """What the file holds; it is made if it is missing, for its owner alone."""
    if not path.exists():
        _make(path, make())
    _keep_private(path)
    try:
        return read(path.read_text("ascii"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _make(path: Path, secret: str) -> None:
    """Make the file whole or not at all; if another process is faster, its file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", encoding="ascii") as fresh:
        os.fchmod(fresh.fileno(), 0o600)
        fresh.write(f"{secret}\n")
        fresh.flush()
        os.fsync(fresh.fileno())
        try:
            os.link(fresh.name, path)
        except FileExistsError:
            return
    _sync(path.parent)
    log.info("secret made", path=str(path))


def _sync(folder: Path) -> None:
    """Make sure that a new file outlives a loss of power: what it encrypts will."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _keep_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
        log.warning("secret was readable by others", path=str(path))

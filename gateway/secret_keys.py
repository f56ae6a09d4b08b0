"""Where the keys to secrets at rest come from: the settings, else a file beside the data that is made once."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

import structlog

from control.secrets import SecretKeys, new_key

log = structlog.get_logger()

KEY_FILE = "secret.keys"


def load_secret_keys(setting: str | None, folder: Path) -> SecretKeys:
    """Return the keys of the setting; without it those of the folder's key file, which is made if it is missing.

    The file is our owner's alone. It belongs into the backup of the data, but not beside it: who has both can read
    what is encrypted.

    Raises:
        ValueError: what is there are no keys.
        OSError: the file can be neither read nor made.
    """
    if setting is not None:
        return SecretKeys.read(setting)
    path = folder / KEY_FILE
    if not path.exists():
        _make(path)
    _keep_private(path)
    try:
        return SecretKeys.read(path.read_text("ascii"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _make(path: Path) -> None:
    """Make the file whole or not at all; if another process is faster, its file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", encoding="ascii") as fresh:
        os.fchmod(fresh.fileno(), 0o600)
        fresh.write(f"{new_key()}\n")
        fresh.flush()
        os.fsync(fresh.fileno())
        try:
            os.link(fresh.name, path)
        except FileExistsError:
            return
    log.info("secret key made", path=str(path))


def _keep_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
        log.warning("secret key file was readable by others", path=str(path))
